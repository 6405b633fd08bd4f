"""A lab config with all its defaults, as TOML; files that must be new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scqc.core.errors import ConfigError, ConfigProblem
from scqc.runs.lab_config import LabConfig

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def as_toml(config: LabConfig) -> str:
    """Return the config as text that reads back as the same config."""
    return tables_as_toml(
        config.model_dump(mode="json", by_alias=True, exclude_none=True)
    )


def tables_as_toml(values: Mapping[str, Any]) -> str:
    """Return tables of plain values as text."""
    return "\n".join(_table(values, ())).strip() + "\n"


def write_new_file(path: Path, text: str) -> None:
    """Write text to a new file.

    Parameters
    ----------
    path : Path
    text : str

    Raises
    ------
    ConfigError
        If there is a file of that name.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise _exists(path) from error


def refuse_existing(path: Path) -> None:
    """Say early that `write_new_file` would refuse.

    Raises
    ------
    ConfigError
        If there is a file of that name.
    """
    if path.exists():
        raise _exists(path)


def _exists(path: Path) -> ConfigError:
    limit = "a file that exists is left alone; choose another name"
    return ConfigError([ConfigProblem(str(path), "", "file", "exists", limit)])


def _table(values: Mapping[str, Any], name: tuple[str, ...]) -> Iterator[str]:
    plain = {k: v for k, v in values.items() if not isinstance(v, Mapping)}
    if name and (plain or not values):
        yield f"\n[{'.'.join(map(_key, name))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _table(value, (*name, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
