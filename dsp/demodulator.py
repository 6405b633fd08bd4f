"""From digitiser codes to symbols on a steady phase, block by block.

The demodulator works on blocks that are fixed relative to the frame, whatever
the size of the chunks it is fed, so its output does not depend on them. Memory
is one block plus the look-ahead that the two-sided phase smoother needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.acquisition import Lock
from dsp.kernels import derotate, matched_filter, smooth_wiener, unwrapped_angle
from dsp.pilots import combine, pilot_filters
from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, QpskPreamble, ReceiverSettings
from dsp.timing import TimingTracker
from scqc.core.errors import LockError, SyncError

BLOCK_SAMPLES = 1 << 16
LOOK_AHEAD_HOPS = 512
# The backward pass must forget its start within the look-ahead.
SMALLEST_GAIN = 8.0 / LOOK_AHEAD_HOPS
BANK_PHASES = 256
# Hops that a measurement of the clock takes at least.
FEWEST_HOPS = 32


class SampleWindow:
    """A moving window over a stream of codes, as float32."""

    def __init__(self, chunks: Iterable[NDArray[np.int16]]) -> None:
        self._chunks = iter(chunks)
        self._held = np.empty(0, dtype=np.float32)
        self._start = 0

    def get(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start:stop``; what lies before `start` is forgotten.

        Returns
        -------
        ndarray, shape (<= stop - start,), float32 [code]
            Shorter only where the record ends.
        """
        if start < self._start:
            raise LockError(f"samples before {self._start} are gone, asked for {start}")
        parts = [self._held[start - self._start :]]
        have = parts[0].size
        skip = start - self._start - self._held.size
        while have < stop - start:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            if skip > 0:
                dropped = min(skip, chunk.size)
                chunk, skip = chunk[dropped:], skip - dropped
            parts.append(chunk.astype(np.float32))
            have += chunk.size
        self._held = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._start = start
        return self._held[: stop - start]


