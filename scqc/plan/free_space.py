"""Optical free space: down from a satellite, along the ground, between satellites.

The spot at the receiver spreads by diffraction and turbulence and moves by pointing
and wander. Its mean overlap with the aperture has a closed form; the nodes of the
fading are exact overlaps of a spot whose centre is Rayleigh distributed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from scqc.core.errors import ModelRangeError
from scqc.plan.channel_settings import (
    ChannelSettings,
    DownlinkChannel,
    HorizontalChannel,
)
from scqc.plan.points import ChannelPoints, Loss
from scqc.plan.records import Floats
from scqc.plan.values import Values
from sim_backends.propagation.atmospheres import TOP_KM
from sim_backends.propagation.beam import (
    Transmitter,
    centred_transmittance,
    diffraction_transmittance,
)
from sim_backends.propagation.coupling import mean_transmittance, offset_transmittance
from sim_backends.propagation.extinction import (
    MODTRAN_785,
    MODTRAN_810,
    MODTRAN_850,
    ElevationTable,
    ExponentialAtmosphere,
    fog_db_per_km,
)
from sim_backends.propagation.geometry import slant_range_m
from sim_backends.propagation.ranges import legendre_nodes
from sim_backends.propagation.refraction import (
    SlantPath,
    elongation,
    published_elongation,
)
from sim_backends.propagation.skylight import (
    counted_hz_per_nm,
    photons_per_mode,
    sky_radiance,
)
from sim_backends.propagation.spreading import (
    Spreading,
    pointing_variance_m2,
    spot_m,
    wander_variance_m2,
)
from sim_backends.propagation.turbulence import (
    WEAK_LIMIT,
    HufnagelValley,
    TurbulentPath,
    horizontal_path,
    rytov_variance,
    slant_path,
)

_TABLES: dict[str, ElevationTable] = {
    "modtran-785": MODTRAN_785,
    "modtran-810": MODTRAN_810,
    "modtran-850": MODTRAN_850,
}
#: A table holds for its wavelength; nearby lines of water may differ.
_TABLE_NM = 5.0
#: Clear air varies slowly: Rayleigh's law alone is 25 % over this at 800 nm.
_CLEAR_AIR_NM = 50.0
#: No rate can tell a smaller transmittance from none.
_LEAST = 1e-40


def free_space_points(settings: ChannelSettings, values: Values) -> ChannelPoints:
    """Evaluate an optical free-space channel at all points.

    Parameters
    ----------
    settings : ChannelSettings
        Of a downlink, a horizontal or an inter-satellite channel.
    values : Values

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    if isinstance(settings, DownlinkChannel):
        return _downlink(settings, values)
    if isinstance(settings, HorizontalChannel):
        return _horizontal(settings, values)
    z_m = 1e3 * values.full("distance_km")
    spot = _sender(values, False, z_m).spot_m(z_m)
    return _coupled(Loss(values.shape), values, z_m, spot)


def _downlink(settings: DownlinkChannel, values: Values) -> ChannelPoints:
    altitude_m = 1e3 * values.full("altitude_km")
    zenith = np.radians(values.full("zenith_deg"))
    station_m = values.full("station_altitude_m")
    straight_m = slant_range_m(altitude_m, zenith, station_m)
    z_m = straight_m * _elongations(settings, altitude_m, zenith)
    loss = Loss(values.shape)
    loss.share("extinction", _extinction(settings, values, altitude_m, zenith))
    sender = _sender(values, False, z_m)
    turbulent = _turbulence(values, zenith, altitude_m - station_m)
    # The wave has the length that refraction gives it, the air its straight depth.
    turbulent = TurbulentPath(turbulent.distance_m, turbulent.strength, z_m)
    rytov = rytov_variance(turbulent, 1e-9 * np.asarray(values.wavelength_nm))
    if values.rytov_variance is not None:
        rytov = values.full("rytov_variance")
    spot, wander = _spread(settings.spreading, sender, turbulent, rytov)
    extra = {"slant_km": 1e-3 * z_m, "rytov_variance": rytov}
    return _coupled(loss, values, z_m, spot, wander, extra)


