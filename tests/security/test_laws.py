"""The laws of the receiver, each with a deliberate break that must show.

Every break is made here, in the test: the shipped code has no switch for it.
Tolerances are standard deviations of the theory, five of them.
"""

import math

import numpy as np
import pytest
from light_kit import (
    RATE_HZ,
    Channel,
    Scene,
    chunked,
    complex_normal,
    light,
    receiver,
    some_lock,
)

from dsp import demodulator as demodulator_module
from dsp.calibration import noise_variance, shot_noise_unit
from dsp.decision import map_bits
from dsp.demodulator import Demodulator
from dsp.displacement import remove_displacement
from dsp.kernels import smooth_wiener
from dsp.phase import PhaseNoise
from dsp.pipeline import BurstRecords, receive_burst
from protocols.estimation.channel import Detector, estimate_channel
from protocols.estimation.regression import Sums, regress
from scqc.core.errors import ProtocolAbort

SIGMAS = 5.0


# 1. No estimator sees the sample it corrects -----------------------------------


def _fit_and_subtract_everything(y, signs, n_taps):
    """The break: cancellation taps fitted on the very symbols they correct."""
    half = n_taps // 2
    padded = np.concatenate([np.zeros(half), signs, np.zeros(half)])
    columns = np.lib.stride_tricks.sliding_window_view(padded, n_taps)
    taps, *_ = np.linalg.lstsq(columns, y, rcond=None)
    return y - columns @ taps


def test_self_inclusive_cancellation_hides_noise_and_the_shipped_one_does_not():
    n, n_taps, trials, variance = 416, 13, 320, 1.3
    rng = np.random.default_rng(11)
    broken, shipped = [], []
    for _ in range(trials):
        signs = map_bits(rng.integers(0, 2, 2 * n).astype(np.uint8), "qpsk")
        y = 9.0 * signs + complex_normal(rng, n, np.float64(variance))
        y = y.astype(np.complex64)
        broken.append(
            np.mean(np.abs(_fit_and_subtract_everything(y, signs, n_taps)) ** 2)
        )
        none = np.zeros(0, dtype=np.complex64)
        removal = remove_displacement(y, signs, none, n_taps)
        shipped.append(np.mean(np.abs(removal.symbols) ** 2))
    sigma = math.sqrt(1.0 / (n * trials))  # relative, 2 n real samples per trial
    # A fit of n_taps complex numbers takes n_taps of n degrees of freedom away ...
    lost = n_taps / n
    assert np.mean(broken) / (2 * variance) - 1.0 == pytest.approx(
        -lost, abs=SIGMAS * sigma
    )
    assert lost > 2 * SIGMAS * sigma
    # ... and one fitted on the other half adds at least n_taps of n / 2 to it.
    gained = np.mean(shipped) / (2 * variance) - 1.0
    assert gained > -SIGMAS * sigma
    assert gained == pytest.approx(
        n_taps / (n / 2 - n_taps), abs=SIGMAS * sigma + 0.3 * lost
    )


def test_self_inclusive_phase_hides_noise_and_the_pilot_does_not():
    n, amplitude2, variance = 1_600_000, 26.0, 1.3
    noise = PhaseNoise(1e-4, variance / amplitude2)
    rng = np.random.default_rng(12)
    theta = np.cumsum(math.sqrt(noise.step_rad2) * rng.standard_normal(n))
    amplitude = math.sqrt(amplitude2)
    y = (amplitude + complex_normal(rng, n, np.float64(variance))) * np.exp(1j * theta)

    def residual(measured):
        smoothed = np.empty(n)
        smooth_wiener(measured, noise.gain, 0.0, n - 1, smoothed)
        inner = slice(1000, n - 1000)
        return float(np.mean((y * np.exp(-1j * smoothed)).imag[inner] ** 2))

    sigma = variance * math.sqrt(2.0 / n)
    penalty = amplitude2 * noise.smoothed_rad2
    assert penalty > 3 * SIGMAS * sigma
    # The break: phase measured on the decided symbols themselves. To first order
    # in the noise the angle is the tangent, which is what the bound assumes.
    decided = theta + np.imag(y * np.exp(-1j * theta)) / amplitude
    assert residual(decided) - variance == pytest.approx(-penalty, abs=SIGMAS * sigma)
    # The shipped way: a pilot of the same quality, with noise of its own.
    pilot = theta + math.sqrt(noise.measurement_rad2) * rng.standard_normal(n)
    assert residual(pilot) - variance == pytest.approx(
        penalty, abs=SIGMAS * sigma + 0.02 * penalty
    )


# 2. The displacement is removed after error correction --------------------------


def _normal_pdf(q):
    return math.exp(-0.5 * q * q) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("q", [2.33, 3.1])
