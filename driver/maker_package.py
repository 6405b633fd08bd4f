"""Instruments that are reached through a Python package of their maker.

The package is imported when the instrument is opened: nobody else needs it. Its
calls cannot be interrupted; whoever makes one accepts its own time-outs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from driver.hal import Identity
from driver.interlock import Interlocked
from scqc.core.errors import ConnectError, DeviceError, InstrumentError, StateError


class PackageLink(Interlocked):
    """One instrument's session with a maker's package.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    io_timeout_s : float
        Deadline for one exchange [s].
    """

    def __init__(self, instrument: str, io_timeout_s: float) -> None:
        self.instrument, self.io_timeout_s = instrument, io_timeout_s
        self._identity: Identity | None = None
        self._device: Any = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        if self._identity is None:
            raise ConnectError(self.instrument, "identify", "the link was never opened")
        return self._identity

    @contextmanager
    def using(self, action: str) -> Iterator[Any]:
        """Provide the device for calls; what they raise is the device's error.

        Raises
        ------
        StateError
            If the link is closed.
        DeviceError
        """
        self.permit(action)
        if self._device is None:
            raise StateError(self.instrument, action, "the link is closed")
        try:
            yield self._device
        except InstrumentError:
            raise
        except Exception as error:
            # Every package has errors of its own.
            reason = f"{type(error).__name__}: {error}"
            raise DeviceError(self.instrument, action, [(-1, reason)]) from error

    @contextmanager
    def connecting(self, what: str) -> Iterator[None]:
        """Turn whatever the package raises while connecting into a ConnectError."""
        try:
            yield
        except InstrumentError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConnectError(self.instrument, f"open {what}", reason) from error

    def package(self, modules: Sequence[str], install: str) -> Any:
        """Import the first of `modules` that is there.

        Raises
        ------
        ConnectError
            If none is, with what to `install`.
        """
        for module in modules:
            try:
                return import_module(module)
            except ImportError as error:
                reason = f"{error}; install it with: pip install {install}"
        raise ConnectError(self.instrument, f"import {modules[0]}", reason)
