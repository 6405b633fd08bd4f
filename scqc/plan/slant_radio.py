r"""Radio and terahertz through the atmosphere: loss, and the heat that comes with it.

Light goes from the sender by diffraction, through air in layers, into the antenna.
What each of them loses is replaced by heat of its own temperature:

.. math:: \bar n = T_f \big[ T_g (1 - T_d)\,\bar n(t_b) + \bar n_{air} \big]
   + (1 - T_f)\,\bar n(t_f)

photons per mode at the receiver, where :math:`t_b` is behind the sender (space for one
above, the Earth for one below), the air's are those of every layer dimmed by the layers
before the receiver, and :math:`t_f` is that of the feed. A cold receiver changes the
last term and its own amplifier only. One environment adds as much: :math:`W = 1 + 2
\bar n / (1 - T)`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from scqc.plan.points import ChannelPoints, Loss, steady
from scqc.plan.radio_settings import AtmosphereName, SlantRadioChannel
from scqc.plan.records import Floats
from scqc.plan.values import Values
from sim_backends.propagation.atmospheres import Atmosphere
from sim_backends.propagation.beam import centred_transmittance, spot_radius_m
from sim_backends.propagation.gas_uncertainty import uncertainty_note
from sim_backends.propagation.refraction import SlantPath
from sim_backends.propagation.slant_path import slant_emission
from sim_backends.propagation.thermal import (
    BOLTZMANN_J_PER_K,
    amplifier_noise_snu,
    thermal_photons,
    thermal_variance_snu,
)


def slant_radio_points(settings: SlantRadioChannel, values: Values) -> ChannelPoints:
    """Evaluate a radio channel through the atmosphere at all points.

    Parameters
    ----------
    settings : SlantRadioChannel
    values : Values

    Raises
    ------
    ModelRangeError
        If the ends are in the wrong order, the air traps the ray, or the frequency is
        outside P.676.
    """
    frequency = values.full("frequency_hz")
    length_m, gas_db, air = _through_air(settings, values)
    curvature = length_m if settings.focused else math.inf
    wave_m = LIGHT_SPEED_M_PER_S / frequency
    spot = spot_radius_m(values.waist_m, wave_m, length_m, curvature)
    loss = Loss(values.shape)
    share = centred_transmittance(values.full("aperture_radius_m"), spot)
    loss.share("diffraction", share)
    loss.add("gas", gas_db)
    loss.add("feed", values.feed_loss_db)
    gas, feed = (10.0 ** (-0.1 * loss.parts_db[name]) for name in ("gas", "feed"))
    behind = values.sky_k if settings.direction_of_light == "down" else values.ground_k
    arriving = gas * (1.0 - share) * thermal_photons(frequency, behind) + air
    # 1 - T by the loss itself: the difference would lose a small one.
    lost = -np.expm1(-0.1 * math.log(10.0) * loss.parts_db["feed"])
    photons = feed * arriving + lost * thermal_photons(frequency, values.feed_k)
    note = uncertainty_note(frequency)
    kelvin = _noise_k(frequency, photons)
    extra = {"slant_km": 1e-3 * length_m, "antenna_k": kelvin, "spot_m": spot}
    source = thermal_variance_snu(frequency, values.source_k)
    return replace(
        steady(loss, extra, (note,) if note else ()),
        environment_snu=1.0 + 2.0 * photons / _lost(loss),
        source_snu=np.broadcast_to(source, values.shape).copy(),
        receiver_snu=np.array(amplifier_noise_snu(frequency, values.receiver_k)),
    )


def _lost(loss: Loss) -> Floats:
    """Return 1 - T, never quite zero."""
    total = sum(loss.parts_db.values(), start=np.zeros(1))
    return np.maximum(-np.expm1(-0.1 * math.log(10.0) * total), 1e-15)


def _noise_k(frequency_hz: Floats, photons: Floats) -> Floats:
    """Return the temperature of a black body with as many photons per mode [K]."""
    with np.errstate(divide="ignore"):
        ratio = np.log1p(1.0 / photons)
    return np.asarray(PLANCK_J_S * frequency_hz / (BOLTZMANN_J_PER_K * ratio))


def _through_air(
    settings: SlantRadioChannel, values: Values
) -> tuple[Floats, Floats, Floats]:
    """Return length of the ray [m], loss by gas [dB], photons of the air [1]."""
    names = ["frequency_hz", "lower_km", "altitude_km", "zenith_deg"]
    if values.vapour_g_per_m3 is not None:
        names.append("vapour_g_per_m3")
    rows = np.stack([values.full(name).ravel() for name in names], axis=1)
    down = settings.direction_of_light == "down"
    found = [_ray(settings.atmosphere, down, tuple(row.tolist())) for row in rows]
    columns = np.array(found).reshape(-1, 3).T
    length_km, gas_db, air = (column.reshape(values.shape) for column in columns)
    return 1e3 * length_km, gas_db, air


@lru_cache(maxsize=16_384)
def _ray(
    name: AtmosphereName, down: bool, row: tuple[float, ...]
) -> tuple[float, float, float]:
    """Return length [km], loss [dB] and photons of one ray; points come again."""
    frequency_hz, lower_km, upper_km, zenith_deg, *vapour = row
    path = SlantPath(
        math.radians(90.0 - zenith_deg),
        start_km=lower_km,
        end_km=upper_km,
        atmosphere=Atmosphere(name, *vapour),
        fast=True,
    )
    found = slant_emission(frequency_hz, path)
    photons = found.down_photons if down else found.up_photons
    return found.length_km, float(found.loss_db[0]), float(photons[0])
