"""The frames a laser's driver sends, against OIF-ITLA-MSA-01.3."""

import socket
import threading

import pytest

from driver.hal_light import LaserConfig
from driver.laser.itla_frame import parse_reply, request
from driver.laser.itla_link import ItlaLink
from driver.laser.itla_msa import ItlaLaser
from driver.laser.itla_registers import Tuning
from driver.transports.serial_port import byte_transport

# First byte without its parity, register, data: what the module answers. The low
# half of the first byte of an answer is 4 for OK, 5 refused, 6 text, 7 pending.
ANSWERS = {
    "00 00 0000": "4 00 0010",  # nothing pending, MRDY
    "01 32 0000": "4 32 0000",
    "00 32 0000": ["4 32 0000", "4 32 0008", "4 32 0008"],
    "00 02 0000": "6 02 0003",
    "00 03 0000": "6 03 0004",
    "00 04 0000": "6 04 0002",
    "00 06 0000": "6 06 0002",
    "00 0B 0000": [
        "4 0B 4142",
        "4 0B 4300",
        "4 0B 4D31",
        "4 0B 3233",
        "4 0B 5339",
        "4 0B 5632",
    ],
    "00 52 0000": "4 52 00BF",  # 191 THz
    "00 53 0000": "4 53 1388",  # 500.0 GHz
    "00 54 0000": "4 54 00C4",  # 196 THz
    "00 55 0000": "4 55 09C4",  # 250.0 GHz
    "00 50 0000": "4 50 FF9C",  # -1.00 dBm
    "00 51 0000": "4 51 0546",  # 13.50 dBm
    "00 4F 0000": "4 4F 1770",  # 6000 MHz
    "00 67 0000": "4 67 0000",
    "01 30 0001": "4 30 0001",
    "01 65 0000": "4 65 0000",
    "01 35 00C1": "4 35 00C1",  # 193 THz
    "01 36 101C": "4 36 101C",  # 412.4 GHz
    "01 67 0000": "4 67 0000",
    "01 62 FFE3": "4 62 FFE3",  # -29 MHz
    "01 31 0352": "7 31 0100",  # 8.50 dBm, pending
    "00 35 0000": "4 35 00C1",
    "00 36 0000": "4 36 101C",
    "00 30 0000": "4 30 0001",
    "00 65 0000": "4 65 0000",
    "00 62 0000": "4 62 FFE3",
    "00 34 0000": "4 34 01F4",
    "00 31 0000": "4 31 0352",
    "01 32 0008": "7 32 0100",
    "00 40 0000": "4 40 00C1",
    "00 41 0000": "4 41 101B",
    "00 68 0000": "4 68 0047",
    "00 42 0000": "4 42 034E",  # 8.46 dBm
}


def sealed(low, rest):
    """Return a frame from its low half-byte and the other three bytes, in hex."""
    digits = [int(digit, 16) for digit in low + rest]
    parity = 0
    for digit in digits:
        parity ^= digit
    return bytes.fromhex(f"{parity:x}{low}{rest}")


class Module:
    """A peer that answers from a table and keeps what it was sent."""

    def __init__(self):
        self.answers = {}
        for sent, found in ANSWERS.items():
            first, register, data = sent.split()
            self.answers[sealed(first[1], register + data)] = (
                sent,
                list(found) if isinstance(found, list) else found,
            )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            while frame := connection.recv(4, socket.MSG_WAITALL):
                sent, found = self.answers.get(frame, (frame.hex(), None))
                self.received.append(sent)
                if found is None:
                    continue
                answer = found.pop(0) if isinstance(found, list) else found
                low, rest = answer.split(maxsplit=1)
                connection.sendall(sealed(low, rest.replace(" ", "")))

    def take(self):
        received, self.received = self.received, []
        return received

    def close(self):
        self.thread.join(60.0)
        self.listener.close()


@pytest.fixture
def laser():
    peer = Module()
    place = f"socket://127.0.0.1:{peer.listener.getsockname()[1]}"
    driver = ItlaLaser(ItlaLink(byte_transport("dut", place), 2.0, 2.0))
    yield peer, driver
    driver.close()
    peer.close()


def reads(*registers):
    return [f"00 {register} 0000" for register in registers]


def test_whole_use(laser):
    peer, driver = laser
    identity = driver.open()
    assert identity.vendor == "ABC"
    assert (identity.model, identity.serial, identity.firmware) == ("M123", "S9", "V2")
    assert driver.power_range_dbm == (-1.0, 13.5)
    assert driver.frequency_range_hz == (191.5e12, 196.25e12)
    text = ["0B", "0B"]
    assert peer.take() == [
        *reads("00"),
        "01 32 0000",
        *reads("32", "02", *text, "03", *text, "04", "0B", "06", "0B"),
        *reads("52", "53", "54", "55", "50", "51", "4F", "67"),
    ]
    config = LaserConfig(193.412_371e12, 8.5)
    assert driver.configure(config) == config
    assert peer.take() == [
        "01 30 0001",
        "01 65 0000",
        "01 35 00C1",
        "01 36 101C",
        "01 67 0000",
        "01 62 FFE3",
        "01 31 0352",
        *reads("00"),
        *reads("35", "36", "30", "67", "65", "62", "34", "31"),
    ]
    driver.set_enabled(True, 2.0)
    frequency = reads("40", "41", "68", "42")
    tuning = reads("35", "36", "30", "67", "65", "62", "34")
    assert peer.take() == [
        *reads("00"),
        "01 32 0008",
        *reads("00", "32", "32"),
        *frequency,
        *tuning,
    ]


@pytest.mark.parametrize(
    ("low", "rest", "frame"),
    [
        # A read of NOP is all zeros; the others are worked by hand.
        ("0", "000000", request(0x00)),
        ("1", "320008", request(0x32, 8, write=True)),
        ("1", "62ffe3", request(0x62, -29, write=True)),
    ],
)
def test_frames(low, rest, frame):
    assert frame == sealed(low, rest)
    with pytest.raises(ValueError, match="no module's frame"):
        parse_reply(frame)


@pytest.mark.parametrize(
    ("frequency_hz", "first_mhz", "fine_mhz"),
    [
        (193.1e12, 193_100_000, 0),
        (193.100_049e12, 193_100_000, 49),
        (193.100_051e12, 193_100_100, -49),
        (193.412_371_4e12, 193_412_400, -29),
    ],
)
def test_tuning(frequency_hz, first_mhz, fine_mhz):
    tuning = Tuning.nearest(frequency_hz)
    assert (tuning.first_mhz, tuning.fine_mhz) == (first_mhz, fine_mhz)
    assert abs(tuning.frequency_hz - frequency_hz) <= 0.5e6


def test_channels_of_a_grid():
    """OIF-ITLA-MSA: f = first + (channel - 1) * grid + fine."""
    tuning = Tuning(191_500_000, -120, channel=9, grid_mhz=50_000)
    assert tuning.frequency_hz == 191.5e12 + 8 * 50e9 - 120e6
    assert tuning.on_grid_hz == 191.9e12
