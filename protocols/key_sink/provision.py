"""Start key: what two parties must share before the first message."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.authentication.wegman_carter import HASH_KEY_BYTES
from protocols.key_sink.sink import AUTHENTICATION_PURPOSE, PAD_PURPOSE, KeySink
from scqc.core.records import KeyBlock
from scqc.core.rng import EntropySource

#: Pool of hash keys, kept and not spent.
HASH_PURPOSE = "hash"
DIRECTIONS = ("alice-to-bob", "bob-to-alice")
MESSAGE_DIRECTION = "alice-to-bob"


def provision(
    sinks: Sequence[KeySink],
    n_bits: int,
    entropy: EntropySource,
    name: str = "start",
    pad_bits: int = 0,
) -> list[str]:
    """Write the same start key into every sink.

    Each direction gets a hash key (kept) and `n_bits` of one-time pad.

    Parameters
    ----------
    sinks : sequence of KeySink
        Alice's and Bob's.
    n_bits : int
        Pad per direction, a multiple of 8 [bit]; a tag costs 128.
    entropy : EntropySource
    name : str
        Names the delivery; a second delivery needs another name.
    pad_bits : int
        Pad for messages from Alice to Bob, a multiple of 8 [bit].

    Returns
    -------
    list of str
        Identifiers of the stored blocks.

    Raises
    ------
    KeySinkError
        If a delivery of that name was stored before.
    """
    identifiers = []
    for direction in DIRECTIONS:
        sizes = {HASH_PURPOSE: HASH_KEY_BYTES, AUTHENTICATION_PURPOSE: n_bits // 8}
        if pad_bits and direction == MESSAGE_DIRECTION:
            sizes[PAD_PURPOSE] = pad_bits // 8
        for purpose, n_bytes in sizes.items():
            key = KeyBlock(
                identifier=f"{name}/{direction}/{purpose}",
                bits=entropy.read(n_bytes),
                n_bits=8 * n_bytes,
                epsilon=0.0,
                simulated=entropy.simulated,
                provenance={"run_uuid": name, "block": "0"},
            )
            for sink in sinks:
                sink.put(key, purpose, direction)
            identifiers.append(key.identifier)
    return identifiers
