"""The link: messages rejected per second, time of a turn, bytes per second.

Rejection is measured on the messages of the hostile fuzz, drawn beforehand, at the
sans-I/O ends; turns and throughput over CURVE on the loopback interface.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from protocols.messages.wire import SampleDisclosure, encode
from scqc.core.errors import PeerError
from scqc.core.rng import SystemEntropy
from scqc.runs.parties.curve import read_link_file, write_link_files
from scqc.runs.parties.zmq_link import ZmqAsker
from scqc.runs.parties.zmq_server import ZmqServer

TESTS = Path(__file__).resolve().parents[1] / "tests"
_LARGE_BYTES = 64 << 20


class _Echo:
    def answer(self, stream: str, block: int, frames: list[bytes]) -> list[bytes]:
        """Say what was said."""
        return frames


def figures(messages: int) -> list[dict[str, Any]]:
    """Measure with so many messages."""
    sys.path.insert(0, str(TESTS))
    from link_fuzz import Hostile
    from link_kit import ask, opened

    hostile = Hostile(1)
    bob, alice = opened()
    channel, _ = ask(bob, "key")
    rows = []
    for name, end, table in (
        ("Alice rejects", alice, hostile.requests),
        ("Bob rejects", channel, hostile.replies),
    ):
        drawn = [hostile.draw(table, "key") for _ in range(messages)]
        begin_s, rejected = time.perf_counter(), 0
        for data in drawn:
            try:
                end.unwrap(data)
            except PeerError:
                rejected += 1
        rate = rejected / (time.perf_counter() - begin_s)
        rows.append({"what": name, "value": rate, "unit": "messages/s"})
    return rows + _over_loopback(messages // 20)


def _over_loopback(turns: int) -> list[dict[str, Any]]:
    from link_kit import frames_of, hello

    with tempfile.TemporaryDirectory() as folder:
        paths = write_link_files(Path(folder), SystemEntropy())
        alice, bob = (
            read_link_file(path, name)
            for path, name in zip(paths, ("alice", "bob"), strict=True)
        )
    with (
        ZmqServer("tcp://127.0.0.1:*", alice, _Echo()) as server,
        ZmqAsker(server.address, bob) as asker,
    ):
        asker.ask("session", 0, [hello(link=alice.link)])
        asker.ask("session", 0, frames_of("session"))
        begin_s = time.perf_counter()
        for number in range(turns):
            asker.ask("light", number, frames_of("light", number))
        turn_s = (time.perf_counter() - begin_s) / turns
        large = [encode(SampleDisclosure(bytes(_LARGE_BYTES)))]
        begin_s = time.perf_counter()
        asker.ask("key", 0, large)
        rate = 2 * _LARGE_BYTES / (time.perf_counter() - begin_s)
    return [
        {"what": "a turn over CURVE", "value": 1e6 * turn_s, "unit": "us"},
        {"what": "64 MiB there and back", "value": rate / 1e6, "unit": "MB/s"},
    ]
