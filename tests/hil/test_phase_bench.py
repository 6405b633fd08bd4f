"""The voltage source of the receiver's phase shifter, over terminal and TCP."""

import os
import socket
import threading
import time

import numpy as np
import pytest
from bench_kit import ClickingLight, bench_on, served
from patience_kit import (
    PATIENT_S,
    deaf_port,
    given_up,
    not_late_each_time,
    struck,
    within,
)
from role_kit import sampled

from driver.phase_modulator.prompt_link import PromptLink
from driver.phase_modulator.thorlabs_mdt693b import ThorlabsMdt693b
from driver.transports.serial_port import byte_transport, parse_serial
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from sim_backends.devices.lab import Cables
from sim_backends.devices.thorlabs_mdt693b import ThorlabsMdt693b as Emulated
from sim_backends.faults import LATE_S, Fault, FaultPlan
from sim_backends.wire.pty_line import PtyLineServer, TcpLineServer

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]

# Opening outlasts a late reply: the emulator is busy that long.
OPEN_TIMEOUT_S, IO_TIMEOUT_S = 0.8, 0.2
LOST, LATE, GARBLED = (ConnectionLost,), (InstrumentTimeout,), (WireProtocolError,)


def emulated(faults=()):
    light = ClickingLight([np.arange(0)] * 4)
    cables = Cables(light, {"rx.phase": "phase:2"})
    return Emulated("phase", cables, FaultPlan("phase", [Fault(*f) for f in faults]))


@pytest.fixture(params=[PtyLineServer, TcpLineServer])
def wire(request):
    """Serve a source with the given faults, on each kind of wire."""
    servers = []

    def serve(*faults, open_timeout_s=PATIENT_S, io_timeout_s=PATIENT_S):
        server = request.param(emulated(faults))
        servers.append(server)
        transport = byte_transport("phase", server.endpoint)
        return server.device, ThorlabsMdt693b(
            PromptLink(transport, open_timeout_s, io_timeout_s)
        )

    yield serve
    for server in servers:
        for _ in range(2):
            server.close()


def test_the_wired_output_moves_the_phase(wire):
    device, driver = wire()
    light = device._cables.light
    driver.open()
    driver.set_voltage(2, 3.25)
    assert light.phase_v == 3.25
    driver.set_voltage(1, 9.0)
    assert light.phase_v == 3.25
    driver.safe_state(1.0)
    assert light.phase_v == 0.0
    driver.close()


def test_leaving_the_bench_sets_zero_volts():
    light = ClickingLight([np.arange(0)] * 4)
    with served(light=light, names=("awg", "phase")) as lab:
        with pytest.raises(KeyboardInterrupt), bench_on(lab) as bench:  # noqa: PT012
            bench.phase_modulator.set_voltage(2, 7.0)
            assert light.phase_v == 7.0
            assert bench.snapshot()["phase"]["settings"]["set_v"] == {"2": 7.0}
            raise KeyboardInterrupt
        assert lab.devices["phase"].is_safe
    assert light.phase_v == 0.0


def test_the_zero_volts_test_sees_a_missing_safe_state(monkeypatch):
    """The test above must fail when the driver forgets its duty."""
    with served(light=ClickingLight(), names=("awg", "phase")) as lab:
        with bench_on(lab) as bench:
            bench.phase_modulator.set_voltage(2, 7.0)
            monkeypatch.setattr(ThorlabsMdt693b, "safe_state", lambda *_: None)
        assert not lab.devices["phase"].is_safe


CASES = [
    ("identify", "drop-connection", LOST),
    ("identify", "no-reply", LATE),
    ("identify", "garbage", GARBLED),
    ("identify", "half-block", LATE),
    ("configure", "drop-connection", LOST),
    ("configure", "garbage", GARBLED),
    ("configure", "no-reply", LATE),
    ("switch", "drop-connection", LOST),
    ("switch", "no-reply", LATE),
    ("switch", "late-reply", LATE),
    ("switch", "garbage", GARBLED),
    ("fetch", "drop-connection", LOST),
    ("fetch", "no-reply", LATE),
    ("fetch", "half-block", LATE),
    ("fetch", "late-reply", LATE),
    ("fetch", "garbage", GARBLED),
    ("fetch", "not-a-number", GARBLED),
]


def whole_use(driver):
    driver.open()
    driver.set_voltage(2, 5.0)
    volts = driver.voltage(2)
    driver.safe_state(PATIENT_S)
    driver.close()
    return volts


