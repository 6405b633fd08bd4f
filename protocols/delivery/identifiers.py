"""Names of keys that both ends can work out alone.

A key_ID says where in the common key the bits lie, and carries a keyed check: the
other end finds the bits with it and knows for whom they are, and no message has to
travel between the ends. It is a UUID of version 8 (RFC 9562, section 5.8). Its 122
free bits are, from the left, for a key (`KEY_LAYOUT`) and a key stream
(`STREAM_LAYOUT`)::

    key      block 40 | first byte 24 | bytes - 1: 13 |                check 45
    stream   block 40 | first byte 24 | bytes of a chunk - 1: 13 |
             log2 of the number of chunks: 4 |                         check 41

The check is the head of HMAC-SHA-256 (RFC 2104) over the position, both SAEs and both
KMEs, under a secret of the start key that is used for nothing else. It is a
computational check against another listed SAE, and as strong as it is long: one guess
out of 2**45 (2**41) is right. Guesses need an SAE's certificate and are counted; see
``max_forged_ids``. The position itself is no secret.
"""

from __future__ import annotations

import hmac
import re
import uuid
from dataclasses import dataclass

from protocols.key_sink.export import KeyPosition
from scqc.core.errors import DeliveryError

BLOCK_WIDTH, FIRST_WIDTH, SIZE_WIDTH, COUNT_WIDTH = 40, 24, 13, 4
KEY_CHECK_WIDTH = 122 - BLOCK_WIDTH - FIRST_WIDTH - SIZE_WIDTH
STREAM_CHECK_WIDTH = KEY_CHECK_WIDTH - COUNT_WIDTH
_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class UnknownKeyIdError(DeliveryError):
    """A key_ID that was never made for these SAEs."""

    def __init__(self, key_id: str) -> None:
        details = [{"key_ID": key_id[:64]}]
        super().__init__(400, "key_ID is unknown", details)


@dataclass(frozen=True, slots=True)
class Route:
    """From whom to whom keys go.

    Parameters
    ----------
    master_sae, slave_sae : str
        Who asked first, and who asks with the key_ID.
    source_kme, target_kme : str
        Who serves the master, and who the slave.
    """

    master_sae: str
    slave_sae: str
    source_kme: str
    target_kme: str

    def encoded(self) -> bytes:
        """Return the names so that no two routes give the same bytes."""
        names = (self.master_sae, self.slave_sae, self.source_kme, self.target_kme)
        raw = [name.encode() for name in names]
        return b"".join(len(one).to_bytes(2, "big") + one for one in raw)


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """Where the chunks of a key stream lie, one after another.

    Parameters
    ----------
    whole : KeyPosition
        Of all chunks.
    chunk_bytes : int
        [byte]
    """

    whole: KeyPosition
    chunk_bytes: int

    @property
    def n_chunks(self) -> int:
        """How many chunks there are [1]."""
        return self.whole.n_bytes // self.chunk_bytes


class Identifiers:
    """Makes and reads key_IDs and key stream IDs.

    Parameters
    ----------
    secret : bytes
        The same at both ends; kept from everybody else.

    Raises
    ------
    DeliveryError
        If the secret is too short to keep anybody out.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise DeliveryError(503, f"key_ID secret has {len(secret)} bytes, needs 16")
        self._secret = bytes(secret)

    def __repr__(self) -> str:
        return "Identifiers()"

    def key_id(self, position: KeyPosition, route: Route) -> str:
        """Return the key_ID of a key at `position`.

        Raises
        ------
        DeliveryError
            If the position does not fit a key_ID.
        """
        head = _head(position, position.n_bytes)
        return self._named("key", head, KEY_CHECK_WIDTH, route)

    def key_position(self, key_id: str, route: Route) -> KeyPosition:
        """Return where the key lies that was named for `route`.

        Raises
        ------
        UnknownKeyIdError
            If this key_ID was never made for that route.
        """
        head = self._checked("key", key_id, KEY_CHECK_WIDTH, route)
        block, first, size = _split(head)
        return KeyPosition(block, first, size)

    def stream_id(self, position: StreamPosition, route: Route) -> str:
        """Return the Key_stream_ID of the chunks at `position`.

        Raises
        ------
        DeliveryError
            If the number of chunks is no power of two, or the position does not fit.
        """
        count = position.n_chunks
        power = count.bit_length() - 1
        if count != 1 << power or power >= 1 << COUNT_WIDTH:
            raise DeliveryError(503, f"key stream: {count} chunks, wanted 1, 2, 4, …")
        head = _head(position.whole, position.chunk_bytes) << COUNT_WIDTH | power
        return self._named("stream", head, STREAM_CHECK_WIDTH, route)

    def stream_position(self, stream_id: str, route: Route) -> StreamPosition:
        """Return where the chunks of a stream lie that was opened for `route`.

        Raises
        ------
        UnknownKeyIdError
            If this Key_stream_ID was never made for that route.
        """
        head = self._checked("stream", stream_id, STREAM_CHECK_WIDTH, route)
        block, first, size = _split(head >> COUNT_WIDTH)
        count = 1 << (head & ((1 << COUNT_WIDTH) - 1))
        return StreamPosition(KeyPosition(block, first, size * count), size)

    def _named(self, kind: str, head: int, width: int, route: Route) -> str:
        return _uuid8(head << width | self._check(kind, head, width, route))

    def _checked(self, kind: str, text: str, width: int, route: Route) -> int:
        value = _value(text)
        head, found = value >> width, value & ((1 << width) - 1)
        wanted = self._check(kind, head, width, route)
        if not hmac.compare_digest(found.to_bytes(8, "big"), wanted.to_bytes(8, "big")):
            raise UnknownKeyIdError(text)
        return head

    def _check(self, kind: str, head: int, width: int, route: Route) -> int:
        message = kind.encode() + b"\0" + head.to_bytes(11, "big") + route.encoded()
        digest = hmac.digest(self._secret, message, "sha256")
        return int.from_bytes(digest[:8], "big") >> (64 - width)


def well_formed(key_id: str) -> bool:
    """Return whether a text is a UUID as the standard spells it."""
    return _TEXT.fullmatch(key_id) is not None


def _head(position: KeyPosition, size: int) -> int:
    fields = (
        (position.block_tag, BLOCK_WIDTH),
        (position.first_byte, FIRST_WIDTH),
        (size - 1, SIZE_WIDTH),
    )
    head = 0
    for value, width in fields:
        if not 0 <= value < 1 << width:
            raise DeliveryError(503, f"key position: {value} has no {width} bits")
        head = head << width | value
    return head


def _split(head: int) -> tuple[int, int, int]:
    size = (head & ((1 << SIZE_WIDTH) - 1)) + 1
    first = head >> SIZE_WIDTH & ((1 << FIRST_WIDTH) - 1)
    return head >> (SIZE_WIDTH + FIRST_WIDTH), first, size


def _uuid8(value: int) -> str:
    """Spread 122 bits around the version (8) and the variant (2)."""
    high, middle, low = value >> 74, value >> 62 & 0xFFF, value & ((1 << 62) - 1)
    return str(uuid.UUID(int=high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low))


def _value(text: str) -> int:
    if not well_formed(text):
        raise UnknownKeyIdError(text)
    number = int(text.replace("-", ""), 16)
    if number >> 76 & 0xF != 8 or number >> 62 & 0x3 != 2:
        raise UnknownKeyIdError(text)
    return number >> 80 << 74 | (number >> 64 & 0xFFF) << 62 | number & ((1 << 62) - 1)
