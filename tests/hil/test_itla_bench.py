"""A laser module on a terminal and on TCP: frames, faults, time-outs."""

import os
import time

import pytest
from patience_kit import (
    PATIENT_S,
    deaf_port,
    given_up,
    not_late_each_time,
    struck,
    within,
)
from role_kit import MovableLight, sampled

from driver.hal_light import LaserConfig
from driver.laser.itla_frame import request
from driver.laser.itla_link import ItlaLink
from driver.laser.itla_msa import ItlaLaser
from driver.laser.itla_registers import Register
from driver.transports.serial_port import byte_transport
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    StateError,
    WireProtocolError,
)
from sim_backends.devices import itla_msa
from sim_backends.devices.itla_msa import HOP_MHZ, ItlaModule
from sim_backends.devices.lab import Cables
from sim_backends.faults import Fault, FaultPlan
from sim_backends.wire.pty_frame import PtyFrameServer, TcpFrameServer

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]

# Opening outlasts a late reply: the emulator is busy that long.
OPEN_TIMEOUT_S, IO_TIMEOUT_S, SETTLE_S = 0.9, 0.3, PATIENT_S
CONFIG = LaserConfig(193.412_345e12, 8.5)
LOST, LATE, GARBLED = (ConnectionLost,), (InstrumentTimeout,), (WireProtocolError,)
REFUSED = (DeviceError,)


BOTH = pytest.mark.parametrize("wire", [PtyFrameServer, TcpFrameServer], indirect=True)


@pytest.fixture(params=[PtyFrameServer])
def wire(request):
    """Serve a module, on a terminal unless a test says otherwise."""
    servers = []

    def serve(
        *faults,
        settle_scale=0.001,
        open_timeout_s=PATIENT_S,
        io_timeout_s=PATIENT_S,
    ):
        plan = FaultPlan("laser", [Fault(*fault) for fault in faults])
        cables = Cables(MovableLight(), {"tx.laser": "laser:1"})
        server = request.param(ItlaModule("laser", cables, plan, settle_scale))
        servers.append(server)
        transport = byte_transport("laser", server.endpoint)
        return server.device, ItlaLaser(
            ItlaLink(transport, open_timeout_s, io_timeout_s)
        )

    yield serve
    for server in servers:
        for _ in range(2):
            server.close()


def light_of(device):
    return device._cables.light.levers.signal


def use(driver, timeout_s=PATIENT_S):
    """Set, shine, read, go dark; what is only read may be read again."""
    driver.configure(CONFIG)
    driver.set_enabled(True, timeout_s)
    reading = driver.reading()
    driver.safe_state(timeout_s)
    return reading


@BOTH
def test_the_light_follows_the_registers(wire):
    device, driver = wire()
    driver.open()
    reading = use(driver)
    assert (reading.frequency_hz, reading.power_dbm) == (193.412_345e12, 8.5)
    driver.close()
    assert not light_of(device).is_on


CASES = [
    ("identify", "drop-connection", LOST),
    ("identify", "no-reply", LATE),
    ("identify", "half-block", LATE + GARBLED),
    ("identify", "garbage", None),
    ("identify", "bad-checksum", None),
    ("configure", "drop-connection", LOST),
    ("configure", "no-reply", LATE),
    ("configure", "late-reply", LATE),
    ("configure", "half-block", LATE + GARBLED),
    ("configure", "garbage", GARBLED),
    ("configure", "bad-checksum", GARBLED),
    ("configure", "wrong-length", None),
    ("configure", "execution-error", REFUSED),
    ("configure", "not-taken", REFUSED),
    ("configure", "pending-forever", LATE),
    ("configure", "reboot", LATE),
    ("switch", "drop-connection", LOST),
    ("switch", "no-reply", LATE),
    ("switch", "bad-checksum", GARBLED),
    ("switch", "garbage", GARBLED),
    ("switch", "execution-error", REFUSED),
    ("wait", "drop-connection", LOST),
    ("wait", "bad-checksum", None),
    ("wait", "garbage", None),
    ("fetch", "drop-connection", LOST),
    ("fetch", "no-reply", LATE),
    ("fetch", "late-reply", LATE),
    ("fetch", "half-block", LATE + GARBLED),
    ("fetch", "garbage", None),
    ("fetch", "bad-checksum", None),
    ("fetch", "wrong-length", None),
    ("fetch", "execution-error", REFUSED),
    ("fetch", "reboot", LATE),
]


@pytest.mark.parametrize(("at", "kind", "errors"), sampled(CASES))
@not_late_each_time
def test_fault_ends_in_its_typed_error_or_a_right_value(wire, at, kind, errors):
    hurry = {"open_timeout_s": OPEN_TIMEOUT_S, "io_timeout_s": IO_TIMEOUT_S}
    device, driver = wire(**(hurry if InstrumentTimeout in (errors or ()) else {}))
    faults = FaultPlan("laser", [Fault(at, kind)])
    if at == "identify":
        device.faults = faults
    start = time.monotonic()
    caught = None
    try:
        driver.open()
        # Others strike after the opening, which has a deadline of its own.
        device.faults = faults
        use(driver, driver._link.io_timeout_s)
    except InstrumentError as error:
        caught = error
    struck(device)
    within(OPEN_TIMEOUT_S + 2 * IO_TIMEOUT_S + 0.5, start)
    assert isinstance(caught, errors or type(None))
    assert caught is None or caught.instrument == "laser"
    # The fault struck once: the laser works again, with nothing stale.
    driver._link.open_timeout_s = driver._link.io_timeout_s = PATIENT_S
    driver.open()
    assert use(driver).frequency_hz == CONFIG.frequency_hz
    driver.close()
    assert not light_of(device).is_on


