"""Key sink on SQLite: write-ahead log, full synchronisation, one-time release.

Bits are marked as released in a committed transaction *before* they are handed
out: after a crash they are lost, never given twice. The file must lie on a local
file system. Restoring a backup or cloning a virtual machine would bring spent
bits back to life; nothing in this file can notice that.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.key_sink import schema
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock

KEY_PURPOSE = "key"
AUTHENTICATION_PURPOSE = "authentication"
PAD_PURPOSE = "pad"
_BUSY_TIMEOUT_S = 10.0
_COLUMNS = (
    "b.identifier, b.run_uuid, b.block, b.purpose, b.direction, b.n_bits, "
    "b.epsilon, b.simulated, b.created_utc"
)
_USED = "(SELECT coalesce(sum(n_bits), 0) FROM releases WHERE identifier=b.identifier)"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What may be told about a stored block: everything but its bits."""

    identifier: str
    run_uuid: str
    block: int
    purpose: str
    direction: str
    n_bits: int
    epsilon: float
    simulated: bool
    created_utc: str
    available_bits: int


Entries = list[KeyEntry]
Parts = list[tuple[KeyEntry, int, int]]


@dataclass(frozen=True, slots=True)
class SpentPad:
    """Pad bits, released for ever, and where they lay.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        Never printed.
    ranges : list of (identifier, first bit, number of bits)
    epsilon : float
        Of the blocks they came from, added up [1].
    """

    bits: NDArray[np.uint8] = field(repr=False)
    ranges: list[tuple[str, int, int]]
    epsilon: float


