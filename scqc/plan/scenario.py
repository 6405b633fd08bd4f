"""A scenario: channel, scheme, what is varied, and for which block sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from scqc.core.hints import meant
from scqc.core.settings import Settings
from scqc.plan.channel_settings import ChannelSettings
from scqc.plan.records import Assumption, Floats
from scqc.plan.scheme_settings import CvScheme, SchemeSettings


class Sweep(Settings):
    """What is varied, and how."""

    variable: str = Field(description="dotted name of a number, as --set takes it")
    start: float = Field(description="of the swept variable, in its unit")
    stop: float = Field(description="the same; may be below start")
    points: int = Field(default=101, ge=1, le=1_000_000, description="how many")
    spacing: Literal["linear", "log"] = Field(
        default="linear", description="of the points"
    )

    @property
    def values(self) -> Floats:
        """The values, shape (points,) [unit of the variable]."""
        if self.spacing == "log":
            return np.geomspace(self.start, self.stop, self.points)
        return np.linspace(self.start, self.stop, self.points)

    @model_validator(mode="after")
    def _positive_if_log(self) -> Self:
        if self.spacing == "log" and min(self.start, self.stop) <= 0.0:
            raise ValueError("spacing = log needs start and stop above 0")
        return self


class Scenario(Settings):
    """Everything a plan assumes."""

    channel: ChannelSettings
    scheme: SchemeSettings
    sweep: Sweep
    block_sizes: tuple[float, ...] = Field(
        default=(1e11, 1e10, 1e9),
        description="symbols or slots per block, beside the endless one; 0 is endless",
    )
    symbol_rate_hz: float = Field(
        default=50e6,
        gt=0.0,
        le=1e12,
        description="symbols or slots per second",
    )

    @model_validator(mode="after")
    def _sweepable(self) -> Self:
        known = numeric_names(self)
        if self.sweep.variable not in known:
            raise ValueError(
                f"sweep.variable = {self.sweep.variable!r} is no number of this "
                f"scenario; {meant(self.sweep.variable, known) or ', '.join(known)}"
            )
        self._check_ends()
        if any(n != 0.0 and (n < 1.0 or n > 1e18) for n in self.block_sizes):
            raise ValueError("block_sizes: each must be 0 (endless) or 1 to 1e18")
        if isinstance(self.scheme, CvScheme) and any(self.block_sizes):
            self.scheme.check_blocks()
        return self

    def _check_ends(self) -> None:
        """Refuse a sweep beyond the range of what it varies."""
        for end in ("start", "stop"):
            value = getattr(self.sweep, end)
            why = refused(self, {self.sweep.variable: value})
            if why:
                raise ValueError(
                    f"sweep.{end} = {value:g}: {self.sweep.variable} {why}"
                )


def refused(
    scenario: Scenario, numbers: Mapping[str, float], rules: bool = True
) -> str:
    """Return why channel or scheme may not have these numbers; empty if they may.

    Parameters
    ----------
    scenario : Scenario
    numbers : mapping of str to float
        By dotted name, as they stand together [unit of the field].
    rules : bool
        Whether rules between settings count, or each one's range alone.
    """
    for part in ("channel", "scheme"):
        settings: Settings = getattr(scenario, part)
        own = {
            key.partition(".")[2]: value
            for key, value in numbers.items()
            if key.partition(".")[0] == part
        }
        try:
            type(settings).model_validate({**settings.model_dump(), **own})
        except ValidationError as error:
            why = why_refused(error, rules)
            if why:
                return why
    return ""


def why_refused(error: ValidationError, rules: bool = True) -> str:
    """Return the first reason of a refusal, with the nearest valid value.

    Parameters
    ----------
    error : ValidationError
    rules : bool
        As for `refused`.
    """
    reasons = [e for e in error.errors() if rules or e["type"] != "value_error"]
    if not reasons:
        return ""
    first = reasons[0]
    why = first["msg"].replace("Input should", "must")
    # What a rule between settings says holds no limit, but an exception.
    limits = [v for v in first.get("ctx", {}).values() if _is_number(v)]
    bound = next((v for v in limits if v != first["input"]), None)
    nearest = "" if bound is None else f"; nearest valid value {bound:g}"
    return why.removeprefix("Value error, ") + nearest


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric_names(scenario: Scenario) -> list[str]:
    """Return the dotted names of the numbers that may vary."""
    return [
        f"{part}.{name}"
        for part in ("channel", "scheme")
        for name, field in type(getattr(scenario, part)).model_fields.items()
        if "float" in str(field.annotation) and "tuple" not in str(field.annotation)
    ]


def block_label(size: float) -> str:
    """Return how a block size is called in a legend: ``inf``, ``1e10``."""
    if not size or math.isinf(size):
        return "inf"
    return f"{size:.6g}".replace("e+", "e").replace("e0", "e")


def assumptions(
    settings: Settings, preset: dict[str, Any], given: set[str]
) -> tuple[Assumption, ...]:
    """List every setting: its value, meaning, and who chose it; and what none sets.

    Parameters
    ----------
    settings : Settings
    preset : dict
        What the preset says, nested as the settings.
    given : set of str
        Dotted names the user set.
    """
    scheme = getattr(settings, "scheme", None)
    rows = _listed("", settings, preset, given)
    if isinstance(scheme, CvScheme):
        rows += _of_gaussian_model(scheme)
    return tuple(rows)


def _of_gaussian_model(scheme: CvScheme) -> list[Assumption]:
    """Return what the model of the Gaussian scheme assumes whatever is set."""
    trusted = "trusted" if scheme.trust_electronic else "Eve's"
    said = [
        (
            "attacks",
            "collective",
            "Eve meets every use alike and may keep what she has until the end; "
            "endless blocks are the asymptotic rate against her",
        ),
        (
            "amplifier_noise",
            trusted,
            "noise of receiver_k counts as electronic noise, as trust_electronic says",
        ),
        (
            "overhead",
            0,
            "every use carries data and key: pilots, headers and choices of the "
            "quadrature take none",
        ),
    ]
    if scheme.psk != "none":
        said.append(
            (
                "code_words",
                "shorter than a fade",
                "data are read or lost with the fade they are in; what displaced "
                "the lost ones stays on them, so they carry no key",
            )
        )
    return [Assumption(f"model.{k}", v, why, "model") for k, v, why in said]


def _listed(
    prefix: str, settings: Settings, preset: Any, given: set[str]
) -> list[Assumption]:
    rows = []
    for name, field in type(settings).model_fields.items():
        value, key = getattr(settings, name), f"{prefix}{name}"
        chosen = preset.get(name) if isinstance(preset, dict) else None
        if isinstance(value, Settings):
            rows += _listed(f"{key}.", value, chosen, given)
            continue
        in_preset = isinstance(preset, dict) and name in preset
        origin = "set" if key in given else "preset" if in_preset else "default"
        shown = settings.model_dump(mode="json")[name]
        meaning = field.description or ("which model" if name == "kind" else "")
        rows.append(Assumption(key, shown, meaning, origin))
    return rows
