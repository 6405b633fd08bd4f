"""Delays by parts of a sample, against tones that are known everywhere."""

import numpy as np
import pytest

from dsp.fractional_delay import delayed, with_arms_apart

RNG = np.random.default_rng(4)
# Up to nine tenths of the Nyquist frequency, in turns per sample.
TURNS = RNG.uniform(0.0, 0.45, 12)
PHASES = RNG.uniform(0.0, 2.0 * np.pi, 12)


def tones(at):
    angles = 2.0 * np.pi * np.outer(at, TURNS) + PHASES
    return np.cos(angles).sum(axis=1).astype(np.float32)


@pytest.mark.parametrize("delay", [0.016, 0.5, -0.5, -0.016, 3.0, 4.25, -700.4, 900.0])
def test_tones_arrive_later_by_exactly_that(delay):
    n = np.arange(2000)
    got = delayed(tones(n), delay)
    assert got.dtype == np.float32
    assert got.shape == n.shape
    # The window's stop band is 80 dB down; twelve tones, and single precision.
    inner = slice(40 + max(0, int(delay)), 2000 - 40 + min(0, int(delay)))
    assert np.max(np.abs(got[inner] - tones(n - delay)[inner])) < 12 * 1e-4 + 1e-5


def test_none_at_all_changes_nothing():
    field = tones(np.arange(64)).reshape(2, 32)
    assert with_arms_apart(field, (0.0, 0.0)) is field
    row = field[0]
    assert delayed(row, 0.0) is row


def test_beyond_the_end_nothing_is_left():
    assert not delayed(tones(np.arange(100)), 1000.0).any()
    assert not delayed(tones(np.arange(100)), -1000.0).any()


def test_each_arm_gets_its_own():
    field = np.stack([tones(np.arange(500)), tones(np.arange(500) + 0.3)])
    apart = with_arms_apart(field, (0.25, -0.25))
    assert np.array_equal(apart[0], delayed(field[0], 0.25))
    assert np.array_equal(apart[1], delayed(field[1], -0.25))
