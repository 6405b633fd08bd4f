"""From what a parser says to what a reader of a lab config can use."""

from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from scqc.core.errors import ConfigProblem
from scqc.core.hints import meant

_LONGEST_VALUE = 60
Location = tuple[str | int, ...]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint which of the `known` names was meant.

    Parameters
    ----------
    name : str
    known : iterable of str

    Returns
    -------
    str
        ``did you mean 'seed'?``, or the list of known names if none is near.
    """
    names = sorted(known)
    return meant(name, names) or f"known: {', '.join(names)}"


def shown(value: object) -> str:
    """Return `value` as TOML would spell it, shortened."""
    text = json.dumps(value, default=str)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE - 3]}..."


def syntax_problem(
    file: str, text: str, error: tomllib.TOMLDecodeError
) -> ConfigProblem:
    """Describe a file that is no TOML: its line and what is wrong there."""
    message = str(error)
    _, found, rest = message.partition("line ")
    number = rest.partition(",")[0].rstrip(")")
    lines = text.splitlines()
    if found and number.isdecimal() and int(number) <= len(lines):
        line = lines[int(number) - 1].strip()
        return ConfigProblem(file, "", f"line {number}", shown(line), message)
    return ConfigProblem(file, "", "end of file", '""', message)


def model_problems(
    file: str,
    raw: Mapping[str, Any],
    model: type[BaseModel],
    error: ValidationError,
) -> list[ConfigProblem]:
    """Turn a model's errors into problems, in the order of the file's tables.

    Parameters
    ----------
    file : str
    raw : mapping
        What the file holds.
    model : type of BaseModel
        What it should hold.
    error : ValidationError
    """
    return [
        _problem(file, raw, model, one["loc"], one["type"], one["msg"])
        for one in error.errors(include_url=False)
    ]


def _problem(
    file: str,
    raw: Mapping[str, Any],
    model: type[BaseModel],
    location: Location,
    kind: str,
    message: str,
) -> ConfigProblem:
    # "[key]" marks that a mapping's key, not its value, is wrong.
    place = tuple(part for part in location if part != "[key]")
    table, key = split(place)
    value = "absent" if kind == "missing" else shown(look_up(raw, place))
    if not place:
        value = "as it stands"
    limit = message.removeprefix("Value error, ").replace("Input should", "must")
    if kind == "extra_forbidden":
        names = key_names(model_at(model, place[:-1]))
        limit = f"unknown key; {nearest(key, names)}"
    elif kind == "missing":
        limit = "is required"
    elif "[key]" in location:
        limit = f"is no name this table takes: {limit}"
    return ConfigProblem(file, table, key, value, limit)


def split(place: Location) -> tuple[str, str]:
    """Return table and key of a place in the file."""
    names = [str(part) or '""' for part in place]
    if not names:
        return "", "file"
    return ".".join(names[:-1]), names[-1]


def look_up(raw: object, place: Sequence[str | int]) -> object:
    """Return what the file holds at a place, or the innermost that exists."""
    found: Any = raw
    for part in place:
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError):
            break
    return found


def without(raw: Mapping[str, Any], places: Iterable[Location]) -> dict[str, Any]:
    """Return a copy of `raw` without the entries at `places`."""
    copy: dict[str, Any] = json.loads(json.dumps(raw, default=str))
    for place in places:
        holder: Any = copy
        names = [part for part in place if part != "[key]"]
        for part in names[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and names:
            holder.pop(names[-1], None)
    return copy


def key_names(model: type[BaseModel] | None) -> list[str]:
    """Return the TOML keys of a model."""
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(kind: Any, place: Location) -> type[BaseModel] | None:
    """Return the model of the table at `place` below type `kind`, if any."""
    if not place:
        return _model_of(kind)
    if typing.get_origin(kind) in (dict, list):
        return model_at(typing.get_args(kind)[-1], place[1:])
    model = _model_of(kind)
    if model is None:
        return None
    fields = {f.alias or name: f.annotation for name, f in model.model_fields.items()}
    return model_at(fields.get(str(place[0])), place[1:])


def _model_of(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        found = (_model_of(arg) for arg in typing.get_args(kind))
        return next((m for m in found if m is not None), None)
    return None
