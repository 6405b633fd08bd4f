import math

import numpy as np
import pytest
from light_kit import complex_normal
from scipy.stats import norm

from dsp.decision import (
    DecisionScale,
    bits_per_symbol,
    decision_scale,
    map_bits,
    soft_bits,
)
from scqc.core.errors import SignalError


def _received(n, amplitude, variance, psk="qpsk", seed=1):
    rng = np.random.default_rng([seed, 5])
    bits = rng.integers(0, 2, n * bits_per_symbol(psk)).astype(np.uint8)
    y = amplitude * map_bits(bits, psk) + complex_normal(rng, n, np.float64(variance))
    return bits, y.astype(np.complex64)


def test_mapping():
    bits = np.array([0, 0, 0, 1, 1, 0, 1, 1], dtype=np.uint8)
    np.testing.assert_array_equal(
        map_bits(bits, "qpsk"), np.array([1 + 1j, 1 - 1j, -1 + 1j, -1 - 1j])
    )
    np.testing.assert_array_equal(map_bits(bits[:2], "bpsk"), [1 + 1j, 1 + 1j])
    np.testing.assert_array_equal(map_bits(bits[3:4], "bpsk"), [-1 - 1j])


@pytest.mark.parametrize("q", [1.2, 2.33, 4.0])
def test_blind_scale_finds_displacement_and_noise(q):
    n, variance = 200_000, 1.6
    amplitude = q * math.sqrt(variance)
    _, y = _received(n, amplitude, variance)
    scale = decision_scale(y)
    # Delta method: A^4 = (3 m2^2 - m4) / 2 from 2 n samples.
    v = np.random.default_rng(2).standard_normal(4_000_000)
    x = q + v
    m2, m4 = float(np.mean(x**2)), float(np.mean(x**4))
    influence = 0.5 * (6 * m2 * (x**2 - m2) - (x**4 - m4))
    sigma_a = float(np.std(influence)) / (4 * q**3) / math.sqrt(2 * n)
    assert scale.amplitude / math.sqrt(variance) == pytest.approx(q, abs=5 * sigma_a)
    assert scale.raw_ber == pytest.approx(
        norm.sf(q), rel=5 * sigma_a * 3 * (q + 1 / q) + 5 * sigma_a
    )


def test_raw_ber_is_the_gaussian_tail():
    assert DecisionScale(2.3263, 1.0).raw_ber == pytest.approx(1e-2, rel=1e-3)
    assert DecisionScale(3.0902 * 2.0, 4.0).raw_ber == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("kind", ["noise", "silence", "constant"])
def test_no_displacement_is_named(kind):
    y = {
        "noise": np.random.default_rng(3).laplace(size=(5000, 2)) @ [1, 1j],
        "silence": np.zeros(5000),
        "constant": np.full(5000, 3 + 3j),
    }[kind].astype(np.complex64)
    with pytest.raises(SignalError, match="decision"):
        decision_scale(y)


@pytest.mark.parametrize("psk", ["qpsk", "bpsk"])
def test_soft_bits_are_log_likelihood_ratios(psk):
    """Among decisions of LLR about L, a fraction 1/(1 + e^L) is wrong."""
    n, amplitude, variance = 400_000, 1.1, 1.0
    bits, y = _received(n, amplitude, variance, psk)
    llr = soft_bits(y, DecisionScale(amplitude, variance), psk)
    assert llr.shape == bits.shape
    for low, high in ((0.0, 0.5), (1.0, 1.5), (2.0, 3.0)):
        inside = (np.abs(llr) >= low) & (np.abs(llr) < high)
        wrong = (llr[inside] < 0.0) != (bits[inside] == 1)
        expected = float(np.mean(1.0 / (1.0 + np.exp(np.abs(llr[inside])))))
        sigma = math.sqrt(expected / int(inside.sum()))
        assert float(wrong.mean()) == pytest.approx(expected, abs=5 * sigma)


def test_noiseless_soft_bits_return_the_bits():
    for psk in ("qpsk", "bpsk"):
        bits, y = _received(1000, 2.0, 1e-12, psk)
        llr = soft_bits(y, DecisionScale(2.0, 1.0), psk)
        np.testing.assert_array_equal(llr < 0.0, bits == 1)
