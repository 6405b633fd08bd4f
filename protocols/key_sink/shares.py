"""How a fresh key is cut into the pools of a sink, the same at both ends.

The tags that the next block costs come first: a link that cannot pay for its tags is
dead. The rest is pad for messages and key for export, half of it per direction, so that
each end has key that only it allocates from.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    PoolKey,
)
from protocols.key_sink.schedule import TAG_PAD_BITS
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.records import KeyBlock
from scqc.core.settings import Settings


class ShareSettings(Settings):
    """What the key of a block is for."""

    # Tags that a block pays for in advance, per direction: those of the next block, two
    # at most, and one of a greeting [1].
    tags_per_block: int = Field(default=3, ge=0, le=1024)
    # Tags in stock, per direction, above which a block pays for none [1].
    tags_in_stock: int = Field(default=4096, ge=0, le=1 << 20)
    # Of what is left, for messages [1]; by default all or nothing, by the scheme.
    message_share: float | None = Field(default=None, ge=0.0, le=1.0)


def share(key: KeyBlock, settings: ShareSettings, *, messages: bool) -> list[PoolKey]:
    """Cut a key into pools.

    Parameters
    ----------
    key : KeyBlock
        Its provenance names ``run_uuid`` and ``block``.
    settings : ShareSettings
    messages : bool
        Whether the scheme carries messages.

    Returns
    -------
    list of PoolKey
        Empty for a key that is too short to pay for a tag.
    """
    bits = np.unpackbits(np.frombuffer(key.bits, np.uint8), count=key.n_bits)
    out, at = [], 0
    for purpose, direction, n_bits in share_sizes(
        key.n_bits, settings, messages=messages
    ):
        piece = KeyBlock(
            identifier="/".join(
                (
                    key.provenance["run_uuid"],
                    key.provenance["block"],
                    purpose,
                    direction,
                )
            ),
            bits=np.packbits(bits[at : at + n_bits]).tobytes(),
            n_bits=n_bits,
            epsilon=key.epsilon,
            simulated=key.simulated,
            provenance=key.provenance,
        )
        out.append(PoolKey(piece, purpose, direction))
        at += n_bits
    return out


def refill_tags(available_bits: int, settings: ShareSettings) -> int:
    """Return how many tags per direction the key of a block is to pay for [1].

    The pools of tags would grow without end, a block's worth after the other, if a
    block always paid for more than the next one costs.

    Parameters
    ----------
    available_bits : int
        Authentication pad in the poorer direction [bit].
    settings : ShareSettings
    """
    if available_bits >= TAG_PAD_BITS * settings.tags_in_stock:
        return 0
    return settings.tags_per_block


def share_sizes(
    n_bits: int, settings: ShareSettings, *, messages: bool
) -> list[tuple[str, str, int]]:
    """Return purpose, direction and size of each pool that is not empty [bit]."""
    tags = min(2 * settings.tags_per_block, n_bits // TAG_PAD_BITS)
    # An odd tag is Alice's: she says one more per block.
    to_alice = tags // 2 * TAG_PAD_BITS
    to_bob = tags * TAG_PAD_BITS - to_alice
    rest = n_bits - to_bob - to_alice if tags == 2 * settings.tags_per_block else 0
    part = settings.message_share
    if part is None:
        part = 1.0 if messages else 0.0
    pad = int(rest * part)
    first = (rest - pad) // 16 * 8
    sizes = [
        (AUTHENTICATION_PURPOSE, ALICE_TO_BOB, to_bob),
        (AUTHENTICATION_PURPOSE, BOB_TO_ALICE, to_alice),
        (PAD_PURPOSE, ALICE_TO_BOB, pad),
        (KEY_PURPOSE, ALICE_TO_BOB, first),
        (KEY_PURPOSE, BOB_TO_ALICE, rest - pad - first),
    ]
    return [size for size in sizes if size[2]]
