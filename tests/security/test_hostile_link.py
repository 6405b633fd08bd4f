"""Hostile messages on the link: refused with a typed error, and without a trace."""

import os
import tracemalloc

import psutil
import pytest
from link_fuzz import Hostile, fuzz
from link_kit import ask, opened

from protocols.messages.envelope import STREAMS
from scqc.core.errors import PeerError


@pytest.mark.parametrize("seed", [1, 2])
def test_no_hostile_message_is_taken(seed):
    assert fuzz(50_000, seed) == 0


@pytest.mark.soak
def test_no_hostile_message_is_taken_by_parties():
    process = psutil.Process(os.getpid())
    fuzz(20_000, 1000)
    before = process.memory_info().rss
    for seed in range(20):
        assert fuzz(50_000, seed) == 0
    assert process.memory_info().rss - before < 16 << 20


def test_the_messages_are_wrong_for_one_reason_each():
    """Taken as they are drawn from, they would all be accepted."""
    hostile = Hostile(1)
    bob, alice = opened()
    for stream in STREAMS:
        channel, request = ask(bob, stream)
        assert request == hostile.requests[stream]
        alice.unwrap(request)
        channel.unwrap(hostile.replies[stream])


def test_rejection_takes_no_memory():
    hostile = Hostile(3)
    bob, alice = opened()
    channel, _ = ask(bob, "key")
    drawn = [
        (end, hostile.draw(table, "key"))
        for end, table in ((alice, hostile.requests), (channel, hostile.replies))
        for _ in range(750)
    ]
    hostile.random.shuffle(drawn)

    def reject(messages):
        for end, data in messages:
            with pytest.raises(PeerError):
                end.unwrap(data)

    reject(drawn[:500])
    tracemalloc.start()
    try:
        reject(drawn[:500])
        begin, _ = tracemalloc.get_traced_memory()
        reject(drawn[500:])
        end, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Nothing stays; while one is looked at, no more than a few copies of it.
    assert end - begin < 64 << 10
    assert peak - begin < (256 << 10) + 4 * max(len(data) for _, data in drawn)


def test_a_check_that_is_left_out_is_noticed(monkeypatch):
    """The fuzz itself is put to the test: without the frames' check it fails."""
    monkeypatch.setattr("protocols.messages.channel.check_frames", lambda *_: None)
    with pytest.raises(AssertionError):
        assert fuzz(200, 1) == 0
