"""Where the light goes: one settings model per kind of channel.

Every field is an assumption that reports list, with its meaning and, where the
number is somebody's, its source. Field names carry the unit.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scqc.core.settings import Settings
from scqc.plan.radio_settings import RadioChannel, SlantRadioChannel

SkyName = Literal["none", "dark-night", "night", "twilight", "day", "cloudy-day"]


class FibreChannel(Settings):
    """Single-mode fibre, alone or beside a classical channel."""

    kind: Literal["fibre"] = "fibre"
    length_km: float = Field(default=25.0, ge=0.0, le=1000.0, description="of the span")
    attenuation_db_per_km: float = Field(
        default=0.2, ge=0.0, le=100.0, description="0.2: G.652 at 1550 nm"
    )
    fixed_loss_db: float = Field(
        default=0.0, ge=0.0, le=100.0, description="connectors, splices, switches"
    )
    wavelength_nm: float = Field(
        default=1550.12,
        ge=1250.0,
        le=1665.0,
        description="of the quantum light; for Raman light only",
    )
    fibre_k: float = Field(
        default=296.0, ge=1.0, le=1000.0, description="temperature, for Raman light"
    )
    raman_gain_per_w_km: float = Field(
        default=0.4,
        ge=0.0,
        le=10.0,
        description="peak, depolarised: 6e-14 m/W over 80 µm², halved; ± 3 dB",
    )
    neighbour_dbm: float | None = Field(
        default=None,
        ge=-100.0,
        le=30.0,
        description="launch power of a classical channel beside; absent: none",
    )
    neighbour_nm: float = Field(
        default=1551.72,
        ge=1250.0,
        le=1665.0,
        description="its wavelength, at least 50 GHz away; 200 GHz here",
    )
    neighbour_direction: Literal["co", "counter"] = Field(
        default="co", description="with or against the quantum light"
    )
    neighbour_db_per_km: float = Field(
        default=0.2, ge=0.0, le=100.0, description="attenuation at its wavelength"
    )
    neighbour_isolation_db: float = Field(
        default=80.0,
        ge=0.0,
        le=300.0,
        description="of what arrives of it, or comes back if it runs counter, down to "
        "what the key's receiver sees",
    )
    neighbour_bandwidth_hz: float = Field(
        default=10e9, ge=1e6, le=1e13, description="over which its leak is spread"
    )


class Telescopes(Settings):
    """What every optical free-space channel has: beam, receiver, pointing."""

    wavelength_nm: float = Field(
        default=800.0,
        ge=400.0,
        le=11000.0,
        description="of light and local oscillator alike",
    )
    waist_m: float = Field(
        default=0.2, gt=0.0, le=10.0, description="1/e² intensity radius at the exit"
    )
    aperture_radius_m: float = Field(
        default=0.7, gt=0.0, le=50.0, description="of the receiving telescope"
    )
    obscuration_radius_m: float = Field(
        default=0.0, ge=0.0, le=50.0, description="of the receiver's secondary mirror"
    )
    truncation: Literal["none", "launched", "source"] = Field(
        default="none",
        description="of the beam by the sender's telescope: not cut; a share of what "
        "left it; a share of what was in front of it",
    )
    exit_radius_m: float = Field(
        default=0.2,
        gt=0.0,
        le=50.0,
        description="of the sender's telescope, where a beam is cut if it is",
    )
    exit_obscuration_m: float = Field(
        default=0.0, ge=0.0, le=50.0, description="radius of its secondary mirror"
    )
    pointing_rad: float = Field(
        default=1e-6,
        ge=0.0,
        le=1e-2,
        description="jitter per axis; 1 µrad: Pirandola 2021, Vasylyev 2019",
    )
    fixed_loss_db: float = Field(
        default=0.0, ge=0.0, le=100.0, description="optics between telescope and fibre"
    )
    fading_nodes: int = Field(
        default=32, ge=1, le=512, description="quadrature nodes of the fading"
    )
    sky: SkyName = Field(
        default="night",
        description="behind the sender: 1.5e-5 (dark night), 1.5e-3, 0.08 (Sun 6° "
        "down), 15 and 150 W/(m² µm sr) at 800 nm; none: no light",
    )
    sky_radiance_w_per_m2_um_sr: float | None = Field(
        default=None,
        ge=0.0,
        le=1e6,
        description="measured, at the wavelength; absent: that of the named sky",
    )
    field_of_view_rad: float = Field(
        default=5e-5,
        gt=0.0,
        le=1.0,
        description="full angle, of counting detectors; a local oscillator sees one "
        "mode",
    )


class Spreading(Settings):
    """Turbulence along a path through the atmosphere."""

    spreading: Literal["none", "fante-yura", "andrews-phillips"] = Field(
        default="fante-yura",
        description="long-term beam spread; negligible for a downlink by Fante/Yura",
    )
    wind_m_per_s: float = Field(
        default=21.0, ge=0.0, le=200.0, description="Hufnagel-Valley: 21 night, 57 day"
    )
    ground_cn2: float = Field(
        default=1.7e-14,
        ge=0.0,
        le=1e-10,
        description="m^(-2/3) at the ground: 1.7e-14 night, 2.75e-14 day",
    )
    rytov_variance: float | None = Field(
        default=None,
        ge=0.0,
        le=1000.0,
        description="for andrews-phillips; absent: from the profile",
    )


class DownlinkChannel(Telescopes, Spreading):
    """Satellite or platform to ground."""

    kind: Literal["downlink"] = "downlink"
    altitude_km: float = Field(
        default=500.0,
        gt=0.1,
        le=50_000.0,
        description="of the satellite or platform, above sea level",
    )
    zenith_deg: float = Field(
        default=80.0, ge=0.0, le=90.0, description="at the ground station"
    )
    elongation: Literal["ray-trace", "published", "none"] = Field(
        default="ray-trace",
        description="longer way of the bent ray; published: the fit of Vasylyev 2019, "
        "25 times too large as a path length",
    )
    extinction: Literal[
        "exponential", "secant", "modtran-785", "modtran-810", "modtran-850"
    ] = Field(default="exponential", description="exponential: along the straight line")
    extinction_per_m: float = Field(
        default=5e-6,
        ge=0.0,
        le=1.0,
        description="at sea level, at extinction_nm: Vasylyev 2019 for 800 nm",
    )
    extinction_nm: float = Field(
        default=800.0,
        ge=400.0,
        le=11000.0,
        description="wavelength that extinction_per_m holds for, within 50 nm",
    )
    scale_height_m: float = Field(
        default=6600.0, gt=0.0, le=1e5, description="of the air that takes light"
    )
    station_altitude_m: float = Field(
        default=0.0,
        ge=0.0,
        le=9000.0,
        description="of the ground station: where extinction begins. Tables are for "
        "sea level; turbulence follows the ground",
    )


class HorizontalChannel(Telescopes):
    """Free space near the ground."""

    kind: Literal["horizontal"] = "horizontal"
    wavelength_nm: float = Field(
        default=1550.0,
        ge=400.0,
        le=11000.0,
        description="of light and local oscillator alike",
    )
    waist_m: float = Field(
        default=0.05, gt=0.0, le=10.0, description="1/e² intensity radius at the exit"
    )
    aperture_radius_m: float = Field(
        default=0.1, gt=0.0, le=50.0, description="of the receiving aperture"
    )
    pointing_rad: float = Field(
        default=5e-6, ge=0.0, le=1e-2, description="jitter per axis"
    )
    distance_m: float = Field(
        default=1000.0, ge=1.0, le=1e6, description="between the two ends"
    )
    focused: bool = Field(default=False, description="on the receiver, else collimated")
    visibility_km: float = Field(
        default=23.0, ge=0.01, le=300.0, description="2 % contrast (Koschmieder, Kim)"
    )
    cn2: float = Field(
        default=1e-15, ge=0.0, le=1e-10, description="m^(-2/3), constant along the path"
    )
    spreading: Literal["none", "fante-yura", "andrews-phillips"] = "fante-yura"


class InterSatelliteChannel(Telescopes):
    """Between two satellites: nothing but diffraction and pointing."""

    kind: Literal["inter-satellite"] = "inter-satellite"
    wavelength_nm: float = Field(
        default=1550.0,
        ge=400.0,
        le=11000.0,
        description="of light and local oscillator alike",
    )
    waist_m: float = Field(
        default=0.1, gt=0.0, le=10.0, description="1/e² intensity radius at the exit"
    )
    aperture_radius_m: float = Field(
        default=0.2, gt=0.0, le=50.0, description="of the receiving aperture"
    )
    distance_km: float = Field(
        default=1000.0, ge=0.01, le=1e6, description="between the two ends"
    )
    sky: SkyName = Field(
        default="none", description="deep space behind the other satellite"
    )


ChannelSettings = Annotated[
    FibreChannel
    | DownlinkChannel
    | HorizontalChannel
    | RadioChannel
    | SlantRadioChannel
    | InterSatelliteChannel,
    Field(discriminator="kind"),
]
