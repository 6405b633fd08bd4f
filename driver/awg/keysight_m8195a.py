"""Keysight M8195A waveform generator: 8 bits, up to 65 GSa/s, channels 1 and 2.

The module runs in its mode "dual channel with marker": channels 1 and 2 play
from the extended memory, whose rate is the sample clock over a divider, and the
outputs 3 and 4 carry the marker bits of channel 1. The first samples raise
marker 1, on output 3, for the digitiser's trigger input. A waveform is played
once per start. Several waveforms in a row are one long segment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driver.awg.limits import CHANNELS, GeneratorLimits
from driver.hal import AwgConfig, Identity, Snapshot
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_generator
from scqc.core.errors import ConnectError, RangeError, StateError
from scqc.core.records import Waveform

MODEL = "M8195A"
MARKER_OUTPUTS = (3, 4)
CLOCK_HZ = (53.76e9, 65e9)
#: Dividers of the extended memory that leave room for two channels.
DIVIDERS = (2, 4)
RATES_HZ = tuple((CLOCK_HZ[0] / d, CLOCK_HZ[1] / d) for d in DIVIDERS)
AMPLITUDE_VPP = (0.075, 1.0)
FULL_SCALE_CODE = 127
SEGMENT = 1
MARKER_1 = 0x1
MAXIMUM_SAMPLES = 1 << 32
SLICE_SAMPLES = 1 << 20
MARKER_VPP = 0.5


class KeysightM8195A:
    """Driver for role `ArbitraryWaveformGenerator`; its markers hold no levels.

    Parameters
    ----------
    link : ScpiLink
    """

    # Of the larger divider's memory; the smaller one's needs twice as much.
    granularity = 128
    minimum_samples = 1280
    amplitude_range_vpp = AMPLITUDE_VPP

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: AwgConfig | None = None
        self._loaded_samples = 0
        self._limits = GeneratorLimits(
            self.name,
            MODEL,
            RATES_HZ,
            AMPLITUDE_VPP,
            (self.minimum_samples, MAXIMUM_SAMPLES),
            self.granularity,
        )

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect; stop playing and switch all outputs off.

        Raises
        ------
        ConnectError
            If it is another model.
        """
        self._loaded_samples = 0
        identity = self._link.open()
        if identity.model != MODEL:
            raise ConnectError(self.name, "*IDN?", f"{identity.model!r} is no {MODEL}")
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
        """Stop and switch all outputs off, within `timeout_s` [s]."""
        with self._link.batch(timeout_s) as batch:
            batch.append(":ABOR")
            batch += [f":OUTP{n} OFF" for n in (*CHANNELS, *MARKER_OUTPUTS)]

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        return {
            "rate_hz": config.rate_hz if config else None,
            "trigger": config.trigger if config else None,
            "amplitude_vpp": (
                {str(n): v for n, v in config.amplitude_vpp.items()} if config else {}
            ),
            "loaded_samples": self._loaded_samples,
        }

    def configure(self, config: AwgConfig) -> AwgConfig:
        """Set rate and amplitudes; return what the device took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent. The rates have gaps:
            those of the sample clock over 2 and over 4.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._limits.check_config(config)
        self._config, self._loaded_samples = None, 0
        divider = divider_for(config.rate_hz)
        source = "TRIG" if config.trigger == "external" else "EVEN"
        with self._link.batch() as batch:
            batch += [":ABOR", ":INST:DACM DCM", f":INST:MEM:EXT:RDIV DIV{divider}"]
            batch += [f":TRAC{n}:MMOD EXT" for n in CHANNELS]
            batch += [f":FREQ:RAST {config.rate_hz * divider:.12g}", ":FUNC:MODE ARB"]
            for n in CHANNELS:
                batch += [
                    f":VOLT{n}:AMPL {config.amplitude_vpp[n]:.9g}",
                    f":VOLT{n}:OFFS 0",
                ]
            for n in MARKER_OUTPUTS:
                batch += [
                    f":VOLT{n}:AMPL {MARKER_VPP:g}",
                    f":VOLT{n}:OFFS {0.5 * MARKER_VPP:g}",
                ]
            batch += [":INIT:CONT:STAT OFF", ":INIT:GATE OFF"]
            batch.append(f":TRIG:SOUR:ENAB {source}")
        rate_hz = self._link.query_number(":FREQ:RAST?") / divider
        taken = {n: self._link.query_number(f":VOLT{n}:AMPL?") for n in CHANNELS}
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
        self.upload_segments([waveform])

    def upload_segments(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], to be played in a row.

        Raises
        ------
        RangeError
            If there are none, or one is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        config = self._config
        if config is None:
            raise StateError(self.name, "upload", "the generator is not configured")
        if not segments:
            raise RangeError(self.name, "0 segments", "needs one at least")
        for waveform in segments:
            self._limits.check_waveform(waveform, config)
        total = sum(waveform.samples.shape[1] for waveform in segments)
        self._limits.check_length(total)
        self._loaded_samples = 0
        with self._link.batch() as batch:
            batch.append(":ABOR")
            for n in CHANNELS:
                batch += [f":TRAC{n}:DEL:ALL", f":TRAC{n}:DEF {SEGMENT},{total}"]
        for row, n in enumerate(CHANNELS):
            offset = 0
            for waveform in segments:
                self._send(n, offset, waveform.samples[row], config.amplitude_vpp[n])
                offset += waveform.samples.shape[1]
        with self._link.batch() as batch:
            batch += [f":TRAC{n}:SEL {SEGMENT}" for n in CHANNELS]
        self._loaded_samples = total

    def start(self) -> None:
        """Play what was uploaded once, from its first sample, now or when triggered.

        Raises
        ------
        StateError
            If no waveform is loaded.
        """
        config = self._config
        if config is None or not self._loaded_samples:
            raise StateError(self.name, "start", "no waveform is loaded")
        with self._link.batch() as batch:
            batch += [f":OUTP{n} ON" for n in (*CHANNELS, *MARKER_OUTPUTS)]
            batch.append(":INIT:IMM")
            if config.trigger == "immediate":
                batch.append(":TRIG:BEG")

    def stop(self) -> None:
        """Stop playing; the waveform stays loaded."""
        with self._link.batch() as batch:
            batch.append(":ABOR")

    def set_marker_level(self, marker: int, level_v: float) -> None:
        """Refuse: markers 1 and 2 follow the samples, they hold no level.

        Raises
        ------
        RangeError
            Always; nothing is sent.
        """
        raise RangeError(
            self.name,
            f"marker {marker} at {level_v:g} V",
            f"{MODEL}: markers hold no level; drive shutters by an optical switch",
        )

    def _send(
        self, channel: int, start: int, samples: NDArray[np.float32], vpp: float
    ) -> None:
        """Send one channel in slices; channel 1 has a marker byte per sample."""
        for offset in range(0, samples.size, SLICE_SAMPLES):
            codes = dac_codes(samples[offset : offset + SLICE_SAMPLES], vpp)
            at = start + offset
            if channel == CHANNELS[0]:
                pairs = np.zeros((codes.size, 2), dtype=np.int8)
                pairs[:, 0] = codes
                if at == 0:
                    pairs[: self.granularity, 1] = MARKER_1
                codes = pairs.ravel()
            self._link.write_block(f":TRAC{channel}:DATA {SEGMENT},{at},", codes.data)


def divider_for(rate_hz: float) -> int:
    """Return the divider of the extended memory that gives a rate within `RATES_HZ`."""
    return next(
        d
        for d, (low, high) in zip(DIVIDERS, RATES_HZ, strict=True)
        if low <= rate_hz <= high
    )


def dac_codes(samples: NDArray[np.float32], amplitude_vpp: float) -> NDArray[np.int8]:
    """Quantise to 8-bit codes.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32 [V]
    amplitude_vpp : float
        Full scale, peak to peak [V].

    Returns
    -------
    ndarray, shape (n,), int8 [code]
        From -127 to 127.
    """
    scale = np.float32(FULL_SCALE_CODE / (0.5 * amplitude_vpp))
    codes: NDArray[np.int8] = np.rint(samples * scale).astype(np.int8)
    return codes
