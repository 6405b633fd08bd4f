"""A whole look at a sink: whether the file is sound, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.key_sink import entries, health, material
from protocols.key_sink.database import DAMAGED
from protocols.key_sink.records import KEPT, State
from protocols.key_sink.sink import KeySink
from scqc.core.errors import KeySinkError

_AT_ONCE_BITS = 1 << 22


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """What an examination found; whatever is wrong raises instead.

    Parameters
    ----------
    blocks : int
        Unspent, verified ones included [1].
    journal_entries : int
        All checked [1].
    epoch : int
        Of the last greeting [1].
    levels : dict
        Bits that can be released, by purpose and direction [bit].
    waiting : int
        Blocks that wait for the peer's word [1].
    """

    blocks: int
    journal_entries: int
    epoch: int
    levels: dict[str, int]
    waiting: int


def examine(sink: KeySink) -> SinkHealth:
    """Check the file, the journal, and every bit that is left.

    Raises
    ------
    KeySinkError
        At the first thing that is wrong, with what to do.
    """
    db = sink.db
    ((verdict,),) = db.rows("PRAGMA integrity_check(1)")
    if verdict != "ok":
        raise KeySinkError(f"key sink {sink.path}: damaged: {verdict}; {DAMAGED}")
    checked = health.verify(db)
    unspent = entries.unspent(db)
    levels: dict[str, int] = {}
    for entry in unspent:
        entries.check_metadata(db, entry)
        for start in range(0, entry.n_bits, _AT_ONCE_BITS):
            count = min(_AT_ONCE_BITS, entry.n_bits - start)
            material.read(db, entry.serial, start, count)
        ((used,),) = db.rows(
            "SELECT coalesce(sum(n_bits), 0) FROM releases WHERE serial=?",
            (entry.serial,),
        )
        if used != entry.used_bits:
            raise KeySinkError(
                f"key sink {sink.path}: block {entry.identifier}: {used} bits "
                f"released, {entry.used_bits} counted; {DAMAGED}"
            )
        if entry.purpose not in KEPT:
            pool = f"{entry.purpose} {entry.direction}".strip()
            levels[pool] = levels.get(pool, 0) + entry.available_bits
    ((epoch,),) = db.rows("SELECT coalesce(max(epoch), 0) FROM epochs")
    waiting = sum(entry.state == State.VERIFIED for entry in unspent)
    return SinkHealth(len(unspent), checked, epoch, levels, waiting)


def burn_everything(sink: KeySink) -> int:
    """Erase all that a sink holds, kept keys too; return how many bits [bit].

    Raises
    ------
    KeySinkError
        If the file cannot be written.
    """
    return sum(
        sink.burn(entry.identifier, "everything burnt")
        for entry in entries.unspent(sink.db)
    )
