"""Settings with arrays in them: the swept fields vary, all others stand still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from scqc.plan.records import Floats


class Values:
    """Fields of a settings model, some of them replaced by arrays.

    Parameters
    ----------
    settings : BaseModel
    arrays : mapping of str to ndarray, shape (...), float64 [unit of the field]
        By field name; all of one shape.
    shape : tuple of int
        Of the points, also where no field of these settings varies.
    """

    def __init__(
        self,
        settings: BaseModel,
        arrays: Mapping[str, Floats],
        shape: tuple[int, ...],
    ) -> None:
        self._settings, self._arrays = settings, dict(arrays)
        self.shape = shape

    def __getattr__(self, name: str) -> Any:
        """Return the array of a field, or what the settings say of it."""
        if name in self._arrays:
            return self._arrays[name]
        return getattr(self._settings, name)

    def full(self, name: str) -> Floats:
        """Return a field as an array of the common shape."""
        value = np.asarray(getattr(self, name), dtype=np.float64)
        return np.array(np.broadcast_to(value, self.shape))
