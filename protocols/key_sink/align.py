"""Bring the two sinks of one program back in step after a crash between the two.

The same steps as between two programs (`protocols.key_sink.resync`), without the tags
that one program does not need.
"""

from __future__ import annotations

from protocols.key_sink.resync import Resync
from protocols.key_sink.sink import KeySink
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE


def align(alice: KeySink, bob: KeySink) -> None:
    """Burn what only one end has or has spent, and confirm what both have.

    Parameters
    ----------
    alice, bob : KeySink

    Raises
    ------
    KeySinkError
        If one of them is an old copy or a clone, or cannot be written.
    """
    ends = Resync(alice, ALICE_TO_BOB), Resync(bob, BOB_TO_ALICE)
    states = [end.describe() for end in ends]
    for end, theirs in zip(ends, reversed(states), strict=True):
        end.settle(theirs)
    for end, other, theirs in zip(ends, reversed(ends), reversed(states), strict=True):
        end.resolve(other.answer(end.questions(theirs)))
        other.promise()
