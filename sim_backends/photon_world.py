"""The photon-counting bench behind the emulated instruments.

What the generator plays is what the time tagger registers, after the light
path. Instruments call `play`, `set_level`, `set_phase_v` and `tags`; nothing
else connects them. What is modelled is told in docs/explanation/photon_world.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scqc.core.clock import SimulatedClock
from scqc.core.errors import StateError
from scqc.core.rng import stream
from scqc.core.units import db_to_power_ratio
from sim_backends.optics import click_detectors as clicking
from sim_backends.optics.click_detectors import Events
from sim_backends.optics.counter_random import stream_keys
from sim_backends.optics.levers import AdjustableOptics, Place
from sim_backends.optics.photon_source import (
    detector_gain,
    driver_gain,
    full_scale_photons,
    launched_power_w,
    relative_phase_v,
)
from sim_backends.optics.pulse_pairs import (
    CENTRE,
    N_OUTCOMES,
    Optics,
    Pulses,
    SlowState,
    detect,
)
from sim_backends.optics.slow_drift import Cells, Channel, Walk, cell_length_s
from sim_backends.optics.tagger_clock import tagger_ps, tagger_seconds
from sim_backends.photon_settings import DETECTORS, PhotonSimSettings
from sim_backends.photon_truth import Scene, Truth, truth_of
from sim_backends.settings import Switch

CHUNK = 1 << 20
_LOGIC_HIGH_V = 0.8
_MIN_SAMPLES_PER_SLOT = 2.0
COUNTING_S = 1e-3
_SILENCE = np.zeros(1, dtype=np.float32)


class PhotonWorld(AdjustableOptics):
    """The virtual photon-counting laboratory.

    Parameters
    ----------
    settings : PhotonSimSettings
    keep_truth : bool
        Whether `truth` is filled; without it memory stays flat in long runs.

    Attributes
    ----------
    clock : SimulatedClock
        Bench time; advances with what is acquired.
    truth : list
        Truth tap, for tests: one `Truth` per acquisition.
    """

    def __init__(self, settings: PhotonSimSettings, keep_truth: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self._keep_truth = keep_truth
        self.clock = SimulatedClock()
        self.truth: list[Truth] = []
        self._levels_v: dict[Switch, float] = {"signal": 0.0, "lo": 0.0}
        self._phase_v = 0.0
        self._number = 0
        self._waveform = (_SILENCE, _SILENCE)
        self._basis_v: NDArray[np.float32] | None = None
        self._samples_per_slot = _MIN_SAMPLES_PER_SLOT
        self._n_slots = 0
        seed, optics = settings.seed, settings.interferometer
        modulator, bias = settings.phase_modulator, settings.intensity_modulator
        self._channel = Channel(seed, settings.channel)
        self._bias = Walk(
            seed, "im/bias", bias.bias_drift_rad_per_sqrt_s, bias.bias_rad
        )
        self._phases = tuple(
            Walk(seed, name, rate)
            for name, rate in (
                ("interferometer/phase", optics.drift_rad_per_sqrt_s),
                ("interferometer/x", optics.differential_drift_rad_per_sqrt_s),
                ("pm/phase", modulator.drift_rad_per_sqrt_s),
            )
        )

    def play(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Start the generator.

        The waveform starts anew, once, a random delay after the beginning of
        every acquisition until `stop`; before and after it the outputs are 0 V.
        Slot k of the laser covers the samples from k r to (k + 1) r, r being
        `rate_hz` over the laser's pulse rate; the modulators act with the
        samples at one and at three quarters of the slot.

        Parameters
        ----------
        samples_v : ndarray, shape (2, n), float32 [V]
            Signals of the intensity and of the phase modulator; not copied, the
            caller leaves them as they are.
        rate_hz : float
            Sample rate of the generator [Sa/s].

        Raises
        ------
        StateError
            If `samples_v` is not of that shape and type, or the rate does not
            give two samples per slot.
        """
        if samples_v.ndim != 2 or samples_v.shape[0] != 2:
            raise StateError("world", "play", f"shape {samples_v.shape}, not (2, n)")
        if samples_v.dtype != np.float32:
            raise StateError("world", "play", f"{samples_v.dtype}, not float32")
        if not np.isfinite(samples_v).all():
            raise StateError("world", "play", "samples that are no numbers")
        samples_per_slot = rate_hz / self.settings.source.pulse_rate_hz
        if not _MIN_SAMPLES_PER_SLOT <= samples_per_slot < math.inf:
            raise StateError(
                "world",
                "play",
                f"{rate_hz:g} Sa/s are {samples_per_slot:g} samples per slot of "
                f"{self.settings.source.pulse_rate_hz:g} Hz, fewer than 2",
            )
        im_v, pm_v = (np.require(row, np.float32, ["C", "W"]) for row in samples_v)
        self._waveform = (im_v, pm_v)
        self._samples_per_slot = samples_per_slot
        # A part of a slot at the end carries no pulse pair.
        self._n_slots = math.floor(samples_v.shape[1] / samples_per_slot * (1 + 1e-12))

    def play_basis(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Start the generator of Bob's modulator, together with Alice's.

        Parameters
        ----------
        samples_v : ndarray, shape (n,), float32 [V]
        rate_hz : float
            Must be that of Alice's generator [Sa/s].

        Raises
        ------
        StateError
            If nothing else is played, or at another rate.
        """
        per_slot = rate_hz / self.settings.source.pulse_rate_hz
        if not self._n_slots or abs(per_slot - self._samples_per_slot) > 1e-9:
            raise StateError(
                "world",
                "play_basis",
                f"{per_slot:g} samples per slot, Alice plays "
                f"{self._samples_per_slot:g} in {self._n_slots} slots",
            )
        self._basis_v = samples_v

    def stop(self) -> None:
        """Stop the generators: 0 V on all outputs; the laser goes on."""
        self._basis_v = None
        self._waveform = (_SILENCE, _SILENCE)
        self._n_slots = 0

    def set_level(self, switch: Switch, volts: float) -> None:
        """Drive a shutter's TTL input; it is open above 0.8 V.

        ``signal`` is in front of the channel. There is no local oscillator in
        this laboratory: ``lo`` moves a shutter that light does not pass.
        """
        if switch not in self._levels_v:
            raise StateError("world", "set_level", f"no switch named {switch!r}")
        self._levels_v[switch] = volts

    def set_phase_v(self, volts: float) -> None:
        """Drive Bob's phase shifter, from the next acquisition on [V]."""
        if not math.isfinite(volts):
            raise StateError("world", "set_phase_v", f"{volts} V is not finite")
        self._phase_v = volts

    def tags(
        self, duration_s: float, chunk: int = CHUNK
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Acquire for `duration_s` and let bench time pass.

        Parameters
        ----------
        duration_s : float
            Length of the acquisition, by the tagger's clock [s].
        chunk : int
            Slots walked through at a time; changes nothing but memory [1].

        Returns
        -------
        times_ps : ndarray, shape (n,), int64 [ps]
            Since the start of the acquisition, by the tagger's clock; rising.
        detectors : ndarray, shape (n,), uint8 [0 to 3 for z0, z1, x0, x1]
        """
        if not 0.0 < duration_s < math.inf or chunk < 1:
            raise StateError("world", "tags", f"{duration_s} s, chunk {chunk}")
        scene = self._scene(duration_s)
        found = enumerate(self._photons(scene, chunk))
        clicked = [self._clicks(detector, scene, events) for detector, events in found]
        sigma_ps = 1e12 * self.settings.detectors.jitter_s
        bench_ps = np.concatenate(
            [
                clicking.jitter(
                    events,
                    sigma_ps,
                    self.settings.seed,
                    f"detector/{name}/jitter/{self._number}",
                )
                for name, events in zip(DETECTORS, clicked, strict=True)
            ]
        )
        detectors = np.repeat(
            np.arange(4, dtype=np.uint8), [events.causes.size for events in clicked]
        )
        late_ps = 1e12 * np.array(self.settings.detectors.delay_s)[detectors]
        times_ps = tagger_ps(bench_ps + late_ps, scene.cells.t0_s, self.settings.tagger)
        order = np.argsort(times_ps, kind="stable")
        inside = (times_ps >= 0) & (times_ps < round(1e12 * duration_s))
        order = order[inside[order]]
        if self._keep_truth:
            tagged = (order, detectors)
            ratio = tagger_seconds(scene.cells.t0_s, self.settings.tagger)
            self.truth.append(truth_of(scene, clicked, bench_ps, tagged, ratio))
        self._number += 1
        self.clock.advance(duration_s + self.settings.tagger.pause_s)
        return times_ps[order], detectors[order]

    def _scene(self, duration_s: float) -> Scene:
        """Let the slow quantities move on; freeze everything for one acquisition."""
        seed, number, now_s = self.settings.seed, self._number, self.clock.now_s()
        tagger = self.settings.tagger
        # A slow tagger's second is longer than the bench's: look far enough.
        drift_ppm = abs(tagger.clock_drift_ppm_per_s) * (now_s + duration_s)
        stretch = 1.0 + 1e-6 * (abs(tagger.clock_error_ppm) + drift_ppm) * 1.001
        length_s = duration_s * stretch + 10.0 * self.settings.detectors.jitter_s
        cell_s = cell_length_s(self.settings.channel.fading)
        cells = Cells(number, now_s, cell_s, max(1, math.ceil(length_s / cell_s)))
        start = stream(seed, f"tagger/start/{number}")
        pulses = Pulses(
            self._waveform[0],
            relative_phase_v(self.settings, self._waveform[1], self._basis_v),
            self._samples_per_slot,
            self._n_slots,
            float(start.uniform(*tagger.start_offset_s)),
            1.0 / self.settings.source.pulse_rate_hz,
        )
        return Scene(pulses, self._optics(), self._slow(cells), cells, seed)

    def power_w(self, place: Place) -> float:
        """Return the mean power of what is played, launched or at the receiver [W].

        The generator repeats its waveform while a power meter looks, and the
        modulator is where it is biased, without drift.
        """
        bias_rad = self._held_rad
        if not self.levers.bias_locked:
            bias_rad += self.settings.intensity_modulator.bias_rad
        launched_w = launched_power_w(
            self._optics(),
            self._waveform[0][:CHUNK],
            bias_rad,
            self.settings.source.pulse_rate_hz,
        )
        if place == "launch":
            return launched_w
        cells = Cells(self._number, self.clock.now_s(), 1.0, 1)
        return launched_w * float(self._shutter() * self._channel.transmittance(cells))

    def count_rate_hz(self, detector: int) -> float:
        """Count a detector's clicks for `COUNTING_S` of bench time [counts/s]."""
        _, detectors = self.tags(COUNTING_S)
        return float(np.count_nonzero(detectors == detector) / COUNTING_S)

    @property
    def _held_rad(self) -> float:
        """Phase that a bias controller adds to the intensity modulator's [rad]."""
        v_pi_v = self.settings.intensity_modulator.v_pi_v
        return 0.5 * math.pi * self.levers.bias_v / v_pi_v

    def _shutter(self) -> float:
        """Return the transmittance [1] of the shutter in front of the channel."""
        if self._levels_v["signal"] > _LOGIC_HIGH_V:
            return 1.0
        isolation_db = self.settings.channel.shutter_isolation_db
        return db_to_power_ratio(-isolation_db) if isolation_db else 0.0

    def _optics(self) -> Optics:
        settings = self.settings
        im, pm = settings.intensity_modulator, settings.phase_modulator
        front, source = settings.interferometer, settings.source
        extinction_db = im.extinction_ratio_db
        loss = db_to_power_ratio(-front.insertion_loss_db)
        z = front.z_fraction
        return Optics(
            full_scale_photons=full_scale_photons(source, self.levers),
            fluctuation=source.intensity_fluctuation,
            im_rad_per_v=0.5 * math.pi * driver_gain(im.driver_gain_db) / im.v_pi_v,
            pm_rad_per_v=math.pi * driver_gain(pm.driver_gain_db) / pm.v_pi_v,
            leak=db_to_power_ratio(-extinction_db) if extinction_db else 0.0,
            pattern=im.pattern_effect,
            visibility=front.visibility,
            efficiency=loss
            * np.array([z, z, 1.0 - z, 1.0 - z])
            * np.array(settings.detectors.efficiency)
            * detector_gain(self.levers),
            keys=stream_keys(settings.seed, f"photons/{self._number}", 4),
        )

    def _slow(self, cells: Cells) -> SlowState:
        front = self.settings.interferometer
        common, differential, alice = (walk.values(cells) for walk in self._phases)
        modulator_bias = self._bias.values(cells)
        if self.levers.bias_locked:
            modulator_bias = np.zeros_like(modulator_bias)
        modulator_bias += self._held_rad
        shared = (
            common
            + alice
            + self.settings.phase_modulator.phase_offset_rad
            - front.phase_shifter_rad_per_v * self._phase_v
        )
        return SlowState(
            cells.cell_s,
            self._shutter() * self._channel.transmittance(cells),
            modulator_bias,
            shared + front.z_offset_rad,
            shared + differential + front.x_offset_rad,
        )

    def _photons(self, scene: Scene, chunk: int) -> list[Events]:
        """Return the photons that reach each detector."""
        pulses, length_s = scene.pulses, scene.cells.count * scene.cells.cell_s
        first = math.floor(-pulses.start_s / pulses.slot_s) - 1
        last = math.ceil((length_s - pulses.start_s) / pulses.slot_s) + 1
        room = max(chunk // 8, N_OUTCOMES)
        slots, outcomes = np.empty(room, np.int64), np.empty(room, np.uint8)
        found: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = []
        while first < last:
            span = (first, min(first + chunk, last))
            n, first = detect(span, pulses, scene.optics, scene.slow, (slots, outcomes))
            found.append((slots[:n].copy(), outcomes[:n].copy()))
        scene.slots = np.concatenate([part[0] for part in found])
        scene.outcomes = np.concatenate([part[1] for part in found])
        # Windows early, centre, late: at the beginning, middle, end of a slot.
        at = scene.slots + 0.5 + 0.5 * (scene.outcomes.astype(np.int64) % 3 - CENTRE)
        times_ps = 1e12 * (pulses.start_s + pulses.slot_s * at)
        return [_at_detector(d, times_ps, scene.outcomes) for d in range(4)]

    def _clicks(self, detector: int, scene: Scene, photons: Events) -> Events:
        """Add what else reaches one detector; return what it clicks at."""
        settings, cells = self.settings.detectors, scene.cells
        name = DETECTORS[detector]
        blinded = name == settings.blinding_detector
        # Half of the stray light of a basis goes to each port.
        share = 0.5 * float(scene.optics.efficiency[detector])
        rates = (
            (clicking.DARK, np.full(cells.count, settings.dark_rate_hz[detector])),
            (clicking.BACKGROUND, share * self._channel.background_hz(cells)),
            (
                clicking.BLINDING,
                np.full(cells.count, blinded * settings.blinding_rate_hz),
            ),
        )
        parts = [photons]
        for cause, rate_hz in rates:
            random = stream(
                self.settings.seed, f"detector/{name}/{cause}/{cells.number}"
            )
            parts.append(clicking.poisson_events(random, rate_hz, cells, cause))
        recovery = clicking.Recovery(
            1e12 * settings.dead_time_s,
            settings.afterpulse_probability,
            1e12 * settings.afterpulse_decay_s,
        )
        return clicking.clicks(
            clicking.merge(parts),
            recovery,
            self.settings.seed,
            f"detector/{name}/afterpulse/{cells.number}",
        )


def _at_detector(
    detector: int, times_ps: NDArray[np.float64], outcomes: NDArray[np.uint8]
) -> Events:
    """Pick the photon events of one detector."""
    index = np.flatnonzero(outcomes // 3 == detector)
    return Events(
        times_ps[index],
        np.full(index.size, clicking.PHOTON, dtype=np.uint8),
        index.astype(np.int64),
    )
