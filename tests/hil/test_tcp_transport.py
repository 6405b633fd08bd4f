"""The TCP link alone, against scripted peers."""

import contextlib
import socket
import threading
import time

import pytest
from patience_kit import PATIENT_S, deaf_port, not_late_each_time, within

from driver.transports.tcp import TcpTransport, parse_resource
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

pytestmark = pytest.mark.hil


@contextlib.contextmanager
def peer(script):
    """Run `script(connection)` for one client; yield the resource."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            script(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(PATIENT_S)
        listener.close()


@contextlib.contextmanager
def over(event):
    """Set an event on leaving: the peer waits for it."""
    try:
        yield
    finally:
        event.set()


def opened(resource):
    transport = TcpTransport("scope", resource)
    transport.open(PATIENT_S)
    return transport


def test_refused_connection():
    start = time.monotonic()
    with deaf_port() as port, pytest.raises(ConnectError, match=f"scope.*{port}"):
        opened(f"tcp://127.0.0.1:{port}")
    assert time.monotonic() - start < PATIENT_S / 2


@pytest.mark.parametrize(
    "resource",
    [
        "127.0.0.1:5025",
        "tcp://:5025",
        "tcp://host",
        "tcp://h:0",
        "tcp://h:65536",
        "udp://h:1",
        "tcp://h:x",
        "tcp://h:-1",
    ],
)
def test_malformed_resource(resource):
    with pytest.raises(RangeError):
        TcpTransport("scope", resource)


def test_addresses():
    assert parse_resource("x", "tcp://scope.lab:5025") == ("scope.lab", 5025)
    assert parse_resource("x", "tcp://[::1]:5025") == ("::1", 5025)


def test_end_of_file_is_connection_lost_at_once():
    with peer(lambda c: None) as resource:
        transport = opened(resource)
        start = time.monotonic()
        with pytest.raises(ConnectionLost):
            transport.read_line(Deadline(PATIENT_S))
        assert time.monotonic() - start < PATIENT_S / 2
        assert not transport.is_open
        with pytest.raises(StateError):
            transport.write(b"x", Deadline(1.0))


@not_late_each_time
def test_silence_times_out_on_time_without_spinning():
    done = threading.Event()
    with peer(lambda c: done.wait(PATIENT_S)) as resource, over(done):
        transport = opened(resource)
        wall, cpu = time.monotonic(), time.thread_time()
        with pytest.raises(InstrumentTimeout):
            transport.read_line(Deadline(0.2))
        assert time.monotonic() - wall >= 0.2
        assert time.thread_time() - cpu < 0.1
        transport.close()
        within(0.7, wall)


@not_late_each_time
def test_the_deadline_is_for_the_whole_call():
    """A peer that sends a byte now and then must not keep a call alive."""
    stop = threading.Event()

    def drip(connection):
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                connection.sendall(b"x")

    with peer(drip) as resource, over(stop):
        transport = opened(resource)
        start = time.monotonic()
        with pytest.raises(InstrumentTimeout):
            transport.read_line(Deadline(0.3))
        target = bytearray(1000)
        assert transport.read_into(memoryview(target), Deadline(0.2)) < 1000
        transport.close()
        within(1.0, start)


def test_write_to_a_peer_that_does_not_read():
    done = threading.Event()
    with peer(lambda c: done.wait(PATIENT_S)) as resource, over(done):
        transport = opened(resource)
        with pytest.raises(InstrumentTimeout):
            transport.write(memoryview(bytes(64 << 20)), Deadline(0.3))
        transport.close()


def test_endless_line_is_refused():
    def flood(connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 16))

    with peer(flood) as resource:
        transport = opened(resource)
        with pytest.raises(WireProtocolError):
            transport.read_line(Deadline(PATIENT_S), limit=1 << 18)
        transport.close()


def test_lines_and_exact_reads_share_one_buffer():
    payload = bytes(range(256)) * 1000

    def script(connection):
        connection.sendall(b"first\nsec")
        time.sleep(0.02)
        connection.sendall(b"ond\n" + payload + b"last\n")

    with peer(script) as resource:
        transport = opened(resource)
        deadline = Deadline(PATIENT_S)
        assert transport.read_line(deadline) == b"first"
        assert transport.read_line(deadline) == b"second"
        target = bytearray(len(payload))
        assert transport.read_into(memoryview(target), deadline) == len(payload)
        assert target == payload
        assert transport.read_line(deadline) == b"last"
        transport.close()
        transport.close()
