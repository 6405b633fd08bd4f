"""VISA sessions: through pyvisa-py to our emulators, and to scripted libraries."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from bench_kit import PlainLight, served
from patience_kit import (
    PATIENT_S,
    deaf_port,
    given_up,
    limited,
    not_late_each_time,
    within,
)
from role_kit import visa_name

from driver.bench_lock import canonical
from driver.links import check_resource, make_link, scpi_transport, takes_one_client
from driver.scpi.link import ScpiLink
from driver.transports.serial_port import SerialTransport
from driver.transports.tcp import TcpTransport
from driver.transports.visa_link import GRACE_S, VisaTransport
from driver.transports.visa_names import parse_visa
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from sim_backends.faults import LATE_S

pytestmark = [
    pytest.mark.hil,
    # pyvisa-py leaves the sockets of a session that it could not open to the
    # collector of garbage.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

SCOPE = {"scope": "hislip"}


def visa_threads():
    return [t for t in threading.enumerate() if t.name.startswith("visa-")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    until = Deadline(PATIENT_S)
    while visa_threads() and not until.expired:
        time.sleep(0.02)
    assert visa_threads() == []


@pytest.fixture
def garbage_is_collected():
    yield
    gc.collect()


@contextlib.contextmanager
def linked(faults=(), io_timeout_s=PATIENT_S):
    with served({"scope": list(faults)}, transports=SCOPE) as lab:
        place = visa_name(lab.endpoints["scope"])
        link = ScpiLink(scpi_transport("scope", place), PATIENT_S, io_timeout_s)
        link.open()
        try:
            yield link
        finally:
            link.close()


@pytest.mark.parametrize(
    "resource",
    [
        "visa://",
        "visa://host:5025",
        "visa://TCPIP::",
        "visa://TCPIP::h::70000x::SOCKET",
        "visa://GPIB0::five::INSTR",
        "visa://USB0::0x1313::INSTR",
        "visa://ASRL::INSTR",
        "visa://ASRL/dev/x::INSTR?baud=fast",
        "visa://GPIB0::5::INSTR?baud=9600",
        "visa://GPIB0::5::INSTR?library=",
        "visa://GPIB0::5::INSTR?",
        "visa://GPIB0::5::INSTR?library=a&library=b",
        "visa://GPIB0::5::INSTR?colour=red",
    ],
)
def test_malformed_resources_are_answered_with_right_ones(resource):
    with pytest.raises(RangeError, match="for example visa://TCPIP"):
        check_resource("scpi", "resource", resource)


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ("visa://TCPIP::h::5025::SOCKET", "tcp://h:5025"),
        ("visa://TCPIP0::h::hislip0::INSTR", "hislip://h:4880/hislip0"),
        ("visa://tcpip::h::hislip0,99::instr", "hislip://h:99/hislip0"),
        ("visa://ASRL/dev/null::INSTR?baud=9600", "serial:///dev/null"),
        ("visa://GPIB::5?library=/opt/libvisa.so", "visa://gpib0::5::instr"),
        ("visa://GPIB0::5::INSTR", "visa://gpib0::5::instr"),
        ("visa://TCPIP::h::inst0::INSTR", "visa://tcpip0::h::inst0::instr"),
        (
            "visa://USB0::0x1313::0x8078::P1::INSTR",
            "visa://usb0::0x1313::0x8078::p1::instr",
        ),
    ],
)
def test_one_lock_for_all_names_of_a_place(resource, place):
    assert canonical(resource) == place
    check_resource("scpi", "resource", resource)


def test_plain_streams_are_opened_without_visa():
    for kind, resource, transport in (
        ("scpi", "visa://TCPIP::h::5025::SOCKET", TcpTransport),
        ("line", "visa://TCPIP::h::5025::SOCKET", TcpTransport),
        ("line", "visa://ASRL/dev/x::INSTR?baud=9600", SerialTransport),
        ("line", "visa://ASRL/dev/x::INSTR?library=/a.so", VisaTransport),
        ("scpi", "visa://TCPIP::h::5025::SOCKET?library=/a.so", VisaTransport),
    ):
        assert type(make_link(kind, "it", resource)._transport) is transport
    with pytest.raises(RangeError, match="serial port or a socket"):
        check_resource("line", "resource", "visa://GPIB0::5::INSTR")
    shared = {"visa://ASRL1::INSTR": True, "visa://USB0::1::2::3::INSTR": True}
    shared |= {"visa://TCPIP::h::hislip0": False, "visa://GPIB0::5": False}
    for resource, exclusive in shared.items():
        assert takes_one_client(resource) is exclusive


def test_pyvisa_is_imported_by_who_needs_it():
    code = (
        "import sys, scqc.cli, driver.bench; from driver.links import make_link;"
        "make_link('scpi', 'it', 'visa://GPIB0::5::INSTR');"
        "sys.exit('pyvisa' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_questions_blocks_and_errors():
    codes = np.arange(-1000, 1000, dtype=np.int16)
    with linked() as link:
        assert link.query("*IDN?").startswith("KEYSIGHT")
        with link.batch() as commands:
            commands += [":ACQ:POIN 5000", ":WAV:FORM WORD", ":WAV:STR OFF"]
            commands += [":WAV:BYT LSBF", ":DIG", ":WAV:SOUR CHAN1"]
        for _ in range(2):
            block = link.query_block(":WAV:DATA?", "<i2", 5000)
            assert block.shape == (5000,)
            assert link.query(":ACQ:POIN?") == "5000"
        link.write_block(":NONSENSE ", codes.data)
        assert link.errors()[0][0] == -113


class SlowLight(PlainLight):
    """Its records take until they are let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def record(self, n_samples, rate_hz):
        self.go.wait(60.0)
        return super().record(n_samples, rate_hz)


