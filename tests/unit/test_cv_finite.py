"""Planned ledgers against those the bench draws up, and published forms."""

import math
from dataclasses import replace

import numpy as np
import pytest

from protocols.estimation.channel import Detector, estimate_channel, worst_case
from protocols.estimation.regression import Sums
from protocols.reconciliation import pairs, rates
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.security.composable import (
    Ledger,
    aep_bits,
    hashing_bits,
    log2_pattern,
    split_epsilon,
)
from protocols.security.cv_finite import (
    Block,
    LiteratureSettings,
    ledger_key,
    literature_rate,
    penalised_rate,
)
from protocols.security.cv_rates import UNTRUSTED, Link, Receiver, Trust
from protocols.security.cv_rates import rates as endless
from protocols.verification.tags import TAG_BITS
from scqc.core.errors import ModelRangeError

BENCH = Link(0.631, 2.0, 0.01)


def _bench_ledger(symbols, receiver, link, frames, kept, samples):
    """The bench's own functions on the sums that the model expects."""
    mu = receiver.mu
    n = int(mu * symbols)
    gain = receiver.efficiency * link.transmittance / mu
    noise = 1.0 + receiver.electronic_snu + gain * link.xi_snu
    v_a = link.modulation_snu
    sums = Sums(n, n * v_a, n * math.sqrt(gain) * v_a, n * (gain * v_a + noise))
    detector = Detector(
        receiver.efficiency,
        receiver.electronic_snu,
        samples,
        samples,
        receiver.trust.efficiency,
        receiver.detection,
    )
    estimate = estimate_channel(sums, detector, "error-corrected")
    budget = split_epsilon(1e-10)
    worst = worst_case(estimate, budget.estimation)
    code_bits, accepted = n // frames, log2_pattern(frames, kept)
    kept_bits = kept * code_bits
    beta = 0.9
    rate = beta * rates.capacity(gain * v_a / noise)
    return Ledger(
        raw_bits=n,
        failed_bits=n - kept_bits,
        syndrome_bits=round(kept_bits * (1 - rate)),
        revealed_bits=0,
        verification_bits=kept * TAG_BITS,
        flag_bits=2 * frames,
        # Four classes and a burst: sums of squares and products, two deviations.
        estimation_bits=64 * (3 * 5 + 2),
        holevo_bits=kept_bits / mu * worst.holevo_bits,
        aep_bits=aep_bits(kept_bits, accepted, budget.smoothing),
        hashing_bits=hashing_bits(accepted, budget.smoothing, budget.hashing),
        frames_total=frames,
        frames_kept=kept,
    )


@pytest.mark.parametrize("detection", ["homodyne", "heterodyne"])
@pytest.mark.parametrize("trust", [Trust(), UNTRUSTED])
@pytest.mark.parametrize("symbols", [200_000, 8_000_000])
def test_planned_ledger_is_the_bench_ledger(detection, trust, symbols):
    receiver = Receiver(0.85, 0.05, detection, trust)
    frames, kept, samples = 20, 18, 4_000_000
    bench = _bench_ledger(symbols, receiver, BENCH, frames, kept, samples)
    pair = pairs.fixed(0.9, 0.1, receiver.mu * symbols / frames)
    plan = ledger_key(BENCH, receiver, Block(symbols, samples), pair)
    # Syndromes are whole bits on the bench.
    assert plan.balance_bits == pytest.approx(bench.balance_bits, abs=1.0)
    assert plan.kept_bits == pytest.approx(bench.kept_bits)
    assert plan.holevo_bits == pytest.approx(bench.holevo_bits, rel=1e-12)
    assert plan.aep_bits == pytest.approx(bench.aep_bits, rel=1e-9)
    assert plan.hashing_bits == pytest.approx(bench.hashing_bits, rel=1e-9)
    assert abs(plan.secret_bits - bench.secret_bits) <= 1
    assert plan.epsilon == pytest.approx(1e-10)


def test_every_cost_counts():
    """Dropping one term, or its sign, leaves another length."""
    receiver, pair = Receiver(0.85, 0.05, "heterodyne"), pairs.fixed(0.9, 0.1, 1e5)
    plan = ledger_key(BENCH, receiver, Block(8e6, 8e6), pair)
    for name in ("leak_bits", "holevo_bits", "aep_bits", "hashing_bits"):
        assert replace(plan, **{name: 0.0}).balance_bits > plan.balance_bits + 50.0

    def key(link=BENCH, block=None, pair=pair):
        found = ledger_key(link, receiver, block or Block(8e6, 8e6), pair)
        return float(found.balance_bits)

    best = key()
    assert key(replace(BENCH, xi_snu=0.02)) < best
    assert key(replace(BENCH, phase_xi_snu=0.01)) == pytest.approx(
        key(replace(BENCH, xi_snu=0.02))
    )
    assert key(block=Block(8e6, 1e5)) < best
    assert key(block=Block(8e6, 8e6, split_epsilon(1e-14))) < best
    assert key(pair=pairs.fixed(0.85, 0.1, 1e5)) < best
    assert key(pair=pairs.fixed(0.9, 0.2, 1e5)) < best


