"""What other distributions add by entry points: drivers and emulators.

Entry points are read when a name is asked for that is not built in, and loaded
one at a time: a broken extension breaks nobody who does not use it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from scqc.core.errors import ConfigError, ConfigProblem

INSTRUMENTS, EMULATORS = "scqc.instruments", "scqc.emulators"

T = TypeVar("T")


def extension_names(group: str) -> list[str]:
    """Return the names that distributions offer in an entry point group."""
    return sorted({found.name for found in entry_points(group=group)})


def load_extension(group: str, name: str, kind: type[T]) -> T:
    """Load what is offered under a name, or the result of calling it.

    Parameters
    ----------
    group, name : str
        Entry point group and name in it.
    kind : type
        What it must be; anything else is called, without arguments, for it.

    Raises
    ------
    KeyError
        If nobody offers that name.
    ConfigError
        If several distributions offer it, or it cannot be loaded, or is something
        else; names the distribution.
    """
    offered = tuple(entry_points(group=group, name=name))
    if not offered:
        raise KeyError(name)
    if len(offered) > 1:
        who = " and ".join(sorted(distribution(point) for point in offered))
        raise _broken(offered[0], f"offered by {who}; uninstall all but one")
    point = offered[0]
    try:
        found = point.load()
        if not isinstance(found, kind) and callable(found):
            found = found()
    except Exception as error:
        # Somebody else's module may raise anything.
        reason = f"cannot be loaded: {type(error).__name__}: {error}"
        raise _broken(point, reason) from error
    if not isinstance(found, kind):
        reason = f"is of type {type(found).__name__}, expected {kind.__name__}"
        raise _broken(point, reason)
    return found


def distribution(point: EntryPoint) -> str:
    """Return name and version of the distribution that offers an entry point."""
    found = point.dist
    return f"{found.name} {found.version}" if found else "unknown distribution"


def extension_problem(group: str, name: str, reason: str) -> ConfigError:
    """Return the error of an extension that was loaded and does not work."""
    return _broken(next(iter(entry_points(group=group, name=name))), reason)


def _broken(point: EntryPoint, reason: str) -> ConfigError:
    problem = ConfigProblem(
        distribution(point), point.group, point.name, point.value, reason
    )
    return ConfigError([problem])