def test_a_mode_hop_names_both_frequencies(wire):
    # Opening switches the light off, which is the first switching.
    device, driver = wire()
    driver.open()
    device.faults = FaultPlan("laser", [Fault("switch", "mode-hop")])
    driver.configure(CONFIG)
    with pytest.raises(DeviceError, match=r"193\.474345 THz.*193\.412345 THz"):
        driver.set_enabled(True, SETTLE_S)
    hopped_hz = CONFIG.frequency_hz + 1e6 * HOP_MHZ
    assert light_of(device).frequency_hz == hopped_hz
    driver.safe_state(SETTLE_S)
    assert not light_of(device).is_on
    driver.close()


def test_a_hop_within_a_reading_is_seen_too(wire):
    device, driver = wire()
    driver.open()
    driver.configure(CONFIG)
    driver.set_enabled(True, SETTLE_S)
    device._hop_mhz = -1200
    with pytest.raises(DeviceError, match=r"193\.411145 THz"):
        driver.reading()
    driver.close()


@pytest.mark.parametrize("wire", [TcpFrameServer], indirect=True)
def test_pending_for_ever_ends_at_the_deadline_and_goes_dark(wire):
    device, driver = wire()
    driver.open()
    driver.configure(CONFIG)
    device.faults = FaultPlan("laser", [Fault("switch", "pending-forever")])
    with pytest.raises(InstrumentTimeout, match="pending"):
        driver.set_enabled(True, 1.0)
    driver.safe_state(SETTLE_S)
    assert not device.registers[Register.RESET_ENABLE]
    driver.close()


@pytest.mark.parametrize("fault", ["not-taken", "execution-error"])
def test_a_light_that_stays_on_is_an_error(wire, fault):
    device, driver = wire()
    driver.open()
    driver.configure(CONFIG)
    driver.set_enabled(True, SETTLE_S)
    device.faults = FaultPlan("laser", [Fault("switch", fault)])
    with pytest.raises(DeviceError):
        driver.safe_state(SETTLE_S)
    assert light_of(device).is_on
    driver.safe_state(SETTLE_S)
    assert not light_of(device).is_on
    driver.close()


def test_the_error_is_told_by_name(wire):
    _, driver = wire()
    driver.open()
    driver.configure(CONFIG)
    driver.set_enabled(True, SETTLE_S)
    with pytest.raises(DeviceError, match="9, CIE"):
        driver._link.write(Register.FIRST_THZ, 194)
    with pytest.raises(DeviceError, match="3, RVE"):
        driver._link.write(Register.POWER, 9999)
    with pytest.raises(DeviceError, match="2, RNW"):
        driver._link.write(Register.ACTUAL_POWER, 0)
    driver.close()
    with pytest.raises(StateError):
        driver.reading()


def test_a_module_that_warms_up_is_waited_for(wire):
    device, driver = wire(settle_scale=0.05)
    driver.open()
    driver.configure(CONFIG)
    driver.set_enabled(True, PATIENT_S)
    assert light_of(device).is_on
    driver.close()


def test_fine_tuning_leaves_the_light_on_and_more_does_not(wire):
    device, driver = wire()
    driver.open()
    driver.configure(CONFIG)
    driver.set_enabled(True, SETTLE_S)
    for step_hz, is_on in ((5.9e9, True), (-5.9e9, True), (6.3e9, False)):
        config = LaserConfig(CONFIG.frequency_hz + step_hz, 9.0)
        assert driver.configure(config) == config
        assert light_of(device).is_on is is_on
    driver.close()


@BOTH
@pytest.mark.parametrize("held", [1, 2, 3])
def test_a_part_of_a_frame_is_completed(wire, held):
    """Somebody stopped in the middle of a frame; the module waits for the rest."""
    device, driver = wire()
    frame = request(Register.POWER, 1234, write=True)
    driver.open()
    driver._link._transport.write(frame[:held], Deadline(PATIENT_S))
    driver._link._dirty = True
    assert driver.configure(CONFIG) == CONFIG
    assert device.registers[Register.POWER] == 850
    driver.close()


@BOTH
@not_late_each_time
def test_late_bytes_never_answer_the_next_question(wire):
    device, driver = wire()
    driver.open()
    device.faults = FaultPlan("laser", [Fault("fetch", "late-reply")])
    given_up(InstrumentTimeout, lambda: driver._link.read(Register.LOWEST_THZ, 0.2))
    try:
        found = driver._link.read(Register.HIGHEST_THZ)
    except WireProtocolError:
        # Later than the link waits for it: seen, and still no answer to this question.
        found = driver._link.read(Register.HIGHEST_THZ)
    assert found == 196
    driver.close()


def test_another_module_on_the_port(wire, monkeypatch):
    _, driver = wire(("identify", "wrong-identity"))
    assert driver.open().model == "ITLA-L-BAND"
    driver._link._dirty = True
    driver.ping()
    monkeypatch.setitem(itla_msa.TEXTS, 0x04, "SIM-000002")
    driver._link._dirty = True
    with pytest.raises(ConnectError, match="SIM-000002"):
        driver.ping()
    driver.close()


def test_no_such_port():
    with deaf_port() as port:
        for resource in ("serial:///dev/no-such-port", f"socket://127.0.0.1:{port}"):
            with pytest.raises(ConnectError, match="laser"):
                ItlaLink(byte_transport("laser", resource), 0.5, 0.5).open()
