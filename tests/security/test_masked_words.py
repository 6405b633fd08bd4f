"""The masked words: what they tell, who may speak when, what is lost for ever."""

import copy
import tracemalloc
from collections import Counter

import msgspec
import numpy as np
import photon_kit as kit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photon_kit import Channel, detect, named, prepare, talk
from scipy import stats
from strategies_messages import field_values, photon_messages

from dsp.time_tags import slots
from protocols.key_sink import KeySink, provision
from protocols.key_sink.align import align
from protocols.key_sink.pads import MessagePads
from protocols.messages import photon, wire
from protocols.messages.photon import PadRange
from protocols.reconciliation import ladder
from protocols.schemes import direct, photon_alice
from protocols.schemes.pads import Pad
from protocols.schemes.photon_alice import Outgoing, PhotonAlice
from protocols.schemes.photon_bob import PhotonBob
from protocols.schemes.photon_common import Received
from protocols.schemes.transcript import PublicChannel
from protocols.settings import PhotonSecuritySettings
from protocols.verification.tags import TAG_BITS
from scqc.core.errors import KeySinkError, PeerError, ProtocolAbort, ScqcError
from scqc.core.rng import ReplayEntropy

TO_BOB = "alice-to-bob"
SECURITY = PhotonSecuritySettings(
    threads=1,
    frame_bits=20_000,
    bounds="chernoff",
    epsilon=1e-6,
    decoder_iterations=40,
)
PREPARED = prepare(400_000)
RECEIVED, _ = detect(PREPARED, Channel(transmittance=0.9, misalignment=0.006))
MESSAGE = np.random.default_rng(7).integers(0, 2, 800).astype(np.uint8)
#: A chance below that of a falsely failing test.
UNLIKELY = 1e-6


class GivenPads:
    """A pool with chosen bits, known at both ends."""

    def __init__(self, bits):
        self.given = bits

    def spend(self, n_bits):
        assert n_bits == self.given.size
        return Pad(self.given, [PadRange("pool", 0, n_bits)], 0.0)

    def follow(self, ranges):
        return Pad(self.given, list(ranges), 0.0)


def parties(message=MESSAGE, pads=None, security=SECURITY, link="run/0", **others):
    """Return Alice and Bob of the common block, with other inputs where named."""
    pads = pads or kit.CountingPads()
    ends = pads if isinstance(pads, tuple) else (pads, pads)
    outgoing = Outgoing(message, ends[0])
    given = (kit.PULSES, security)
    alice = PhotonAlice(
        others.get("prepared", PREPARED),
        outgoing,
        given,
        ReplayEntropy(others.get("seed", 4), "a"),
        PublicChannel(link, kit.link_keys()),
    )
    bob = PhotonBob(
        others.get("received", RECEIVED),
        given,
        ReplayEntropy(5, "b"),
        PublicChannel(link, kit.link_keys()),
        ends[1],
    )
    return alice, bob


def finished(**inputs):
    """Return both parties and what they said."""
    alice, bob = parties(**inputs)
    return alice, bob, talk(alice, bob)


ALICE, BOB, SAID = finished()
KINDS = [type(wire.decode(data)).__name__ for _, data in SAID]


def nothing_released(party):
    with pytest.raises(PeerError, match="no key before"):
        party.key()
    if isinstance(party, PhotonBob):
        with pytest.raises(PeerError, match="no message before"):
            party.message()


def test_the_block_under_test_delivers_message_and_key():
    assert ALICE.key() == BOB.key()
    assert ALICE.key()[1] > 1000
    np.testing.assert_array_equal(BOB.message(), MESSAGE)
    assert KINDS[:4] == ["Detections", "Preparation", "CheckBits", "MaskedWords"]


# (a) Every information bit is padded or fresh -------------------------------------


def information(alice, said):
    """Return the information bits of the published words, from Alice's bits."""
    (words,) = named(said, photon.MaskedWords)
    code, raw = ladder.load_code(words.code), alice._raw
    published = wire.unpack_bits("words", words.words, raw.size).reshape(raw.shape)
    assert not code.checks(published ^ raw, words.rows).any()
    return code.information(published ^ raw).ravel()