def matched_bank(
    omega_rad: float, samples_per_symbol: float, roll_off: float, span_symbols: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Build the matched filter for every fraction of a sample.

    Every row has unit energy per quadrature, so white noise of variance 1 per
    real sample gives variance 1 per quadrature.

    Returns
    -------
    taps_re, taps_im : ndarray, shape (BANK_PHASES, n_taps), float32 [1]
    """
    half = math.ceil(0.5 * span_symbols * samples_per_symbol) + 1
    offset = np.arange(-half + 1, half + 1, dtype=np.float64)
    fraction = np.arange(BANK_PHASES)[:, None] / BANK_PHASES
    distance = offset[None, :] - fraction
    pulse = finite_pulse(
        (distance / samples_per_symbol).ravel(), roll_off, span_symbols
    ).reshape(distance.shape)
    pulse *= np.sqrt(2.0 / np.sum(pulse**2, axis=1, keepdims=True))
    taps = pulse * np.exp(-1j * omega_rad * distance)
    return (
        np.ascontiguousarray(taps.real, dtype=np.float32),
        np.ascontiguousarray(taps.imag, dtype=np.float32),
    )


@dataclass(slots=True)
class DemodulatorReport:
    """What the demodulator saw.

    Parameters
    ----------
    lock : Lock
    clock_ppm : float
        Last tracked clock error [ppm].
    hops_per_symbol : float
        Outputs of the pilot filter per symbol [1].
    cycle_slips : int
        Steps of the smoothed pilot phase beyond half a turn per hop [1].
    pilot_phase_rad, pilot_residual_rad : list of float
        Smoothed phase and measured minus smoothed, one per block [rad].
    pilot_amplitude : list of float
        Mean amplitude of the strong pilot per block [code].
    """

    lock: Lock
    clock_ppm: float
    hops_per_symbol: float = 1.0
    cycle_slips: int = 0
    pilot_phase_rad: list[float] = field(default_factory=list)
    pilot_residual_rad: list[float] = field(default_factory=list)
    pilot_amplitude: list[float] = field(default_factory=list)


class Demodulator:
    """One burst's demodulator; also run, unchanged, over calibration traces.

    Parameters
    ----------
    layout : FrameLayout
    settings : ReceiverSettings
    rate_hz : float
        Nominal sample rate [Sa/s].
    lock : Lock
        From `dsp.acquisition.acquire`.
    """

    def __init__(
        self,
        layout: FrameLayout,
        settings: ReceiverSettings,
        rate_hz: float,
        lock: Lock,
    ) -> None:
        self._layout, self._settings, self._lock = layout, settings, lock
        self._filters = pilot_filters(lock.pilots_hz, rate_hz, settings)
        clock = 1.0 + 1e-6 * lock.clock_ppm
        self._symbols_per_sample = layout.symbol_rate_hz * clock / rate_hz
        strong_hz, weak_hz = layout.pilots_hz
        self._turns_weak = (weak_hz - strong_hz) / layout.symbol_rate_hz
        centre_hz = lock.pilots_hz[0] + (layout.centre_hz - strong_hz) * clock
        self._turns = (
            lock.pilots_hz[0] / rate_hz,
            centre_hz / rate_hz,
            (layout.centre_hz - strong_hz) / layout.symbol_rate_hz,
        )
        self._difference_rad = 0.0
        self.bank = matched_bank(
            2.0 * math.pi * centre_hz / rate_hz,
            1.0 / self._symbols_per_sample,
            layout.roll_off,
            settings.matched_span_symbols,
        )
        hops = 1.0 / (self._symbols_per_sample * self._filters[0].hop)
        self.report = DemodulatorReport(lock, lock.clock_ppm, hops)

    @property
    def first_symbol(self) -> int:
        """Index of the first symbol produced; negative inside a QPSK preamble."""
        preamble = self._layout.preamble
        return -preamble.symbols if isinstance(preamble, QpskPreamble) else 0

    def run(
        self, chunks: Iterable[NDArray[np.int16]]
    ) -> Iterator[NDArray[np.complex64]]:
        """Demodulate a burst.

        Parameters
        ----------
        chunks : iterable of ndarray, shape (n,), int16 [code]
            The record from its first sample, in pieces of any size.

        Yields
        ------
        ndarray, shape (n_symbols,), complex64 [code]
            Consecutive symbols; the first is number `first_symbol`.

        Raises
        ------
        SyncError
            If the frame is not wholly inside the record.
        """
        pilot, hop = self._filters[0], self._filters[0].hop
        taps_before = self.bank[0].shape[1] // 2 - 1
        margin = max(pilot.half, taps_before + 2)
        hops_per_block = BLOCK_SAMPLES // hop
        window, timing = SampleWindow(chunks), self._timing()
        symbol, last = self.first_symbol, self._layout.symbols
        begin = math.floor(timing.instants(symbol, 1)[0]) - 1
        if begin < margin:
            raise SyncError(
                f"frame starts at sample {begin}, but the filters need {margin} "
                "samples before it: the record starts too late"
            )
        state, branch = None, 0.0
        while symbol < last:
            stop = begin + (hops_per_block + LOOK_AHEAD_HOPS) * hop + margin + 1
            samples = window.get(begin - margin, stop)
            centred = samples[margin - pilot.half :]
            tones = tuple(f.run(centred, begin - pilot.half) for f in self._filters)
            if min(tones[0].size, tones[1].size) < 2:
                raise _record_ends(symbol, last, timing, begin - margin + samples.size)
            tone = self._follow_clock((tones[0], tones[1]), begin, timing)
            # Past the last symbol the pilots may be off: their noise is no phase.
            end_of_frame = float(timing.instants(last - 1, 1)[0])
            tone = tone[: math.ceil((end_of_frame - begin) / hop) + 2]
            measured, smoothed = np.empty(tone.size), np.empty(tone.size)
            unwrapped_angle(tone, branch, measured)
            keep = min(hops_per_block, tone.size) - 1
            state = smooth_wiener(
                measured,
                max(self._lock.phase_noise.gain, SMALLEST_GAIN),
                float(measured[0]) if state is None else state,
                keep,
                smoothed,
            )
            branch = float(measured[keep])
            # Symbols of this block, as far as the record and the hops reach.
            usable = min(
                begin + hops_per_block * hop,
                begin + (tone.size - 1) * hop,
                begin - margin + samples.size - taps_before - 4,
            )
            count = timing.count_before(usable, symbol, last)
            if count == 0:
                raise _record_ends(symbol, last, timing, begin - margin + samples.size)
            instants = timing.instants(symbol, count)
            out = np.empty(count, dtype=np.complex64)
            offset = begin - margin + taps_before
            matched_filter(samples, instants - offset, *self.bank, out)
            turns = self._turns
            grid = (float(begin), float(hop))
            derotate(out, instants, symbol, turns, BANK_PHASES, smoothed, grid)
            self._note(tone, measured, smoothed, keep + 1)
            symbol += count
            begin += hops_per_block * hop
            yield out
        self.report.clock_ppm += 1e6 * timing.rate_correction

    def replay(
        self, chunks: Iterable[NDArray[np.int16]]
    ) -> Iterator[NDArray[np.complex64]]:
        """Run a calibration trace through the same filters, at the same rate.

        Parameters
        ----------
        chunks : iterable of ndarray, shape (n,), int16 [code]

        Yields
        ------
        ndarray, shape (n_symbols,), complex64 [code]
        """
        half = self.bank[0].shape[1] // 2
        window = SampleWindow(chunks)
        period = 1.0 / self._symbols_per_sample
        per_block = int(BLOCK_SAMPLES / period)
        first = 0
        while True:
            instants = half + (first + np.arange(per_block)) * period
            start = math.floor(instants[0]) - half
            samples = window.get(start, math.floor(instants[-1]) + half + 2)
            fits = instants + half + 1 <= start + samples.size
            instants = instants[fits]
            if instants.size == 0:
                return
            out = np.empty(instants.size, dtype=np.complex64)
            matched_filter(samples, instants - start - half + 1, *self.bank, out)
            first += instants.size
            yield out

    def _timing(self) -> TimingTracker:
        sigma = max(1e-6 * self._lock.clock_sigma_ppm, 1e-10)
        return TimingTracker(
            self._symbols_per_sample, self._lock.first_symbol_sample, sigma
        )

    def _follow_clock(
        self,
        tones: tuple[NDArray[np.complex64], NDArray[np.complex64]],
        begin: int,
        timing: TimingTracker,
    ) -> NDArray[np.complex64]:
        """Measure the pilots' phase difference; return the tone that gives phase."""
        hop = self._filters[0].hop
        n = min(tones[0].size, tones[1].size, BLOCK_SAMPLES // hop)
        strong, weak = tones[0][:n], tones[1][:n]
        amplitude = np.abs(strong)
        if not np.all(amplitude > 0.0):
            raise LockError("strong pilot: no light in part of the block")
        turned = weak * np.conj(strong) / amplitude
        mean = complex(turned.mean())
        reference = self._lock.pilot_difference_rad + self._difference_rad
        moved = float(np.angle(mean * np.exp(-1j * reference)))
        self._difference_rad += moved
        centre = begin + 0.5 * (n - 1) * hop
        elapsed = (centre - self._lock.first_symbol_sample) * self._symbols_per_sample
        turns = self._difference_rad / (2.0 * math.pi)
        scatter = float(np.mean(np.abs(turned) ** 2)) - abs(mean) ** 2
        # Neighbouring hops share noise: half of them count as independent.
        variance = scatter / (abs(mean) ** 2 * n)
        scale = 2.0 * math.pi * self._turns_weak
        # A handful of hops does not know its own scatter.
        if n >= FEWEST_HOPS:
            timing.update(
                centre,
                elapsed + turns / self._turns_weak,
                max(variance, 1e-12) / scale**2,
            )
        if not self._settings.combine_pilots:
            return tones[0]
        return combine(tones, self._lock.pilot_difference_rad + self._difference_rad)

    def _note(
        self,
        tone: NDArray[np.complex64],
        measured: NDArray[np.float64],
        smoothed: NDArray[np.float64],
        n_hops: int,
    ) -> None:
        """Add one block to the report."""
        report = self.report
        amplitude = float(np.mean(np.abs(tone[:n_hops])))
        if report.pilot_amplitude and amplitude < 0.2 * report.pilot_amplitude[0]:
            raise LockError(
                f"strong pilot: amplitude {amplitude:.3g} codes, fell below a fifth of "
                f"the first block's {report.pilot_amplitude[0]:.3g} codes"
            )
        residual = measured[:n_hops] - smoothed[:n_hops]
        report.pilot_amplitude.append(amplitude)
        report.pilot_phase_rad.append(float(smoothed[0]))
        report.pilot_residual_rad.append(float(np.std(residual)))
        steps = np.abs(np.diff(smoothed[:n_hops]))
        report.cycle_slips += int(np.count_nonzero(steps > 0.5 * math.pi))


def _record_ends(symbol: int, last: int, timing: TimingTracker, end: int) -> SyncError:
    """Return the error of a record that ends inside the frame."""
    return SyncError(
        f"record ends inside the frame: symbol {symbol} of {last} lies at sample "
        f"{timing.instants(symbol, 1)[0]:.0f}, the record ends at {end}"
    )
