"""Decoy bounds against the photon numbers that only the simulation knows.

Two kinds of truth: blocks slot by slot through the parties' own sifting, and
counts by intensity and photon number, many blocks at once. A slot's clicks depend
on its photon number and never on its intensity: that is all an eavesdropper is
held to, so every attack here is a choice of yields and error rates.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import photon_kit as kit
import pytest
from photon_kit import Channel, detect, make_parties, prepare, talk
from scipy import stats

from dsp.time_tags import slots
from protocols.schemes.photon_common import (
    Disclosure,
    Received,
    Sifted,
    by_intensity,
    check_basis,
    distil,
    sift,
)
from protocols.security import decoy
from protocols.security.decoy import FAILURES, Counts, binary_entropy, estimate
from protocols.security.decoy_length import Disclosed, key_length
from protocols.settings import DecoySettings, PhotonSecuritySettings
from scqc.core.errors import ProtocolAbort

PROVEN = ("hoeffding", "chernoff")
METHODS = (*PROVEN, "gaussian")
#: A chance below that of a falsely failing test.
UNLIKELY = 1e-6
PULSES = kit.PULSES
MOST_PHOTONS = 14


# Slot by slot ---------------------------------------------------------------------


@dataclass
class Block:
    """What both parties count, and what is true of the very same detections."""

    key: Counts
    check: Counts
    vacuum: int
    single: int
    phase_error: float
    sifted: Sifted
    photons: np.ndarray


def sifted_block(seed, channel, n_slots=600_000, pulses=PULSES, select=None):
    """Send a block, sift it, and look up the truth of its key detections."""
    prepared = prepare(n_slots, pulses, seed)
    received, truth = detect(prepared, channel, pulses, seed + 1000)
    found = prepared[received.places]
    keep = np.ones(found.size, bool) if select is None else select(received, truth)
    found, bob = found[keep], received.bases[keep]
    photons, wrong = truth.photons[keep], truth.check_error[keep]
    bits = received.bits[keep]
    intensities = slots.intensity(found)
    sifted = sift(slots.basis(found), bob, intensities, bytes(32))
    errors = bits[sifted.check] != slots.bit(found[sifted.check])
    ones = sifted.key[photons[sifted.key] == 1]
    return Block(
        Counts(sifted.key_counts(sifted.key.size), (0, 0, 0)),
        Counts(sifted.check_counts(), by_intensity(intensities[sifted.check[errors]])),
        int(np.count_nonzero(photons[sifted.key] == 0)),
        ones.size,
        float(wrong[ones].mean()) if ones.size else 0.0,
        sifted,
        photons,
    )


def bounds_hold(block, epsilon, methods=METHODS):
    """Whether all three statements are true of a block, by method."""
    held = {}
    for method in methods:
        found = estimate(block.key, block.check, PULSES.intensities, epsilon, method)
        held[method] = (
            found.vacuum <= block.vacuum
            and found.single <= block.single
            and found.phase_error >= block.phase_error
        )
    return held


def seeds_hold(seeds):
    told = 0
    for seed in seeds:
        # Another loss, background and misalignment every time.
        rng = np.random.default_rng(seed)
        channel = Channel(
            transmittance=float(rng.uniform(0.5, 0.9)),
            background=10.0 ** rng.uniform(-6, -2.3),
            misalignment=float(rng.uniform(0.0, 0.03)),
        )
        block = sifted_block(seed, channel)
        for method, held in bounds_hold(block, 1e-10).items():
            assert held, (seed, method)
        found = estimate(block.key, block.check, PULSES.intensities, 1e-10, "chernoff")
        told += found.single > 0.3 * block.single and found.phase_error < 0.5
    # Bounds that say nothing are always true: most of these say something.
    assert told > 0.5 * len(seeds)


def test_truth_is_within_the_bounds_of_twenty_seeds():
    seeds_hold(range(1, 21))


@pytest.mark.soak
def test_dv_truth_is_within_the_bounds_of_two_hundred_seeds():
    seeds_hold(range(1, 201))


def test_the_parties_use_these_bounds():
    """End to end: the key rests on what the truth contains, and not on more."""
    prepared = prepare(600_000)
    received, truth = detect(prepared, Channel(0.8))
    for method in METHODS:
        security = PhotonSecuritySettings(
            threads=1, frame_bits=20_000, bounds=method, epsilon=1e-6
        )
        alice, bob = make_parties(prepared, received, security=security)
        talk(alice, bob)
        used = alice.distillation.key.total
        photons = truth.photons[bob.sifted.key[:used]]
        ones = bob.sifted.key[:used][photons == 1]
        found = alice.distillation.bounds
        assert found.single <= ones.size
        assert found.vacuum <= np.count_nonzero(photons == 0)
        assert found.phase_error >= truth.check_error[ones].mean()
        assert alice.distillation.secret_bits <= found.entropy_bits


# Counts by photon number ----------------------------------------------------------


@dataclass(frozen=True)
class Yields:
    """What a channel, or an eavesdropper, does to each photon number.

    Chance of a click; of a wrong bit in the check basis, and in the key basis.
    """

    click: np.ndarray
    check_error: np.ndarray
    key_error: np.ndarray


def lossy(eta=0.1, background=1e-5, wrong=0.015):
    """The channel without anybody in it."""
    n = np.arange(MOST_PHOTONS)
    lands = 1.0 - (1.0 - eta) ** n
    click = 1.0 - (1.0 - background) * (1.0 - lands)
    error = (0.5 * background + wrong * (1 - background) * lands) / click
    return Yields(click, error, error)


@dataclass
class Many:
    """Counts of many blocks, shape (blocks, 3 intensities, photon numbers)."""

    key: np.ndarray
    check: np.ndarray
    check_wrong: np.ndarray
    phase_wrong: np.ndarray
    key_wrong: np.ndarray

    def counts(self, which):
        key, check, wrong = (
            tuple(int(k) for k in part[which].sum(axis=1))
            for part in (self.key, self.check, self.check_wrong)
        )
        return Counts(key, (0, 0, 0)), Counts(check, wrong)


def many(yields, slots_sent, blocks, seed=1, pulses=PULSES, z_fraction=0.8):
    """Draw the counts of independent slots, by intensity and photon number."""
    rng = np.random.default_rng(seed)
    shares = np.array(pulses.intensities.probabilities)[:, None]
    means = np.array(pulses.intensities.mean_photons)[:, None]
    photons = stats.poisson.pmf(np.arange(MOST_PHOTONS), means)
    rate = slots_sent * shares * photons * yields.click
    size = (blocks, *rate.shape)
    key = rng.poisson(rate * pulses.z_share * z_fraction, size)
    check = rng.poisson(rate * (1 - pulses.z_share) * (1 - z_fraction), size)
    return Many(
        key,
        check,
        rng.binomial(check, yields.check_error),
        rng.binomial(key, yields.check_error),
        rng.binomial(key, yields.key_error),
    )


def failures(drawn, epsilon, method, pulses=PULSES):
    """Count the blocks for which each statement is false: s0, s1, phase error."""
    false = np.zeros(3, dtype=int)
    for which in range(drawn.key.shape[0]):
        key, check = drawn.counts(which)
        found = estimate(key, check, pulses.intensities, epsilon, method)
        by_photons = drawn.key[which].sum(axis=0)
        phase = drawn.phase_wrong[which, :, 1].sum() / max(by_photons[1], 1)
        false += (
            found.vacuum > by_photons[0],
            found.single > by_photons[1],
            found.phase_error < phase,
        )
    return false


def too_many(failed, blocks, epsilon):
    """Whether so many failures contradict a chance of `epsilon` each."""
    return stats.binom.sf(failed - 1, blocks, min(epsilon, 1.0)) < UNLIKELY


SITUATIONS = {
    "short fibre": (lossy(0.1), 3e6),
    "dark": (lossy(1e-3, 1e-4), 3e8),
    "no errors": (lossy(0.1, 1e-9, 0.0), 1e6),
    "tiny": (lossy(0.1), 1e5),
}


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("method", PROVEN)
def test_the_promised_coverage_is_kept(name, method):
    blocks, epsilon = 400, 0.05
    drawn = many(*SITUATIONS[name], blocks)
    # All 21 statements together, as promised.
    assert not too_many(failures(drawn, epsilon, method).sum(), blocks, epsilon)
    # And each of them at a 21st, with ten times as many chances to be wrong.
    each = FAILURES * 0.02
    for failed in failures(drawn, each, method):
        assert not too_many(failed, blocks, each)


@pytest.mark.soak
@pytest.mark.parametrize("method", METHODS)
def test_dv_coverage_and_tightness_at_ten_million_detections(method):
    blocks, epsilon = 1000, 0.05
    drawn = many(lossy(0.1), 5.7e8, blocks)
    detections = drawn.key.sum(axis=(1, 2))
    assert detections.mean() == pytest.approx(1e7, rel=0.01)
    failed = failures(drawn, epsilon, method).sum()
    print(f"{method}: {failed} of {blocks} blocks outside at epsilon {epsilon}")
    assert not too_many(failed, blocks, epsilon)
    for strict in (epsilon, 1e-10):
        worst = 0.0
        for which in range(100):
            key, check = drawn.counts(which)
            found = estimate(key, check, PULSES.intensities, strict, method)
            worst = max(worst, drawn.key[which, :, 1].sum() / found.single)
        print(f"{method}: truth over bound of s1 at {strict:g}: {worst:.3f}")
        assert worst < 1.3


# Attacks --------------------------------------------------------------------------


def splitting(eta, blocked):
    """Photon-number splitting: single photons stopped, others sent on for sure."""
    usual = lossy(eta)
    click = usual.click.copy()
    click[1] *= 1.0 - blocked
    lost = stats.poisson.pmf(1, PULSES.signal_photons) * blocked * usual.click[1]
    multi = stats.poisson.sf(1, PULSES.signal_photons)
    # She hides the loss of signals behind more clicks from multi-photon pulses.
    click[2:] = np.minimum(1.0, click[2:] + lost / multi)
    return replace(usual, click=click)


def leak_of(drawn, which):
    """Return the least an error correction could disclose [bit]."""
    n, wrong = drawn.key[which].sum(), drawn.key_wrong[which].sum()
    return math.ceil(n * binary_entropy(wrong / n))


@pytest.mark.parametrize("method", PROVEN)
def test_splitting_is_seen_and_leaves_no_key(method):
    keys = []
    for blocked in (0.0, 0.3, 0.6, 0.9, 1.0):
        yields = splitting(0.02, blocked)
        drawn = many(yields, 3e8, 20)
        # The signals alone look as ever.
        signals = drawn.key[:, 0].sum(axis=1).mean()
        clear = many(splitting(0.02, 0.0), 3e8, 20).key[:, 0].sum(axis=1).mean()
        assert signals == pytest.approx(clear, rel=0.01)
        assert not failures(drawn, 1e-9, method).any()
        key, check = drawn.counts(0)
        found = estimate(key, check, PULSES.intensities, 1e-9, method)
        said = Disclosed(leak_of(drawn, 0), 0, 0, 0, 0)
        keys.append(key_length(key.total, found, said, 1e-9).secret_bits)
    assert keys[0] > 0.1 * key.total
    assert keys == sorted(keys, reverse=True)
    assert keys[3:] == [0, 0]
    assert found.single == 0.0


def test_complete_splitting_contradicts_the_decoys():
    drawn = many(splitting(0.02, 1.0), 3e8, 1)
    with pytest.raises(ProtocolAbort, match="yield is negative"):
        decoy.check_consistency(*drawn.counts(0), PULSES.intensities)
    decoy.check_consistency(
        *many(splitting(0.02, 0.0), 3e8, 1).counts(0), PULSES.intensities
    )


@pytest.mark.parametrize("method", PROVEN)
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_intercepting_single_photons_shows_as_phase_errors(method, share):
    """She measures a share of the single photons in a random basis."""
    usual = lossy(0.1)
    error = usual.check_error.copy()
    error[1] = (1 - share) * error[1] + share * 0.25
    drawn = many(Yields(usual.click, error, error), 1e8, 20)
    assert not failures(drawn, 1e-9, method).any()
    found = estimate(*drawn.counts(0), PULSES.intensities, 1e-9, method)
    assert found.phase_error > error[1]


@pytest.mark.parametrize("method", PROVEN)
def test_measuring_in_the_key_basis_only_shows_in_the_check_basis(method):
    usual, share = lossy(0.1), 0.3
    check = usual.check_error.copy()
    check[1] = (1 - share) * check[1] + share * 0.5
    drawn = many(Yields(usual.click, check, usual.key_error), 1e8, 20)
    assert not failures(drawn, 1e-9, method).any()
    # The break: errors of the key basis say nothing about her.
    for which in range(20):
        key, _ = drawn.counts(which)
        wrong = tuple(int(k) for k in drawn.key_wrong[which].sum(axis=1))
        blind = Counts(key.detections, wrong)
        found = estimate(key, blind, PULSES.intensities, 1e-9, method)
        truth = drawn.phase_wrong[which, :, 1].sum() / drawn.key[which, :, 1].sum()
        assert found.phase_error < truth


@pytest.mark.parametrize(
    "channel",
    [Channel(0.8, misalignment=0.25), Channel(0.8, check_misalignment=0.5)],
    ids=["every slot in a random basis", "every slot in the key basis"],
)
def test_reading_every_slot_ends_the_block(channel):
    block = sifted_block(1, channel)
    with pytest.raises(ProtocolAbort, match="in basis X, limit"):
        check_basis(block.sifted, block.check.errors, PULSES, kit.SECURITY)


@pytest.mark.parametrize("mismatch", [0.1, 0.3])
def test_an_allowed_efficiency_mismatch_is_paid_for(mismatch):
    """Detector 1 of the key basis loses a share: the bits are no longer even."""
    prepared = prepare(600_000)
    received, _ = detect(prepared, Channel(0.8))
    rng = np.random.default_rng(1)
    lost = (received.bases == slots.Z) & (received.bits == 1)
    keep = ~lost | (rng.random(lost.size) >= mismatch)
    parts = (received.places, received.bases, received.bits)
    received = Received(prepared.size, *(part[keep] for part in parts))
    security = PhotonSecuritySettings(
        threads=1, frame_bits=20_000, bounds="chernoff", epsilon=1e-6
    )
    keys = []
    for allowed in (0.0, mismatch):
        told = security.model_copy(update={"efficiency_mismatch": allowed})
        alice, bob = make_parties(prepared, received, security=told)
        talk(alice, bob)
        assert alice.key() == bob.key()
        keys.append(alice.distillation.ledger)
    raw = alice._raw
    guess = max(raw.mean(), 1.0 - raw.mean())
    sigmas = 6.0 * 0.5 / math.sqrt(raw.size)
    # Guessing each bit: what the bias took from the entropy is in the allowance.
    deficit = raw.size * (1.0 + math.log2(guess - sigmas))
    assert deficit > 0.0
    assert keys[1].mismatch_bits > deficit
    assert keys[0].balance_bits - keys[1].balance_bits > deficit


# Broken on purpose ----------------------------------------------------------------


def test_a_key_of_signals_alone_would_be_overclaimed():
    """The bounds count all intensities: so must whatever is made of them."""
    drawn = many(lossy(0.1), 1e8, 20)
    for which in range(20):
        found = estimate(*drawn.counts(which), PULSES.intensities, 1e-9)
        of_signals = drawn.key[which, 0, 1]
        assert found.single > of_signals
        assert found.single <= drawn.key[which, :, 1].sum()


def test_widths_from_one_intensity_alone_would_not_cover():
    """Hoeffding's width is that of all choices, not of those that fell one way."""
    share, blocks, each = PULSES.intensities.probabilities[2], 4000, 0.05 / FAILURES
    rng = np.random.default_rng(1)
    total = 100_000
    seen = rng.binomial(total, share, blocks)

    low = [decoy.interval(int(k), total, each, "hoeffding")[0] for k in seen]
    assert not too_many(sum(x > total * share for x in low), blocks, each)
    narrow = seen - np.sqrt(0.5 * seen * math.log(1 / each))
    assert too_many(int(np.sum(narrow > total * share)), blocks, each)


