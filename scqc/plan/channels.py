"""From the settings of a channel to its transmittance, point by point.

Every evaluator returns a `ChannelPoints`: the mean transmittance, the nodes of its
fading, the parts of the loss in dB and what the lost light is replaced by.
"""

from __future__ import annotations

import math

import numpy as np

from scqc.core.errors import ModelRangeError
from scqc.core.units import LIGHT_SPEED_M_PER_S
from scqc.plan.channel_settings import ChannelSettings, FibreChannel
from scqc.plan.free_space import free_space_points
from scqc.plan.neighbours import with_neighbour
from scqc.plan.points import ChannelPoints, Loss, steady
from scqc.plan.radio_settings import RadioChannel, SlantRadioChannel
from scqc.plan.records import Floats
from scqc.plan.slant_radio import slant_radio_points
from scqc.plan.values import Values
from sim_backends.propagation.beam import centred_transmittance, spot_radius_m
from sim_backends.propagation.gas_absorption import (
    RANGE_HZ,
    GasTable,
    gas_db_per_km,
    total_air,
)
from sim_backends.propagation.gas_uncertainty import uncertainty_note
from sim_backends.propagation.rain_cloud import rain_db_per_km
from sim_backends.propagation.rf_aperture import (
    FRIIS_WARNING,
    antenna_gain,
    friis,
    friis_ratio,
    near_field_safe,
)
from sim_backends.propagation.thermal import amplifier_noise_snu, thermal_variance_snu


def channel_points(settings: ChannelSettings, values: Values) -> ChannelPoints:
    """Evaluate a channel at all points.

    Parameters
    ----------
    settings : ChannelSettings
    values : Values
        The settings with arrays in place of what is swept.

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    if isinstance(settings, FibreChannel):
        return _fibre(values)
    if isinstance(settings, RadioChannel):
        return _radio(settings, values)
    if isinstance(settings, SlantRadioChannel):
        return slant_radio_points(settings, values)
    return free_space_points(settings, values)


def _fibre(values: Values) -> ChannelPoints:
    loss = Loss(values.shape)
    loss.add("fibre", values.length_km * values.attenuation_db_per_km)
    loss.add("fixed", values.fixed_loss_db)
    points = steady(loss)
    if values.neighbour_dbm is None:
        return points
    return with_neighbour(points, values)


def _radio(settings: RadioChannel, values: Values) -> ChannelPoints:
    """Apertures and gas apart; the environment at the temperature it has."""
    frequency = np.asarray(values.frequency_hz, dtype=np.float64)
    loss, warnings = Loss(values.shape), list[str]()
    share, friis_value = _aperture(settings, values, frequency)
    loss.share("diffraction", share)
    if np.any(friis_value > FRIIS_WARNING):
        warnings.append(
            f"near field: Friis' law would give up to {float(np.max(friis_value)):.3g}"
            f"; {_IN_THE_NEAR_FIELD[settings.coupling]}"
        )
    if settings.medium == "air":
        path_km = 1e-3 * np.asarray(values.distance_m)
        loss.add("gas", path_km * _gas(settings, values, frequency, warnings))
        if np.any(np.asarray(values.rain_mm_per_h) > 0.0):
            rain = rain_db_per_km(frequency, values.rain_mm_per_h)
            loss.add("rain", path_km * rain)
    loss.add("fixed", values.fixed_loss_db)
    points = steady(loss)
    return ChannelPoints(
        transmittance=points.transmittance,
        nodes=points.nodes,
        weights=points.weights,
        loss_db=points.loss_db,
        environment_snu=_full(
            thermal_variance_snu(frequency, values.environment_k), values
        ),
        source_snu=_full(thermal_variance_snu(frequency, values.source_k), values),
        receiver_snu=_full(amplifier_noise_snu(frequency, values.receiver_k), values),
        warnings=tuple(warnings),
    )


_IN_THE_NEAR_FIELD = {
    "gaussian": "the apertures couple as Gaussian beams do",
    "friis-saturated": "1 - exp(-Friis) stands for it, which no aperture does",
    "friis": "it is good to a few per cent at best",
}


def _aperture(
    settings: RadioChannel, values: Values, frequency_hz: Floats
) -> tuple[Floats, Floats]:
    """Return the coupling that is asked for, and what Friis' law says [1]."""
    wavelength_gain = antenna_gain(frequency_hz, 1.0)
    # A receiving area pi a^2 is the gain 4 pi^2 a^2 / lambda^2, half of 8 pi^2.
    received = 0.5 * wavelength_gain * np.asarray(values.aperture_radius_m) ** 2
    gains = (antenna_gain(frequency_hz, values.waist_m), received)
    ratio = friis_ratio(frequency_hz, values.distance_m, gains)
    if settings.coupling == "friis":
        _check_far(values, ratio)
        return friis(frequency_hz, values.distance_m, gains), ratio
    if settings.coupling == "friis-saturated":
        return near_field_safe(frequency_hz, values.distance_m, gains), ratio
    curvature = values.distance_m if settings.focused else math.inf
    wave_m = LIGHT_SPEED_M_PER_S / frequency_hz
    spot = spot_radius_m(values.waist_m, wave_m, values.distance_m, curvature)
    return centred_transmittance(values.aperture_radius_m, spot), ratio


def _check_far(values: Values, ratio: Floats) -> None:
    """Refuse Friis' law where it would give more than all of the light."""
    shape = values.shape
    near = np.broadcast_to(ratio, shape).ravel()
    i = int(np.argmax(near))
    if near[i] > 1.0:
        distance_m = float(values.full("distance_m").ravel()[i])
        # The law falls with the square of the distance.
        far_m = 1.0001 * distance_m * math.sqrt(float(near[i]))
        raise ModelRangeError(
            "distance_m with coupling = friis",
            distance_m,
            (far_m, math.inf),
            "near field; take coupling = gaussian or friis-saturated, or go farther",
        )


def _gas(
    settings: RadioChannel, values: Values, frequency_hz: Floats, warnings: list[str]
) -> Floats:
    rows = np.array(settings.absorption_table, dtype=np.float64).reshape(-1, 2)
    table = None
    if rows.size:
        table = GasTable(rows[:, 0].copy(), rows[:, 1].copy(), "absorption_table")
    air = total_air(values.pressure_hpa, values.air_k, values.vapour_g_per_m3)
    # Beyond P.676 it is the user's table that says how much.
    if note := uncertainty_note(frequency_hz[frequency_hz <= RANGE_HZ[1]]):
        warnings.append(note)
    return gas_db_per_km(frequency_hz, air, table)


def _full(array: Floats, values: Values) -> Floats:
    return np.array(np.broadcast_to(array, values.shape), dtype=np.float64)
