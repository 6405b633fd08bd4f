"""Tektronix MSO 4, 5 and 6 series oscilloscopes as digitiser.

Errors come from the event queue (`EventLink`). ``*OPC?`` waits for a record under
way, so nothing that starts one is followed by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from driver.digitizer.clipping import count_rails
from driver.hal import DigitizerConfig, Identity, Snapshot
from driver.restoring import require_same
from driver.scpi.event_link import EventLink
from driver.scpi.taken import require_taken
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import Trace

MODELS = ("MSO4", "MSO5", "MSO6", "LPD6")
CHANNELS = (1, 2, 3, 4)
DIVISIONS = 10
# 50 ohm inputs: 0.5 mV to 1 V per division.
RANGE_V = (5e-3, 10.0)
N_SAMPLES = (16, 250_000_000)
RATE_HZ = (1e3, 50e9)
TRIGGER_LEVEL_V = (-5.0, 5.0)
STATES = ("ARMED", "AUTO", "READY", "SAVE", "TRIGGER")
_ARMED, _STOPPED = "ARMED", "SAVE"
_POLL_S = 1e-3
_POLL_MAX_S = 20e-3


class TektronixMso:
    """Driver for role `Digitizer`.

    Parameters
    ----------
    link : EventLink
    """

    def __init__(self, link: EventLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: DigitizerConfig | None = None
        self._armed = self._complete = False

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect; stop recording and choose the transfer format.

        Raises
        ------
        ConnectError
            If it is no oscilloscope of these series.
        """
        identity = self._link.open()
        if not identity.model.startswith(MODELS):
            reason = f"{identity.model!r} is none of {MODELS}"
            raise ConnectError(self.name, "*IDN?", reason)
        with self._link.batch() as batch:
            batch += [
                "*CLS",
                "ACQ:STATE OFF",
                "HEAD OFF",
                "DAT:ENC SRI",
                "DAT:WID 2",
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
            batch.append("ACQ:STATE OFF")

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
            If the device refuses, or has not this rate or length.
        """
        self._check_config(config)
        self._config = None
        self._armed = self._complete = False
        with self._link.batch() as batch:
            batch += [
                "ACQ:STATE OFF",
                "ACQ:MOD SAM",
                "HOR:MODE MAN",
                f"HOR:MODE:SAMPLER {config.rate_hz:.12g}",
                f"HOR:MODE:RECO {config.n_samples}",
                "HOR:DEL:MOD OFF",
                "HOR:POS 0",
            ]
            for n in CHANNELS:
                if n in config.range_v:
                    batch += _channel_commands(n, config.range_v[n])
                else:
                    batch.append(f"DIS:GLO:CH{n}:STATE OFF")
            batch += _trigger_commands(config)
            batch += ["DAT:STAR 1", f"DAT:STOP {config.n_samples}"]
        rate_hz = self._link.query_number("HOR:MODE:SAMPLER?")
        require_taken(self.name, "HOR:MODE:SAMPLER", config.rate_hz, rate_hz, 1e-6)
        n_samples = self._link.query_number("HOR:MODE:RECO?")
        require_taken(self.name, "HOR:MODE:RECO", config.n_samples, n_samples, 0.0)
        taken = {}
        for n, range_v in config.range_v.items():
            taken[n] = DIVISIONS * self._link.query_number(f"CH{n}:SCA?")
            # Steps of the fine scale.
            require_taken(self.name, f"CH{n}:SCA", range_v, taken[n], 0.02)
        self._config = DigitizerConfig(
            config.rate_hz,
            config.n_samples,
            taken,
            config.trigger,
            config.trigger_level_v,
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
        """Get ready to record; an earlier record is forgotten.

        Raises
        ------
        InstrumentTimeout
            If the oscilloscope does not become ready.
        """
        self._require_config("arm")
        self._armed = self._complete = False
        with self._link.batch() as batch:
            batch += ["*CLS", "ACQ:STOPA SEQ"]
        self._link.write("ACQ:STATE ON")
        deadline = Deadline(self._link.io_timeout_s)
        self._until(self._is_ready, deadline, "TRIG:STATE?", "not armed")
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
        deadline = Deadline(timeout_s)
        self._until(self._is_done, deadline, "ACQ:STATE?", "no complete record")
        self._armed, self._complete = False, True

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record.

        Raises
        ------
        StateError
            If no record is complete.
        WireProtocolError
            If the reply has another length or form than was recorded.
        """
        config = self._require_config("fetch")
        if not self._complete:
            raise StateError(self.name, "fetch", "no record is complete")
        deadline = Deadline(timeout_s)
        channels = sorted(config.range_v)
        codes: NDArray[np.int16] = np.empty(
            (len(channels), config.n_samples), dtype=np.int16
        )
        scales, offsets = [], []
        for row, n in enumerate(channels):
            self._link.write(f"DAT:SOU CH{n}")
            scale_v, offset_v = self._preamble(config.n_samples)
            left_s = max(deadline.remaining_s(), 1e-3)
            block = self._link.query_block("CURV?", "<i2", config.n_samples, left_s)
            codes[row] = cast(NDArray[np.int16], block)
            scales.append(scale_v)
            offsets.append(offset_v)
        clipped = tuple(count_rails(row) for row in codes)
        return Trace(codes, tuple(scales), tuple(offsets), config.rate_hz, 0.0, clipped)

    def abort(self) -> None:
        """Stop recording."""
        self._armed = self._complete = False
        with self._link.batch() as batch:
            batch.append("ACQ:STATE OFF")

    def _is_ready(self, timeout_s: float) -> bool:
        """Whether it waits for the trigger, or is past it already."""
        state = self._link.query("TRIG:STATE?", timeout_s)
        if state not in STATES:
            reason = f"{state[:20]!r} is none of {STATES}"
            raise WireProtocolError(self.name, "TRIG:STATE?", reason)
        if state == _STOPPED:
            # Stopped before, or again: only a record made tells which.
            return self._link.query_number("ACQ:NUMAC?", timeout_s) >= 1
        return state != _ARMED

    def _is_done(self, timeout_s: float) -> bool:
        """Whether it stopped by itself, with a record."""
        if self._link.query_number("ACQ:STATE?", timeout_s) != 0.0:
            return False
        if self._link.query_number("ACQ:NUMAC?", timeout_s) < 1:
            reason = "stopped without a record"
            raise WireProtocolError(self.name, "ACQ:STATE?", reason)
        return True

    def _until(
        self, done: Callable[[float], bool], deadline: Deadline, query: str, or_: str
    ) -> None:
        """Ask until `done`.

        Raises
        ------
        InstrumentTimeout
            After the deadline.
        """
        pause_s = _POLL_S
        io_timeout_s = self._link.io_timeout_s
        while not done(max(min(io_timeout_s, deadline.remaining_s()), 1e-3)):
            if deadline.remaining_s() <= pause_s:
                reason = f"{or_} within {deadline.timeout_s:g} s"
                raise InstrumentTimeout(self.name, query, reason)
            time.sleep(pause_s)
            pause_s = min(2.0 * pause_s, _POLL_MAX_S)

    def _preamble(self, n_samples: int) -> tuple[float, float]:
        """Return volts per code, and volts at code zero."""
        ask = self._link.query_number
        for field, wanted in (("NR_P", n_samples), ("BYT_N", 2)):
            got = ask(f"WFMO:{field}?")
            if got != wanted:
                raise self._garbled(field, f"{got:g}, expected {wanted}")
        for field, word in (("BYT_O", "LSB"), ("YUN", "V")):
            reply = self._link.query(f"WFMO:{field}?").strip('"')
            if reply.upper() != word:
                raise self._garbled(field, f"{reply[:20]!r}, expected {word}")
        scale_v, offset, zero_v = (ask(f"WFMO:{f}?") for f in ("YMU", "YOF", "YZE"))
        if not scale_v > 0.0:
            raise self._garbled("YMU", f"{scale_v:g} V per code")
        return scale_v, zero_v - offset * scale_v

    def _garbled(self, field: str, reason: str) -> WireProtocolError:
        return WireProtocolError(self.name, f"WFMO:{field}?", reason)

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
                    f"limits of this series are {low:g}..{high:g}",
                )


def _channel_commands(n: int, range_v: float) -> list[str]:
    return [
        f"DIS:GLO:CH{n}:STATE ON",
        f"CH{n}:TER 50",
        f"CH{n}:COUP DC",
        f"CH{n}:SCA {range_v / DIVISIONS:.9g}",
        f"CH{n}:POS 0",
        f"CH{n}:OFFS 0",
    ]


def _trigger_commands(config: DigitizerConfig) -> list[str]:
    if config.trigger == "immediate":
        return ["TRIG:A:MOD AUTO"]
    return [
        "TRIG:A:TYP EDGE",
        "TRIG:A:EDGE:SOU AUX",
        "TRIG:A:EDGE:SLO RIS",
        f"TRIG:AUXL {config.trigger_level_v:g}",
        "TRIG:A:MOD NORM",
    ]
