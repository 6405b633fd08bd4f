"""A lost instrument comes back: the same one, with the same set-points."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from driver.hal import Identity, Instrument, Restorable
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentTimeout,
)

_RELATIVE = 1e-6
_PAUSE_S = 0.1
_UNREACHABLE = (ConnectError, ConnectionLost, InstrumentTimeout)


def require_same(instrument: str, asked: object, taken: object) -> None:
    """Compare settings, numbers to one part in a million.

    Parameters
    ----------
    instrument : str
        Named in the error.
    asked, taken : dataclass of the same type
        What was configured, and what the device took now.

    Raises
    ------
    DeviceError
        With every set-point that differs.
    """
    wrong = [
        (-1, f"{name} is {b!r}, was {a!r}")
        for name, a, b in _pairs("", asked, taken)
        if not _same(a, b)
    ]
    if wrong:
        raise DeviceError(instrument, "restore", wrong)


def reconnect(instrument: Instrument, timeout_s: float) -> None:
    """Open an instrument anew and set it again as it was configured last.

    It is in its safe state then: whatever emits has to be armed again.

    Parameters
    ----------
    instrument : Instrument
        Opened before.
    timeout_s : float
        How long it may take until it can be reached again [s].

    Raises
    ------
    ConnectError
        If it cannot be reached, or another one answers.
    DeviceError
        If a set-point is not what it was.
    """
    before = instrument.identity
    instrument.close()
    found = _opened(instrument, Deadline(timeout_s))
    if (found.vendor, found.model, found.serial) != (
        before.vendor,
        before.model,
        before.serial,
    ):
        instrument.close()
        raise ConnectError(
            instrument.name, "reconnect", f"{found} answers for {before}"
        )
    if isinstance(instrument, Restorable):
        instrument.restore()


def _opened(instrument: Instrument, deadline: Deadline) -> Identity:
    """Open, which makes safe and empties the error queue; try until `deadline`."""
    while True:
        try:
            return instrument.open()
        except _UNREACHABLE as error:
            instrument.close()
            if deadline.expired:
                raise ConnectError(
                    instrument.name,
                    "reconnect",
                    f"not back within {deadline.timeout_s:g} s: {error}",
                ) from error
        time.sleep(_PAUSE_S)


def _pairs(name: str, asked: Any, taken: Any) -> list[tuple[str, Any, Any]]:
    """Return name and both values of every number in nested settings."""
    if is_dataclass(asked) and type(asked) is type(taken):
        inner = [(f.name, getattr(asked, f.name)) for f in fields(asked)]
        other = [getattr(taken, f.name) for f in fields(asked)]
    elif isinstance(asked, Mapping) and isinstance(taken, Mapping):
        if asked.keys() != taken.keys():
            return [(name, sorted(asked), sorted(taken))]
        inner = [(str(key), value) for key, value in asked.items()]
        other = [taken[key] for key in asked]
    else:
        return [(name, asked, taken)]
    found = []
    for (key, value), now in zip(inner, other, strict=True):
        found += _pairs(f"{name}.{key}".lstrip("."), value, now)
    return found


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=1e-12)
    return a == b
