"""What a plan holds: assumptions, curves of arrays, derived values, advice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Assumption:
    """One setting that a plan rests on.

    Parameters
    ----------
    key : str
        Dotted name, as ``--set`` takes it.
    value : object
        As JSON can say it.
    meaning : str
        What it is and where its number comes from.
    origin : {"default", "preset", "set", "model"}
        Who chose the value: the program, the preset or the user; or nobody, as the
        model knows no other.
    """

    key: str
    value: Any
    meaning: str
    origin: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a figure: arrays over the swept variable, and derived values.

    Parameters
    ----------
    label : str
        Block size (``inf``, ``1e10``), or the name of the swept variable.
    x : str
        Name of the swept array.
    arrays : dict of str to ndarray, shape (n,) or (n, m), float64 [unit in the name]
    derived : dict of str to object
        Single values, None where there is no such value.
    """

    label: str
    x: str
    arrays: dict[str, Floats]
    derived: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return derived values and arrays; a number that is none becomes null."""
        arrays = {name: _listed(values) for name, values in self.arrays.items()}
        return {**self.derived, "x": self.x, "arrays": arrays}


@dataclass(frozen=True, slots=True)
class Plan:
    """What became of a scenario.

    Parameters
    ----------
    name, title : str
        Of the preset.
    assumptions : tuple of Assumption
    curves : tuple of Curve
    warnings : tuple of str
        Where a model is used near or beyond what it was made for, and what a
        figure leaves out.
    limits : tuple of dict
        Without a key: what would have to change, most promising first.
    y : tuple of str
        Names of the arrays a figure shows first.
    """

    name: str
    title: str
    assumptions: tuple[Assumption, ...]
    curves: tuple[Curve, ...]
    warnings: tuple[str, ...] = ()
    limits: tuple[dict[str, Any], ...] = ()
    y: tuple[str, ...] = ("key_bits_per_use",)

    @property
    def has_key(self) -> bool:
        """Whether any point of any curve has a key; maps have none to have."""
        keys = [c.arrays[k] for c in self.curves for k in c.arrays if k in KEYS]
        return not keys or any(bool(np.any(key > 0.0)) for key in keys)

    def as_json(self) -> dict[str, Any]:
        """Return the whole plan as JSON can say it."""
        return {
            "preset": self.name,
            "title": self.title,
            "assumptions": [
                {
                    "key": a.key,
                    "value": a.value,
                    "meaning": a.meaning,
                    "origin": a.origin,
                }
                for a in self.assumptions
            ],
            "curves": {curve.label: curve.as_json() for curve in self.curves},
            "warnings": list(self.warnings),
            "limits": list(self.limits),
            "key": self.has_key,
        }


#: Arrays that are a key rate.
KEYS = (
    "key_bits_per_use",
    "key_bits_per_s",
    "key_bits",
    "highest_key_bits_per_use",
)


def _listed(values: Floats) -> Any:
    """Return nested lists; JSON knows no infinity and no NaN."""
    finite = np.isfinite(values)
    if bool(np.all(finite)):
        return values.tolist()
    listed = values.astype(object)
    listed[~finite] = None
    return listed.tolist()
