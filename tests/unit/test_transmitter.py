import math

import numpy as np
import pytest
from light_kit import RATE_HZ, complex_normal, small_layout

from dsp.framing import preamble_symbols
from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, ZadoffChuPreamble
from dsp.transmitter import (
    LEAD_SYMBOLS,
    Modulator,
    baseband,
    drive,
    pilot_amplitudes,
    samples_per_symbol,
)
from scqc.core.errors import ConfigError, SignalError

LAYOUT = small_layout(symbols=600, preamble=128)
NO_PILOTS = (0.0, 0.0)


def _symbols(seed=1):
    rng = np.random.default_rng([seed, 7])
    return complex_normal(rng, LAYOUT.symbols, np.float64(4.0)).astype(np.complex64)


def _field(symbols, pilots=NO_PILOTS):
    parts = baseband(symbols, LAYOUT, RATE_HZ, pilots)
    return parts[0].astype(np.float64) + 1j * parts[1]


def _first(layout):
    return (LEAD_SYMBOLS + layout.preamble.symbols + 16) * 8


def _matched(field, count, from_symbol=0):
    """A unit-energy matched filter, by definition, at the symbol instants."""
    grid = np.arange(-16 * 8, 16 * 8 + 1)
    pulse = finite_pulse(grid / 8.0, LAYOUT.roll_off, 32)
    pulse /= math.sqrt(float(pulse @ pulse))
    n = np.arange(field.size) - _first(LAYOUT)
    mixed = field * np.exp(-2j * np.pi * LAYOUT.centre_hz / RATE_HZ * n)
    centres = _first(LAYOUT) + 8 * (from_symbol + np.arange(count))
    return np.array([pulse @ mixed[c + grid] for c in centres])


def test_a_unit_energy_matched_filter_returns_the_symbols():
    symbols = _symbols()
    received = _matched(_field(symbols), symbols.size)
    # Of the leakage of 12 neighbours at -42 dB and float32.
    error = float(np.mean(np.abs(received - symbols) ** 2))
    assert error < 2e-4 * float(np.mean(np.abs(symbols) ** 2)) + 1e-6


def test_one_symbol_has_its_energy():
    symbols = np.zeros(LAYOUT.symbols, dtype=np.complex64)
    quiet = _field(symbols)
    symbols[300] = 3.0 - 4.0j
    pulse = _field(symbols) - quiet
    assert float(np.sum(np.abs(pulse) ** 2)) == pytest.approx(25.0, rel=1e-5)


def test_the_preamble_comes_right_before_the_data():
    received = _matched(_field(np.zeros(600, np.complex64)), 128, -128)
    expected = 12.0 * preamble_symbols(LAYOUT.preamble)
    error = np.abs(received - expected) ** 2
    assert float(np.mean(error)) < 2e-4 * 288.0


def test_pilots_stand_at_their_frequencies_with_their_amplitudes():
    field = _field(np.zeros(600, np.complex64), (7.0, 3.0))
    field -= _field(np.zeros(600, np.complex64))
    n = np.arange(field.size) - _first(LAYOUT)
    for amplitude, hz in zip((7.0, 3.0), LAYOUT.pilots_hz, strict=True):
        # Phase zero at the first data symbol, whole record long.
        mean = np.mean(field * np.exp(-2j * np.pi * hz / RATE_HZ * n))
        assert mean == pytest.approx(amplitude, abs=0.02)


def test_pilot_amplitudes_reach_the_wanted_ratio():
    gain, noise, sps = 0.268, 1.05, 8
    strong, weak = pilot_amplitudes(40.0, -6.0206, gain, noise, sps)
    assert strong / weak == pytest.approx(2.0, rel=1e-4)
    energy_at_bob = gain * strong**2 * sps
    assert 10 * math.log10(energy_at_bob / (2 * noise)) == pytest.approx(40.0)


@pytest.mark.parametrize("granularity", [1, 48, 64])
def test_volts_through_the_sine_give_the_field(granularity):
    parts = baseband(_symbols(), LAYOUT, RATE_HZ, (20.0, 10.0))
    modulator = Modulator(3.5, 3.548, 120.0)
    waveform = drive(parts, modulator, RATE_HZ, granularity)
    n = parts.shape[1]
    assert waveform.samples.shape[1] % granularity == 0
    assert 0 <= waveform.samples.shape[1] - n < granularity
    assert not waveform.samples[:, n:].any()
    # Around null, an arm passes sin(pi v / (2 v_pi)) of the full field.
    volts = waveform.samples[:, :n].astype(np.float64)
    field = 120.0 * np.sin(0.5 * np.pi * 3.548 * volts / 3.5)
    np.testing.assert_allclose(field, parts, atol=120.0 * 1e-6)


def test_overload_is_refused_with_the_peak():
    parts = np.zeros((2, 100), dtype=np.float32)
    parts[1, 50] = -95.0
    modulator = Modulator(3.5, 1.0, 100.0)
    with pytest.raises(SignalError, match=r"0\.95 of full transmission, limit 0\.9"):
        drive(parts, modulator, RATE_HZ, 48)
    parts[1, 50] = -89.0
    assert drive(parts, modulator, RATE_HZ, 48).samples.shape == (2, 144)


def test_wrong_counts_rates_and_preambles_are_refused():
    with pytest.raises(SignalError, match="layout of 600"):
        baseband(np.zeros(599, np.complex64), LAYOUT, RATE_HZ, NO_PILOTS)
    with pytest.raises(ConfigError, match="integer multiple"):
        samples_per_symbol(LAYOUT, 410e6)
    with pytest.raises(ConfigError, match="integer multiple"):
        samples_per_symbol(LAYOUT, 50e6)
    foreign = FrameLayout(symbols=600, preamble=ZadoffChuPreamble())
    with pytest.raises(SignalError, match="zadoff-chu"):
        baseband(np.zeros(600, np.complex64), foreign, RATE_HZ, NO_PILOTS)