@pytest.mark.parametrize("method", PROVEN)
def test_without_the_sampling_term_the_phase_error_is_a_coin(method, monkeypatch):
    """Given the true errors of the sample, the rest is worse half of the time."""
    drawn, each = many(lossy(0.1, 1e-6), 3e6, 400), 0.01
    check = drawn.check[:, :, 1].sum(axis=1)
    wrong = drawn.check_wrong[:, :, 1].sum(axis=1)
    single = drawn.key[:, :, 1].sum(axis=1)
    truth = drawn.phase_wrong[:, :, 1].sum(axis=1) / single

    def failed():
        bounds = [
            decoy._phase_error(float(m), float(k), float(n), each, method)
            for m, k, n in zip(wrong, check, single, strict=True)
        ]
        return int(np.count_nonzero(np.array(bounds) < truth))

    assert not too_many(failed(), 400, each)
    for name in ("exact_deviation", "sampling_deviation"):
        monkeypatch.setattr(decoy, name, lambda *_: 0.0)
    assert failed() > 100
    assert too_many(failed(), 400, each)


def test_failed_frames_not_counted_as_known_would_be_overclaimed(monkeypatch):
    """Which frames fail must not matter: also if the single photons are in those."""
    block = sifted_block(1, Channel(0.8))
    n, frames = 800, block.sifted.key.size // 800
    singles = block.photons[block.sifted.key[: frames * n]].reshape(frames, n) == 1
    rows = np.full(frames, 100)
    accepted = np.ones(frames, dtype=bool)
    # The half with the most single photons fails.
    accepted[np.argsort(singles.sum(axis=1))[frames // 2 :]] = False
    security = PhotonSecuritySettings(bounds="chernoff", epsilon=1e-6)

    def length(mask):
        said = Disclosure(n, rows, int(rows.sum()), 2, mask)
        return distil(block.sifted, block.check, said, PULSES, security)

    done = length(accepted)
    # More than every kept bit can never be fresh, less what was said about them.
    kept = int(np.count_nonzero(accepted)) * (n - 100)
    everything = length(np.ones(frames, dtype=bool)).ledger.balance_bits
    lost = frames * (n - 100) - kept
    assert done.ledger.balance_bits == pytest.approx(everything - lost)
    phase = binary_entropy(done.bounds.phase_error)
    worst = singles[accepted].sum() + done.bounds.vacuum

    def honest(ledger):
        """What single photons in the kept frames alone could give."""
        fresh = worst * (1.0 - phase) - 100 * np.count_nonzero(accepted)
        return ledger.balance_bits <= fresh

    assert honest(done.ledger)
    counts = Disclosure.counts
    monkeypatch.setattr(
        Disclosure, "counts", lambda self: replace(counts(self), failed=0)
    )
    assert not honest(length(accepted).ledger)


def test_probabilities_other_than_those_drawn_would_be_overclaimed():
    """A vacuum that is called rarer than it is makes single photons up."""
    truth, told = PULSES, PULSES.model_copy(update={"decoy_photons": 0.35})
    assert isinstance(told, DecoySettings)
    drawn = many(lossy(0.1), 1e8, 20)
    assert not failures(drawn, 1e-9, "chernoff", truth).any()
    less = PULSES.model_copy(update={"decoy_share": 0.42, "signal_share": 0.23})
    assert failures(drawn, 1e-9, "chernoff", less)[1] == 20
