"""Settings of radio channels: microwave to terahertz, in a room, in space, in air.

As in `scqc.plan.channel_settings`, every field is an assumption that reports list.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scqc.core.settings import Settings

AtmosphereName = Literal[
    "mean-annual-global",
    "low-latitude",
    "mid-latitude-summer",
    "mid-latitude-winter",
    "high-latitude-summer",
    "high-latitude-winter",
]


class RadioChannel(Settings):
    """Microwave, millimetre wave or terahertz, in air, a cold guide or space."""

    kind: Literal["radio"] = "radio"
    frequency_hz: float = Field(
        default=100e9, ge=1e9, le=1e15, description="of the carrier"
    )
    distance_m: float = Field(
        default=1.0, ge=1e-3, le=1e9, description="between the two ends"
    )
    waist_m: float = Field(
        default=0.15, gt=0.0, le=100.0, description="1/e² radius at the antenna"
    )
    aperture_radius_m: float = Field(
        default=0.15, gt=0.0, le=100.0, description="of the receiving aperture"
    )
    focused: bool = Field(default=True, description="on the receiver, else collimated")
    coupling: Literal["gaussian", "friis-saturated", "friis"] = Field(
        default="gaussian",
        description="friis is refused where it exceeds 1; saturated: 1 - exp(-friis)",
    )
    medium: Literal["air", "vacuum"] = Field(
        default="air", description="air absorbs; a cold guide or space does not"
    )
    environment_k: float = Field(
        default=296.0,
        ge=0.001,
        le=1e4,
        description="temperature of what the loss couples in: the surroundings, not "
        "the receiver",
    )
    source_k: float = Field(
        default=0.0,
        ge=0.0,
        le=1e4,
        description="of the light Alice emits unmodulated; 0: vacuum (cold attenuator)",
    )
    receiver_k: float = Field(
        default=0.0, ge=0.0, le=1e5, description="noise temperature; adds 2kT/hf SNU"
    )
    air_k: float = Field(
        default=288.15, ge=100.0, le=400.0, description="of the air that absorbs"
    )
    pressure_hpa: float = Field(
        default=1013.25, gt=0.0, le=1100.0, description="total, of the air"
    )
    vapour_g_per_m3: float = Field(
        default=7.5, ge=0.0, le=50.0, description="water in the air"
    )
    rain_mm_per_h: float = Field(
        default=0.0, ge=0.0, le=200.0, description="ITU-R P.838-3"
    )
    absorption_table: tuple[tuple[float, float], ...] = Field(
        default=(),
        description="rows of (Hz, dB/km); needed in air above 1 THz, where P.676 ends",
    )
    fixed_loss_db: float = Field(
        default=0.0, ge=0.0, le=100.0, description="of everything else"
    )


class SlantRadioChannel(Settings):
    """Microwave to terahertz up or down through the atmosphere."""

    kind: Literal["radio-slant"] = "radio-slant"
    frequency_hz: float = Field(
        default=650e9, ge=1e9, le=1e12, description="ITU-R P.676-13: 1 to 1000 GHz"
    )
    lower_km: float = Field(
        default=0.0, ge=0.0, lt=100.0, description="height of the lower end"
    )
    altitude_km: float = Field(
        default=500.0, gt=0.0, le=50_000.0, description="of the upper end"
    )
    zenith_deg: float = Field(
        default=0.0, ge=0.0, le=90.0, description="apparent, at the lower end"
    )
    direction_of_light: Literal["down", "up"] = Field(
        default="down", description="down: the receiver looks at the sky"
    )
    waist_m: float = Field(
        default=0.5, gt=0.0, le=100.0, description="1/e² radius at the antenna"
    )
    aperture_radius_m: float = Field(
        default=0.5, gt=0.0, le=100.0, description="of the receiving aperture"
    )
    focused: bool = Field(default=True, description="on the receiver, else collimated")
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
    sky_k: float = Field(
        default=2.725, ge=0.0, le=1e4, description="behind an upper sender: space"
    )
    ground_k: float = Field(
        default=290.0, ge=0.0, le=400.0, description="behind a lower sender: the Earth"
    )
    feed_loss_db: float = Field(
        default=0.0,
        ge=0.0,
        le=30.0,
        description="of the receiving antenna: spillover, resistance, window",
    )
    feed_k: float = Field(
        default=290.0,
        ge=0.0,
        le=1000.0,
        description="temperature of what the feed's loss couples in",
    )
    receiver_k: float = Field(
        default=0.0, ge=0.0, le=1e5, description="noise temperature; adds 2kT/hf SNU"
    )
    source_k: float = Field(
        default=0.0,
        ge=0.0,
        le=1e4,
        description="of the light Alice emits unmodulated; 0: vacuum (cold attenuator)",
    )
