"""Keysight Infiniium oscilloscopes (S, MXR, UXR series) as digitiser."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from driver.digitizer.clipping import count_rails
from driver.hal import DigitizerConfig, Identity, Snapshot
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_taken
from scqc.core.clock import Deadline
from scqc.core.errors import (
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import Trace

CHANNELS = (1, 2, 3, 4)
RANGE_V = (8e-3, 8.0)
N_SAMPLES = (16, 1 << 30)
RATE_HZ = (1e3, 256e9)
TRIGGER_LEVEL_V = (-5.0, 5.0)
_POLL_S = 1e-3
_POLL_MAX_S = 20e-3


class KeysightInfiniium:
    """Driver for role `Digitizer`.

    Parameters
    ----------
    link : ScpiLink
    """

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: DigitizerConfig | None = None
        self._armed = self._complete = False

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect; stop recording and choose the transfer format."""
        identity = self._link.open()
        with self._link.batch() as batch:
            batch += [
                "*CLS",
                ":STOP",
                ":SYST:HEAD OFF",
                ":WAV:FORM WORD",
                ":WAV:BYT LSBF",
                ":WAV:STR ON",
            ]
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?", idempotent=True)

    def safe_state(self, timeout_s: float) -> None:
        """Stop recording, within `timeout_s` [s]; a digitiser emits nothing."""
        self._armed = self._complete = False
        with self._link.batch(timeout_s) as batch:
            batch.append(":STOP")

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        if config is None:
            return {}
        return {
            "rate_hz": config.rate_hz,
            "n_samples": config.n_samples,
            "range_v": {str(n): v for n, v in config.range_v.items()},
            "trigger": config.trigger,
            "trigger_level_v": config.trigger_level_v,
        }

    def configure(self, config: DigitizerConfig) -> DigitizerConfig:
        """Set rate, length, ranges and trigger; return what the device took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._check_config(config)
        self._config = None
        self._armed = self._complete = False
        with self._link.batch() as batch:
            batch += [
                ":STOP",
                ":ACQ:MODE RTIM",
                f":ACQ:SRAT {config.rate_hz:.12g}",
                f":ACQ:POIN {config.n_samples}",
            ]
            for n in CHANNELS:
                if n not in config.range_v:
                    batch.append(f":CHAN{n}:DISP OFF")
                    continue
                batch += [
                    f":CHAN{n}:DISP ON",
                    f":CHAN{n}:INP DC50",
                    f":CHAN{n}:RANG {config.range_v[n]:.9g}",
                    f":CHAN{n}:OFFS 0",
                ]
            batch += _trigger_commands(config)
        taken = {n: self._link.query_number(f":CHAN{n}:RANG?") for n in config.range_v}
        for n, range_v in config.range_v.items():
            require_taken(self.name, f":CHAN{n}:RANG", range_v, taken[n], 0.02)
        rate_hz = self._link.query_number(":ACQ:SRAT?")
        require_taken(self.name, ":ACQ:SRAT", config.rate_hz, rate_hz, 1e-6)
        n_samples = round(self._link.query_number(":ACQ:POIN?"))
        require_taken(self.name, ":ACQ:POIN", config.n_samples, n_samples, 0.0)
        self._config = DigitizerConfig(
            rate_hz=rate_hz,
            n_samples=n_samples,
            range_v=taken,
            trigger=config.trigger,
            trigger_level_v=config.trigger_level_v,
        )
        return self._config

    def restore(self) -> None:
        """Set what was configured last, read it back and compare.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        config = self._config
        if config is not None:
            require_same(self.name, config, self.configure(config))

    def arm(self) -> None:
        """Get ready to record; an earlier record is forgotten."""
        self._require_config("arm")
        self._complete = False
        # *CLS empties the event registers that are polled here and in `wait`.
        # *OPC? may wait for the trigger, so the arm event is asked for instead.
        with self._link.batch() as batch:
            batch.append("*CLS")
        self._link.write(":SING")
        self._poll(":AER?", self._link.io_timeout_s, "not armed")
        self._armed = True

    def wait(self, timeout_s: float) -> None:
        """Return when the record is complete.

        Raises
        ------
        InstrumentTimeout
            If it is not complete after `timeout_s` [s].
        StateError
            If the digitiser is not armed.
        """
        if not self._armed:
            raise StateError(self.name, "wait", "the digitiser is not armed")
        self._poll(":PDER?", timeout_s, "no complete record")
        self._armed, self._complete = False, True

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record.

        Raises
        ------
        StateError
            If no record is complete.
        WireProtocolError
            If the reply has another length than was recorded.
        """
        config = self._require_config("fetch")
        if not self._complete:
            raise StateError(self.name, "fetch", "no record is complete")
        deadline = Deadline(timeout_s)
        channels = sorted(config.range_v)
        codes: NDArray[np.int16] = np.empty(
            (len(channels), config.n_samples), dtype=np.int16
        )
        scales, offsets, t0_s = [], [], 0.0
        for row, n in enumerate(channels):
            self._link.write(f":WAV:SOUR CHAN{n}")
            scale_v, offset_v, t0_s = self._preamble(config.n_samples)
            block = self._link.query_block(
                ":WAV:DATA?", "<i2", config.n_samples, max(deadline.remaining_s(), 1e-3)
            )
            codes[row] = cast(NDArray[np.int16], block)
            scales.append(scale_v)
            offsets.append(offset_v)
        clipped = tuple(count_rails(row) for row in codes)
        return Trace(
            codes, tuple(scales), tuple(offsets), config.rate_hz, t0_s, clipped
        )

    def abort(self) -> None:
        """Stop recording."""
        self._armed = self._complete = False
        with self._link.batch() as batch:
            batch.append(":STOP")

    def _poll(self, query: str, timeout_s: float, otherwise: str) -> None:
        """Ask until the event register reads other than 0.

        Raises
        ------
        InstrumentTimeout
            After `timeout_s` [s].
        """
        deadline = Deadline(timeout_s)
        pause_s = _POLL_S
        io_timeout_s = self._link.io_timeout_s
        while not self._link.query_number(
            query, max(min(io_timeout_s, deadline.remaining_s()), 1e-3)
        ):
            if deadline.remaining_s() <= pause_s:
                raise InstrumentTimeout(
                    self.name, query, f"{otherwise} within {timeout_s:g} s"
                )
            time.sleep(pause_s)
            pause_s = min(2.0 * pause_s, _POLL_MAX_S)

    def _preamble(self, n_samples: int) -> tuple[float, float, float]:
        """Return volts per code, volts at code zero, and the time of the record."""
        reply = self._link.query(":WAV:PRE?")
        fields = reply.split(",")
        try:
            points = int(fields[2])
            scale_v, origin_v, reference = (float(fields[k]) for k in (7, 8, 9))
            unit = int(fields[21])
            t0_s = _record_time(fields[15], fields[16])
        except (IndexError, ValueError) as error:
            raise self._garbled(f"{reply[:60]!r} is no preamble") from error
        if points != n_samples:
            raise self._garbled(f"{points} points, expected {n_samples}")
        if unit != 1 or not (math.isfinite(scale_v) and scale_v > 0.0):
            raise self._garbled(f"scale {scale_v:g} in unit {unit}, expected volts")
        return scale_v, origin_v - reference * scale_v, t0_s

    def _garbled(self, reason: str) -> WireProtocolError:
        return WireProtocolError(self.name, ":WAV:PRE?", reason)

    def _require_config(self, action: str) -> DigitizerConfig:
        if self._config is None:
            raise StateError(self.name, action, "the digitiser is not configured")
        return self._config

    def _check_config(self, config: DigitizerConfig) -> None:
        if not config.range_v or not set(config.range_v) <= set(CHANNELS):
            raise RangeError(
                self.name, f"channels {sorted(config.range_v)}", "has channels 1..4"
            )
        checks = [
            ("rate", config.rate_hz, RATE_HZ, "Sa/s"),
            ("record length", config.n_samples, N_SAMPLES, "samples"),
            ("trigger level", config.trigger_level_v, TRIGGER_LEVEL_V, "V"),
        ]
        checks += [(f"range {n}", v, RANGE_V, "V") for n, v in config.range_v.items()]
        for what, value, (low, high), unit in checks:
            if not low <= value <= high:
                raise RangeError(
                    self.name,
                    f"{what} {value:g} {unit}",
                    f"limits are {low:g}..{high:g}",
                )


def _trigger_commands(config: DigitizerConfig) -> list[str]:
    if config.trigger == "immediate":
        return [":TRIG:SWE AUTO"]
    return [
        ":TRIG:MODE EDGE",
        ":TRIG:EDGE:SOUR AUX",
        f":TRIG:LEV AUX,{config.trigger_level_v:g}",
        ":TRIG:SWE TRIG",
    ]


def _record_time(date: str, time_of_day: str) -> float:
    """Return the preamble's date and time as seconds since 1970 [s]."""
    clock, _, hundredths = time_of_day.strip().strip('"').rpartition(":")
    stamp = datetime.strptime(
        f"{date.strip().strip(chr(34))} {clock}", "%d %b %Y %H:%M:%S"
    )
    return stamp.replace(tzinfo=UTC).timestamp() + int(hundredths) / 100.0
