"""Skew of the modulator's arms: precise, as uncertain as it says, and corrected."""

import math

import numpy as np
import pytest
from run_kit import CONFIGS

from dsp.alignment import (
    CORE_SYMBOLS,
    GUARD_SYMBOLS,
    SEGMENT_SYMBOLS,
    measure_skew,
    skew_sequence,
)
from dsp.pipeline import demodulate
from dsp.settings import FrameLayout, QpskPreamble
from scqc.core.errors import SignalError
from scqc.core.rng import ReplayEntropy
from scqc.runs.lab_config import parse_config
from scqc.runs.transmit import LinkBudget, Transmitter, frame_layout
from sim_backends.world import World

RATE_HZ, ROLL_OFF = 50e6, 0.2
# A frequency band of +- B, flat, has the rms width B / sqrt(3).
FLAT_HZ = 0.5 * RATE_HZ * (1.0 - ROLL_OFF)
GROUPS = 8


def layout_of(groups):
    return FrameLayout(symbols=groups * 4 * SEGMENT_SYMBOLS + 100)


def theory_s(snr, n_per_arm):
    """Cramer and Rao's bound of the difference of two arms."""
    used = n_per_arm * 2.0 * FLAT_HZ / RATE_HZ
    rms_hz = FLAT_HZ / math.sqrt(3.0)
    return math.sqrt(2.0) / (2.0 * math.pi * rms_hz * math.sqrt(2.0 * snr * used))


