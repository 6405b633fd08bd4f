"""Programs killed at any moment: nothing is released twice, nothing said is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.key_sink import KeySink
from protocols.key_sink.align import align
from protocols.key_sink.check import examine
from tests.sink_kit import TO_ALICE, TO_BOB

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")
HOME = Path(__file__).parents[2]

# A warm process forks the programs that are killed; a line is written at once.
NURSERY = """
import os, random, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from protocols.key_sink import KeySink, provision
from protocols.key_sink.align import align
from protocols.key_sink.export import ExportStore
from scqc.core.rng import SystemEntropy
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def spend(sink, late):
    if not late:
        return sink.spend("pad", TO_BOB, 48)
    sink.db._db.execute("BEGIN IMMEDIATE")      # the order broken on purpose:
    return sink.spend("pad", TO_BOB, 48)        # handed out, and not committed

def fetch(gets, key):
    at = key.position
    same = gets.fetch([at])[0].bits == key.bits
    say("fetched" if same else "DIFFERENT", at.block_tag, at.first_byte, at.n_bytes)

def work(paths, trial, late, ready):
    alice, bob = map(KeySink, paths)
    align(alice, bob)
    sends = ExportStore(alice, TO_BOB, TO_ALICE)
    gets = ExportStore(bob, TO_ALICE, TO_BOB)
    threads, number = ThreadPoolExecutor(4), 0
    while True:
        number += 1
        run = f"t{trial}"
        pools = [pool_key(number, "pad", TO_BOB, 64, run=run),
                 pool_key(number, "key", TO_BOB, 256, run=run)]
        for sink in (alice, bob):
            sink.claim(run, number)
        bob.store(pools, confirmed=False)
        alice.store(pools, confirmed=True)
        say("stored", f"{run}/{number}")
        bob.confirm(run, number)
        pad = spend(alice, late)
        for name, start, count in pad.ranges:
            say("spent", name, start, count)
        if late:
            os.kill(os.getpid(), signal.SIGKILL)
        same = (bob.follow("pad", TO_BOB, pad.ranges).bits == pad.bits).all()
        say("followed" if same else "DIFFERENT")
        keys = sends.allocate(4, 8)
        for key in keys:
            at = key.position
            say("allocated", at.block_tag, at.first_byte, at.n_bytes)
        list(threads.map(lambda key: fetch(gets, key), keys))    # commits are shared
        os.write(ready, b".")

paths, trials, late = sys.argv[1:3], int(sys.argv[3]), sys.argv[4] == "late"
with KeySink(paths[0]) as alice, KeySink(paths[1]) as bob:
    if not alice.list():
        provision([alice, bob], 1024, SystemEntropy())
chance, round_s = random.Random(7), 0.0
for trial in range(trials):
    begun, (read, ready) = time.monotonic(), os.pipe()
    child = os.fork()
    if not child:
        work(paths, trial, late, ready)
    os.close(ready)
    if late or not trial:
        os.read(read, 1)                        # one whole round, or its own end
        round_s = time.monotonic() - begun
    else:
        time.sleep(2.0 * round_s * chance.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
"""


def killed(tmp_path, trials, order="proper"):
    """Return what the killed programs said, and the paths of their sinks."""
    paths = [tmp_path / "a.db", tmp_path / "b.db"]
    said = subprocess.run(
        [sys.executable, "-c", NURSERY, *map(str, paths), str(trials), order],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    ).stdout
    return [line.split() for line in said.splitlines()], paths


def check(lines, paths):
    """No bit or byte twice, no acknowledged block missing, both ends agree."""
    once, stored = set(), set()
    for kind, *rest in lines:
        assert kind != "DIFFERENT"
        if kind == "stored":
            stored.add(rest[0])
        elif kind != "followed":
            name, start, count = rest[0], int(rest[1]), int(rest[2])
            for place in range(start, start + count):
                assert (kind, name, place) not in once, "released twice"
                once.add((kind, name, place))
    assert {kind for kind, *_ in once} == {"spent", "allocated", "fetched"}
    with KeySink(paths[0]) as alice, KeySink(paths[1]) as bob:
        align(alice, bob)
        for sink in (alice, bob):
            held = {e.identifier: e for e in sink.list()}
            for block in stored:
                assert f"{block}/pad/{TO_BOB}" in held
            for kind, name, bit in once:
                if kind == "spent":
                    assert bit < held[name].used_bits
            assert sink.verified_blocks() == []
            assert examine(sink).journal_entries > len(stored)
        for pool in (("pad", TO_BOB), ("authentication", TO_ALICE)):
            assert alice.available_bits(*pool) == bob.available_bits(*pool)
    return len(stored)


def test_killed_programs_release_nothing_twice(tmp_path):
    assert check(*killed(tmp_path, 40)) > 0


def test_the_check_notices_bits_that_leave_before_they_are_on_disk(tmp_path):
    with pytest.raises(AssertionError, match="released twice"):
        check(*killed(tmp_path, 2, "late"))


@pytest.mark.soak
def test_parties_killed_sinks_release_nothing_twice_in_a_thousand_trials(tmp_path):
    assert check(*killed(tmp_path, 1000)) > 100
