"""Settings of the photon-counting laboratory: the ``[sim]`` table of its configs.

Every effect can be switched off by a zero. For ratios in decibel where zero
would mean the worst case (extinction, shutter isolation) zero stands for
"ideal". Lists of four belong to Bob's detectors in the order z0, z1, x0, x1.
"""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from scqc.core.settings import Settings
from scqc.core.units import fibre_transmittance
from sim_backends.settings import (
    Angle,
    Drift,
    FaultSettings,
    Rejection,
    SettleScale,
    Transport,
)

DETECTORS = ("z0", "z1", "x0", "x1")
_PASS_COLUMNS = ["time_s", "loss_db", "background_hz"]
_MAX_PASS_ROWS = 100_000

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Phase = Annotated[float, Field(ge=-3.2, le=3.2)]
Rate = Annotated[float, Field(ge=0.0, le=1e9)]
PathDelay = Annotated[float, Field(ge=0.0, le=1e-3)]
PassTable = tuple[tuple[float, float, float], ...]


class SourceSettings(Settings):
    """Pulsed laser, locked to the waveform generator's clock.

    `full_scale_photons` is the mean photon number of one slot (both pulses) at
    Alice's exit with the intensity modulator fully open. The phase is random
    from slot to slot, so that photon numbers are Poissonian.
    `intensity_fluctuation` is the relative standard deviation of the mean from
    slot to slot. A laser and an attenuator that are instruments of the bench give
    `full_scale_photons` at `power_dbm` and `attenuation_db`.
    """

    pulse_rate_hz: float = Field(default=250e6, ge=1e3, le=1e11)
    full_scale_photons: float = Field(default=1.0, ge=0.0, le=50.0)
    intensity_fluctuation: float = Field(default=0.0, ge=0.0, le=0.1)
    power_dbm: float = Field(default=0.0, ge=-60.0, le=30.0)
    attenuation_db: float = Field(default=40.0, ge=0.0, le=200.0)


class IntensityModulatorSettings(Settings):
    """Intensity modulator biased at null, and its driver.

    `pattern_effect` is the fraction of the step from the previous slot's voltage
    that is still missing: v -> v + pattern_effect (v_previous - v).
    """

    driver_gain_db: float = Field(default=20.0, ge=-40.0, le=60.0)
    v_pi_v: float = Field(default=3.5, gt=0.0, le=100.0)
    extinction_ratio_db: Rejection = 35.0
    pattern_effect: float = Field(default=0.0, ge=0.0, le=0.2)
    bias_rad: Angle = 0.0
    bias_drift_rad_per_sqrt_s: Drift = 0.0


class PhaseModulatorSettings(Settings):
    """Phase modulator between the early and the late pulse, and its driver."""

    driver_gain_db: float = Field(default=20.0, ge=-40.0, le=60.0)
    v_pi_v: float = Field(default=3.5, gt=0.0, le=100.0)
    phase_offset_rad: Phase = 0.0
    drift_rad_per_sqrt_s: Drift = 0.0


