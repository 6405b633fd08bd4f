"""The ends of a link over one block: what is altered or lost costs the key, no more.

The scheme between them is the shortest there could be, one message and the tags;
everything around it is what a run uses: light, pads, sinks, confirmation.
"""

import numpy as np
import pytest
from run_kit import CONFIGS

from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    KeySink,
    State,
    material,
)
from protocols.key_sink.start_key import provision
from protocols.messages.light import (
    BlockTaken,
    Budget,
    Done,
    EndBurst,
    LoadBurst,
    Loaded,
    LoadProbe,
    Play,
    SetShutters,
)
from protocols.messages.wire import TranscriptTag
from protocols.schemes.party import Party
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    Opening,
    PublicChannel,
)
from scqc.core.errors import PeerError, PeerLost, ProtocolAbort, ScqcError
from scqc.core.rng import ReplayEntropy
from scqc.runs.lab_config import parse_config
from scqc.runs.parties import bob as bob_end
from scqc.runs.parties import tag_pads
from scqc.runs.parties.alice import AliceEnd, NextBlock
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.bob import BobTaker, distil_block
from scqc.runs.parties.distil import Store
from scqc.runs.parties.keys import shares_of
from scqc.runs.progress import Silent

BURSTS, KEY_BITS = 3, 4097
CONFIG = parse_config((CONFIGS / "cv_quick.toml").read_text())
RUN = "5a17"


class Light(AliceLight):
    """A generator that is nowhere."""

    def __init__(self, half=None, recovery=None):
        class Nothing:
            def set_shutters(self, _):
                return

            def require_light(self):
                return

        super().__init__(Nothing(), Nothing())

    def take(self, block):
        self.begin()

    def load_probe(self):
        return 1.0

    def draw(self, number, *, again):
        return

    def upload(self, number, budget):
        return 1.0

    def start(self):
        return


class ToyAlice(Party):
    def __init__(self, name, n_bursts, keys, opening):
        directions = (ALICE_TO_BOB, BOB_TO_ALICE)
        channel = PublicChannel(name.link, keys, opening)
        super().__init__("alice", channel, directions, BlockTaken)
        self._key, self._secret_bits = key_of(name), KEY_BITS
        self._n_bursts = n_bursts

    def _answers(self, message):
        if isinstance(message, BlockTaken):
            # As both schemes do: their first message tells of so much light.
            if message.n_bursts != self._n_bursts:
                raise PeerError("alice: another number of bursts")
            self._expected = (TranscriptTag,)
            yield self._tag()


class ToyBob(Party):
    def __init__(self, name, keys, opening):
        directions = (BOB_TO_ALICE, ALICE_TO_BOB)
        channel = PublicChannel(name.link, keys, opening)
        super().__init__("bob", channel, directions, TranscriptTag)
        self._key, self._secret_bits = key_of(name), KEY_BITS

    def start(self):
        return [self._transcript.send(BlockTaken(BURSTS))]

    def _answers(self, _):
        yield self._tag()


def key_of(name):
    bits = np.random.default_rng(name.number).integers(0, 2, KEY_BITS, dtype=np.uint8)
    return np.packbits(bits).tobytes()


class Scheme:
    """Alice of the shortest scheme."""

    n_bursts = BURSTS

    class Prepared:
        def close(self):
            return

    def prepare(self, name, payload, folder):
        return self.Prepared()

    def light(self, half, recovery):
        return Light()

    def party(self, name, record, n_bursts, keys, opening):
        return ToyAlice(name, n_bursts, keys, opening)


class BobsLight:
    """Asks for a block as Bob of the CV scheme does."""

    def __init__(self, talk):
        self.talk = talk

    def capture(self, name, n_bursts, folder, progress):
        loads = [LoadProbe()]
        loads += [LoadBurst(n, Budget(0.3, 1.1)) for n in range(n_bursts)]
        for load in loads:
            self.talk.ask(load, Loaded)
            for message in (SetShutters("signal"), Play(), EndBurst()):
                self.talk.ask(message, Done)
        self.talk.ask(BlockTaken(n_bursts), Done)
        return folder / "capture"


class Received:
    def __init__(self, name):
        self.name, self.n_bursts = name, BURSTS


