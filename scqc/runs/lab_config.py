"""One TOML file for bench and simulation: the rooms' settings, composed.

The scheme decides which tables a file has. The same file runs on hardware and,
when ``[sim]`` is present, on emulators.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scqc.core.errors import ConfigError, ConfigProblem
from scqc.runs import bench_rules, config_problems
from scqc.runs.cv_config import CvConfig
from scqc.runs.partial_config import NOTHING_BROKEN, Broken, readable
from scqc.runs.photon import rules as photon_rules
from scqc.runs.photon.config import PhotonConfig
from sim_backends.photon_settings import read_pass

#: A lab config of any scheme.
LabConfig = CvConfig | PhotonConfig
_MODELS: dict[str, type[CvConfig] | type[PhotonConfig]] = {
    "cv-displaced-gmcs": CvConfig,
    "dv-qsdc": PhotonConfig,
    "dv-decoy-bb84": PhotonConfig,
}
_DEFAULT_SCHEME = "cv-displaced-gmcs"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A lab config and the text it was read from.

    Parameters
    ----------
    config : LabConfig
    text : str
        Stored with every capture, so that it can be processed later.
    path : Path
    """

    config: LabConfig
    text: str
    path: Path

    def with_seed(self, seed: int) -> LoadedConfig:
        """Return the same config with another ``[sim] seed``.

        Raises
        ------
        ConfigError
            If the file has no ``[sim]`` table, or the seed is out of range.
        """
        table = re.search(r"^\[sim\][^\n]*\n", self.text, re.MULTILINE)
        if table is None:
            limit = "a seed needs a [sim] table of its own in the file"
            problem = ConfigProblem(str(self.path), "sim", "seed", str(seed), limit)
            raise ConfigError([problem])
        start = table.end()
        following = re.search(r"^\[", self.text[start:], re.MULTILINE)
        end = start + following.start() if following else len(self.text)
        body = re.sub(r"(?m)^[ \t]*seed[ \t]*=.*\n?", "", self.text[start:end])
        text = f"{self.text[:start]}seed = {seed}\n{body}{self.text[end:]}"
        return LoadedConfig(parse_config(text, self.path), text, self.path)


def load_config(path: str | Path) -> LoadedConfig:
    """Read and check a lab config.

    Parameters
    ----------
    path : str or Path
        TOML file.

    Returns
    -------
    LoadedConfig

    Raises
    ------
    ConfigError
        With everything that is wrong, not only the first.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        limit = error.strerror or str(error)
        problem = ConfigProblem(str(path), "", "file", "unreadable", limit)
        raise ConfigError([problem]) from error
    except UnicodeDecodeError as error:
        limit = f"is no UTF-8 text: {error.reason} at byte {error.start}"
        problem = ConfigProblem(str(path), "", "file", "unreadable", limit)
        raise ConfigError([problem]) from error
    text = _with_pass_inside(text, path)
    return LoadedConfig(parse_config(text, path), text, path)


def _with_pass_inside(text: str, path: Path) -> str:
    """Put the table of a pass in the place of its file's name.

    The name is relative to the config; a capture keeps the text, and must not
    need the file.
    """
    named = re.search(r'^pass_file[ \t]*=[ \t]*"([^"\n]*)"[^\n]*$', text, re.MULTILINE)
    if named is None or not named.group(1):
        return text
    try:
        rows = read_pass(path.parent / named.group(1))
    except ValueError as error:
        key = ("sim.channel.fading", "pass_file", named.group(1))
        raise ConfigError([ConfigProblem(str(path), *key, str(error))]) from error
    table = ", ".join(f"[{t:g}, {loss:g}, {light:g}]" for t, loss, light in rows)
    return f"{text[: named.start()]}pass_table = [{table}]{text[named.end() :]}"


def parse_config(text: str, path: str | Path = "config") -> LabConfig:
    """Check the text of a lab config, such as the one stored in a capture.

    Parameters
    ----------
    text : str
    path : str or Path
        Named in the problems.

    Returns
    -------
    LabConfig

    Raises
    ------
    ConfigError
        With everything that is wrong, not only the first.
    """
    file = str(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = config_problems.syntax_problem(file, text, error)
        raise ConfigError([problem]) from error
    model = _model(file, raw)
    try:
        config = model.model_validate(raw)
    except ValidationError as error:
        problems = config_problems.model_problems(file, raw, model, error)
        places = [one["loc"] for one in error.errors(include_url=False)]
        problems += _rules_on_the_rest(file, raw, model, places)
        raise ConfigError(problems) from error
    found = _check(file, config)
    if found:
        raise ConfigError(found)
    return config


def _model(file: str, raw: dict[str, Any]) -> type[CvConfig] | type[PhotonConfig]:
    """Return the model that the file's scheme asks for.

    Raises
    ------
    ConfigError
        If there is no such scheme.
    """
    link = raw.get("link")
    scheme = link.get("scheme", _DEFAULT_SCHEME) if isinstance(link, dict) else None
    if scheme is None:
        return _MODELS[_DEFAULT_SCHEME]
    if not isinstance(scheme, str) or scheme not in _MODELS:
        limit = f"unknown scheme; {config_problems.nearest(str(scheme), _MODELS)}"
        value = config_problems.shown(scheme)
        raise ConfigError([ConfigProblem(file, "link", "scheme", value, limit)])
    return _MODELS[scheme]


def _check(
    file: str, config: LabConfig, broken: Broken = NOTHING_BROKEN
) -> list[ConfigProblem]:
    """Return what is wrong between the tables."""
    if isinstance(config, PhotonConfig):
        return photon_rules.check(file, config, broken)
    return bench_rules.check(file, config, broken)


def _rules_on_the_rest(
    file: str,
    raw: dict[str, Any],
    model: type[CvConfig] | type[PhotonConfig],
    places: list[config_problems.Location],
) -> list[ConfigProblem]:
    """Check what does not hang on the entries that are wrong by themselves."""
    found = readable(raw, model, places)
    if found is None:
        return []
    rest, broken = found
    tables = {config_problems.split(place)[0] for place in places}
    # The entries of [wiring] do not hang on one another.
    tables = (tables | {str(place[0]) for place in places if place}) - {"wiring"}
    return [p for p in _check(file, rest, broken) if p.table not in tables]


def amount_of_light(config: LabConfig) -> dict[str, int]:
    """Return how much a run of this config sends: symbols or slots [1]."""
    if isinstance(config, PhotonConfig):
        return {"slots": config.link.blocks * config.link.block_slots}
    return {"symbols": bench_rules.total_symbols(config)}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a lab config of any scheme, for editors."""
    return TypeAdapter(LabConfig).json_schema()
