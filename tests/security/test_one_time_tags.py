"""A tag's pad is one-time: no second tag under it, whatever the peer sends."""

import pytest
from light_kit import LINK, link_keys, make_alice, make_bob, plain_block

from protocols.messages import wire
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    PublicChannel,
    Transcript,
)
from scqc.core.errors import PeerError, ProtocolAbort


def test_a_transcript_is_tagged_once():
    transcript = Transcript(
        PublicChannel(LINK, link_keys()), BOB_TO_ALICE, ALICE_TO_BOB
    )
    transcript.send(wire.Verdict(1))
    transcript.own_tag()
    # Two tags of different messages under one pad would give the hash key away.
    transcript.send(wire.Verdict(2))
    with pytest.raises(ProtocolAbort, match="spent"):
        transcript.own_tag()


def test_nothing_is_accepted_after_the_end():
    block = plain_block()
    alice, bob = make_alice(block), make_bob(block)
    inbox, last = [("alice", m) for m in bob.start()], {}
    while inbox:
        name, frame = inbox.pop(0)
        last[name] = frame
        party, peer = (alice, "bob") if name == "alice" else (bob, "alice")
        inbox += [(peer, m) for m in party.receive(frame)]
    assert alice.finished
    assert bob.finished
    for party, frame in ((alice, last["alice"]), (bob, last["bob"])):
        with pytest.raises(PeerError, match="expected nothing"):
            party.receive(frame)