def test_raw_decisions_shift_the_estimate_by_the_closed_form(q):
    """Measured against section 1.5's moments: T kappa^2 and the folded variance."""
    n, channel = 1_000_000, Channel(0.631, 0.85, 0.05, 0.01, 2.0)
    rng = np.random.default_rng(13)
    alice = math.sqrt(channel.v_a_snu) * rng.standard_normal(n)
    total = channel.noise_snu + channel.gain**2 * channel.v_a_snu
    shift = q * math.sqrt(total)
    sign = rng.choice([-1.0, 1.0], n)
    noise = math.sqrt(channel.noise_snu) * rng.standard_normal(n)
    y = shift * sign + channel.gain * alice + noise
    broken = regress(alice, y - shift * np.sign(y))
    honest = regress(alice, y - shift * sign)
    tail = 0.5 * math.erfc(q / math.sqrt(2.0))
    kappa = 1.0 - 2.0 * q * _normal_pdf(q)
    folded = total * (1.0 - 4.0 * q * _normal_pdf(q) + 4.0 * q * q * tail)
    residual = folded - kappa**2 * channel.gain**2 * channel.v_a_snu
    # The folded samples are few and large: variance of their squares ~ (2q)^4 p V^2.
    wide = math.sqrt(2.0 + 16.0 * q**4 * tail) * total / math.sqrt(n)
    assert broken.residual_snu == pytest.approx(residual, abs=SIGMAS * wide)
    assert broken.gain == pytest.approx(
        kappa * channel.gain, abs=SIGMAS * math.sqrt(2 * total / (n * channel.v_a_snu))
    )
    detector = Detector(channel.efficiency, channel.electronic_snu, 10**9, 10**9)
    estimate = estimate_channel(honest, detector, "error-corrected")
    assert abs(estimate.xi_snu - channel.xi_snu) < SIGMAS * estimate.xi_sigma_snu
    shifted = estimate_channel(broken, detector, "error-corrected")
    assert shifted.xi_snu - channel.xi_snu > 10 * estimate.xi_sigma_snu
    with pytest.raises(ProtocolAbort, match="raw decisions"):
        estimate_channel(broken, detector, "raw-decisions")


# 3. Calibration goes through the identical pipeline object ----------------------


def test_calibration_through_other_taps_moves_xi_by_the_predicted_amount():
    layout, settings = light(Scene()).layout, receiver()
    rng = np.random.default_rng(14)
    shot = np.round(50.0 * rng.standard_normal(200_000)).astype(np.int16)
    dark = np.round(10.0 * rng.standard_normal(200_000)).astype(np.int16)

    def unit(gain):
        chain = Demodulator(layout, settings, RATE_HZ, some_lock())
        chain.bank = tuple(np.float32(gain) * taps for taps in chain.bank)
        return shot_noise_unit(
            noise_variance(chain, [shot]), noise_variance(chain, [dark])
        )

    same, slipped = unit(1.0), unit(1.003)
    channel, n = Channel(0.631, 0.85, same.electronic_snu, 0.01, 2.0), 4_000_000
    xx = n * channel.v_a_snu
    codes2 = same.scale**2
    yy = codes2 * (channel.gain**2 * xx + n * channel.noise_snu)
    xy = same.scale * channel.gain * xx

    def estimated_xi(calibration):
        sums = Sums(n, xx, xy / calibration.scale, yy / calibration.scale**2)
        detector = Detector(0.85, calibration.electronic_snu, 10**9, 10**9)
        return estimate_channel(sums, detector, "error-corrected").xi_snu

    assert estimated_xi(same) == pytest.approx(0.01, abs=1e-9)
    # Bob's noise falls by 1.003^2 with the unit, and T falls alike.
    scale = 1.003**2
    noise = channel.noise_snu / scale - 1.0 - same.electronic_snu
    predicted = noise / (channel.gain**2 / scale)
    assert predicted < -0.01  # the slip fakes negative noise
    assert estimated_xi(slipped) == pytest.approx(predicted, abs=1e-5)


def test_the_receiver_uses_one_filter_bank_for_signal_and_calibrations(monkeypatch):
    seen = []
    original = demodulator_module.matched_filter

    def spy(x, instants, bank_re, bank_im, out):
        seen.append((id(bank_re), id(bank_im)))
        original(x, instants, bank_re, bank_im, out)

    monkeypatch.setattr(demodulator_module, "matched_filter", spy)
    record = light(Scene())
    # Three different traces: each must be read, none twice.
    reads = []

    def trace(name, codes):
        def read():
            reads.append(name)
            return chunked(codes, 10_000)

        return read

    dark = (record.shot // 8).astype(np.int16)
    received = receive_burst(
        BurstRecords(
            RATE_HZ,
            trace("signal", record.codes),
            trace("shot", record.shot),
            trace("electronic", dark),
        ),
        record.layout,
        receiver(),
    )
    assert len(set(seen)) == 1
    assert len(seen) >= 3
    assert sorted(reads) == ["electronic", "shot", "signal"]
    assert received.shot.variance > received.electronic.variance