def _horizontal(settings: HorizontalChannel, values: Values) -> ChannelPoints:
    z_m = values.full("distance_m")
    wave_m = 1e-9 * np.asarray(values.wavelength_nm)
    loss = Loss(values.shape)
    loss.add("haze", 1e-3 * z_m * fog_db_per_km(values.visibility_km, wave_m))
    turbulent = horizontal_path(values.full("cn2"), z_m)
    rytov = rytov_variance(turbulent, wave_m)
    sender = _sender(values, settings.focused, z_m)
    spot, wander = _spread(settings.spreading, sender, turbulent, rytov)
    return _coupled(loss, values, z_m, spot, wander, {"rytov_variance": rytov})


def _sender(values: Values, focused: bool, z_m: Floats) -> Transmitter:
    """Return the telescope; its numbers may be arrays, as all models broadcast."""
    return Transmitter(
        waist_m=values.waist_m,
        wavelength_m=1e-9 * values.wavelength_nm,
        curvature_m=z_m if focused else math.inf,  # type: ignore[arg-type]
    )


def _cut(values: Values, z_m: Floats) -> Floats:
    """Return what a centred receiver collects in vacuum of a beam that is cut [1].

    How much less than of the whole beam; that the cut beam is spread and moved as the
    whole one would be is an approximation, good where the spot is larger than the
    receiver.
    """

    def collected(z_m: Floats, *numbers: float) -> Floats:
        waist_m, wave_nm, exit_m, hole_m, a_m, b_m = numbers
        sender = Transmitter(
            waist_m,
            1e-9 * wave_nm,
            exit_m,
            hole_m,
            truncation=values.truncation,
        )
        return diffraction_transmittance(sender, z_m, a_m, b_m)

    sender = ("waist_m", "wavelength_nm", "exit_radius_m", "exit_obscuration_m")
    names = (*sender, "aperture_radius_m", "obscuration_radius_m")
    return _by_setting(values, names, (z_m,), collected)


def _spread(
    name: str, sender: Transmitter, path: TurbulentPath, rytov: Floats
) -> tuple[Floats, Floats]:
    """Return radius of the spot [m] and variance of its wander per axis [m^2]."""
    still = np.zeros_like(path.length_m)
    if name == "none":
        return sender.spot_m(path.length_m), still
    if not np.any(path.strength):
        return sender.spot_m(path.length_m), still
    model: Spreading = (
        "andrews-phillips" if name == "andrews-phillips" else "fante-yura-short"
    )
    spot = spot_m(sender, path, "downlink", model, rytov)
    if model == "andrews-phillips":
        # A long-term radius: the wander is in it.
        return spot, still
    return spot, wander_variance_m2(sender, path, "downlink", "fante-yura")


def _elongations(
    settings: DownlinkChannel, altitude_m: Floats, zenith: Floats
) -> Floats:
    if settings.elongation == "none":
        return np.ones_like(zenith)
    if settings.elongation == "published":
        return published_elongation(zenith)
    pairs = np.stack([zenith.ravel(), altitude_m.ravel()], axis=1)
    found, where = np.unique(pairs, axis=0, return_inverse=True)
    longer = [_elongation(*one) for one in found.tolist()]
    return np.asarray(np.array(longer)[where.ravel()].reshape(zenith.shape))


@lru_cache(maxsize=16_384)
def _elongation(zenith: float, altitude_m: float) -> float:
    """Trace one ray; an optimiser asks for the same again and again."""
    path = SlantPath(0.5 * math.pi - zenith, end_km=1e-3 * altitude_m, fast=True)
    return float(elongation(path))


