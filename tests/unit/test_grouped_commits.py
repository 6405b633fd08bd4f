"""Questions that share a commit: together where that works, else each alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from protocols.key_sink import KeySink, material
from protocols.key_sink.export import ExportStore
from protocols.key_sink.grouped import GroupCommit
from scqc.core.errors import KeySinkError
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key

WAIT_S = 60.0


class Disk:
    """A database that counts commits; the first one waits for `go`."""

    def __init__(self):
        self.go, self.depth, self.commits = threading.Event(), 0, 0
        self.broken = False

    @contextmanager
    def transaction(self):
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
        if not self.depth:
            assert self.go.wait(WAIT_S)
            if self.broken:
                raise KeySinkError("the power failed")
            self.commits += 1


def ask_at_once(group, disk, questions):
    """Ask the first; while its commit lasts, all others; return their futures."""
    pool = ThreadPoolExecutor(len(questions))
    asked = []
    for number, question in enumerate(questions):
        asked.append(pool.submit(group.run, question))
        end_s = time.monotonic() + WAIT_S
        while len(group._queue) != number or not group._led:
            assert time.monotonic() < end_s
            time.sleep(0.001)
    pool.shutdown(wait=False)
    return asked


@pytest.fixture
def made():
    disk, calls = Disk(), []

    def work(questions):
        calls.append(list(questions))
        if any(question < 0 for question in questions):
            raise KeySinkError(f"not {questions}")
        return [10 * question for question in questions]

    return GroupCommit(disk, work), disk, calls


def test_who_waits_for_the_disk_shares_its_next_turn(made):
    group, disk, calls = made
    asked = ask_at_once(group, disk, range(6))
    disk.go.set()
    assert [one.result(WAIT_S) for one in asked] == [0, 10, 20, 30, 40, 50]
    assert calls == [[0], [1, 2, 3, 4, 5]]
    assert disk.commits == 2
    assert group.run(7) == 70


def test_one_that_fails_fails_alone(made):
    group, disk, calls = made
    asked = ask_at_once(group, disk, [0, 1, -2, 3])
    disk.go.set()
    assert [asked[n].result(WAIT_S) for n in (0, 1, 3)] == [0, 10, 30]
    with pytest.raises(KeySinkError, match=r"not \[-2\]"):
        asked[2].result(WAIT_S)
    assert calls == [[0], [1, -2, 3], [1], [-2], [3]]
    assert disk.commits == 2


def test_a_commit_that_fails_answers_none_of_its_group(made):
    group, disk, _ = made
    asked = ask_at_once(group, disk, range(4))
    disk.broken = True
    disk.go.set()
    for one in asked:
        with pytest.raises(KeySinkError, match="power"):
            one.result(WAIT_S)
    disk.broken = False
    assert group.run(4) == 40


def test_a_mistake_of_ours_leaves_nobody_waiting(made):
    group, disk, _ = made
    asked = ask_at_once(group, disk, [0, 1, "two", 3])
    disk.go.set()
    assert asked[0].result(WAIT_S) == 0
    for one in asked[1:]:
        with pytest.raises(TypeError):
            one.result(WAIT_S)
    assert group.run(4) == 40


def bits_of(store, key):
    """What the disk holds at the place of a key."""
    db, at = store._sink.db, key.position
    serial = store._entry(at).serial
    return material.read(db, serial, 8 * at.first_byte, 8 * at.n_bytes)


def test_keys_of_one_group_are_those_that_were_sent(tmp_path):
    """Some lie in one chunk, some across two; one is named twice, one is nowhere."""
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        for sink in (alice, bob):
            for number in range(2):
                sink.store([pool_key(number, n_bits=80_000)], confirmed=True)
        with (
            ExportStore(alice, TO_BOB, TO_ALICE) as one,
            ExportStore(bob, TO_ALICE, TO_BOB) as other,
        ):
            keys = one.allocate(40, 499)
            order = [7, 31, 8, 0, 39, 38, 24]
            requests = [[keys[n].position] for n in order]
            requests.append([keys[n].position for n in (9, 33)])
            found = other._fetch(requests[:2])
            found += other._fetch(requests[2:])
            got = [key for keys, _ in found for key in keys]
            assert [k.bits for k in got] == [keys[n].bits for n in (*order, 9, 33)]
            assert not any(ends for _, ends in found)
            free = [[keys[n].position] for n in (1, 2, 1)]
            for wrong in (free, [*free[:2], requests[0]]):
                with (
                    pytest.raises(KeySinkError, match="spent before"),
                    bob.db.transaction(),
                ):
                    other._fetch(wrong)
            assert other.fetch(free[0])[0].bits == keys[1].bits
            # What went out is overwritten on the disk, and nothing else is.
            for n in (*order, 9, 33, 1):
                assert not bits_of(other, keys[n]).any()
            rest = [n for n in range(40) if n not in {*order, 9, 33, 1}]
            last = other.fetch([keys[n].position for n in rest])
            assert [k.bits for k in last] == [keys[n].bits for n in rest]
