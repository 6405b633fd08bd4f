"""The lines that drivers of serial instruments send, against public sources."""

import socket
import threading

import pytest

from driver.attenuator.ozoptics_dd100 import OzOpticsDd100
from driver.bias_controller.thorlabs_mbx import ThorlabsMbx
from driver.hal_light import (
    AttenuatorConfig,
    BiasConfig,
    BiasReading,
    PolarisationConfig,
)
from driver.line_link import LineLink
from driver.polarisation_controller.ozoptics_epc import OzOpticsEpc
from driver.transports.serial_port import byte_transport

# As quoted in a public driver, a real instrument's words.
DD100 = {
    "CD": "DD100MC\r\nV6.2a\r\nNO:303699-01\r\nMAX ATTEN:55.00\r\nOVERSHOOT:-30\r\n"
    "CALIB:MAR-02-2022\r\nGEAR RATIO:485:1\r\nMINTERVAL(MS):0.90\r\nMOTOR VOLT:5\r\n"
    "IL:0.00\r\nWAVELENGTH:2000\r\nI2C ADDRESS:64\r\nW0 2000\r\nDone\r\n",
    "D": [
        "DPos:Unknown\r\nATTEN:Unknown\r\nDone\r\n\r\n",
        "DPos:Unknown\r\nATTEN:Unknown\r\nDone\r\n\r\n",
        "DPos:5500\r\nATTEN:55.00\r\nDone\r\n\r\n",
        "DPos:4060\r\nATTEN:12.50\r\nDone\r\n\r\n",
    ],
    "H": "Pos:0\r\nDone\r\n",
    "A55.00": "Pos:5500\r\nDone\r\n\r\n",
    "A12.50": "Pos:4060\r\nDone\r\n\r\n",
}
EPC = {
    "V?": [
        "CH1 +0000 CH2 +0000 CH3 +0000 CH4 +0000\r\nDone\r\n",
        "CH1 +2500 CH2 -0125 CH3 +0000 CH4 +0000\r\nDone\r\n",
    ],
    "VER?": "SW1.0\r\nDone\r\n",
    "SN?": "123456\r\nDone\r\n",
}
# Whether a setting is answered is known of two alone; the driver takes either.
MBX = {
    "*IDN?": "THORLABS,MBX1000,M00001,1.2\r",
    "VOA:MODE: 0": "1\r",
    "VOA:MODE?": "0\r",
    "VOA:ATTEN?": ["20\r", "5\r", "5\r"],
    "VOA:POWER?": "1\r",
    "VOA:MEASURED?": "5.03\r",
    "MZM:HOLD:VOLTAGE?": ["0\r", "5000\r"],
    "MZM:MODE?": ["0\r", "7\r", "7\r", "7\r", "7\r", "2\r", "2\r", "2\r"],
    "MZM:VOLTAGE?": ["5.02\r", "5.02\r", "5.42\r", "5.42\r"],
    "MZM:CALIBRATING?": "0\r",
    "MZM:SETPOINT?": "1\r",
}


class Peer:
    """Answers from a table and keeps what it was sent, ends of lines apart."""

    def __init__(self, answers, default=""):
        self.answers = {k: list(v) if isinstance(v, list) else v for k, v in answers}
        self.default = default
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received, self.raw = [], b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            pending = b""
            while data := connection.recv(1 << 12):
                self.raw += data
                pending += data.replace(b"\n", b"")
                *lines, pending = pending.split(b"\r")
                for line in (raw.decode() for raw in lines):
                    self.received.append(line)
                    found = self.answers.get(line, self.default)
                    answer = found.pop(0) if isinstance(found, list) else found
                    connection.sendall(answer.encode())

    def take(self):
        received, self.received = self.received, []
        return received

    def close(self):
        self.thread.join(60.0)
        self.listener.close()


@pytest.fixture
def on_peer():
    opened = []

    def build(kind, answers, default=""):
        peer = Peer(answers.items(), default)
        place = f"socket://127.0.0.1:{peer.listener.getsockname()[1]}"
        driver = kind(LineLink(byte_transport("dut", place), 2.0, 2.0))
        opened.append((peer, driver))
        return peer, driver

    yield build
    for peer, driver in opened:
        driver.close()
        peer.close()


def test_dd100(on_peer):
    peer, driver = on_peer(OzOpticsDd100, DD100)
    identity = driver.open()
    assert (identity.model, identity.serial) == ("DD100MC", "303699-01")
    assert driver.attenuation_range_db == (0.0, 55.0)
    # A motor that does not know its place goes home first.
    assert peer.take() == ["CD", "D", "CD", "D", "H", "A55.00", "D"]
    assert peer.raw.startswith(b"CD\r\nD\r\n")
    taken = driver.set_attenuation(AttenuatorConfig(12.5))
    assert taken == AttenuatorConfig(12.5)
    assert peer.take() == ["A12.50", "D"]


def test_epc(on_peer):
    peer, driver = on_peer(OzOpticsEpc, EPC, default="Done\r\n")
    assert driver.open().serial == "123456"
    zero = ["MDC", "V1,0000", "V2,0000", "V3,0000", "V4,0000"]
    assert peer.take() == ["V?", "VER?", "SN?", *zero]
    taken = driver.set_polarisation(PolarisationConfig({1: 2.5, 2: -0.125}))
    assert taken.volts == {1: 2.5, 2: -0.125, 3: 0.0, 4: 0.0}
    assert peer.take() == ["V1,2500", "V2,-125", "V?"]
    driver.safe_state(1.0)
    assert peer.take() == zero
    assert b"V1,2500\r\n" in peer.raw


def setting(name, value):
    """A setting, the question behind it that tells its reply apart, and itself."""
    return [f"{name}: {value}", "*IDN?", f"{name}?"]


def test_mbx(on_peer):
    peer, driver = on_peer(ThorlabsMbx, MBX)
    assert driver.open().model == "MBX1000"
    dark = [
        *setting("VOA:MODE", 0),
        *setting("VOA:ATTEN", 20),
        *setting("VOA:POWER", 1),
    ]
    hold = [*setting("MZM:HOLD:VOLTAGE", 0), *setting("MZM:MODE", 7)]
    assert peer.take() == ["*IDN?", "MZM:MODE?", *dark, *hold]
    assert b"\n" not in peer.raw
    assert driver.set_attenuation(AttenuatorConfig(5.0)) == AttenuatorConfig(5.0)
    assert peer.take() == [
        *setting("VOA:MODE", 0),
        *setting("VOA:ATTEN", 5),
        *setting("VOA:POWER", 1),
        "VOA:MEASURED?",
        "VOA:ATTEN?",
    ]
    held = driver.set_bias(BiasConfig(None, 5.0004), 1.0)
    assert held == BiasReading(False, 5.02)
    state = ["MZM:MODE?", "MZM:VOLTAGE?"]
    # In millivolts, as the public driver's test has it.
    volts = setting("MZM:HOLD:VOLTAGE", 5000)
    assert peer.take() == [*volts, *setting("MZM:MODE", 7), *state, *state]
    assert driver.set_bias(BiasConfig("null"), 1.0) == BiasReading(True, 5.42)
    state = ["MZM:MODE?", "MZM:CALIBRATING?", "MZM:SETPOINT?", "MZM:VOLTAGE?"]
    assert peer.take() == [*setting("MZM:MODE", 2), *state, *state]
