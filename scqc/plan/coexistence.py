"""Data and key divided: what each division of a channel costs.

In time, a guard at every change-over. By wavelength, a second carrier with a receiver
of its own: it is launched as strongly as that receiver needs at the far end; its light
scatters in fibre (Raman, with the key or against it) and leaks through the filter. By
frequency, a second band on the key's own carrier and receiver, sent as strongly as that
receiver needs for its bits; it leaks through the electrical filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from protocols.security.coexistence import Division, Neighbour, stray_photons
from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.settings import Settings
from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from scqc.plan.channel_settings import FibreChannel
from scqc.plan.channels import channel_points
from scqc.plan.neighbours import optical_hz, scattered_photons
from scqc.plan.radio_settings import RadioChannel, SlantRadioChannel
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, Sweep
from scqc.plan.values import Values
from sim_backends.propagation.raman import ClassicalChannel
from sim_backends.propagation.ranges import within
from sim_backends.propagation.thermal import BOLTZMANN_J_PER_K


class Coexistence(Settings):
    """What dividing the light costs."""

    guard_time: float = Field(
        default=0.05, ge=0.0, lt=1.0, description="share of all uses, change-overs"
    )
    guard_wavelength: float = Field(
        default=0.05, ge=0.0, lt=1.0, description="share of the spectrum, guard bands"
    )
    guard_frequency: float = Field(
        default=0.05, ge=0.0, lt=1.0, description="share of the band, filter edges"
    )
    code_efficiency: float = Field(
        default=0.9, gt=0.0, le=1.0, description="rate of the code over capacity"
    )
    data_raw_ber: float = Field(
        default=1e-6, ge=1e-15, lt=0.5, description="of data alone, before its code"
    )
    classical_nm: float = Field(
        default=1551.72,
        ge=1250.0,
        le=1665.0,
        description="wavelength of divided data in fibre, 50 GHz or more away",
    )
    classical_direction: Literal["co", "counter"] = Field(
        default="co", description="with or against the key"
    )
    classical_db_per_km: float = Field(
        default=0.2, ge=0.0, le=100.0, description="of the fibre at classical_nm"
    )
    sensitivity_dbm: float | None = Field(
        default=None,
        ge=-200.0,
        le=20.0,
        description="of the data's own receiver; absent: -34 for light (long-haul "
        "155 Mb/s, ITU-T G.957), 16 dB above kTB of 290 K for radio (noise figure "
        "6 dB, ratio 10 dB)",
    )
    margin_db: float = Field(
        default=3.0, ge=0.0, le=100.0, description="above the sensitivity"
    )
    most_launch_dbm: float = Field(
        default=20.0, ge=-100.0, le=30.0, description="that the data's laser gives"
    )
    isolation_db: float = Field(
        default=80.0,
        ge=0.0,
        le=300.0,
        description="of the data's wavelength, filters and local oscillator together; "
        "against the key also of what the fibre's end reflects",
    )
    electrical_isolation_db: float = Field(
        default=60.0,
        ge=0.0,
        le=300.0,
        description="of the data's band on the same carrier; converters end at 60",
    )


class FrontScenario(Scenario):
    """A scenario, and what dividing its light would cost."""

    coexistence: Coexistence = Coexistence()

    def at(self, value: float) -> FrontScenario:
        """Return the scenario at one value of its sweep.

        Raises
        ------
        PlanSettingsError
            If the value is outside the range of what is swept.
        """
        sweep = Sweep(variable=self.sweep.variable, start=value, stop=value, points=1)
        try:
            return type(self).model_validate({**dict(self), "sweep": sweep})
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            problem = ConfigProblem("plan", "", "--front", f"{value:g}", why)
            raise PlanSettingsError([problem]) from None


@dataclass(frozen=True, slots=True)
class Beside:
    """Data beside a key, at one point.

    Parameters
    ----------
    neighbour : Neighbour
        As `protocols.security.coexistence` takes it.
    transmittance : float
        Of the way that the data takes [1].
    launch_dbm : float
        NaN where nothing is launched for the data alone.
    """

    neighbour: Neighbour
    transmittance: float
    launch_dbm: float

    def stray(self, division: Division) -> dict[str, float]:
        """Return stray photons per mode at the key's receiver, by their way [1]."""
        no_raman = replace(self.neighbour, raman_photons=0.0)
        every = float(stray_photons(self.neighbour, division, self.transmittance))
        leaked = float(stray_photons(no_raman, division, self.transmittance))
        return {
            "stray_photons": every,
            "crosstalk_photons": leaked,
            "raman_photons": every - leaked,
        }


