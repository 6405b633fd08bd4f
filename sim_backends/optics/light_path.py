"""From the generator's volts to the detector's volts, piece by piece.

A record is rendered in pieces of `CHUNK` samples with constant memory. Every
noise is addressed by the sample's index on one axis that runs through the
whole session, so the pieces' size changes nothing, and switching one effect on
leaves the noise of the others as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scqc.core.units import db_to_power_ratio, fibre_transmittance
from sim_backends.optics import filters, receiver
from sim_backends.optics.levers import AS_SET, Levers, Nominal
from sim_backends.optics.modulator import (
    IqModulator,
    add_intensity_noise,
    field_amplitude,
    relative_intensity_rms,
)
from sim_backends.optics.noise import BandNoise, Wander, WienerPhase, ramp
from sim_backends.optics.normals import NormalStream
from sim_backends.optics.trigonometry import rotate
from sim_backends.optics.waveform import PlayedWaveform, SamplingInstants
from sim_backends.settings import SimSettings

Floats = NDArray[np.float32]
CHUNK = 1 << 16
# Room between records on the noise axis, for the reach of every filter.
GAP_SAMPLES = 1 << 13


@dataclass(frozen=True)
class Exposure:
    """What one record sees.

    Parameters
    ----------
    cursor : int
        Index of the record's first sample on the noise axis [1].
    n_samples : int
    t0_s : float
        Bench time of the first sample [s].
    signal_open, lo_open : bool
        The shutters.
    instants : tuple of SamplingInstants or None
        Where the generator's I and Q are sampled; None while it is stopped.
    levers : Levers
        What optical instruments do to the light.
    """

    cursor: int
    n_samples: int
    t0_s: float
    signal_open: bool
    lo_open: bool
    instants: tuple[SamplingInstants, SamplingInstants] | None
    levers: Levers = AS_SET


def nominal(settings: SimSettings) -> Nominal:
    """Return the light of these settings, from which the levers move it."""
    return Nominal(
        settings.laser.power_dbm,
        settings.lo.power_dbm,
        settings.laser.wavelength_nm,
        settings.receiver.beat_hz,
        settings.attenuator_db,
    )


def launched_power_w(
    settings: SimSettings, levers: Levers, played_v: NDArray[np.float32]
) -> float:
    """Return the mean power behind the attenuator while a waveform repeats [W].

    Parameters
    ----------
    settings : SimSettings
    levers : Levers
    played_v : ndarray, shape (2, n), float32 [V]
        I and Q at the generator.
    """
    # Any rate will do: it cancels between the field and its power.
    rate_hz = 1e9
    re, im = (np.array(row[:CHUNK], dtype=np.float32) for row in played_v)
    bias_i, bias_q = np.zeros((2, re.size), dtype=np.float32)
    if not levers.bias_locked:
        modulator = settings.modulator
        held_rad = 0.5 * math.pi * levers.bias_v / modulator.v_pi_v
        bias_i += np.float32(held_rad + modulator.bias_i_rad)
        bias_q += np.float32(held_rad + modulator.bias_q_rad)
    IqModulator(settings, rate_hz).modulate((re, im), (bias_i, bias_q))
    mean = float(np.mean(re.astype(np.float64) ** 2 + im.astype(np.float64) ** 2))
    amplitude = levers.signal_amplitude(nominal(settings))
    one_w = field_amplitude(1.0, settings.laser.wavelength_nm, rate_hz)
    return mean * (amplitude / one_w) ** 2


class LightPath:
    """Modulator, fibre and receiver at one sample rate.

    Parameters
    ----------
    settings : SimSettings
    rate_hz : float
        Nominal rate of the digitiser [Sa/s].
    """

    def __init__(self, settings: SimSettings, rate_hz: float) -> None:
        self.settings, self.rate_hz = settings, rate_hz
        seed, channel = settings.seed, settings.channel
        self._modulator = IqModulator(settings, rate_hz)
        self._rin_rms = relative_intensity_rms(settings.laser.rin_db_per_hz, rate_hz)
        self._lo_rms = receiver.lo_noise_rms(settings, rate_hz)
        self._rin = NormalStream(seed, "laser/rin")
        self._lo_rin = NormalStream(seed, "lo/rin")
        self._shot = NormalStream(seed, "receiver/shot")
        self._electronic = NormalStream(seed, "receiver/electronic")
        self._excess = BandNoise(
            seed, "channel/excess", channel.noise_band_width_hz, rate_hz
        )
        drift = settings.modulator.bias_drift_rad_per_sqrt_s
        self._bias = (
            Wander(seed, "modulator/bias_i", drift, settings.modulator.bias_i_rad),
            Wander(seed, "modulator/bias_q", drift, settings.modulator.bias_q_rad),
        )
        self._polarisation = Wander(
            seed,
            "channel/polarisation",
            channel.polarisation_drift_rad_per_sqrt_s,
            channel.polarisation_rad,
        )
        self._lasers = (
            WienerPhase(seed, "laser/phase", settings.laser.linewidth_hz),
            WienerPhase(seed, "lo/phase", settings.lo.linewidth_hz),
        )
        self._dispersion = self._dispersion_taps()
        self._low_pass: filters.Taps | None = None
        if settings.receiver.bandwidth_hz > 0.0:
            self._low_pass = filters.low_pass(settings.receiver.bandwidth_hz, rate_hz)

    def _dispersion_taps(self) -> filters.Taps | None:
        channel = self.settings.channel
        phase_s2 = filters.dispersion_phase_s2(
            channel.dispersion_ps_per_nm_km,
            channel.length_km,
            self.settings.laser.wavelength_nm,
        )
        return filters.dispersion(phase_s2, self.rate_hz) if phase_s2 else None

    def render(
        self,
        exposure: Exposure,
        played: tuple[PlayedWaveform, PlayedWaveform] | None,
        chunk: int = CHUNK,
    ) -> Floats:
        """Return the detector's output voltage.

        Parameters
        ----------
        exposure : Exposure
        played : tuple of PlayedWaveform or None
            I and Q of the generator; needed when `exposure.instants` is given.
        chunk : int
            Samples rendered at a time; changes nothing but memory [1].

        Returns
        -------
        ndarray, shape (n_samples,), float32 [V]
        """
        scene = _Scene(self, exposure, played)
        out = np.zeros(exposure.n_samples, dtype=np.float32)
        for low in range(0, out.size, chunk):
            scene.render(low, out[low : low + chunk])
        if scene.lit:
            for laser in self._lasers:
                laser.end(exposure.t0_s + exposure.n_samples / self.rate_hz)
        return out


class _Scene:
    """One record in the making: the slow quantities, then piece after piece."""

    def __init__(
        self,
        path: LightPath,
        exposure: Exposure,
        played: tuple[PlayedWaveform, PlayedWaveform] | None,
    ) -> None:
        self._path, self._exposure, self._played = path, exposure, played
        levers, light = exposure.levers, nominal(path.settings)
        self._launched = np.float32(levers.signal_amplitude(light))
        self._lo = levers.lo_amplitude(light)
        self._beat_hz = levers.beat_hz(light)
        span = (exposure.t0_s, exposure.n_samples, path.rate_hz)
        self._bias = self._bias_phases([w.knots(*span) for w in path._bias])
        self._gain = self._path_gain(path._polarisation.knots(*span))
        for laser in path._lasers:
            laser.begin(exposure.t0_s, path.rate_hz)
        self._beat, self._band = self._carriers()
        self._lo_lit = exposure.lo_open and self._lo > 0.0
        self.lit = self._lo_lit and bool(np.any(self._gain))
        self._tail = np.zeros(0, dtype=np.float32)
        self._tail_end: int | None = None

    def _bias_phases(
        self, drifting: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        """Return the arms' bias phases at the knots, as a controller holds them."""
        levers = self._exposure.levers
        if levers.bias_locked:
            return [np.zeros_like(phase) for phase in drifting]
        held_rad = 0.5 * math.pi * levers.bias_v / self._path.settings.modulator.v_pi_v
        return [phase + held_rad for phase in drifting]

    def _path_gain(self, angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return launched field to photocurrent, at the knots."""
        settings = self._path.settings
        channel, front = settings.channel, settings.receiver
        gain = receiver.detection_gain(front.efficiency) * math.sqrt(
            fibre_transmittance(channel.length_km, channel.attenuation_db_per_km)
        )
        if not self._exposure.signal_open:
            isolation_db = front.shutter_isolation_db
            gain *= math.sqrt(db_to_power_ratio(-isolation_db)) if isolation_db else 0.0
        turned_rad = channel.polarisation_rad_per_v * (
            self._exposure.levers.polarisation_v
        )
        return gain * np.cos(angle_rad + turned_rad)

    def _carriers(
        self,
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the beat note and the centre of the noise band, in turns."""
        settings, t0_s = self._path.settings, self._exposure.t0_s
        front, clock = settings.receiver, settings.digitizer
        rate_hz = self._path.rate_hz
        ppm = clock.clock_error_ppm + clock.clock_drift_ppm_per_s * t0_s
        sample_s = (1.0 + 1e-6 * ppm) / rate_hz
        stretch = 0.5e-6 * clock.clock_drift_ppm_per_s / rate_hz**2

        def turns(nominal_hz: float) -> tuple[float, float, float]:
            start_hz = nominal_hz + front.lo_drift_hz_per_s * t0_s
            phase = nominal_hz * t0_s + 0.5 * front.lo_drift_hz_per_s * t0_s**2
            chirp = 0.5 * front.lo_drift_hz_per_s * sample_s**2
            return phase % 1.0, start_hz * sample_s, start_hz * stretch + chirp

        beat_hz = self._beat_hz + front.lo_offset_error_hz
        return turns(beat_hz), turns(beat_hz + settings.channel.noise_band_centre_hz)

    def render(self, low: int, out: Floats) -> None:
        """Write samples ``low, low + 1, ...`` of the record [V]."""
        path, front = self._path, self._path.settings.receiver
        if self._lo_lit:
            taps = path._low_pass
            if taps is None:
                out += self._photocurrent(low, out.size)
            else:
                x = self._stretch(low, low + out.size, taps)
                filters.correlate_add(x, np.asarray(taps.reversed_, np.float32), out)
            if self._lo != 1.0:
                # Beat and shot noise grow with the local oscillator's field.
                out *= np.float32(self._lo)
        if front.electronic_noise_snu > 0.0:
            noise = path._electronic.fill(self._exposure.cursor + low, _like(out))
            receiver.add_scaled(noise, math.sqrt(front.electronic_noise_snu), out)
        out *= np.float32(front.shot_noise_v_rms)

    def _stretch(self, low: int, high: int, taps: filters.Taps) -> Floats:
        """Return what samples [low, high) need; phases only ever run forward."""
        start, stop = low - taps.post, high + taps.pre
        end = start if self._tail_end is None else self._tail_end
        fresh = self._photocurrent(end, stop - end)
        x = np.concatenate([self._tail, fresh])
        self._tail, self._tail_end = x[x.size - taps.pre - taps.post :], stop
        return x

    def _photocurrent(self, start: int, n: int) -> Floats:
        """Return shot noise, local-oscillator noise and signal [shot-noise rms]."""
        path, cursor = self._path, self._exposure.cursor + start
        out = np.zeros(n, dtype=np.float32)
        if path.settings.receiver.shot_noise:
            path._shot.fill(cursor, out)
        if path._lo_rms > 0.0:
            noise = path._lo_rin.fill(cursor, _like(out))
            receiver.add_scaled(noise, path._lo_rms * self._lo, out)
        if self.lit:
            self._add_light(start, out)
        return out

    def _add_light(self, start: int, out: Floats) -> None:
        path, n = self._path, out.size
        gain, cosine, sine = np.empty((3, n), dtype=np.float32)
        ramp(self._gain, start, gain)
        phase = np.zeros(0)
        if any(laser.linewidth_hz > 0.0 for laser in path._lasers):
            phase = np.zeros(n)
            cursor = self._exposure.cursor + start
            for laser, sign in zip(path._lasers, (1.0, -1.0), strict=True):
                laser.add(cursor, sign, phase)
        rotate(self._beat, start, phase, (cosine, sine))
        receiver.mix(self._field(start, n), (cosine, sine), gain, out)
        xi = path.settings.channel.excess_noise_snu
        if xi > 0.0:
            gain *= np.float32(math.sqrt(xi))
            rotate(self._band, start, np.zeros(0), (cosine, sine))
            re, im = np.empty((2, n), dtype=np.float32)
            path._excess.fill(self._exposure.cursor + start, re, im)
            receiver.mix((re, im), (cosine, sine), gain, out)

    def _field(self, start: int, n: int) -> tuple[Floats, Floats]:
        """Return the launched field behind the fibre's dispersion [sqrt(SNU)]."""
        path, exposure = self._path, self._exposure
        taps = path._dispersion
        if taps is not None:
            start, n = start - taps.post, n + taps.pre + taps.post
        re, im, bias_i, bias_q = np.zeros((4, n), dtype=np.float32)
        if exposure.instants is not None and self._played is not None:
            self._played[0].fill(exposure.instants[0], start, re)
            self._played[1].fill(exposure.instants[1], start, im)
        ramp(self._bias[0], start, bias_i)
        ramp(self._bias[1], start, bias_q)
        path._modulator.modulate((re, im), (bias_i, bias_q))
        if path._rin_rms > 0.0:
            noise = path._rin.fill(exposure.cursor + start, bias_i)
            add_intensity_noise(re, im, noise, path._rin_rms)
        if self._launched != 1.0:
            re *= self._launched
            im *= self._launched
        return (re, im) if taps is None else filters.filter_complex(re, im, taps)


def _like(out: Floats) -> Floats:
    return np.empty(out.size, dtype=np.float32)