def received(delays_s, snr, seed, drift_s=0.0, quadrature_rad=0.02):
    """Symbols of a test burst made here: phase ramps per segment, and noise."""
    rng = np.random.default_rng(seed)
    sequence = skew_sequence(layout_of(GROUPS))
    frequency_hz = np.fft.fftfreq(CORE_SYMBOLS, 1.0 / RATE_HZ)
    out = np.zeros(layout_of(GROUPS).symbols, dtype=complex)
    for k in range(4 * GROUPS):
        arm = (0, 1, 1, 0)[k % 4]
        delay_s = delays_s[arm] + k * drift_s
        spectrum = np.fft.fft(sequence[k // 2])
        core = np.fft.ifft(spectrum * np.exp(-2j * np.pi * frequency_hz * delay_s))
        core *= np.exp(1j * (0.7 + arm * quadrature_rad))
        start = k * SEGMENT_SYMBOLS + GUARD_SYMBOLS
        out[start : start + CORE_SYMBOLS] = core
    noise = rng.normal(size=(2, out.size)) * math.sqrt(0.5 / snr)
    return (out + noise[0] + 1j * noise[1]).astype(np.complex64)


def measured(delays_s, snr, seed=1, **changes):
    return measure_skew(received(delays_s, snr, seed, **changes), layout_of(GROUPS))


@pytest.mark.parametrize("delays_s", [(0, 2e-12), (3e-12, -37e-12), (0.2e-9, -9.6e-9)])
@pytest.mark.parametrize("snr", [3.0, 1e5])
def test_it_is_found(delays_s, snr):
    found = measured(delays_s, snr)
    sigma_s = theory_s(snr, 2 * GROUPS * CORE_SYMBOLS)
    assert abs(found.delay_s - (delays_s[1] - delays_s[0])) < 5.0 * sigma_s
    # The noise is measured on 2 x 5 000 numbers, the band has whole bins.
    assert found.sigma_s == pytest.approx(sigma_s, rel=0.08)
    assert found.snr == pytest.approx(snr, rel=0.15)


def test_it_is_as_uncertain_as_it_says():
    n = 100
    found = [measured((0.0, 40e-12), 60.0, seed=k) for k in range(n)]
    squares = [((f.delay_s - 40e-12) / f.sigma_s) ** 2 for f in found]
    # A sum of n squares of unit variance.
    assert abs(sum(squares) - n) < 5.0 * math.sqrt(2.0 * n)


def test_a_clock_that_drifts_cancels():
    # 5 ps per segment: without the order I Q Q I, 5 ps of skew.
    found = measured((0.0, 0.0), 1e5, drift_s=5e-12)
    assert abs(found.delay_s) < 5.0 * theory_s(1e5, 2 * GROUPS * CORE_SYMBOLS)


def test_an_arm_that_is_not_connected():
    symbols = received((0.0, 0.0), 1e3, 1)
    rng = np.random.default_rng(2)
    for k in range(4 * GROUPS):
        if k % 4 in (1, 2):
            part = slice(k * SEGMENT_SYMBOLS, (k + 1) * SEGMENT_SYMBOLS)
            symbols[part] = 0.03 * rng.normal(size=SEGMENT_SYMBOLS)
    with pytest.raises(SignalError, match="arm Q"):
        measure_skew(symbols, layout_of(GROUPS))


def test_frames_that_are_too_short():
    short = FrameLayout(symbols=4 * SEGMENT_SYMBOLS - 1)
    with pytest.raises(SignalError, match="2048"):
        measure_skew(np.zeros(9000, np.complex64), short)
    with pytest.raises(SignalError, match="wanted"):
        measure_skew(np.zeros(9000, np.complex64), layout_of(GROUPS))


def bench(skew_s, iq_skew_s, quiet=False):
    """A laboratory with a transmitter that knows of `iq_skew_s`."""
    text = (CONFIGS / "cv_quick.toml").read_text()
    text = text.replace("[sim.awg]", f"[sim.awg]\nskew_s = {skew_s!r}")
    line = f"[alice.transmitter]\niq_skew_s = {iq_skew_s!r}"
    text = text.replace("[alice.transmitter]", line)
    text = text.replace('psk = "qpsk"', 'psk = "none"')
    if quiet:
        for old in ("linewidth_hz = 100.0", "in_db_per_hz = -150.0"):
            text = text.replace(old, f"{old.partition(' = ')[0]} = 0.0")
    config = parse_config(text)
    world = World(config.sim)
    world.set_level("signal", 2.0)
    world.set_level("lo", 2.0)
    budget = LinkBudget(0.5 * 0.85 * 10.0**-0.2, 1.05)
    if quiet:
        # As if the link were worse: stronger pilots and a stronger test.
        budget = LinkBudget(budget.gain / 100.0, 1.05)
    return config, world, Transmitter(config, ReplayEntropy(1, "alice")), budget


def codes_of(world, waveform):
    world.play(waveform.samples, waveform.rate_hz)
    n = math.ceil((waveform.samples.shape[1] / 400e6 + 10e-6) * 400e6)
    volts = world.record(n, 400e6)
    scale = np.float32(30_000.0 / np.max(np.abs(volts)))
    return np.rint(volts * scale).astype(np.int16)


@pytest.mark.parametrize(("skew_s", "iq_skew_s"), [(2e-12, 0.0), (40e-12, 40e-12)])
def test_through_the_laboratory(skew_s, iq_skew_s):
    config, world, transmitter, budget = bench(skew_s, iq_skew_s, quiet=True)
    strong = QpskPreamble(amplitude_sqrt_snu=100.0)
    layout = frame_layout(config, 16 * 4 * SEGMENT_SYMBOLS)
    layout = layout.model_copy(update={"preamble": strong})
    waveform = transmitter.skew_waveform(layout, budget, 64)
    found = []
    for _ in range(4):
        codes = codes_of(world, waveform)
        receiver, symbols = demodulate([codes], 400e6, layout, config.bob.receiver)
        found.append(measure_skew(symbols[-receiver.first_symbol :], layout))
    mean_s = np.mean([f.delay_s for f in found])
    sigma_s = theory_s(np.mean([f.snr for f in found]), 4 * 32 * CORE_SYMBOLS)
    # Fine enough to see the 40 ps twenty times over.
    assert sigma_s < 2e-12
    assert abs(mean_s - (skew_s - iq_skew_s)) < 5.0 * sigma_s


def test_a_correction_of_the_wrong_sign_would_show():
    _, _, transmitter, _ = bench(0.0, 40e-12)
    tone = np.exp(2j * np.pi * 0.1 * np.arange(4096)) * 50.0
    field = np.stack([tone.real, tone.imag]).astype(np.float32)
    volts = transmitter.voltages(field, 64).samples
    # Q arrives late, so it must leave early: a phase of +0.1 turns per sample.
    turns = np.exp(-2j * np.pi * 0.1 * np.arange(100, 4000))
    phases = [np.angle(np.sum(row[100:4000] * turns)) for row in volts]
    lead_rad = np.angle(np.exp(1j * (phases[1] - phases[0] + 0.5 * np.pi)))
    assert lead_rad == pytest.approx(2.0 * np.pi * 0.1 * 400e6 * 40e-12, rel=1e-3)


def excess_noise(skew_s, iq_skew_s):
    """Return xi of a burst without displacement, and its sigma [SNU]."""
    config, world, transmitter, budget = bench(skew_s, iq_skew_s)
    n = 20_000
    layout, symbols = frame_layout(config, n), transmitter.gaussian(n)
    waveform = transmitter.waveform(symbols, np.zeros(0, np.uint8), budget, 64)
    world.play(waveform.samples, waveform.rate_hz)
    volts = world.record(waveform.samples.shape[1] + 4000, 400e6)
    world.set_level("signal", 0.0)
    dark = world.record(waveform.samples.shape[1], 400e6)
    codes, shot = (np.rint(v * 1e5).astype(np.int16) for v in (volts, dark))
    receiver, got = demodulate([codes], 400e6, layout, config.bob.receiver)
    noise = np.concatenate(list(receiver.replay([shot])))
    y, x = got[-receiver.first_symbol :], symbols
    gain = np.vdot(x, y) / np.vdot(x, x)
    variance = np.var(noise)
    xi = (np.var(y - gain * x) - variance) / abs(gain) ** 2
    sigma = math.sqrt(1.0 / n + 1.0 / noise.size) * variance / abs(gain) ** 2
    return xi, sigma


def test_corrected_arms_add_no_noise():
    (plain, sigma), (corrected, _) = excess_noise(0.0, 0.0), excess_noise(4e-10, 4e-10)
    assert corrected - plain < 5.0 * math.sqrt(2.0) * sigma
