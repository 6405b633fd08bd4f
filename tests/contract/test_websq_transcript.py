"""What the WebSQ driver writes and reads, against the vendor's public example."""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from bench_kit import served
from patience_kit import PATIENT_S, not_late_each_time, struck, within
from role_kit import MovableLight

from driver.detector_bias.singlequantum_websq import SingleQuantumWebSq
from driver.detector_bias.websq_link import WebsqLink, parse_websq
from driver.hal_light import DetectorBiasConfig
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
from sim_backends.faults import LATE_S

SETTING = DetectorBiasConfig({1: 20e-6}, {2: 0.15})


class Peer:
    """The two ports; tells labels on request, as joined objects ended by 0x17."""

    def __init__(self, **labels):
        self.labels = {
            "NumberOfDetectors": 2,
            "BiasCurrent": [0.0, 0.0],
            "TriggerLevel": [100.0, 100.0],
            "DetectorEnable": False,
            "InptMeasurementPeriod": 100,
        }
        self.fixed = labels
        self.line = "1700000000.100,2000,30"
        self.news = b""
        self.received = []
        self.servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.threads = [
            threading.Thread(target=work) for work in (self.control, self.counts)
        ]
        for thread in self.threads:
            thread.start()

    @property
    def resource(self):
        control, counts = (s.getsockname()[1] for s in self.servers)
        return f"tcp://127.0.0.1:{control}?counts={counts}"

    def control(self):
        with suppress(OSError):
            connection, _ = self.servers[0].accept()
            with connection:
                text = ""
                while data := connection.recv(1 << 16):
                    text += data.decode()
                    while text:
                        try:
                            message, end = json.JSONDecoder().raw_decode(text)
                        except ValueError:
                            break
                        text = text[end:]
                        self.take(connection, message)

    def take(self, connection, message):
        self.received.append(message)
        if "command" in message:
            self.labels[message["label"]] = message["value"]
            return
        told = self.labels | self.fixed
        joined = "".join(
            json.dumps({"label": k, "value": {"value": v, "unit": "x"}})
            for k, v in told.items()
        )
        connection.sendall(self.news + joined.encode() + b"\x17")

    def counts(self):
        with suppress(OSError):
            while True:
                connection, _ = self.servers[1].accept()
                with connection, suppress(OSError):
                    for _ in range(5):
                        connection.sendall(self.line.encode() + b"\n")
                    connection.recv(1)

    def close(self):
        for server in self.servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in self.threads:
            thread.join(PATIENT_S)


@pytest.fixture
def paper():
    """A way to make a peer and the driver on it."""
    made = []

    def make(**labels):
        peer = Peer(**labels)
        driver = SingleQuantumWebSq(WebsqLink("dut", peer.resource, 5.0, 5.0))
        made.append((driver, peer))
        return peer, driver

    yield make
    for driver, peer in made:
        driver.close()
        peer.close()


def test_commands(paper):
    peer, supply = paper()
    ask = {"request": "labelProps", "value": "None"}

    def command(name, label, value):
        return [{"command": name, "label": label, "value": value}, ask]

    off = command("SetAllBiasCurrents", "BiasCurrent", [0.0, 0.0])
    off += command("DetectorEnable", "DetectorEnable", False)
    supply.open()
    assert supply.channels == (1, 2)
    assert peer.received == [ask, ask, *off]
    peer.received.clear()
    taken = supply.set_detectors(SETTING)
    assert taken.bias_a == pytest.approx({1: 20e-6, 2: 0.0})
    assert taken.trigger_level_v == pytest.approx({1: 0.1, 2: 0.15})
    # Microamperes and millivolts; the level first, so that noise is not counted.
    assert peer.received == [
        ask,
        *command("SetAllTriggerLevels", "TriggerLevel", [100.0, 150.0]),
        *command("SetAllBiasCurrents", "BiasCurrent", [20.0, 0.0]),
        *command("DetectorEnable", "DetectorEnable", True),
    ]
    peer.received.clear()
    assert supply.count_rates_hz(0.05) == pytest.approx({1: 40e3, 2: 600.0})
    assert peer.received == command("SetMeasurementPeriod", "InptMeasurementPeriod", 50)
    peer.received.clear()
    supply.safe_state(1.0)
    assert peer.received == [ask, *off]


def test_news_are_read_past(paper):
    """What is told unasked comes joined, and never counts as the answer."""
    peer, supply = paper()
    supply.open()
    peer.news = b'{"label": "BiasCurrent", "value": [9.0, 9.0]}\x17'
    peer.news += b'{"label": "Temperature", "value": 2.5}{"other": 1}'
    taken = supply.set_detectors(SETTING)
    assert taken.bias_a == pytest.approx({1: 20e-6, 2: 0.0})


