"""The one bench behind every emulated instrument.

What the generator plays is what the digitiser sees, after the light path.
Instruments call `play`, `set_level` and `record`; nothing else connects them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scqc.core.clock import SimulatedClock
from scqc.core.errors import StateError
from scqc.core.rng import stream
from scqc.core.units import db_to_power_ratio, dbm_to_w, fibre_transmittance
from sim_backends.optics.levers import AdjustableOptics, Place
from sim_backends.optics.light_path import (
    CHUNK,
    GAP_SAMPLES,
    Exposure,
    LightPath,
    launched_power_w,
    nominal,
)
from sim_backends.optics.waveform import (
    PlayedWaveform,
    SamplingInstants,
    interpolation_table,
)
from sim_backends.settings import SimSettings, Switch

_LOGIC_HIGH_V = 0.8
_SHUTTERS: tuple[Switch, Switch] = ("signal", "lo")


class World(AdjustableOptics):
    """The virtual laboratory.

    Parameters
    ----------
    settings : SimSettings

    Attributes
    ----------
    clock : SimulatedClock
        Bench time; advances with what is recorded.
    played : list
        Truth tap, for tests: what the generator emulator was given to play.
    """

    def __init__(self, settings: SimSettings) -> None:
        super().__init__()
        self.settings = settings
        self.clock = SimulatedClock()
        self.played: list[NDArray[np.float32]] = []
        self._levels_v: dict[Switch, float] = {"signal": 0.0, "lo": 0.0}
        self._trigger = stream(settings.seed, "receiver/start")
        self._path: LightPath | None = None
        self._cursor = GAP_SAMPLES
        self._waveform: tuple[PlayedWaveform, PlayedWaveform] | None = None
        self._waveform_rate_hz = 0.0
        self._played_v = np.zeros((2, 1), dtype=np.float32)

    def play(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Start the generator.

        The waveform starts anew, once, a little after the beginning of every
        record until `stop`; before and after it the output is 0 V.

        Parameters
        ----------
        samples_v : ndarray, shape (2, n), float32 [V]
            I and Q as converted.
        rate_hz : float
            Sample rate of the generator [Sa/s].

        Raises
        ------
        StateError
            If `samples_v` is not of that shape and type, or the rate not positive.
        """
        if samples_v.ndim != 2 or samples_v.shape[0] != 2:
            raise StateError("world", "play", f"shape {samples_v.shape}, not (2, n)")
        if samples_v.dtype != np.float32 or not rate_hz > 0.0:
            raise StateError(
                "world", "play", f"{samples_v.dtype} at {rate_hz} Hz, not float32 > 0"
            )
        table = interpolation_table(self.settings.awg.bandwidth_hz / rate_hz)
        self._waveform = (
            PlayedWaveform(samples_v[0], table),
            PlayedWaveform(samples_v[1], table),
        )
        self._waveform_rate_hz = rate_hz
        self._played_v = samples_v

    def stop(self) -> None:
        """Stop the generator: 0 V on both outputs."""
        self._waveform = None
        self._played_v = np.zeros((2, 1), dtype=np.float32)

    def set_level(self, switch: Switch, volts: float) -> None:
        """Drive a shutter's TTL input; it is open above 0.8 V."""
        if switch not in self._levels_v:
            raise StateError("world", "set_level", f"no switch named {switch!r}")
        self._levels_v[switch] = volts

    def count_rate_hz(self, detector: int) -> float:
        """Return 0: nothing counts photons in this laboratory [counts/s]."""
        return 0.0

    def power_w(self, place: Place) -> float:
        """Return the mean power of what is played, launched or at the receiver [W].

        The generator repeats its waveform while a power meter looks.
        """
        launched_w = launched_power_w(self.settings, self.levers, self._played_v)
        if place == "launch":
            return launched_w
        settings = self.settings
        front, channel = settings.receiver, settings.channel
        oscillator = self.levers.lo_amplitude(nominal(settings)) ** 2
        lo_w = dbm_to_w(settings.lo.power_dbm) * oscillator
        closed = db_to_power_ratio(-front.shutter_isolation_db)
        if not front.shutter_isolation_db:
            closed = 0.0
        reach = fibre_transmittance(channel.length_km, channel.attenuation_db_per_km)
        signal_open, lo_open = (
            1.0 if self._levels_v[name] > _LOGIC_HIGH_V else closed
            for name in _SHUTTERS
        )
        return launched_w * reach * signal_open + lo_w * lo_open

    def record(
        self, n_samples: int, rate_hz: float, chunk: int = CHUNK
    ) -> NDArray[np.float32]:
        """Return the receiver's output and let bench time pass.

        Parameters
        ----------
        n_samples : int
        rate_hz : float
            Nominal rate of the digitiser, whose own clock is off by
            `digitizer.clock_error_ppm` [Sa/s].
        chunk : int
            Samples rendered at a time [1].

        Returns
        -------
        ndarray, shape (n_samples,), float32 [V]
        """
        if n_samples < 1 or not rate_hz > 0.0:
            raise StateError("world", "record", f"{n_samples} samples at {rate_hz} Hz")
        if self._path is None or self._path.rate_hz != rate_hz:
            self._path = LightPath(self.settings, rate_hz)
        exposure = Exposure(
            cursor=self._cursor,
            n_samples=n_samples,
            t0_s=self.clock.now_s(),
            signal_open=self._levels_v["signal"] > _LOGIC_HIGH_V,
            lo_open=self._levels_v["lo"] > _LOGIC_HIGH_V,
            instants=self._instants(rate_hz),
            levers=self.levers,
        )
        volts = self._path.render(exposure, self._waveform, chunk)
        self._cursor += n_samples + GAP_SAMPLES
        self.clock.advance(n_samples / rate_hz)
        return volts

    def _instants(
        self, rate_hz: float
    ) -> tuple[SamplingInstants, SamplingInstants] | None:
        """Draw the start of the record and place its samples on the waveform."""
        offset_s = self._trigger.uniform(*self.settings.receiver.start_offset_s)
        if self._waveform is None:
            return None
        clock = self.settings.digitizer
        ppm = clock.clock_error_ppm + clock.clock_drift_ppm_per_s * self.clock.now_s()
        ratio = self._waveform_rate_hz / rate_hz
        step = ratio * (1.0 + 1e-6 * ppm)
        curve = 0.5e-6 * clock.clock_drift_ppm_per_s * ratio / rate_hz
        skew_s = 0.5 * self.settings.awg.skew_s
        return (
            SamplingInstants(
                -(offset_s - skew_s) * self._waveform_rate_hz, step, curve
            ),
            SamplingInstants(
                -(offset_s + skew_s) * self._waveform_rate_hz, step, curve
            ),
        )
