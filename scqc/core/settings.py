"""Strict base of every settings model.

Field names are the TOML keys and carry the unit as suffix. Unknown keys are
errors, values are frozen, and NaN or infinity is never accepted.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One table of a lab config."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