class Link:
    """Passes frames on, and lets somebody change them under way."""

    def __init__(self, alice, tamper):
        self.alice, self.tamper, self.said = alice, tamper, []

    def ask(self, stream, block, frames):
        asked = [self.carry("bob", stream, frame) for frame in frames]
        answers = self.alice.answer(stream, block, asked)
        return [self.carry("alice", stream, frame) for frame in answers]

    def carry(self, sender, stream, frame):
        number = len(self.said)
        self.said.append((sender, stream, frame))
        return self.tamper(number, frame)


class Ends:
    """Both ends with sinks of their own; every block has a name of its own."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0
        self.sinks = [KeySink(folder / f"{name}.sqlite") for name in ("alice", "bob")]
        provision(self.sinks, 1 << 16, ReplayEntropy(1, "start key"))
        stores = [Store(sink, shares_of(CONFIG), True) for sink in self.sinks]
        self.store, self.link = stores[1], None
        self.alice = AliceEnd(Scheme(), stores[0], self.choose, lambda *_: None)
        self.alice.open_light(None, None)

    def choose(self):
        return NextBlock(BlockName(RUN, self.number), self.folder)

    def run(self, tamper=lambda number, frame: frame):
        """Take and distil one block."""
        self.number += 1
        self.link = Link(self.alice, tamper)
        taker = BobTaker(self.link)
        light = BobsLight(taker.talk)
        taken = taker.take(light, BURSTS, 0, self.folder, Silent())
        assert not isinstance(taken, str)
        received, places = Received(taken.name), (taken.opening, 0, self.folder)

        def make(keys, opening):
            return ToyBob(taken.name, keys, opening)

        return distil_block(received, make, self.store, self.link, places)

    def made(self, end):
        """Return the pools that the last block has at an end, and their bits."""
        sink, found = self.sinks[end], {}
        for entry in sink.list():
            if (entry.run_uuid, entry.block) == (RUN, self.number):
                bits = material.read(sink.db, entry.serial, 0, entry.n_bits)
                found[entry.purpose, entry.direction] = (entry.state, bits)
        return found

    def states(self, end):
        return {state for state, _ in self.made(end).values()}

    def close(self):
        for sink in self.sinks:
            sink.close()


@pytest.fixture
def ends(tmp_path):
    made = Ends(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The frames of an undisturbed block: sender, stream, bytes."""
    ends = Ends(tmp_path_factory.mktemp("reference"))
    try:
        ends.run()
        return ends.link.said
    finally:
        ends.close()


def test_both_ends_have_the_same_key_and_all_of_it(ends):
    ends.run()
    alice, bob = ends.made(0), ends.made(1)
    assert ends.states(0) == ends.states(1) == {State.AVAILABLE}
    assert alice.keys() == bob.keys()
    for pool, (_, bits) in alice.items():
        assert np.array_equal(bits, bob[pool][1])
    # The shares are the key, each bit in one of them.
    whole = np.concatenate([bits for _, bits in alice.values()])
    key = np.unpackbits(np.frombuffer(key_of(BlockName(RUN, 1)), np.uint8))
    assert np.array_equal(whole, key[:KEY_BITS])
    assert {purpose for purpose, _ in alice} == {AUTHENTICATION_PURPOSE, KEY_PURPOSE}


def flipped(frame, bit):
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def bits_of(number, frame, n):
    """Return some bits of a frame: its last one, and others by chance."""
    total = 8 * len(frame)
    rng = np.random.default_rng([number, 17])
    return sorted({total - 1, *rng.integers(0, total, n).tolist()})


def test_a_flipped_bit_in_any_word_about_the_light_ends_the_key(ends, reference):
    light = [n for n, (_, stream, _) in enumerate(reference) if stream == "light"]
    assert len(light) == 2 * (1 + 4 * (1 + BURSTS) + 1)
    reached_the_tags = set()
    for place in light:
        frame = reference[place][2]
        for bit in bits_of(place, frame, 3):
            with pytest.raises((PeerError, ProtocolAbort)) as caught:
                ends.run(lambda n, f, p=place, b=bit: flipped(f, b) if n == p else f)
            assert ends.made(0) == ends.made(1) == {}
            if isinstance(caught.value, ProtocolAbort):
                reached_the_tags.add(place)
    # Some are no messages any more; others only the tags can tell from the true ones.
    assert len(reached_the_tags) >= BURSTS


