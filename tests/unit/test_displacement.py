import math

import numpy as np
import pytest
from light_kit import complex_normal

from dsp.decision import map_bits
from dsp.displacement import BLOCK_SYMBOLS, remove_displacement
from scqc.core.errors import SignalError

NONE = np.zeros(0, dtype=np.complex64)


def _directions(n, seed=1):
    rng = np.random.default_rng([seed, 6])
    return map_bits(rng.integers(0, 2, 2 * n).astype(np.uint8), "qpsk")


def test_displacement_and_leakage_of_the_neighbours_go():
    n = 3 * BLOCK_SYMBOLS + 500
    signs = _directions(n)
    taps = np.zeros(13, dtype=complex)
    taps[[3, 6, 7]] = 0.02j, 9.0 * np.exp(0.3j), -0.05
    padded = np.concatenate([np.zeros(6), signs, np.zeros(6)])
    displaced = np.lib.stride_tricks.sliding_window_view(padded, 13) @ taps
    noise = complex_normal(np.random.default_rng(2), n)
    removal = remove_displacement((displaced + noise).astype("c8"), signs, NONE, 13)
    # Every tap is fitted to 1 / sqrt(2 n) of the noise, per component.
    sigma = math.sqrt(1.0 / (2 * n))
    np.testing.assert_allclose(removal.taps, taps, atol=6 * sigma)
    assert removal.amplitude == pytest.approx(9.0, abs=5 * sigma)
    assert removal.rotation_rad == pytest.approx(0.3, abs=5 * sigma / 9.0)
    # What is left is the noise, turned by the main tap's phase.
    left = removal.symbols * np.exp(0.3j) - noise
    expected = 2 * 13 / (n - BLOCK_SYMBOLS)
    assert float(np.mean(np.abs(left) ** 2)) < 3 * expected


def test_signal_is_kept():
    """A Gaussian variable under the displacement passes with gain one."""
    n = 4 * BLOCK_SYMBOLS
    signs, rng = _directions(n), np.random.default_rng(3)
    quantum = complex_normal(rng, n, np.float64(2.0))
    received = (9.0 * signs + quantum).astype("c8")
    symbols = remove_displacement(received, signs, NONE, 13).symbols
    gain = np.vdot(quantum, symbols) / np.vdot(quantum, quantum).real
    # 13 taps fitted elsewhere cannot follow it: only their noise is added.
    assert gain == pytest.approx(1.0, abs=5 * math.sqrt(26.0) / n**0.5 / 100)


def test_symbols_before_the_first_are_used():
    n = 2 * BLOCK_SYMBOLS
    signs, before = _directions(n), (7.0 / 9.0) * _directions(32, seed=4)
    everything = np.concatenate([before, signs]).astype(complex)
    received = 9.0 * everything
    received[1:] += 0.4 * everything[:-1]
    received = received[32:].astype(np.complex64)
    noise = 0.01 * complex_normal(np.random.default_rng(5), n)
    received += noise.astype(np.complex64)
    known = remove_displacement(received, signs, before, 5).symbols
    unknown = remove_displacement(received, signs, NONE, 5).symbols
    assert abs(known[0]) < 0.06
    assert abs(unknown[0]) > 0.2


def test_a_block_never_sees_its_own_samples():
    """Changing samples of one block must not change what is removed from it."""
    n = 2 * BLOCK_SYMBOLS
    signs = _directions(n)
    noise = complex_normal(np.random.default_rng(6), n)
    received = (9.0 * signs + noise).astype("c8")
    changed = received.copy()
    changed[:1000] += (5.0 * signs[:1000]).astype("c8")
    one = remove_displacement(received, signs, NONE, 13).symbols
    two = remove_displacement(changed, signs, NONE, 13).symbols
    moved = two[:BLOCK_SYMBOLS] - one[:BLOCK_SYMBOLS]
    # The same taps and the same turn: the difference is the change itself.
    assert np.max(np.abs(moved[1000:])) == 0.0
    np.testing.assert_allclose(np.abs(moved[:1000]), 5.0 * math.sqrt(2), rtol=1e-5)
    assert np.max(np.abs((two - one)[BLOCK_SYMBOLS:])) > 1e-3


def test_too_few_symbols_are_refused():
    signs = _directions(200)
    with pytest.raises(SignalError, match="too few for leave-block-out"):
        remove_displacement(9.0 * signs, signs, NONE, 13)
