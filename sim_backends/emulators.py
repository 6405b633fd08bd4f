"""Emulators by the name of their driver, built in or offered by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from scqc.core.extensions import EMULATORS, extension_names, load_extension


class Server(Protocol):
    """Serves one emulated instrument."""

    @property
    def endpoint(self) -> str:
        """Where clients connect: a resource, as it is written in a lab config."""
        ...

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        ...


class Emulator(NamedTuple):
    """How an instrument is emulated, and on which wire it is served.

    Parameters
    ----------
    make : callable
        From name, `Cables`, `FaultPlan` and `ServeRequest` to the device.
    serve : callable
        From the device and a port (0: any) to its running `Server`.
    """

    make: Callable[..., Any]
    serve: Callable[[Any, int], Server]


class EmulatorTable(dict[str, Emulator]):
    """Emulators by driver: the program's own, and what other distributions offer.

    It counts and yields the program's own; others are looked up by their names.
    """

    def __init__(self, built_in: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__({name: Emulator(*pair) for name, pair in built_in.items()})

    def __missing__(self, name: str) -> Emulator:
        """Look for an emulator that is not built in.

        Raises
        ------
        KeyError
            If nobody offers it.
        ConfigError
            If it is broken.
        """
        return load_extension(EMULATORS, name, Emulator)

    def __contains__(self, name: object) -> bool:
        """Whether there is such an emulator, built in or offered."""
        return super().__contains__(name) or name in extension_names(EMULATORS)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the program's own first."""
        return (*self, *extension_names(EMULATORS))
