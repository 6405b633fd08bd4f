import numpy as np
import pytest
from light_kit import small_layout
from pydantic import ValidationError

from dsp.framing import (
    preamble_replica,
    preamble_span_s,
    preamble_symbols,
    zadoff_chu,
)
from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, QpskPreamble, ZadoffChuPreamble


@pytest.mark.parametrize(("root", "length"), [(5, 3989), (1, 64), (7, 139)])
def test_zadoff_chu_has_constant_amplitude_and_no_periodic_sidelobe(root, length):
    sequence = zadoff_chu(root, length)
    np.testing.assert_allclose(np.abs(sequence), 1.0, atol=1e-12)
    spectrum = np.fft.fft(sequence)
    correlation = np.fft.ifft(np.abs(spectrum) ** 2)
    assert abs(correlation[0]) == pytest.approx(length)
    assert np.max(np.abs(correlation[1:])) < 1e-8 * length


def test_zadoff_chu_matches_the_definition():
    n = np.arange(139)
    expected = np.exp(-1j * np.pi * 7 * n * (n + 1) / 139)
    np.testing.assert_allclose(zadoff_chu(7, 139), expected, atol=1e-9)


def test_preamble_symbols_repeat_and_depend_on_the_seed():
    one = preamble_symbols(QpskPreamble(symbols=512, seed=1))
    np.testing.assert_array_equal(one, preamble_symbols(QpskPreamble(symbols=512)))
    assert not np.array_equal(one, preamble_symbols(QpskPreamble(symbols=512, seed=2)))
    assert set(np.unique(one)) == {1 + 1j, 1 - 1j, -1 + 1j, -1 - 1j}


def test_qpsk_replica_is_the_pulse_train_on_the_centre_frequency():
    layout = small_layout(preamble=64)
    rng = np.random.default_rng(1)
    start_s, stop_s = preamble_span_s(layout)
    time_s = start_s + 1.1e-9 * np.arange(int((stop_s - start_s) / 1.1e-9))
    time_s = time_s[rng.integers(0, time_s.size, 40)]
    symbols = preamble_symbols(layout.preamble)
    slow = [
        sum(
            s * finite_pulse(np.array([t * 50e6 + 64 - k]), 0.2, 32)[0]
            for k, s in enumerate(symbols)
        )
        * np.exp(2j * np.pi * layout.centre_hz * t)
        for t in time_s
    ]
    np.testing.assert_allclose(preamble_replica(layout, time_s), slow, atol=1e-9)


def test_replica_vanishes_outside_its_span():
    layout = small_layout(preamble=64)
    start_s, stop_s = preamble_span_s(layout)
    outside = np.array([start_s - 1e-8, stop_s + 1e-8])
    np.testing.assert_allclose(preamble_replica(layout, outside), 0.0, atol=1e-12)


def test_zadoff_chu_replica_hits_its_samples():
    preamble = ZadoffChuPreamble(root=5, length=1021)
    layout = FrameLayout(preamble=preamble)
    start_s, stop_s = preamble_span_s(layout)
    assert start_s == -preamble.first_symbol_s
    assert stop_s - start_s == pytest.approx(1021 / 500e6)
    time_s = start_s + np.arange(1021) / 500e6
    np.testing.assert_allclose(
        preamble_replica(layout, time_s), zadoff_chu(5, 1021), atol=1e-6
    )


@pytest.mark.parametrize("pilots", [(-55e6, -12e6), (-118e6, -30e6), (-118e6, -118e6)])
def test_layout_refuses_pilots_on_the_signal_or_on_each_other(pilots):
    with pytest.raises(ValidationError, match="pilot"):
        FrameLayout(pilots_hz=pilots)
