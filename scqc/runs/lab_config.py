"""One TOML file for bench and simulation: the rooms' settings, composed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from driver.settings import InstrumentSettings, SafetySettings, WiringSettings
from dsp.settings import ReceiverSettings
from protocols.settings import ClassicalSettings, SecuritySettings
from scqc.core.errors import ConfigError, ConfigProblem
from scqc.core.settings import Settings
from scqc.runs import bench_rules, config_problems
from sim_backends.settings import SimSettings


class LinkSettings(Settings):
    """What is sent: scheme, frame layout and number of bursts.

    The number of symbols of a burst follows from ``classical.frames_per_burst``
    and the code's frame length; with ``psk = "none"`` it is ``burst_symbols``.
    """

    scheme: Literal["cv-displaced-gmcs"] = "cv-displaced-gmcs"
    bursts: int = Field(default=8, ge=1, le=10_000)
    burst_symbols: int = Field(default=1_000_000, ge=2048, le=100_000_000)
    symbol_rate_hz: float = Field(default=50e6, gt=0.0)
    centre_hz: float = -55e6
    roll_off: float = Field(default=0.2, gt=0.0, le=1.0)
    pilots_hz: tuple[float, float] = (-118e6, -12e6)


class TransmitterSettings(Settings):
    """What Alice knows of her own modulator and the light she may launch."""

    rate_hz: float = Field(default=400e6, gt=0.0)
    v_pi_v: float = Field(default=3.5, gt=0.0)
    driver_gain_db: float = 11.0
    # Launch power with one arm of the modulator fully on.
    full_scale_launch_dbm: float = -23.4
    wavelength_nm: float = Field(default=1550.0, gt=0.0)
    preamble_amplitude_sqrt_snu: float = Field(default=12.0, gt=0.0)
    pilot_snr_db: float = Field(default=30.0, ge=0.0, le=80.0)
    weak_pilot_db: float = Field(default=-10.0, ge=-40.0, le=0.0)
    # First guess of the channel, until the probe burst has measured it.
    expected_transmittance: float = Field(default=0.6, gt=0.0, le=1.0)
    probe_symbols: int = Field(default=20_000, ge=2048, le=10_000_000)


class DigitizerUse(Settings):
    """How Bob uses his digitiser."""

    rate_hz: float = Field(default=400e6, gt=0.0)
    range_v: float = Field(default=0.5, gt=0.0)
    # Extra record before and after the burst.
    margin_s: float = Field(default=10e-6, gt=0.0, le=1.0)
    timeout_s: float = Field(default=30.0, gt=0.0, le=3600.0)


class AliceSettings(Settings):
    """Alice's station."""

    instruments: dict[str, InstrumentSettings]
    transmitter: TransmitterSettings = TransmitterSettings()


class BobSettings(Settings):
    """Bob's station."""

    instruments: dict[str, InstrumentSettings]
    digitizer: DigitizerUse = DigitizerUse()
    receiver: ReceiverSettings = ReceiverSettings()


class KeySettings(Settings):
    """Where the key sinks lie, ``alice.sqlite`` and ``bob.sqlite``.

    A simulated bench keeps its own in the run folder instead.
    """

    directory: str = "keys"


class LabConfig(Settings):
    """A whole lab config.

    The same file runs on hardware and, when ``[sim]`` is present, on emulators.
    """

    schema_: Literal[1] = Field(alias="schema")
    link: LinkSettings = LinkSettings()
    classical: ClassicalSettings = ClassicalSettings()
    security: SecuritySettings = SecuritySettings()
    alice: AliceSettings
    bob: BobSettings
    wiring: WiringSettings
    safety: SafetySettings = SafetySettings()
    keys: KeySettings = KeySettings()
    sim: SimSettings | None = None

    @property
    def instruments(self) -> dict[str, InstrumentSettings]:
        """All instruments of both stations."""
        return {**self.alice.instruments, **self.bob.instruments}


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
    return LoadedConfig(parse_config(text, path), text, path)


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
    try:
        config = LabConfig.model_validate(raw)
    except ValidationError as error:
        problems = config_problems.model_problems(file, raw, LabConfig, error)
        places = [one["loc"] for one in error.errors(include_url=False)]
        problems += _rules_on_the_rest(file, raw, places)
        raise ConfigError(problems) from error
    found = bench_rules.check(file, config)
    if found:
        raise ConfigError(found)
    return config


def _rules_on_the_rest(
    file: str, raw: dict[str, Any], places: list[config_problems.Location]
) -> list[ConfigProblem]:
    """Check what does not hang on the entries that are wrong by themselves."""
    try:
        rest = LabConfig.model_validate(config_problems.without(raw, places))
    except ValidationError:
        return []
    tables = {config_problems.split(place)[0] for place in places}
    keys = {str(place[0]) for place in places}
    return [
        problem
        for problem in bench_rules.check(file, rest)
        if problem.table not in tables and problem.table not in keys
    ]