def test_without_the_opening_an_altered_word_about_light_would_pass(ends, monkeypatch):
    """The test above fails for parties that do not authenticate what was said."""

    def shortened(number, frame):
        # Alice said that the probe lasts 1 s, Bob hears 2 s.
        return frame.replace(b"\xcb\x3f\xf0", b"\xcb\x40\x00")

    with pytest.raises(ProtocolAbort):
        ends.run(shortened)
    monkeypatch.setattr(Scheme, "party", lambda self, name, _, n, keys, opening: (
        ToyAlice(name, n, keys, Opening())
    ))  # fmt: skip
    monkeypatch.setattr(bob_end, "Opening", lambda *_: Opening())
    monkeypatch.setattr(Opening, "then", lambda *_: Opening())
    ends.run(shortened)
    assert ends.states(0) == ends.states(1) == {State.AVAILABLE}


#: What each end has of a block if a word of its distillation is altered or lost.
NOTHING, VERIFIED, AVAILABLE = set(), {State.VERIFIED}, {State.AVAILABLE}
WORDS = {
    # KeyStart, KeyReady, the scheme's first message, Alice's tag
    -6: (NOTHING, NOTHING),
    -5: (NOTHING, NOTHING),
    -4: (NOTHING, NOTHING),
    -3: (NOTHING, NOTHING),
    # Bob's tag: he has checked everything, and waits for her word for ever.
    -2: (NOTHING, VERIFIED),
    # Alice's confirmation
    -1: (AVAILABLE, VERIFIED),
}


def usable_bits(sink):
    return sum(e.available_bits for e in sink.list() if e.run_uuid == RUN)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("how", ["altered", "lost"])
def test_a_word_of_the_distillation(tmp_path, reference, word, how):
    """Bob never uses a key that Alice might not have; hers he has verified."""
    place = len(reference) + word
    frame = reference[place][2]
    for bit in bits_of(place, frame, 2) if how == "altered" else [None]:
        (home := tmp_path / f"{bit}").mkdir()
        ends = Ends(home)

        def tamper(number, frame, bit=bit):
            if number != place:
                return frame
            if bit is None:
                raise PeerLost("link: nothing comes any more")
            return flipped(frame, bit)

        try:
            with pytest.raises(ScqcError):
                ends.run(tamper)
            assert (ends.states(0), ends.states(1)) == WORDS[word]
            assert usable_bits(ends.sinks[1]) == 0
            waiting = [(RUN, ends.number)] if WORDS[word][1] else []
            assert ends.sinks[1].verified_blocks() == waiting
        finally:
            ends.close()


def test_a_word_of_another_block_confirms_nothing(ends):
    """The confirmation is bound to its block, and its pad serves once."""
    ends.run()
    old = ends.link.said[-1][2]
    with pytest.raises(ProtocolAbort):
        ends.run(lambda n, f: old if n == len(ends.link.said) - 1 == LAST else f)
    assert (ends.states(0), ends.states(1)) == (AVAILABLE, VERIFIED)


#: Place of the confirmation: two words a turn, 18 turns of light, then six words.
LAST = 2 * (1 + 4 * (1 + BURSTS) + 1) + 5


def test_a_confirmation_that_is_not_checked_is_noticed(tmp_path, monkeypatch):
    """The tests above fail for a Bob who takes any confirmation for hers."""
    monkeypatch.setattr(tag_pads.wegman_carter, "check", lambda *_: None)
    ends = Ends(tmp_path)
    try:
        tag_end = lambda n, f: flipped(f, 8 * len(f) - 1) if n == LAST else f  # noqa: E731
        ends.run(tag_end)
        assert ends.states(1) == AVAILABLE
    finally:
        ends.close()


def test_a_block_is_distilled_once(ends):
    """Nor one whose light Alice does not know of."""
    ends.run()
    places = (Opening(), 0, ends.folder)
    for name in (BlockName(RUN, ends.number), BlockName(RUN, 99)):

        def make(keys, opening, name=name):
            return ToyBob(name, keys, opening)

        with pytest.raises(ScqcError):
            distil_block(Received(name), make, ends.store, ends.link, places)
    assert ends.states(0) == ends.states(1) == AVAILABLE