def own_carrier(scenario: FrontScenario, value: float) -> Beside:
    """Return data on a wavelength of its own, as strong as its receiver needs.

    Parameters
    ----------
    scenario : FrontScenario
    value : float
        Of the swept variable.

    Raises
    ------
    ModelRangeError
        If the laser is too weak for the loss, or the wavelengths are too near.
    """
    costs, channel = scenario.coexistence, scenario.channel
    part, _, name = scenario.sweep.variable.partition(".")
    arrays = {name: np.array([value])} if part == "channel" else {}
    values = Values(channel, arrays, (1,))
    if isinstance(channel, FibreChannel):
        loss = costs.classical_db_per_km * values.full("length_km")
        loss_db = float((loss + values.full("fixed_loss_db"))[0])
        carrier_hz = float(optical_hz(np.array(costs.classical_nm)))
    else:
        loss_db = float(channel_points(channel, values).total_loss_db[0])
        carrier_hz = _carrier_hz(scenario, values)
    launch_dbm = _sensitivity_dbm(scenario) + costs.margin_db + loss_db
    why = "of the data's laser: a better receiver, or less loss"
    limits = (-math.inf, costs.most_launch_dbm)
    within("launch power of the divided data [dBm]", launch_dbm, limits, why)
    launch_w = 1e-3 * 10.0 ** (0.1 * launch_dbm)
    photons = launch_w / (PLANCK_J_S * carrier_hz * scenario.symbol_rate_hz)
    scattered = 0.0
    counter = costs.classical_direction == "counter"
    if isinstance(channel, FibreChannel):
        own = costs.classical_db_per_km
        classical = ClassicalChannel(carrier_hz, launch_w, counter, own)
        scattered = float(scattered_photons(values, classical)[0])
    # Against the key, the data enters where the key arrives: reflected, not lost.
    through = 1.0 if counter else 10.0 ** (-0.1 * loss_db)
    neighbour = Neighbour(photons, costs.isolation_db, scattered / photons)
    return Beside(neighbour, through, launch_dbm)


def own_band(costs: Coexistence, photons: float, transmittance: float) -> Beside:
    """Return data in another band of the key's carrier.

    Parameters
    ----------
    costs : Coexistence
    photons : float
        Per use that the key's receiver needs for data alone, at the transmitter [1].
    transmittance : float
        Of the channel [1].
    """
    neighbour = Neighbour(photons, costs.electrical_isolation_db)
    return Beside(neighbour, transmittance, math.nan)


def _sensitivity_dbm(scenario: FrontScenario) -> float:
    """Return what the data's own receiver needs [dBm]."""
    given = scenario.coexistence.sensitivity_dbm
    if given is not None:
        return given
    if isinstance(scenario.channel, RadioChannel | SlantRadioChannel):
        noise_w = BOLTZMANN_J_PER_K * 290.0 * scenario.symbol_rate_hz
        return 10.0 * math.log10(1e3 * noise_w) + 6.0 + 10.0
    return -34.0


def _carrier_hz(scenario: Scenario, values: Values) -> float:
    """Return the carrier in free space; the data's is next to it [Hz]."""
    if isinstance(scenario.channel, RadioChannel | SlantRadioChannel):
        found: Floats = values.full("frequency_hz")
        return float(found[0])
    return LIGHT_SPEED_M_PER_S / (1e-9 * float(values.full("wavelength_nm")[0]))
