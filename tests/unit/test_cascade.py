"""Cascade against a slow search that knows the errors, and its two-way count."""

from itertools import pairwise

import numpy as np
import photon_kit as kit
import pytest
from photon_kit import detect, make_parties, named, prepare, talk

from protocols.messages import photon, wire
from protocols.reconciliation import cascade
from protocols.reconciliation.cascade import Cascade, CascadePlan, plan_frames
from protocols.security.decoy import binary_entropy
from scqc.core.errors import PeerError, ProtocolAbort

SEED = bytes(range(32))


def errors_of(shape, rate, seed=1):
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)


def search(plan, errors, seed=SEED):
    """Let both parties search; return them and the parities each announced."""
    bits = np.random.default_rng(9).integers(0, 2, errors.shape, dtype=np.uint8)
    alice = Cascade(bits, False, plan, seed)
    bob = Cascade(bits ^ errors, True, plan, seed)
    announced = 0
    while bob.n_questions:
        assert alice.n_questions == bob.n_questions
        asked, told = bob.parities(), alice.parities()
        alice.learn(told, asked)
        bob.learn(asked, told)
        announced += asked.size
    assert alice.n_questions == 0
    return alice, bob, announced


def slow_search(plan, errors, order):
    """The same search with lists of blocks; return how many parities it needs."""
    left, asked, begun = set(np.flatnonzero(errors)), 0, []

    def odd(number, low, high):
        return sum(int(bit) in left for bit in order[number][low:high]) % 2 == 1

    for number, length in enumerate(plan.block_bits.tolist()):
        edges = [*range(0, plan.n_bits, length), plan.n_bits]
        begun.append(list(pairwise(edges)))
        asked += len(begun[-1]) - (number > 0)
        while True:
            of_pass = [
                [b for b in blocks if odd(p, *b)] for p, blocks in enumerate(begun)
            ]
            active = next((p for p, blocks in enumerate(of_pass) if blocks), None)
            if active is None:
                break
            found = []
            for block in of_pass[active]:
                low, high = block
                begun[active].remove(block)
                while high - low > 1:
                    middle = (low + high) // 2
                    asked += 1
                    halves = [(low, middle), (middle, high)]
                    begun[active] += halves
                    low, high = halves[0] if odd(active, *halves[0]) else halves[1]
                    begun[active].remove((low, high))
                begun[active].append((low, high))
                found.append(int(order[active][low]))
            left ^= set(found)
    return asked, left


@pytest.mark.parametrize(
    ("n_bits", "rate", "first"),
    [(1024, 0.02, 33), (1048, 0.05, 16), (2000, 0.004, 190)],
)
def test_search_is_the_slow_one(n_bits, rate, first):
    plan = CascadePlan(3, n_bits, first)
    errors = errors_of((3, n_bits), rate, seed=n_bits)
    errors[0, -1] = 1  # where 33 does not divide: a block of one bit
    _, bob, _ = search(plan, errors)
    order, _ = cascade._orders(SEED, n_bits)
    for frame in range(3):
        asked, left = slow_search(plan, errors[frame], order)
        assert bob.asked[frame] == asked
        assert set(np.flatnonzero(bob.errors[frame] ^ errors[frame])) == left


@pytest.mark.parametrize("rate", [0.0, 0.003, 0.01, 0.03])
@pytest.mark.parametrize("n_key", [1024, 20_001, 140_000])
def test_all_errors_are_found_and_both_parties_know_them(rate, n_key):
    plan = plan_frames(n_key, rate, 65_536)
    errors = errors_of((plan.n_frames, plan.n_bits), rate)
    alice, bob, announced = search(plan, errors)
    np.testing.assert_array_equal(bob.errors, errors)
    np.testing.assert_array_equal(alice.errors, errors)
    assert alice.asked.sum() == bob.asked.sum() == announced


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.03])
def test_one_direction_comes_close_to_the_limit(rate):
    plan = plan_frames(4 * 65_536, rate, 65_536)
    errors = errors_of((4, plan.n_bits), rate, seed=2)
    _, bob, announced = search(plan, errors)
    np.testing.assert_array_equal(bob.errors, errors)
    limit = errors.size * binary_entropy(float(errors.mean()))
    assert 1.0 < announced / limit < 1.07
    assert bob.round_trips < 400


def test_without_errors_only_whole_blocks_are_asked():
    plan = CascadePlan(2, 4096, 128)
    _, bob, announced = search(plan, np.zeros((2, 4096), dtype=np.uint8))
    # 32 blocks, then 8 less the one that follows, then one half per pass.
    assert announced == 2 * (32 + 7 + (cascade.PASSES - 2))
    assert bob.round_trips == cascade.PASSES


def test_another_order_is_another_search():
    plan, errors = CascadePlan(1, 4096, 64), errors_of((1, 4096), 0.02)
    asked = {search(plan, errors, bytes([k]) * 32)[1].asked[0] for k in range(8)}
    assert len(asked) > 1


