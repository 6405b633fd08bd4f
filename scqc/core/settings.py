"""Strict base of every settings model.

Field names are the TOML keys and carry the unit as suffix. Unknown keys are
errors, values are frozen, and NaN or infinity is never accepted.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

#: Empty, or a host (IPv6 in brackets) and a port; 0 is any free one.
ADDRESS = r"^$|^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+):[0-9]{1,5}$"


class Settings(BaseModel):
    """One table of a lab config."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