class FadingSettings(Settings):
    """How the transmittance varies with bench time.

    ``lognormal``: factor of mean 1; `log_sigma` is the standard deviation of its
    natural logarithm. ``weibull``: a Gaussian beam of radius `beam_radius_m`
    wanders across an aperture; the factor contains the mean diffraction loss.
    ``pass``: the table of `pass_file`, a CSV with the columns ``time_s``,
    ``loss_db``, ``background_hz``; its loss comes on top of the channel's. The
    table is read with the settings and kept in `pass_table`, so that they stand
    on their own afterwards. No light arrives before its first and after its
    last row.
    """

    kind: Literal["none", "lognormal", "weibull", "pass"] = "none"
    correlation_time_s: float = Field(default=5e-3, ge=1e-4, le=100.0)
    log_sigma: float = Field(default=0.3, ge=0.0, le=2.0)
    aperture_radius_m: float = Field(default=0.5, gt=0.0, le=100.0)
    beam_radius_m: float = Field(default=1.0, gt=0.0, le=1e5)
    pointing_sigma_m: float = Field(default=0.3, ge=0.0, le=1e5)
    pass_file: str = ""
    pass_table: PassTable = ()

    @model_validator(mode="before")
    @classmethod
    def _read_pass(cls, data: Any) -> Any:
        """Replace the name of a table by its numbers."""
        if not isinstance(data, dict) or data.get("pass_table"):
            return data
        name = data.get("pass_file")
        if data.get("kind") != "pass" or not isinstance(name, str) or not name:
            return data
        return data | {"pass_table": read_pass(Path(name))}

    @model_validator(mode="after")
    def _usable_pass(self) -> FadingSettings:
        if self.kind == "pass" and len(self.pass_table) < 2:
            raise ValueError(
                f"kind = 'pass': needs pass_file with 2 rows or more, "
                f"got {len(self.pass_table)}"
            )
        times = [row[0] for row in self.pass_table]
        for before, after in itertools.pairwise(times):
            if not before < after:
                raise ValueError(
                    f"pass_table: time_s must rise, got {before:g} then {after:g}"
                )
        for time_s, loss_db, background_hz in self.pass_table:
            if not 0.0 <= loss_db <= 300.0 or not 0.0 <= background_hz <= 1e9:
                raise ValueError(
                    f"pass_table at {time_s:g} s: loss {loss_db:g} dB must be within "
                    f"0 to 300, background {background_hz:g} Hz within 0 to 1e9"
                )
        return self


