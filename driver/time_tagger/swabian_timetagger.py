"""Swabian Instruments Time Tagger 20, Ultra and X, through the maker's package.

A stream of tags (``TimeTagStream``) is started for the length of a record and
emptied often, because its buffer holds a given number of tags only. Missed events
and overflows are kept: a record with any is delivered, and says so.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driver.hal import Edge, Identity, Snapshot, TaggerChannel, TaggerConfig
from driver.restoring import require_same
from driver.time_tagger.swabian_link import SwabianLink
from driver.time_tagger.tagger_limits import TaggerLimits
from scqc.core.clock import Deadline
from scqc.core.errors import (
    DeviceError,
    InstrumentTimeout,
    StateError,
    WireProtocolError,
)
from scqc.core.records import TimeTags

LIMITS = TaggerLimits(
    channels=tuple(range(1, 19)),
    threshold_v=(-2.5, 2.5),
    delay_ps=(0, 1_000_000),
    duration_s=(1e-6, 1000.0),
    integration_s=(1e-6, 10.0),
)
BUFFER_TAGS = 4_000_000
PS_PER_S = 10**12
# Kinds of events in a stream: a tag, a fault of the time base, and the number of
# tags that were missed.
TAG, FAULT, MISSED = 0, 1, 4
_POLL_S = 2e-3


class SwabianTimeTagger:
    """Driver for role `TimeTagger`.

    Parameters
    ----------
    link : SwabianLink
    """

    def __init__(self, link: SwabianLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: TaggerConfig | None = None
        self._numbers: dict[int, int] = {}
        self._stream: Any = None
        self._duration_ps = 0

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect."""
        self._stream = None
        return self._link.open()

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._stream = None
        self._link.close()

    def ping(self) -> None:
        """Check that the tagger still answers."""
        with self._link.using("getSerial") as device:
            device.getSerial()

    def safe_state(self, timeout_s: float) -> None:
        """Stop recording; a time tagger emits nothing."""
        stream, self._stream = self._stream, None
        with self._link.using("stop"):
            if stream is not None:
                stream.stop()

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        channels = self._config.channels if self._config else {}
        return {
            "channels": {
                str(n): {
                    "threshold_v": c.threshold_v,
                    "edge": c.edge,
                    "delay_ps": c.delay_ps,
                }
                for n, c in channels.items()
            }
        }

    def configure(self, config: TaggerConfig) -> TaggerConfig:
        """Set the inputs; return what the device took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses.
        """
        LIMITS.check(self.name, config)
        self._config = None
        self.safe_state(self._link.io_timeout_s)
        taken: dict[int, TaggerChannel] = {}
        numbers: dict[int, int] = {}
        with self._link.using("configure") as device:
            for n, channel in sorted(config.channels.items()):
                device.setTriggerLevel(n, channel.threshold_v)
                number = self._number(device, n, channel.edge)
                device.setInputDelay(number, channel.delay_ps)
                numbers[number] = n
                taken[n] = TaggerChannel(
                    float(device.getTriggerLevel(n)),
                    channel.edge,
                    int(device.getInputDelay(number)),
                )
        self._numbers = numbers
        self._config = TaggerConfig(taken)
        return self._config

    def restore(self) -> None:
        """Set what was configured last, read it back and compare.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        if self._config is not None:
            require_same(self.name, self._config, self.configure(self._config))

    def start(self, duration_s: float) -> None:
        """Record from now on for `duration_s` [s]; an earlier record is forgotten.

        Raises
        ------
        RangeError
            If the duration is outside the limits; nothing is sent.
        StateError
            If the tagger is not configured.
        DeviceError
        """
        self._require_config("start")
        LIMITS.check_duration(self.name, duration_s)
        self.safe_state(self._link.io_timeout_s)
        duration_ps = round(duration_s * PS_PER_S)
        with self._link.using("TimeTagStream") as device:
            numbers = list(self._numbers)
            stream = self._link.sdk.TimeTagStream(device, BUFFER_TAGS, numbers)
            device.clearOverflows()
            stream.startFor(duration_ps)
        self._stream, self._duration_ps = stream, duration_ps

    def read(self, timeout_s: float) -> TimeTags:
        """Wait for the end of the recording and return all tags, in order of time.

        Raises
        ------
        InstrumentTimeout
            If they are not all here after `timeout_s` [s].
        WireProtocolError
            If tags are out of order, or lie outside the record.
        StateError
            If nothing was started.
        DeviceError
        """
        stream, self._stream = self._stream, None
        if stream is None:
            raise StateError(self.name, "read", "nothing was started")
        with self._link.using("getData") as device:
            parts = self._drain(stream, Deadline(timeout_s))
            overran = int(device.getOverflows()) > 0
        return self._record(parts, overran)

    def stop(self) -> None:
        """Stop recording; what was recorded is forgotten."""
        self.safe_state(self._link.io_timeout_s)

    def counts(self, integration_s: float) -> dict[int, int]:
        """Return how often each configured input fires in `integration_s` [s].

        Raises
        ------
        RangeError
            If the time is outside the limits; nothing is sent.
        StateError
            If the tagger is not configured.
        InstrumentTimeout, DeviceError
        """
        self._require_config("counts")
        LIMITS.check_integration(self.name, integration_s)
        timeout_s = integration_s + self._link.io_timeout_s
        with self._link.using("Countrate") as device:
            rates = self._link.sdk.Countrate(device, list(self._numbers))
            rates.startFor(round(integration_s * PS_PER_S))
            if not rates.waitUntilFinished(round(1e3 * timeout_s)):
                reason = f"not done within {timeout_s:g} s"
                raise InstrumentTimeout(self.name, "Countrate", reason)
            totals = rates.getCountsTotal()
        inputs = self._numbers.values()
        return {n: int(total) for n, total in zip(inputs, totals, strict=True)}

    def _number(self, device: Any, n: int, edge: Edge) -> int:
        """Return the package's number of an input: another one for falling edges."""
        if edge == "rising":
            return n
        number, unused = device.getInvertedChannel(n), self._link.sdk.CHANNEL_UNUSED
        if number == unused:
            reason = "has no falling edge"
            raise DeviceError(self.name, f"input {n}", [(-1, reason)])
        return int(number)

    def _drain(self, stream: Any, deadline: Deadline) -> list[Any]:
        """Empty the stream until it has ended; return its buffers."""
        parts = []
        while True:
            running = stream.isRunning()
            parts.append(stream.getData())
            if not running:
                return parts
            if deadline.expired:
                stream.stop()
                reason = f"still recording after {deadline.timeout_s:g} s"
                raise InstrumentTimeout(self.name, "getData", reason)
            time.sleep(min(_POLL_S, deadline.remaining_s()))

    def _record(self, parts: list[Any], overran: bool) -> TimeTags:
        """Put the buffers together; full ones may have lost tags."""
        kinds = np.concatenate([np.asarray(p.getEventTypes()) for p in parts])
        stamps = np.concatenate([np.asarray(p.getTimestamps()) for p in parts])
        numbers = np.concatenate([np.asarray(p.getChannels()) for p in parts])
        missed = np.concatenate([np.asarray(p.getMissedEvents()) for p in parts])
        lost = int(missed[kinds == MISSED].astype(np.int64).sum())
        overran |= any(p.hasOverflows or p.size >= BUFFER_TAGS for p in parts)
        overran |= bool(np.any(kinds == FAULT))
        is_tag = kinds == TAG
        times = stamps[is_tag].astype(np.int64) - int(parts[0].tStart)
        self._check_times(times)
        channels = np.zeros(times.size, dtype=np.uint8)
        for number, n in self._numbers.items():
            channels[numbers[is_tag] == number] = n
        if np.any(channels == 0):
            raise WireProtocolError(self.name, "getData", "tags of another input")
        return TimeTags(times, channels, self._duration_ps, lost, bool(overran))

    def _check_times(self, times: NDArray[np.int64]) -> None:
        if not times.size:
            return
        low, high = int(times[0]), int(times[-1])
        if np.any(np.diff(times) < 0) or low < 0 or high > self._duration_ps:
            reason = f"{low}..{high} ps, recorded were {self._duration_ps} ps, in order"
            raise WireProtocolError(self.name, "getData", reason)

    def _require_config(self, action: str) -> TaggerConfig:
        if self._config is None:
            raise StateError(self.name, action, "the tagger is not configured")
        return self._config