def _extinction(
    settings: DownlinkChannel, values: Values, altitude_m: Floats, zenith: Floats
) -> Floats:
    name = settings.extinction
    if name in _TABLES:
        table = _TABLES[name]
        middle_nm = 1e9 * table.wavelength_m
        away = np.abs(np.asarray(values.wavelength_nm) - middle_nm)
        if np.any(away > _TABLE_NM):
            raise ModelRangeError(
                "wavelength of the MODTRAN table [nm]",
                float(np.asarray(values.wavelength_nm).flat[int(np.argmax(away))]),
                (middle_nm - _TABLE_NM, middle_nm + _TABLE_NM),
                table.source,
            )
        if np.any(altitude_m < 1e3 * TOP_KM):
            raise ModelRangeError(
                "altitude [km]",
                1e-3 * float(np.min(altitude_m)),
                (TOP_KM, 1e6),
                f"{table.source} holds to space",
            )
        return table.transmittance(0.5 * math.pi - zenith)
    wave_nm, known_nm = values.full("wavelength_nm"), values.full("extinction_nm")
    away = np.abs(wave_nm - known_nm)
    if np.any(away > _CLEAR_AIR_NM):
        worst = int(np.argmax(away))
        middle_nm = float(known_nm.flat[worst])
        raise ModelRangeError(
            "wavelength of extinction_per_m [nm]",
            float(wave_nm.flat[worst]),
            (middle_nm - _CLEAR_AIR_NM, middle_nm + _CLEAR_AIR_NM),
            "set extinction_per_m for your wavelength, and extinction_nm to it",
        )

    def through(
        zenith: Floats, top_m: Floats, low_m: Floats, per_m: float, scale_m: float
    ) -> Floats:
        air = ExponentialAtmosphere(per_m, scale_m)
        if name == "secant":
            return air.transmittance_flat(zenith, top_m, low_m)
        return air.transmittance(zenith, top_m, low_m)

    arrays = (zenith, altitude_m, values.full("station_altitude_m"))
    return _by_setting(values, ("extinction_per_m", "scale_height_m"), arrays, through)


def _turbulence(values: Values, zenith: Floats, above_m: Floats) -> TurbulentPath:
    """Return the turbulence below a height above the ground."""

    def nodes(zenith: Floats, top_m: Floats, wind: float, ground: float) -> Floats:
        path = slant_path(HufnagelValley(wind, ground), zenith, top_m)
        parts = np.stack([path.distance_m, path.strength])
        return np.moveaxis(parts, 1, 0)

    names = ("wind_m_per_s", "ground_cn2")
    parts = _by_setting(values, names, (zenith, above_m), nodes)
    length_m = slant_range_m(above_m, zenith)
    return TurbulentPath(parts[..., 0, :], parts[..., 1, :], length_m)


def _by_setting(
    values: Values,
    names: tuple[str, ...],
    arrays: tuple[Floats, ...],
    model: Callable[..., Floats],
) -> Floats:
    """Evaluate a model of points and of plain numbers, once per set of numbers.

    Parameters
    ----------
    values : Values
    names : tuple of str
        Settings that the model takes as plain numbers, after the arrays.
    arrays : tuple of ndarray, shape (...), float64
    model : callable
        Of arrays, shape (n,), and floats; returns an array, shape (n, ...).
    """
    flat = [array.ravel() for array in arrays]
    numbers = np.stack([values.full(name).ravel() for name in names], axis=1)
    sets, where = np.unique(numbers, axis=0, return_inverse=True)
    found: Floats | None = None
    for k, one in enumerate(sets):
        points = np.flatnonzero(where.ravel() == k)
        part = model(*(array[points] for array in flat), *map(float, one))
        if found is None:
            found = np.empty((flat[0].size, *part.shape[1:]))
        found[points] = part
    if found is None:
        return np.empty(values.shape)
    return found.reshape(*values.shape, *found.shape[1:])


