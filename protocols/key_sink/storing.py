"""How a block gets into the sink: claimed, verified, confirmed by the peer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from protocols.key_sink import material
from protocols.key_sink.database import Database
from protocols.key_sink.entries import METADATA, metadata_digest, of_block, tag_of
from protocols.key_sink.health import note, now_utc
from protocols.key_sink.records import KeyEntry, PoolKey, State
from scqc.core.errors import KeySinkError


def claim(db: Database, run_uuid: str, block: int) -> None:
    """See `KeySink.claim`."""
    with db.transaction():
        _check_not_refused(db, run_uuid, block)
        known = db.rows(
            "SELECT 1 FROM claims WHERE run_uuid=? AND block=?", (run_uuid, block)
        )
        if known:
            raise KeySinkError(
                f"key sink {db.path}: block {block} of run {run_uuid} was distilled "
                "before; it cannot be a second time"
            )
        db.execute(
            "INSERT INTO claims (run_uuid, block, claimed_utc) VALUES (?,?,?)",
            (run_uuid, block, now_utc()),
        )
        note(db, "raw", f"{run_uuid}/{block}")


def store(db: Database, keys: Sequence[PoolKey], *, confirmed: bool) -> None:
    """See `KeySink.store`."""
    with db.transaction():
        for key in keys:
            insert(db, key, confirmed=confirmed, distilled=True)


def insert(db: Database, what: PoolKey, *, confirmed: bool, distilled: bool) -> None:
    """Store one pool of a block, within the running transaction.

    Raises
    ------
    KeySinkError
        If that run and block filled the pool before, was given up, or its
        provenance is incomplete.
    """
    key = what.key
    try:
        run_uuid, block = key.provenance["run_uuid"], int(key.provenance["block"])
    except (KeyError, ValueError) as cause:
        raise KeySinkError(
            f"key block {key.identifier}: provenance lacks run_uuid or block"
        ) from cause
    if key.n_bits < 1:
        raise KeySinkError(f"key block {key.identifier}: no bits")
    _check_not_refused(db, run_uuid, block)
    known = db.rows(
        "SELECT 1 FROM blocks WHERE identifier=? OR (run_uuid=? AND block=? AND "
        "purpose=? AND direction=?)",
        (key.identifier, run_uuid, block, what.purpose, what.direction),
    )
    if known:
        raise KeySinkError(
            f"key sink {db.path}: block {block} of run {run_uuid} ({key.identifier}) "
            "was stored before"
        )
    state = State.AVAILABLE if confirmed else State.VERIFIED
    serial = _write(db, what, (run_uuid, block), distilled)
    db.execute(
        "INSERT INTO progress (serial, state, used_bits) VALUES (?,?,0)",
        (serial, state),
    )
    material.write(db, serial, key.bits)
    note(db, state.name.lower(), key.identifier, f"{key.n_bits} bits, {what.purpose}")


def confirm(db: Database, run_uuid: str, block: int) -> int:
    """See `KeySink.confirm`."""
    with db.transaction():
        found = of_block(db, run_uuid, block)
        if not found:
            raise KeySinkError(
                f"key sink {db.path}: no block {block} of run {run_uuid} to confirm"
            )
        waiting = [e for e in found if e.state == State.VERIFIED]
        for entry in waiting:
            make_available(db, entry)
    return len(waiting)


def make_available(db: Database, entry: KeyEntry) -> None:
    """Let the bits of a verified pool be released from now on."""
    db.execute(
        "UPDATE progress SET state=? WHERE serial=?", (State.AVAILABLE, entry.serial)
    )
    note(db, "available", entry.identifier, "the peer holds it, too")


def discard(db: Database, run_uuid: str, block: int) -> int:
    """See `KeySink.discard`."""
    with db.transaction():
        found = of_block(db, run_uuid, block)
        beyond = [e for e in found if State.VERIFIED < e.state < State.ERASED]
        if beyond:
            raise KeySinkError(
                f"key sink {db.path}: block {beyond[0].identifier} is "
                f"{beyond[0].state.name.lower()}, only a verified one is discarded"
            )
        waiting = [e for e in found if e.state == State.VERIFIED]
        for entry in waiting:
            material.erase(db, entry.serial)
            db.execute(
                "UPDATE progress SET state=?, used_bits=? WHERE serial=?",
                (State.ERASED, entry.n_bits, entry.serial),
            )
            note(db, "erased", entry.identifier, "discarded: the peer has it not")
        refuse(db, run_uuid, block)
    return sum(e.n_bits for e in waiting)


def refuse(db: Database, run_uuid: str, block: int) -> None:
    """Note that a block is never to be stored from now on."""
    values = (run_uuid, block, now_utc())
    changed = db.execute(
        "INSERT OR IGNORE INTO refusals (run_uuid, block, refused_utc) VALUES (?,?,?)",
        values,
    )
    if changed:
        note(db, "refused", f"{run_uuid}/{block}", "never to be stored")


def _check_not_refused(db: Database, run_uuid: str, block: int) -> None:
    if db.rows(
        "SELECT 1 FROM refusals WHERE run_uuid=? AND block=?", (run_uuid, block)
    ):
        raise KeySinkError(
            f"key sink {db.path}: block {block} of run {run_uuid} was given up; the "
            "peer was told so, and it cannot be stored any more"
        )


def _write(db: Database, what: PoolKey, name: tuple[str, int], distilled: bool) -> int:
    """Write the row of a block; return its serial number."""
    key = what.key
    metadata = (
        key.identifier,
        tag_of(key.identifier),
        *name,
        what.purpose,
        what.direction,
        key.n_bits,
        key.epsilon,
        int(key.simulated),
        int(distilled),
        json.dumps(key.provenance),
    )
    ((last,),) = db.rows("SELECT coalesce(max(serial), 0) FROM blocks")
    marks = ",".join("?" * (len(metadata) + 3))
    db.execute(
        f"INSERT INTO blocks (serial, {METADATA}, created_utc, digest) "
        f"VALUES ({marks})",
        (last + 1, *metadata, now_utc(), metadata_digest(*metadata)),
    )
    return int(last) + 1
