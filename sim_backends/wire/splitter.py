"""Cuts a byte stream into program message units, IEEE 488.2 style.

Line feeds and semicolons separate units, except inside strings and binary
blocks. A block's payload is received straight into its own buffer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from sim_backends.wire.scpi import Parameter

_STOP = re.compile(rb"[\n;,\"'#]")
_CHUNK_BYTES = 1 << 16
_MAX_TEXT_BYTES = 1 << 20
MAX_BLOCK_BYTES = 1 << 28

_Piece = tuple[bytearray, memoryview | None]


class EndOfStreamError(Exception):
    """The client closed the connection."""


class BadStreamError(Exception):
    """The stream is no message; the connection cannot be used any further."""


class Source(Protocol):
    """Where bytes come from: a socket, or the data of a message channel."""

    def recv(self, size: int, /) -> bytes:
        """Return some bytes, at most `size`; none if the client has left."""
        ...

    def recv_into(self, view: memoryview, /) -> int:
        """Receive some bytes into `view`; zero if the client has left."""
        ...


@dataclass(slots=True)
class Unit:
    """One command or query with its parameters."""

    header: str
    parameters: list[Parameter] = field(default_factory=list)
    ends_message: bool = True

    @property
    def is_query(self) -> bool:
        """Whether the unit asks for a reply."""
        return self.header.endswith("?")


class UnitReader:
    """Reads units from one connection.

    Parameters
    ----------
    connection : Source
    """

    def __init__(self, connection: Source) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._at = 0

    def next_unit(self) -> Unit:
        """Return the next unit; its header is empty for an empty unit.

        Raises
        ------
        EndOfStreamError
            If the client has closed the connection.
        BadStreamError
            If a block's length is malformed or too large.
        """
        pieces: list[_Piece] = [(bytearray(), None)]
        while True:
            text, _ = pieces[-1]
            kind = self._copy_to_stop(text)
            if kind in b"\"'":
                self._copy_string(text, kind)
            elif kind == b"#" and self._at_block(text):
                pieces[-1] = (text, self._read_block())
            elif kind == b",":
                pieces.append((bytearray(), None))
            elif kind == b"#":
                text += kind
            else:
                return _unit(pieces, ends=kind == b"\n")

    def _copy_to_stop(self, text: bytearray) -> bytes:
        """Append plain text up to the next special byte and return that byte."""
        while True:
            match = _STOP.search(self._buffer, self._at)
            end = len(self._buffer) if match is None else match.start()
            text += self._buffer[self._at : end]
            if len(text) > _MAX_TEXT_BYTES:
                raise BadStreamError(f"no end of command in {_MAX_TEXT_BYTES} bytes")
            self._at = end
            if match is not None:
                self._at += 1
                return match[0]
            self._fill()

    def _copy_string(self, text: bytearray, quote: bytes) -> None:
        text += quote
        while (end := self._buffer.find(quote, self._at)) < 0:
            text += self._buffer[self._at :]
            self._at = len(self._buffer)
            if len(text) > _MAX_TEXT_BYTES:
                raise BadStreamError(f"no end of string in {_MAX_TEXT_BYTES} bytes")
            self._fill()
        text += self._buffer[self._at : end + 1]
        self._at = end + 1

    def _at_block(self, text: bytearray) -> bool:
        """Whether the ``#`` just read begins a block rather than ``#H1F``."""
        if text.strip() and not text.endswith((b" ", b"\t")):
            return False
        return self._peek().isdigit()

    def _read_block(self) -> memoryview:
        digits = self._take(1)
        if digits == b"0":
            # On a raw stream only a line feed can end an indefinite block.
            data = bytearray()
            while (end := self._buffer.find(b"\n", self._at)) < 0:
                data += self._buffer[self._at :]
                self._at = len(self._buffer)
                self._fill()
            data += self._buffer[self._at : end]
            self._at = end
            return memoryview(data)
        length = self._take(int(digits))
        if not length.isdigit() or int(length) > MAX_BLOCK_BYTES:
            raise BadStreamError(f"block length {length!r}")
        return self._receive_exactly(int(length))

    def _receive_exactly(self, n_bytes: int) -> memoryview:
        data = memoryview(bytearray(n_bytes))
        done = min(n_bytes, len(self._buffer) - self._at)
        data[:done] = self._buffer[self._at : self._at + done]
        self._at += done
        while done < n_bytes:
            received = self._connection.recv_into(data[done:])
            if received == 0:
                raise EndOfStreamError
            done += received
        return data

    def _peek(self) -> bytes:
        while self._at >= len(self._buffer):
            self._fill()
        return bytes(self._buffer[self._at : self._at + 1])

    def _take(self, n_bytes: int) -> bytes:
        return bytes(self._receive_exactly(n_bytes))

    def _fill(self) -> None:
        """Receive more; what has been consumed is dropped."""
        data = self._connection.recv(_CHUNK_BYTES)
        if not data:
            raise EndOfStreamError
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data


def _unit(pieces: list[_Piece], *, ends: bool) -> Unit:
    """Split the header from the first parameter and decode the rest."""
    first, *rest = pieces
    words = first[0].decode("latin-1").split(None, 1)
    unit = Unit(words[0] if words else "", ends_message=ends)
    if first[1] is not None:
        unit.parameters.append(first[1])
    elif len(words) == 2:
        unit.parameters.append(words[1].strip())
    for text, block in rest:
        unit.parameters.append(
            text.decode("latin-1").strip() if block is None else block
        )
    return unit