@pytest.mark.parametrize("wire", [PtyLineServer], indirect=True)
@pytest.mark.parametrize(("at", "kind", "errors"), sampled(CASES))
@not_late_each_time
def test_fault_ends_in_its_typed_error(wire, at, kind, errors):
    hurry = {"open_timeout_s": OPEN_TIMEOUT_S, "io_timeout_s": IO_TIMEOUT_S}
    device, driver = wire((at, kind), **(hurry if errors == LATE else {}))
    start = time.monotonic()
    with pytest.raises(InstrumentError) as caught:
        whole_use(driver)
    driver.close()
    struck(device)
    # Opening has one deadline for the whole of it.
    limit_s = OPEN_TIMEOUT_S if at == "identify" else IO_TIMEOUT_S
    within(limit_s + 0.5, start)
    assert isinstance(caught.value, errors)
    assert caught.value.instrument == "phase"
    driver.close()
    # The fault struck once: the source works again, with nothing stale.
    driver._link.open_timeout_s = driver._link.io_timeout_s = PATIENT_S
    assert whole_use(driver) == 5.0


@pytest.mark.parametrize("idle_s", [0.0, LATE_S + 0.2])
@not_late_each_time
def test_a_late_reply_never_answers_the_next_query(wire, idle_s):
    _, driver = wire(("fetch", "late-reply"))
    driver.open()
    link = driver._link
    link.query("xvoltage=4")
    given_up(InstrumentTimeout, lambda: link.query("xvoltage?", 0.2))
    time.sleep(idle_s)
    assert link.query_number("xmax?") == 150.0
    link.query("xvoltage=6")
    assert link.query_number("xvoltage?") == 6.0
    driver.close()


def test_wrong_identity_and_another_instrument_on_the_port(wire):
    _, driver = wire(("identify", "wrong-identity"))
    assert driver.open().model == "MDT694X"
    driver._link._dirty = True
    with pytest.raises(ConnectError, match="answers for"):
        driver.ping()
    driver.close()


def test_what_the_source_refuses_is_an_error(wire):
    _, driver = wire()
    driver.open()
    for command in ("nonsense", "xvoltage=900", "xvoltage=-1", "xvoltage=1e"):
        with pytest.raises(DeviceError, match="CMD_"):
            driver._link.query(command)
    assert driver.voltage(1) == 0.0
    driver.close()
    with pytest.raises(StateError):
        driver.voltage(1)


def test_no_such_port():
    with deaf_port() as port:
        for resource in ("serial:///dev/no-such-port", f"socket://127.0.0.1:{port}"):
            link = PromptLink(byte_transport("phase", resource), 0.5, 0.5)
            with pytest.raises(ConnectError, match="phase"):
                link.open()


def test_no_thread_is_left():
    before = {t.ident for t in threading.enumerate()}
    for kind in (PtyLineServer, TcpLineServer):
        server = kind(emulated())
        server.close()
    assert not [t for t in threading.enumerate() if t.ident not in before]


@pytest.mark.parametrize(
    ("resource", "parsed"),
    [
        ("serial:///dev/ttyUSB0", ("/dev/ttyUSB0", 115200)),
        ("serial://COM3?baud=9600", ("COM3", 9600)),
    ],
)
def test_resources(resource, parsed):
    assert parse_serial("x", resource) == parsed


@pytest.mark.parametrize(
    "resource",
    [
        "serial://",
        "serial:///dev/x?baud=",
        "serial:///dev/x?baud=7",
        "serial:///dev/x?bauds=9600",
        "tcp://h:1",
        "socket://h",
    ],
)
def test_bad_resources(resource):
    with pytest.raises(RangeError):
        byte_transport("x", resource)


ANSWERS = {
    "id?": "Model MDT693B Piezo Control Module\rFirmware Version: 1.10",
    "serial?": "[ 170828]",
    "vlimit?": "[  75]",
    "yvoltage?": "[ 24.8]",
}


class Source:
    """A peer that answers from a table and keeps what it was sent."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            while data := connection.recv(1 << 12):
                for line in data.decode().split("\r")[:-1]:
                    self.received.append(line)
                    # Firmware differs in blanks and line ends around a reply.
                    answer = f"{line}\n{ANSWERS.get(line, '')}\r> "
                    connection.sendall(answer.encode())

    def take(self):
        received, self.received = self.received, []
        return received


def test_what_the_driver_sends():
    peer = Source()
    place = f"socket://127.0.0.1:{peer.listener.getsockname()[1]}"
    driver = ThorlabsMdt693b(PromptLink(byte_transport("dut", place)))
    identity = driver.open()
    assert (identity.model, identity.firmware) == ("MDT693B", "1.10")
    zero = [f"{axis}voltage=0.000" for axis in "xyz"]
    assert peer.take() == ["id?", "serial?", "vlimit?", *zero]
    assert driver.limits_v == (0.0, 75.0)
    driver.set_voltage(2, 24.68)
    assert driver.voltage(2) == 24.8
    # What was set is read back, and then asked for.
    assert peer.take() == ["yvoltage=24.680", "yvoltage?", "yvoltage?"]
    driver.close()
    peer.thread.join(PATIENT_S)
    peer.listener.close()
