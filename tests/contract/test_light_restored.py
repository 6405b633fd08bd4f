"""Optical instruments that were lost come back set as before, and dark."""

from dataclasses import replace

import pytest
from role_kit import opened, playing

from driver.hal import Restorable
from driver.hal_light import (
    AttenuatorConfig,
    BiasConfig,
    DetectorBiasConfig,
    LaserConfig,
    PolarisationConfig,
    PowerMeterConfig,
)
from driver.restoring import reconnect
from scqc.core.errors import DeviceError

BACK_S = SETTLE_S = 60.0
ROLES = (
    "laser",
    "attenuator",
    "bias-controller",
    "polarisation-controller",
    "power-meter",
    "detector-bias",
)
OPTICAL = sorted({name for role in ROLES for name in playing(role) if " " not in name})


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    with opened(request.param) as (driver, lab):
        driver.seen = lab.cables.light
        yield driver


def middle(laser):
    """Return a config well inside the limits of a laser."""
    low_hz, high_hz = laser.frequency_range_hz
    low_dbm, high_dbm = laser.power_range_dbm
    megahertz = round(0.5e-6 * (low_hz + high_hz)) + 1
    return LaserConfig(1e6 * megahertz, round(0.5 * (low_dbm + high_dbm), 1))


def bring_back(driver):
    """Lose an instrument and find it again; return what it was set to before."""
    before = driver.snapshot()
    reconnect(driver, BACK_S)
    return before


@pytest.mark.parametrize("instrument", OPTICAL, indirect=True)
def test_one_that_was_never_set_stays_in_its_safe_state(instrument):
    assert isinstance(instrument, Restorable)
    assert bring_back(instrument) == instrument.snapshot()
    emitted = instrument.seen.levers.signal
    assert emitted is None or not emitted.is_on


@pytest.mark.parametrize("instrument", playing("laser"), indirect=True)
def test_a_laser_is_set_and_stays_dark(instrument, monkeypatch):
    taken = instrument.configure(middle(instrument))
    instrument.set_enabled(True, SETTLE_S)
    before = bring_back(instrument)
    assert instrument.snapshot() == before | {"is_on": False}
    assert not instrument.reading().is_on
    assert not instrument.seen.levers.signal.is_on
    # Armed again without being configured again.
    instrument.set_enabled(True, SETTLE_S)
    assert instrument.seen.levers.signal.frequency_hz == pytest.approx(
        taken.frequency_hz, abs=1e6
    )
    weak = replace(taken, power_dbm=taken.power_dbm - 1.0)
    monkeypatch.setattr(instrument, "configure", lambda _: weak)
    with pytest.raises(DeviceError, match="power_dbm"):
        bring_back(instrument)


@pytest.mark.parametrize("instrument", playing("attenuator"), indirect=True)
def test_an_attenuator_goes_back(instrument):
    instrument.set_attenuation(AttenuatorConfig(12.5))
    assert bring_back(instrument) == instrument.snapshot()
    assert instrument.seen.levers.attenuation_db == pytest.approx(12.5, abs=0.1)


@pytest.mark.parametrize("instrument", playing("bias-controller"), indirect=True)
@pytest.mark.parametrize("config", [BiasConfig("null"), BiasConfig(None, 1.25)])
def test_a_bias_is_locked_or_held_again(instrument, config):
    instrument.set_bias(config, SETTLE_S)
    assert bring_back(instrument) == instrument.snapshot()
    assert instrument.bias().is_locked == (config.point is not None)
    assert instrument.seen.levers.bias_v == config.hold_v


@pytest.mark.parametrize(
    "instrument", playing("polarisation-controller"), indirect=True
)
def test_a_polarisation_goes_back(instrument):
    first, *_, last = instrument.channels
    instrument.set_polarisation(PolarisationConfig({first: 1.5, last: 0.25}))
    # Channels set one after the other are both remembered.
    instrument.set_polarisation(PolarisationConfig({last: -0.5}))
    assert bring_back(instrument) == instrument.snapshot()
    found = instrument.polarisation().volts
    assert (found[first], found[last]) == pytest.approx((1.5, -0.5), abs=0.01)


@pytest.mark.parametrize("instrument", playing("power-meter"), indirect=True)
def test_a_meter_is_configured_again(instrument):
    instrument.configure_meter(PowerMeterConfig(1310e-9, 7))
    assert bring_back(instrument) == instrument.snapshot()
    assert instrument.snapshot()["averages"] == 7
    assert instrument.power_w() > 0.0


@pytest.mark.parametrize("instrument", playing("detector-bias"), indirect=True)
def test_detectors_get_their_currents_back(instrument):
    instrument.set_detectors(DetectorBiasConfig({1: 20e-6, 3: 12.5e-6}, {1: 0.15}))
    before = bring_back(instrument)
    assert instrument.snapshot() == before
    assert instrument.snapshot()["bias_a"]["3"] == pytest.approx(12.5e-6)
