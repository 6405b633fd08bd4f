"""The bytes each driver puts on the wire, against the instruments' manuals."""

import socket
import threading

import numpy as np
import pytest

from driver.awg.keysight_m8190a import KeysightM8190A
from driver.awg.tektronix_awg70000 import TektronixAwg70000
from driver.awg.wfmx import wfmx_header
from driver.digitizer.keysight_infiniium import KeysightInfiniium
from driver.hal import AwgConfig, DigitizerConfig
from driver.scpi.link import ScpiLink
from driver.transports.tcp import TcpTransport
from scqc.core.errors import ConnectError
from scqc.core.records import Waveform

ANSWERS = {
    b"*OPC?": b"1",
    b":SYST:ERR?": b'0,"No error"',
    b":FREQ:RAST?": b"4E8",
    b":VOLT1?": b"0.5",
    b":VOLT2?": b"0.5",
    b"CLOC:SRAT?": b"4E+08",
    b"SOUR1:VOLT?": b"0.5",
    b"SOUR2:VOLT?": b"0.5",
    b":MARK2:SAMP:VOLT:LOW?": b"1.5",
    b"SOUR2:MARK1:VOLT:OFFS?": b"1.15",
    b"AWGC:RSTAT?": b"1",
    b":ACQ:SRAT?": b"4E+08",
    b":ACQ:POIN?": b"16",
    b":CHAN1:RANG?": b"8E-01",
    b":AER?": b"+1",
    b":PDER?": b"+1",
    b":WAV:PRE?": b"2,1,16,1,2.5E-09,0,0,1.25E-05,0,0,3,4E-08,0,0.8,0,"
    b'"21 JAN 2024","10:20:30:25","X",0,100,2,1,4E9,0',
    b":WAV:DATA?": b"#0" + b"\n\x01" * 16,
}


class Recorder:
    """A peer that answers from a table and keeps what it was sent."""

    def __init__(self, identity):
        self.answers = {b"*IDN?": identity, **ANSWERS}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received = b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            pending = b""
            while data := connection.recv(1 << 16):
                self.received += data
                pending += data
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    if line in self.answers:
                        connection.sendall(self.answers[line] + b"\n")

    def take(self):
        """Return what was sent since the last call, without the sync lines."""
        received, self.received = self.received, b""
        return received.replace(b"*OPC?\n:SYST:ERR?\n", b"")

    def link(self):
        port = self.listener.getsockname()[1]
        return ScpiLink(TcpTransport("dut", f"tcp://127.0.0.1:{port}"))

    def close(self):
        self.thread.join(60.0)
        self.listener.close()


@pytest.fixture
def m8190a():
    peer = Recorder(b"Agilent Technologies,M8190A,DE1,5.0")
    driver = KeysightM8190A(peer.link())
    yield peer, driver
    driver.close()
    peer.close()


@pytest.fixture
def awg70000():
    peer = Recorder(b"TEKTRONIX,AWG70002A,B000001,FV:5.3")
    driver = TektronixAwg70000(peer.link())
    yield peer, driver
    driver.close()
    peer.close()


@pytest.fixture
def infiniium():
    peer = Recorder(b"KEYSIGHT TECHNOLOGIES,MXR404A,MY1,11")
    driver = KeysightInfiniium(peer.link())
    yield peer, driver
    driver.close()
    peer.close()


def lines(*commands):
    return "".join(f"{c}\n" for c in commands).encode()


SAFE_AWG = (
    ":ABOR1",
    ":OUTP1 OFF",
    ":ABOR2",
    ":OUTP2 OFF",
    ":MARK1:SAMP:VOLT:HIGH 1.75",
    ":MARK1:SAMP:VOLT:LOW 0",
    ":MARK2:SAMP:VOLT:HIGH 1.75",
    ":MARK2:SAMP:VOLT:LOW 0",
)


