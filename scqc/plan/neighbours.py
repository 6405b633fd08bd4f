"""Classical channels on the key's fibre: what they scatter and leak into it.

A coherent receiver takes one mode of one polarisation of the Raman light; a counting
one both polarisations of all modes in its filter and gate. The loss that does not
depend on the length is taken to lie at the receiver, behind the fibre: it weakens the
stray light as it weakens the key.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.values import Values
from sim_backends.propagation.raman import (
    BAND_HZ,
    ClassicalChannel,
    raman_photons_per_mode,
)
from sim_backends.propagation.ranges import within


def optical_hz(wavelength_nm: Floats) -> Floats:
    """Return the frequency of a wavelength of the telecom bands [Hz].

    Parameters
    ----------
    wavelength_nm : ndarray, shape (...), float64 [nm]

    Raises
    ------
    ModelRangeError
        If the wavelength is outside the bands; in nm.
    """
    limits = tuple(1e9 * LIGHT_SPEED_M_PER_S / hz for hz in reversed(BAND_HZ))
    known = within(
        "wavelength in a fibre [nm]", wavelength_nm, (limits[0], limits[1]), "Raman"
    )
    return np.asarray(1e9 * LIGHT_SPEED_M_PER_S / known)


def scattered_photons(values: Values, classical: ClassicalChannel) -> Floats:
    """Return the Raman photons per mode at the end of a fibre, shape (...) [1].

    Parameters
    ----------
    values : Values
        Of a fibre channel.
    classical : ClassicalChannel

    Raises
    ------
    ModelRangeError
        As `sim_backends.propagation.raman.raman_photons_per_mode`.
    """
    born = raman_photons_per_mode(
        optical_hz(values.full("wavelength_nm")),
        [classical],
        values.full("length_km"),
        values.full("attenuation_db_per_km"),
        values.full("fibre_k"),
        values.full("raman_gain_per_w_km"),
    )
    return np.asarray(born * _behind(values))


def with_neighbour(points: ChannelPoints, values: Values) -> ChannelPoints:
    """Return a fibre with the stray light of the channel that it carries besides.

    Parameters
    ----------
    points : ChannelPoints
        Of the fibre.
    values : Values
        Of a fibre channel with `neighbour_dbm`.

    Raises
    ------
    ModelRangeError
        As `scattered_photons`: a neighbour nearer than 50 GHz, for one.
    """
    quantum_nm = values.full("wavelength_nm")
    carrier_hz = optical_hz(values.full("neighbour_nm"))
    launch_w = 1e-3 * 10.0 ** (0.1 * values.full("neighbour_dbm"))
    own_db = values.full("neighbour_db_per_km")
    counter = values.neighbour_direction == "counter"
    classical = ClassicalChannel(carrier_hz, launch_w, counter, own_db)
    mode = scattered_photons(values, classical)
    # Modes per second within 1 nm, and both polarisations of each.
    per_nm = 1e-9 * LIGHT_SPEED_M_PER_S / (1e-9 * quantum_nm) ** 2
    lost_db = values.full("neighbour_isolation_db")
    if not counter:
        # Against the key it leaves at the other end; what comes back is isolated.
        lost_db = lost_db + own_db * values.full("length_km")
    arriving = launch_w * 10.0 ** (-0.1 * lost_db) * _behind(values)
    leak_hz = arriving / (PLANCK_J_S * carrier_hz)
    leaked = leak_hz / values.full("neighbour_bandwidth_hz")
    return replace(
        points,
        stray_mode_photons=points.stray_mode_photons + mode + leaked,
        stray_hz_per_nm=points.stray_hz_per_nm + 2.0 * mode * per_nm,
        stray_hz=points.stray_hz + leak_hz,
    )


def _behind(values: Values) -> Floats:
    return np.asarray(10.0 ** (-0.1 * values.full("fixed_loss_db")))
