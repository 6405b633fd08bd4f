r"""Recover the slot clock from the detections alone.

Half of the light comes at the centre of its slot and half in satellites half a
slot away, so the line at the slot rate cancels; the line at *twice* the slot rate
does not, and gives the phase modulo half a slot. Which half is the centre is
decided with the frame (`dsp.time_tags.frame`).

**Acquisition.** The detections, demodulated at twice the nominal rate, are binned
no finer than the frequency uncertainty asks for and Fourier transformed once:

.. math:: P(f) = \frac1n \Bigl|\sum_j e^{2\pi i (2 f_0 + f) t_j}\Bigr|^2

is exponential of mean 1 without a line and ``n C^2`` on one of contrast C. The
segment grows until the line stands out, and stays short enough for the clock's
drift not to smear it.

Then the line is followed over the whole record (`dsp.time_tags.clock_loop`).
"""

from __future__ import annotations

import math

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dsp.time_tags.clock_loop import Line, track
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from scqc.core.errors import LockError

# Probability that noise alone passes, over everything that is searched.
FALSE_ALARM = 1e-9
# Detections that make a first attempt, and the fewest worth one.
FIRST_DETECTIONS, FEWEST_DETECTIONS = 400, 100


def slot_clock(
    times_ps: NDArray[np.int64],
    layout: SlotLayout,
    settings: TagSettings,
    prior: SlotClock | None = None,
) -> SlotClock:
    """Find and follow the slot clock.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
        Detections of all inputs, in order, skews removed.
    layout : SlotLayout
    settings : TagSettings
    prior : SlotClock, optional
        An earlier clock of the same pair: narrows the frequency search.

    Returns
    -------
    SlotClock
        Position 0 is arbitrary, and may be half a slot off.

    Raises
    ------
    LockError
        No line within the search range, or the loop lost it.
    """
    line = find_line(times_ps, layout, settings, prior)
    return track(times_ps, line, layout, settings)


def find_line(
    times_ps: NDArray[np.int64],
    layout: SlotLayout,
    settings: TagSettings,
    prior: SlotClock | None = None,
) -> Line:
    """Search the line at twice the slot rate in growing segments.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]

    Raises
    ------
    LockError
        Nothing stands out anywhere.
    """
    if times_ps.size < FEWEST_DETECTIONS:
        raise LockError(
            f"slot clock: {times_ps.size} detections, at least {FEWEST_DETECTIONS} are "
            "needed: is there light, are the detectors on?"
        )
    centre_hz = 2.0 * layout.slot_rate_hz * (1.0 + (0.0 if prior is None else prior.df))
    ppm = settings.max_clock_error_ppm if prior is None else settings.prior_clock_ppm
    search_hz = 1e-6 * ppm * centre_hz
    lengths = list(_segment_lengths(times_ps, layout, settings))
    best = Line(0.0, 0.0, 0.0, math.inf, (0, 0))
    for k, length_ps in enumerate(lengths):
        starts = _segment_starts(times_ps, length_ps)
        # Every bin of every segment of every length is a chance for noise.
        bins = max(4.0, 2e-12 * search_hz * length_ps)
        trials = bins * len(starts) * (k + 1) * (k + 2)
        for start, stop in starts:
            part = times_ps[start:stop]
            if part.size < FEWEST_DETECTIONS:
                continue
            line = _line_in(part, centre_hz, search_hz, 4.0 * trials)
            if line.power > line.threshold:
                return line
            if line.power > best.power:
                best = line
    raise LockError(
        f"slot clock: strongest line at twice {layout.slot_rate_hz:g} Hz within "
        f"{ppm:g} ppm is {best.power:.1f} x the noise, limit {best.threshold:.1f} x: "
        "is there light, is the slot rate right, is the jitter below a quarter slot?"
    )


def _segment_lengths(
    times_ps: NDArray[np.int64], layout: SlotLayout, settings: TagSettings
) -> list[int]:
    """Return growing lengths [ps], up to what drift or record allows."""
    whole_ps = int(times_ps[-1] - times_ps[0]) + 1
    ramp_hz_per_s = 2e-6 * settings.max_clock_drift_ppm_per_s * layout.slot_rate_hz
    # A quarter cycle of curvature over the segment.
    longest_ps = min(whole_ps, round(1e12 * math.sqrt(0.5 / ramp_hz_per_s)))
    length_ps = max(1, whole_ps * FIRST_DETECTIONS // times_ps.size)
    lengths = []
    while length_ps < longest_ps:
        lengths.append(length_ps)
        length_ps *= 2
    return [*lengths, longest_ps]


def _segment_starts(
    times_ps: NDArray[np.int64], length_ps: int, most: int = 8
) -> list[tuple[int, int]]:
    """Return index ranges of up to `most` segments spread over the record."""
    first, last = int(times_ps[0]), int(times_ps[-1])
    n = min(most, max(1, (last - first) // length_ps))
    begins = first + (np.arange(n) * max(0, last - first - length_ps)) // max(1, n - 1)
    starts = np.searchsorted(times_ps, begins)
    stops = np.searchsorted(times_ps, begins + length_ps, side="right")
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _line_in(
    times_ps: NDArray[np.int64], centre_hz: float, search_hz: float, trials: float
) -> Line:
    """Transform one segment and return its strongest line within the range."""
    length_s = 1e-12 * float(times_ps[-1] - times_ps[0] + 1)
    # Four times the two-sided range keeps the loss at its edge below 1 dB; the
    # padding to twice the length keeps the loss between two bins below that, too.
    rate_hz = 8.0 * search_hz + 16.0 / length_s
    n_bins = math.ceil(length_s * rate_hz) + 1
    size = scipy.fft.next_fast_len(2 * n_bins)
    binned = np.zeros(size, dtype=np.complex64)
    demodulate(times_ps, 1e-12 * centre_hz, 1e-12 * rate_hz, binned)
    spectrum = scipy.fft.fft(binned)
    offset_hz = scipy.fft.fftfreq(size, 1.0 / rate_hz)
    power = (spectrum.real**2 + spectrum.imag**2) / times_ps.size
    power[np.abs(offset_hz) > search_hz + 1.0 / length_s] = 0.0
    at = int(np.argmax(power))
    near = power[np.array([at - 1, at, (at + 1) % size])]
    bend = near[0] - 2.0 * near[1] + near[2]
    shift = 0.5 * (near[0] - near[2]) / bend if bend < 0.0 else 0.0
    found_hz = centre_hz + offset_hz[at] + shift * rate_hz / size
    return Line(
        1e-12 * found_hz,
        0.25 / length_s,
        float(power[at]),
        math.log(trials / FALSE_ALARM),
        (int(times_ps[0]), int(times_ps[-1])),
    )


@numba.njit(cache=True, nogil=True)
def demodulate(
    times_ps: NDArray[np.int64],
    cycles_per_ps: float,
    bins_per_ps: float,
    out: NDArray[np.complex64],
) -> None:
    """Add the phasor of every detection to the bin of its time.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
    cycles_per_ps : float
        Frequency taken out.
    bins_per_ps : float
        Bins count from the first detection.
    out : ndarray, shape (n_bins,), complex64 [1]
        Added to; a line above the frequency taken out turns forwards.
    """
    for k in range(times_ps.size):
        since = float(times_ps[k] - times_ps[0])
        turn = 2.0 * math.pi * ((since * cycles_per_ps) % 1.0)
        # The conjugate: a line at f has its detections where f t is whole.
        out[int(since * bins_per_ps)] += np.complex64(
            complex(math.cos(turn), math.sin(turn))
        ).conjugate()