@pytest.mark.parametrize(
    ("labels", "error", "told"),
    [
        ({"NumberOfDetectors": 0}, WireProtocolError, "detectors"),
        ({"NumberOfDetectors": "two"}, WireProtocolError, "two"),
        ({"NumberOfDetectors": True}, WireProtocolError, "detectors"),
        ({"BiasCurrent": [0.0]}, WireProtocolError, "for 2 detectors"),
        ({"BiasCurrent": [0.0, "x"]}, WireProtocolError, "for 2 detectors"),
        ({"BiasCurrent": [1.0, 0.0]}, DeviceError, "detector 1 set to 0, reads 1"),
        ({"BiasCurrent": [float("nan"), 0.0]}, WireProtocolError, "NaN"),
        ({"TriggerLevel": None}, WireProtocolError, "for 2 detectors"),
        ({"TriggerLevel": [100.0, 100.0]}, DeviceError, "reads 100"),
        ({"DetectorEnable": True}, DeviceError, "set to False, reads True"),
        ({"DetectorEnable": False}, DeviceError, "set to True, reads False"),
        ({"InptMeasurementPeriod": 100}, DeviceError, "set to 50, reads 100"),
        ({"ErrorMessage": "no helium"}, DeviceError, "no helium"),
    ],
)
def test_labels_that_cannot_be(paper, labels, error, told):
    _, supply = paper(**labels)
    with pytest.raises(error, match=told):  # noqa: PT012
        supply.open()
        supply.set_detectors(SETTING)
        supply.count_rates_hz(0.05)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1700000000.1,5",
        "1,2,3,4",
        "1,2,x",
        "1,2,nan",
        "1,2,-1",
        "1,2,inf",
        "1,\xff,3",
    ],
)
def test_lines_that_cannot_be(paper, line):
    peer, supply = paper()
    supply.open()
    supply.set_detectors(SETTING)
    peer.line = line
    with pytest.raises(WireProtocolError):
        supply.count_rates_hz(0.05)


@pytest.mark.parametrize(
    "resource",
    [
        "tcp://h",
        "serial:///dev/x",
        "tcp://h:1?counts=0",
        "tcp://h:1?counts=x",
        "tcp://h:1?other=2",
        "tcp://h:1?counts=2&counts=3",
        "tcp://h:1?",
    ],
)
def test_other_resources_are_refused(resource):
    with pytest.raises(RangeError):
        parse_websq("dut", resource)


def test_ports():
    assert parse_websq("d", "tcp://h:12000") == ("tcp://h:12000", "tcp://h:12345")
    assert parse_websq("d", "tcp://[::1]:1?counts=2") == (
        "tcp://[::1]:1",
        "tcp://[::1]:2",
    )


LOST, LATE, GARBLED = (ConnectionLost,), (InstrumentTimeout,), (WireProtocolError,)
CASES = [
    *(
        (at, kind, errors)
        for at in ("identify", "configure")
        for kind, errors in (
            ("drop-connection", LOST),
            ("reboot", (*LOST, DeviceError)),
            ("no-reply", LATE),
            ("late-reply", LATE),
            ("half-block", LATE),
            ("garbage", GARBLED),
            ("wrong-identity", LATE),
            ("not-a-number", GARBLED),
            ("execution-error", (DeviceError,)),
        )
    ),
    ("switch", "drop-connection", LOST),
    ("configure", "not-taken", (DeviceError,)),
    ("configure", "wrong-length", GARBLED),
    ("fetch", "drop-connection", LOST),
    ("fetch", "no-reply", LATE),
    ("fetch", "garbage", GARBLED),
    ("fetch", "wrong-length", GARBLED),
    ("fetch", "not-a-number", GARBLED),
]
IO_TIMEOUT_S = 0.3


def whole_use(supply):
    supply.open()
    supply.set_detectors(DetectorBiasConfig({1: 20e-6}))
    supply.set_detectors(DetectorBiasConfig({1: 30e-6}))
    return supply.count_rates_hz(0.01)


@pytest.mark.hil
@pytest.mark.parametrize(("at", "kind", "errors"), CASES)
@not_late_each_time
def test_fault_ends_in_its_typed_error(at, kind, errors):
    before = {t.ident for t in threading.enumerate()}
    # The last of three lines of counts is looked at; and the first settings that
    # are not taken are those that were so already.
    ends = kind in {"drop-connection", "no-reply"}
    thrice = kind == "not-taken" or (at == "fetch" and not ends)
    faults = [(at, kind)] * (3 if thrice else 1)
    with ExitStack() as leaving:
        lab = leaving.enter_context(
            served(
                {"dut": faults},
                names=(),
                light=MovableLight(),
                wiring={"bias.z0": "dut:1"},
                drivers={"dut": "singlequantum.websq"},
            )
        )
        limit_s = IO_TIMEOUT_S if errors == LATE else PATIENT_S
        link = WebsqLink("dut", lab.endpoints["dut"], limit_s, limit_s)
        supply = SingleQuantumWebSq(link)
        leaving.callback(supply.close)
        start = time.monotonic()
        with pytest.raises(InstrumentError) as caught:
            whole_use(supply)
        struck(lab.devices["dut"])
        # Each exchange before the faulty one takes a few milliseconds.
        within(IO_TIMEOUT_S + LATE_S + 1.5, start)
        assert isinstance(caught.value, errors)
        assert caught.value.instrument == "dut"
        # The link comes into step by itself, with nothing stale.
        link.open_timeout_s = link.io_timeout_s = PATIENT_S
        supply.safe_state(PATIENT_S)
        assert lab.devices["dut"].is_safe
        # A dark count rate of detector 1, whatever happened before.
        assert whole_use(supply)[1] == pytest.approx(1000.0)
        supply.close()
        with pytest.raises(StateError):
            supply.ping()
    assert not [t for t in threading.enumerate() if t.ident not in before]


def test_a_supply_that_is_gone_is_told():
    with served(names=(), wiring={}, drivers={"dut": "singlequantum.websq"}) as lab:
        endpoint = lab.endpoints["dut"]
    with pytest.raises(ConnectError):
        SingleQuantumWebSq(WebsqLink("dut", endpoint, 1.0, 1.0)).open()
