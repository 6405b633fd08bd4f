"""Attenuator, polarisation and bias controller on serial lines, and their faults."""

import os
import threading
import time

import pytest
from patience_kit import PATIENT_S, Late, given_up, not_late_each_time, struck, within
from role_kit import MovableLight, sampled

from driver.attenuator.ozoptics_dd100 import OzOpticsDd100
from driver.bias_controller.thorlabs_mbx import ThorlabsMbx
from driver.hal_light import AttenuatorConfig, BiasConfig, PolarisationConfig
from driver.line_link import LineLink
from driver.polarisation_controller.ozoptics_epc import OzOpticsEpc
from driver.transports.serial_port import byte_transport
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from sim_backends.devices import ozoptics_dd100, ozoptics_epc, thorlabs_mbx
from sim_backends.devices.lab import Cables
from sim_backends.faults import LATE_S, Fault, FaultPlan
from sim_backends.wire.pty_line import PtyLineServer, TcpLineServer

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]

# Opening outlasts a late reply: the emulator is busy that long.
OPEN_TIMEOUT_S, IO_TIMEOUT_S = 0.9, 0.3
LOST, LATE, GARBLED = (ConnectionLost,), (InstrumentTimeout,), (WireProtocolError,)
REFUSED = (DeviceError,)
EMULATED = {
    "voa": ozoptics_dd100.OzOpticsDd100,
    "epc": ozoptics_epc.OzOpticsEpc,
    "mbx": thorlabs_mbx.ThorlabsMbx,
}
DRIVEN = {"voa": OzOpticsDd100, "epc": OzOpticsEpc, "mbx": ThorlabsMbx}
WIRING = {
    "voa": {"tx.attenuator": "voa:1"},
    "epc": {"rx.polarisation": "epc:1"},
    "mbx": {"tx.bias": "mbx:1", "tx.attenuator": "mbx:voa1"},
}


def use_voa(driver, timeout_s=PATIENT_S):
    driver.set_attenuation(AttenuatorConfig(12.5))
    found = driver.attenuation_db()
    driver.safe_state(timeout_s)
    return found == 12.5


def use_epc(driver, timeout_s=PATIENT_S):
    driver.set_polarisation(PolarisationConfig({1: 2.5, 4: -0.125}))
    found = driver.polarisation().volts
    driver.safe_state(timeout_s)
    return found == {1: 2.5, 2: 0.0, 3: 0.0, 4: -0.125}


def use_mbx(driver, timeout_s=PATIENT_S):
    driver.set_attenuation(AttenuatorConfig(12.5))
    reading = driver.set_bias(BiasConfig(None, 1.5), timeout_s)
    locked = driver.set_bias(BiasConfig("null"), timeout_s)
    found = driver.attenuation_db()
    driver.safe_state(timeout_s)
    return (reading.volts, locked.is_locked, found) == (1.5, True, 12.5)


USES = {"voa": use_voa, "epc": use_epc, "mbx": use_mbx}


BOTH = pytest.mark.parametrize("wire", [PtyLineServer, TcpLineServer], indirect=True)


@pytest.fixture(params=[PtyLineServer])
def wire(request):
    """Serve an instrument, on a terminal unless a test says otherwise."""
    servers = []

    def serve(name, *faults, open_timeout_s=PATIENT_S, io_timeout_s=PATIENT_S):
        plan = FaultPlan(name, [Fault(*fault) for fault in faults])
        cables = Cables(MovableLight(), WIRING[name])
        server = request.param(EMULATED[name](name, cables, plan))
        servers.append(server)
        transport = byte_transport(name, server.endpoint)
        return server.device, DRIVEN[name](
            LineLink(transport, open_timeout_s, io_timeout_s)
        )

    yield serve
    for server in servers:
        for _ in range(2):
            server.close()


@BOTH
@pytest.mark.parametrize("name", EMULATED)
def test_whole_use(wire, name):
    device, driver = wire(name)
    driver.open()
    assert device.is_safe
    assert USES[name](driver)
    assert device.is_safe
    driver.close()
    with pytest.raises(StateError):
        driver.ping()


CASES = [
    ("voa", "identify", "drop-connection", LOST),
    ("epc", "identify", "no-reply", LATE),
    ("mbx", "identify", "garbage", GARBLED),
    ("voa", "identify", "half-block", LATE + GARBLED),
    ("mbx", "identify", "late-reply", None),
    ("voa", "configure", "drop-connection", LOST),
    ("voa", "configure", "no-reply", LATE),
    ("voa", "configure", "late-reply", LATE),
    ("voa", "configure", "garbage", GARBLED),
    ("voa", "configure", "wrong-length", GARBLED),
    ("voa", "configure", "not-taken", REFUSED),
    ("voa", "configure", "reboot", LATE),
    ("voa", "configure", "execution-error", REFUSED),
    ("voa", "fetch", "not-a-number", GARBLED),
    ("voa", "fetch", "half-block", LATE + GARBLED),
    ("voa", "fetch", "late-reply", LATE),
    ("epc", "configure", "drop-connection", LOST),
    ("epc", "configure", "late-reply", LATE),
    ("epc", "configure", "half-block", LATE + GARBLED),
    ("epc", "configure", "not-taken", REFUSED),
    ("epc", "configure", "execution-error", REFUSED),
    ("epc", "configure", "reboot", LATE),
    ("epc", "fetch", "not-a-number", GARBLED),
    ("epc", "fetch", "wrong-length", GARBLED),
    ("epc", "fetch", "garbage", GARBLED),
    ("epc", "fetch", "drop-connection", LOST),
    ("mbx", "configure", "drop-connection", LOST),
    # The acknowledgement of a setting: nothing hangs on it.
    ("mbx", "configure", "no-reply", None),
    ("mbx", "configure", "late-reply", LATE),
    ("mbx", "configure", "garbage", GARBLED),
    ("mbx", "configure", "not-taken", REFUSED),
    ("mbx", "wait", "pending-forever", LATE),
    ("mbx", "wait", "garbage", GARBLED),
    ("mbx", "fetch", "not-a-number", GARBLED),
    ("mbx", "fetch", "wrong-length", GARBLED),
    ("mbx", "fetch", "no-reply", LATE),
]