def looks_uniform(bits):
    """Single bits and bytes, by chi-square."""
    ones = np.bincount(bits, minlength=2)
    packed = np.bincount(np.packbits(bits[: bits.size // 8 * 8]), minlength=256)
    return min(stats.chisquare(ones).pvalue, stats.chisquare(packed).pvalue) > UNLIKELY


def test_what_no_message_fills_is_fresh_random():
    one = information(ALICE, SAID)
    other = information(*finished(seed=44)[::2])
    pad = kit.CountingPads().bits(0, MESSAGE.size)
    np.testing.assert_array_equal(one[: MESSAGE.size], MESSAGE ^ pad)
    np.testing.assert_array_equal(other[: MESSAGE.size], MESSAGE ^ pad)
    fresh, again = one[MESSAGE.size :], other[MESSAGE.size :]
    assert fresh.size > 10_000
    assert looks_uniform(fresh)
    assert looks_uniform(again)
    # Two runs share nothing but the message.
    assert looks_uniform(fresh ^ again)


def test_a_known_filling_would_be_noticed(monkeypatch):
    monkeypatch.setattr(
        photon_alice, "random_bits", lambda source, n: np.zeros(n, np.uint8)
    )
    alice, _, said = finished()
    assert not looks_uniform(information(alice, said)[MESSAGE.size :])


def test_the_words_fit_every_message_equally():
    """For any other message there is a pad that gives the very same words."""
    rng = np.random.default_rng(1)
    pad = rng.integers(0, 2, MESSAGE.size).astype(np.uint8)
    (words,) = named(finished(pads=GivenPads(pad))[2], photon.MaskedWords)
    for other in (1 - MESSAGE, 0 * MESSAGE, np.roll(MESSAGE, 1)):
        pads = GivenPads(pad ^ MESSAGE ^ other)
        _, bob, said = finished(message=other, pads=pads)
        assert named(said, photon.MaskedWords) == [words]
        np.testing.assert_array_equal(bob.message(), other)


def test_published_words_are_uniform_whatever_the_message():
    """Without Alice's bits the word is noise: r hides the codeword."""
    for message in (0 * MESSAGE, 0 * MESSAGE + 1):
        _, _, said = finished(message=message, pads=GivenPads(0 * MESSAGE))
        (words,) = named(said, photon.MaskedWords)
        assert looks_uniform(np.unpackbits(np.frombuffer(words.words, np.uint8)))


def test_a_message_that_does_not_fit_costs_no_pad():
    pads = kit.CountingPads()
    long = np.zeros(200_000, dtype=np.uint8)
    alice, bob, _ = finished(message=long, pads=pads)
    assert (alice.sent_bits, alice.pad, pads.spent) == (0, None, [])
    assert bob.message().size == 0
    assert alice.key() == bob.key()
    assert alice.key()[1] > 0


# (c) Everything said about the key is counted -------------------------------------


def test_both_directions_are_counted_bit_by_bit(monkeypatch):
    """With a first attempt that discloses too little, so that there are reveals."""
    monkeypatch.setattr(ladder, "FIRST_EFFICIENCY", ((0.01, 0.05), (1.0, 1.0)))
    alice, bob, said = finished()
    (words,) = named(said, photon.MaskedWords)
    code, frames = ladder.load_code(words.code), words.n_frames
    asked = named(said, photon.RevealRequest)
    assert asked
    revealed, rows = 0, words.rows
    for request in asked:
        flags = wire.unpack_bits("flags", request.failed, frames)
        revealed += int(flags.sum()) * (code.next_rows(rows) - rows)
        rows = code.next_rows(rows)
    (tags,) = named(said, photon.Verification)
    (verdict,) = named(said, photon.Verified)
    # Bob's words depend on his errors, so they count as well: one flag per frame
    # and request, two at the end, and how many errors there were.
    flags = frames * (len(asked) + 2) + (frames * code.n_bits).bit_length()
    assert verdict.key_errors <= frames * code.n_bits
    ledger = alice.distillation.ledger
    assert ledger.published_bits == frames * words.rows
    assert ledger.revealed_bits == revealed > 0
    assert ledger.verification_bits == 8 * len(tags.tags) == frames * TAG_BITS
    assert ledger.flag_bits == flags
    assert ledger.sifted_bits == frames * code.n_bits
    assert bob.distillation.ledger == ledger


def test_a_failed_frame_takes_all_its_bits_with_it(monkeypatch):
    alice, bob = parties()

    def lose_one(sender, data):
        message = wire.decode(data)
        if isinstance(message, photon.Decoded):
            # Errors in one frame that the decoder did not find.
            bob._errors[0, :3] ^= 1
        return data

    said = talk(alice, bob, lose_one)
    ledger, whole = alice.distillation.ledger, ALICE.distillation.ledger
    n, frames = alice._code.n_bits, alice.accepted.size
    assert ledger.failed_bits == n - int(alice._frame_rows[0])
    assert ledger.sifted_bits == whole.sifted_bits
    # What was tried to save it is paid for too: checks, tags and flags.
    tags = len(named(said, photon.Verification)) - 1
    asked = len(named(said, photon.RevealRequest)) - KINDS.count("RevealRequest")
    assert tags == asked > 0
    lost = n - int(ALICE._frame_rows[0]) + frames * (TAG_BITS * tags + asked + tags)
    assert alice.key()[1] == max(0, ALICE.key()[1] - lost)
    assert alice.key() == bob.key()
    # The message was in that frame.
    assert bob.message().size == 0


# (d) Order, and nothing before authentication -------------------------------------


def test_nothing_is_released_before_the_tags():
    alice, bob = parties()
    outbox = [("bob", m) for m in bob.start()]
    while outbox:
        sender, data = outbox.pop(0)
        for party in (alice, bob):
            if not party.authenticated:
                nothing_released(party)
        party, peer = (alice, "alice") if sender == "bob" else (bob, "bob")
        outbox += [(peer, m) for m in party.receive(data)]
    assert alice.authenticated
    assert bob.authenticated


def clone(party):
    """Copy a party so that what happens to it leaves no trace in the original."""
    # What never changes is shared: the slots, the detections, the code.
    names = ("_prepared", "_received", "_code", "_raw")
    kept = [getattr(party, name) for name in names if hasattr(party, name)]
    return copy.deepcopy(party, {id(thing): thing for thing in kept})


def test_any_message_out_of_turn_is_refused():
    """In every state of either party, with the genuine messages of this block."""
    alice, bob = parties()
    bob.start()
    for sender, data in SAID:
        party = alice if sender == "bob" else bob
        expected = {kind.__name__ for kind in party._expected}
        for _, other in SAID:
            if type(wire.decode(other)).__name__ in expected:
                continue
            tried = clone(party)
            with pytest.raises(PeerError, match="expected"):
                tried.receive(other)
            # And that was the end of it.
            with pytest.raises(PeerError, match="broken off"):
                tried.receive(data)
        party.receive(data)
    for party in (alice, bob):
        for _, other in SAID:
            with pytest.raises(PeerError, match="expected nothing"):
                clone(party).receive(other)


def states(alice, bob):
    """Play a block; return messages, and both parties before each of them.

    Of a kind that comes very often, as with Cascade, the first three.
    """
    found, said, times = [], [], Counter()
    outbox = [("bob", m) for m in bob.start()]
    while outbox:
        sender, data = outbox.pop(0)
        times[data[:24]] += 1
        if times[data[:24]] <= 3 or len(said) < 30:
            found.append((clone(alice), clone(bob)))
            said.append((sender, data))
        party, name = (alice, "alice") if sender == "bob" else (bob, "bob")
        outbox += [(name, m) for m in party.receive(data)]
    assert alice.authenticated
    assert bob.authenticated
    return said, found


STATES = states(*parties())[1]


def cascade_block():
    """A block for key only, corrected in many rounds."""
    told = SECURITY.model_copy(update={"reconciliation": "cascade"})
    return parties(message=MESSAGE[:0], security=told)


@pytest.mark.parametrize("kind", ["ldpc", "cascade", "direct"])
def test_no_message_breaks_a_party(kind):
    """Well-formed, of hostile contents, in every state: refused by type.

    Any message at all, and the right one with a single field replaced.
    """
    made = {"ldpc": parties, "cascade": cascade_block, "direct": direct_block}[kind]()
    said, found = states(*made[:2])

    @settings(max_examples=150, deadline=None)
    @given(photon_messages, st.integers(0, len(said) - 1), st.data())
    def attack(message, after, data):
        sender, genuine = said[after]
        right = wire.decode(genuine)
        field = data.draw(st.sampled_from(right.__struct_fields__))
        value = data.draw(field_values(type(right), field))
        changed = msgspec.structs.replace(right, **{field: value})
        alice, bob = found[after]
        for party, forged in (
            (alice, message),
            (bob, message),
            (alice if sender == "bob" else bob, changed),
        ):
            tried = clone(party)
            try:
                tried.receive(wire.encode(forged))
            except (PeerError, ProtocolAbort, KeySinkError):
                if not party.authenticated:
                    nothing_released(tried)

    attack()


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("number", "change", "why"),
    [
        (0, {"n_detections": HUGE}, "for 1099511627776 values"),
        (0, {"n_detections": 0}, "for 0 values"),
        (0, {"n_slots": HUGE}, "slots, sent 400000"),
        (0, {"n_slots": 399_999}, "slots, sent 400000"),
        (0, {"steps": b""}, "0 bytes for"),
        (0, {"bases": b""}, "0 bytes for"),
        (1, {"bases": b""}, "0 bytes for"),
        (1, {"intensities": b""}, "0 bytes for"),
        (1, {"intensities": bytes([255])}, "bytes for|intensity that"),
        (2, {"bits": b""}, "0 bytes for"),
        (3, {"n_frames": HUGE}, "frames of"),
        (3, {"n_frames": 0}, "0 frames"),
        (3, {"rows": HUGE}, "rows, the code has"),
        (3, {"rows": 0}, "rows, the code has"),
        (3, {"code": "ladder-40-99999999"}, "sizes are"),
        (3, {"code": "ladder-1-64"}, "code"),
        (3, {"code_sha256": "0" * 64}, "sha-256"),
        (3, {"words": b""}, "0 bytes for"),
        (3, {"message_bits": 0, "words": b""}, "0 bytes for"),
        (3, {"message_bits": HUGE}, "800 bits named"),
        (3, {"message_bits": 801}, "800 bits named"),
        (3, {"pads": []}, "0 bits named"),
        (3, {"pads": [PadRange("p", 0, 10**6)], "message_bits": 10**6}, "message bits"),
        (3, {"check_errors": (HUGE, 0, 0)}, "errors in"),
        (3, {"check_errors": (10_000, 0, 0)}, "errors in|error rate"),
    ],
)
def test_hostile_counts_are_refused_at_once(number, change, why):
    sender, data = SAID[number]
    forged = wire.encode(msgspec.structs.replace(wire.decode(data), **change))
    alice, bob = STATES[number]
    receiver = clone(alice if sender == "bob" else bob)
    tracemalloc.start()
    with pytest.raises((PeerError, ProtocolAbort), match=why):
        receiver.receive(forged)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A few bytes per slot sent, whatever the message says.
    assert peak < 64 * PREPARED.size
    nothing_released(receiver)


# Announcements --------------------------------------------------------------------


def announce(places, prepared=PREPARED):
    """Let Alice hear an announcement."""
    alice, _ = parties(prepared=prepared)
    steps = np.diff(np.asarray(places, dtype=np.int64), prepend=-1)
    message = photon.Detections(
        prepared.size,
        len(places),
        (steps % (1 << 32)).astype("<u4").tobytes(),
        bytes((len(places) + 7) // 8),
    )
    return alice.receive(wire.encode(message))


def test_announcements_that_cannot_be():
    assert len(announce([0, 1, 399_999])) == 1
    for places, why in (
        ([5, 5], "announced twice"),
        ([0, 0], "announced twice"),
        ([9, 3], "slot 42949"),
        ([400_000], "slot 400000, sent 400000"),
        ([3, (1 << 32) + 1], "slot|twice"),
    ):
        with pytest.raises(PeerError, match=why):
            announce(places)


def test_public_slots_are_no_key():
    """Their bits are known to everybody; as a key they would be worth nothing."""
    marked = PREPARED.copy()
    marked[1000] |= slots.SYNC_FLAG
    announce([999, 1001], marked)
    with pytest.raises(PeerError, match="public slot"):
        announce([999, 1000], marked)


# Altered, replayed, and what it costs ---------------------------------------------


@pytest.fixture
def sinks(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        entropy = ReplayEntropy(1, "start")
        provision([alice, bob], 128, entropy, pad_bits=8000)
        yield alice, bob


def pool(sinks):
    return tuple(MessagePads(sink, allow_simulated=True) for sink in sinks)


def left(sink):
    return sink.available_bits("pad", TO_BOB, True)


#: The first of every kind, and the last tag.
FIRSTS = sorted({KINDS.index(kind) for kind in KINDS} | {len(KINDS) - 1})
ALTERED = [(number, ("middle", "end")[number % 2]) for number in FIRSTS]


@pytest.mark.parametrize(("number", "place"), ALTERED)
def test_one_altered_bit_ends_it_and_the_pad_is_gone(sinks, number, place):
    said = 0
    first = pool(sinks)[0].spend(100).ranges
    pool(sinks)[1].follow(first)
    alice, bob = parties(pads=pool(sinks))

    def flip(sender, data):
        nonlocal said
        said += 1
        if said - 1 != number:
            return data
        at = len(data) // 2 if place == "middle" else len(data) - 1
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    with pytest.raises(ScqcError):
        talk(alice, bob, flip)
    nothing_released(alice)
    if number < len(SAID) - 1:
        nothing_released(bob)
    # Alice spends when she publishes; from then on the pad is spent at both ends.
    spent = 100 + (MESSAGE.size if said > KINDS.index("CheckBits") + 1 else 0)
    assert left(sinks[0]) == 8000 - spent
    align(*sinks)
    assert left(sinks[0]) == left(sinks[1]) <= 8000 - spent
    (again,) = pool(sinks)[0].spend(100).ranges
    assert again.start_bit >= spent


def test_a_forged_number_of_errors_is_noticed_only_by_the_tag():
    """Nothing else would tell: the message is plausible in itself."""
    alice, bob = parties()

    def fewer(sender, data):
        message = wire.decode(data)
        if isinstance(message, photon.MaskedWords):
            none = (0, 0, 0)
            message = msgspec.structs.replace(message, check_errors=none)
        if isinstance(message, wire.Amplification):
            length = alice_length(alice, data)
            message = msgspec.structs.replace(message, secret_bits=length)
        if isinstance(message, wire.Verdict):
            message = wire.Verdict(bob._secret_bits)
        return wire.encode(message)

    with pytest.raises(ProtocolAbort, match="authentication"):
        talk(alice, bob, fewer)
    nothing_released(alice)
    nothing_released(bob)


def alice_length(alice, data):
    """Return the length Alice would count herself."""
    tried = clone(alice)
    with pytest.raises(PeerError, match="we count"):
        tried.receive(data)
    return tried.distillation.secret_bits


def test_a_conversation_of_another_block_is_refused():
    """The same light and the same keys, but the tag names run and block."""
    alice, bob = parties(link="run/1")
    bob.start()
    for party, peer in ((alice, "bob"), (bob, "alice")):
        *before, last = [data for sender, data in SAID if sender == peer]
        for data in before:
            party.receive(data)
        with pytest.raises(ProtocolAbort, match="authentication"):
            party.receive(last)
        nothing_released(party)


def test_words_of_a_block_cannot_be_published_again(sinks):
    """A second codeword on the same bits: their sum would be that of messages."""
    for sink in sinks:
        sink.claim("run", 0)
        with pytest.raises(KeySinkError, match="distilled before"):
            sink.claim("run", 0)
    # The reason: without the claim, the bits of the key cancel.
    first = information(ALICE, SAID)
    (one,) = named(SAID, photon.MaskedWords)
    other_alice, _, said = finished(seed=44)
    (two,) = named(said, photon.MaskedWords)
    code = ladder.load_code(one.code)
    both = np.bitwise_xor(*(np.frombuffer(w.words, np.uint8) for w in (one, two)))
    seen = wire.unpack_bits("both", both.tobytes(), ALICE._raw.size)
    seen = code.information(seen.reshape(ALICE._raw.shape)).ravel()
    np.testing.assert_array_equal(seen, first ^ information(other_alice, said))


# What must end a block before anything is spent -----------------------------------


def aborts(received, why, prepared=PREPARED):
    pads = kit.CountingPads()
    alice, bob = parties(pads=pads, received=received, prepared=prepared)
    with pytest.raises(ProtocolAbort, match=why):
        talk(alice, bob)
    assert pads.spent == []
    for party in (alice, bob):
        nothing_released(party)


def test_too_many_errors_end_it_before_the_pad():
    received, _ = detect(PREPARED, Channel(0.8, check_misalignment=0.15))
    aborts(received, "error rate 1.* in basis X, limit 8.00%")


def only(received, chance, seed=1):
    """Keep detections with a chance by intensity: Eve knows the brightness."""
    rng = np.random.default_rng(seed)
    chances = np.array(chance)[slots.intensity(PREPARED[received.places])]
    keep = rng.random(chances.size) < chances
    parts = (received.places, received.bases, received.bits)
    return Received(received.n_slots, *(part[keep] for part in parts))


def test_counts_that_contradict_each_other_end_it():
    aborts(only(RECEIVED, (1.0, 0.3, 1.0)), "yield is negative by")
    # Somebody lights Bob's detectors in slots that were sent dark.
    vacuum = np.flatnonzero(slots.intensity(PREPARED) == slots.VACUUM)
    rng = np.random.default_rng(2)
    n = vacuum.size
    lit = Received(
        PREPARED.size,
        vacuum,
        rng.integers(0, 2, n).astype(np.uint8),
        slots.bit(PREPARED[vacuum]),
    )
    dim = only(RECEIVED, (0.2, 0.2, 0.0))
    places = np.concatenate([lit.places, dim.places])
    order = np.argsort(places)
    mixed = [
        np.concatenate([one, two])[order]
        for one, two in ((lit.bases, dim.bases), (lit.bits, dim.bits))
    ]
    aborts(Received(PREPARED.size, places[order], *mixed), "vacuum slots click")


def test_nothing_detected_ends_it():
    empty = np.zeros(0, dtype=np.int64)
    none = Received(PREPARED.size, empty, empty.astype("u1"), empty.astype("u1"))
    aborts(none, "0 detections in the key basis")
    one_basis = RECEIVED.bases == slots.Z
    parts = (RECEIVED.places, RECEIVED.bases, RECEIVED.bits)
    aborts(Received(PREPARED.size, *(p[one_basis] for p in parts)), "both are needed")


def test_key_basis_errors_give_no_key_and_no_message():
    """The check basis is clean: only the words themselves can show it."""
    received, _ = detect(
        PREPARED, Channel(0.8, misalignment=0.25, check_misalignment=0.01)
    )
    alice, bob = parties(received=received)
    try:
        talk(alice, bob)
    except ProtocolAbort:
        return
    assert alice.key() == bob.key() == (b"", 0)
    assert bob.message().size == 0


# (e) Direct encoding: never a key -------------------------------------------------

DIRECT = PhotonSecuritySettings(threads=1, encoding="direct", epsilon=1e-6)


def direct_block():
    """A padded message in the light itself."""
    pads = kit.CountingPads()
    spent = pads.spend(MESSAGE.size)
    word = direct.encode(MESSAGE ^ spent.bits, 1, b"word", ReplayEntropy(1, "w"))
    prepared = PREPARED.copy()
    direct.place(prepared, 0, word)
    received, _ = detect(prepared, Channel(0.8))
    z = received.bases == slots.Z
    rates = (0.02, kit.PULSES.z_share)
    soft = direct.decode(received.places[z], received.bits[z], 1, b"word", rates)
    parts = (received.places, received.bases, received.bits)
    received = Received(prepared.size, *parts, soft)
    outgoing = Outgoing(MESSAGE, pads, spent)
    channel = PublicChannel("run/0", kit.link_keys())
    args = (kit.PULSES, DIRECT), ReplayEntropy(4, "a"), channel
    alice = PhotonAlice(prepared, outgoing, *args)
    bob = PhotonBob(received, *args, pads)
    return alice, bob, pads


def test_direct_encoding_delivers_and_never_gives_key():
    alice, bob, pads = direct_block()
    said = talk(alice, bob)
    np.testing.assert_array_equal(bob.message(), MESSAGE)
    assert alice.key() == bob.key() == (b"", 0)
    assert alice.distillation is bob.distillation is None
    assert not named(said, wire.Amplification)
    assert len(pads.spent) == 1
    # Neither can be talked into one.
    alice, bob, _ = direct_block()
    with pytest.raises(PeerError, match="expected Detections"):
        alice.receive(wire.encode(wire.Amplification(1000, bytes(5000))))

    def ask_for_key(sender, data):
        if isinstance(wire.decode(data), wire.Verdict):
            return wire.encode(wire.Verdict(1000))
        return data

    alice, bob, _ = direct_block()
    with pytest.raises(PeerError, match="Alice counts 1000 secret bits, we count 0"):
        talk(alice, bob, ask_for_key)
    nothing_released(bob)


def test_altered_direct_words_are_not_delivered():
    alice, bob, _ = direct_block()

    def alter(sender, data):
        message = wire.decode(data)
        if isinstance(message, photon.DirectWord):
            other = [PadRange("pool", 1, MESSAGE.size)]
            return wire.encode(msgspec.structs.replace(message, pads=other))
        return data

    with pytest.raises(ProtocolAbort, match="authentication"):
        talk(alice, bob, alter)
    nothing_released(alice)
    nothing_released(bob)


# A word that every known check allows, and is not Alice's -----------------------------


@pytest.mark.parametrize("lies", [1, 3])
def test_a_wrong_word_is_told_by_its_tag_and_decoded_again(monkeypatch, lies):
    """The first decodings end in another codeword: tags cost, nothing is lost."""
    alice, bob = parties()
    honest, told = ladder.LadderCode.decode, []

    def neighbour(code, syndromes, *arguments):
        found = honest(code, syndromes, *arguments)
        if len(told) < lies and found.converged.all():
            told.append(1)
            other = np.ones((1, code.n_bits - code.min_rows), dtype=np.uint8)
            found.errors[0] ^= code.encode(other)[0]
        return found

    monkeypatch.setattr(ladder.LadderCode, "decode", neighbour)
    said = talk(alice, bob)
    assert len(told) == lies
    np.testing.assert_array_equal(bob.message(), MESSAGE)
    assert alice.key() == bob.key()
    frames = bob.disclosure.accepted.size
    assert bob.disclosure.accepted.all()
    assert len(named(said, photon.Verification)) == lies + 1
    ledger = bob.distillation.ledger
    # Every tag that was sent is paid for, and so is every further check.
    sent = sum(8 * len(m.tags) for m in named(said, photon.Verification))
    assert ledger.verification_bits == sent == 64 * frames * (lies + 1)
    checks = sum(8 * len(m.checks) for m in named(said, photon.Reveal))
    assert 0 < ledger.revealed_bits <= checks < ledger.revealed_bits + 8 * len(said)
    assert ledger == alice.distillation.ledger
