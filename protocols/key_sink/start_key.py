"""Start key: what two ends must share before the first message.

It is carried by hand, as a file that only its owner may read, and put into the sink of
each end. Both ends then show its fingerprint: a Wegman-Carter tag over all of it, under
a hash key and a pad that serve nothing else and are in neither sink. Whoever sees the
fingerprint learns nothing about the key, whatever he can compute; two keys that differ
have the same one with probability (blocks + 1) / 2^128.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from protocols.authentication import wegman_carter
from protocols.key_sink.health import note, now_utc
from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    HASH_PURPOSE,
    KEY_NAME_PURPOSE,
    PAD_PURPOSE,
    PoolKey,
)
from protocols.key_sink.sink import KeySink
from protocols.key_sink.storing import insert
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock
from scqc.core.rng import EntropySource

DIRECTIONS = ("alice-to-bob", "bob-to-alice")
MESSAGE_DIRECTION = "alice-to-bob"
#: Bytes of the secret that names of delivered keys are made with.
KEY_NAME_BYTES = 32
_FORMAT = "scqc start key 1"
_MARK_BYTES = wegman_carter.HASH_KEY_BYTES + wegman_carter.PAD_BYTES


@dataclass(frozen=True, slots=True)
class StartKey:
    """A start key, the same for both ends; its bits are never printed.

    Parameters
    ----------
    name : str
        Names the delivery; a second delivery needs another name.
    n_bits : int
        Pad of the tags, per direction [bit].
    pad_bits : int
        Pad for messages from Alice to Bob [bit].
    simulated : bool
    bits : bytes
        All pools, one after the other.
    mark : bytes, 32 bytes
        Hash key and pad of the fingerprint, for nothing else; in no sink.
    """

    name: str
    n_bits: int
    pad_bits: int
    simulated: bool
    bits: bytes = field(repr=False)
    mark: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """What both ends show and compare, 16 bytes."""
        place = wegman_carter.bind(self.name, _FORMAT, self.n_bits, self.bits)
        half = wegman_carter.HASH_KEY_BYTES
        return wegman_carter.tag(self.mark[:half], self.mark[half:], place)

    def pools(self) -> list[PoolKey]:
        """Return what goes into which pool of a sink."""
        out, at = [], 0
        for purpose, direction, n_bytes in _layout(self.n_bits, self.pad_bits):
            key = KeyBlock(
                identifier="/".join(filter(None, (self.name, direction, purpose))),
                bits=self.bits[at : at + n_bytes],
                n_bits=8 * n_bytes,
                epsilon=0.0,
                simulated=self.simulated,
                provenance={"run_uuid": self.name, "block": "0"},
            )
            out.append(PoolKey(key, purpose, direction))
            at += n_bytes
        return out


def draw_start_key(
    entropy: EntropySource, n_bits: int, name: str = "start", pad_bits: int = 0
) -> StartKey:
    """Draw a start key.

    Parameters
    ----------
    entropy : EntropySource
    n_bits : int
        Pad per direction, a multiple of 8; a tag costs 128 [bit].
    name : str
    pad_bits : int
        Pad for messages, a multiple of 8 [bit].

    Raises
    ------
    KeySinkError
        If a size is no multiple of 8.
    """
    if n_bits <= 0 or n_bits % 8:
        raise KeySinkError(f"start key: {n_bits} bits, wanted a multiple of 8")
    if pad_bits < 0 or pad_bits % 8:
        raise KeySinkError(f"message pad: {pad_bits} bits, wanted a multiple of 8")
    bits = entropy.read(sum(n for _, _, n in _layout(n_bits, pad_bits)))
    mark = entropy.read(_MARK_BYTES)
    return StartKey(name, n_bits, pad_bits, entropy.simulated, bits, mark)


def load(sink: KeySink, key: StartKey) -> list[str]:
    """Put a start key into a sink, all of it or nothing.

    What this sink has seen of its peer's epochs is forgotten: a new start key is a
    new beginning at both ends.

    Returns
    -------
    list of str
        Identifiers of the stored blocks.

    Raises
    ------
    KeySinkError
        If a delivery of that name was stored before.
    """
    pools = key.pools()
    with sink.db.transaction():
        for pool in pools:
            insert(sink.db, pool, confirmed=True, distilled=False)
        sink.db.execute(
            "INSERT INTO start_keys (name, fingerprint, loaded_utc) VALUES (?,?,?)",
            (key.name, key.fingerprint, now_utc()),
        )
        sink.db.execute(
            "INSERT INTO peer_epochs (epoch, nonce, seen_utc) VALUES (0, x'', ?)",
            (now_utc(),),
        )
        note(sink.db, "start key", key.name, f"fingerprint {key.fingerprint.hex()}")
    return [pool.key.identifier for pool in pools]


def provision(
    sinks: Sequence[KeySink],
    n_bits: int,
    entropy: EntropySource,
    name: str = "start",
    pad_bits: int = 0,
) -> list[str]:
    """Put the same new start key into every sink; see `draw_start_key` and `load`."""
    key = draw_start_key(entropy, n_bits, name, pad_bits)
    stored: list[str] = []
    for sink in sinks:
        stored = load(sink, key)
    return stored


def fingerprint(sink: KeySink) -> bytes:
    """Return the fingerprint of the newest start key of a sink, 16 bytes.

    Raises
    ------
    KeySinkError
        If it has none.
    """
    found = sink.db.rows(
        "SELECT fingerprint FROM start_keys ORDER BY serial DESC LIMIT 1"
    )
    if not found:
        raise KeySinkError(
            f"key sink {sink.path}: no start key with a fingerprint; `scqc keys "
            "provision` makes one, `scqc keys load` puts it into both sinks"
        )
    return bytes(found[0][0])


def shown(digest: bytes) -> str:
    """Return a fingerprint as people compare it: eight groups of four digits."""
    text = digest.hex()
    return " ".join(text[k : k + 4] for k in range(0, len(text), 4))


class _Carried(msgspec.Struct, forbid_unknown_fields=True):
    """The file a start key is carried in."""

    format: str
    name: str
    n_bits: int
    pad_bits: int
    simulated: bool
    fingerprint: bytes
    mark: bytes
    bits: bytes


def encode(key: StartKey) -> bytes:
    """Return a start key as the content of the file it is carried in."""
    return msgspec.json.encode(
        _Carried(
            _FORMAT,
            key.name,
            key.n_bits,
            key.pad_bits,
            key.simulated,
            key.fingerprint,
            key.mark,
            key.bits,
        )
    )


def decode(content: bytes) -> StartKey:
    """Return the start key that a file carries.

    Raises
    ------
    KeySinkError
        If it is none, of another format, or damaged.
    """
    try:
        found = msgspec.json.decode(content, type=_Carried)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        raise KeySinkError(
            "start key file: not one that `scqc keys provision` wrote"
        ) from cause
    if found.format != _FORMAT:
        raise KeySinkError(f"start key file: format {found.format!r}, not {_FORMAT!r}")
    size = sum(n for _, _, n in _layout(found.n_bits, found.pad_bits))
    odd = found.n_bits % 8 or found.pad_bits % 8 or found.n_bits < 8
    short = len(found.bits) != size or len(found.mark) != _MARK_BYTES
    if odd or found.pad_bits < 0 or short:
        raise KeySinkError("start key file: damaged; carry it again")
    key = StartKey(
        found.name,
        found.n_bits,
        found.pad_bits,
        found.simulated,
        found.bits,
        found.mark,
    )
    if not hmac.compare_digest(key.fingerprint, found.fingerprint):
        raise KeySinkError("start key file: damaged; carry it again")
    return key


def _layout(n_bits: int, pad_bits: int) -> list[tuple[str, str, int]]:
    """Return purpose, direction and number of bytes of each pool, in order."""
    out = [(KEY_NAME_PURPOSE, "", KEY_NAME_BYTES)]
    for direction in DIRECTIONS:
        out.append((HASH_PURPOSE, direction, wegman_carter.HASH_KEY_BYTES))
        out.append((AUTHENTICATION_PURPOSE, direction, n_bits // 8))
        if pad_bits and direction == MESSAGE_DIRECTION:
            out.append((PAD_PURPOSE, direction, pad_bits // 8))
    return out
