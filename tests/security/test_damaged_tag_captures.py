"""Time tags cut, flipped and killed: every added burst, and never a wrong tag."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import cache

import h5py
import numpy as np
import pytest

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.inspect import describe, salvage
from scqc.store.tag_capture import CHUNK_TAGS, TagCaptureWriter, open_tag_capture

N = CHUNK_TAGS + 5000
BURSTS = 3


@cache
def expected(number, n=N):
    rng = np.random.default_rng([3, number])
    times = np.sort(rng.integers(0, 10**10, n))
    return TimeTags(times, rng.integers(1, 5, n).astype(np.uint8), 10**10, number)


def check(tags, number, n=N):
    wanted = expected(number, n)
    assert np.array_equal(tags.times_ps, wanted.times_ps)
    assert np.array_equal(tags.channels, wanted.channels)
    assert (tags.duration_ps, tags.lost, tags.overflow) == (10**10, number, False)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "a.h5"
    with TagCaptureWriter(path, CaptureHeader("x = 1", "run"), BURSTS) as writer:
        for number in range(BURSTS):
            writer.add(number, expected(number))
    return path.read_bytes()


def read_everything(path):
    with open_tag_capture(path) as capture:
        assert capture.header.config_toml == "x = 1"
        assert capture.header.run_uuid == "run"
        assert capture.complete_bursts() == list(range(BURSTS))
        for number in range(BURSTS):
            check(capture.burst(number), number)


def salvaged(path, out):
    """Return the bursts that a salvage keeps; all of them must be true."""
    try:
        salvage(path, out)
    except CaptureError:
        return []
    with open_tag_capture(out) as capture:
        kept = capture.complete_bursts()
        for number in kept:
            check(capture.burst(number), number)
    return kept


def flip(raw, picker, low, high):
    flipped = bytearray(raw)
    flipped[picker.randrange(low, high)] ^= 1 << picker.randrange(8)
    return flipped


def test_the_undamaged_file_reads(good, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    read_everything(path)
    assert salvaged(path, tmp_path / "b.h5") == list(range(BURSTS))


def test_truncation_is_refused_and_salvaged_to_whole_bursts(good, tmp_path):
    path, kept = tmp_path / "a.h5", []
    for k, size in enumerate(np.linspace(0, len(good) - 1, 20).astype(int)):
        path.write_bytes(good[:size])
        with pytest.raises(CaptureError):
            open_tag_capture(path)
        kept.append(salvaged(path, tmp_path / f"out{k}.h5"))
    assert kept[0] == []
    assert len(kept[-1]) >= BURSTS - 1
    # The descriptions come first in the file: half a file is some of the bursts.
    assert any(0 < len(numbers) < BURSTS for numbers in kept)


def test_bit_flips_are_noticed_or_harmless(good, tmp_path):
    """Sampled over the whole file; a silent difference fails read_everything."""
    picker = random.Random(1)
    path = tmp_path / "a.h5"
    # Metadata lies at the front: every other trial aims there.
    for k in range(80):
        path.write_bytes(flip(good, picker, 0, 32_768 if k % 2 else len(good)))
        try:
            read_everything(path)
        except CaptureError:
            assert describe(path)["problem"]


@pytest.mark.parametrize("column", ["times_ps", "channels"])
def test_every_bit_flip_in_the_tags_is_noticed(good, tmp_path, column):
    picker = random.Random(3)
    path = tmp_path / "a.h5"
    chunk = getattr(expected(1), column)[:CHUNK_TAGS].tobytes()
    at = good.index(chunk)
    for k in range(15):
        path.write_bytes(flip(good, picker, at, at + len(chunk)))
        with pytest.raises(CaptureError):
            read_everything(path)
        assert salvaged(path, tmp_path / f"out{k}.h5") == [0, 2]


def test_a_hole_left_by_a_power_cut_is_noticed(good, tmp_path):
    """HDF5's Fletcher-32 of zeros is zero; the CRC of each chunk is not."""
    chunk = expected(1).times_ps[:CHUNK_TAGS].tobytes()
    at = good.index(chunk)
    path = tmp_path / "a.h5"
    path.write_bytes(good[:at] + bytes(len(chunk) + 4) + good[at + len(chunk) + 4 :])
    with h5py.File(path, "r") as file:
        stamps = file["bursts/001/photon_data/timestamps"]
        assert not stamps[:CHUNK_TAGS].any()
    with (
        open_tag_capture(path) as capture,
        pytest.raises(CaptureError, match="chunk 0 is damaged"),
    ):
        capture.burst(1)
    found = describe(path)
    assert "chunk 0 is damaged" in found["problem"]
    assert found["bursts"][1]["photon_data"]["complete"] is False
    assert found["bursts"][2]["photon_data"]["complete"] is True


def test_random_bytes_are_refused(tmp_path):
    picker = random.Random(2)
    path = tmp_path / "a.h5"
    for k in range(100):
        head = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00" if k % 2 else b""
        path.write_bytes(head + picker.randbytes(picker.randrange(3000)))
        with pytest.raises(CaptureError):
            open_tag_capture(path)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.tag_capture import TagCaptureWriter

path, n, bursts = Path(sys.argv[1]), 100_000, 80
with TagCaptureWriter(path, CaptureHeader("x = 1", "run"), bursts) as writer:
    print("ready", flush=True)
    for number in range(bursts):
        rng = np.random.default_rng([3, number])
        times = np.sort(rng.integers(0, 10**10, n))
        inputs = rng.integers(1, 5, n).astype(np.uint8)
        writer.add(number, TimeTags(times, inputs, 10**10, number))
        print(number + 1, flush=True)
    # Never over before it is killed.
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("trial", range(4))
def test_a_killed_writer_loses_no_burst_that_was_added(tmp_path, trial):
    path = tmp_path / "a.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "1\n"
        time.sleep(0.02 + 0.037 * trial)
        process.send_signal(signal.SIGKILL)
        # A last line without its end was not acknowledged to anyone.
        lines = process.stdout.read().split("\n")[:-1]
    added = int(lines[-1]) if lines else 1
    salvage(path.with_name("a.h5.part"), tmp_path / "out.h5")
    with open_tag_capture(tmp_path / "out.h5") as capture:
        kept = capture.complete_bursts()
        assert kept == list(range(len(kept)))
        assert added <= len(kept) <= added + 1
        for number in kept:
            check(capture.burst(number), number, 100_000)
