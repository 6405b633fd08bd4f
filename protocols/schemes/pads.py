"""One-time pads of messages, as the parties see them.

Alice chooses which bits of the common key she spends and tells Bob; each party
takes them from its own sink, which has them on disk as spent before it returns
them. Nothing ever puts them back, whatever becomes of the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.messages.photon import PadRange


@dataclass(frozen=True, slots=True)
class Pad:
    """Spent pad bits and where they came from.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        Never printed.
    ranges : list of PadRange
        The same bits in both sinks, in this order.
    epsilon : float
        Security parameter of the keys the bits came from, added up [1].
    """

    bits: NDArray[np.uint8] = field(repr=False)
    ranges: list[PadRange]
    epsilon: float


class AlicePads(Protocol):
    """Alice's end: she may spend what is left."""

    def spend(self, n_bits: int) -> Pad:
        """Spend the oldest unspent bits.

        Raises
        ------
        KeySinkError
            If there are not enough; none are spent then.
        """
        ...


class BobPads(Protocol):
    """Bob's end: he follows Alice's choice."""

    def follow(self, ranges: Sequence[PadRange]) -> Pad:
        """Spend exactly `ranges`, and whatever came before them.

        Raises
        ------
        KeySinkError
            If one of the bits is unknown or was spent before.
        """
        ...