def test_a_digitize_is_over_when_it_says_so():
    """``*OPC?`` waits for ``:DIGitize`` and not for ``:SINGle``: the vendor's guide."""
    light, answers = SlowLight(), []
    with served(light=light, names=("scope",)) as lab:
        link = ScpiLink(scpi_transport("scope", lab.endpoints["scope"]))
        link.open()
        link.write(":ACQ:POIN 1000;:SING")
        assert link.query("*OPC?") == "1"
        assert link.query(":AST?") == "TRIG"
        link.write(":STOP;:DIG")
        asking = threading.Thread(target=lambda: answers.append(link.query("*OPC?")))
        asking.start()
        asking.join(0.2)
        assert answers == []
        light.go.set()
        asking.join(PATIENT_S)
        assert answers == ["1"]
        assert link.query(":AST?") == "ADONE"
        link.close()


@pytest.mark.parametrize("kind", ["no-reply", "late-reply"])
@not_late_each_time
def test_after_a_timeout_the_session_is_cleared_and_nothing_old_is_read(kind):
    with linked([("fetch", kind)]) as link:
        with link.batch() as commands:
            commands += [":ACQ:POIN 1000", ":DIG"]
        start = time.monotonic()
        given_up(
            InstrumentTimeout,
            lambda: link.query_block(":WAV:DATA?", "<i2", 1000, 0.4),
        )
        within(1.5, start)
        time.sleep(LATE_S + 0.1 if kind == "late-reply" else 0.0)
        assert link.query(":ACQ:POIN?") == "1000"


@not_late_each_time
def test_half_a_block_and_nothing_more_ends_in_time():
    with linked([("fetch", "half-block")]) as link:
        with link.batch() as commands:
            commands += [":ACQ:POIN 1000", ":DIG"]
        start = time.monotonic()
        with pytest.raises((InstrumentTimeout, WireProtocolError)):
            link.query_block(":WAV:DATA?", "<i2", 1000, 0.5)
        within(2.0, start)
        assert link.query(":ACQ:POIN?") == "1000"


@pytest.mark.parametrize("kind", ["drop-connection", "cut-block"])
def test_a_dropped_connection_is_found_at_once_and_made_anew(kind):
    with linked([("fetch", kind)]) as link:
        with link.batch() as commands:
            commands += [":ACQ:POIN 1000", ":DIG"]
        start = time.monotonic()
        with pytest.raises((ConnectionLost, WireProtocolError)):
            link.query_block(":WAV:DATA?", "<i2", 1000)
        assert time.monotonic() - start < PATIENT_S / 2
        assert link.query(":ACQ:POIN?") == "1000"


@pytest.mark.parametrize("name", ["hislip0,{port}::INSTR", "{port}::SOCKET"])
@pytest.mark.usefixtures("garbage_is_collected")
def test_a_refused_port_is_told_when_opening(name):
    with deaf_port() as port:
        resource = f"visa://TCPIP::127.0.0.1::{name.format(port=port)}"
        with pytest.raises(ConnectError, match="dut"):
            scpi_transport("dut", resource).open(2.0)


def test_a_missing_library_is_told_when_opening():
    resource = "visa://GPIB0::5::INSTR?library=/nowhere/libvisa.so"
    with pytest.raises(ConnectError, match="nowhere"):
        VisaTransport("dut", resource).open(PATIENT_S)


