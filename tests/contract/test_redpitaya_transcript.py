"""What the Red Pitaya driver writes, against the commands of the SCPI server."""

import numpy as np
import pytest
from transcript_kit import on_paper, without_checks

from driver.hal import AwgConfig, DigitizerConfig
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    RangeError,
    WireProtocolError,
)
from scqc.core.records import Waveform

RATE_HZ = 125e6
ANSWERS = {
    "*IDN?": "REDPITAYA,INSTR2023,0,01-02",
    "SYST:BRD:Name?": "STEMlab 125-14 v1.1",
    "*OPC?": "1",
    ":SYST:ERR?": '0,"No error"',
    "SOUR1:FREQ:FIX?": "7629.39453125",
    "SOUR2:FREQ:FIX?": "7629.39453125",
    "SOUR1:VOLT?": "0.5",
    "SOUR2:VOLT?": "0.25",
    "ACQ:DEC?": "8",
    "ACQ:TRig:DLY?": "-8176",
    "ACQ:SOUR1:GAIN?": "LV",
    "ACQ:SOUR2:GAIN?": "HV",
    "ACQ:TRig:STAT?": ["WAIT", "TD"],
    "ACQ:TRig:FILL?": ["0", "1"],
    "ACQ:TPOS?": "123",
    # Codes 266, 8191 and -8192, most significant byte first.
    "ACQ:SOUR1:DATA:STArt:N? 123,16": b"#232" + b"\x01\x0a\x1f\xff\xe0\x00" + bytes(26),
    "ACQ:SOUR2:DATA:STArt:N? 123,16": b"#232" + b"\r\n" * 16,
}
CHECKS = ("*OPC?", ":SYST:ERR?")
SAFE = ["OUTPUT1:STATE OFF", "OUTPUT2:STATE OFF", "GEN:RST", "ACQ:STOP"]


@pytest.fixture
def board():
    with on_paper("redpitaya.stemlab", "scpi-crlf", ANSWERS, "\r\n") as found:
        yield found


def test_generator(board):
    peer, awg = board
    awg.open()
    sent = without_checks(peer.take(), *CHECKS)
    assert sent == ["*IDN?", "SYST:BRD:Name?", "*CLS", *SAFE]
    awg.configure(AwgConfig(RATE_HZ, {1: 1.0, 2: 0.5}))
    channel = (
        "SOUR{n}:FUNC ARBITRARY",
        "SOUR{n}:FREQ:FIX 7629.39453125",
        "SOUR{n}:VOLT {a}",
        "SOUR{n}:VOLT:OFFS 0",
        "SOUR{n}:BURS:STAT BURST",
        "SOUR{n}:BURS:NCYC 1",
        "SOUR{n}:BURS:NOR 1",
        "SOUR{n}:TRig:SOUR INT",
    )
    assert without_checks(peer.take(), *CHECKS) == [
        *SAFE[:2],
        *(c.format(n=1, a=0.5) for c in channel),
        *(c.format(n=2, a=0.25) for c in channel),
        "SOUR1:FREQ:FIX?",
        "SOUR1:VOLT?",
        "SOUR2:FREQ:FIX?",
        "SOUR2:VOLT?",
    ]
    samples = np.array([[0.5, -0.25, 0.0], [0.0, 0.25, -0.125]], dtype=np.float32)
    awg.upload(Waveform(samples, RATE_HZ))
    sent = without_checks(peer.take(), *CHECKS)
    assert sent[:2] == SAFE[:2]
    for n, line in ((1, sent[2]), (2, sent[3])):
        head, _, values = line.partition(" ")
        assert head == f"SOUR{n}:TRAC:DATA:DATA"
        # The whole buffer, in units of the amplitude.
        numbers = np.array(values.split(","), dtype=float)
        assert numbers.size == 16384
        np.testing.assert_array_equal(numbers[:3], samples[n - 1] * (2.0, 4.0)[n - 1])
        assert not numbers[3:].any()
    awg.start()
    assert without_checks(peer.take(), *CHECKS) == ["OUTPUT:STATE ON", "SOUR:TRig:INT"]
    awg.stop()
    stop = [*SAFE[:2], "SOUR1:TRig:SOUR INT", "SOUR2:TRig:SOUR INT"]
    assert without_checks(peer.take(), *CHECKS) == stop
    awg.safe_state(1.0)
    assert without_checks(peer.take(), *CHECKS) == SAFE


def test_generator_waits_for_a_pulse(board):
    peer, awg = board
    awg.open()
    awg.configure(AwgConfig(RATE_HZ, {1: 1.0, 2: 0.5}, "external"))
    awg.upload(Waveform(np.zeros((2, 1), dtype=np.float32), RATE_HZ))
    peer.take()
    awg.start()
    assert without_checks(peer.take(), *CHECKS) == [
        "SOUR1:TRig:SOUR EXT_PE",
        "SOUR2:TRig:SOUR EXT_PE",
        "OUTPUT:STATE ON",
    ]


