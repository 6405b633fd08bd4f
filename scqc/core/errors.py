"""Every error this project raises on purpose.

ScqcError
├── ConfigError                the lab config is wrong (all problems at once)
│   └── PlanSettingsError      the settings of a plan are wrong
├── InstrumentError            an instrument misbehaved
│   ├── ConnectError           refused, unreachable, or not the expected model
│   ├── ConnectionLost         the link ended while in use
│   ├── InstrumentTimeout      no answer within the deadline
│   ├── WireProtocolError      an answer that does not parse
│   ├── DeviceError            the device reported errors of its own
│   ├── RangeError             a setting outside the limits, before any I/O
│   ├── StateError             a call in the wrong state (fetch before arm)
│   └── WatchdogError          the watchdog acted, or is not there
├── SignalError                the light carried no usable signal
│   ├── SyncError              no frame found
│   ├── LockError              pilots or clock not found, or lost
│   ├── ClippedError           quantum samples hit the converter's rails
│   └── CalibrationError       shot or electronic noise missing or implausible
├── CaptureError               a file is damaged, hostile or unsupported
│   └── DiskSpaceError         no room for the next record
├── ProtocolAbort              a security check failed: no key
├── PeerError                  the other side broke the rules
│   ├── PeerRefused            it refused, and says why
│   └── PeerLost               it does not answer any more
├── PayloadError               the payload does not fit the run
├── ModelRangeError            a model was asked outside its range
├── OrbitError                 elements of a satellite that cannot be used
└── KeySinkError               the key store refused
    └── DeliveryError          an application's request for keys was refused
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ScqcError(Exception):
    """Base of every error this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong in a lab config."""

    file: str
    table: str
    key: str
    value: str
    limit: str

    def __str__(self) -> str:
        where = f"[{self.table}] {self.key}" if self.table else self.key
        return f"{self.file}: {where} = {self.value}: {self.limit}"


class ConfigError(ScqcError, ValueError):
    """A lab config with one or more problems, all of them listed."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


class PlanSettingsError(ConfigError):
    """Settings of a plan with one or more problems, all of them listed."""


class InstrumentError(ScqcError):
    """An instrument misbehaved; carries its name and the command in flight."""

    def __init__(self, instrument: str, command: str, reason: str) -> None:
        super().__init__(f"{instrument}: {command!r}: {reason}")
        self.instrument, self.command, self.reason = instrument, command, reason


class ConnectError(InstrumentError, ConnectionError):
    """The instrument could not be reached, or is not the expected one."""


class ConnectionLost(InstrumentError, ConnectionError):  # noqa: N818
    """The link ended while it was in use."""


class InstrumentTimeout(InstrumentError, TimeoutError):  # noqa: N818
    """No answer within the deadline; the link is resynchronised before reuse."""


class WireProtocolError(InstrumentError):
    """An answer that does not parse: garbage, half a block, a wrong length."""


class DeviceError(InstrumentError):
    """The device's own error queue had entries."""

    def __init__(
        self, instrument: str, command: str, entries: Sequence[tuple[int, str]]
    ) -> None:
        text = "; ".join(f"{code}, {message}" for code, message in entries)
        super().__init__(instrument, command, f"device reports {text}")
        self.entries = tuple(entries)


class RangeError(InstrumentError, ValueError):
    """A setting outside the instrument's limits; nothing was sent."""


class StateError(InstrumentError):
    """A call that the instrument's state does not allow."""


class WatchdogError(InstrumentError):
    """The watchdog made the station safe, or is gone: nothing more is sent."""


class SignalError(ScqcError):
    """The light carried no usable signal."""


class SyncError(SignalError):
    """No frame was found."""


class LockError(SignalError):
    """Pilots, carrier or clock were not found, or were lost."""


class ClippedError(SignalError):
    """Quantum samples hit the rails of the converter: the block is refused."""


class CalibrationError(SignalError):
    """Shot or electronic noise is missing, swapped or implausible."""


class CaptureError(ScqcError):
    """A capture file is damaged, hostile, unfinished or unsupported."""


class DiskSpaceError(CaptureError):
    """The disk has no room for the next record."""


class ProtocolAbort(ScqcError):  # noqa: N818
    """A security check failed; no key may be released."""


class ErrorRateAbort(ProtocolAbort):
    """The channel makes more errors than the config allows."""


class PeerError(ScqcError):
    """The other side broke the rules of the message exchange."""


class PeerRefused(PeerError):  # noqa: N818
    """The other side refused what it was asked; carries its error and sentence."""

    def __init__(self, action: str, error: str, sentence: str) -> None:
        super().__init__(f"{action}: the peer refused with {error}: {sentence}")
        self.error, self.sentence = error, sentence


class PeerLost(PeerError, TimeoutError):  # noqa: N818
    """The other side does not answer any more."""


class PeerUnreached(PeerLost):
    """There was no connection; nothing of what was to be said has left."""


class PayloadError(ScqcError, ValueError):
    """The payload does not fit what the run carries."""


class ModelRangeError(ScqcError, ValueError):
    """A model was asked outside its range; names the range and the nearest value."""

    def __init__(
        self, quantity: str, value: float, limits: tuple[float, float], why: str = ""
    ) -> None:
        low, high = limits
        self.nearest = min(max(value, low), high) if value == value else low
        # A value next to a limit must not look like it.
        digits = ".12g" if f"{value:g}" == f"{self.nearest:g}" else "g"
        super().__init__(
            f"{quantity} = {value:{digits}} is outside the model's range {low:g} to "
            f"{high:{digits}}{': ' if why else ''}{why}; nearest valid value "
            f"{self.nearest:{digits}}"
        )
        self.quantity, self.value, self.limits = quantity, value, limits
        self.why = why


class OrbitError(ScqcError, ValueError):
    """Elements of a satellite, or a time, that give no position."""


class KeySinkError(ScqcError):
    """The key store refused: absent, damaged, spent, or not enough key."""


class DeliveryError(KeySinkError):
    """A request for keys was refused; carries the HTTP status and its details."""

    def __init__(
        self, status: int, message: str, details: Sequence[dict[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, tuple(details)
