"""``--set key=value``: which key is meant, and everything that is wrong at once."""

from __future__ import annotations

import json
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.hints import meant
from scqc.core.settings import Settings
from scqc.plan.presets import PRESETS, Preset

_UNIONS = ("channel", "scheme")


def find_preset(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    PlanSettingsError
        If there is none of that name, with the nearest one.
    """
    if name not in PRESETS:
        hint = meant(name, PRESETS) or f"known: {', '.join(PRESETS)}"
        raise PlanSettingsError([ConfigProblem("plan", "", "preset", name, hint)])
    return PRESETS[name]


def settings_of(
    name: str, pairs: Sequence[str] = (), model: type[Settings] | None = None
) -> tuple[Settings, dict[str, Any], set[str]]:
    """Return a preset's settings with changes.

    Parameters
    ----------
    name : str
        Of the preset.
    pairs : sequence of str
        ``key=value``; the key dotted, or its last part if only one setting has it.
    model : type of Settings, optional
        In place of the preset's, with more settings than that has.

    Returns
    -------
    settings : Settings
    preset : dict
        What the preset itself says.
    given : set of str
        Dotted keys that were changed.

    Raises
    ------
    PlanSettingsError
        Naming every unknown key with the nearest one, and every value outside its
        range with the nearest valid one.
    """
    preset = find_preset(name)
    if model is not None:
        preset = replace(preset, model=model)
    wanted, problems = _read(name, pairs)
    values = json.loads(json.dumps(preset.values))
    _switch_kinds(preset, values, wanted)
    known = dict(_keys(preset.model, values))
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        place = _resolve(key, known)
        if place is None:
            hint = meant(
                key, dict.fromkeys(k.rpartition(".")[2] for k in known)
            ) or meant(key, known)
            limit = f"unknown key; {hint or 'known: ' + ', '.join(known)}"
            problems.append(ConfigProblem(name, "", key, _shown(value), limit))
        else:
            changes[place] = value
    problems += _without_unit(name, changes)
    for place, value in changes.items():
        _put(values, place, value)
    _to_one_point(values, changes)
    try:
        settings = preset.model.model_validate(values)
    except ValidationError as error:
        raise PlanSettingsError([*problems, *_problems(name, error, known)]) from None
    if problems:
        raise PlanSettingsError(problems)
    return settings, preset.values, set(changes)


def _read(
    name: str, pairs: Sequence[str]
) -> tuple[dict[str, Any], list[ConfigProblem]]:
    wanted: dict[str, Any] = {}
    problems = []
    for pair in pairs:
        key, found, text = pair.partition("=")
        if not found or not key.strip():
            limit = "write --set key=value"
            problems.append(ConfigProblem(name, "", "--set", pair, limit))
            continue
        wanted[key.strip()] = _value(text.strip())
    return wanted, problems


def _value(text: str) -> Any:
    """Read a value as TOML; what is none is a word."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    # No setting is a date by itself; those that hold one read the text.
    return text if isinstance(value, date | time) else value


def _switch_kinds(
    preset: Preset, values: dict[str, Any], wanted: Mapping[str, Any]
) -> None:
    """With another kind of channel or scheme, keep only what it knows, too."""
    for part in _UNIONS:
        kind = wanted.get(f"{part}.kind")
        if part not in preset.model.model_fields or kind is None:
            continue
        model = _members(preset.model.model_fields[part]).get(str(kind))
        if model is not None:
            old = values.get(part, {})
            values[part] = {k: v for k, v in old.items() if k in model.model_fields}
            values[part]["kind"] = kind
            if part == "channel":
                _sweep_anew(values, model, str(kind))


def _sweep_anew(values: dict[str, Any], model: type[BaseModel], kind: str) -> None:
    """Sweep a number that the new channel has."""
    part, _, name = values.get("sweep", {}).get("variable", "").partition(".")
    if part == "channel" and name not in model.model_fields:
        values["sweep"] = dict(_SWEEPS[kind])


_SWEEPS: dict[str, dict[str, Any]] = {
    "fibre": {"variable": "channel.length_km", "start": 0.0, "stop": 200.0},
    "downlink": {"variable": "channel.altitude_km", "start": 150.0, "stop": 3000.0},
    "horizontal": {"variable": "channel.distance_m", "start": 100.0, "stop": 2e4},
    "radio": {
        "variable": "channel.distance_m",
        "start": 0.1,
        "stop": 1000.0,
        "spacing": "log",
    },
    "radio-slant": {
        "variable": "channel.altitude_km",
        "start": 21.0,
        "stop": 2000.0,
        "spacing": "log",
    },
    "inter-satellite": {
        "variable": "channel.distance_km",
        "start": 10.0,
        "stop": 1e4,
        "spacing": "log",
    },
}


def _members(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the models of a union by their kind."""
    return {
        typing.get_args(m.model_fields["kind"].annotation)[0]: m
        for m in typing.get_args(field.annotation)
        if isinstance(m, type) and issubclass(m, BaseModel)
    }


def _keys(
    model: type[BaseModel], values: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield dotted names and fields of what a preset's settings hold."""
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        members = _members(field) if prefix == "" and name in _UNIONS else {}
        if members:
            kind = values.get(name, {}).get("kind", next(iter(members)))
            inner = members.get(str(kind))
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, {}, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _resolve(key: str, known: Mapping[str, FieldInfo]) -> str | None:
    if key in known:
        return key
    ends = [name for name in known if name.rpartition(".")[2] == key]
    return ends[0] if len(ends) == 1 else None


def _put(values: dict[str, Any], place: str, value: Any) -> None:
    *tables, key = place.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[key] = value


def _without_unit(name: str, changes: Mapping[str, Any]) -> list[ConfigProblem]:
    """Refuse a variance that does not say what the vacuum's is."""
    table, key, unit = "scheme", "modulation_variance", "scheme.variance_unit"
    if f"{table}.{key}" not in changes or unit in changes:
        return []
    limit = (
        "a variance without its unit: set variance_unit with it, SNU where the "
        "vacuum has variance 1, N0=1/4 where it has 1/4; the same number is four "
        "times as much there"
    )
    shown = _shown(changes[f"{table}.{key}"])
    return [ConfigProblem(name, table, key, shown, limit)]


def _to_one_point(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Stop sweeping a variable that is set to a number."""
    sweep = values.get("sweep", {})
    value = changes.get(sweep.get("variable", ""))
    if value is not None and not any(key.startswith("sweep.") for key in changes):
        sweep.update({"start": value, "stop": value, "points": 1})


def _problems(
    name: str, error: ValidationError, known: Mapping[str, FieldInfo]
) -> list[ConfigProblem]:
    found = []
    reasons = error.errors(include_url=False)
    # Items that are refused are missing from their list; that is said once.
    inner = {one["loc"][:n] for one in reasons for n in range(len(one["loc"]))}
    for one in reasons:
        if one["loc"] in inner:
            continue
        # A union's location also names its member.
        parts = [str(part) for part in one["loc"]]
        place = ".".join(parts)
        if place not in known and len(parts) > 2:
            place = ".".join([parts[0], *parts[2:]])
        message = (
            one["msg"].removeprefix("Value error, ").replace("Input should", "must")
        )
        field = known.get(place)
        limits = _range(field) if field is not None else ""
        value = one["input"]
        bounds = [v for k, v in one.get("ctx", {}).items() if k in _BOUNDS]
        if bounds and not limits:
            message += f"; nearest valid value {bounds[0]:g}"
        if limits and isinstance(value, int | float):
            message = f"{limits}; nearest valid value {_nearest(field, value):g}"
        shown = "as it stands" if isinstance(value, dict) else _shown(value)
        table, _, key = place.rpartition(".")
        found.append(ConfigProblem(name, table, key or "settings", shown, message))
    return found


_BOUNDS = ("ge", "gt", "le", "lt")


def _bounds(field: FieldInfo | None) -> tuple[float, float, bool, bool]:
    low, high, open_low, open_high = -float("inf"), float("inf"), False, False
    for rule in field.metadata if field is not None else ():
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        open_low = open_low or hasattr(rule, "gt")
        high = getattr(rule, "le", getattr(rule, "lt", high))
        open_high = open_high or hasattr(rule, "lt")
    return low, high, open_low, open_high


def _range(field: FieldInfo | None) -> str:
    """Say a field's range: ``must be above 0 and at most 1``."""
    low, high, open_low, open_high = _bounds(field)
    says = []
    if low != -float("inf"):
        says.append(f"{'above' if open_low else 'at least'} {low:g}")
    if high != float("inf"):
        says.append(f"{'below' if open_high else 'at most'} {high:g}")
    return f"must be {' and '.join(says)}" if says else ""


def _nearest(field: FieldInfo | None, value: float) -> float:
    """Return the nearest valid value; open ends yield a thousandth."""
    low, high, open_low, open_high = _bounds(field)
    reach = high - low if high - low < float("inf") else max(abs(low), abs(high), 1.0)
    if value <= low:
        return low + (1e-3 * min(reach, 1.0) if open_low else 0.0)
    return high - (1e-3 * min(reach, 1.0) if open_high else 0.0)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
