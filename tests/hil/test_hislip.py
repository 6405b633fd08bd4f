"""HiSLIP: the client against a scripted peer, and both ends against third parties."""

import contextlib
import socket
import struct
import threading
import time

import numpy as np
import pytest
from bench_kit import bench_on, served
from patience_kit import PATIENT_S, deaf_port, given_up, not_late_each_time, within

from driver.hal import AwgConfig, DigitizerConfig
from driver.links import scpi_transport
from driver.scpi.link import ScpiLink
from driver.transports.hislip import HislipTransport, parse_hislip
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import Waveform
from sim_backends.faults import LATE_S

pytestmark = pytest.mark.hil

BOTH = {"awg": "hislip", "scope": "hislip"}

# IVI-6.1, table 2: "HS", type, control code, parameter, length of the payload.
INITIALIZE = bytes.fromhex("4853 00 00 0100 7878 0000000000000007") + b"hislip0"
INITIALIZE_RESPONSE = bytes.fromhex("4853 01 00 0100 0042 0000000000000000")
ASYNC_INITIALIZE = bytes.fromhex("4853 11 00 00000042 0000000000000000")
ASYNC_INITIALIZE_RESPONSE = bytes.fromhex("4853 12 00 00007878 0000000000000000")
MAX_SIZE = bytes.fromhex("4853 0f 00 00000000 0000000000000008 0000000040000000")
MAX_SIZE_RESPONSE = bytes.fromhex(
    "4853 10 00 00000000 0000000000000008 0000000000000018"
)
CLEAR = bytes.fromhex("4853 13 00 00000000 0000000000000000")
CLEAR_ACKNOWLEDGE = bytes.fromhex("4853 17 00 00000000 0000000000000000")
CLEAR_COMPLETE = bytes.fromhex("4853 08 00 00000000 0000000000000000")
SYNC_ACKNOWLEDGE = bytes.fromhex("4853 09 00 00000000 0000000000000000")


def data(message_id, payload, *, ends=True, control=0):
    """Return a Data (6) or DataEnd (7) message."""
    kind = b"\x07" if ends else b"\x06"
    fields = struct.pack("!BIQ", control, message_id, len(payload))
    return b"HS" + kind + fields + payload


class Peer:
    """An instrument that does what a test says, on two connections."""

    def __init__(self, listener):
        self.listener = listener
        self.wrong = []

    def expect(self, link, message):
        got = link.recv(len(message), socket.MSG_WAITALL)
        if got != message:
            self.wrong.append((got, message))

    def shake_hands(self, response=INITIALIZE_RESPONSE):
        sync, _ = self.listener.accept()
        self.expect(sync, INITIALIZE)
        sync.sendall(response)
        beside, _ = self.listener.accept()
        self.expect(beside, ASYNC_INITIALIZE)
        beside.sendall(ASYNC_INITIALIZE_RESPONSE)
        self.expect(beside, MAX_SIZE)
        beside.sendall(MAX_SIZE_RESPONSE)
        return sync, beside

    def clear(self, sync, beside):
        self.expect(beside, CLEAR)
        beside.sendall(CLEAR_ACKNOWLEDGE)
        self.expect(sync, CLEAR_COMPLETE)
        sync.sendall(SYNC_ACKNOWLEDGE)


