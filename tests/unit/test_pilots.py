import math

import numpy as np
import pytest
from light_kit import RATE_HZ, receiver

from dsp.pilots import PilotFilter, combine, pilot_filters


def _tone(hz, n, phase=0.4, amplitude=100.0):
    turns = (hz / RATE_HZ * np.arange(n)) % 1.0
    return (amplitude * np.cos(2 * np.pi * turns + phase)).astype(np.float32)


def test_a_pure_tone_gives_a_constant_with_its_phase():
    pilot = PilotFilter(32e6, RATE_HZ, 8e6, 8e6)
    out = pilot.run(_tone(32e6, 20_000), start=0)
    assert out.size == pilot.n_hops(20_000)
    # The image at -32 MHz lies in the stop band, 70 dB down.
    np.testing.assert_allclose(out, 50.0 * np.exp(0.4j), atol=50.0 * 10**-3.3)


def test_the_phase_does_not_depend_on_where_the_stretch_starts():
    pilot, samples = PilotFilter(32e6, RATE_HZ, 8e6, 8e6), _tone(32.4e6, 30_000)
    whole = pilot.run(samples)
    start = 100 * pilot.hop
    np.testing.assert_allclose(
        pilot.run(samples[start:], start), whole[100:], atol=2e-3
    )


def test_a_frequency_offset_turns_the_output():
    pilot = PilotFilter(32e6, RATE_HZ, 8e6, 8e6)
    out = pilot.run(_tone(32.5e6, 40_000))
    step = np.angle(out[1:] * np.conj(out[:-1]))
    expected = 2 * np.pi * 0.5e6 * pilot.hop / RATE_HZ
    np.testing.assert_allclose(step, expected, atol=3e-3)


@pytest.mark.parametrize("away_hz", [20e6, 40e6, 100e6])
def test_stop_band_is_seventy_decibels_down(away_hz):
    pilot = PilotFilter(32e6, RATE_HZ, 8e6, 8e6)
    out = pilot.run(_tone(32e6 + away_hz, 40_000))
    assert np.max(np.abs(out)) < 50.0 * 10 ** (-68.0 / 20)


def test_noise_bandwidth_ratio_is_the_noise_gain_per_hop():
    pilot = PilotFilter(32e6, RATE_HZ, 8e6, 8e6)
    rng = np.random.default_rng(1)
    out = pilot.run(rng.standard_normal(2_000_000).astype(np.float32))
    power = float(np.mean(np.abs(out) ** 2))
    expected = pilot.noise_bandwidth_ratio / pilot.hop
    # Neighbouring outputs are correlated: about half are independent.
    assert power == pytest.approx(expected, rel=5 * math.sqrt(2.0 / out.size))


def test_both_filters_share_the_grid_of_hops():
    strong, weak = pilot_filters((32e6, 138e6), RATE_HZ, receiver())
    assert (strong.hop, strong.half) == (weak.hop, weak.half)
    assert strong.hop >= 2


def test_combination_maximises_the_signal_to_noise_ratio():
    rng = np.random.default_rng(2)
    n = 100_000
    noise = rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))
    tones = np.array([[40.0], [20.0 * np.exp(0.7j)]]) + noise
    mixed = combine((tones[0].astype("c8"), tones[1].astype("c8")), 0.7)
    signal = abs(mixed.mean()) ** 2
    spread = float(np.var(mixed))
    # Maximum-ratio combining adds the two ratios.
    assert signal / spread == pytest.approx(
        (40.0**2 + 20.0**2) / 2.0, rel=5 * math.sqrt(2.0 / n)
    )
