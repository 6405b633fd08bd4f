"""Finding a burst: pilots, clock and frame start from the first samples.

Order matters. The pilots give the beat frequency without knowing the frame;
their phase difference gives the clock error; with both known, the preamble is
correlated as a complex waveform, stretched to the receiver's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dsp.framing import preamble_replica, preamble_span_s
from dsp.kernels import unwrapped_angle
from dsp.phase import PhaseNoise, estimate_phase_noise
from dsp.pilots import combine, pilot_filters
from dsp.settings import FrameLayout, QpskPreamble, ReceiverSettings
from scqc.core.errors import LockError, SyncError

# Fewer samples hold neither a preamble nor the pilots' phase.
SHORTEST_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything the streaming receiver needs to start.

    Parameters
    ----------
    pilots_hz : tuple of float
        Received frequencies of strong and weak pilot [Hz, receiver clock].
    clock_ppm : float
        By how much the transmitter's clock runs faster than the receiver's [ppm].
    clock_sigma_ppm : float
        Standard deviation of `clock_ppm` from the fit's residuals [ppm].
    first_symbol_sample : float
        Centre of data symbol 0 [sample].
    pilot_difference_rad : float
        Phase of the weak pilot minus that of the strong one at sample 0 [rad].
    sync_ratio : float
        Preamble correlation peak over the rms of the correlation [1].
    phase_noise : PhaseNoise
        Of the strong pilot, per hop of the pilot filter.
    pilot_snr_db : float
        Strong pilot over noise, per symbol [dB].
    """

    pilots_hz: tuple[float, float]
    clock_ppm: float
    clock_sigma_ppm: float
    first_symbol_sample: float
    pilot_difference_rad: float
    sync_ratio: float
    phase_noise: PhaseNoise
    pilot_snr_db: float


def acquire(
    samples: NDArray[np.float32],
    rate_hz: float,
    layout: FrameLayout,
    settings: ReceiverSettings,
) -> Lock:
    """Find pilots, clock and frame start.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32 [code]
        First part of a record, long enough to hold the whole preamble.
    rate_hz : float
        Nominal sample rate [Sa/s].

    Returns
    -------
    Lock

    Raises
    ------
    LockError
        No pilot pair, or pilots too weak.
    SyncError
        No preamble.
    """
    pilots_hz = find_pilots(samples, rate_hz, layout, settings)
    strong, weak = pilot_filters(pilots_hz, rate_hz, settings)
    tones = strong.run(samples), weak.run(samples)
    hops = strong.half + strong.hop * np.arange(tones[0].size, dtype=np.float64)
    active = _active(tones[0])
    clock_ppm, sigma_ppm, difference_rad, weak_hz = _clock(
        tones, hops / rate_hz, active, pilots_hz, layout.pilots_hz
    )
    if abs(clock_ppm) > settings.clock_search_ppm:
        raise LockError(
            f"clock: pilot spacing is off by {clock_ppm:.1f} ppm, limit "
            f"{settings.clock_search_ppm:g} ppm"
        )
    tone = tones[0]
    if settings.combine_pilots:
        drift = (weak_hz - pilots_hz[1]) * hops / rate_hz
        aligned = (tones[1] * np.exp(-2j * np.pi * drift)).astype(np.complex64)
        tone = combine((tone, aligned), difference_rad)
    phase, slope_rad = _steady_phase(tone, hops, active)
    shift_hz = slope_rad * rate_hz / (2.0 * math.pi)
    pilots_hz = (pilots_hz[0] + shift_hz, weak_hz + shift_hz)
    noise = _phase_noise(phase[active], strong.noise_bandwidth_ratio)
    hops_per_symbol = rate_hz / (strong.hop * layout.symbol_rate_hz)
    snr_db = 10.0 * math.log10(hops_per_symbol / (2.0 * noise.measurement_rad2))
    if snr_db < settings.min_pilot_snr_db:
        raise LockError(
            f"pilots: strong pilot {snr_db:.1f} dB over the noise per symbol, limit "
            f"{settings.min_pilot_snr_db:g} dB"
        )
    carrier = _carrier(samples, rate_hz, layout, pilots_hz[0], clock_ppm)
    if isinstance(layout.preamble, QpskPreamble):
        held = np.interp(np.arange(samples.size), hops, phase)
        carrier = carrier * np.exp(-1j * held)
    first, ratio = _frame_start(carrier, rate_hz, layout, settings, clock_ppm)
    return Lock(
        pilots_hz,
        clock_ppm,
        sigma_ppm,
        first,
        difference_rad,
        ratio,
        noise,
        snr_db,
    )


