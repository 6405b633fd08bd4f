"""Whether an instrument can take its set-points, asked of its driver alone.

Ranges are known once an instrument is open; a set-point outside is refused when it
is set, one after the other. Here all are found before anything is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from driver.hal import Instrument
from driver.hal_light import (
    Attenuator,
    BiasController,
    DetectorBias,
    Laser,
    PolarisationController,
    PowerMeter,
)

if TYPE_CHECKING:
    from driver.settings import InstrumentSettings

#: Key, what it is set to, and lowest and highest value in the key's unit.
_Asked = tuple[str, float | None, tuple[float, float]]


def misfits(instrument: Instrument, settings: InstrumentSettings) -> list[str]:
    """Return every set-point that an instrument cannot take; nothing is sent.

    Parameters
    ----------
    instrument : Instrument
        Open.
    settings : InstrumentSettings

    Returns
    -------
    list of str
        Key, value and range of each.
    """
    found = [
        f"set_points.{key} = {value:g} is outside {low:g} to {high:g}"
        for key, value, (low, high) in _asked(instrument, settings)
        if value is not None and not low <= value <= high
    ]
    return found + list(_too_many(instrument, settings))


def _asked(instrument: Instrument, settings: InstrumentSettings) -> Iterator[_Asked]:
    points, roles = settings.set_points, settings.roles
    # A role that is not played here may have no range that can be told.
    if "laser" in roles and isinstance(instrument, Laser):
        yield "frequency_hz", points.frequency_hz, instrument.frequency_range_hz
        yield "power_dbm", points.power_dbm, instrument.power_range_dbm
    if "attenuator" in roles and isinstance(instrument, Attenuator):
        yield "attenuation_db", points.attenuation_db, instrument.attenuation_range_db
    if "bias-controller" in roles and isinstance(instrument, BiasController):
        yield "hold_v", points.hold_v, instrument.hold_range_v
    if "power-meter" in roles and isinstance(instrument, PowerMeter):
        yield "wavelength_m", points.wavelength_m, instrument.wavelength_range_m
    if "polarisation-controller" in roles and isinstance(
        instrument, PolarisationController
    ):
        for number, volts in enumerate(points.polarisation_v or (), start=1):
            yield f"polarisation_v[{number}]", volts, instrument.volts_range
    if "detector-bias" in roles and isinstance(instrument, DetectorBias):
        for number, amperes in enumerate(points.bias_a or (), start=1):
            yield f"bias_a[{number}]", amperes, instrument.bias_range_a


def _too_many(instrument: Instrument, settings: InstrumentSettings) -> Iterator[str]:
    """Tell of lists that are longer than the instrument has channels."""
    points = settings.set_points
    if not isinstance(instrument, PolarisationController | DetectorBias):
        return
    last = max(instrument.channels, default=0)
    lists = {
        "polarisation_v": points.polarisation_v,
        "bias_a": points.bias_a,
        "trigger_level_v": points.trigger_level_v,
    }
    for key, values in lists.items():
        if values is not None and len(values) > last:
            yield f"set_points.{key} has {len(values)} values for {last} channels"
