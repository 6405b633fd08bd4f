"""Bits leased in advance: one commit, then many small pieces from memory.

The lease is on disk as spent before its first bit is handed out. What a crash leaves
of it is lost; nothing of it is ever handed out again.
"""

from __future__ import annotations

import threading

from protocols.key_sink.records import Range
from scqc.core.errors import KeySinkError


class LeasedRun:
    """Whole bytes that lie next to each other in one block.

    Parameters
    ----------
    identifier : str
        Of the block.
    first_byte : int
        Within the block [byte].
    bits : bytes
        Packed; copied into a buffer that is overwritten as it is used.
    """

    __slots__ = ("_at", "_buffer", "_first", "identifier")

    def __init__(self, identifier: str, first_byte: int, bits: bytes) -> None:
        self.identifier = identifier
        self._first, self._buffer, self._at = first_byte, bytearray(bits), 0

    def __repr__(self) -> str:
        return f"LeasedRun({self.identifier!r}, {self.left_bytes} bytes left)"

    def __reduce__(self) -> str:
        raise KeySinkError("key lease: it is not copied and not pickled")

    @property
    def left_bytes(self) -> int:
        """Bytes not handed out [byte]."""
        return len(self._buffer) - self._at

    @property
    def first_byte(self) -> int:
        """Place of the next byte within the block [byte]."""
        return self._first + self._at

    def take(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` and forget them."""
        end = self._at + n_bytes
        out = bytes(self._buffer[self._at : end])
        self._buffer[self._at : end] = bytes(len(out))
        self._at = end
        return out

    def wipe(self) -> None:
        """Overwrite what is left."""
        self._buffer[:] = bytes(len(self._buffer))
        self._at = len(self._buffer)


class Lease:
    """Bits of a pool that belong to this process alone.

    Parameters
    ----------
    runs : list of LeasedRun
        Oldest first; already committed as released.

    Notes
    -----
    Use it in a ``with``: closing overwrites the remainder, which stays spent.
    """

    def __init__(self, runs: list[LeasedRun]) -> None:
        self._runs, self._lock = runs, threading.Lock()
        self._left = sum(run.left_bytes for run in runs)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lease({8 * self._left} bits left)"

    def __reduce__(self) -> str:
        raise KeySinkError("key lease: it is not copied and not pickled")

    @property
    def left_bits(self) -> int:
        """Bits not handed out [bit]."""
        return 8 * self._left

    def take(self, n_bits: int) -> tuple[bytes, list[Range]]:
        """Hand out the next bits; nothing touches the disk.

        Parameters
        ----------
        n_bits : int
            A multiple of 8 [bit].

        Returns
        -------
        bits : bytes
        ranges : list of (identifier, first bit, number of bits)

        Raises
        ------
        KeySinkError
            If so many are not left; nothing is handed out then.
        """
        n_bytes, odd = divmod(n_bits, 8)
        with self._lock:
            if odd or not 0 < n_bytes <= self._left:
                raise KeySinkError(
                    f"key lease: {n_bits} bits asked for, {8 * self._left} left; "
                    "wanted a multiple of 8"
                )
            pieces, ranges = [], []
            self._left -= n_bytes
            while n_bytes:
                run = self._runs[0]
                count = min(n_bytes, run.left_bytes)
                ranges.append((run.identifier, 8 * run.first_byte, 8 * count))
                pieces.append(run.take(count))
                n_bytes -= count
                if not run.left_bytes:
                    del self._runs[0]
        return b"".join(pieces), ranges

    def runs_of(self, n_bytes: int) -> int:
        """Return how many times `take_run` can hand out `n_bytes` [1]."""
        with self._lock:
            return sum(run.left_bytes // n_bytes for run in self._runs)

    def take_run(self, n_bytes: int) -> tuple[bytes, str, int] | None:
        """Hand out bytes that lie together, from the first run that has so many.

        Returns
        -------
        tuple of bits, identifier, first byte, or None
            None if no run has so many.
        """
        with self._lock:
            for number, run in enumerate(self._runs):
                if run.left_bytes >= n_bytes:
                    place = (run.identifier, run.first_byte)
                    bits = run.take(n_bytes)
                    self._left -= n_bytes
                    if not run.left_bytes:
                        del self._runs[number]
                    return bits, *place
        return None

    def close(self) -> None:
        """Overwrite what is left; it stays spent."""
        with self._lock:
            for run in self._runs:
                run.wipe()
            self._runs, self._left = [], 0
