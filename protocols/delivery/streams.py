"""Key streams by ETSI GS QKD 004 (V2.1.1): open, get by index, close.

The standard leaves to the KMEs how both learn what a stream is made of. Here opening
a stream *reserves* all its chunks, one after another in one run of bits, and the
Key_stream_ID says where they lie. So the same index is the same chunk at both ends,
and no message travels between the KMEs; a stream has an end, and an application that
needs more opens another.

The end that opens without a Key_stream_ID is the source. It hands the identifier to
its partner, whose KME finds the same chunks with it. Streams live in memory: the bits
were burnt in the sink when the stream was opened, what is not fetched before the
stream ends is lost, never given twice.
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from protocols.delivery.answers import Answer, as_answer
from protocols.delivery.identifiers import (
    COUNT_WIDTH,
    Identifiers,
    Route,
    StreamPosition,
    UnknownKeyIdError,
)
from protocols.delivery.requests import decode_json, refused
from protocols.delivery.settings import DeliverySettings, Party
from protocols.delivery.store import KeyStore
from protocols.key_sink.export import ExportKey, NotEnoughKey, UnknownKey

CHUNK_BYTES = (8, 8192)
LONGEST_TTL_S = 86_400
METADATA_TYPE = "application/json"


class Status(IntEnum):
    """What the standard lets a call return (clause 6.1)."""

    SUCCESSFUL = 0
    PEER_NOT_CONNECTED = 1
    INSUFFICIENT_KEY = 2
    NOT_YET_CONNECTED = 3
    NO_CONNECTION = 4
    IN_USE = 5
    TIMEOUT = 6
    QOS_NOT_MET = 7
    METADATA_SIZE = 8


class Qos(Struct, forbid_unknown_fields=True, frozen=True):
    """Quality of service, with the standard's names; bit/s, s, ms and bytes."""

    Key_chunk_size: int = 32
    Max_bps: int = 0
    Min_bps: int = 0
    Jitter: int = 0
    Priority: int = 0
    Timeout: int = 0
    TTL: int = 3600
    Metadata_mimetype: str = ""


class _Open(Struct, forbid_unknown_fields=True):
    source: str
    destination: str
    qos: Qos = Qos()
    key_stream_id: str | UnsetType = UNSET


class _Get(Struct, forbid_unknown_fields=True):
    key_stream_id: str
    index: int | UnsetType = UNSET
    metadata_size: int = 0


class _Close(Struct, forbid_unknown_fields=True):
    key_stream_id: str


@dataclass(slots=True)
class _Stream:
    """Chunks that one application still may fetch; ours to overwrite."""

    sae: str
    qos: Qos
    opened_s: float
    chunks: list[bytearray | None] = field(repr=False)
    following: int = 0

    def take(self, index: int | None) -> tuple[int, bytes] | None:
        """Return the chunk of an index, once; without one, of the next."""
        while self.following < len(self.chunks) and not self.chunks[self.following]:
            self.following += 1
        number = self.following if index is None else index
        chunk = self.chunks[number] if 0 <= number < len(self.chunks) else None
        if chunk is None:
            return None
        key = bytes(chunk)
        self.chunks[number] = None
        _overwrite(chunk)
        return number, key

    def erase(self) -> None:
        """Overwrite what was not fetched."""
        for chunk in self.chunks:
            if chunk is not None:
                _overwrite(chunk)
        self.chunks.clear()


