"""Passes of satellites: loss second by second, and one composable block per pass.

The transmittance of every second, with its fading, is known to Bob from the pilot
or the clock; what was received of all seconds is sorted into bins of transmittance.
What is left of the spread within a bin counts as excess noise. All bins of a pass
together are one block: its length is what it sent while the satellite was above the
mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from scqc.core.settings import Settings
from scqc.plan.channel_settings import DownlinkChannel
from scqc.plan.channels import channel_points
from scqc.plan.cv_light import decoded_uses
from scqc.plan.evaluate import rates_on
from scqc.plan.fades import uses_of
from scqc.plan.points import ChannelPoints, one_block
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, Sweep
from scqc.plan.schedule import without_overlap
from scqc.plan.scheme_settings import CvScheme, SchemeSettings
from scqc.plan.values import Values
from sim_backends.propagation.earth_frame import Station, UtcGrid
from sim_backends.propagation.geometry import EARTH_RADIUS_M
from sim_backends.propagation.orbit import (
    CircularOrbit,
    Orbit,
    TwoLineElements,
    View,
    view,
)
from sim_backends.propagation.passes import Pass, passes
from sim_backends.propagation.skylight import sunlit_radiance
from sim_backends.propagation.sun import sun_elevation_rad


class OrbitSettings(Settings):
    """Two-line elements, or circles evenly spread over planes."""

    tle: tuple[str, str] | None = Field(
        default=None, description="two-line elements; absent: circular orbits"
    )
    altitude_km: float = Field(
        default=500.0,
        ge=100.0,
        le=50_000.0,
        description="of circular orbits, above the mean radius of the Earth",
    )
    inclination_deg: float = Field(
        default=97.4,
        ge=0.0,
        le=180.0,
        description="of circular orbits; 97.4: sun-synchronous",
    )
    planes: int = Field(
        default=1, ge=1, le=100, description="their nodes evenly over 180°, unphased"
    )
    satellites_per_plane: int = Field(
        default=1, ge=1, le=100, description="evenly spaced"
    )
    first_node_deg: float = Field(
        default=0.0,
        ge=0.0,
        le=360.0,
        description="right ascension of the first plane's node at the start",
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.tle is not None and self.planes * self.satellites_per_plane > 1:
            raise ValueError(
                "orbit.tle is one satellite: leave planes and satellites_per_plane at 1"
            )
        return self


class StationSettings(Settings):
    """A ground station."""

    name: str = "station"
    latitude_deg: float = Field(
        default=55.9, ge=-90.0, le=90.0, description="geodetic, north positive"
    )
    longitude_deg: float = Field(
        default=-3.2, ge=-180.0, le=360.0, description="east positive"
    )
    altitude_m: float = Field(
        default=50.0, ge=0.0, le=9000.0, description="above sea level"
    )


@dataclass(frozen=True, slots=True)
class Flight:
    """Where satellite and Sun are during a pass.

    Parameters
    ----------
    elevation_rad : ndarray, shape (n,), float64 [rad]
        Of the satellite, geometric.
    range_m : ndarray, shape (n,), float64 [m]
    sun_rad : ndarray, shape (n,), float64 [rad]
        Elevation of the Sun.
    station_m : float
        Height of the station [m].
    """

    elevation_rad: Floats
    range_m: Floats
    sun_rad: Floats
    station_m: float


class PassPlan(Settings):
    """Everything a plan of passes assumes."""

    orbit: OrbitSettings = OrbitSettings()
    stations: tuple[StationSettings, ...] = Field(
        default=(StationSettings(),), min_length=1, description="on the ground"
    )
    telescopes: Literal["one", "one-per-satellite"] = Field(
        default="one",
        description="of a station; one follows one satellite at a time, and of passes "
        "that overlap those with most key together",
    )
    start_utc: str = Field(
        default="2026-01-01T00:00:00Z", description="ISO 8601, with its time zone"
    )
    hours: float = Field(
        default=24.0,
        gt=0.0,
        le=24.0 * 31.0,
        description="that are looked at, from start_utc on",
    )
    step_s: float = Field(
        default=1.0, ge=0.1, le=60.0, description="between points of a pass"
    )
    mask_deg: float = Field(
        default=20.0, ge=5.0, lt=90.0, description="lowest elevation that is used"
    )
    sky_by_sun: bool = Field(
        default=False,
        description="sky by the Sun's elevation over the station, second by second; "
        "else channel.sky all day",
    )
    channel: DownlinkChannel
    scheme: SchemeSettings
    symbol_rate_hz: float = Field(
        default=50e6, gt=0.0, le=1e12, description="symbols or slots per second"
    )
    bins: int = Field(
        default=32, ge=1, le=256, description="of transmittance within a pass"
    )

    @model_validator(mode="after")
    def _time(self) -> Self:
        try:
            start = datetime.fromisoformat(self.start_utc)
        except ValueError as error:
            raise ValueError(f"start_utc: {error}") from error
        if start.tzinfo is None:
            raise ValueError("start_utc: has no time zone; end it with Z for UTC")
        return self

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if isinstance(self.scheme, CvScheme):
            self.scheme.check_blocks()
        return self

    @property
    def scenario(self) -> Scenario:
        """Channel and scheme as a scenario, for the rates."""
        return Scenario(
            channel=self.channel,
            scheme=self.scheme,
            sweep=Sweep(variable="channel.zenith_deg", start=0.0, stop=80.0, points=2),
            block_sizes=(),
            symbol_rate_hz=self.symbol_rate_hz,
        )

    def curves(self) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
        """Return one curve per pass, and one of totals per day that comes first."""
        start = datetime.fromisoformat(self.start_utc)
        grid = UtcGrid(start, self.step_s, round(3600.0 * self.hours / self.step_s))
        found, left_out, warnings = list[Curve](), 0, set[str]()
        orbits = self._orbits(start)
        for station in self.stations:
            place = Station(
                station.latitude_deg, station.longitude_deg, station.altitude_m
            )
            sun = sun_elevation_rad(grid, place)
            here, spans = list[Curve](), list[tuple[float, float]]()
            for number, orbit in enumerate(orbits):
                seen = view(orbit, place, grid)
                for one in passes(seen, grid, math.radians(self.mask_deg)):
                    label = (
                        f"{(start + timedelta(seconds=one.rise_s)):%Y-%m-%dT%H:%M:%SZ} "
                        f"{station.name} {number + 1}"
                    )
                    above = (seen, sun, station.altitude_m)
                    curve, more = self._pass(label, above, one)
                    here.append(curve)
                    spans.append((one.rise_s, one.set_s))
                    warnings.update(more)
            followed = self._followed(here, spans)
            left_out += len(here) - len(followed)
            found += followed
        if not found:
            note = f"no pass above {self.mask_deg:g}° in {self.hours:g} h"
            return (self._total(found),), (note,)
        if left_out:
            warnings.add(
                f"{left_out} passes overlap better ones at the same station and are "
                "left out: it has one telescope"
            )
        return (self._total(found), *found), tuple(sorted(warnings))

    def _followed(
        self, found: list[Curve], spans_s: list[tuple[float, float]]
    ) -> list[Curve]:
        """Return the passes of a station that its telescopes follow."""
        if self.telescopes == "one-per-satellite":
            return found
        # Where there is no key, the longer pass has more bits.
        worth = [
            c.derived["pass_key_bits"] + 1e-6 * c.derived["duration_s"] for c in found
        ]
        return [found[i] for i in without_overlap(spans_s, worth)]

    def _orbits(self, epoch: datetime) -> list[Orbit]:
        settings = self.orbit
        if settings.tle is not None:
            return [TwoLineElements(*settings.tle)]
        made: list[Orbit] = []
        for plane in range(settings.planes):
            node = math.radians(settings.first_node_deg) + math.pi * plane / (
                settings.planes
            )
            for k in range(settings.satellites_per_plane):
                phase = 2.0 * math.pi * k / settings.satellites_per_plane
                made.append(
                    CircularOrbit(
                        1e3 * settings.altitude_km,
                        math.radians(settings.inclination_deg),
                        node,
                        epoch,
                        phase,
                    )
                )
        return made

    def _pass(
        self, label: str, above: tuple[View, Floats, float], one: Pass
    ) -> tuple[Curve, tuple[str, ...]]:
        """Evaluate one pass; `above`: satellite, Sun, and height of the station."""
        seen, sun = above[0], above[1][one.points]
        elevation = np.maximum(seen.elevation_rad[one.points], math.radians(0.1))
        range_m = seen.range_m[one.points]
        channel = self._channel(Flight(elevation, range_m, sun, above[2]))
        scenario = self.scenario
        values = Values(self.scheme, {}, elevation.shape)
        each = rates_on(scenario, channel, values, (0.0,))
        symbols = self.symbol_rate_hz * self.step_s * elevation.size
        block = self._merged(channel)
        whole = rates_on(scenario, block, Values(self.scheme, {}, (1,)), (symbols,))
        rate = self.symbol_rate_hz
        payload = next(v for n, v in each.columns.items() if n in _PAYLOADS)
        # Bits are sent in every second, with a key or without.
        arrays = {
            "time_s": self.step_s * np.arange(elevation.size),
            "elevation_deg": np.degrees(elevation),
            "range_km": 1e-3 * range_m,
            "sun_elevation_deg": np.degrees(sun),
            "loss_db": channel.total_loss_db,
            "transmittance": channel.transmittance,
            "key_bits_per_s": np.maximum(each.balance_bits[0.0], 0.0) * rate,
            "classical_bits_per_s": payload * rate,
        }
        balance = float(whole.balance_bits[symbols][0]) * symbols
        derived: dict[str, Any] = {
            "duration_s": one.duration_s,
            "max_elevation_deg": math.degrees(one.max_elevation_rad),
            "min_range_km": 1e-3 * one.min_range_m,
            "block_symbols": symbols,
            "station_altitude_m": above[2],
            "pass_key_bits": max(0.0, math.floor(balance)),
            "asymptotic_key_bits": float(arrays["key_bits_per_s"].sum()) * self.step_s,
            "pass_classical_bits": float(payload.sum()) * rate * self.step_s,
            "whole": one.whole,
        }
        return Curve(label, "time_s", arrays, derived), channel.warnings

    def block(self, flight: Flight) -> ChannelPoints:
        """Return a pass as the channel of one block, shape (1,).

        Parameters
        ----------
        flight : Flight
        """
        return self._merged(self._channel(flight))

    def _merged(self, channel: ChannelPoints) -> ChannelPoints:
        """Merge seconds into bins; every second is displaced for itself."""
        scheme = self.scheme
        if not isinstance(scheme, CvScheme):
            uses = uses_of(channel.nodes, channel.weights)
            return one_block(channel, uses, self.bins)
        values = Values(scheme, {}, channel.transmittance.shape)
        bins = 1 if scheme.fading == "unbinned" else self.bins
        return one_block(channel, decoded_uses(scheme, values, channel), bins)

    def _channel(self, flight: Flight) -> ChannelPoints:
        """Evaluate the channel along a pass."""
        zenith, range_m = 0.5 * math.pi - flight.elevation_rad, flight.range_m
        # The height over a round Earth that has this range at this elevation.
        low = EARTH_RADIUS_M + flight.station_m
        far = np.sqrt(low**2 + range_m**2 + 2.0 * low * range_m * np.cos(zenith))
        arrays = {
            "zenith_deg": np.degrees(zenith),
            "altitude_km": 1e-3 * (far - EARTH_RADIUS_M),
            "station_altitude_m": np.full(zenith.shape, flight.station_m),
        }
        if self.sky_by_sun:
            night = "dark-night" if self.channel.sky == "dark-night" else "night"
            wave_m = 1e-9 * self.channel.wavelength_nm
            bright = sunlit_radiance(flight.sun_rad, wave_m, night)
            arrays["sky_radiance_w_per_m2_um_sr"] = bright
        straight = self.channel.model_copy(update={"elongation": "none"})
        return channel_points(straight, Values(straight, arrays, zenith.shape))

    def _total(self, found: list[Curve]) -> Curve:
        """Sum up: what all passes give, by their order in time."""
        ordered = sorted(found, key=lambda c: c.label)
        keys = np.array([c.derived["pass_key_bits"] for c in ordered], dtype=float)
        bits = np.array(
            [c.derived["pass_classical_bits"] for c in ordered], dtype=float
        )
        arrays = {
            "pass_number": 1.0 + np.arange(keys.size, dtype=np.float64),
            "key_bits": keys,
            "classical_bits": bits,
            "max_elevation_deg": np.array(
                [c.derived["max_elevation_deg"] for c in ordered], dtype=float
            ),
        }
        days = self.hours / 24.0
        derived = {
            "passes": keys.size,
            "passes_with_key": int(np.count_nonzero(keys)),
            "key_bits_per_day": float(keys.sum()) / days,
            "classical_bits_per_day": float(bits.sum()) / days,
        }
        return Curve("total", "pass_number", arrays, derived)


_PAYLOADS = ("classical_bits_per_use", "payload_bits_per_use")
