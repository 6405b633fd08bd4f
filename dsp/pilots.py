"""Pilot tones: a band-pass filter that mixes, filters and decimates in one go."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dsp.kernels import filter_and_decimate
from dsp.settings import ReceiverSettings

STOPBAND_DB = 70.0


class PilotFilter:
    """Complex band-pass around a pilot, evaluated once per hop.

    The output's phase is that of the pilot minus ``2 pi f n / rate``, where `n`
    counts samples from the start of the run: a pure tone at exactly `f` gives a
    constant.

    Parameters
    ----------
    frequency_hz : float
        Received pilot frequency [Hz].
    rate_hz : float
        Sample rate [Sa/s].
    bandwidth_hz : float
        One-sided pass band [Hz].
    transition_hz : float
        Width of the transition to the stop band [Hz]; fixes the length, so that
        filters of equal transition have equal delay.
    """

    def __init__(
        self,
        frequency_hz: float,
        rate_hz: float,
        bandwidth_hz: float,
        transition_hz: float,
    ) -> None:
        self.omega_rad = 2.0 * math.pi * frequency_hz / rate_hz
        # The largest decimation that keeps the stop band from folding in.
        self.hop = max(1, int(rate_hz / (2.0 * bandwidth_hz + 1.5 * transition_hz)))
        # Kaiser's design formula for the number of taps.
        width_rad = 2.0 * math.pi * transition_hz / rate_hz
        n_taps = math.ceil((STOPBAND_DB - 8.0) / (2.285 * width_rad)) | 1
        self.half = n_taps // 2
        offset = np.arange(-self.half, self.half + 1)
        cutoff = (bandwidth_hz + 0.5 * transition_hz) / rate_hz
        beta = 0.1102 * (STOPBAND_DB - 8.7)
        prototype = np.sinc(2.0 * cutoff * offset) * np.kaiser(n_taps, beta)
        prototype /= prototype.sum()
        taps = prototype * np.exp(-1j * self.omega_rad * offset)
        self._taps_re = np.ascontiguousarray(taps.real, dtype=np.float32)
        self._taps_im = np.ascontiguousarray(taps.imag, dtype=np.float32)
        # Noise in one output over the noise in one hop of an ideal integrator.
        self.noise_bandwidth_ratio = float(np.sum(prototype**2)) * self.hop

    def n_hops(self, n_samples: int) -> int:
        """Return how many outputs `n_samples` samples give."""
        return max(0, (n_samples - 2 * self.half - 1) // self.hop + 1)

    def run(
        self, samples: NDArray[np.float32], start: int = 0
    ) -> NDArray[np.complex64]:
        """Filter a stretch of samples.

        Parameters
        ----------
        samples : ndarray, shape (n,), float32 [code]
        start : int
            Sample number of ``samples[0]``; fixes the phase reference.

        Returns
        -------
        ndarray, shape (n_hops(n),), complex64 [code]
        """
        out = np.empty(self.n_hops(samples.size), dtype=np.complex64)
        filter_and_decimate(samples, self._taps_re, self._taps_im, self.hop, out)
        centre = start + self.half + self.hop * np.arange(out.size, dtype=np.float64)
        turns = (self.omega_rad / (2.0 * math.pi)) * centre
        out *= np.exp(-2j * np.pi * (turns - np.floor(turns))).astype(np.complex64)
        return out


def pilot_filters(
    pilots_hz: tuple[float, float], rate_hz: float, settings: ReceiverSettings
) -> tuple[PilotFilter, PilotFilter]:
    """Return the filters of the strong and the weak pilot, on one grid of hops.

    The weak pilot only carries the clock unless the pilots are combined, so it
    gets half the bandwidth: its neighbours may be close.
    """
    wide = settings.pilot_bandwidth_hz
    narrow = wide if settings.combine_pilots else 0.5 * wide
    strong = PilotFilter(pilots_hz[0], rate_hz, wide, wide)
    weak = PilotFilter(pilots_hz[1], rate_hz, narrow, wide)
    weak.hop = strong.hop
    return strong, weak


def combine(
    tones: tuple[NDArray[np.complex64], NDArray[np.complex64]], difference_rad: float
) -> NDArray[np.complex64]:
    """Add the weak pilot to the strong one, each weighted by its amplitude.

    Both carry the laser's phase; with equal noise density this maximises the
    signal-to-noise ratio.

    Parameters
    ----------
    tones : tuple of ndarray, shape (n,), complex64 [code]
        Strong and weak pilot on the same hops.
    difference_rad : float
        Phase of the weak pilot relative to the strong one [rad].

    Returns
    -------
    ndarray, shape (n,), complex64 [code]
    """
    weights = [float(np.median(np.abs(tone))) for tone in tones]
    total = math.hypot(*weights)
    turned = tones[1] * np.complex64(np.exp(-1j * difference_rad))
    mixed: NDArray[np.complex64] = tones[0] * np.float32(
        weights[0] / total
    ) + turned * np.float32(weights[1] / total)
    return mixed
