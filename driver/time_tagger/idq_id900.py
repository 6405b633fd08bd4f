"""ID Quantique ID900 and ID1000 time controllers.

The controller is told what to record over one ZeroMQ socket; the tags of each
input arrive on a stream of its own from the data link service, as little-endian
64-bit picoseconds since the start, and an empty message ends a stream. All tags
of one acquisition are merged by time here, after the recording has ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driver.hal import Edge, Identity, Snapshot, TaggerChannel, TaggerConfig
from driver.restoring import require_same
from driver.time_tagger.idq_link import IdqLink
from scqc.core.clock import Deadline
from scqc.core.errors import (
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import TimeTags

CHANNELS = (1, 2, 3, 4)
THRESHOLD_V = (-2.0, 2.0)
DELAY_PS = (0, 1_000_000)
DURATION_S = (1e-6, 1000.0)
INTEGRATION_S = (1e-6, 10.0)
SORT_WINDOW_PS = 100_000
PS_PER_S = 10**12
_POLL_S = 2e-3
# Of the converter that sets a threshold, and of rounding.
_THRESHOLD_STEP_V = 5e-3
# A question asked just before the deadline still gets time for its answer, so
# that a late record is told from a silent tagger.
_ANSWER_S = 0.3
_TAG_BYTES = 8
_CHANNEL_BITS = 2
_LAST_PS = 1 << 61


@dataclass(frozen=True, slots=True)
class _Acquisition:
    """What was started: its length, and the data link's name of each stream."""

    duration_ps: int
    identifiers: dict[int, str]


