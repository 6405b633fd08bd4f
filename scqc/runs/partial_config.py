"""What can be read of a lab config in which some entries are wrong.

Who corrects a file wants everything that is wrong at once, and nothing that is told
only because something else is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from scqc.runs.config_problems import Location, without

_Model = TypeVar("_Model", bound=BaseModel)
_INSTRUMENT = 3
# An entry, then its instrument or its table, then what holds that.
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Broken:
    """What was left out because it could not be read.

    Parameters
    ----------
    instruments : frozenset of str
        Their names are known, and nothing else about them.
    signals : frozenset of str
        Entries of ``[wiring]``.
    """

    instruments: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()


NOTHING_BROKEN = Broken()


def readable(
    raw: Mapping[str, Any], model: type[_Model], places: Iterable[Location]
) -> tuple[_Model, Broken] | None:
    """Return the config without what is wrong, and what that leaves out.

    As little as possible is left out: an entry, or the instrument or table that is
    nothing without it.

    Parameters
    ----------
    raw : mapping
        What the file holds.
    model : type of BaseModel
        What it should hold.
    places : iterable of tuple
        Where it is wrong.

    Returns
    -------
    tuple of BaseModel and Broken, or None
        None if too little is left.
    """
    # Half of the set-points would be another sum of the light.
    dropped = {_around(p) if "set_points" in p else tuple(p) for p in places}
    for _ in range(_ROUNDS):
        try:
            rest = without(raw, dropped) | {"schema": 1}
            return model.model_validate(rest), _broken(dropped)
        except ValidationError as error:
            found = error.errors(include_url=False)
            dropped |= {_around(one["loc"]) for one in found}
    return None


def _around(place: Location) -> Location:
    """Return the place of the instrument or the table that holds a place."""
    return place[:_INSTRUMENT] if "instruments" in place[:2] else place[:-1]


def _broken(dropped: Iterable[Location]) -> Broken:
    instruments, signals = set(), set()
    for place in dropped:
        names = [str(part) for part in place]
        if len(names) == _INSTRUMENT and names[1] == "instruments":
            instruments.add(names[2])
        elif len(names) > 1 and names[0] == "wiring":
            signals.add(names[1])
    return Broken(frozenset(instruments), frozenset(signals))
