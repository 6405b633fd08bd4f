"""How a run ends: exit code and next step, by class of error."""

from __future__ import annotations

from scqc.core.errors import (
    CalibrationError,
    CaptureError,
    ClippedError,
    ConfigError,
    ConnectError,
    DeliveryError,
    DiskSpaceError,
    InstrumentError,
    InstrumentTimeout,
    KeySinkError,
    LockError,
    ModelRangeError,
    OrbitError,
    PayloadError,
    PeerError,
    PeerLost,
    PlanSettingsError,
    ProtocolAbort,
    ScqcError,
    SignalError,
    SyncError,
    WatchdogError,
)

INTERRUPTED = 130
_EXIT_CODES: tuple[tuple[type[ScqcError], int], ...] = (
    (ConfigError, 2),
    (PayloadError, 2),
    (ModelRangeError, 2),
    (OrbitError, 2),
    (InstrumentError, 4),
    (SignalError, 5),
    (ProtocolAbort, 6),
    (PeerError, 7),
    (KeySinkError, 8),
    (CaptureError, 9),
)
# The first class that fits speaks, so the special ones stand first.
_HINTS: tuple[tuple[type[ScqcError], str], ...] = (
    (PlanSettingsError, "`scqc plan PRESET` lists every key with its value"),
    (ConfigError, "correct it; of a lab config `scqc config check FILE` says more"),
    (
        PayloadError,
        "give another file; link.bursts, security.direct_frames let a block carry more",
    ),
    (ModelRangeError, "stay within what the model is known for, as the message says"),
    (OrbitError, "check the two lines of the TLE, and that its epoch is near"),
    (ConnectError, "check power, cable and resource; `scqc devices CONFIG` asks each"),
    (InstrumentTimeout, "raise io_timeout_s, or look whether the instrument is busy"),
    (WatchdogError, "the station was made safe; the journal says why"),
    (InstrumentError, "see the journal for the last commands; `scqc devices CONFIG`"),
    (ClippedError, "raise bob.digitizer.range_v or lower the pilots"),
    (CalibrationError, "check that the shutters block what [wiring] says they block"),
    (SyncError, "check the light path, and the search ranges in [bob.receiver]"),
    (LockError, "check pilots and beat, or pulse rate and the clocks' error"),
    (SignalError, "compare with the report of a run that worked"),
    (ProtocolAbort, "no key was stored; look for the cause, then repeat the run"),
    (PeerLost, "see that the other program runs; it is greeted as soon as it answers"),
    (PeerError, "docs/two-computers.md says how two ends find each other"),
    (DeliveryError, "docs/reference/key-delivery.md says what delivery needs"),
    (KeySinkError, "docs/explanation/keys.md says what to do, by what happened"),
    (DiskSpaceError, "free some space, send less, or `run --discard-captures`"),
    (CaptureError, "`scqc inspect FILE` says what is left; --salvage rescues it"),
)


def exit_code(error: ScqcError) -> int:
    """Return the exit code of an error's class."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def hint(error: ScqcError) -> str:
    """Return what to do next about an error."""
    return next((text for kind, text in _HINTS if isinstance(error, kind)), "")