def find_pilots(
    samples: NDArray[np.float32],
    rate_hz: float,
    layout: FrameLayout,
    settings: ReceiverSettings,
) -> tuple[float, float]:
    """Return the received frequencies of strong and weak pilot [Hz].

    The pair is searched together: the spacing is known to the clock error, the
    common offset only to the search range of the beat.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32 [code]

    Raises
    ------
    LockError
        No pair stands out of the noise.
    """
    n = samples.size
    if n < SHORTEST_SAMPLES:
        raise LockError(
            f"pilots: {n} samples to search them in, at least {SHORTEST_SAMPLES} are "
            "needed"
        )
    window = np.hanning(n).astype(np.float32)
    power = np.abs(scipy.fft.rfft(samples * window)) ** 2
    bin_hz = rate_hz / n
    # Phase noise spreads a tone over several bins; sum what belongs together.
    width = max(3, round(40e3 / bin_hz) | 1)
    smooth = np.convolve(power, np.ones(width), mode="same")
    search = math.ceil(settings.beat_search_hz / bin_hz)
    offsets = np.arange(-search, search + 1)
    centres = [
        round((settings.beat_hz + pilot_hz) / bin_hz) for pilot_hz in layout.pilots_hz
    ]
    for name, centre in zip(("strong", "weak"), centres, strict=True):
        if not search < centre < power.size - search:
            raise LockError(
                f"{name} pilot: expected at {centre * bin_hz:g} Hz, outside the "
                f"digitiser's band 0 to {0.5 * rate_hz:g} Hz"
            )
    score = smooth[centres[0] + offsets] * smooth[centres[1] + offsets]
    best = int(offsets[np.argmax(score)])
    floor = width * float(np.median(power))
    peaks = []
    for name, centre in zip(("strong", "weak"), centres, strict=True):
        at = centre + best
        # A dead record has no noise floor either.
        above = float(smooth[at]) / floor if floor > 0.0 else 0.0
        if above < 30.0:
            raise LockError(
                f"{name} pilot: no tone within {settings.beat_search_hz:g} Hz of "
                f"{centre * bin_hz:.4g} Hz ({above:.3g} x the noise floor, limit 30 x)"
            )
        near = power[at - width : at + width + 1]
        grid = np.arange(at - width, at + width + 1)
        strong = near > 0.05 * near.max()
        peaks.append(float(np.sum(grid[strong] * near[strong]) / near[strong].sum()))
    return peaks[0] * bin_hz, peaks[1] * bin_hz


def _steady_phase(
    tone: NDArray[np.complex64],
    hops: NDArray[np.float64],
    active: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], float]:
    """Return the pilot's phase without its slope [rad], and the slope [rad/sample].

    The spectral peak is good to a kilohertz; the phase's slope to a few hertz.
    """
    phase = np.empty(tone.size)
    unwrapped_angle(tone, 0.0, phase)
    slope = float(np.polyfit(hops[active], phase[active], 1)[0])
    phase -= slope * hops
    return phase, slope


def _phase_noise(steady_rad: NDArray[np.float64], bandwidth_ratio: float) -> PhaseNoise:
    """Measure the phase noise where the pilot is on.

    The smoother works far inside the filter's pass band: what counts is the noise
    density there, not the variance that the filter lets through.
    """
    if steady_rad.size < 1024:
        raise LockError(
            f"pilots: only {steady_rad.size} hops carry the strong pilot; at least "
            "1024 are needed to measure its phase noise"
        )
    seen = estimate_phase_noise(steady_rad)
    return PhaseNoise(seen.step_rad2, seen.measurement_rad2 / bandwidth_ratio)


