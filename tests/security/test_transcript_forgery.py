"""A real conversation, altered in one thing: nobody accepts its tag any more."""

import random

import pytest
from light_kit import LINK, link_keys, plain_block, talk

from protocols.authentication import wegman_carter
from protocols.messages import light, wire
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    Opening,
    PublicChannel,
    Transcript,
    link_name,
)
from scqc.core.errors import ProtocolAbort

# What the two ends said while the light of the block was taken.
ASKED = [wire.encode(light.LoadBurst(n)) for n in range(3)]
TOLD = [wire.encode(light.Loaded(0.5 + n)) for n in range(3)]
SENDS = {"alice": ALICE_TO_BOB, "bob": BOB_TO_ALICE}
OTHER = {"alice": "bob", "bob": "alice"}
KEYS = link_keys()


class Conversation:
    """A recorded one, with the tags of both ends over all of it."""

    def __init__(self):
        messages = talk(plain_block(decoder_iterations=50)).run().messages
        body = [
            m for m in messages if not isinstance(wire.decode(m[1]), wire.TranscriptTag)
        ]
        self.sent = {"alice": list(TOLD), "bob": list(ASKED)}
        for sender, frame in body:
            self.sent[sender].append(frame)
        # Alice is the first to tag; Bob's tag covers hers.
        self.tags = {}
        self.seen = {}
        for party in ("alice", "bob"):
            transcript = self.transcript(party)
            self.seen[party] = {k: list(v) for k, v in self.sent.items()}
            self.tags[party] = transcript.own_tag()
            self.sent[party].append(wire.encode(wire.TranscriptTag(self.tags[party])))

    def transcript(self, party, said=None, link=LINK, keys=KEYS):
        said = said or self.sent
        sends, receives = SENDS[party], SENDS[OTHER[party]]
        opening = Opening(tuple(said[party]), tuple(said[OTHER[party]]))
        return Transcript(PublicChannel(link, keys, opening), sends, receives)

    def accepts(self, checker, said, tag, link=LINK, keys=KEYS):
        """Whether `checker` takes the peer's tag, having sent and received `said`."""
        transcript = self.transcript(checker, said, link, keys)
        transcript.receive(wire.encode(wire.TranscriptTag(tag)))
        try:
            transcript.check_peer(tag)
        except ProtocolAbort:
            return False
        return True


@pytest.fixture(scope="module")
def real():
    return Conversation()


def alter(real, checker, rng):
    """Return what the checker saw after one attack, and the tag it is shown."""
    peer = OTHER[checker]
    said = {k: list(v) for k, v in real.seen[peer].items()}
    tag, link, keys = real.tags[peer], LINK, KEYS
    # Either the peer's words on their way here, or ours on their way there.
    words = said[rng.choice(["alice", "bob"])]
    match rng.randrange(16):
        case 0 if len(words) > 1:
            one, other = rng.sample(range(len(words)), 2)
            words[one], words[other] = words[other], words[one]
            if words[one] == words[other]:
                words.append(b"")
        case 1:
            words.insert(rng.randrange(len(words)), rng.choice(words))
        case 2:
            del words[rng.randrange(len(words))]
        case 3:
            said["alice"].append(said["bob"].pop(rng.randrange(len(said["bob"]))))
        case 4:
            at = rng.randrange(128)
            tag = bytearray(tag)
            tag[at // 8] ^= 1 << at % 8
            tag = bytes(tag)
        case 5:
            tag = rng.choice([real.tags[checker], rng.randbytes(16), bytes(16)])
        case 6:
            link = rng.choice([f"{LINK}1", LINK[:-1], f"0/{LINK}", ""])
        case 7:
            keys = rng.choice(
                [
                    link_keys(77),
                    {k: KEYS[d] for k, d in zip(KEYS, reversed(KEYS), strict=True)},
                ]
            )
        case _:
            at = rng.randrange(len(words))
            frame = bytearray(words[at])
            bit = rng.randrange(8 * len(frame))
            frame[bit // 8] ^= 1 << bit % 8
            words[at] = bytes(frame)
    return said, tag, link, keys


def forge(real, trials, seed):
    """Return how many of so many altered conversations are accepted."""
    rng = random.Random(seed)
    return sum(
        real.accepts(checker, *alter(real, checker, rng))
        for checker in ("alice", "bob")
        for _ in range(trials // 2)
    )


def test_the_conversation_itself_is_accepted(real):
    for checker in ("alice", "bob"):
        peer = OTHER[checker]
        assert real.accepts(checker, real.seen[peer], real.tags[peer])


def test_nothing_altered_is_accepted(real):
    assert forge(real, 10_000, 1) == 0


@pytest.mark.soak
def test_nothing_altered_is_accepted_by_parties(real):
    assert sum(forge(real, 50_000, seed) for seed in range(2, 22)) == 0


def test_a_tag_that_forgets_something_is_caught(real, monkeypatch):
    """The test is put to the test: without place or order, attacks succeed."""
    monkeypatch.setattr(wegman_carter, "bind", lambda *parts: parts[-1])
    careless = Conversation()
    assert forge(careless, 400, 3) > 0
    monkeypatch.undo()
    monkeypatch.setattr(
        Transcript, "_body", lambda _, where, sent, seen: b"".join(sorted(sent + seen))
    )
    careless = Conversation()
    assert forge(careless, 400, 3) > 0


def test_the_name_of_a_block_holds_link_run_and_block():
    names = {
        link_name(link, run, block)
        for link in (b"", b"\0" * 16, b"\1" * 16)
        for run in ("0a", "0b")
        for block in (0, 1, 11)
    }
    assert len(names) == 18
    assert link_name(b"", "0a", 3) == "0a/3"


def test_a_burst_that_only_one_end_heard_of_is_noticed(real):
    """The light's words are covered like all others, at either end."""
    for checker in ("alice", "bob"):
        peer = OTHER[checker]
        said = {k: list(v) for k, v in real.seen[peer].items()}
        said["bob"][1] = wire.encode(light.LoadBurst(7))
        assert not real.accepts(checker, said, real.tags[peer])