class KeySink:
    """One party's store of key blocks.

    Parameters
    ----------
    path : path-like
        Database file; created with mode 0600 when absent.
    create : bool
        False: an absent file is an error.

    Raises
    ------
    KeySinkError
        If the file is absent, damaged, of another version, or open to others.
    """

    def __init__(self, path: str | os.PathLike[str], create: bool = True) -> None:
        self.path = Path(path)
        if not self.path.exists():
            if not create:
                raise KeySinkError(f"key sink {self.path}: no such file")
            self._make_file()
        self._check_mode()
        with self._errors():
            self._db = sqlite3.connect(
                self.path,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare()
            except (sqlite3.Error, KeySinkError):
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> KeySink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KeySink({str(self.path)!r})"

    def put(
        self, key: KeyBlock, purpose: str = KEY_PURPOSE, direction: str = ""
    ) -> None:
        """Store a block; committed to disk when this returns.

        Parameters
        ----------
        key : KeyBlock
            Its provenance names ``run_uuid`` and ``block``.
        purpose, direction : str
            Pool: ``"key"``, or ``"authentication"`` or ``"pad"`` of one direction.

        Raises
        ------
        KeySinkError
            If that run and block filled this pool before, or the provenance
            is incomplete.
        """
        try:
            run_uuid, block = key.provenance["run_uuid"], int(key.provenance["block"])
        except (KeyError, ValueError) as cause:
            raise KeySinkError(
                f"key block {key.identifier}: provenance lacks run_uuid or block"
            ) from cause
        head = (key.identifier, run_uuid, block, purpose, direction, key.n_bits)
        tail = (key.epsilon, int(key.simulated), json.dumps(key.provenance))
        digest = _digest(*head, key.bits, *tail)
        row = (*head, key.bits, *tail, _now(), digest)
        with self._transaction():
            try:
                self._db.execute(
                    "INSERT INTO blocks (identifier, run_uuid, block, purpose, "
                    "direction, n_bits, bits, epsilon, simulated, provenance, "
                    "created_utc, digest) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                    row,
                )
            except sqlite3.IntegrityError as cause:
                raise KeySinkError(
                    f"key sink {self.path}: block {block} of run {run_uuid} "
                    f"({key.identifier}) was stored before"
                ) from cause

    def claim(self, run_uuid: str, block: int) -> None:
        """Note, for ever, that the public words of a block are about to be said.

        Raises
        ------
        KeySinkError
            If that was noted before: said twice, they would tell more than the
            key of the block was shortened by.
        """
        with self._transaction():
            try:
                self._db.execute(
                    "INSERT INTO claims (run_uuid, block, claimed_utc) VALUES (?,?,?)",
                    (run_uuid, block, _now()),
                )
            except sqlite3.IntegrityError as cause:
                raise KeySinkError(
                    f"key sink {self.path}: block {block} of run {run_uuid} was "
                    "distilled before; it cannot be a second time"
                ) from cause

    def list(self) -> Entries:
        """Return all entries, oldest first, without their bits."""
        with self._errors():
            rows = self._db.execute(
                f"SELECT {_COLUMNS}, b.n_bits - {_USED} FROM blocks b ORDER BY serial"
            ).fetchall()
        return [_entry(row) for row in rows]

    def take(
        self,
        identifier: str | None = None,
        n_bits: int | None = None,
        *,
        allow_simulated: bool = False,
    ) -> KeyBlock:
        """Release key bits, once.

        Parameters
        ----------
        identifier : str, optional
            Take what is left of this block; otherwise from the oldest on.
        n_bits : int, optional
            How many bits; with `identifier` alone, all that is left.
        allow_simulated : bool
            Keys of a simulated bench are released only when asked for so.

        Returns
        -------
        KeyBlock

        Raises
        ------
        KeySinkError
            If the key is unknown, spent, too short, damaged or simulated.
        """
        if identifier is None and n_bits is None:
            raise KeySinkError("key sink: take needs an identifier or a number of bits")
        pool = (KEY_PURPOSE, "")
        return self._release(pool, identifier, n_bits, allow_simulated)

    def draw_authentication(
        self, n_bytes: int, direction: str, *, allow_simulated: bool = False
    ) -> bytes:
        """Burn authentication key of one direction and return it.

        The release is on disk before the bytes are returned: a crash wastes
        them but never repeats them.

        Raises
        ------
        KeySinkError
            If the pool cannot pay.
        """
        pool = (AUTHENTICATION_PURPOSE, direction)
        return self._release(pool, None, 8 * n_bytes, allow_simulated).bits

    def spend_pad(
        self, n_bits: int, direction: str, *, allow_simulated: bool = False
    ) -> SpentPad:
        """Burn the oldest message pad of one direction and return it.

        Raises
        ------
        KeySinkError
            If the pool cannot pay; nothing is burnt then.
        """
        pool = (PAD_PURPOSE, direction)
        with self._transaction():
            entries = self._candidates(pool, None, allow_simulated)
            parts = _plan(entries, n_bits, f"key sink {self.path} pool {pool}")
            return self._burn(parts)

    def follow_pad(
        self,
        ranges: Sequence[tuple[str, int, int]],
        direction: str,
        *,
        allow_simulated: bool = False,
    ) -> SpentPad:
        """Burn exactly the pad bits the peer named, and all that lie before them.

        What lies before was spent at the other end, or lost in a crash there:
        nothing may be done with it any more.

        Parameters
        ----------
        ranges : sequence of (identifier, first bit, number of bits)
            In the order of the pool.
        direction : str
        allow_simulated : bool

        Raises
        ------
        KeySinkError
            If a bit is unknown, out of order, or was spent before; nothing is
            burnt then.
        """
        pool = (PAD_PURPOSE, direction)
        with self._transaction():
            entries = self._candidates(pool, None, allow_simulated)
            parts, burnt = _follow(entries, ranges, f"key sink {self.path}")
            for entry, start, count in burnt:
                self._mark(entry.identifier, start, count)
            return self._burn(parts)

    def burn_upto(self, identifier: str, used_bits: int) -> int:
        """Mark the first `used_bits` of a block as spent; return how many were not.

        Raises
        ------
        KeySinkError
            If there is no such block, or it is shorter.
        """
        with self._transaction():
            found = [e for e in self.list() if e.identifier == identifier]
            if not found or used_bits > found[0].n_bits:
                raise KeySinkError(
                    f"key sink {self.path}: no block {identifier!r} of {used_bits} bits"
                )
            used = found[0].n_bits - found[0].available_bits
            if used_bits > used:
                self._mark(identifier, used, used_bits - used)
        return max(0, used_bits - used)

    def _burn(self, parts: Parts) -> SpentPad:
        """Read and mark `parts` within the running transaction."""
        pieces = []
        for entry, start, count in parts:
            whole = np.unpackbits(np.frombuffer(self._load(entry.identifier), "u1"))
            pieces.append(whole[start : start + count])
            self._mark(entry.identifier, start, count)
        return SpentPad(
            np.concatenate(pieces),
            [(entry.identifier, start, count) for entry, start, count in parts],
            sum(entry.epsilon for entry, _, _ in parts),
        )

    def _mark(self, identifier: str, start: int, count: int) -> None:
        self._db.execute(
            "INSERT INTO releases (identifier, start_bit, n_bits, released_utc) "
            "VALUES (?,?,?,?)",
            (identifier, start, count, _now()),
        )

    def read_kept(
        self, purpose: str, direction: str, *, allow_simulated: bool = False
    ) -> bytes:
        """Return the newest block of a pool that is kept, such as a hash key.

        Raises
        ------
        KeySinkError
            If there is none, or it is damaged or simulated.
        """
        if purpose in (KEY_PURPOSE, AUTHENTICATION_PURPOSE, PAD_PURPOSE):
            raise KeySinkError(f"key sink: pool {purpose!r} is released once, not kept")
        entries = [
            e for e in self.list() if (e.purpose, e.direction) == (purpose, direction)
        ]
        if not entries:
            raise KeySinkError(
                f"key sink {self.path}: no {purpose} for direction {direction!r}"
            )
        self._check_simulated(entries[-1], allow_simulated)
        return self._load(entries[-1].identifier)

    def available_bits(
        self, purpose: str = KEY_PURPOSE, direction: str = "", simulated: bool = False
    ) -> int:
        """Return how many bits a pool can still release [bit]."""
        return sum(
            e.available_bits
            for e in self.list()
            if (e.purpose, e.direction) == (purpose, direction)
            and (simulated or not e.simulated)
        )

    def _release(
        self,
        pool: tuple[str, str],
        identifier: str | None,
        n_bits: int | None,
        allow_simulated: bool,
    ) -> KeyBlock:
        if n_bits is not None and n_bits <= 0:
            raise KeySinkError(f"key sink: {n_bits} bits asked for, at least 1")
        with self._transaction():
            entries = self._candidates(pool, identifier, allow_simulated)
            wanted = (
                sum(e.available_bits for e in entries) if n_bits is None else n_bits
            )
            parts = _plan(entries, wanted, f"key sink {self.path} pool {pool}")
            spent = self._burn(parts)
        names = [f"{name}[{start}:{start + k}]" for name, start, k in spent.ranges]
        used = {e.run_uuid for e, _, _ in parts}
        return KeyBlock(
            identifier="+".join(names),
            bits=np.packbits(spent.bits).tobytes(),
            n_bits=wanted,
            epsilon=spent.epsilon,
            simulated=any(e.simulated for e, _, _ in parts),
            provenance={"run_uuid": "+".join(sorted(used)), "purpose": pool[0]},
        )

    def _candidates(
        self, pool: tuple[str, str], identifier: str | None, allow_simulated: bool
    ) -> Entries:
        entries = [e for e in self.list() if (e.purpose, e.direction) == pool]
        if identifier is None:
            return [e for e in entries if allow_simulated or not e.simulated]
        named = [e for e in entries if e.identifier == identifier]
        if not named:
            raise KeySinkError(f"key sink {self.path}: no key block {identifier!r}")
        self._check_simulated(named[0], allow_simulated)
        if named[0].available_bits == 0:
            raise KeySinkError(f"key block {identifier}: already spent")
        return named

    def _check_simulated(self, entry: KeyEntry, allow_simulated: bool) -> None:
        if entry.simulated and not allow_simulated:
            raise KeySinkError(
                f"key block {entry.identifier}: made on a simulated bench; "
                "released only when simulated keys are asked for"
            )

    def _load(self, identifier: str) -> bytes:
        row = self._db.execute(
            "SELECT identifier, run_uuid, block, purpose, direction, n_bits, bits, "
            "epsilon, simulated, provenance, digest FROM blocks WHERE identifier=?",
            (identifier,),
        ).fetchone()
        if row is None or _digest(*row[:-1]) != row[-1]:
            raise KeySinkError(f"key block {identifier}: damaged (digest differs)")
        return bytes(row[6])

    def _make_file(self) -> None:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(self.path, flags, 0o600))
        except OSError as cause:
            raise KeySinkError(f"key sink {self.path}: {cause.strerror}") from cause

    def _check_mode(self) -> None:
        mode = self.path.stat().st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            raise KeySinkError(
                f"key sink {self.path}: mode {mode:04o} lets others in, wanted 0600"
            )

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA fullfsync=ON")
        self._db.execute("PRAGMA foreign_keys=ON")
        with self._transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _statements(schema.CREATE):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={schema.VERSION}")
            elif version == 1:
                for statement in _statements(schema.CLAIMS):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={schema.VERSION}")
            elif version != schema.VERSION:
                raise KeySinkError(
                    f"key sink {self.path}: format {version}, wanted {schema.VERSION}"
                )
        verdict = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise KeySinkError(f"key sink {self.path}: damaged: {verdict}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as cause:
            raise KeySinkError(f"key sink {self.path}: {cause}") from cause

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _entry(row: tuple[Any, ...]) -> KeyEntry:
    fields = dict(zip(KeyEntry.__slots__, row, strict=True))
    return KeyEntry(**{**fields, "simulated": bool(fields["simulated"])})


def _plan(entries: list[KeyEntry], wanted: int, where: str) -> Parts:
    """Choose (entry, first bit, number of bits), oldest first."""
    room = sum(e.available_bits for e in entries)
    if wanted > room or wanted <= 0:
        raise KeySinkError(f"{where}: {wanted} bits asked for, {room} available")
    parts = []
    for entry in entries:
        count = min(entry.available_bits, wanted)
        if count > 0:
            parts.append((entry, entry.n_bits - entry.available_bits, count))
            wanted -= count
    return parts


def _follow(
    entries: list[KeyEntry], ranges: Sequence[tuple[str, int, int]], where: str
) -> tuple[Parts, Parts]:
    """Return the named runs of bits, and the runs before them that go unused."""
    position = {entry.identifier: n for n, entry in enumerate(entries)}
    used = [entry.n_bits - entry.available_bits for entry in entries]
    parts, burnt, at = [], [], 0
    for identifier, start, count in ranges:
        number = position.get(identifier, -1)
        if number < at:
            raise KeySinkError(f"{where}: pad {identifier!r} unknown or out of order")
        entry = entries[number]
        if count < 1 or start + count > entry.n_bits:
            raise KeySinkError(
                f"{where}: pad {identifier} bits {start} to {start + count}, it has "
                f"{entry.n_bits}"
            )
        if start < used[number]:
            raise KeySinkError(
                f"{where}: pad {identifier} bits from {start} on, spent up to "
                f"{used[number]}"
            )
        for earlier in range(at, number + 1):
            end = start if earlier == number else entries[earlier].n_bits
            if end > used[earlier]:
                burnt.append((entries[earlier], used[earlier], end - used[earlier]))
            used[earlier] = end
        parts.append((entry, start, count))
        used[number], at = start + count, number
    if not parts:
        raise KeySinkError(f"{where}: no pad named")
    return parts, burnt


def _statements(script: str) -> list[str]:
    """Split a script at statement ends; triggers hold semicolons of their own."""
    out, pending = [], ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                out.append(pending)
            pending = ""
    return out


def _digest(*fields: object) -> bytes:
    """Detect damage; it is no protection against a deliberate change."""
    text = [f.hex() if isinstance(f, bytes) else repr(f) for f in fields]
    return hashlib.sha256("\x1f".join(text).encode()).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