@pytest.mark.usefixtures("garbage_is_collected")
@not_late_each_time
def test_a_peer_that_says_nothing_does_not_hang_the_opening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"visa://TCPIP::127.0.0.1::hislip0,{listener.getsockname()[1]}::INSTR"
        transport = VisaTransport("dut", place)
        start = time.monotonic()
        with pytest.raises(ConnectError, match=r"no answer in 0\.3 s"):
            transport.open(0.3)
        assert not transport.is_open
        within(1.5, start)


def test_closed_transport():
    transport = VisaTransport("dut", "visa://GPIB0::5::INSTR")
    for call in (transport.clear, transport.read_line):
        with pytest.raises(StateError):
            call(Deadline(PATIENT_S))
    with pytest.raises(StateError):
        transport.write(b"x", Deadline(PATIENT_S))
    transport.close()


def test_a_socket_through_pyvisa_itself():
    """What a vendor's library is used like: a byte stream that VISA carries."""
    payload = bytes(range(256)) * 400

    def serve(listener):
        peer, _ = listener.accept()
        with peer, peer.makefile("rb") as said:
            assert said.readline() == b"head tail\n"
            peer.sendall(b"first\nsecond\n" + payload + b"last\r")
            said.readline()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        transport = VisaTransport("dut", f"visa://TCPIP::127.0.0.1::{port}::SOCKET")
        transport.open(PATIENT_S)
        transport.write(b"head ", Deadline(PATIENT_S), end=False)
        transport.write(b"tail\n", Deadline(PATIENT_S))
        assert transport.read_line(Deadline(PATIENT_S)) == b"first"
        assert transport.read_line(Deadline(PATIENT_S)) == b"second"
        target = bytearray(len(payload))
        assert transport.read_into(memoryview(target), Deadline(PATIENT_S)) == len(
            payload
        )
        assert target == payload
        assert transport.read_until(b"\r", Deadline(PATIENT_S)) == b"last"
        with pytest.raises(InstrumentTimeout):
            transport.read_line(Deadline(0.1))
        transport.write(b"bye\n", Deadline(PATIENT_S))
        transport.close()
        thread.join(PATIENT_S)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_serial_port_through_pyvisa_itself():
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        place = f"visa://ASRL{os.ttyname(slave)}::INSTR?baud=9600"
        transport = VisaTransport("dut", place)
        transport.open(PATIENT_S)
        transport.write(b"id?\r", Deadline(PATIENT_S))
        assert os.read(master, 100) == b"id?\r"
        os.write(master, b"some\n\rbody\rrest")
        assert transport.read_until(b"\r", Deadline(PATIENT_S)) == b"some\n"
        assert transport.read_until(b"\r", Deadline(PATIENT_S)) == b"body"
        target = bytearray(2)
        assert transport.read_into(memoryview(target), Deadline(PATIENT_S)) == 2
        assert target == b"re"
        assert transport.take_unread() == b"st"
        assert transport.take_unread() == b""
        transport.close()
    finally:
        os.close(master)
        os.close(slave)


class Stuck:
    """A session whose calls come back when the test lets them."""

    def __init__(self):
        self.let_go, self.closed = threading.Event(), threading.Event()
        self.timeout = 0

    def write_raw(self, data):
        self.let_go.wait(PATIENT_S)

    def ignore_warning(self, *codes):
        return contextlib.nullcontext()

    def clear(self):
        self.let_go.wait(PATIENT_S)

    def close(self):
        self.closed.set()


@pytest.mark.parametrize("action", ["write", "clear", "resynchronise"])
@not_late_each_time
def test_a_call_that_never_returns_hangs_nobody(monkeypatch, action):
    import pyvisa

    session = Stuck()
    monkeypatch.setattr(
        pyvisa.ResourceManager, "open_resource", lambda *a, **k: session
    )
    transport = VisaTransport("dut", "visa://GPIB0::5::INSTR")
    transport.open(PATIENT_S)
    calls = {
        "write": (lambda: transport.write(b"x", Deadline(0.2)), InstrumentTimeout),
        "clear": (lambda: transport.clear(Deadline(0.2)), InstrumentTimeout),
        # It opens anew after half of the time.
        "resynchronise": (lambda: transport.resynchronise(0.8), None),
    }
    call, error = calls[action]
    start = time.monotonic()
    with pytest.raises(error) if error else contextlib.nullcontext():
        call()
    took_s = time.monotonic() - start
    session.let_go.set()
    transport.close()
    assert session.closed.wait(PATIENT_S)
    limited(took_s, 0.4 + GRACE_S + 1.0)


def test_parsed_options():
    found = parse_visa("x", "visa://ASRL3::INSTR?baud=19200&library=/a/b.so")
    assert (found.name, found.library, found.baud) == ("ASRL3::INSTR", "/a/b.so", 19200)
    assert parse_visa("x", "visa://GPIB0::5::INSTR").library == "@py"
