"""Free memory goes back to the system, also from between pieces that stay."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from scqc.runs import memory

PIECE_BYTES, PIECES = 100_000, 1000


def resident_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="glibc",
)
def test_what_lies_between_pieces_that_stay_goes_back():
    pieces = [np.ones(PIECE_BYTES, np.uint8) for _ in range(PIECES)]
    full = resident_bytes()
    # The newest piece stays, and holds the heap open above all others.
    del pieces[:-1]
    memory.give_back_free_memory()
    assert full - resident_bytes() > 0.8 * PIECE_BYTES * PIECES
    assert pieces[0].all()


def test_where_there_is_no_such_call_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.give_back_free_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    memory.give_back_free_memory()
