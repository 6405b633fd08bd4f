"""Keysight M8190A waveform generator, 12-bit mode, two channels.

Played once per start: the generator is in triggered mode, so a waveform never
loops. The sample markers stay at their low level, which makes them settable
direct voltages for shutters; the sync marker of channel 1 pulses with the
first samples, for the digitiser's trigger input. Several waveforms are played
in a row, without a gap, by the sequence table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driver.awg.limits import CHANNELS, GeneratorLimits
from driver.hal import AwgConfig, Identity, Snapshot
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_generator, require_taken
from scqc.core.errors import RangeError, StateError
from scqc.core.records import Waveform

FULL_SCALE_CODE = 2047
FIRST_SEGMENT = 1
RATE_HZ = (125e6, 12e9)
AMPLITUDE_VPP = (0.1, 0.7)
MARKER_V = (-0.5, 1.625)
MARKER_HIGH_V = 1.75
MARKER_STEP_V = 0.02
SYNC_BIT = 0x2
SLICE_SAMPLES = 1 << 20
MAXIMUM_SAMPLES = 3 << 29
MAXIMUM_SEGMENTS = 1 << 16
# Control word of an entry of the sequence table.
SEQUENCE_START, SEQUENCE_END, MARKERS_ON = 1 << 28, 1 << 30, 1 << 24
WHOLE_SEGMENT = "0,4294967295"


class KeysightM8190A:
    """Driver for role `ArbitraryWaveformGenerator`.

    Parameters
    ----------
    link : ScpiLink
    """

    granularity = 64
    minimum_samples = 320
    amplitude_range_vpp = AMPLITUDE_VPP

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: AwgConfig | None = None
        self._loaded_samples = 0
        self._holds = False
        self._marker_v: dict[int, float] = {}
        self._limits = GeneratorLimits(
            self.name,
            "M8190A",
            (RATE_HZ,),
            AMPLITUDE_VPP,
            (self.minimum_samples, MAXIMUM_SAMPLES),
            self.granularity,
        )

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect; stop playing, switch the outputs off and the markers low."""
        self._loaded_samples = 0
        identity = self._link.open()
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
        self._marker_v = {}
        with self._link.batch(timeout_s) as batch:
            for channel in CHANNELS:
                batch += [f":ABOR{channel}", f":OUTP{channel} OFF"]
            for channel in CHANNELS:
                batch.append(f":MARK{channel}:SAMP:VOLT:HIGH {MARKER_HIGH_V:g}")
                batch.append(f":MARK{channel}:SAMP:VOLT:LOW 0")

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
        self._config, self._loaded_samples, self._holds = None, 0, False
        with self._link.batch() as batch:
            batch += [":ABOR1", ":ABOR2", ":INST:COUP:STAT ON"]
            batch += [f":TRAC{n}:DWID WSP" for n in CHANNELS]
            batch.append(f":FREQ:RAST {config.rate_hz:.12g}")
            for n in CHANNELS:
                batch += [
                    f":OUTP{n}:ROUT DAC",
                    f":VOLT{n} {config.amplitude_vpp[n]:.9g}",
                    f":VOLT{n}:OFFS 0",
                    f":FUNC{n}:MODE ARB",
                    f":INIT:CONT{n} OFF",
                    f":INIT:GATE{n} OFF",
                ]
            source = "EXT" if config.trigger == "external" else "INT"
            batch += [f":ARM:TRIG:SOUR{n} {source}" for n in CHANNELS]
            batch += [":MARK1:SYNC:VOLT:HIGH 0.5", ":MARK1:SYNC:VOLT:LOW 0"]
        rate_hz = self._link.query_number(":FREQ:RAST?")
        taken = {n: self._link.query_number(f":VOLT{n}?") for n in CHANNELS}
        got = AwgConfig(rate_hz, taken, config.trigger)
        require_generator(self.name, config, got)
        self._config = got
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
        self._load([waveform], config, "ARB")

    def upload_segments(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], to be played in a row.

        Raises
        ------
        RangeError
            If there are none or too many, or one is outside the limits; nothing
            is sent.
        StateError
            If the generator is not configured.
        """
        config = self._require_config("upload segments")
        if not 1 <= len(segments) <= MAXIMUM_SEGMENTS:
            raise RangeError(
                self.name,
                f"{len(segments)} segments",
                f"limits are 1..{MAXIMUM_SEGMENTS}",
            )
        for waveform in segments:
            self._limits.check_waveform(waveform, config)
        self._limits.check_length(sum(w.samples.shape[1] for w in segments))
        self._load(segments, config, "STS")
        with self._link.batch() as batch:
            for n in CHANNELS:
                batch.append(f":STAB{n}:RES")
                for index in range(len(segments)):
                    control = MARKERS_ON
                    control |= SEQUENCE_START if index == 0 else 0
                    control |= SEQUENCE_END if index == len(segments) - 1 else 0
                    batch.append(
                        f":STAB{n}:DATA {index},{control},1,1,"
                        f"{FIRST_SEGMENT + index},{WHOLE_SEGMENT}"
                    )
                batch.append(f":STAB{n}:SEQ:SEL 0")
        self._loaded_samples = sum(w.samples.shape[1] for w in segments)

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
            batch += [":OUTP1 ON", ":OUTP2 ON", ":INIT:IMM1"]
            if config.trigger == "immediate":
                batch.append(":TRIG:BEG1:IMM")

    def hold(self, levels_v: Mapping[int, float]) -> None:
        """Hold each channel at a level [V]: a short constant segment, repeated.

        Raises
        ------
        RangeError
            If a level is outside the amplitude; nothing is sent.
        StateError
            If the generator is not configured.
        """
        config = self._require_config("hold")
        samples = np.zeros((len(CHANNELS), self.minimum_samples), dtype=np.float32)
        for n, level_v in levels_v.items():
            if n not in CHANNELS:
                raise RangeError(self.name, f"channel {n}", "has channels 1 and 2")
            samples[n - 1] = level_v
        waveform = Waveform(samples, config.rate_hz)
        self._limits.check_waveform(waveform, config)
        self._load([waveform], config, "ARB")
        self._loaded_samples, self._holds = 0, True
        with self._link.batch() as batch:
            batch += [":INIT:CONT1 ON", ":INIT:CONT2 ON"]
            batch += [":OUTP1 ON", ":OUTP2 ON", ":INIT:IMM1"]

    def stop(self) -> None:
        """Stop playing; the waveform stays loaded."""
        with self._link.batch() as batch:
            batch += [":ABOR1", ":ABOR2"]

    def set_marker_level(self, marker: int, level_v: float) -> None:
        """Hold sample marker `marker` at `level_v` [V].

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
            batch.append(f":MARK{marker}:SAMP:VOLT:LOW {level_v:g}")
        register = f":MARK{marker}:SAMP:VOLT:LOW"
        got_v = self._link.query_number(f"{register}?")
        require_taken(self.name, register, level_v, got_v, 0.0, MARKER_STEP_V)
        self._marker_v[marker] = level_v

    def _load(self, segments: Sequence[Waveform], config: AwgConfig, mode: str) -> None:
        """Fill the segment memory and select the first segment."""
        self._loaded_samples = 0
        lengths = [w.samples.shape[1] for w in segments]
        with self._link.batch() as batch:
            for n in CHANNELS:
                batch += [f":ABOR{n}", f":FUNC{n}:MODE {mode}", f":TRAC{n}:DEL:ALL"]
                if self._holds:
                    batch.append(f":INIT:CONT{n} OFF")
                batch += [
                    f":TRAC{n}:DEF {FIRST_SEGMENT + i},{length}"
                    for i, length in enumerate(lengths)
                ]
        self._holds = False
        for index, waveform in enumerate(segments):
            for row, n in enumerate(CHANNELS):
                self._send(n, index, waveform.samples[row], config.amplitude_vpp[n])
        with self._link.batch() as batch:
            batch += [f":TRAC{n}:SEL {FIRST_SEGMENT}" for n in CHANNELS]
        if mode == "ARB":
            self._loaded_samples = lengths[0]

    def _send(
        self,
        channel: int,
        index: int,
        samples: NDArray[np.float32],
        amplitude_vpp: float,
    ) -> None:
        """Send one channel in slices, so that the codes need little memory."""
        for offset in range(0, samples.size, SLICE_SAMPLES):
            words = dac_words(samples[offset : offset + SLICE_SAMPLES], amplitude_vpp)
            if channel == 1 and index == 0 and offset == 0:
                words[: self.granularity] |= SYNC_BIT
            self._link.write_block(
                f":TRAC{channel}:DATA {FIRST_SEGMENT + index},{offset},", words.data
            )

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


def dac_words(samples: NDArray[np.float32], amplitude_vpp: float) -> NDArray[np.int16]:
    """Quantise to 12-bit codes, shifted into the upper bits of 16-bit words.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32 [V]
    amplitude_vpp : float
        Full scale, peak to peak [V].

    Returns
    -------
    ndarray, shape (n,), int16 [code]
        Little-endian; bits 1 and 0 are the sync and sample marker, both zero.
    """
    codes = np.rint(samples * np.float32(FULL_SCALE_CODE / (0.5 * amplitude_vpp)))
    words: NDArray[np.int16] = codes.astype("<i2")
    words <<= 4
    return words