def test_m8190a(m8190a):
    peer, awg = m8190a
    awg.open()
    assert peer.take() == lines("*IDN?", "*CLS", *SAFE_AWG)
    awg.configure(AwgConfig(4e8, {1: 0.5, 2: 0.5}))
    channel = (
        ":OUTP{n}:ROUT DAC",
        ":VOLT{n} 0.5",
        ":VOLT{n}:OFFS 0",
        ":FUNC{n}:MODE ARB",
        ":INIT:CONT{n} OFF",
        ":INIT:GATE{n} OFF",
    )
    assert peer.take() == lines(
        ":ABOR1",
        ":ABOR2",
        ":INST:COUP:STAT ON",
        ":TRAC1:DWID WSP",
        ":TRAC2:DWID WSP",
        ":FREQ:RAST 400000000",
        *(c.format(n=1) for c in channel),
        *(c.format(n=2) for c in channel),
        ":ARM:TRIG:SOUR1 INT",
        ":ARM:TRIG:SOUR2 INT",
        ":MARK1:SYNC:VOLT:HIGH 0.5",
        ":MARK1:SYNC:VOLT:LOW 0",
        ":FREQ:RAST?",
        ":VOLT1?",
        ":VOLT2?",
    )
    samples = np.zeros((2, 320), dtype=np.float32)
    samples[0, 0], samples[1, 1], samples[1, 2] = 0.25, -0.25, 0.25 / 2047
    awg.upload(Waveform(samples, 4e8))
    first, second = np.zeros(320, "<i2"), np.zeros(320, "<i2")
    first[:64] = 2  # sync marker, bit 1
    first[0] += 2047 << 4
    second[1], second[2] = -(2047 << 4), 1 << 4
    assert peer.take() == (
        lines(
            ":ABOR1",
            ":FUNC1:MODE ARB",
            ":TRAC1:DEL:ALL",
            ":TRAC1:DEF 1,320",
            ":ABOR2",
            ":FUNC2:MODE ARB",
            ":TRAC2:DEL:ALL",
            ":TRAC2:DEF 1,320",
        )
        + b":TRAC1:DATA 1,0,#3640"
        + first.tobytes()
        + b"\n"
        + b":TRAC2:DATA 1,0,#3640"
        + second.tobytes()
        + b"\n"
        + lines(":TRAC1:SEL 1", ":TRAC2:SEL 1")
    )
    awg.start()
    assert peer.take() == lines(
        ":OUTP1 ON", ":OUTP2 ON", ":INIT:IMM1", ":TRIG:BEG1:IMM"
    )
    awg.set_marker_level(2, 1.5)
    assert peer.take() == lines(":MARK2:SAMP:VOLT:LOW 1.5", ":MARK2:SAMP:VOLT:LOW?")
    awg.stop()
    assert peer.take() == lines(":ABOR1", ":ABOR2")
    awg.safe_state(1.0)
    assert peer.take() == lines(*SAFE_AWG)


def test_m8190a_holds_a_constant(m8190a):
    """Continuous mode repeats the segment; the next upload ends that."""
    peer, awg = m8190a
    awg.open()
    awg.configure(AwgConfig(4e8, {1: 0.5, 2: 0.5}))
    peer.take()
    awg.hold({2: -0.25})
    sent = peer.take()
    assert sent.startswith(lines(":ABOR1", ":FUNC1:MODE ARB", ":TRAC1:DEL:ALL"))
    level = np.full(320, -(2047 << 4), "<i2").tobytes()
    assert b":TRAC2:DATA 1,0,#3640" + level + b"\n" in sent
    assert sent.endswith(
        lines(
            ":TRAC1:SEL 1",
            ":TRAC2:SEL 1",
            ":INIT:CONT1 ON",
            ":INIT:CONT2 ON",
            ":OUTP1 ON",
            ":OUTP2 ON",
            ":INIT:IMM1",
        )
    )
    awg.upload(Waveform(np.zeros((2, 320), dtype=np.float32), 4e8))
    again = peer.take()
    assert again.count(b":INIT:CONT1 OFF\n") == again.count(b":INIT:CONT2 OFF\n") == 1
    assert b" ON\n" not in again