class KeyStreams:
    """The open key streams of one end.

    Parameters
    ----------
    settings : DeliverySettings
    party : {"alice", "bob"}
    store : KeyStore
    names : Identifiers
    now_s : callable
        Clock of TTL and Timeout [s].
    """

    def __init__(
        self,
        settings: DeliverySettings,
        party: Party,
        store: KeyStore,
        names: Identifiers,
        now_s: Callable[[], float],
    ) -> None:
        self._settings, self._store, self._names = settings, store, names
        self._here, self._there = settings.here(party), settings.there(party)
        self._now_s = now_s
        self._open: dict[tuple[str, str], _Stream] = {}
        self._lock = threading.Lock()

    def answer(self, name: str, sae: str, body: bytes) -> Answer:
        """Answer ``open_connect``, ``get_key`` or ``close`` of an application.

        Raises
        ------
        DeliveryError
            If the body is malformed; everything else is a status.
        """
        if name == "open_connect":
            opening = decode_json(body, _Open)
            with self._lock:
                return as_answer(self._open_connect(sae, opening))
        if name == "get_key":
            asked = decode_json(body, _Get)
            with self._lock:
                found = self._get_key(sae, asked)
            return as_answer(found, n_keys=int("key_buffer" in found))
        closing = decode_json(body, _Close)
        with self._lock:
            self._forget_old()
            stream = self._open.pop((sae, closing.key_stream_id.lower()), None)
        if stream is None:
            return as_answer({"status": Status.NO_CONNECTION})
        stream.erase()
        return as_answer({"status": Status.SUCCESSFUL})

    def _open_connect(self, sae: str, asked: _Open) -> dict[str, Any]:
        start_s = self._now_s()
        self._forget_old()
        partner = self._partner(sae, asked)
        offered = _within_limits(asked.qos, self._settings.max_stream_bytes)
        if offered != asked.qos:
            return {"status": Status.QOS_NOT_MET, "qos": offered}
        mine = sum(owner == sae for owner, _ in self._open)
        if mine >= self._settings.max_streams_per_sae:
            return {"status": Status.NO_CONNECTION, "qos": asked.qos}
        if asked.key_stream_id is UNSET:
            status, name, whole = self._reserve(sae, partner, asked.qos)
        else:
            name = str(asked.key_stream_id).lower()
            route = Route(partner, sae, self._there.kme_id, self._here.kme_id)
            place = self._names.stream_position(name, route)
            fixed = msgspec.structs.replace(asked.qos, Key_chunk_size=place.chunk_bytes)
            if fixed != asked.qos:
                return {"status": Status.QOS_NOT_MET, "qos": fixed}
            status, whole = self._join(name, place)
        if whole is None:
            return {"status": status, "qos": asked.qos}
        if asked.qos.Timeout and 1e3 * (self._now_s() - start_s) > asked.qos.Timeout:
            return {"status": Status.TIMEOUT, "qos": asked.qos}
        chunks = _cut(whole.bits, asked.qos.Key_chunk_size)
        self._open[sae, name] = _Stream(sae, asked.qos, self._now_s(), chunks)
        return {"status": status, "qos": asked.qos, "key_stream_id": name}

    def _partner(self, sae: str, asked: _Open) -> str:
        """Return the application across; either may be named as the source."""
        ends = [asked.source, asked.destination]
        if sae not in ends:
            raise refused("source", f"neither it nor destination is {sae!r}")
        ends.remove(sae)
        if ends[0] not in self._there.saes:
            raise refused("destination", f"{ends[0][:64]!r} is at no end across")
        return ends[0]

    def _reserve(
        self, sae: str, partner: str, qos: Qos
    ) -> tuple[Status, str, ExportKey | None]:
        """Take fresh chunks; fewer than wished for when a block holds no more."""
        route = Route(sae, partner, self._here.kme_id, self._there.kme_id)
        least, n_chunks = _chunks(qos, self._settings)
        whole = None
        while whole is None:
            try:
                (whole,) = self._store.allocate(1, n_chunks * qos.Key_chunk_size)
            except NotEnoughKey:
                if n_chunks == least:
                    return Status.NO_CONNECTION, "", None
                n_chunks //= 2
        place = StreamPosition(whole.position, qos.Key_chunk_size)
        # The partner's KME was told nothing: that it is there is not known here.
        return Status.PEER_NOT_CONNECTED, self._names.stream_id(place, route), whole

    def _join(
        self, name: str, place: StreamPosition
    ) -> tuple[Status, ExportKey | None]:
        """Fetch the chunks that the partner's KME reserved."""
        if any(opened == name for _, opened in self._open):
            return Status.IN_USE, None
        try:
            (whole,) = self._store.fetch([place.whole])
        except UnknownKey:
            # Opened here before: its bits are gone.
            return Status.NO_CONNECTION, None
        return Status.SUCCESSFUL, whole

    def _get_key(self, sae: str, asked: _Get) -> dict[str, Any]:
        self._forget_old()
        name = asked.key_stream_id.lower()
        stream = self._open.get((sae, name))
        if stream is None:
            return {"status": self._status_of_closed(sae, name)}
        metadata = b""
        if stream.qos.Metadata_mimetype:
            age_ms = math.floor(1e3 * (self._now_s() - stream.opened_s))
            metadata = b'{"age": %d, "hops": 0}' % age_ms
            if asked.metadata_size < len(metadata):
                short = {"metadata_size": len(metadata)}
                return {"status": Status.METADATA_SIZE, **short}
        found = stream.take(None if asked.index is UNSET else int(asked.index))
        if found is None:
            return {"status": Status.INSUFFICIENT_KEY}
        answer: dict[str, Any] = {"status": Status.SUCCESSFUL, "index": found[0]}
        answer["key_buffer"] = base64.b64encode(found[1]).decode()
        if metadata:
            answer |= {
                "metadata_size": len(metadata),
                "metadata_buffer": metadata.decode(),
            }
        return answer

    def _status_of_closed(self, sae: str, name: str) -> Status:
        """Tell a stream that waits for this application from one that is over.

        Raises
        ------
        UnknownKeyIdError
            If it is none of this application's: guesses are counted.
        """
        here, there = self._here.kme_id, self._there.kme_id
        for partner in self._there.saes:
            routes = {
                Status.NOT_YET_CONNECTED: Route(partner, sae, there, here),
                Status.NO_CONNECTION: Route(sae, partner, here, there),
            }
            for status, route in routes.items():
                try:
                    self._names.stream_position(name, route)
                except UnknownKeyIdError:
                    continue
                return status
        raise UnknownKeyIdError(name)

    def _forget_old(self) -> None:
        now_s = self._now_s()
        for name, stream in list(self._open.items()):
            if now_s - stream.opened_s >= stream.qos.TTL:
                stream.erase()
                del self._open[name]


