"""Estimates of T and xi: coverage, worst case, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from protocols.estimation.channel import (
    ChannelEstimate,
    Detector,
    Interval,
    estimate_channel,
    worst_case,
)
from protocols.estimation.regression import Sums, regress, regress_classes
from protocols.security.holevo import Channel, holevo_information, untrusted
from scqc.core.errors import ProtocolAbort

V_A, T, ETA, NU = 2.0, 0.631, 0.85, 0.05
GAIN = math.sqrt(ETA * T / 2.0)


def _draw(rng, xi, n, n_shot, n_dark):
    """One experiment: exact distributions of all sums, calibration included."""
    noise = 1.0 + NU + GAIN**2 * xi
    xx = V_A * rng.chisquare(n)
    xy = GAIN * xx + math.sqrt(noise * xx) * rng.standard_normal()
    yy = xy**2 / xx + noise * rng.chisquare(n - 1)
    shot = (1.0 + NU) * rng.chisquare(n_shot) / n_shot
    dark = NU * rng.chisquare(n_dark) / n_dark
    n0 = shot - dark
    detector = Detector(ETA, dark / n0, n_shot, n_dark)
    return Sums(n, xx, xy / math.sqrt(n0), yy / n0), detector


def _trials(xi, n, n_shot, claimed=None, count=4000):
    rng = np.random.default_rng([int(1000 * xi) + 100, n_shot])
    out = []
    for _ in range(count):
        sums, detector = _draw(rng, xi, n, n_shot, n_shot)
        if claimed:
            detector = replace(detector, n_shot=claimed, n_electronic=claimed)
        out.append(estimate_channel(sums, detector, "error-corrected"))
    return out


def _inside(intervals, truth):
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


@pytest.mark.parametrize("xi", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("n_shot", [20_000, 200_000])
def test_intervals_cover_the_truth_as_often_as_they_say(xi, n_shot):
    estimates = _trials(xi, 40_000, n_shot)
    expected = math.erf(2.0 / math.sqrt(2.0))
    sigma = math.sqrt(expected * (1 - expected) / len(estimates))
    # Skewed variances of n_shot samples shift the tails by about 1 / sqrt(n).
    slack = 5 * sigma + 1.0 / math.sqrt(n_shot)
    assert _inside([e.xi_interval(2.0) for e in estimates], xi) == pytest.approx(
        expected, abs=slack
    )
    assert _inside(
        [e.transmittance_interval(2.0) for e in estimates], T
    ) == pytest.approx(expected, abs=slack)
    electronic = [
        Interval(
            0.0,
            e.detector.electronic_snu - 2 * e.electronic_sigma_snu,
            e.detector.electronic_snu + 2 * e.electronic_sigma_snu,
        )
        for e in estimates
    ]
    assert _inside(electronic, NU) == pytest.approx(expected, abs=slack)


def test_estimates_are_unbiased():
    xi = 0.02
    estimates = _trials(xi, 40_000, 200_000)
    for name, truth in (("xi_snu", xi), ("transmittance", T)):
        values = np.array([getattr(e, name) for e in estimates])
        error = float(np.std(values)) / math.sqrt(values.size)
        assert float(values.mean()) == pytest.approx(truth, abs=5 * error + 1e-4)


def test_without_the_calibrations_share_the_interval_would_lie():
    expected = math.erf(2.0 / math.sqrt(2.0))
    lying = _trials(0.01, 400_000, 20_000, claimed=10**9, count=1000)
    assert _inside([e.xi_interval(2.0) for e in lying], 0.01) < expected - 0.3


def test_estimate_matches_data_by_regression():
    rng = np.random.default_rng(21)
    n = 400_000
    alice = (math.sqrt(V_A) * rng.standard_normal(n)).astype("f4")
    noise = 1.0 + NU + GAIN**2 * 0.05
    bob = (GAIN * alice + math.sqrt(noise) * rng.standard_normal(n)).astype("f4")
    detector = Detector(ETA, NU, 10**9, 10**9)
    estimate = estimate_channel(regress(alice, bob), detector, "none")
    assert abs(estimate.xi_snu - 0.05) < 5 * estimate.xi_sigma_snu
    assert abs(estimate.transmittance - T) < 5 * estimate.transmittance_sigma
    # Theory of the variances for ideal calibration.
    assert estimate.noise_bob_sigma_snu == pytest.approx(
        noise * math.sqrt(2.0 / n), rel=0.01
    )
    sigma_t = 2.0 * math.sqrt(noise / (n * V_A)) / GAIN
    assert estimate.transmittance_sigma / T == pytest.approx(sigma_t, rel=0.02)


def test_homodyne_counts_all_the_light():
    n, gain = 10**6, math.sqrt(ETA * T)
    noise = 1.0 + NU + gain**2 * 0.03
    sums = Sums(n, n * V_A, n * gain * V_A, n * (gain**2 * V_A + noise))
    detector = Detector(ETA, NU, 10**9, 10**9, detection="homodyne")
    estimate = estimate_channel(sums, detector, "none")
    assert estimate.transmittance == pytest.approx(T)
    assert estimate.xi_snu == pytest.approx(0.03)


def _exact(xi, n=10**6, n_shot=10**6, t=T):
    gain = math.sqrt(ETA * t / 2.0)
    noise = 1.0 + NU + gain**2 * xi
    sums = Sums(n, n * V_A, n * gain * V_A, n * (gain**2 * V_A + noise))
    return estimate_channel(sums, Detector(ETA, NU, n_shot, n_shot), "none")


@pytest.mark.parametrize("xi", [-0.5, -0.05, -1e-6])
def test_negative_noise_is_a_result(xi):
    estimate = _exact(xi)
    assert estimate.xi_snu == pytest.approx(xi)
    worst = worst_case(estimate, 1e-10)
    assert worst.holevo_bits > 0.0
    none = worst_case(_exact(0.0), 1e-10)
    assert worst.holevo_bits <= none.holevo_bits


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("t", [0.1, 0.4, 0.631, 0.95])
@pytest.mark.parametrize("xi", [-0.01, 0.01, 0.1])
def test_no_point_of_the_box_is_worse_than_the_worst_case(t, xi, trusted):
    estimate = _exact(xi, t=t)
    estimate = replace(estimate, detector=replace(estimate.detector, trusted=trusted))
    worst = worst_case(estimate, 1e-10)
    assert worst.sigmas == pytest.approx(math.sqrt(2 * math.log(3e10)))
    for a in np.linspace(-1, 1, 9):
        for b in np.linspace(-1, 1, 5):
            for c in (-1.0, 0.0, 1.0):
                t_here = t + a * worst.sigmas * estimate.transmittance_sigma
                noise = estimate.noise_bob_snu
                noise += c * worst.sigmas * estimate.noise_bob_sigma_snu
                nu = NU + b * worst.sigmas * estimate.electronic_sigma_snu
                point = Channel(
                    estimate.v_a_snu, t_here, 2 * noise / (ETA * t_here), ETA, nu
                )
                seen = point if trusted else untrusted(point)
                assert holevo_information(seen) <= worst.holevo_bits + 1e-9


def test_worst_case_moves_the_right_way():
    def chi(**changes):
        epsilon = changes.pop("epsilon", 1e-10)
        return worst_case(_exact(**({"xi": 0.01} | changes)), epsilon).holevo_bits

    assert chi(xi=0.03) > chi(xi=0.01)
    assert chi(epsilon=1e-15) > chi(epsilon=1e-5)
    assert chi(n=10**5) > chi(n=10**6) > chi(n=10**7)
    assert chi(n_shot=10**5) > chi(n_shot=10**7)
    truth = holevo_information(Channel(V_A, T, 0.01, ETA, NU))
    endless = chi(n=10**13, n_shot=10**13)
    assert endless == pytest.approx(truth, abs=1e-4)
    assert endless > truth


def test_raw_decisions_are_refused():
    sums = Sums(1000, 2000.0, 1000.0, 1550.0)
    detector = Detector(ETA, NU, 10**6, 10**6)
    with pytest.raises(ProtocolAbort, match="raw decisions"):
        estimate_channel(sums, detector, "raw-decisions")
    for allowed in ("none", "error-corrected"):
        assert isinstance(estimate_channel(sums, detector, allowed), ChannelEstimate)


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        (Sums(99, 198.0, 100.0, 150.0), "at least 100"),
        (Sums(1000, 2000.0, -500.0, 1500.0), "do not follow"),
        (Sums(1000, 2000.0, 0.0, 1500.0), "do not follow"),
        (Sums(1000, 0.0, 0.0, 1500.0), "do not follow"),
        (Sums(1000, 2000.0, math.nan, 1500.0), "do not follow"),
        (Sums(1000, 2000.0, 5000.0, 1500.0), "contradict"),
        (Sums(1000, 2000.0, 1000.0, math.inf), "contradict"),
    ],
)
def test_sums_that_no_channel_gives_are_refused(sums, reason):
    detector = Detector(ETA, NU, 10**6, 10**6)
    with pytest.raises(ProtocolAbort, match=reason):
        estimate_channel(sums, detector, "none")


def test_a_transmittance_lost_in_its_uncertainty_is_refused():
    estimate = _exact(0.01, n=400, n_shot=400, t=0.01)
    with pytest.raises(ProtocolAbort, match="too small"):
        worst_case(estimate, 1e-10)


def test_regression_checks_lengths_and_values():
    with pytest.raises(ProtocolAbort, match="3 values from Alice, 2 from Bob"):
        regress(np.zeros(3, "f4"), np.zeros(2, "f4"))
    bad = np.array([1.0, math.nan], dtype="f4")
    with pytest.raises(ProtocolAbort, match="finite"):
        regress(np.ones(2, "f4"), bad)


def test_classes_partition_the_samples():
    rng = np.random.default_rng(22)
    alice, bob = rng.standard_normal((2, 4000)).astype("f4")
    quadrature = np.tile([0, 1], 2000).astype("u1")
    bit = rng.integers(0, 2, 4000).astype("u1")
    classes = regress_classes(alice, bob, quadrature, bit)
    assert sorted(classes) == ["p0", "p1", "x0", "x1"]
    chosen = (quadrature == 1) & (bit == 0)
    assert classes["p0"] == regress(alice[chosen], bob[chosen])
    whole = sum(classes.values(), Sums(0, 0.0, 0.0, 0.0))
    single = regress(alice, bob)
    assert whole.n == single.n
    for name in ("xx", "xy", "yy"):
        assert getattr(whole, name) == pytest.approx(getattr(single, name))


def test_snr_sigma_is_the_spread_of_the_snr():
    rng = np.random.default_rng(23)
    values, sigmas = [], []
    for _ in range(3000):
        sums, _ = _draw(rng, 0.0, 2000, 10**9, 10**9)
        values.append(sums.snr)
        sigmas.append(sums.snr_sigma)
    assert np.std(values) == pytest.approx(np.mean(sigmas), rel=5 / math.sqrt(6000))