def read_pass(path: Path) -> list[tuple[float, float, float]]:
    """Read the table of a pass: time [s], loss [dB], background [Hz].

    Raises
    ------
    ValueError
        If the file cannot be read, has other columns, a cell that is no number,
        or too many rows; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"pass_file {path}: cannot be read: {error}") from error
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    header = next(rows, [])
    if header != _PASS_COLUMNS:
        raise ValueError(f"pass_file {path}: columns {header}, not {_PASS_COLUMNS}")
    table: list[tuple[float, float, float]] = []
    for cells in rows:
        try:
            time_s, loss_db, background_hz = (float(cell) for cell in cells)
        except ValueError as error:
            raise ValueError(
                f"pass_file {path}: row {len(table) + 1}: {cells}: {error}"
            ) from error
        if len(table) == _MAX_PASS_ROWS:
            raise ValueError(f"pass_file {path}: more than {_MAX_PASS_ROWS} rows")
        table.append((time_s, loss_db, background_hz))
    return table


class PhotonChannelSettings(Settings):
    """Fibre or free space between Alice's exit and Bob's receiver.

    `background_hz` counts stray photons per second at Bob's input, before his
    optics, at bench time zero; `background_slope_hz_per_s` is daybreak.
    """

    length_km: float = Field(default=50.0, ge=0.0, le=1000.0)
    attenuation_db_per_km: float = Field(default=0.2, ge=0.0, le=10.0)
    extra_loss_db: float = Field(default=0.0, ge=0.0, le=200.0)
    background_hz: Rate = 0.0
    background_slope_hz_per_s: float = Field(default=0.0, ge=0.0, le=1e6)
    shutter_isolation_db: Rejection = 60.0
    fading: FadingSettings = FadingSettings()

    @property
    def mean_transmittance(self) -> float:
        """Transmittance without fading [1]."""
        fibre = fibre_transmittance(self.length_km, self.attenuation_db_per_km)
        return fibre * float(10.0 ** (-self.extra_loss_db / 10.0))

    @model_validator(mode="after")
    def _room_for_scintillation(self) -> PhotonChannelSettings:
        sigma = self.fading.log_sigma
        crest = math.exp(6.0 * sigma - 0.5 * sigma**2)
        if self.fading.kind == "lognormal" and self.mean_transmittance * crest > 1.0:
            raise ValueError(
                f"fading.log_sigma = {sigma:g}: crests of {crest:.3g} x the mean "
                f"transmittance {self.mean_transmittance:.3g} exceed 1"
            )
        return self


class InterferometerSettings(Settings):
    """Bob's beam splitter and his two asymmetric interferometers.

    `z_fraction` of the light goes to the interferometer of the message basis.
    The offsets are phase errors; the drift moves both (Alice's interferometer
    against Bob's), the differential drift that of the check basis alone. The
    phase shifter acts on both and is subtracted.
    """

    visibility: Fraction = 0.98
    z_fraction: Fraction = 0.7
    insertion_loss_db: float = Field(default=2.0, ge=0.0, le=60.0)
    z_offset_rad: Phase = 0.0
    x_offset_rad: Phase = 0.0
    drift_rad_per_sqrt_s: Drift = 0.0
    differential_drift_rad_per_sqrt_s: Drift = 0.0
    phase_shifter_rad_per_v: float = Field(default=0.5, ge=-100.0, le=100.0)


class BasisModulatorSettings(Settings):
    """Bob's phase modulator and its driver, for an active choice of the basis.

    Its generator starts with Alice's and runs on her clock. All light must then go
    to one interferometer: ``interferometer.z_fraction = 1``.
    """

    driver_gain_db: float = Field(default=20.0, ge=-40.0, le=60.0)
    v_pi_v: float = Field(default=3.5, gt=0.0, le=100.0)


class DetectorSettings(Settings):
    """Four single-photon detectors.

    The dead time is non-paralysable. An afterpulse follows a click with the
    given probability, a dead time and an exponentially distributed delay later.
    The pulse of a detector reaches the tagger `delay_s` after the click.
    `blinding_rate_hz` makes detector `blinding_detector` click at that rate:
    what an attacker with bright light does.
    """

    efficiency: tuple[Fraction, Fraction, Fraction, Fraction] = (0.7,) * 4
    dark_rate_hz: tuple[Rate, Rate, Rate, Rate] = (50.0,) * 4
    dead_time_s: float = Field(default=50e-9, ge=0.0, le=1e-3)
    afterpulse_probability: float = Field(default=0.001, ge=0.0, le=0.5)
    afterpulse_decay_s: float = Field(default=200e-9, gt=0.0, le=1e-3)
    jitter_s: float = Field(default=50e-12, ge=0.0, le=1e-8)
    delay_s: tuple[PathDelay, PathDelay, PathDelay, PathDelay] = (0.0,) * 4
    blinding_detector: Literal["z0", "z1", "x0", "x1"] = "z0"
    blinding_rate_hz: Rate = 0.0


def _ordered_start(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"[{low:g}, {high:g}] must be rising, within 0 to 1 s")
    return value


class TaggerSettings(Settings):
    """Time tagger: its clock, its resolution, and when the generator starts.

    The clock counts 1 + `clock_error_ppm` 1e-6 seconds per bench second. The
    generator starts a delay drawn from `start_offset_s` after each acquisition
    began. `pause_s` of bench time pass between acquisitions, so that a pass of
    minutes can be sampled by short bursts.
    """

    clock_error_ppm: float = Field(default=3.0, ge=-50.0, le=50.0)
    clock_drift_ppm_per_s: float = Field(default=0.0, ge=-1.0, le=1.0)
    resolution_ps: int = Field(default=1, ge=1, le=100_000)
    start_offset_s: Annotated[tuple[float, float], AfterValidator(_ordered_start)] = (
        0.0,
        0.01,
    )
    pause_s: float = Field(default=0.0, ge=0.0, le=3600.0)


class PhotonSimSettings(Settings):
    """The ``[sim]`` table of a photon-counting config."""

    seed: int = Field(1, ge=0, le=2**63 - 1)
    source: SourceSettings = SourceSettings()
    intensity_modulator: IntensityModulatorSettings = IntensityModulatorSettings()
    phase_modulator: PhaseModulatorSettings = PhaseModulatorSettings()
    channel: PhotonChannelSettings = PhotonChannelSettings()
    interferometer: InterferometerSettings = InterferometerSettings()
    basis_modulator: BasisModulatorSettings = BasisModulatorSettings()
    detectors: DetectorSettings = DetectorSettings()
    tagger: TaggerSettings = TaggerSettings()
    faults: dict[str, list[FaultSettings]] = Field(default_factory=dict)
    ports: dict[str, Annotated[int, Field(ge=0, le=65535)]] | None = None
    transports: dict[str, Transport] = Field(default_factory=dict)
    settle_scale: SettleScale = 0.02
