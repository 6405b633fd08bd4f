"""Cascade: error correction by binary search, many round trips, little loss.

Both parties announce the parity of the same blocks. Where the parities differ
the block holds an odd number of errors, and is halved until one is found. Every
bit found turns blocks of other passes odd again, which lie in another random
order; every block ever split is kept for that.

Both parties see all announcements, so both know which blocks come next, and no
message says so. What the parities of *both* are together counts as leaked: Bob's
tell something that a count of Alice's alone leaves out [3]_.

References
----------
.. [1] G. Brassard and L. Salvail, Secret-key reconciliation by public discussion
   (1993).
.. [2] J. Martinez-Mateo et al., Demystifying the information reconciliation
   protocol Cascade (2015): block lengths, and the reuse of all blocks.
.. [3] D. Tupkary and N. Lutkenhaus, arXiv:2307.00576: count both directions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.reconciliation import cascade_search
from scqc.core.errors import PeerError, ProtocolAbort
from scqc.core.rng import permutation

#: Passes; those from the third on halve the whole frame.
PASSES = 14
#: Errors expected in a block of the first pass; 4 times as many in the second.
#: Longer blocks disclose less and take more round trips.
FIRST_BLOCK_ERRORS = 0.75
#: Shortest and longest frame [bit].
FRAME_BITS = (1024, 65_536)


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """How a block is cut into frames, and what is asked in each.

    Parameters
    ----------
    n_frames : int
    n_bits : int
        Length of a frame, a multiple of 8 [bit].
    first_block : int
        Length of the blocks of the first pass [bit].
    """

    n_frames: int
    n_bits: int
    first_block: int

    @property
    def block_bits(self) -> NDArray[np.int64]:
        """Length of the blocks of every pass, shape (passes,), int64 [bit]."""
        half = -(-self.n_bits // 2)
        lengths = [self.first_block, 4 * self.first_block] + [half] * (PASSES - 2)
        return np.minimum(np.array(lengths, dtype=np.int64), half)


def plan_frames(n_key: int, error_rate: float, frame_bits: int) -> CascadePlan:
    """Cut `n_key` bits into frames of about `frame_bits`.

    Parameters
    ----------
    n_key : int
        Sifted key bits [bit].
    error_rate : float
        Expected; sets the length of the first blocks [1].
    frame_bits : int
        Wanted length of a frame, at most 65 536 [bit].

    Raises
    ------
    ProtocolAbort
        If there are too few bits for one frame.
    """
    low, high = FRAME_BITS
    wanted = min(max(frame_bits, low), high)
    n_frames = max(1, -(-n_key // wanted))
    n_bits = n_key // n_frames // 8 * 8
    if n_bits < low:
        raise ProtocolAbort(
            f"cascade: {n_key} sifted bits in {n_frames} frames, a frame needs {low}"
        )
    rate = min(max(error_rate, 1.0 / n_bits), 0.25)
    return CascadePlan(n_frames, n_bits, round(FIRST_BLOCK_ERRORS / rate))


class Cascade:
    """One party of Cascade, without input or output.

    Parameters
    ----------
    bits : ndarray, shape (n_frames, n_bits), uint8 [bit]
        This party's key bits; not changed.
    corrects : bool
        Whether it is this party whose bits are corrected (Bob).
    plan : CascadePlan
    seed : bytes, 32 bytes
        Public, drawn after the detections were announced: the orders of the bits.

    Attributes
    ----------
    errors : ndarray, shape (n_frames, n_bits), uint8 [bit]
        Errors found so far; the same for both parties, and public.
    asked : ndarray, shape (n_frames,), int64 [bit]
        Parities that *either* party announced about every frame.
    round_trips : int
    """

    def __init__(
        self, bits: NDArray[np.uint8], corrects: bool, plan: CascadePlan, seed: bytes
    ) -> None:
        if bits.shape != (plan.n_frames, plan.n_bits):
            raise ProtocolAbort(
                f"cascade: bits of shape {bits.shape}, planned "
                f"({plan.n_frames}, {plan.n_bits})"
            )
        self._bits, self._corrects = bits, corrects
        self._lengths = plan.block_bits
        self._order, self._place = _orders(seed, plan.n_bits)
        self._search = [
            cascade_search.new_search(plan.n_bits, self._lengths)
            for _ in range(plan.n_frames)
        ]
        self.errors = np.zeros(bits.shape, dtype=np.uint8)
        self.asked = np.zeros(plan.n_frames, dtype=np.int64)
        self.round_trips = 0

    @property
    def n_questions(self) -> int:
        """Parities that come next; 0: it is over [bit]."""
        return int(self._questions().sum())

    def parities(self) -> NDArray[np.uint8]:
        """Return this party's parities of the blocks that come next.

        Returns
        -------
        ndarray, shape (n_questions,), uint8 [bit]
            Frame by frame.
        """
        counts = self._questions()
        out = np.empty(int(counts.sum()), dtype=np.uint8)
        ends = np.cumsum(counts)
        for f in np.flatnonzero(counts):
            part = out[ends[f] - counts[f] : ends[f]]
            current = (
                self._bits[f] ^ self.errors[f] if self._corrects else self._bits[f]
            )
            cascade_search.ask(
                current, self._order, self._lengths, self._search[f], part
            )
        return out

    def learn(self, own: NDArray[np.uint8], peer: NDArray[np.uint8]) -> None:
        """Go on to the next questions.

        Parameters
        ----------
        own, peer : ndarray, shape (n_questions,), uint8 [bit]
            What either party announced.

        Raises
        ------
        PeerError
            If the peer announced another number of parities, or parities that
            contradict those before.
        """
        counts = self._questions()
        total = int(counts.sum())
        if not own.size == peer.size == total:
            raise PeerError(
                f"cascade: {own.size} own and {peer.size} parities of the peer, "
                f"asked {total}"
            )
        different = own ^ peer
        ends = np.cumsum(counts)
        orders = (self._order, self._place)
        for f in np.flatnonzero(counts):
            part = different[ends[f] - counts[f] : ends[f]]
            cascade_search.learn(
                part, orders, self._lengths, self._search[f], self.errors[f]
            )
            if self._search[f].status[cascade_search.CONTRADICTION]:
                raise PeerError(f"cascade: parities of frame {f} contradict each other")
        self.asked += counts
        self.round_trips += 1

    def _questions(self) -> NDArray[np.int64]:
        return np.array(
            [s.status[cascade_search.N_QUESTIONS] for s in self._search], dtype=np.int64
        )


def _orders(seed: bytes, n_bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the order of the bits in every pass, and every bit's place in it.

    The first pass takes the bits as they come: sifting has shuffled them. All
    frames share the orders; their errors are independent.
    """
    order = np.empty((PASSES, n_bits), dtype=np.int32)
    place = np.empty_like(order)
    for number in range(PASSES):
        own_seed = hashlib.sha256(seed + bytes([number])).digest()
        order[number] = permutation(own_seed, n_bits) if number else np.arange(n_bits)
        place[number, order[number]] = np.arange(n_bits, dtype=np.int32)
    return order, place