def test_large_blocks_approach_the_endless_one():
    receiver, pair = Receiver(0.85, 0.05, "heterodyne"), pairs.fixed(0.95, 0.0, 1e9)
    sizes = np.logspace(5, 17, 25)
    found = ledger_key(BENCH, receiver, Block(sizes, 1e17), pair).key_bits_per_symbol
    assert np.all(np.diff(found) > 0.0)
    limit = endless(BENCH, receiver).key_bits(0.95)
    assert found[-1] == pytest.approx(limit, abs=1e-5)
    assert np.all(found < limit)


def test_a_block_too_small_to_estimate_has_no_key():
    pair = pairs.fixed(0.95, 0.1, 1e3)
    found = ledger_key(Link(1e-5, 4.0), Receiver(), Block(1e4), pair)
    assert found.balance_bits == -np.inf
    assert found.secret_bits == 0.0


def test_millions_of_frames_do_not_underflow():
    """At a fixed failure rate their pattern is likelier than any float says."""
    pair = pairs.fixed(0.9, 0.05, 1e5)
    found = ledger_key(BENCH, Receiver(0.85, 0.05), Block(1e12), pair)
    assert np.isfinite(found.balance_bits)
    assert found.balance_bits > 0


@pytest.mark.parametrize(
    ("link", "receiver", "table"),
    [
        (
            Link(0.1, 5.0, 0.01),
            Receiver(0.8, 0.05, "heterodyne"),
            {1e8: -0.00792, 1e9: 0.0130464, 1e10: 0.0201228, None: 0.0290592},
        ),
        (
            Link(0.3162, 4.0, 0.02),
            Receiver(0.8, 0.1),
            {1e7: 0.0237997, 1e8: 0.0615786, 1e9: 0.0743204, None: 0.0992687},
        ),
    ],
)
def test_literature_form(link, receiver, table):
    """Values computed apart from this program; at 1e8 three digits are known."""
    for symbols, expected in table.items():
        if symbols is None:
            found = endless(link, receiver).key_bits(0.95)
        else:
            settings = LiteratureSettings()
            found = literature_rate(link, receiver, 0.95, symbols, settings)
        assert found == pytest.approx(expected, abs=6e-8 if expected > 0 else 6e-6)


def test_literature_form_says_no_where_the_estimate_does():
    found = literature_rate(
        Link(1e-4, 4.0), Receiver(), 0.95, np.array([1e4, 1e12]), LiteratureSettings()
    )
    assert found[0] == -np.inf
    assert np.isfinite(found[1])


def test_penalised_form():
    found = endless(BENCH, Receiver())
    rate = penalised_rate(found, 0.98, np.array([1e4, 1e10]))
    expected = 0.9 * (found.key_bits(0.98) - 49.0 / np.array([1e2, 1e5]))
    np.testing.assert_allclose(rate, expected)


def test_heat_is_excess_noise_to_the_estimate():
    pair, block = pairs.fixed(0.9, 0.05), Block(1e9)
    warm = ledger_key(Link(0.9, 4.0, environment_snu=1.18), Receiver(), block, pair)
    noisy = ledger_key(Link(0.9, 4.0, 0.1 / 0.9 * 0.18), Receiver(), block, pair)
    assert warm.balance_bits == pytest.approx(float(noisy.balance_bits))


def test_what_the_bench_has_not_is_refused():
    pair, block = pairs.fixed(0.9, 0.05), Block(1e6)
    for receiver in (
        Receiver(trust=Trust(phase=True)),
        Receiver(trust=Trust(efficiency=False)),
    ):
        with pytest.raises(ModelRangeError, match="trusted parts"):
            ledger_key(BENCH, receiver, block, pair)
    with pytest.raises(ModelRangeError, match="source"):
        ledger_key(replace(BENCH, source_snu=2.0), Receiver(), block, pair)
    with pytest.raises(ModelRangeError, match="symbols"):
        ledger_key(BENCH, Receiver(), Block(10.0), pair)
    for beta, fer in ((1.1, 0.0), (0.9, 1.0), (0.9, -0.1), (math.nan, 0.0)):
        with pytest.raises(ModelRangeError):
            pairs.fixed(beta, fer)


@pytest.mark.parametrize("size", [256, 1024, 2560])
def test_measured_pairs_are_the_codes(size):
    snr = np.array([0.2, 0.51, 1.0, 1.4, 6.0])
    pair = pairs.measured(snr, size)
    for i, one in enumerate(snr):
        code = ReconciliationCode(rates.choose_rate(one, size=size), size)
        assert pair.frame_bits[i] == code.n
        assert pair.beta[i] * rates.capacity(one) == pytest.approx(code.rate)
    assert np.all(pair.fer > 0.0)
    # Beyond the highest rate the code stays what it is.
    assert pair.beta[-1] < 0.5 * pair.beta[1]
    least = pairs.least_snr(size)
    pairs.measured(least, size)
    assert list(pairs.reconcilable(np.array([0.9, 1.1]) * least, size)) == [False, True]
    with pytest.raises(ModelRangeError, match=f"nearest valid value {least:g}"):
        pairs.measured(np.array([0.5, 0.9 * least]), size)
    with pytest.raises(ModelRangeError, match="circulant"):
        pairs.measured(0.5, 77)