@contextlib.contextmanager
def scripted(script):
    """Run `script(peer)` in a thread; yield the transport, not yet open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer(listener)
        thread = threading.Thread(target=script, args=(peer,))
        thread.start()
        place = f"hislip://127.0.0.1:{listener.getsockname()[1]}/hislip0"
        transport = HislipTransport("dut", place)
        try:
            yield transport
        finally:
            transport.close()
            thread.join(PATIENT_S)
        assert not peer.wrong


@contextlib.contextmanager
def linked(lab, name="awg", io_timeout_s=PATIENT_S):
    link = ScpiLink(scpi_transport(name, lab.endpoints[name]), PATIENT_S, io_timeout_s)
    link.open()
    try:
        yield link
    finally:
        link.close()


@contextlib.contextmanager
def closing(pair):
    with pair[0], pair[1]:
        yield pair


@pytest.mark.parametrize(
    "resource",
    [
        "hislip://",
        "hislip:///hislip0",
        "hislip://h:0/hislip0",
        "hislip://h:x/hislip0",
        "hislip://h/",
        "hislip://h/a/b",
        "hislip://h/a b",
        "tcp://h:4880/hislip0",
    ],
)
def test_malformed_resource(resource):
    with pytest.raises(RangeError):
        HislipTransport("scope", resource)


def test_addresses():
    assert parse_hislip("x", "hislip://scope.lab") == (
        "tcp://scope.lab:4880",
        "hislip0",
    )
    assert parse_hislip("x", "hislip://[::1]:99/a1") == ("tcp://[::1]:99", "a1")
    assert parse_hislip("x", "hislip://[::1]") == ("tcp://[::1]:4880", "hislip0")


def test_refused_connection():
    with (
        deaf_port() as port,
        pytest.raises(ConnectError, match=f"scope.*{port}"),
    ):
        HislipTransport("scope", f"hislip://127.0.0.1:{port}").open(PATIENT_S)


def test_bytes_of_a_session():
    """Identifiers, split messages, the delivered flag and the clear."""

    def script(peer):
        with closing(peer.shake_hands()) as (sync, beside):
            # 24 bytes at most, header included: 8 bytes of payload.
            peer.expect(sync, data(0xFFFFFF00, b"12345678", ends=False))
            peer.expect(sync, data(0xFFFFFF02, b"9?\n"))
            sync.sendall(data(0xFFFFFF02, b"ans", ends=False))
            sync.sendall(data(0xFFFFFF02, b"wer\n"))
            peer.expect(sync, data(0xFFFFFF04, b"a", ends=False, control=1))
            peer.expect(sync, data(0xFFFFFF06, b"b?\n"))
            # Not the identifier of the question: an older answer, to be dropped.
            sync.sendall(data(0xFFFFFF02, b"old\n") + data(0xFFFFFF06, b"new"))
            peer.clear(sync, beside)
            peer.expect(sync, data(0xFFFFFF00, b"c\n"))

    with scripted(script) as transport:
        transport.open(PATIENT_S)
        transport.write(b"123456789?\n", Deadline(PATIENT_S))
        assert transport.read_line(Deadline(PATIENT_S)) == b"answer"
        transport.write(b"a", Deadline(PATIENT_S), end=False)
        transport.write(b"b?\n", Deadline(PATIENT_S))
        assert transport.read_line(Deadline(PATIENT_S)) == b"new"
        transport.clear(Deadline(PATIENT_S))
        transport.write(b"c\n", Deadline(PATIENT_S))


def test_identifiers_wrap_around():
    def script(peer):
        with closing(peer.shake_hands()) as (sync, _):
            for number in range(130):
                peer.expect(sync, data((0xFFFFFF00 + 2 * number) % 2**32, b"x"))

    with scripted(script) as transport:
        transport.open(PATIENT_S)
        for _ in range(130):
            transport.write(b"x", Deadline(PATIENT_S))


def test_an_overlapped_instrument_is_cleared_into_the_synchronised_mode():
    def script(peer):
        overlapped = INITIALIZE_RESPONSE[:3] + b"\x01" + INITIALIZE_RESPONSE[4:]
        with closing(peer.shake_hands(overlapped)) as pair:
            peer.clear(*pair)

    with scripted(script) as transport:
        transport.open(PATIENT_S)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad\r\n", b"HS\x02\x04\0\0\0\0" + bytes(8), b""]
)
def test_a_peer_that_does_not_want_this_session(answer):
    def script(peer):
        sync, _ = peer.listener.accept()
        with sync:
            peer.expect(sync, INITIALIZE)
            sync.sendall(answer)

    with scripted(script) as transport:
        start = time.monotonic()
        with pytest.raises(ConnectError, match="dut"):
            transport.open(PATIENT_S)
        assert time.monotonic() - start < PATIENT_S / 2
        assert not transport.is_open


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionLost),
        (b"HS\x02\x00\0\0\0\0" + struct.pack("!Q", 3) + b"why", ConnectionLost),
        (b"HS\x03\x01\0\0\0\0" + struct.pack("!Q", 3) + b"why", WireProtocolError),
        (b"garbage garbage garbage", WireProtocolError),
        (data(0xFFFFFF00, b"x" * 100)[:50], ConnectionLost),
    ],
)
def test_what_can_answer_a_question(answer, error):
    def script(peer):
        with closing(peer.shake_hands()) as (sync, _):
            peer.expect(sync, data(0xFFFFFF00, b"?\n"))
            sync.sendall(answer)

    with scripted(script) as transport:
        transport.open(PATIENT_S)
        transport.write(b"?\n", Deadline(PATIENT_S))
        start = time.monotonic()
        with pytest.raises(error):
            transport.read_line(Deadline(PATIENT_S))
        assert time.monotonic() - start < PATIENT_S / 2


@not_late_each_time
def test_silence_ends_on_time_and_half_a_message_is_passed_over_by_the_clear():
    def script(peer):
        with closing(peer.shake_hands()) as (sync, beside):
            peer.expect(sync, data(0xFFFFFF00, b"?\n"))
            late = data(0xFFFFFF00, b"0123456789\n")
            sync.sendall(late[:20])
            peer.expect(beside, CLEAR)
            sync.sendall(late[20:])
            beside.sendall(CLEAR_ACKNOWLEDGE)
            peer.expect(sync, CLEAR_COMPLETE)
            sync.sendall(SYNC_ACKNOWLEDGE)
            peer.expect(sync, data(0xFFFFFF00, b"?\n"))
            sync.sendall(data(0xFFFFFF00, b"fresh\n"))

    with scripted(script) as transport:
        transport.open(PATIENT_S)
        transport.write(b"?\n", Deadline(PATIENT_S))
        wall, cpu = time.monotonic(), time.thread_time()
        with pytest.raises(InstrumentTimeout):
            transport.read_line(Deadline(0.2))
        assert time.monotonic() - wall > 0.15
        within(0.5, wall)
        assert time.thread_time() - cpu < 0.1
        transport.resynchronise(2.0)
        transport.write(b"?\n", Deadline(PATIENT_S))
        assert transport.read_line(Deadline(PATIENT_S)) == b"fresh"


def test_closed_link():
    transport = HislipTransport("dut", "hislip://127.0.0.1:1")
    for call in (transport.clear, transport.status_byte, transport.read_line):
        with pytest.raises(StateError):
            call(Deadline(1.0))
    transport.close()


def test_whole_bench_over_hislip():
    with served(transports=BOTH) as lab:
        assert lab.endpoints["awg"].startswith("hislip://127.0.0.1:")
        with bench_on(lab) as bench:
            bench.awg.configure(AwgConfig(400e6, {1: 0.5, 2: 0.5}))
            codes = np.random.default_rng(1).integers(-2000, 2000, (2, 1 << 18))
            samples = (codes * (0.25 / 2047)).astype(np.float32)
            bench.awg.upload(Waveform(samples, 400e6))
            bench.awg.start()
            bench.digitizer.configure(DigitizerConfig(400e6, 2048, {1: 0.8}))
            bench.digitizer.arm()
            bench.digitizer.wait(PATIENT_S)
            assert bench.digitizer.fetch(PATIENT_S).codes.shape == (1, 2048)
            np.testing.assert_array_equal(lab.cables.played[-1], codes)


def test_only_scpi_instruments_have_a_choice():
    with (
        pytest.raises(ConfigError, match="SCPI"),
        served(names=("tagger",), transports={"tagger": "hislip"}),
    ):
        pass


@pytest.mark.parametrize(
    ("kind", "idle_s"),
    [("no-reply", 0.0), ("late-reply", 0.0), ("late-reply", LATE_S + 0.2)],
)
@not_late_each_time
def test_after_a_timeout_the_session_is_cleared_not_reopened(monkeypatch, idle_s, kind):
    with (
        served({"awg": [("configure", kind)]}, transports=BOTH) as lab,
        linked(lab) as link,
    ):
        monkeypatch.setattr(HislipTransport, "open", pytest.fail)
        given_up(InstrumentTimeout, lambda: link.query(":FREQ:RAST?", 0.3))
        time.sleep(idle_s)
        assert link.query(":VOLT1?") == "0.5"
        assert link.query("*IDN?").startswith("Agilent")


def test_a_dropped_connection_is_found_at_once_and_made_anew():
    with (
        served({"awg": [("configure", "drop-connection")]}, transports=BOTH) as lab,
        linked(lab) as link,
    ):
        start = time.monotonic()
        with pytest.raises(ConnectionLost):
            link.query(":FREQ:RAST?")
        assert time.monotonic() - start < PATIENT_S / 2
        assert link.query(":VOLT1?") == "0.5"


def test_half_a_block_whose_end_comes_is_told_at_once():
    """The end of the message says it: nothing is waited for."""

    def script(peer):
        with closing(peer.shake_hands()) as (sync, _):
            peer.expect(sync, data(0xFFFFFF00, b"?\n"))
            sync.sendall(data(0xFFFFFF00, bytes(63)))
            # The connection stays: it is not its end that says it.
            sync.recv(1)

    with scripted(script) as transport:
        transport.open(PATIENT_S)
        transport.write(b"?\n", Deadline(PATIENT_S))
        start = time.monotonic()
        target = memoryview(bytearray(128))
        assert transport.read_into(target, Deadline(PATIENT_S)) == 63
        assert time.monotonic() - start < PATIENT_S / 2


def test_half_a_block_and_silence_ends_on_time():
    with (
        served({"scope": [("fetch", "half-block")]}, transports=BOTH) as lab,
        linked(lab, "scope") as link,
    ):
        link.write(":WAV:STR ON\n:ACQ:POIN 64\n:TRIG:SWE AUTO\n:SING")
        while link.query(":PDER?") == "0":
            time.sleep(0.001)
        start = time.monotonic()
        with pytest.raises(WireProtocolError, match="63 of 128 bytes"):
            link.query_block(":WAV:DATA?", "<i2", 64, 1.0)
        # More could have come until then.
        assert time.monotonic() - start > 0.9
        assert link.query_block(":WAV:DATA?", "<i2", 64).size == 64


def test_an_interrupted_query_is_reported():
    """IEEE 488.2: who asks again without reading loses the first answer."""
    with served(transports=BOTH) as lab:
        transport = scpi_transport("awg", lab.endpoints["awg"])
        transport.open(PATIENT_S)
        transport.write(b"*IDN?\n", Deadline(PATIENT_S))
        while not transport.status_byte(Deadline(PATIENT_S)) & 0x10:
            time.sleep(0.001)
        transport.write(b":SYST:ERR?\n", Deadline(PATIENT_S))
        assert transport.read_line(Deadline(PATIENT_S)).startswith(b"-410,")
        assert not transport.status_byte(Deadline(PATIENT_S)) & 0x10
        transport.close()


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.0\r\n",
        data(0xFFFFFF00, b"*IDN?\n"),
        ASYNC_INITIALIZE,
        INITIALIZE[:-1] + b"9",
        INITIALIZE + data(0xFFFFFF00, b"*RST\n"),
    ],
)
def test_the_server_refuses_what_is_no_session(opening):
    with served(transports=BOTH) as lab:
        port = int(lab.endpoints["awg"].split(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), PATIENT_S) as link:
            link.sendall(opening)
            received = b"".join(iter(lambda: link.recv(1 << 12), b""))
        # FatalError is message type 2.
        assert b"HS\x02" in received
        with linked(lab) as good:
            assert good.query(":VOLT1?") == "0.5"


def test_pyvisa_queries_the_emulator():
    pyvisa = pytest.importorskip("pyvisa")
    with served(transports=BOTH) as lab:
        port = lab.endpoints["awg"].split(":")[2].partition("/")[0]
        manager = pyvisa.ResourceManager("@py")
        device = manager.open_resource(f"TCPIP::127.0.0.1::hislip0,{port}::INSTR")
        try:
            assert "M8190A" in device.query("*IDN?")
            device.write(":VOLT1 0.6")
            assert float(device.query(":VOLT1?")) == 0.6
            # Nothing may be under way here: pyvisa-py does not read past a reply.
            device.clear()
            assert float(device.query(":VOLT1?")) == 0.6
            assert device.read_stb() == 0
            # Ends with its last byte, no line feed behind it.
            device.write_termination = ""
            codes = np.full(320, 0x0A0A, "<i2")
            device.write(":TRAC1:DEL:ALL;:TRAC1:DEF 1,320")
            device.write_binary_values(":TRAC1:DATA 1,0,", codes, "h")
            assert device.query(":SYST:ERR?").startswith("0,")
        finally:
            device.close()
            manager.close()