class IdqId900:
    """Driver for role `TimeTagger`.

    Parameters
    ----------
    link : IdqLink
    """

    def __init__(self, link: IdqLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: TaggerConfig | None = None
        self._running: _Acquisition | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect and stop what a former session may have left running."""
        identity = self._link.open()
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._running = None
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?")

    def safe_state(self, timeout_s: float) -> None:
        """Stop recording; a time tagger emits nothing."""
        self._running = None
        self._link.close_streams()
        self._link.set(["REC:STOP"], timeout_s)

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
            },
            "sort_window_ps": SORT_WINDOW_PS,
        }

    def configure(self, config: TaggerConfig) -> TaggerConfig:
        """Set the inputs; return what the device took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device does not take a value, or left an input off.
        """
        self._check_config(config)
        self._config = None
        self.safe_state(self._link.io_timeout_s)
        commands = []
        for n in CHANNELS:
            channel = config.channels.get(n)
            if channel is None:
                commands.append(f"INPU{n}:ENAB OFF")
            else:
                commands += _settings(n, channel)
        self._link.set(commands)
        taken = {n: self._taken(n, c) for n, c in sorted(config.channels.items())}
        self._config = TaggerConfig(taken)
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

    def start(self, duration_s: float) -> None:
        """Record from now on for `duration_s` [s]; an earlier record is forgotten.

        Raises
        ------
        RangeError
            If the duration is outside the limits; nothing is sent.
        StateError
            If the tagger is not configured.
        DeviceError
            If the data link service refuses.
        """
        config = self._require_config("start")
        self._check("duration", duration_s, DURATION_S, "s")
        duration_ps = round(duration_s * PS_PER_S)
        self.safe_state(self._link.io_timeout_s)
        self._close_left_over()
        self._link.set(
            [
                "REC:TRIG:ARM:MODE MANUal",
                "REC:ENABle ON",
                "REC:NUM 1",
                f"REC:DURation {duration_ps}",
            ]
        )
        identifiers = {n: self._open_stream(n) for n in config.channels}
        self._link.set(["REC:PLAY"])
        self._running = _Acquisition(duration_ps, identifiers)

    def read(self, timeout_s: float) -> TimeTags:
        """Wait for the end of the recording and return all tags, in order of time.

        The tags of one input may be out of order by up to `SORT_WINDOW_PS`;
        that is mended here.

        Raises
        ------
        InstrumentTimeout
            If they are not all here after `timeout_s` [s].
        WireProtocolError
            If the number of tags is not what the data link counted, a tag lies
            outside the recording, or tags are out of order by more.
        StateError
            If nothing was started.
        """
        running = self._running
        if running is None:
            raise StateError(self.name, "read", "nothing was started")
        self._running = None
        deadline = Deadline(timeout_s)
        self._wait(deadline)
        times = {n: self._drain(n, running, deadline) for n in running.identifiers}
        lost, overflow = 0, False
        for n, identifier in running.identifiers.items():
            count = sum(part.size for part in times[n])
            self._finish_stream(n, identifier, count, self._limit_s(deadline))
            lost += self._count(f"RAW{n}:ERRORS?", deadline)
            overflow |= self._count(f"INPU{n}:HIRES:ERROR?", deadline) != 0
        self._link.close_streams()
        # Compiled code is loaded by who reads tags, not by who makes a bench safe.
        from driver.time_tagger.merging import merge_tags

        ordered, channels = merge_tags(times)
        return TimeTags(ordered, channels, running.duration_ps, lost, overflow)

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
        """
        channels = self._require_config("counts").channels
        self._check("integration time", integration_s, INTEGRATION_S, "s")
        for n in channels:
            self._link.set(
                [
                    f"INPU{n}:COUN:MODE CYCL",
                    f"INPU{n}:COUN:INTE {round(integration_s * 1e9)}",
                    f"INPU{n}:COUN:RESEt",
                ]
            )
        time.sleep(integration_s)
        deadline = Deadline(self._link.io_timeout_s)
        return {n: self._count(f"INPU{n}:COUN?", deadline) for n in channels}

    def _taken(self, n: int, asked: TaggerChannel) -> TaggerChannel:
        """Ask what the device made of the settings of an input."""
        threshold_v = self._link.query_number(f"INPU{n}:THRE?")
        delay_ps = round(self._link.query_number(f"DELA{n}:VALU?"))
        reply = self._link.query(f"INPU{n}:EDGE?").lower()
        edges: dict[str, Edge] = {"rising": "rising", "falling": "falling"}
        if reply not in edges:
            raise WireProtocolError(
                self.name, f"INPU{n}:EDGE?", f"{reply[:20]!r} is no edge"
            )
        enabled = self._link.query(f"INPU{n}:ENAB?").upper() in {"ON", "1"}
        taken = (edges[reply], delay_ps)
        near = abs(threshold_v - asked.threshold_v) <= _THRESHOLD_STEP_V
        if taken != (asked.edge, asked.delay_ps) or not near or not enabled:
            state = f"edge {reply}, {threshold_v:g} V, {delay_ps} ps"
            state += ", on" if enabled else ", off"
            raise DeviceError(self.name, f"INPU{n}", [(-1, f"not taken: {state}")])
        return TaggerChannel(threshold_v, edges[reply], delay_ps)

    def _close_left_over(self) -> None:
        """End streams that a former session never closed; their ports are taken."""
        found = self._link.ask_datalink("list")
        if not isinstance(found, list):
            raise WireProtocolError(self.name, "list", f"{found!r:.40} is no list")
        for identifier in found:
            self._link.ask_datalink(f"stop --id {identifier}")

    def _open_stream(self, n: int) -> str:
        self._link.set([f"RAW{n}:ERRORS:CLEAR", f"INPU{n}:HIRES:ERROR:CLEAR"])
        command = (
            f"start-stream --address {self._link.host} --channel {n} "
            f"--stream-port {self._link.stream_port(n)}"
        )
        found = self._link.ask_datalink(command)
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            raise WireProtocolError(self.name, command, f"{found!r:.40} names no id")
        self._link.open_stream(n)
        self._link.set([f"RAW{n}:SEND ON"])
        return str(found["id"])

    def _wait(self, deadline: Deadline) -> None:
        """Return when the device no longer records."""
        command = "REC:STAGe?"
        while True:
            stage = self._link.query(command, self._limit_s(deadline)).upper()
            if not stage.isalpha() or not stage.isascii():
                raise WireProtocolError(self.name, command, f"{stage[:20]!r}")
            if not stage.startswith("PLAY"):
                return
            if deadline.expired:
                reason = f"still recording after {deadline.timeout_s:g} s"
                raise InstrumentTimeout(self.name, command, reason)
            time.sleep(min(_POLL_S, deadline.remaining_s()))

    def _drain(
        self, n: int, running: _Acquisition, deadline: Deadline
    ) -> list[NDArray[np.int64]]:
        """Read the stream of one input to its end and check what came."""
        parts: list[NDArray[np.int64]] = []
        action = f"stream of input {n}"
        while message := self._link.receive(n, deadline):
            if message.nbytes % _TAG_BYTES:
                reason = f"{message.nbytes} bytes are no whole number of tags"
                raise WireProtocolError(self.name, action, reason)
            # A time beyond 63 bits shows as a negative one.
            parts.append(np.frombuffer(message, dtype="<i8"))
        return self._in_order(parts, running.duration_ps, action) if parts else []

    def _in_order(
        self, parts: list[NDArray[np.int64]], duration_ps: int, action: str
    ) -> list[NDArray[np.int64]]:
        """Refuse tags outside the record, or out of order beyond the window."""
        from driver.time_tagger.merging import largest_step_back, settle

        back_ps, high_ps = 0, int(parts[0][0])
        for part in parts:
            step_ps, high_ps = largest_step_back(part, high_ps)
            back_ps = max(back_ps, step_ps)
        if back_ps > SORT_WINDOW_PS:
            reason = f"out of order by {back_ps} ps, window is {SORT_WINDOW_PS} ps"
            raise WireProtocolError(self.name, action, reason)
        if back_ps:
            parts = [np.concatenate(parts)]
            settle(parts[0])
        low, high = int(parts[0][0]), int(parts[-1][-1])
        if low < 0 or high > min(duration_ps + SORT_WINDOW_PS, _LAST_PS):
            reason = f"{low}..{high} ps, recorded were {duration_ps} ps"
            raise WireProtocolError(self.name, action, reason)
        return parts

    def _finish_stream(
        self, n: int, identifier: str, received: int, timeout_s: float
    ) -> None:
        """Close a stream at the data link and compare counts with it."""
        command = f"stop --id {identifier}"
        found = self._link.ask_datalink(command, timeout_s)
        status = found.get("status") if isinstance(found, dict) else None
        if not isinstance(status, dict):
            raise WireProtocolError(self.name, command, f"{found!r:.40} has no status")
        if status.get("errors"):
            text = "; ".join(str(e.get("description")) for e in status["errors"])
            raise DeviceError(self.name, command, [(-1, text)])
        sent = status.get("timestamps_count")
        if sent != received:
            reason = f"{received} tags of input {n} received, {sent} sent"
            raise WireProtocolError(self.name, command, reason)
        self._link.set([f"RAW{n}:SEND OFF"], timeout_s)

    def _count(self, command: str, deadline: Deadline) -> int:
        """Ask for a counter; it is neither negative nor fractional."""
        value = self._link.query_number(command, self._limit_s(deadline))
        if not (value >= 0.0 and value.is_integer()):
            raise WireProtocolError(self.name, command, f"{value:g} is no count")
        return int(value)

    def _limit_s(self, deadline: Deadline) -> float:
        """Return how long one exchange may take before `deadline`."""
        return min(self._link.io_timeout_s, max(deadline.remaining_s(), _ANSWER_S))

    def _require_config(self, action: str) -> TaggerConfig:
        if self._config is None:
            raise StateError(self.name, action, "the tagger is not configured")
        return self._config

    def _check_config(self, config: TaggerConfig) -> None:
        if not config.channels:
            raise RangeError(self.name, "no channels", "needs at least one")
        for n, channel in config.channels.items():
            if n not in CHANNELS:
                raise RangeError(self.name, f"channel {n}", "has channels 1 to 4")
            if channel.edge not in ("rising", "falling"):
                raise RangeError(self.name, f"edge {channel.edge}", "rising or falling")
            self._check(f"threshold {n}", channel.threshold_v, THRESHOLD_V, "V")
            self._check(f"delay {n}", channel.delay_ps, DELAY_PS, "ps")

    def _check(
        self, what: str, value: float, limits: tuple[float, float], unit: str
    ) -> None:
        low, high = limits
        if not low <= value <= high:
            raise RangeError(
                self.name, f"{what} {value:g} {unit}", f"limits are {low:g}..{high:g}"
            )


def _settings(n: int, channel: TaggerChannel) -> list[str]:
    """Return the commands that route input `n` to its own stream."""
    edge = channel.edge.upper()
    return [
        f"INPU{n}:COUP DC;EDGE {edge};THRE {channel.threshold_v:+.3f}V;"
        "SELE UNSHAPED;ENAB ON",
        f"DELA{n}:LINK INPU{n};VALU {channel.delay_ps}",
        f"TSCO{n}:FIR:LINK DELA{n};:TSCO{n}:OPIN ONLYFIR;OPOU ONLYFIR",
        f"RAW{n}:REF:LINK NONE;:RAW{n}:STOP:LINK TSCO{n}",
    ]