def test_m8190a_sequence(m8190a):
    """Data entries of the sequence table, as in the public qudi module."""
    peer, awg = m8190a
    awg.open()
    awg.configure(AwgConfig(4e8, {1: 0.5, 2: 0.5}))
    peer.take()
    awg.upload_segments(
        [Waveform(np.zeros((2, n), dtype=np.float32), 4e8) for n in (320, 384, 320)]
    )

    def block(channel, segment, n):
        marker = np.zeros(n, "<i2")
        marker[:64] = 2 if (channel, segment) == (1, 1) else 0
        head = f":TRAC{channel}:DATA {segment},0,#3{2 * n}".encode()
        return head + marker.tobytes() + b"\n"

    load = (
        ":ABOR{n}",
        ":FUNC{n}:MODE STS",
        ":TRAC{n}:DEL:ALL",
        ":TRAC{n}:DEF 1,320",
        ":TRAC{n}:DEF 2,384",
        ":TRAC{n}:DEF 3,320",
    )
    start, middle, end = 0x11000000, 0x01000000, 0x41000000
    table = (
        ":STAB{n}:RES",
        f":STAB{{n}}:DATA 0,{start},1,1,1,0,4294967295",
        f":STAB{{n}}:DATA 1,{middle},1,1,2,0,4294967295",
        f":STAB{{n}}:DATA 2,{end},1,1,3,0,4294967295",
        ":STAB{n}:SEQ:SEL 0",
    )
    assert peer.take() == (
        lines(*(c.format(n=n) for n in (1, 2) for c in load))
        + b"".join(
            block(c, s, n) for s, n in ((1, 320), (2, 384), (3, 320)) for c in (1, 2)
        )
        + lines(":TRAC1:SEL 1", ":TRAC2:SEL 1")
        + lines(*(c.format(n=n) for n in (1, 2) for c in table))
    )


SAFE_TEKTRONIX = (
    "AWGC:STOP",
    *(
        command.format(n=n)
        for n in (1, 2)
        for command in (
            "OUTP{n}:STAT 0",
            "OUTP{n}:SVAL:MARK1 LOW",
            "OUTP{n}:WVAL:MARK1 HIGH",
            "OUTP{n}:WVAL:ANAL:STAT ZERO",
            "SOUR{n}:MARK1:VOLT:AMPL 0.5",
            "SOUR{n}:MARK1:VOLT:OFFS -0.25",
        )
    ),
)
RUN_TEKTRONIX = ("SOUR1:TINP BTR", "SOUR2:TINP BTR", "AWGC:RUN", "AWGC:RSTAT?")


