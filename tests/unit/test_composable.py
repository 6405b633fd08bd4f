"""The ledger by hand, and in which direction it may move."""

import math
from dataclasses import replace

import pytest

from protocols.security.composable import (
    EpsilonBudget,
    Ledger,
    aep_bits,
    hashing_bits,
    log2_pattern,
    split_epsilon,
)
from scqc.core.errors import ProtocolAbort

LEDGER = Ledger(
    raw_bits=100_000,
    failed_bits=20_000,
    syndrome_bits=30_000,
    revealed_bits=500,
    verification_bits=256,
    flag_bits=5,
    estimation_bits=700,
    holevo_bits=25_000.5,
    aep_bits=10_000.25,
    hashing_bits=100.75,
    frames_total=5,
    frames_kept=4,
)


def test_ledger_by_hand():
    assert LEDGER.kept_bits == 80_000
    assert LEDGER.leak_bits == 31_461
    # 80000 - 31461 - 25000.5 - 10000.25 - 100.75
    assert LEDGER.balance_bits == pytest.approx(13_437.5)
    assert LEDGER.secret_bits == 13_437
    entries = LEDGER.as_dict()
    assert entries["secret_bits"] == 13_437
    assert entries["leak_bits"] == 31_461


@pytest.mark.parametrize(
    "name",
    [
        "failed_bits",
        "syndrome_bits",
        "revealed_bits",
        "verification_bits",
        "flag_bits",
        "estimation_bits",
        "holevo_bits",
        "aep_bits",
        "hashing_bits",
    ],
)
def test_every_entry_is_paid_in_full(name):
    dearer = replace(LEDGER, **{name: getattr(LEDGER, name) + 1000})
    assert dearer.balance_bits == pytest.approx(LEDGER.balance_bits - 1000)


def test_a_negative_balance_is_no_key():
    poor = replace(LEDGER, holevo_bits=1e6)
    assert poor.balance_bits < 0
    assert poor.secret_bits == 0


def test_aep_correction_by_hand():
    # 4 log2(18) sqrt(log2(18 * 16)) sqrt(8 / 8) = 16.6797 * 2.858309
    assert aep_bits(8, 0.0, 0.5) == pytest.approx(47.6757, abs=1e-3)
    # Four times the quadratures: twice the correction.
    assert aep_bits(32, 0.0, 0.5) == pytest.approx(2 * 47.6757, abs=2e-3)
    # p enters as p^-2 inside the logarithm: 18 * 16 * 4.
    expected = 4 * math.log2(18) * math.sqrt(math.log2(18 * 16 * 4))
    assert aep_bits(8, -1.0, 0.5) == pytest.approx(expected)


def test_aep_correction_survives_tiny_probabilities():
    many = aep_bits(8, -200 * math.log2(10), 1e-30)
    inner = math.log2(18) + 400 * math.log2(10) + 120 * math.log2(10)
    assert many == pytest.approx(4 * math.log2(18) * math.sqrt(inner))
    # A block of ten thousand frames of which five in a hundred fail.
    pattern = log2_pattern(10_000, 9_500)
    assert 2.0**pattern == 0.0
    assert math.isfinite(aep_bits(8, pattern, 1e-30))


def test_hashing_cost_by_hand():
    # -log2(1 - 1/12) - 2 log2(sqrt(2) / 4) with eps_s = 1/2, eps_h = 1/4
    expected = -math.log2(11 / 12) + 3.0
    assert hashing_bits(0.0, 0.5, 0.25) == pytest.approx(expected)
    assert hashing_bits(-2.0, 0.5, 0.25) == pytest.approx(expected + 2.0)
    # A leftover-hash parameter of 1e-10 costs 2 * 33.2 - 1 bits.
    assert hashing_bits(0.0, 1e-10, 1e-10) == pytest.approx(65.44, abs=0.01)


def test_epsilon_is_spent_once():
    budget = split_epsilon(1e-10)
    assert budget.total == pytest.approx(1e-10)
    assert budget == EpsilonBudget(2.5e-11, 2.5e-11, 2.5e-11, 2.5e-11)


def test_probability_of_a_pattern_of_frames():
    assert 2.0 ** log2_pattern(5, 5) == 1.0
    # Two kept, two lost, each with probability one half.
    assert 2.0 ** log2_pattern(4, 2) == pytest.approx(1 / 16)
    # One of five lost: 0.8^4 * 0.2.
    assert 2.0 ** log2_pattern(5, 4) == pytest.approx(0.08192)
    for frames, kept in ((5, 0), (5, 6), (0, 0)):
        with pytest.raises(ProtocolAbort, match="frames kept"):
            log2_pattern(frames, kept)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, math.nan])
def test_no_probability_is_refused(value):
    with pytest.raises(ProtocolAbort, match="no probability"):
        aep_bits(80, -1.0, value)
    with pytest.raises(ProtocolAbort, match="no probability"):
        hashing_bits(-1.0, 0.1, value)


@pytest.mark.parametrize("value", [0.1, -math.inf, math.inf, math.nan])
def test_no_logarithm_of_a_probability_is_refused(value):
    with pytest.raises(ProtocolAbort, match="no probability"):
        aep_bits(80, value, 0.1)
    with pytest.raises(ProtocolAbort, match="no probability"):
        hashing_bits(value, 0.1, 0.1)


def test_finite_size_costs_fall_with_size_and_rise_with_ambition():
    def cost(n, epsilon, accepted=0.0):
        return (
            aep_bits(n, accepted, epsilon) + hashing_bits(accepted, epsilon, epsilon)
        ) / n

    assert cost(10**6, 1e-10) > cost(10**7, 1e-10) > cost(10**8, 1e-10)
    assert cost(10**6, 1e-12) > cost(10**6, 1e-10) > cost(10**6, 1e-6)
    assert cost(10**6, 1e-10, -6.6) > cost(10**6, 1e-10, -1.0) > cost(10**6, 1e-10)
