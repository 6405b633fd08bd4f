"""The digitiser of a Red Pitaya: records what follows the trigger.

The board writes into a ring of 16384 samples until a set number of samples after
the trigger. The number is chosen so that the record is exactly what was asked
for, read from the trigger position on. Codes are read as the converter gives
them; the board's own calibration is not applied to them.
"""

from __future__ import annotations

import time
from typing import cast

import numpy as np
from numpy.typing import NDArray

from driver.hal import DigitizerConfig, Snapshot
from driver.redpitaya.limits import (
    ADC_STEPS,
    BUFFER_SAMPLES,
    CHANNELS,
    GAINS_V,
    N_SAMPLES,
    RANGE_V,
    TOP_CODE,
    TRIGGER_LEVEL_V,
    check,
    decimation,
)
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_taken
from scqc.core.clock import Deadline
from scqc.core.errors import (
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import Trace

# A delay of zero leaves half of the ring for what follows the trigger.
DELAY_ORIGIN = BUFFER_SAMPLES // 2
_POLL_S = 1e-3
_POLL_MAX_S = 20e-3


class Acquisition:
    """The digitiser half of the box.

    Parameters
    ----------
    link : ScpiLink
    """

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self.config: DigitizerConfig | None = None
        self._armed = self._complete = False

    def forget(self) -> None:
        """Take it that nothing is recorded."""
        self._armed = self._complete = False

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self.config
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
        """Set rate, length and ranges; return what the device took."""
        factor = self._check_config(config)
        self.config = None
        self.forget()
        gains = {n: _gain(range_v) for n, range_v in config.range_v.items()}
        delay = config.n_samples - DELAY_ORIGIN
        with self._link.batch() as batch:
            batch += [
                "ACQ:STOP",
                "ACQ:RST",
                f"ACQ:DEC {factor}",
                "ACQ:AVG ON",
                "ACQ:DATA:Units RAW",
                "ACQ:DATA:FORMAT BIN",
                *(f"ACQ:SOUR{n}:GAIN {gain}" for n, gain in gains.items()),
                f"ACQ:TRig:DLY {delay}",
            ]
        got = self._link.query_number("ACQ:DEC?")
        require_taken(self.name, "ACQ:DEC", factor, got, 0.0)
        got = self._link.query_number("ACQ:TRig:DLY?")
        require_taken(self.name, "ACQ:TRig:DLY", delay, got, 0.0)
        for n, gain in gains.items():
            reply = self._link.query(f"ACQ:SOUR{n}:GAIN?")
            if reply != gain:
                text = f"set to {gain}, reads {reply[:20]}"
                raise DeviceError(self.name, f"ACQ:SOUR{n}:GAIN", [(0, text)])
        self.config = DigitizerConfig(
            config.rate_hz,
            config.n_samples,
            {n: GAINS_V[gain] for n, gain in gains.items()},
            config.trigger,
            config.trigger_level_v,
        )
        return self.config

    def arm(self, *, own_generator: bool) -> None:
        """Get ready to record; an earlier record is forgotten.

        Parameters
        ----------
        own_generator : bool
            Whether an external trigger is the start of the box's own generator,
            which needs no cable.
        """
        config = self._require_config("arm")
        self._complete = False
        source = "AWG_PE" if own_generator else "EXT_PE"
        with self._link.batch() as batch:
            batch += [
                "ACQ:START",
                "ACQ:TRig NOW"
                if config.trigger == "immediate"
                else f"ACQ:TRig {source}",
            ]
        self._armed = True

    def wait(self, timeout_s: float) -> None:
        """Return when the record is complete."""
        if not self._armed:
            raise StateError(self.name, "wait", "the digitiser is not armed")
        deadline = Deadline(timeout_s)
        self._poll("ACQ:TRig:STAT?", ("WAIT", "TD"), deadline)
        self._poll("ACQ:TRig:FILL?", ("0", "1"), deadline)
        self._armed, self._complete = False, True

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record."""
        config = self._require_config("fetch")
        if not self._complete:
            raise StateError(self.name, "fetch", "no record is complete")
        deadline = Deadline(timeout_s)
        at = self._link.query_number("ACQ:TPOS?", max(deadline.remaining_s(), 1e-3))
        if not (0 <= at < BUFFER_SAMPLES and at == int(at)):
            reason = f"{at:g} is no position in 0..{BUFFER_SAMPLES - 1}"
            raise WireProtocolError(self.name, "ACQ:TPOS?", reason)
        channels = sorted(config.range_v)
        codes: NDArray[np.int16] = np.empty(
            (len(channels), config.n_samples), dtype=np.int16
        )
        for row, n in enumerate(channels):
            query = f"ACQ:SOUR{n}:DATA:STArt:N? {int(at)},{config.n_samples}"
            block = self._link.query_block(
                query, ">i2", config.n_samples, max(deadline.remaining_s(), 1e-3)
            )
            codes[row] = cast(NDArray[np.int16], block)
            if codes[row].max() > TOP_CODE or codes[row].min() < -TOP_CODE - 1:
                raise WireProtocolError(self.name, query, "codes of more than 14 bits")
        clipped = tuple(
            int(np.count_nonzero((row >= TOP_CODE) | (row <= -TOP_CODE - 1)))
            for row in codes
        )
        scales = tuple(config.range_v[n] / ADC_STEPS for n in channels)
        offsets = (0.0,) * len(channels)
        return Trace(codes, scales, offsets, config.rate_hz, 0.0, clipped)

    def abort(self) -> None:
        """Stop recording."""
        self.forget()
        with self._link.batch() as batch:
            batch.append("ACQ:STOP")

    def _poll(self, query: str, states: tuple[str, str], deadline: Deadline) -> None:
        """Ask until the answer is the second of `states`."""
        pause_s = _POLL_S
        while True:
            left_s = max(min(self._link.io_timeout_s, deadline.remaining_s()), 1e-3)
            reply = self._link.query(query, left_s)
            if reply == states[1]:
                return
            if reply != states[0]:
                known = " or ".join(states)
                raise WireProtocolError(
                    self.name, query, f"{reply[:20]!r}, not {known}"
                )
            if deadline.remaining_s() <= pause_s:
                reason = f"no complete record within {deadline.timeout_s:g} s"
                raise InstrumentTimeout(self.name, query, reason)
            time.sleep(pause_s)
            pause_s = min(2.0 * pause_s, _POLL_MAX_S)

    def _require_config(self, action: str) -> DigitizerConfig:
        if self.config is None:
            raise StateError(self.name, action, "the digitiser is not configured")
        return self.config

    def _check_config(self, config: DigitizerConfig) -> int:
        """Check everything; return the decimation."""
        if not config.range_v or not set(config.range_v) <= set(CHANNELS):
            raise RangeError(
                self.name, f"channels {sorted(config.range_v)}", "has channels 1 and 2"
            )
        check(self.name, "record length", config.n_samples, N_SAMPLES, "samples")
        check(self.name, "trigger level", config.trigger_level_v, TRIGGER_LEVEL_V, "V")
        for n, range_v in config.range_v.items():
            check(self.name, f"range {n}", range_v, RANGE_V, "V")
        return decimation(self.name, config.rate_hz)


def _gain(range_v: float) -> str:
    """Return the more sensitive of the two ranges that holds `range_v` [V]."""
    return "LV" if range_v <= GAINS_V["LV"] else "HV"
