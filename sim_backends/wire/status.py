"""Status reporting as IEEE 488.2 and SCPI-99 (volume 1, section 20) have it.

Errors go to a bounded queue and set the event bit of their class. Conditions go
through transition filters into event registers, and what is enabled of those is
summed up in the status byte.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

QUEUE_LENGTH = 30
MESSAGES = {
    0: "No error",
    -100: "Command error",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -131: "Invalid suffix",
    -161: "Invalid block data",
    -200: "Execution error",
    -211: "Trigger ignored",
    -221: "Settings conflict",
    -222: "Data out of range",
    -223: "Too much data",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -241: "Hardware missing",
    -256: "File name not found",
    -310: "System error",
    -350: "Queue overflow",
    -400: "Query error",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}

# Standard event status register (IEEE 488.2, 11.5.1).
OPERATION_COMPLETE, REQUEST_CONTROL, QUERY_ERROR, DEVICE_ERROR = 0x01, 0x02, 0x04, 0x08
EXECUTION_ERROR, COMMAND_ERROR, USER_REQUEST, POWER_ON = 0x10, 0x20, 0x40, 0x80
# Status byte (IEEE 488.2, 11.2; SCPI-99, 20.1).
ERROR_AVAILABLE, QUESTIONABLE, MESSAGE_AVAILABLE = 0x04, 0x08, 0x10
EVENT_SUMMARY, MASTER_SUMMARY, OPERATION = 0x20, 0x40, 0x80
# The class of an error is the hundreds of its code (SCPI-99, volume 2, 21.8.2).
_CLASS_BITS = {
    1: COMMAND_ERROR,
    2: EXECUTION_ERROR,
    3: DEVICE_ERROR,
    4: QUERY_ERROR,
    5: POWER_ON,
    6: USER_REQUEST,
    7: REQUEST_CONTROL,
    8: OPERATION_COMPLETE,
}
_ALL_BITS = 0x7FFF  # bit 15 is never used


class ScpiError(Exception):
    """A command the instrument refuses, with its standard code."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def event_bit(code: int) -> int:
    """Return the event bit of an error's class; a device's own codes are positive."""
    return _CLASS_BITS.get(-code // 100, DEVICE_ERROR) if code < 0 else DEVICE_ERROR


class ErrorQueue:
    """Bounded first-in first-out; the last place tells of an overflow."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, code: int, detail: str = "") -> None:
        """Add an entry; a full queue keeps -350 instead."""
        text = MESSAGES.get(code, "Device-specific error")
        if detail:
            text = f"{text};{detail}"
        if len(self._entries) >= QUEUE_LENGTH:
            self._entries[-1] = (-350, MESSAGES[-350])
        else:
            self._entries.append((code, text))

    def pop(self) -> tuple[int, str]:
        """Return the oldest entry, or 0."""
        return self._entries.popleft() if self._entries else (0, MESSAGES[0])

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()


@dataclass(slots=True)
class RegisterGroup:
    """Condition, transition filters, event and enable of one SCPI status group."""

    condition: int = 0
    event: int = 0
    enable: int = 0
    positive: int = _ALL_BITS
    negative: int = 0

    def update(self, condition: int) -> None:
        """Take a new condition; changes that a filter lets through are events."""
        risen = condition & ~self.condition & self.positive
        fallen = self.condition & ~condition & self.negative
        self.event |= (risen | fallen) & _ALL_BITS
        self.condition = condition & _ALL_BITS

    def take_event(self) -> int:
        """Return the event register: reading clears it."""
        value, self.event = self.event, 0
        return value

    def preset(self) -> None:
        """``STATus:PRESet``: enable nothing, report what begins."""
        self.enable, self.positive, self.negative = 0, _ALL_BITS, 0

    @property
    def summary(self) -> bool:
        """Whether an enabled event is waiting."""
        return bool(self.event & self.enable)


class StatusModel:
    """Event status, operation and questionable status, and the error queue."""

    def __init__(self) -> None:
        self.errors = ErrorQueue()
        self.operation = RegisterGroup()
        self.questionable = RegisterGroup()
        self.power_on()

    def power_on(self) -> None:
        """Forget all; the power-on event is set."""
        self.errors.clear()
        self.event_status = POWER_ON
        self.event_enable = 0
        self.service_enable = 0
        for group in (self.operation, self.questionable):
            group.event = group.condition = 0
            group.preset()

    def report(self, error: ScpiError) -> None:
        """Queue an error and set its event bit."""
        full = len(self.errors) >= QUEUE_LENGTH
        self.errors.push(error.code, error.detail)
        self.event_status |= event_bit(error.code) | (DEVICE_ERROR if full else 0)

    def clear(self) -> None:
        """``*CLS``: events and errors go, what is enabled stays."""
        self.errors.clear()
        self.event_status = self.operation.event = self.questionable.event = 0

    def take_event_status(self) -> int:
        """``*ESR?``: reading clears."""
        value, self.event_status = self.event_status, 0
        return value

    def byte(self, *, message_available: bool = False) -> int:
        """Return the status byte; its master summary is what ``*SRE`` enables."""
        value = ERROR_AVAILABLE if len(self.errors) else 0
        value |= MESSAGE_AVAILABLE if message_available else 0
        value |= QUESTIONABLE if self.questionable.summary else 0
        value |= OPERATION if self.operation.summary else 0
        value |= EVENT_SUMMARY if self.event_status & self.event_enable else 0
        enabled = self.service_enable & ~MASTER_SUMMARY
        return value | (MASTER_SUMMARY if value & enabled else 0)
