"""Payload bytes to coded frames and back.

An information word is ``header | payload slice | CRC-32``. Frames past the end
of the payload, and the rest of the last slice, are filled with random bytes, so
that every symbol of a run is modulated whatever the payload's length.

Header (big endian, 22 bytes): magic "SC" (2), run identifier (4), sequence
number (4), number of frames (4), payload length in bytes (8).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.coding import crc, scrambler
from dsp.coding.fec import Fec
from scqc.core.errors import PayloadError
from scqc.core.rng import EntropySource

_HEADER = struct.Struct(">2s4sIIQ")
_MAGIC = b"SC"


@dataclass(frozen=True, slots=True)
class OpenedFrames:
    """Received frames after error correction, in order.

    Parameters
    ----------
    first_index : int
        Sequence number of the first frame [1].
    crc_ok : ndarray, shape (n_frames,), bool
        CRC holds and the header is the one expected at this place.
    coded : ndarray, shape (n_frames, n_bits), uint8 [bit]
        Scrambled code bits as sent, re-encoded; meaningless where not `crc_ok`.
    info : ndarray, shape (n_frames, k_bits), uint8 [bit]
        Information words, header and CRC included.
    iterations : ndarray, shape (n_frames,), int32 [1]
    """

    first_index: int
    crc_ok: NDArray[np.bool_]
    coded: NDArray[np.uint8]
    info: NDArray[np.uint8]
    iterations: NDArray[np.int32]


class FrameCodec:
    """Turns a payload into scrambled code bits and received LLRs into a payload.

    Parameters
    ----------
    fec : Fec
    run_id : bytes, 4 bytes
        Stamped into every header; frames of another run do not open.
    """

    def __init__(self, fec: Fec, run_id: bytes = bytes(4)) -> None:
        if len(run_id) != 4:
            raise PayloadError(f"run identifier: {len(run_id)} bytes, wanted 4")
        self.fec = fec
        self.run_id = run_id
        self.slice_bytes = fec.k_bits // 8 - _HEADER.size - crc.CRC_BYTES

    def payload_capacity(self, n_frames: int) -> int:
        """Return how many payload bytes fit into `n_frames` frames."""
        return n_frames * self.slice_bytes

    def build(
        self, payload: bytes, n_frames: int, filler: EntropySource
    ) -> NDArray[np.uint8]:
        """Encode a payload into exactly `n_frames` frames.

        Returns
        -------
        ndarray, shape (n_frames, n_bits), uint8 [bit]
            Coded and scrambled bits, as sent.

        Raises
        ------
        PayloadError
            If the payload is larger than the frames carry.
        """
        room = self.payload_capacity(n_frames)
        if len(payload) > room:
            raise PayloadError(
                f"payload: {len(payload)} bytes, but {n_frames} frames carry {room}"
            )
        body = payload + filler.read(room - len(payload))
        words = np.empty((n_frames, self.fec.k_bits), dtype=np.uint8)
        for index in range(n_frames):
            head = _HEADER.pack(_MAGIC, self.run_id, index, n_frames, len(payload))
            start = index * self.slice_bytes
            framed = crc.append(head + body[start : start + self.slice_bytes])
            words[index] = np.unpackbits(np.frombuffer(framed, dtype=np.uint8))
        return scrambler.scramble(self.fec.encode(words), 0)

    def open(
        self, llr: NDArray[np.float32], first_index: int, max_iterations: int = 30
    ) -> OpenedFrames:
        """Correct and check consecutive frames.

        Parameters
        ----------
        llr : ndarray, shape (n_frames, n_bits), float32 [1]
            Of the scrambled bits, as received; positive means bit 0.
        first_index : int
            Sequence number of the first frame [1].
        max_iterations : int

        Returns
        -------
        OpenedFrames
        """
        plain = scrambler.descramble_llr(llr, first_index)
        decoded = self.fec.decode(plain, max_iterations)
        packed = np.packbits(decoded.bits, axis=1)
        ok = np.array(
            [
                self._expected(packed[f].tobytes(), first_index + f)
                for f in range(llr.shape[0])
            ],
            dtype=np.bool_,
        )
        coded = decoded.coded
        repair = ok & ~decoded.converged
        if repair.any():
            coded[repair] = self.fec.encode(decoded.bits[repair])
        sent = scrambler.scramble(coded, first_index)
        return OpenedFrames(first_index, ok, sent, decoded.bits, decoded.iterations)

    def assemble(self, opened: Sequence[OpenedFrames]) -> bytes:
        """Join the payload slices of all bursts of a run.

        Raises
        ------
        PayloadError
            If a frame that carries payload is missing, or headers disagree.
        """
        slices: dict[int, bytes] = {}
        heads: set[tuple[int, int]] = set()
        for part in opened:
            packed = np.packbits(part.info, axis=1)
            for f in np.flatnonzero(part.crc_ok):
                frame = packed[f].tobytes()
                _, _, index, total, length = _HEADER.unpack(frame[: _HEADER.size])
                slices[index] = frame[_HEADER.size : -crc.CRC_BYTES]
                heads.add((total, length))
        if len(heads) != 1:
            raise PayloadError(
                f"payload: {len(heads)} different lengths in the received headers"
            )
        _, length = heads.pop()
        needed = -(-length // self.slice_bytes)
        missing = [index for index in range(needed) if index not in slices]
        if missing:
            raise PayloadError(
                f"payload: {len(missing)} of {needed} frames lost, first {missing[0]}"
            )
        return b"".join(slices[index] for index in range(needed))[:length]

    def _expected(self, framed: bytes, index: int) -> bool:
        if not crc.holds(framed):
            return False
        magic, run_id, number, total, _ = _HEADER.unpack(framed[: _HEADER.size])
        return bool(
            magic == _MAGIC and run_id == self.run_id and number == index < total
        )
