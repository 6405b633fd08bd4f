"""Tektronix AWG70000 series waveform generator, two-channel models, 8 bits.

The generator rests in its waiting-for-trigger state, where outputs are at 0 V and
markers hold a level; in the stopped state its markers would fall to 0 V. A start
is a trigger: in triggered mode one trigger plays the waveform once.

While it rests, the channels listen to trigger input B, which `start` forces. For an
external start they are told to listen to input A, so that a pulse that comes before
`start` plays nothing. Marker 1 of each channel is high in every sample, which makes
its high level a settable direct voltage for a shutter; marker 2 of channel 1 pulses
with the first samples, for the digitiser's trigger input.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driver.awg.limits import CHANNELS, GeneratorLimits
from driver.awg.wfmx import MARKER_1, MARKER_2, wfmx_file
from driver.hal import AwgConfig, Identity, Snapshot
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_generator, require_taken
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
)
from scqc.core.records import Waveform

MODELS = ("AWG70002A", "AWG70002B")
RATE_HZ = (1.49e3, 25e9)
AMPLITUDE_VPP = (0.25, 0.5)
# Levels of a marker are at least 0.5 V apart, within -1.4 to 1.4 V.
MARKER_V = (-0.9, 1.4)
MARKER_STEP_V = 0.02
MARKER_AMPLITUDE_V = 0.5
SYNC_SAMPLES = 64
# A block's length has at most nine digits, and a sample takes five bytes.
MAXIMUM_SAMPLES = 199_000_000
FOLDER = r"\Users\OEM\Documents"
RESTING = "scqc_rest"
NO_SUCH_FILE = -256
_STOPPED = "0"
_POLL_S = 0.005


class TektronixAwg70000:
    """Driver for role `ArbitraryWaveformGenerator`.

    Parameters
    ----------
    link : ScpiLink
    """

    granularity = 1
    minimum_samples = 2400
    amplitude_range_vpp = AMPLITUDE_VPP

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: AwgConfig | None = None
        self._loaded_samples = 0
        self._marker_v: dict[int, float] = {}
        self._resting = False
        self._limits = GeneratorLimits(
            self.name,
            "AWG70000",
            (RATE_HZ,),
            AMPLITUDE_VPP,
            (self.minimum_samples, MAXIMUM_SAMPLES),
        )

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect; stop playing, switch the outputs off and the markers low.

        Raises
        ------
        ConnectError
            If it is no generator of this series with two channels.
        """
        identity = self._link.open()
        if identity.model not in MODELS:
            raise ConnectError(
                self.name, "*IDN?", f"{identity.model!r} is none of {MODELS}"
            )
        self._link.write("*CLS")
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?", idempotent=True)

    def safe_state(self, timeout_s: float) -> None:
        """Stop, outputs off, markers low, within `timeout_s` [s]."""
        self._marker_v, self._resting = {}, False
        self._loaded_samples = 0
        with self._link.batch(timeout_s) as batch:
            batch.append("AWGC:STOP")
            for n in CHANNELS:
                batch += [
                    f"OUTP{n}:STAT 0",
                    f"OUTP{n}:SVAL:MARK1 LOW",
                    f"OUTP{n}:WVAL:MARK1 HIGH",
                    f"OUTP{n}:WVAL:ANAL:STAT ZERO",
                    f"SOUR{n}:MARK1:VOLT:AMPL {MARKER_AMPLITUDE_V:g}",
                    f"SOUR{n}:MARK1:VOLT:OFFS {_marker_offset_v(0.0):g}",
                ]

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        return {
            "rate_hz": config.rate_hz if config else None,
            "trigger": config.trigger if config else None,
            "amplitude_vpp": (
                {str(n): v for n, v in config.amplitude_vpp.items()} if config else {}
            ),
            "marker_v": {str(n): v for n, v in self._marker_v.items()},
            "loaded_samples": self._loaded_samples,
        }

    def configure(self, config: AwgConfig) -> AwgConfig:
        """Set rate and amplitudes; return what the device took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._limits.check_config(config)
        self._config, self._loaded_samples, self._resting = None, 0, False
        with self._link.batch() as batch:
            batch += ["AWGC:STOP", "INST:MODE AWG", f"CLOC:SRAT {config.rate_hz:.12g}"]
            for n in CHANNELS:
                batch += [
                    f"OUTP{n}:PATH DIR",
                    f"SOUR{n}:DAC:RES 8",
                    f"SOUR{n}:VOLT {config.amplitude_vpp[n]:.9g}",
                ]
        rate_hz = self._link.query_number("CLOC:SRAT?")
        taken = {n: self._link.query_number(f"SOUR{n}:VOLT?") for n in CHANNELS}
        got = AwgConfig(rate_hz, taken, config.trigger)
        require_generator(self.name, config, got)
        self._config = got
        if self._marker_v:
            self._rest()
        return self._config

    def restore(self) -> None:
        """Set what was configured last, read it back, compare; load nothing.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        config = self._config
        if config is not None:
            require_same(self.name, config, self.configure(config))

    def upload(self, waveform: Waveform) -> None:
        """Load a waveform, shape (2, n), float32 [V]; nothing is played yet.

        Raises
        ------
        RangeError
            If length, rate or a voltage is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        config = self._require_config("upload")
        self._limits.check_waveform(waveform, config)
        self._load([waveform], config)

    def upload_segments(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], to be played in a row.

        They are joined to one waveform: no sequencing option is needed.

        Raises
        ------
        RangeError
            If there are none, or one is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        config = self._require_config("upload segments")
        if not segments:
            raise RangeError(self.name, "0 segments", "needs at least 1")
        for waveform in segments:
            self._limits.check_waveform(waveform, config)
        self._limits.check_length(sum(w.samples.shape[1] for w in segments))
        self._load(segments, config)

    def start(self) -> None:
        """Play what was uploaded once, from its first sample, now or when triggered.

        Raises
        ------
        StateError
            If no waveform is loaded.
        """
        if not self._loaded_samples:
            raise StateError(self.name, "start", "no waveform is loaded")
        config = self._require_config("start")
        with self._link.batch() as batch:
            if config.trigger == "external":
                batch += [f"SOUR{n}:TINP ATR" for n in CHANNELS]
            else:
                batch.append("TRIG:IMM BTR")

    def stop(self) -> None:
        """Stop playing; the waveform stays loaded, and the markers keep their level."""
        with self._link.batch() as batch:
            batch.append("AWGC:STOP")
        if self._resting:
            self._run()

    def set_marker_level(self, marker: int, level_v: float) -> None:
        """Hold marker 1 of channel `marker` at `level_v` [V].

        Raises
        ------
        RangeError
            If the marker or the level is outside the limits; nothing is sent.
        DeviceError
            If the level is another one: a shutter stands where it stood.
        """
        if marker not in CHANNELS:
            raise RangeError(self.name, f"marker {marker}", "has markers 1 and 2")
        self._check("marker level", level_v, MARKER_V, "V")
        with self._link.batch() as batch:
            batch.append(f"SOUR{marker}:MARK1:VOLT:OFFS {_marker_offset_v(level_v):g}")
        register = f"SOUR{marker}:MARK1:VOLT:OFFS"
        offset_v, got_v = (
            _marker_offset_v(level_v),
            self._link.query_number(f"{register}?"),
        )
        require_taken(self.name, register, offset_v, got_v, 0.0, MARKER_STEP_V)
        if not self._resting:
            self._rest()
        self._marker_v[marker] = level_v

    def _rest(self) -> None:
        """Wait for triggers with a waveform of zeros: only so do markers hold."""
        zeros = np.zeros(self.minimum_samples, dtype=np.float32)
        self._clear()
        self._send(RESTING, [zeros], AMPLITUDE_VPP[1], _markers(zeros.size, 0))
        self._assign({n: RESTING for n in CHANNELS})

    def _load(self, segments: Sequence[Waveform], config: AwgConfig) -> None:
        """Fill the waveform list, assign the channels and wait for triggers."""
        self._loaded_samples = 0
        n_samples = sum(w.samples.shape[1] for w in segments)
        self._clear()
        for row, n in enumerate(CHANNELS):
            markers = _markers(n_samples, SYNC_SAMPLES if n == 1 else 0)
            parts = [w.samples[row] for w in segments]
            self._send(f"scqc_{n}", parts, config.amplitude_vpp[n], markers)
        self._assign({n: f"scqc_{n}" for n in CHANNELS})
        self._loaded_samples = n_samples

    def _clear(self) -> None:
        """Stop and empty the waveform list; the markers fall to 0 V meanwhile."""
        self._resting = False
        with self._link.batch() as batch:
            batch += ["AWGC:STOP", "WLIS:WAV:DEL ALL", f'MMEM:CDIR "{FOLDER}"']

    def _send(
        self,
        waveform: str,
        parts: list[NDArray[np.float32]],
        amplitude_vpp: float,
        markers: NDArray[np.uint8],
    ) -> None:
        """Write a waveform file in place of an older one, and open it."""
        delete = f'MMEM:DEL "{waveform}.wfmx"'
        self._link.write(delete)
        entries = [e for e in self._link.errors() if e[0] != NO_SUCH_FILE]
        if entries:
            raise DeviceError(self.name, delete, entries)
        data = wfmx_file(parts, amplitude_vpp, markers)
        self._link.write_block(f'MMEM:DATA "{waveform}.wfmx",', memoryview(data))
        with self._link.batch() as batch:
            batch.append(f'MMEM:OPEN "C:{FOLDER}\\{waveform}.wfmx"')

    def _assign(self, waveforms: dict[int, str]) -> None:
        """Give the channels their waveforms, switch them on and wait for triggers."""
        with self._link.batch() as batch:
            for n, waveform in waveforms.items():
                batch += [f'SOUR{n}:CASS:WAV "{waveform}"', f"SOUR{n}:RMOD TRIG"]
            batch += [f"OUTP{n}:STAT 1" for n in CHANNELS]
        self._run()

    def _run(self) -> None:
        """Enter the waiting state; not until the instrument says so is it there.

        Raises
        ------
        InstrumentTimeout
            If it stays stopped.
        """
        deadline = Deadline(self._link.io_timeout_s)
        with self._link.batch() as batch:
            batch += [f"SOUR{n}:TINP BTR" for n in CHANNELS]
            batch.append("AWGC:RUN")
        while self._link.query("AWGC:RSTAT?") == _STOPPED:
            if deadline.expired:
                raise InstrumentTimeout(self.name, "AWGC:RUN", "stays stopped")
            time.sleep(_POLL_S)
        self._resting = True

    def _require_config(self, action: str) -> AwgConfig:
        if self._config is None:
            raise StateError(self.name, action, "the generator is not configured")
        return self._config

    def _check(
        self, what: str, value: float, limits: tuple[float, float], unit: str
    ) -> None:
        low, high = limits
        if not low <= value <= high:
            raise RangeError(
                self.name, f"{what} {value:g} {unit}", f"limits are {low:g}..{high:g}"
            )


def _marker_offset_v(level_v: float) -> float:
    """Return the centre of a marker's two levels whose high one is `level_v` [V]."""
    return level_v - 0.5 * MARKER_AMPLITUDE_V


def _markers(n_samples: int, sync_samples: int) -> NDArray[np.uint8]:
    """Return marker 1 always high, marker 2 high for the first `sync_samples`.

    Returns
    -------
    ndarray, shape (n_samples,), uint8 [bits]
    """
    markers = np.full(n_samples, MARKER_1, dtype=np.uint8)
    markers[:sync_samples] |= MARKER_2
    return markers