def _active(tone: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Mark the hops during which the pilot is on, its edges left out."""
    amplitude = np.abs(tone)
    on = amplitude > 0.5 * np.quantile(amplitude, 0.95)
    margin = 32
    kernel = np.ones(2 * margin + 1)
    kept: NDArray[np.bool_] = np.convolve(on, kernel, mode="same") > 2 * margin + 0.5
    return kept


def _clock(
    tones: tuple[NDArray[np.complex64], NDArray[np.complex64]],
    hops_s: NDArray[np.float64],
    active: NDArray[np.bool_],
    pilots_hz: tuple[float, float],
    nominal_hz: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Fit the phase difference of the pilots.

    The laser's phase is common to both tones and drops out. Returns the clock
    error and its sigma [ppm], the difference at sample 0 [rad] and the weak
    pilot's frequency [Hz] that goes with the strong one's.
    """
    beat = (tones[1] * np.conj(tones[0]))[active]
    time = hops_s[active]
    if beat.size < 64:
        raise LockError(
            f"clock: only {beat.size} hops carry both pilots, at least 64 are needed"
        )
    n_blocks = 64
    size = beat.size // n_blocks
    blocks = beat[: size * n_blocks].reshape(n_blocks, size).mean(axis=1)
    centres = time[: size * n_blocks].reshape(n_blocks, size).mean(axis=1)
    phase = np.unwrap(np.angle(blocks))
    origin = float(centres.mean())
    slope, offset = np.polyfit(centres - origin, phase, 1)
    residual = phase - slope * (centres - origin) - offset
    spread = math.sqrt(
        float(residual @ residual)
        / (n_blocks - 2)
        / float(np.sum((centres - origin) ** 2))
    )
    spacing_hz = nominal_hz[1] - nominal_hz[0]
    received_hz = pilots_hz[1] - pilots_hz[0] + slope / (2 * np.pi)
    ppm = 1e6 * (received_hz / spacing_hz - 1.0)
    sigma_ppm = 1e6 * spread / (2 * np.pi * abs(spacing_hz))
    weak_hz = pilots_hz[0] + received_hz
    return float(ppm), sigma_ppm, float(offset - slope * origin), float(weak_hz)


def _carrier(
    samples: NDArray[np.float32],
    rate_hz: float,
    layout: FrameLayout,
    pilot_hz: float,
    clock_ppm: float,
) -> NDArray[np.complex128]:
    """Mix the record down so that the transmitter's carrier stands at zero."""
    carrier_hz = pilot_hz - layout.pilots_hz[0] * (1.0 + 1e-6 * clock_ppm)
    turns = np.arange(samples.size) * (carrier_hz / rate_hz)
    mixed: NDArray[np.complex128] = samples * np.exp(-2j * np.pi * (turns % 1.0))
    return mixed


def _frame_start(
    carrier: NDArray[np.complex128],
    rate_hz: float,
    layout: FrameLayout,
    settings: ReceiverSettings,
    clock_ppm: float,
) -> tuple[float, float]:
    """Correlate with the preamble: (centre of symbol 0 [sample], peak ratio)."""
    start_s, stop_s = preamble_span_s(layout)
    scale = (1.0 + 1e-6 * clock_ppm) / rate_hz
    n_replica = math.ceil((stop_s - start_s) / scale) + 1
    if n_replica >= carrier.size:
        raise SyncError(
            f"preamble: {n_replica} samples long, but only {carrier.size} samples "
            "were recorded for acquisition"
        )

    time_s = start_s + scale * np.arange(n_replica, dtype=np.float64)
    replica = preamble_replica(layout, time_s)
    size = scipy.fft.next_fast_len(carrier.size + n_replica)
    spectrum = scipy.fft.fft(carrier, size)
    template = scipy.fft.fft(replica, size)
    full = scipy.fft.ifft(spectrum * np.conj(template))[: carrier.size - n_replica + 1]
    correlation = np.abs(full)
    at = int(np.argmax(correlation))
    # The median is blind to the peak, which must not raise its own threshold.
    rms = math.sqrt(float(np.median(correlation**2)) / math.log(2.0))
    ratio = float(correlation[at]) / rms if rms > 0.0 else math.inf
    if ratio < settings.sync_threshold:
        raise SyncError(
            f"preamble: correlation peak {ratio:.1f} x the noise, limit "
            f"{settings.sync_threshold:g} x: no frame in the record"
        )
    return at + _peak_fraction(full, at) - start_s / scale, ratio


def _peak_fraction(correlation: NDArray[np.complex128], at: int) -> float:
    """Return where between the samples the correlation peaks [sample].

    The correlation is band-limited like the record, so its complex samples are
    interpolated by a windowed sine cardinal; three ever smaller parabolas find
    the maximum of its magnitude.
    """
    reach = 32
    if not reach <= at < correlation.size - reach:
        raise SyncError(
            f"preamble: found at sample {at}, too close to the edge of the record "
            f"(limit {reach} samples)"
        )
    near = correlation[at - reach : at + reach + 1]
    offset = np.arange(-reach, reach + 1)

    def magnitude(fraction: float) -> float:
        distance = fraction - offset
        window = np.cos(0.5 * np.pi * distance / (reach + 2.0)) ** 2
        return float(abs(np.sum(near * np.sinc(distance) * window)))

    fraction, step = 0.0, 0.5
    for _ in range(4):
        left, centre, right = (magnitude(fraction + d) for d in (-step, 0.0, step))
        curvature = left - 2.0 * centre + right
        if curvature >= 0.0:
            raise SyncError("preamble: the correlation has no clean peak")
        fraction += min(1.0, max(-1.0, 0.5 * step * (left - right) / curvature))
        step *= 0.5
    return fraction
