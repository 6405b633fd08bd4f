"""Bring two sinks back in step after a crash between their transactions.

Pads are spent in the same order at both ends. If one end has spent more of a
block, or has a block that the other never got, what is ahead is burnt at both:
bits are lost, none is ever used twice or for two purposes. Key for export is each
end's own business, but for a block that only one end has: nobody shares it.
"""

from __future__ import annotations

from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeyEntry,
)
from protocols.key_sink.sink import KeySink

#: Pools that both ends spend in step.
_IN_STEP = (AUTHENTICATION_PURPOSE, PAD_PURPOSE)
_SHARED = (*_IN_STEP, KEY_PURPOSE)


def align(first: KeySink, second: KeySink) -> int:
    """Burn what only one end has or has spent; return how many bits [bit].

    Parameters
    ----------
    first, second : KeySink
        Alice's and Bob's.

    Raises
    ------
    KeySinkError
        If a sink cannot be written.
    """
    ours, theirs = _shared(first), _shared(second)
    burnt = 0
    for identifier in ours.keys() | theirs.keys():
        one, other = ours.get(identifier), theirs.get(identifier)
        if one is not None and other is not None and one.purpose not in _IN_STEP:
            continue
        ends = [(first, one), (second, other)]
        # A block that only one end has is worth nothing.
        used = max(
            _used(entry) if one is not None and other is not None else entry.n_bits
            for _, entry in ends
            if entry is not None
        )
        for sink, entry in ends:
            if entry is not None and _used(entry) < used:
                burnt += (
                    sink.burn_upto(identifier, used)
                    if entry.purpose in _IN_STEP
                    else sink.burn(identifier)
                )
    return burnt


def _shared(sink: KeySink) -> dict[str, KeyEntry]:
    return {e.identifier: e for e in sink.list() if e.purpose in _SHARED}


def _used(entry: KeyEntry) -> int:
    return entry.used_bits