@pytest.mark.parametrize(("name", "at", "kind", "errors"), sampled(CASES))
@not_late_each_time
def test_fault_ends_in_its_typed_error(wire, name, at, kind, errors):
    late = {"late-reply", "no-reply"}
    hurries = kind in late if errors is None else InstrumentTimeout in errors
    hurry = {"open_timeout_s": OPEN_TIMEOUT_S, "io_timeout_s": IO_TIMEOUT_S}
    device, driver = wire(name, **(hurry if hurries else {}))
    faults = FaultPlan(name, [Fault(at, kind)])
    start = time.monotonic()
    if at == "identify":
        device.faults = faults
    try:
        driver.open()
        # Others strike after the opening, which has a deadline of its own.
        device.faults = faults
        works = USES[name](driver, driver._link.io_timeout_s)
    except LOST + LATE + GARBLED + REFUSED as error:
        works = error
    driver.close()
    struck(device)
    within(OPEN_TIMEOUT_S + 3 * IO_TIMEOUT_S + 1.0, start)
    if errors is None:
        if isinstance(works, InstrumentTimeout):
            raise Late("another exchange was cut off")
        assert works is True
    else:
        assert isinstance(works, errors)
        assert works.instrument == name
    # The fault struck once: the instrument works again, with nothing stale.
    driver._link.open_timeout_s = driver._link.io_timeout_s = PATIENT_S
    driver.open()
    assert USES[name](driver)
    assert device.is_safe
    driver.close()


@pytest.mark.parametrize("idle_s", [0.0, LATE_S + 0.2])
@not_late_each_time
def test_a_late_reply_never_answers_the_next_query(wire, idle_s):
    device, driver = wire("mbx")
    driver.open()
    device.faults = FaultPlan("mbx", [Fault("fetch", "late-reply")])
    given_up(InstrumentTimeout, lambda: driver._link.query_number("VOA:MEASURED?", 0.2))
    time.sleep(idle_s)
    assert driver._link.query_number("MZM:HOLD:VOLTAGE?") == 0.0
    driver.close()


@BOTH
def test_a_reply_that_nobody_waits_for_is_dropped(wire):
    """Without the look at what has arrived, each answer would be the last one's."""
    _, driver = wire("voa")
    driver.open()
    driver._link._transport.write(b"A10.00\r\n", Deadline(PATIENT_S))
    time.sleep(0.2)
    assert driver.set_attenuation(AttenuatorConfig(20.0)).attenuation_db == 20.0
    assert driver.attenuation_db() == 20.0
    driver.close()


@pytest.mark.parametrize("name", EMULATED)
def test_another_instrument_on_the_port(wire, name):
    device, driver = wire(name)
    mine = driver.open()
    device.faults = FaultPlan(name, [Fault("identify", "wrong-identity", 2)])
    driver._link._dirty = True
    with pytest.raises(ConnectError, match="answers for"):
        driver.ping()
    device.faults = FaultPlan(name)
    driver.ping()
    assert driver.identity == mine
    driver.close()


def test_what_an_instrument_refuses_is_an_error(wire):
    _, driver = wire("voa")
    driver.open()
    for command, code in (("X", "Error-2"), ("A99.00", "Error-6")):
        with pytest.raises(DeviceError, match=code):
            driver._link.query(command)
    assert driver.attenuation_db() == 60.0
    driver.close()


def test_out_of_range_sends_nothing(wire, monkeypatch):
    _, driver = wire("epc")
    driver.open()
    monkeypatch.setattr(
        driver._link, "_send", lambda *_: pytest.fail("something was sent")
    )
    with pytest.raises(RangeError):
        driver.set_polarisation(PolarisationConfig({1: 1.0, 2: 6.0}))
    monkeypatch.undo()
    driver.close()


def test_settings_that_are_answered_and_silent_ones_are_told_apart(wire):
    """VOA:MODE is answered by 1; taken for the next reply it would be a value."""
    device, driver = wire("mbx")
    driver.open()
    driver._link.tell("VOA:MODE: 0")
    driver._link.tell("VOA:ATTEN: 7.5")
    assert driver._link.query_number("VOA:ATTEN?") == 7.5
    assert device.values["VOA:ATTEN"] == 7.5
    driver.close()


def test_no_thread_is_left(wire):
    before = {t.ident for t in threading.enumerate()}
    for kind in (PtyLineServer, TcpLineServer):
        cables = Cables(MovableLight(), {})
        kind(thorlabs_mbx.ThorlabsMbx("mbx", cables)).close()
    assert not [t for t in threading.enumerate() if t.ident not in before]