def test_awg70000(awg70000):
    """The order of a public driver: delete, data, open, assign, run, poll."""
    peer, awg = awg70000
    awg.open()
    assert peer.take() == lines("*IDN?", "*CLS", *SAFE_TEKTRONIX)
    awg.configure(AwgConfig(4e8, {1: 0.5, 2: 0.5}))
    assert peer.take() == lines(
        "AWGC:STOP",
        "INST:MODE AWG",
        "CLOC:SRAT 400000000",
        "OUTP1:PATH DIR",
        "SOUR1:DAC:RES 8",
        "SOUR1:VOLT 0.5",
        "OUTP2:PATH DIR",
        "SOUR2:DAC:RES 8",
        "SOUR2:VOLT 0.5",
        "CLOC:SRAT?",
        "SOUR1:VOLT?",
        "SOUR2:VOLT?",
    )
    samples = np.zeros((2, 2400), dtype=np.float32)
    samples[0, 0], samples[1, 1] = 0.25, -0.125
    awg.upload(Waveform(samples, 4e8))
    header = wfmx_header(2400)
    length = len(header) + 5 * 2400

    def sent(n, markers):
        return (
            lines(f'MMEM:DEL "scqc_{n}.wfmx"', ":SYST:ERR?")
            + f'MMEM:DATA "scqc_{n}.wfmx",#5{length}'.encode()
            + header
            + (samples[n - 1] * 4).astype("<f4").tobytes()
            + markers
            + b"\n"
            + lines(f'MMEM:OPEN "C:\\Users\\OEM\\Documents\\scqc_{n}.wfmx"')
        )

    assert peer.take() == (
        lines("AWGC:STOP", "WLIS:WAV:DEL ALL", 'MMEM:CDIR "\\Users\\OEM\\Documents"')
        + sent(1, b"\x03" * 64 + b"\x01" * 2336)
        + sent(2, b"\x01" * 2400)
        + lines(
            'SOUR1:CASS:WAV "scqc_1"',
            "SOUR1:RMOD TRIG",
            'SOUR2:CASS:WAV "scqc_2"',
            "SOUR2:RMOD TRIG",
            "OUTP1:STAT 1",
            "OUTP2:STAT 1",
            *RUN_TEKTRONIX,
        )
    )
    awg.start()
    assert peer.take() == lines("TRIG:IMM BTR")
    awg.set_marker_level(2, 1.4)
    assert peer.take() == lines("SOUR2:MARK1:VOLT:OFFS 1.15", "SOUR2:MARK1:VOLT:OFFS?")
    awg.stop()
    assert peer.take() == lines("AWGC:STOP", *RUN_TEKTRONIX)
    awg.safe_state(1.0)
    assert peer.take() == lines(*SAFE_TEKTRONIX)


def test_awg70000_of_one_channel_is_refused():
    peer = Recorder(b"TEKTRONIX,AWG70001A,B000001,FV:5.3")
    driver = TektronixAwg70000(peer.link())
    with pytest.raises(ConnectError, match="AWG70002A"):
        driver.open()
    driver.close()
    peer.close()


def test_infiniium(infiniium):
    peer, scope = infiniium
    scope.open()
    assert peer.take() == lines(
        "*IDN?",
        "*CLS",
        ":STOP",
        ":SYST:HEAD OFF",
        ":WAV:FORM WORD",
        ":WAV:BYT LSBF",
        ":WAV:STR ON",
    )
    scope.configure(DigitizerConfig(4e8, 16, {1: 0.8}, "external"))
    assert peer.take() == lines(
        ":STOP",
        ":ACQ:MODE RTIM",
        ":ACQ:SRAT 400000000",
        ":ACQ:POIN 16",
        ":CHAN1:DISP ON",
        ":CHAN1:INP DC50",
        ":CHAN1:RANG 0.8",
        ":CHAN1:OFFS 0",
        ":CHAN2:DISP OFF",
        ":CHAN3:DISP OFF",
        ":CHAN4:DISP OFF",
        ":TRIG:MODE EDGE",
        ":TRIG:EDGE:SOUR AUX",
        ":TRIG:LEV AUX,0.2",
        ":TRIG:SWE TRIG",
        ":CHAN1:RANG?",
        ":ACQ:SRAT?",
        ":ACQ:POIN?",
    )
    scope.arm()
    assert peer.take() == lines("*CLS", ":SING", ":AER?")
    scope.wait(60.0)
    assert peer.take() == lines(":PDER?")
    trace = scope.fetch(60.0)
    assert peer.take() == lines(":WAV:SOUR CHAN1", ":WAV:PRE?", ":WAV:DATA?")
    # Payload bytes that look like line ends are payload: 0x010A each.
    assert trace.codes.tolist() == [[0x010A] * 16]
    assert trace.scale_v == (1.25e-5,)
    # 2024-01-21 10:20:30.25 UTC
    assert trace.t0_s == 1705832430.25
    scope.safe_state(1.0)
    assert peer.take() == lines(":STOP")