def _coupled(
    loss: Loss,
    values: Values,
    z_m: Floats,
    spot: Floats,
    wander_m2: Floats | float = 0.0,
    extra: dict[str, Floats] | None = None,
) -> ChannelPoints:
    """Put the parts together: losses in air, diffraction, spread, moving centre."""
    a_m, b_m = values.full("aperture_radius_m"), values.full("obscuration_radius_m")
    vacuum = _sender(values, False, z_m).spot_m(z_m)
    in_vacuum = centred_transmittance(a_m, vacuum, b_m)
    centred = centred_transmittance(a_m, spot, b_m)
    moved_m2 = pointing_variance_m2(values.pointing_rad, z_m) + wander_m2
    moved_m = np.sqrt(moved_m2)
    mean = mean_transmittance(a_m, spot, moved_m, obscuration_radius_m=b_m)
    loss.share("diffraction", in_vacuum)
    if values.truncation != "none":
        loss.share("truncation", _cut(values, z_m) / in_vacuum)
    loss.share("turbulence", centred / in_vacuum)
    loss.share("pointing", mean / centred)
    loss.add("fixed", values.fixed_loss_db)
    transmittance = loss.transmittance
    offsets, weights = _centres(moved_m, int(values.fading_nodes))
    share = offset_transmittance(offsets, a_m, spot, b_m)
    nodes = np.maximum(share * transmittance / mean, _LEAST)
    found = dict(extra or {})
    warnings = []
    if "rytov_variance" in found and np.any(found["rytov_variance"] > WEAK_LIMIT):
        warnings.append(
            f"Rytov variance up to {float(np.max(found['rytov_variance'])):.3g}: "
            "turbulence is not weak, scintillation statistics are not modelled"
        )
    ones = np.ones(transmittance.shape)
    mode, counted = _skylight(values)
    return ChannelPoints(
        transmittance=transmittance,
        nodes=nodes,
        weights=weights,
        loss_db=loss.parts_db,
        environment_snu=ones,
        source_snu=ones,
        receiver_snu=0.0 * ones,
        stray_mode_photons=mode,
        stray_hz_per_nm=counted,
        extra=found | {"spot_m": spot},
        warnings=tuple(warnings),
    )


def radiance(values: Values) -> Floats:
    """Return how bright the background is, shape (...) [W / (m^2 um sr)].

    Parameters
    ----------
    values : Values
        Of a channel with telescopes.

    Raises
    ------
    ModelRangeError
        If no sky is known at the wavelength.
    """
    if values.sky_radiance_w_per_m2_um_sr is not None:
        return values.full("sky_radiance_w_per_m2_um_sr")
    return sky_radiance(values.sky, 1e-9 * values.full("wavelength_nm"))


def _skylight(values: Values) -> tuple[Floats, Floats]:
    """Return the sky behind the telescope: photons per mode, and per s and nm."""
    wave_m = 1e-9 * values.full("wavelength_nm")
    outer_m, hole_m = (
        values.full("aperture_radius_m"),
        values.full("obscuration_radius_m"),
    )
    area_m2 = math.pi * (outer_m**2 - hole_m**2)
    bright = radiance(values)
    kept = 10.0 ** (-0.1 * values.full("fixed_loss_db"))
    counted = counted_hz_per_nm(
        bright, wave_m, area_m2, values.full("field_of_view_rad")
    )
    return kept * photons_per_mode(bright, wave_m), kept * counted


def _centres(deviation_m: Floats, n_nodes: int) -> tuple[Floats, Floats]:
    """Return offsets of the centre, shape (k, ...) [m], and their weights."""
    if n_nodes == 1 or not np.any(deviation_m):
        return np.zeros((1, *deviation_m.shape)), np.ones(1)
    x, weight = legendre_nodes(n_nodes)
    # r = s sqrt(-2 ln u) with u uniform: no tail is cut off.
    radius = np.sqrt(-2.0 * np.log(0.5 * (x + 1.0)))
    return np.multiply.outer(radius, deviation_m), 0.5 * weight
