"""What a key sink can do, with everything on the disk before it is handed out.

Keys of 32 bytes. Leases are taken ahead, 64 KiB in one commit, and handed out from
memory: the figure counts the commits in. Fetches and spends are a commit each, which
several threads share. The database lies in the folder for temporary files.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocols.key_sink import KEY_PURPOSE, PAD_PURPOSE, KeySink, PoolKey
from protocols.key_sink.export import LEASE_BYTES, ExportKey, ExportStore
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.records import KeyBlock

_KEY_BYTES = 32
_BLOCK_BYTES = 1 << 20
_THREADS = 8


def figures(keys: int) -> list[dict[str, Any]]:
    """Measure leases, fetches and spends.

    Parameters
    ----------
    keys : int
        Leased; a hundredth of them are fetched and spent [1].

    Returns
    -------
    list of dict
        A row for each way out of the sink.
    """
    with _sinks(keys * _KEY_BYTES) as (alice, bob):
        rows = [_row("leases", keys, lambda: _lease(alice, keys))]
        few = max(_THREADS, keys // 100)
        with (
            ExportStore(alice, ALICE_TO_BOB, BOB_TO_ALICE) as sends,
            ExportStore(bob, BOB_TO_ALICE, ALICE_TO_BOB) as gets,
        ):
            parts = [sends.allocate(few // _THREADS, _KEY_BYTES) for _ in range(9)]
            one, several = parts[:1], parts[1:]
            rows.append(_row("fetches, 1 thread", len(one[0]), lambda: _run(gets, one)))
            count = sum(map(len, several))
            name = f"fetches, {_THREADS} threads"
            rows.append(_row(name, count, lambda: _run(gets, several)))
        rows.append(_row("spends, 1 thread", few, lambda: _spend(alice, few)))
        begun = time.perf_counter()
        checked = alice.verify_journal()
        row = {"what": "journal entries checked", "count": checked}
        rows.append(row | {"per_s": checked / (time.perf_counter() - begun)})
    return rows


def _row(what: str, count: int, work: Callable[[], None]) -> dict[str, Any]:
    begun = time.perf_counter()
    work()
    return {
        "what": what,
        "count": count,
        "per_s": count / (time.perf_counter() - begun),
    }


@contextmanager
def _sinks(n_bytes: int) -> Iterator[tuple[KeySink, KeySink]]:
    """Two sinks with a little more than `n_bytes` of the same key in each."""
    with (
        tempfile.TemporaryDirectory() as folder,
        KeySink(Path(folder) / "alice.sqlite") as alice,
        KeySink(Path(folder) / "bob.sqlite") as bob,
    ):
        for number in range(n_bytes // _BLOCK_BYTES + 2):
            for sink, bits in zip(
                (alice, bob), [os.urandom(_BLOCK_BYTES)] * 2, strict=True
            ):
                tags = {"run_uuid": "bench", "block": str(number)}
                keys = [
                    PoolKey(
                        KeyBlock(
                            f"bench/{number}/{purpose}",
                            bits,
                            8 * _BLOCK_BYTES,
                            0.0,
                            False,
                            tags,
                        ),
                        purpose,
                        ALICE_TO_BOB,
                    )
                    for purpose in (KEY_PURPOSE, PAD_PURPOSE)
                ]
                sink.store(keys, confirmed=True)
        yield alice, bob


def _lease(sink: KeySink, keys: int) -> None:
    size, done = 8 * _KEY_BYTES, 0
    while done < keys:
        with sink.lease(KEY_PURPOSE, ALICE_TO_BOB, 8 * LEASE_BYTES) as lease:
            while lease.left_bits >= size and done < keys:
                lease.take(size)
                done += 1


def _run(store: ExportStore, parts: list[list[ExportKey]]) -> None:
    def work(part: list[ExportKey]) -> None:
        for key in part:
            store.fetch([key.position])

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _spend(sink: KeySink, times: int) -> None:
    for _ in range(times):
        sink.spend(PAD_PURPOSE, ALICE_TO_BOB, 8 * _KEY_BYTES)
