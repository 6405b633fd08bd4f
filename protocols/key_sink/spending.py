"""How bits leave the sink: marked on disk first, then overwritten, then returned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.key_sink import entries, material, plan
from protocols.key_sink.database import Database
from protocols.key_sink.entries import (
    check_metadata,
    find,
    free_runs,
    named,
    pool,
)
from protocols.key_sink.health import note, now_utc
from protocols.key_sink.plan import whole_bytes
from protocols.key_sink.records import (
    IN_STEP,
    KEPT,
    KEY_PURPOSE,
    Entries,
    KeyEntry,
    Parts,
    Range,
    Spent,
    State,
)
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock

#: Entries that are looked at [1]: nearly always the first few of a pool will do, and
#: one that nobody draws from has many. Then all.
_FRONTS = (64, -1)
#: Rows that one statement inserts [1].
_ROWS = 64


def release(db: Database, parts: Parts, event: str) -> Spent:
    """Mark, read and overwrite `parts` within the running transaction.

    Parameters
    ----------
    db : Database
    parts : list of (KeyEntry, first bit, number of bits)
    event : str
        What the journal calls it.

    Raises
    ------
    KeySinkError
        If a bit went out before, or is damaged; the transaction must end with it.
    """
    places: dict[int, list[int]] = {}
    for place, (entry, _, _) in enumerate(parts):
        places.setdefault(entry.serial, []).append(place)
    pieces: dict[int, NDArray[np.uint8]] = {}
    for serial, here in places.items():
        entry, runs = parts[here[0]][0], [parts[place][1:] for place in here]
        check_metadata(db, entry)
        _mark(db, entry, runs)
        found = material.consume(db, serial, runs)
        pieces.update(zip(here, found, strict=True))
    ranges = [(entry.identifier, start, count) for entry, start, count in parts]
    note(db, event, ranges[0][0], _spans(ranges))
    blocks = {entry.serial: entry.epsilon for entry, _, _ in parts}
    bits = np.concatenate([pieces[place] for place in range(len(parts))])
    return Spent(bits, ranges, sum(blocks.values()))


def burn(db: Database, parts: Parts, why: str) -> int:
    """Mark `parts` as spent and overwrite them; return how many bits [bit]."""
    for entry, start, count in parts:
        if start == entry.used_bits and start + count == entry.n_bits:
            # All that was left: it may be damaged, and goes unread.
            material.erase(db, entry.serial)
        else:
            material.consume(db, entry.serial, [(start, count)])
        _mark(db, entry, [(start, count)])
    if parts:
        ranges = [(entry.identifier, start, count) for entry, start, count in parts]
        note(db, "burnt", ranges[0][0], f"{_spans(ranges)}: {why}")
    return sum(count for _, _, count in parts)


def burn_rest(db: Database, entry: KeyEntry, why: str) -> int:
    """Erase all that is left of a block, unread; return how many bits [bit]."""
    if entry.state >= State.CONSUMED:
        return 0
    runs = free_runs(db, entry)
    material.erase(db, entry.serial)
    if runs:
        _mark(db, entry, [(start, count) for _, start, count in runs])
    note(db, "burnt", entry.identifier, f"{_spans(runs)}: {why}")
    return sum(count for _, _, count in runs)


def first_free(db: Database, found: Entries, n_bits: int | None) -> Parts:
    """Choose the first bits of `found` that were never released, all for None.

    Raises
    ------
    KeySinkError
        If there are not so many bits.
    """
    room = sum(e.available_bits for e in found)
    wanted = room if n_bits is None else n_bits
    if wanted > room or wanted <= 0:
        raise KeySinkError(
            f"key sink {db.path} pool {KEY_PURPOSE!r}: {wanted} bits asked for, {room} "
            "available"
        )
    parts = []
    for entry in (e for e in found if e.available_bits):
        for _, start, length in free_runs(db, entry):
            count = min(length, wanted)
            if count:
                parts.append((entry, start, count))
                wanted -= count
    return parts


def whole_runs(db: Database, found: Entries, n_bits: int, min_run_bits: int) -> Parts:
    """Choose whole bytes of `found`, in runs of at least `min_run_bits`.

    Raises
    ------
    KeySinkError
        If there are not so many bits.
    """
    parts: Parts = []
    missing = n_bits
    for entry in found:
        if missing <= 0:
            break
        for _, start, length in whole_bytes(free_runs(db, entry)):
            if length >= min_run_bits and missing > 0:
                parts.append((entry, start, min(length, missing)))
                missing -= parts[-1][2]
    if missing or n_bits <= 0:
        raise KeySinkError(
            f"key sink {db.path}: a lease of {n_bits} bits in runs of {min_run_bits} "
            f"asked for, {n_bits - missing} available"
        )
    return parts


def sweep(db: Database) -> int:
    """Erase consumed blocks and what the write-ahead log holds of them [1]."""
    consumed = find(db, "p.state = 4")
    for entry in consumed:
        with db.transaction():
            material.erase(db, entry.serial)
            db.execute(
                "UPDATE progress SET state=? WHERE serial=?",
                (State.ERASED, entry.serial),
            )
            db.execute("DELETE FROM releases WHERE serial=?", (entry.serial,))
            note(db, "erased", entry.identifier)
    if consumed:
        db.truncate_log()
    return len(consumed)


def oldest(
    db: Database, purpose: str, direction: str, n_bits: int, allow_simulated: bool
) -> Parts:
    """Choose the oldest bits of a pool that both ends spend in step.

    Raises
    ------
    KeySinkError
        If the pool is no such one, or cannot pay.
    """
    where = f"key sink {db.path} pool {(purpose, direction)}"
    for most in _FRONTS:
        found = _in_step(db, purpose, direction, allow_simulated, most)
        if sum(entry.available_bits for entry in found) >= n_bits:
            break
    return plan.oldest(found, n_bits, where)


def followed(
    db: Database,
    purpose: str,
    direction: str,
    ranges: Sequence[Range],
    allow_simulated: bool,
) -> tuple[Parts, Parts]:
    """Choose the bits that the peer names, and all unspent ones before them.

    Raises
    ------
    KeySinkError
        If the pool is no such one; if a bit is unknown, out of order or spent.
    """
    named = {identifier for identifier, _, _ in ranges}
    for most in _FRONTS:
        found = _in_step(db, purpose, direction, allow_simulated, most)
        if named <= {entry.identifier for entry in found}:
            break
    return plan.followed(found, ranges, f"key sink {db.path}")


def check_skipped(db: Database, burnt: Parts, most: int | None) -> None:
    """Refuse to burn more than `most` bits because the peer names later ones.

    Raises
    ------
    KeySinkError
        If it is more; None allows everything.
    """
    skipped = sum(n_bits for _, _, n_bits in burnt)
    if most is not None and skipped > most:
        raise KeySinkError(
            f"key sink {db.path}: the peer is {skipped} bits of pad ahead, at most "
            f"{most} are skipped"
        )


def _in_step(
    db: Database, purpose: str, direction: str, allow_simulated: bool, most: int
) -> Entries:
    if purpose not in IN_STEP:
        raise KeySinkError(f"key sink: pool {purpose!r} is not spent in step")
    return entries.in_step(db, purpose, direction, simulated=allow_simulated, most=most)


def kept(db: Database, purpose: str, direction: str, allow_simulated: bool) -> bytes:
    """Return the newest block of a kept pool; see `KeySink.read_kept`."""
    if purpose not in KEPT:
        raise KeySinkError(f"key sink: pool {purpose!r} is released once, not kept")
    found = pool(db, purpose, direction)
    if not found:
        raise KeySinkError(
            f"key sink {db.path}: no {purpose} for direction {direction!r}"
        )
    newest = found[-1]
    check_simulated(newest, allow_simulated)
    check_metadata(db, newest)
    return np.packbits(material.read(db, newest.serial, 0, newest.n_bits)).tobytes()


def take(db: Database, found: Entries, n_bits: int | None) -> KeyBlock:
    """Release key of what is `exportable` within the running transaction."""
    parts = first_free(db, found, n_bits)
    spent = release(db, parts, "taken")
    used = {entry.run_uuid for entry, _, _ in parts}
    return KeyBlock(
        identifier=_spans(spent.ranges),
        bits=spent.packed,
        n_bits=spent.bits.size,
        epsilon=spent.epsilon,
        simulated=any(entry.simulated for entry, _, _ in parts),
        provenance={"run_uuid": "+".join(sorted(used)), "purpose": KEY_PURPOSE},
    )


def exportable(
    db: Database, identifier: str | None, direction: str | None, allow_simulated: bool
) -> Entries:
    """Return what `KeySink.take` may release, oldest first.

    Raises
    ------
    KeySinkError
        If a block is named that it may not.
    """
    if identifier is None:
        found = pool(db, KEY_PURPOSE, direction)
        return [e for e in found if allow_simulated or not e.simulated]
    entry = named(db, identifier)
    if entry.purpose != KEY_PURPOSE:
        raise KeySinkError(
            f"key block {identifier}: for {entry.purpose}, not for export"
        )
    if direction not in (None, entry.direction):
        raise KeySinkError(
            f"key block {identifier}: of direction {entry.direction!r}, {direction!r} "
            "asked for"
        )
    check_simulated(entry, allow_simulated)
    if entry.state == State.VERIFIED:
        raise KeySinkError(f"key block {identifier}: the peer has not confirmed it")
    if entry.available_bits == 0:
        raise KeySinkError(f"key block {identifier}: already spent")
    return [entry]


def is_released(db: Database, entry: KeyEntry, start: int, count: int) -> bool:
    """Return whether any bit of a run went out before."""
    last = db.rows(
        "SELECT start_bit + n_bits FROM releases WHERE serial=? AND start_bit<? "
        "ORDER BY start_bit DESC LIMIT 1",
        (entry.serial, start + count),
    )
    return entry.state >= State.CONSUMED or bool(last and last[0][0] > start)


def check_simulated(entry: KeyEntry, allow_simulated: bool) -> None:
    """Refuse keys of a simulated bench unless they are asked for so.

    Raises
    ------
    KeySinkError
        If this is one.
    """
    if entry.simulated and not allow_simulated:
        raise KeySinkError(
            f"key block {entry.identifier}: made on a simulated bench; "
            "released only when simulated keys are asked for"
        )


def _mark(db: Database, entry: KeyEntry, runs: Sequence[material.Run]) -> None:
    now = now_utc()
    for first in range(0, len(runs), _ROWS):
        some = runs[first : first + _ROWS]
        places = ",".join(["(?,?,?,?)"] * len(some))
        db.execute(
            "INSERT INTO releases (serial, start_bit, n_bits, released_utc) "
            f"VALUES {places}",
            tuple(value for run in some for value in (entry.serial, *run, now)),
        )
    total = sum(count for _, count in runs)
    ((state,),) = db.rows(
        "UPDATE progress SET used_bits=used_bits+?1, state=CASE WHEN used_bits+?1=?2 "
        "THEN ?3 ELSE max(state, ?4) END WHERE serial=?5 RETURNING state",
        (total, entry.n_bits, State.CONSUMED, State.LEASED, entry.serial),
    )
    if state == State.CONSUMED:
        note(db, "consumed", entry.identifier)


def _spans(ranges: list[Range]) -> str:
    return "+".join(f"{name}[{start}:{start + k}]" for name, start, k in ranges)
