"""Wegman-Carter tags: polynomial hash with a kept key, plus a one-time pad.

``tag = h_r(message) xor pad``. The hash key ``r`` may serve many messages; every
tag needs sixteen fresh bytes of pad, drawn from the key sink *before* the tag is
sent and never used again. The caller binds link, direction and sequence number
into the message with `bind`, so a tag fits one place in one conversation.

References
----------
.. [1] M. N. Wegman and J. L. Carter, J. Comput. Syst. Sci. 22, 265 (1981).
.. [2] C. Portmann, IEEE Trans. Inf. Theory 60, 4383 (2014) (key recycling).
"""

from __future__ import annotations

import hmac

from protocols.authentication.polynomial_hash import (
    BLOCK_BYTES,
    PolynomialHash,
    collision_probability,
)
from scqc.core.errors import ProtocolAbort

#: Bytes of hash key (kept) and of pad per tag (spent); a tag is as long.
HASH_KEY_BYTES = BLOCK_BYTES
PAD_BYTES = BLOCK_BYTES


def bind(link: str, direction: str, sequence: int, body: bytes) -> bytes:
    """Join a message with its place, without ambiguity.

    Parameters
    ----------
    link, direction : str
    sequence : int
        Number of the message in this direction [1].
    body : bytes

    Returns
    -------
    bytes
        Length-prefixed names, the sequence number, then the body.
    """
    names = [name.encode() for name in (link, direction)]
    head = b"".join(len(name).to_bytes(4, "big") + name for name in names)
    return head + sequence.to_bytes(8, "big") + body


def tag(hash_key: bytes, pad: bytes, message: bytes) -> bytes:
    """Return the tag of a message that carries its place (see `bind`).

    Parameters
    ----------
    hash_key : bytes, 16 bytes
    pad : bytes, 16 bytes
        Fresh from the key sink; never again.
    message : bytes

    Raises
    ------
    ProtocolAbort
        If a key has the wrong length.
    """
    if len(pad) != PAD_BYTES:
        raise ProtocolAbort(f"one-time pad: {len(pad)} bytes, wanted {PAD_BYTES}")
    digest = PolynomialHash(hash_key).digest(message)
    return bytes(a ^ b for a, b in zip(digest, pad, strict=True))


def check(hash_key: bytes, pad: bytes, message: bytes, received: bytes) -> None:
    """Accept a message or raise.

    Raises
    ------
    ProtocolAbort
        If the tag is not the one of this message.
    """
    if not hmac.compare_digest(tag(hash_key, pad, message), received):
        raise ProtocolAbort(
            f"authentication: the tag of a {len(message)}-byte message is wrong"
        )


def forgery_probability(n_bytes: int, n_tags: int = 1) -> float:
    """Bound on the probability that any of `n_tags` messages is forged.

    Parameters
    ----------
    n_bytes : int
        Length of the longest message [byte].
    n_tags : int
        Tags made under one hash key; the bound grows linearly.

    Returns
    -------
    float
        [1]
    """
    return n_tags * collision_probability(n_bytes)
