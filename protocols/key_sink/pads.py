"""The pool of message pads, as the parties of a scheme use it."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.key_sink.records import PAD_PURPOSE, Spent
from protocols.key_sink.sink import KeySink
from protocols.messages.photon import PadRange
from protocols.schemes.pads import Pad
from protocols.schemes.transcript import ALICE_TO_BOB


class MessagePads:
    """Both ends of the pool for messages from Alice to Bob.

    Parameters
    ----------
    sink : KeySink
        Of the party that uses this object.
    allow_simulated : bool
        Whether keys of a simulated bench may be spent.
    """

    def __init__(self, sink: KeySink, *, allow_simulated: bool = False) -> None:
        self._sink, self._simulated = sink, allow_simulated

    def spend(self, n_bits: int) -> Pad:
        """Spend the oldest unspent bits; see `AlicePads.spend`."""
        return _pad(
            self._sink.spend(
                PAD_PURPOSE, ALICE_TO_BOB, n_bits, allow_simulated=self._simulated
            )
        )

    def follow(self, ranges: Sequence[PadRange]) -> Pad:
        """Spend exactly `ranges`; see `BobPads.follow`."""
        named = [(part.identifier, part.start_bit, part.n_bits) for part in ranges]
        return _pad(
            self._sink.follow(
                PAD_PURPOSE, ALICE_TO_BOB, named, allow_simulated=self._simulated
            )
        )


def _pad(spent: Spent) -> Pad:
    return Pad(spent.bits, [PadRange(*part) for part in spent.ranges], spent.epsilon)
