"""The pads that authenticate one block: Bob spends and names them, Alice follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.authentication import wegman_carter
from protocols.authentication.wegman_carter import PAD_BYTES
from protocols.key_sink import AUTHENTICATION_PURPOSE, HASH_PURPOSE, KeySink
from protocols.key_sink.resync import MAX_JUMP_BITS
from protocols.messages.distil import TagPads
from protocols.messages.photon import PadRange
from protocols.messages.session import KeyConfirmed
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE, LinkKeys
from scqc.core.errors import PeerError, ProtocolAbort
from scqc.runs.parties.block import BlockName

#: Tags of a block by direction; each costs 128 bits of pad [1].
TAGS = {ALICE_TO_BOB: 2, BOB_TO_ALICE: 1}


@dataclass(frozen=True, slots=True)
class BlockPads:
    """Keys of one block's tags, spent for ever.

    Parameters
    ----------
    keys : dict
        Of the transcripts, by direction.
    confirmation : LinkKeys
        Of Alice's last word.
    ranges : TagPads
        Where they lay.
    """

    keys: dict[str, LinkKeys] = field(repr=False)
    confirmation: LinkKeys = field(repr=False)
    ranges: TagPads


def spend_pads(sink: KeySink, *, simulated: bool) -> BlockPads:
    """Spend the next pads of both directions.

    Raises
    ------
    KeySinkError
        If the sink cannot pay for the tags.
    """
    spent = {
        direction: sink.spend(
            AUTHENTICATION_PURPOSE,
            direction,
            8 * PAD_BYTES * n,
            allow_simulated=simulated,
        )
        for direction, n in TAGS.items()
    }
    ranges = {d: [PadRange(*part) for part in s.ranges] for d, s in spent.items()}
    bits = {direction: s.packed for direction, s in spent.items()}
    pads = TagPads(ranges[ALICE_TO_BOB], ranges[BOB_TO_ALICE])
    return _pads(sink, bits, pads, simulated)


def follow_pads(sink: KeySink, pads: TagPads, *, simulated: bool) -> BlockPads:
    """Spend exactly the pads that Bob names, and whatever lies before them.

    Raises
    ------
    PeerError
        If he names more or less than the tags of a block cost.
    KeySinkError
        If one of the bits is unknown or was spent before, or so far ahead that no
        block that was lost explains it: nothing proves him yet.
    """
    named = {ALICE_TO_BOB: pads.alice_to_bob, BOB_TO_ALICE: pads.bob_to_alice}
    bits = {}
    for direction, parts in named.items():
        n_bits, wanted = sum(p.n_bits for p in parts), 8 * PAD_BYTES * TAGS[direction]
        if n_bits != wanted:
            raise PeerError(f"pads {direction}: {n_bits} bits named, wanted {wanted}")
        ranges = [(part.identifier, part.start_bit, part.n_bits) for part in parts]
        spent = sink.follow(
            AUTHENTICATION_PURPOSE,
            direction,
            ranges,
            allow_simulated=simulated,
            most_skipped=MAX_JUMP_BITS,
        )
        bits[direction] = spent.packed
    return _pads(sink, bits, pads, simulated)


def _pads(
    sink: KeySink, bits: dict[str, bytes], ranges: TagPads, simulated: bool
) -> BlockPads:
    def key(direction: str, number: int) -> LinkKeys:
        start = PAD_BYTES * number
        return LinkKeys(
            sink.read_kept(HASH_PURPOSE, direction, allow_simulated=simulated),
            bits[direction][start : start + PAD_BYTES],
        )

    keys = {direction: key(direction, 0) for direction in TAGS}
    return BlockPads(keys, key(ALICE_TO_BOB, 1), ranges)


def confirmation(name: BlockName, key: LinkKeys) -> KeyConfirmed:
    """Return Alice's last word on a block; its pad is used once, here."""
    body = _confirmation_body(name)
    tag = wegman_carter.tag(key.hash_key, key.pad, body)
    return KeyConfirmed(name.run_uuid, name.number, tag)


def check_confirmation(name: BlockName, key: LinkKeys, said: KeyConfirmed) -> None:
    """Check that Alice's last word is hers, and about this block.

    Raises
    ------
    ProtocolAbort
        If it is not.
    """
    if BlockName(said.run_uuid, said.block) != name:
        raise ProtocolAbort(
            f"key: Alice confirms {said.run_uuid}/{said.block}, not {name.link}"
        )
    wegman_carter.check(key.hash_key, key.pad, _confirmation_body(name), said.tag)


def _confirmation_body(name: BlockName) -> bytes:
    return wegman_carter.bind(name.link, ALICE_TO_BOB, 1, b"key confirmed")
