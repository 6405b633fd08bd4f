"""Key stays out of what is shown, logged, written and dumped."""

import contextlib
import copy
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from protocols.key_sink import PAD_PURPOSE, KeySink, PoolKey
from protocols.key_sink.export import ExportStore, KeyPosition
from protocols.key_sink.pads import MessagePads
from protocols.key_sink.resync import Resync
from protocols.key_sink.start_key import decode, draw_start_key, encode, load, shown
from scqc import cli
from scqc.core.errors import KeySinkError, ScqcError
from scqc.core.records import KeyBlock
from tests.sink_kit import TO_ALICE, TO_BOB

#: Eight bytes that occur nowhere by chance; every key below is made of them.
PATTERN = bytes.fromhex("5ec4e7f00dcafe42")
HOME = Path(__file__).parents[2]


class Planted:
    """A source of nothing but the pattern."""

    simulated = False

    def read(self, n_bytes):
        return (PATTERN * (n_bytes // 8 + 1))[:n_bytes]


def planted(number, n_bytes=64):
    tags = {"run_uuid": "run", "block": str(number)}
    bits = PATTERN * (n_bytes // 8)
    return KeyBlock(f"run/{number}", bits, 8 * n_bytes, 1e-10, False, tags)


def forms():
    """The pattern as somebody might print it, from any bit and byte on."""
    yield from (PATTERN[4:], PATTERN[:4])
    for half in (PATTERN[:4], PATTERN[4:]):
        yield half.hex().encode()
        yield half.hex().upper().encode()
        yield repr(half)[2:-1].encode()
        yield ", ".join(map(str, half)).encode()
        bits = np.unpackbits(np.frombuffer(half, np.uint8))
        yield "".join(map(str, bits)).encode()
        yield " ".join(map(str, bits)).encode()
        yield ", ".join(map(str, bits)).encode()


def clean(content):
    """Fail if any form of the pattern is in there."""
    content = content.encode() if isinstance(content, str) else content
    for form in forms():
        assert form not in content, form


def test_the_search_finds_what_it_looks_for():
    bits = np.unpackbits(np.frombuffer(PATTERN * 2, np.uint8))
    for text in (repr(PATTERN), PATTERN.hex(), str(bits.tolist()), str(list(PATTERN))):
        with pytest.raises(AssertionError):
            clean(text)
    with pytest.raises(AssertionError):
        clean(b"x" + PATTERN * 2)


@pytest.fixture
def sink(tmp_path):
    with KeySink(tmp_path / "k.db") as opened:
        load(opened, draw_start_key(Planted(), 1024, pad_bits=1024))
        for number in range(6):
            pools = [PoolKey(planted(number), "key", TO_BOB)]
            opened.store(pools, confirmed=number != 5)
        yield opened


def objects(sink):
    """Everything that holds key and might be printed."""
    start = draw_start_key(Planted(), 1024)
    yield start
    yield from start.pools()
    yield sink.spend(PAD_PURPOSE, TO_BOB, 64)
    yield MessagePads(sink).spend(64)
    yield sink.take("run/1", 64)
    yield sink.lease("key", TO_BOB, 128)
    with ExportStore(sink, TO_BOB, TO_ALICE) as store:
        yield store
        yield from store.allocate(2, 32)
    yield sink
    yield from sink.list()
    end = Resync(sink, TO_BOB)
    described = end.describe()
    yield described
    yield end
    yield end.tag_keys(_peer_of(described))


def _peer_of(described):
    """Return the same state as another sink would tell it."""
    import msgspec

    told = msgspec.msgpack.decode(described)
    return msgspec.msgpack.encode([*told[:2], 0, b"", told[4]])


def test_nothing_that_holds_key_shows_it(sink):
    for item in objects(sink):
        for text in (repr(item), str(item), f"{item!s}"):
            clean(text)
        if isinstance(item, bytes):
            clean(item)


def test_errors_and_tracebacks_hold_no_key(sink, tmp_path):
    """Also with the arguments and local names that a traceback may show."""
    sink.db.execute("UPDATE material SET digest=x'00' WHERE serial=7")
    failing = [
        lambda: sink.take(n_bits=1 << 20),
        lambda: sink.take("run/0"),
        lambda: sink.take("run/5"),
        lambda: sink.put(planted(0)),
        lambda: sink.store([PoolKey(planted(9)), PoolKey(planted(9))], confirmed=True),
        lambda: sink.follow(PAD_PURPOSE, TO_BOB, [("run/0", 0, 8)]),
        lambda: sink.lease("key", TO_BOB, 1 << 20),
        lambda: load(sink, draw_start_key(Planted(), 1024)),
        lambda: decode(encode(draw_start_key(Planted(), 1024))[:-9] + b"}"),
        lambda: ExportStore(sink, TO_ALICE, TO_BOB).fetch([KeyPosition(1, 0, 8)]),
        lambda: sink.put(KeyBlock("x", PATTERN * 9, 8, 0.0, False, {})),
    ]
    for call in failing:
        with pytest.raises(ScqcError) as caught:
            call()
        clean("".join(traceback.format_exception(caught.value)))
        clean(repr(caught.value.__cause__))


def test_journal_log_and_peer_hear_no_key(sink, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    list(objects(sink))
    for row in sink.db.rows("SELECT * FROM journal"):
        clean(repr(row))
        clean(b"".join(v for v in row if isinstance(v, bytes)))
    clean(caplog.text)


def test_the_commands_show_no_key(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scqc.runs.keys.SystemEntropy", Planted)
    commands = [
        ["provision", "s.key", "--bits", "1024"],
        ["load", "s.key", "a.sqlite"],
        ["load", "s.key", "a.sqlite"],
        ["list", "a.sqlite"],
        ["fingerprint", "a.sqlite"],
        ["check", "a.sqlite"],
        ["take", "a.sqlite", "--out", "k", "--bits", "8"],
        ["burn", "a.sqlite"],
        ["provision", "keys", "--bits", "1024"],
    ]
    for command in commands:
        for more in ([], ["--json"], ["--debug"]):
            with contextlib.suppress(KeySinkError, SystemExit):
                cli.main(["keys", *command, *more])
    shown_text = "".join(capsys.readouterr())
    assert "fingerprint" in shown_text
    clean(shown_text)
    for file in ("s.key", "a.sqlite", "keys/alice.sqlite", "keys/bob.sqlite"):
        assert Path(file).stat().st_mode & 0o777 == 0o600


def test_what_holds_key_refuses_to_travel(sink):
    lease = sink.lease("key", TO_BOB, 128)
    with ExportStore(sink, TO_BOB, TO_ALICE) as store:
        (key,) = store.allocate(1, 32)
    for held in (key, lease):
        for action in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(KeySinkError, match="not copied"):
                action(held)
        with pytest.raises(TypeError):
            json.dumps(held)
        out = io.StringIO()
        print(held, f"{held}", file=out)
        clean(out.getvalue())


HARDENED = """
import resource, sys
from protocols.key_sink.hygiene import harden_process
got = harden_process()
assert got.no_core_dump and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
if sys.platform.startswith("linux"):
    import ctypes
    assert got.not_dumpable and ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0
    locked = int([l for l in open("/proc/self/status") if "VmLck" in l][0].split()[1])
    assert (locked > 0) == got.locked
print("hardened")
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX limits")
def test_a_hardened_process_leaves_no_core_and_is_not_read():
    said = subprocess.run(
        [sys.executable, "-c", HARDENED],
        capture_output=True,
        text=True,
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": str(HOME)},
        check=False,
    )
    assert said.stdout.strip() == "hardened", said.stderr


# The start key -----------------------------------------------------------------------


def test_a_fingerprint_tells_keys_apart_and_nothing_of_them():
    class Drawn:
        """Bits that are given; the mark follows them."""

        simulated = False

        def __init__(self, bits, mark):
            self.parts = [bits, mark]

        def read(self, n_bytes):
            return self.parts.pop(0)[:n_bytes]

    bits, mark = os.urandom(4096), os.urandom(32)
    one = draw_start_key(Drawn(bits, mark), 1024).fingerprint
    for at in (0, 100, 200):
        other = bits[:at] + bytes([bits[at] ^ 1]) + bits[at + 1 :]
        assert draw_start_key(Drawn(other, mark), 1024).fingerprint != one
    # For every key each fingerprint has a pad that makes it: all are as likely.
    wanted = os.urandom(16)
    pad = bytes(a ^ b ^ c for a, b, c in zip(one, mark[16:], wanted, strict=True))
    made = draw_start_key(Drawn(bits, mark[:16] + pad), 1024)
    assert made.fingerprint == wanted
    assert shown(wanted).replace(" ", "") == wanted.hex()


def test_the_mark_of_a_fingerprint_is_in_no_sink(tmp_path):
    key = decode(encode(draw_start_key(Planted(), 1024)))
    fresh = draw_start_key(_Fresh(), 1024)
    with KeySink(tmp_path / "k.db") as sink:
        load(sink, fresh)
        assert key.fingerprint != fresh.fingerprint
    stored = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert fresh.bits[60:80] in stored
    for part in (fresh.mark[:16], fresh.mark[16:]):
        assert part not in stored


class _Fresh:
    simulated = False

    def read(self, n_bytes):
        return os.urandom(n_bytes)
