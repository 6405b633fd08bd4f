"""An optical switch whose words the lab config says."""

import os

import pytest
from bench_kit import KINDS, UNWATCHED, WIRING, PlainLight
from patience_kit import PATIENT_S, Late, not_late_each_time, struck
from pydantic import ValidationError
from role_kit import opened

from driver.bench import Bench
from driver.hal_light import (
    AttenuatorConfig,
    BiasConfig,
    LaserConfig,
    PolarisationConfig,
)
from driver.optical_switch.commands import SwitchCommands
from driver.optical_switch.line_switch import LineSwitch
from driver.settings import InstrumentSettings
from driver.watch_plan import Watched, WatchPlan
from driver.watchdog import SafetyActions
from scqc.core.errors import DeviceError, InstrumentTimeout, WireProtocolError
from sim_backends.faults import Fault, FaultPlan
from sim_backends.serve import EmulatedInstrument, EmulatedLab, ServeRequest
from sim_backends.settings import SimSettings

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]

WORDS = {
    "open": "S1",
    "close": "S0",
    "query": "S?",
    "open_reply": "1",
    "closed_reply": "0",
    "terminator": "\r",
}
SHUTTERED = {**WIRING, "switch.signal": "shutter:1"}


@pytest.fixture
def lab():
    """A generator and a shutter of the bench's own words, in one laboratory."""
    wanted = {
        "awg": EmulatedInstrument(driver=KINDS["awg"][1]),
        "scope": EmulatedInstrument(driver=KINDS["scope"][1]),
        "shutter": EmulatedInstrument(driver="generic.line_switch", commands=WORDS),
    }
    request = ServeRequest(sim=SimSettings(), instruments=wanted, wiring=SHUTTERED)
    served = EmulatedLab(request, PlainLight())
    yield served
    served.close()


def bench_on(lab, io_timeout_s=20.0):
    roles = {name: role for name, (role, _) in KINDS.items()}
    settings = {
        name: InstrumentSettings(
            role=roles.get(name, "optical-switch"),
            driver=lab._request.instruments[name].driver,
            resource=endpoint,
            io_timeout_s=io_timeout_s,
            commands=WORDS if name == "shutter" else None,
        )
        for name, endpoint in lab.endpoints.items()
    }
    return Bench(settings, SHUTTERED, supervision=UNWATCHED)


def test_a_bench_has_shutters_of_both_kinds(lab):
    with bench_on(lab) as bench:
        bench.switch("switch.signal").set_open(True)
        bench.switch("switch.lo").set_open(True)
        levels = lab.cables.light.levels
        assert levels == {"signal": 1.4, "lo": 1.4}
        assert bench.switch("switch.signal").is_open
    assert lab.cables.light.levels == {"signal": 0.0, "lo": 0.0}
    assert lab.devices["shutter"].is_safe


def test_the_shutter_closes_on_every_exit(lab):
    with pytest.raises(KeyboardInterrupt), bench_on(lab) as bench:  # noqa: PT012
        bench.switch("switch.signal").set_open(True)
        raise KeyboardInterrupt
    assert lab.devices["shutter"].is_safe


def test_the_test_above_sees_a_missing_safe_state(lab, monkeypatch):
    with bench_on(lab) as bench:
        bench.switch("switch.signal").set_open(True)
        monkeypatch.setattr(LineSwitch, "safe_state", lambda *_: None)
    assert not lab.devices["shutter"].is_safe


@pytest.mark.parametrize(
    ("at", "kind", "error"),
    [
        ("switch", "not-taken", DeviceError),
        ("fetch", "no-reply", InstrumentTimeout),
        ("fetch", "garbage", WireProtocolError),
    ],
)
@not_late_each_time
def test_faults(at, kind, error):
    with opened("generic.line_switch") as (driver, served):
        device = served.devices["dut"]
        device.faults = FaultPlan("dut", [Fault(at, kind)])
        if error is not WireProtocolError:
            driver._link.io_timeout_s = 0.2
        with pytest.raises((error, InstrumentTimeout)) as caught:
            driver.set_open(True)
        struck(device)
        if not isinstance(caught.value, error):
            raise Late("an exchange after the fault was cut off")
        driver._link.io_timeout_s = PATIENT_S
        # Nobody knows where it stands: light is assumed through.
        assert driver.is_open
        driver.safe_state(PATIENT_S)
        assert device.is_safe
        assert not driver.is_open


@pytest.mark.parametrize(
    "words",
    [
        {"open_reply": "0"},
        {"open": "S0"},
        {"query": ""},
        {"open": "S\n1"},
        {"terminator": ";"},
        {"opens": "x"},
    ],
)
def test_words_that_cannot_work_are_refused(words):
    with pytest.raises(ValidationError):
        SwitchCommands(**(WORDS | words))


def test_other_drivers_take_no_words():
    with pytest.raises(ValidationError, match="commands of its own"):
        InstrumentSettings(
            role="awg", driver="keysight.m8190a", resource="tcp://h:1", commands=WORDS
        )


def lit_switch(driver):
    driver.set_open(True)


def lit_laser(driver):
    driver.configure(LaserConfig(193.4e12, 10.0))
    driver.set_enabled(True, 5.0)


def lit_attenuator(driver):
    driver.set_attenuation(AttenuatorConfig(1.0))


def lit_controller(driver):
    driver.set_polarisation(PolarisationConfig({2: 1.5}))


def lit_bias(driver):
    driver.set_bias(BiasConfig(None, 2.0), 5.0)


@pytest.mark.parametrize(
    ("backend", "light_up"),
    [
        ("generic.line_switch", lit_switch),
        ("itla.msa", lit_laser),
        ("ozoptics.dd100", lit_attenuator),
        ("ozoptics.epc", lit_controller),
        ("thorlabs.mbx", lit_bias),
    ],
)
def test_the_watchdog_takes_over_the_port(backend, light_up):
    with opened(backend) as (driver, served):
        light_up(driver)
        device = served.devices["dut"]
        assert not device.is_safe
        # The program is gone, and with it its hold on the port.
        driver.close()
        words = SwitchCommands().model_dump() if "switch" in backend else None
        watched = Watched("dut", backend, served.endpoints["dut"], True, words)
        plan = WatchPlan(1, 1, "unused", (watched,))
        assert WatchPlan.from_line(plan.to_line()) == plan
        actions = SafetyActions(plan)
        actions.run()
        assert actions.failures == {}
        assert device.is_safe