def test_digitiser(board):
    peer, scope = board
    scope.open()
    peer.take()
    config = DigitizerConfig(RATE_HZ / 8, 16, {1: 1.5, 2: 3.0}, "external")
    taken = scope.configure(config)
    assert taken.range_v == {1: 2.0, 2: 40.0}
    assert without_checks(peer.take(), *CHECKS) == [
        "ACQ:STOP",
        "ACQ:RST",
        "ACQ:DEC 8",
        "ACQ:AVG ON",
        "ACQ:DATA:Units RAW",
        "ACQ:DATA:FORMAT BIN",
        "ACQ:SOUR1:GAIN LV",
        "ACQ:SOUR2:GAIN HV",
        "ACQ:TRig:DLY -8176",
        "ACQ:DEC?",
        "ACQ:TRig:DLY?",
        "ACQ:SOUR1:GAIN?",
        "ACQ:SOUR2:GAIN?",
    ]
    scope.arm()
    assert without_checks(peer.take(), *CHECKS) == ["ACQ:START", "ACQ:TRig EXT_PE"]
    scope.wait(60.0)
    assert peer.take() == ["ACQ:TRig:STAT?"] * 2 + ["ACQ:TRig:FILL?"] * 2
    trace = scope.fetch(60.0)
    assert peer.take() == [
        "ACQ:TPOS?",
        "ACQ:SOUR1:DATA:STArt:N? 123,16",
        "ACQ:SOUR2:DATA:STArt:N? 123,16",
    ]
    assert trace.codes[0].tolist() == [266, 8191, -8192] + [0] * 13
    # Line ends inside a block are payload.
    assert trace.codes[1].tolist() == [0x0D0A] * 16
    assert trace.scale_v == (2.0 / 16384, 40.0 / 16384)
    assert trace.clipped == (2, 0)
    scope.abort()
    assert without_checks(peer.take(), *CHECKS) == ["ACQ:STOP"]


def test_its_own_generator_triggers_it(board):
    peer, both = board
    both.open()
    both.configure(AwgConfig(RATE_HZ, {1: 1.0, 2: 0.5}))
    both.upload(Waveform(np.zeros((2, 1), dtype=np.float32), RATE_HZ))
    both.configure(DigitizerConfig(RATE_HZ / 8, 16, {1: 1.5, 2: 3.0}, "external"))
    peer.take()
    both.arm()
    assert without_checks(peer.take(), *CHECKS) == ["ACQ:START", "ACQ:TRig AWG_PE"]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"SYST:BRD:Name?": "STEMlab 122-16 v1.0"}, ConnectError),
        ({"ACQ:DEC?": "64"}, DeviceError),
        ({"ACQ:DEC?": "NAN"}, WireProtocolError),
        ({"ACQ:TRig:DLY?": "0"}, DeviceError),
        ({"ACQ:SOUR1:GAIN?": "HV"}, DeviceError),
        ({"ACQ:TRig:STAT?": "ERR!"}, WireProtocolError),
        ({"ACQ:TPOS?": "16384"}, WireProtocolError),
        ({"ACQ:TPOS?": "1.5"}, WireProtocolError),
        (
            {"ACQ:SOUR1:DATA:STArt:N? 123,16": b"#232" + b"\x20\x00" * 16},
            WireProtocolError,
        ),
        ({"ACQ:SOUR1:DATA:STArt:N? 123,16": "ERR!"}, WireProtocolError),
        ({"ACQ:SOUR1:DATA:STArt:N? 123,16": b"#230" + bytes(30)}, WireProtocolError),
    ],
)
def test_answers_that_cannot_be(answers, error):
    wrong = {**ANSWERS, **answers}
    paper = on_paper("redpitaya.stemlab", "scpi-crlf", wrong, "\r\n")
    with paper as (_, board), pytest.raises(error):  # noqa: PT012
        board.open()
        board.configure(DigitizerConfig(RATE_HZ / 8, 16, {1: 1.5, 2: 3.0}))
        board.arm()
        board.wait(60.0)
        board.fetch(60.0)


def test_what_the_board_cannot_do_names_its_limit(board):
    _, awg = board
    awg.open()
    with pytest.raises(RangeError, match="power of two"):
        awg.configure(AwgConfig(100e6, {1: 1.0, 2: 0.5}))
    awg.configure(AwgConfig(RATE_HZ, {1: 1.0, 2: 0.5}))
    half = Waveform(np.zeros((2, 8193), dtype=np.float32), RATE_HZ)
    with pytest.raises(RangeError, match=r"125-14 holds 1\.\.16384"):
        awg.upload_segments([half, half])
    with pytest.raises(RangeError, match="no markers"):
        awg.set_marker_level(1, 1.4)
    with pytest.raises(RangeError, match="16384"):
        awg.configure(DigitizerConfig(RATE_HZ, 16385, {1: 1.0}))
