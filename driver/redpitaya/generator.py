"""The generator of a Red Pitaya: one buffer per output, played once per start.

The outputs always play the whole buffer of 16384 samples; a shorter waveform is
followed by 0 V. So the rate is the buffer's repetition frequency times 16384,
however long the waveform is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driver.hal import AwgConfig, Snapshot
from driver.redpitaya.limits import (
    AMPLITUDE_VPP,
    BUFFER_SAMPLES,
    CHANNELS,
    MODEL,
    check,
    decimation,
)
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_taken
from scqc.core.errors import RangeError, StateError
from scqc.core.records import Waveform

OFF = ("OUTPUT1:STATE OFF", "OUTPUT2:STATE OFF")


class Generator:
    """The generator half of the box.

    Parameters
    ----------
    link : ScpiLink
    """

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self.config: AwgConfig | None = None
        self.loaded_samples = 0

    def forget(self) -> None:
        """Take it that nothing is loaded."""
        self.loaded_samples = 0

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self.config
        if config is None:
            return {}
        return {
            "rate_hz": config.rate_hz,
            "trigger": config.trigger,
            "amplitude_vpp": {str(n): v for n, v in config.amplitude_vpp.items()},
            "loaded_samples": self.loaded_samples,
        }

    def configure(self, config: AwgConfig) -> AwgConfig:
        """Set rate and amplitudes; return what the device took."""
        decimation(self.name, config.rate_hz)
        if set(config.amplitude_vpp) != set(CHANNELS):
            given = f"amplitude of channels {sorted(config.amplitude_vpp)}"
            raise RangeError(self.name, given, "needs channels 1 and 2")
        for n, amplitude_vpp in config.amplitude_vpp.items():
            check(self.name, f"amplitude {n}", amplitude_vpp, AMPLITUDE_VPP, "Vpp")
        self.config, self.loaded_samples = None, 0
        frequency_hz = config.rate_hz / BUFFER_SAMPLES
        with self._link.batch() as batch:
            batch += OFF
            for n in CHANNELS:
                batch += [
                    f"SOUR{n}:FUNC ARBITRARY",
                    f"SOUR{n}:FREQ:FIX {frequency_hz:.12g}",
                    f"SOUR{n}:VOLT {0.5 * config.amplitude_vpp[n]:.9g}",
                    f"SOUR{n}:VOLT:OFFS 0",
                    f"SOUR{n}:BURS:STAT BURST",
                    f"SOUR{n}:BURS:NCYC 1",
                    f"SOUR{n}:BURS:NOR 1",
                    f"SOUR{n}:TRig:SOUR INT",
                ]
        taken = {}
        for n in CHANNELS:
            got_hz = self._link.query_number(f"SOUR{n}:FREQ:FIX?")
            require_taken(self.name, f"SOUR{n}:FREQ:FIX", frequency_hz, got_hz, 1e-6)
            taken[n] = 2.0 * self._link.query_number(f"SOUR{n}:VOLT?")
            wanted_vpp = config.amplitude_vpp[n]
            require_taken(self.name, f"SOUR{n}:VOLT", wanted_vpp, taken[n], 1e-3)
        self.config = AwgConfig(config.rate_hz, taken, config.trigger)
        return self.config

    def upload(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], joined to one."""
        config = self._require_config("upload")
        if not segments:
            raise RangeError(self.name, "0 segments", "needs at least 1")
        for waveform in segments:
            self._check_waveform(waveform, config)
        n_samples = sum(w.samples.shape[1] for w in segments)
        self._check_length(n_samples)
        self.loaded_samples = 0
        with self._link.batch() as batch:
            batch += OFF
        for row, n in enumerate(CHANNELS):
            parts = [w.samples[row] for w in segments]
            values = _buffer(parts, config.amplitude_vpp[n])
            # The board takes a while over a buffer in text: one at a time.
            with self._link.batch() as batch:
                batch.append(f"SOUR{n}:TRAC:DATA:DATA {values}")
        self.loaded_samples = n_samples

    def start(self) -> None:
        """Play what was uploaded once, now or with a pulse on the trigger input."""
        if not self.loaded_samples:
            raise StateError(self.name, "start", "no waveform is loaded")
        config = self._require_config("start")
        with self._link.batch() as batch:
            if config.trigger == "external":
                batch += [f"SOUR{n}:TRig:SOUR EXT_PE" for n in CHANNELS]
            batch.append("OUTPUT:STATE ON")
            if config.trigger == "immediate":
                # Without a number: both outputs at once.
                batch.append("SOUR:TRig:INT")

    def stop(self) -> None:
        """Stop playing; the waveform stays loaded."""
        with self._link.batch() as batch:
            batch += [*OFF, *(f"SOUR{n}:TRig:SOUR INT" for n in CHANNELS)]

    def _require_config(self, action: str) -> AwgConfig:
        if self.config is None:
            raise StateError(self.name, action, "the generator is not configured")
        return self.config

    def _check_waveform(self, waveform: Waveform, config: AwgConfig) -> None:
        rows, n_samples = waveform.samples.shape
        if rows != len(CHANNELS):
            raise RangeError(self.name, f"{rows} channels", "plays exactly 2")
        self._check_length(n_samples)
        if abs(waveform.rate_hz - config.rate_hz) > 1e-9 * config.rate_hz:
            raise RangeError(
                self.name,
                f"waveform at {waveform.rate_hz:g} Sa/s",
                f"the generator runs at {config.rate_hz:g} Sa/s",
            )
        for row, n in enumerate(CHANNELS):
            limit_v = 0.5 * config.amplitude_vpp[n]
            # float32 holds the limit itself to half a unit in the last place.
            limit_v *= 1.0 + float(np.finfo(np.float32).eps)
            peak_v = float(np.abs(waveform.samples[row]).max())
            if not peak_v <= limit_v:
                raise RangeError(
                    self.name, f"channel {n}: {peak_v:g} V", f"exceeds {limit_v:g} V"
                )

    def _check_length(self, n_samples: int) -> None:
        if not 1 <= n_samples <= BUFFER_SAMPLES:
            raise RangeError(
                self.name,
                f"{n_samples} samples",
                f"the buffer of STEMlab {MODEL} holds 1..{BUFFER_SAMPLES}",
            )


def _buffer(parts: list[NDArray[np.float32]], amplitude_vpp: float) -> str:
    """Return a whole buffer in units of the amplitude, as text.

    Six decimals are 0.008 steps of the converter.
    """
    samples = np.zeros(BUFFER_SAMPLES)
    joined = np.concatenate(parts)
    samples[: joined.size] = joined * (2.0 / amplitude_vpp)
    return ",".join(f"{value:.6f}" for value in np.clip(samples, -1.0, 1.0))
