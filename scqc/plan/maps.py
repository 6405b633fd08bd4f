"""Plans without a key: absorption of air over frequency, thermal light."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from scqc.core.settings import Settings
from scqc.core.units import PLANCK_J_S
from scqc.plan.radio_settings import AtmosphereName
from scqc.plan.records import Curve, Floats
from sim_backends.propagation.atmospheres import Atmosphere
from sim_backends.propagation.gas_uncertainty import uncertainty_note
from sim_backends.propagation.refraction import SlantPath
from sim_backends.propagation.slant_path import cumulative_attenuation_db
from sim_backends.propagation.thermal import BOLTZMANN_J_PER_K, thermal_photons

#: What a window's loss in dB is less than that of the lines beside it, in powers of 10.
_WINDOW_DECADES = 0.5


class GasMap(Settings):
    """Attenuation by gas over frequency and distance along a slant path."""

    elevation_deg: float = Field(
        default=45.0, ge=0.0, le=90.0, description="apparent, at the lower end"
    )
    start_km: float = Field(default=0.0, ge=0.0, lt=100.0, description="height")
    atmosphere: AtmosphereName = Field(
        default="mean-annual-global", description="ITU-R P.835-6"
    )
    vapour_g_per_m3: float | None = Field(
        default=None,
        ge=0.0,
        le=50.0,
        description="at sea level, of mean-annual-global; absent: 7.5 there, and what "
        "the other atmospheres have",
    )
    refraction: bool = Field(default=True, description="of the ray by the air")
    fast: bool = Field(default=False, description="185 layers instead of 922")
    lowest_hz: float = Field(
        default=1e9, ge=1e9, le=1e12, description="ITU-R P.676-13: 1 to 1000 GHz"
    )
    highest_hz: float = Field(
        default=1e12, ge=1e9, le=1e12, description="of the frequencies"
    )
    frequencies: int = Field(default=1000, ge=2, le=100_000, description="how many")
    longest_km: float = Field(
        default=28.0, gt=0.0, le=2000.0, description="along the ray"
    )
    distances: int = Field(default=60, ge=2, le=10_000, description="how many")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.highest_hz <= self.lowest_hz:
            raise ValueError("highest_hz must exceed lowest_hz")
        return self

    def curves(self) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
        """Return one curve over frequency that holds the whole map."""
        air = Atmosphere(self.atmosphere, self.vapour_g_per_m3)
        path = SlantPath(
            math.radians(self.elevation_deg),
            start_km=self.start_km,
            atmosphere=air,
            refraction=self.refraction,
            fast=self.fast,
        )
        frequency = np.linspace(self.lowest_hz, self.highest_hz, self.frequencies)
        distance = np.linspace(0.0, self.longest_km, self.distances)
        # The last column: all of the atmosphere.
        loss = cumulative_attenuation_db(frequency, np.append(distance, 1e6), path)
        arrays = {
            "frequency_hz": frequency,
            "distance_km": distance,
            "attenuation_db": loss[:, :-1],
            "to_space_db": loss[:, -1],
        }
        best = int(np.argmin(loss[:, -1]))
        derived = {
            "least_to_space_db": float(loss[best, -1]),
            "least_to_space_hz": float(frequency[best]),
            "windows_hz": _windows(frequency, loss[:, -1]),
        }
        note = uncertainty_note(frequency)
        notes: tuple[str, ...] = (note,) if note else ()
        if best in {0, self.frequencies - 1}:
            notes += (
                f"least_to_space_hz = {frequency[best]:.4g} is the end of the range: "
                "beyond it the air may take less; windows_hz lie between lines",
            )
        curve = Curve("frequency_hz", "frequency_hz", arrays, derived)
        return (curve,), notes


def _windows(frequency_hz: Floats, loss_db: Floats) -> list[float]:
    """Return frequencies between lines where least is lost [Hz]."""
    # A third of the planner's imports, for this one map.
    from scipy.signal import find_peaks

    deepest, _ = find_peaks(-np.log10(loss_db), prominence=_WINDOW_DECADES)
    return [float(frequency_hz[i]) for i in deepest]


class ThermalMap(Settings):
    """Thermal photons per mode over frequency, one curve per temperature."""

    temperatures_k: tuple[float, ...] = Field(
        default=(0.02, 2.725, 4.0, 77.0, 296.0, 300.0),
        min_length=1,
        description="one curve each",
    )
    lowest_hz: float = Field(
        default=1e9, gt=0.0, le=1e18, description="of the frequencies"
    )
    highest_hz: float = Field(
        default=1e15, gt=0.0, le=1e18, description="of the frequencies"
    )
    frequencies: int = Field(default=601, ge=2, le=100_000, description="how many")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.highest_hz <= self.lowest_hz:
            raise ValueError("highest_hz must exceed lowest_hz")
        if min(self.temperatures_k) < 0.0:
            raise ValueError("temperatures_k: each must be at least 0 K")
        return self

    def curves(self) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
        """Return one curve per temperature."""
        frequency = np.geomspace(self.lowest_hz, self.highest_hz, self.frequencies)
        made = []
        for temperature in self.temperatures_k:
            photons = thermal_photons(frequency, temperature)
            # One photon: h f = k T ln 2.
            one = BOLTZMANN_J_PER_K * temperature * math.log(2.0) / PLANCK_J_S
            derived = {"below_one_photon_hz": one}
            arrays = {"frequency_hz": frequency, "thermal_photons": photons}
            made.append(Curve(f"{temperature:g} K", "frequency_hz", arrays, derived))
        return tuple(made), ()
