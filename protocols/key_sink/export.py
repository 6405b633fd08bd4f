"""Keys for others: allocated at the end that sends, fetched by place at the other.

Each direction of the export pool belongs to the end that sends in it: only that end
allocates from it, so the two never give the same bits to different applications, and
need no message to agree. The other end hands out exactly the bytes of a place, each
byte at most once, on the disk as spent before they are returned.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

from protocols.key_sink import entries, spending
from protocols.key_sink.grouped import GroupCommit
from protocols.key_sink.lease import Lease
from protocols.key_sink.plan import whole_bytes
from protocols.key_sink.records import (
    KEY_NAME_PURPOSE,
    KEY_PURPOSE,
    KeyEntry,
    Part,
    Parts,
    State,
)
from protocols.key_sink.sink import KeySink
from scqc.core.errors import KeySinkError

#: Key that is leased in advance; a crash loses at most so much [byte].
LEASE_BYTES = 1 << 16
#: Keys of one call [1], and bytes of one key [byte].
MAX_KEYS, MAX_KEY_BYTES = 1024, 1 << 20
#: Leases with something left that are kept open [1].
_OPEN_LEASES = 16


class UnknownKey(KeySinkError):  # noqa: N818
    """No such key here: never was, other end's, or handed out before.

    Parameters
    ----------
    message : str
    place : KeyPosition, optional
        Of the key that is not here.
    """

    def __init__(self, message: str, place: KeyPosition | None = None) -> None:
        super().__init__(message)
        self.place = place


class NotEnoughKey(KeySinkError):  # noqa: N818
    """The pool cannot pay now; later it may."""


@dataclass(frozen=True, slots=True)
class KeyPosition:
    """Where a key lies, the same at both ends.

    Parameters
    ----------
    block_tag : int
        Short name of the block, 40 bits, derived from its identifier.
    first_byte : int
        Within the block [byte].
    n_bytes : int
        [byte]
    """

    block_tag: int
    first_byte: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class ExportKey:
    """A key that belongs to the caller; never printed, copied or pickled.

    Parameters
    ----------
    position : KeyPosition
    bits : bytes
    """

    position: KeyPosition
    bits: bytes = field(repr=False)

    def __reduce__(self) -> str:
        raise KeySinkError("export key: it is not copied and not pickled")


class ExportStore:
    """What one end can deliver; threads and processes may share the sink.

    Parameters
    ----------
    sink : KeySink
        Stays open as long as this is used.
    sends, receives : str
        Direction in which this end allocates, and in which it fetches.
    allow_simulated : bool
        Keys of a simulated bench are delivered only when asked for so.
    """

    def __init__(
        self, sink: KeySink, sends: str, receives: str, *, allow_simulated: bool = False
    ) -> None:
        if sends == receives:
            raise KeySinkError(f"key export: both directions are {sends!r}")
        self._sink, self._sends, self._receives = sink, sends, receives
        self._simulated = allow_simulated
        self._commits = GroupCommit(sink.db, self._fetch)
        self._leases: list[Lease] = []
        self._lock = threading.Lock()

    def __enter__(self) -> ExportStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is leased and not handed out; it stays spent."""
        with self._lock:
            for lease in self._leases:
                lease.close()
            self._leases = []

    def key_id_secret(self) -> bytes:
        """Return the secret that key names are made with, the same at both ends.

        Raises
        ------
        KeySinkError
            If the start key of this sink has none.
        """
        return self._sink.read_kept(
            KEY_NAME_PURPOSE, "", allow_simulated=self._simulated
        )

    def available_bytes(self) -> int:
        """Return how much this end can still allocate [byte]."""
        with self._lock:
            leased = sum(lease.left_bits for lease in self._leases) // 8
        free = sum(entry.available_bits // 8 for entry in self._ready(self._sends))
        return leased + free

    def allocate(self, n_keys: int, n_bytes: int) -> list[ExportKey]:
        """Hand out new keys, oldest bits first; spent on the disk before.

        Parameters
        ----------
        n_keys : int
        n_bytes : int
            Of each key [byte].

        Raises
        ------
        NotEnoughKey
            If the pool cannot pay for all of them; nothing is handed out then.
        KeySinkError
            If a number is out of bounds, or the sink fails.
        """
        _check_bounds(n_keys, n_bytes)
        with self._lock:
            missing = n_keys - sum(x.runs_of(n_bytes) for x in self._leases)
            if missing > 0:
                self._leases.append(self._lease(missing, n_bytes))
            keys: list[ExportKey] = []
            for lease in self._leases:
                while len(keys) < n_keys and (run := lease.take_run(n_bytes)):
                    bits, identifier, first = run
                    place = KeyPosition(entries.tag_of(identifier), first, n_bytes)
                    keys.append(ExportKey(place, bits))
            self._tidy()
        return keys

    def fetch(self, positions: Sequence[KeyPosition]) -> list[ExportKey]:
        """Hand out the keys at the places the other end allocated, all or none.

        Raises
        ------
        UnknownKey
            If a place does not exist, or one of its bytes was handed out before.
        KeySinkError
            If a number is out of bounds, or the sink fails.
        """
        for position in positions:
            _check_bounds(len(positions), position.n_bytes)
        if not positions:
            raise KeySinkError("key export: no key named")
        keys, ends_block = self._commits.run(positions)
        if ends_block:
            self._sink.sweep()
        return keys

    def _fetch(
        self, requests: Sequence[Sequence[KeyPosition]]
    ) -> list[tuple[list[ExportKey], bool]]:
        """Return the keys of each request, and whether a block ends with them."""
        places = [at for request in requests for at in request]
        one_of = {at.block_tag: at for at in reversed(places)}
        entry_of = {tag: self._entry(at) for tag, at in one_of.items()}
        parts = [_part(entry_of[at.block_tag], at) for at in places]
        if len(requests) == 1:
            # What several name that went out before is refused by the database, too:
            # then each of them is asked for alone, and told why.
            self._check_unspent(parts, places)
        spent = spending.release(self._sink.db, parts, "fetched for export")
        packed, begin, keys = spent.packed, 0, []
        for at in places:
            keys.append(ExportKey(at, packed[begin : begin + at.n_bytes]))
            begin += at.n_bytes
        used = Counter({entry.serial: entry.used_bits for entry in entry_of.values()})
        for entry, _, count in parts:
            used[entry.serial] += count
        ends_block = any(used[e.serial] == e.n_bits for e in entry_of.values())
        rest = iter(keys)
        return [(list(islice(rest, len(one))), ends_block) for one in requests]

    def _check_unspent(self, parts: Parts, places: Sequence[KeyPosition]) -> None:
        """Refuse what was handed out before, or is named twice."""
        _check_apart(parts)
        for (entry, start, count), at in zip(parts, places, strict=True):
            if spending.is_released(self._sink.db, entry, start, count):
                raise UnknownKey(
                    f"key export: byte {start // 8} of block {entry.identifier} was "
                    "handed out before",
                    at,
                )

    def _entry(self, at: KeyPosition) -> KeyEntry:
        tag, where = at.block_tag, "b.tag=? AND b.purpose=? AND b.direction=?"
        named = (tag, KEY_PURPOSE, self._receives)
        found = entries.find(self._sink.db, where, named)
        if len(found) != 1:
            message = f"key export: no block of tag {tag:010x} to fetch from"
            raise UnknownKey(message, at)
        entry = found[0]
        spending.check_simulated(entry, self._simulated)
        if entry.state == State.VERIFIED:
            raise NotEnoughKey(
                f"key export: block {entry.identifier} waits for the peer's word"
            )
        return entry

    def _lease(self, n_keys: int, n_bytes: int) -> Lease:
        """Lease runs that hold `n_keys`, and more up to the usual size."""
        with self._sink.db.transaction():
            parts: Parts = []
            missing, total = n_keys, 0
            for entry in self._ready(self._sends):
                for _, start, length in whole_bytes(
                    entries.free_runs(self._sink.db, entry)
                ):
                    if length < 8 * n_bytes or (missing <= 0 and total >= LEASE_BYTES):
                        continue
                    wanted = max(missing * n_bytes, LEASE_BYTES - total)
                    parts.append((entry, start, min(length, 8 * wanted)))
                    total += parts[-1][2] // 8
                    missing -= parts[-1][2] // (8 * n_bytes)
                if missing <= 0 and total >= LEASE_BYTES:
                    break
            if missing > 0:
                raise NotEnoughKey(
                    f"key export: {n_keys} keys of {n_bytes} bytes asked for, "
                    f"{n_keys - missing} available"
                )
            return self._sink.lease_parts(parts)

    def _ready(self, direction: str) -> list[KeyEntry]:
        """Return the blocks of a direction whose short name is theirs alone."""
        found = entries.pool(self._sink.db, KEY_PURPOSE, direction)
        return [
            e
            for e in found
            if e.available_bits
            and (self._simulated or not e.simulated)
            and entries.tag_is_unique(self._sink.db, e)
        ]

    def _tidy(self) -> None:
        """Close the oldest leases when small remainders of many have piled up."""
        self._leases = [lease for lease in self._leases if lease.left_bits]
        while len(self._leases) > _OPEN_LEASES:
            self._leases.pop(0).close()


def _check_bounds(n_keys: int, n_bytes: int) -> None:
    if not (0 < n_keys <= MAX_KEYS and 0 < n_bytes <= MAX_KEY_BYTES):
        raise KeySinkError(
            f"key export: {n_keys} keys of {n_bytes} bytes asked for, at most "
            f"{MAX_KEYS} of {MAX_KEY_BYTES}"
        )


def _part(entry: KeyEntry, at: KeyPosition) -> Part:
    """Return where in its block a key lies."""
    start, count = 8 * at.first_byte, 8 * at.n_bytes
    if at.first_byte < 0 or start + count > entry.n_bits:
        raise UnknownKey(f"key export: {at} lies outside its block", at)
    return entry, start, count


def _check_apart(parts: Parts) -> None:
    """Refuse a byte that is named twice."""
    ordered = sorted((e.serial, start, count) for e, start, count in parts)
    for (serial, start, count), (other, begin, _) in pairwise(ordered):
        if serial == other and start + count > begin:
            raise UnknownKey(
                f"key export: byte {begin // 8} of a block is named twice at a time"
            )