def _within_limits(qos: Qos, most_bytes: int) -> Qos:
    """Return the nearest quality of service that can be kept: the counter-proposal."""
    low, high = CHUNK_BYTES
    chunk = min(max(qos.Key_chunk_size, low), high, most_bytes)
    ttl = min(max(qos.TTL, 1), LONGEST_TTL_S)
    # Min_bps for the whole TTL is reserved at once; no more chunks than can be named.
    most_chunks = _power_below(min(most_bytes // chunk, 1 << ((1 << COUNT_WIDTH) - 1)))
    least = min(max(qos.Min_bps, 0), 8 * chunk * most_chunks // ttl)
    most = max(qos.Max_bps, 0)
    return Qos(
        Key_chunk_size=chunk,
        Max_bps=max(most, least) if most else 0,
        Min_bps=least,
        Jitter=max(qos.Jitter, 0),
        Priority=qos.Priority,
        Timeout=max(qos.Timeout, 0),
        TTL=ttl,
        Metadata_mimetype=METADATA_TYPE if qos.Metadata_mimetype else "",
    )


def _chunks(qos: Qos, settings: DeliverySettings) -> tuple[int, int]:
    """Return how many chunks a stream must have, and should have; powers of two."""
    needed = math.ceil(qos.Min_bps * qos.TTL / (8 * qos.Key_chunk_size))
    least = 1 << max(needed - 1, 0).bit_length()
    wished = _power_below(max(settings.stream_bytes // qos.Key_chunk_size, 1))
    if qos.Max_bps:
        at_most = max(qos.Max_bps * qos.TTL // (8 * qos.Key_chunk_size), 1)
        wished = min(wished, _power_below(at_most))
    return least, max(least, min(wished, 1 << ((1 << COUNT_WIDTH) - 1)))


def _power_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _cut(key: bytes, n_bytes: int) -> list[bytearray | None]:
    return [bytearray(key[at : at + n_bytes]) for at in range(0, len(key), n_bytes)]


def _overwrite(chunk: bytearray) -> None:
    chunk[:] = bytes(len(chunk))