@pytest.mark.parametrize("seed", range(5))
def test_a_liar_is_found_out(seed):
    plan = CascadePlan(1, 1024, 31)
    bits, rng = np.zeros((1, 1024), dtype=np.uint8), np.random.default_rng(seed)
    bob = Cascade(bits, True, plan, SEED)

    def listen():
        while n := bob.n_questions:
            bob.learn(bob.parities(), rng.integers(0, 2, n, dtype=np.uint8))

    with pytest.raises(PeerError, match="contradict"):
        listen()
    # No block is asked about twice, and none of one bit: below n in every pass.
    assert bob.asked[0] < cascade.PASSES * plan.n_bits


@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_parities_is_refused(change):
    bob = Cascade(np.zeros((1, 1024), np.uint8), True, CascadePlan(1, 1024, 32), SEED)
    own = bob.parities()
    with pytest.raises(PeerError, match=r"32 own and 3\d parities"):
        bob.learn(own, np.zeros(own.size + change, dtype=np.uint8))


def test_plans_are_refused_or_fit():
    with pytest.raises(ProtocolAbort, match="1023 sifted bits"):
        plan_frames(1023, 0.01, 65_536)
    with pytest.raises(ProtocolAbort, match="shape"):
        Cascade(np.zeros((1, 8), np.uint8), True, CascadePlan(1, 1024, 32), SEED)
    for n_key in (1024, 65_536, 65_537, 999_999):
        plan = plan_frames(n_key, 0.01, 102_400)
        assert plan.n_bits % 8 == 0
        assert plan.n_bits <= 65_536
        assert n_key - 8 * plan.n_frames < plan.n_frames * plan.n_bits + plan.n_frames
        assert np.all(plan.block_bits <= -(-plan.n_bits // 2))


# In the scheme -----------------------------------------------------------------

SECURITY = kit.SECURITY.model_copy(
    update={
        "reconciliation": "cascade",
        "frame_bits": 16_384,
        "bounds": "chernoff",
        "epsilon": 1e-6,
    }
)
PREPARED = prepare(1_000_000)
RECEIVED, _ = detect(PREPARED, kit.Channel(transmittance=0.5, misalignment=0.01))


def parties(**others):
    return make_parties(PREPARED, RECEIVED, **({"security": SECURITY} | others))


def test_the_ledger_counts_the_parities_of_both(monkeypatch):
    counted = {True: 0, False: 0}
    original = Cascade.parities

    def counting(self):
        out = original(self)
        counted[self._corrects] += out.size
        return out

    monkeypatch.setattr(Cascade, "parities", counting)
    alice, bob = parties()
    said = talk(alice, bob)
    assert alice.key() == bob.key()
    assert alice.key()[1] > 0
    assert counted[True] == counted[False] > 0
    for party in (alice, bob):
        ledger = party.distillation.ledger
        assert ledger.published_bits == counted[False]
        assert ledger.revealed_bits == counted[True]
        assert ledger.leak_bits >= 2 * counted[True]
    # What was sent holds these parities, padded to bytes, and nothing else.
    for kind in (photon.ParityRequest, photon.Parities):
        bodies = [len(m.bits) for m in named(said, kind)]
        assert counted[True] <= 8 * sum(bodies) < counted[True] + 8 * len(bodies)


def test_one_direction_alone_would_make_another_key():
    """Bob's parities left out of the count: the other party refuses the length."""
    alice, bob = parties()

    def forget(_, data):
        if named([(_, data)], photon.Verified):
            alice._frame_rows = alice._cascade.asked
        return data

    with pytest.raises(PeerError, match="secret bits"):
        talk(alice, bob, forget)


@pytest.mark.parametrize("kind", [photon.ParityRequest, photon.Parities])
@pytest.mark.parametrize("change", [lambda b: b + b"\0", lambda b: b[:-1]])
def test_malformed_parities_end_the_exchange(kind, change):
    alice, bob = parties()

    def tamper(_, data):
        message = wire.decode(data)
        if isinstance(message, kind):
            return wire.encode(kind(change(message.bits)))
        return data

    with pytest.raises(PeerError, match="parities: "):
        talk(alice, bob, tamper)


def test_frames_that_bob_would_not_cut_are_refused():
    for field in ("n_frames", "frame_bits", "first_block"):

        def tamper(_, data, field=field):
            message = wire.decode(data)
            if isinstance(message, photon.CascadeStart):
                fields = {f: getattr(message, f) for f in message.__struct_fields__}
                fields[field] += 8
                return wire.encode(photon.CascadeStart(**fields))
            return data

        with pytest.raises(PeerError, match="first block"):
            talk(*parties(), tamper)


def test_a_message_needs_the_word_of_a_code():
    message = np.zeros(64, dtype=np.uint8)
    with pytest.raises(ProtocolAbort, match="message of 64 bits"):
        talk(*parties(message=message))


def test_a_flipped_parity_never_makes_different_keys():
    alice, bob = parties()
    state = {"left": 1}

    def tamper(_, data):
        message = wire.decode(data)
        if isinstance(message, photon.Parities) and state["left"]:
            state["left"] -= 1
            flipped = bytes([message.bits[0] ^ 0x80]) + message.bits[1:]
            return wire.encode(photon.Parities(flipped))
        return data

    # The parties' searches part ways, or the transcript's tag gives it away.
    with pytest.raises((PeerError, ProtocolAbort)):
        talk(alice, bob, tamper)
    assert not (alice.authenticated and bob.authenticated)
