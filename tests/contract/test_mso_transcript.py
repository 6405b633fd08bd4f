"""What the Tektronix oscilloscope driver writes, against the programmer manual."""

import numpy as np
import pytest
from bench_kit import PlainLight, served
from transcript_kit import on_paper, without_checks

from driver.hal import DigitizerConfig
from driver.links import make_link
from driver.registry import make_driver
from scqc.core.errors import ConnectError, DeviceError, WireProtocolError

RATE_HZ = 625e6
NO_EVENTS = '0,"No events to report - queue empty"'
CHECKS = ("*OPC?", "*ESR?", "ALLEv?")
ANSWERS = {
    "*IDN?": "TEKTRONIX,MSO64,C000001,CF:91.1CT FV:1.28",
    "*OPC?": "1",
    "*ESR?": "0",
    "ALLEv?": NO_EVENTS,
    "HOR:MODE:SAMPLER?": "625.0000E+6",
    "HOR:MODE:RECO?": "16",
    "CH2:SCA?": "80.0000E-3",
    "TRIG:STATE?": ["SAVE", "ARMED", "READY"],
    "ACQ:NUMAC?": ["0", "1"],
    "ACQ:STATE?": ["1", "0"],
    "WFMO:NR_P?": "16",
    "WFMO:BYT_N?": "2",
    "WFMO:BYT_O?": "LSB",
    "WFMO:YUN?": '"V"',
    "WFMO:YMU?": "12.5000E-6",
    "WFMO:YOF?": "-6.4000E+3",
    "WFMO:YZE?": "0.0E+0",
    "CURV?": b"#232" + b"\n\x01" * 16,
}


def test_mso():
    with on_paper("tektronix.mso", "scpi-events", ANSWERS) as (peer, scope):
        scope.open()
        assert without_checks(peer.take(), *CHECKS) == [
            "*IDN?",
            "*CLS",
            "ACQ:STATE OFF",
            "HEAD OFF",
            "DAT:ENC SRI",
            "DAT:WID 2",
        ]
        scope.configure(DigitizerConfig(RATE_HZ, 16, {2: 0.8}, "external", 0.3))
        assert without_checks(peer.take(), *CHECKS) == [
            "ACQ:STATE OFF",
            "ACQ:MOD SAM",
            "HOR:MODE MAN",
            "HOR:MODE:SAMPLER 625000000",
            "HOR:MODE:RECO 16",
            "HOR:DEL:MOD OFF",
            "HOR:POS 0",
            "DIS:GLO:CH1:STATE OFF",
            "DIS:GLO:CH2:STATE ON",
            "CH2:TER 50",
            "CH2:COUP DC",
            "CH2:SCA 0.08",
            "CH2:POS 0",
            "CH2:OFFS 0",
            "DIS:GLO:CH3:STATE OFF",
            "DIS:GLO:CH4:STATE OFF",
            "TRIG:A:TYP EDGE",
            "TRIG:A:EDGE:SOU AUX",
            "TRIG:A:EDGE:SLO RIS",
            "TRIG:AUXL 0.3",
            "TRIG:A:MOD NORM",
            "DAT:STAR 1",
            "DAT:STOP 16",
            "HOR:MODE:SAMPLER?",
            "HOR:MODE:RECO?",
            "CH2:SCA?",
        ]
        scope.arm()
        # Nothing that waits for the record may follow its start.
        sent = peer.take()
        assert sent[: sent.index("ACQ:STATE ON")] == ["*CLS", "ACQ:STOPA SEQ", *CHECKS]
        assert sent[sent.index("ACQ:STATE ON") + 1 :] == [
            "TRIG:STATE?",
            "ACQ:NUMAC?",
            "TRIG:STATE?",
            "TRIG:STATE?",
        ]
        scope.wait(60.0)
        assert peer.take() == ["ACQ:STATE?", "ACQ:STATE?", "ACQ:NUMAC?"]
        trace = scope.fetch(60.0)
        assert peer.take() == [
            "DAT:SOU CH2",
            "WFMO:NR_P?",
            "WFMO:BYT_N?",
            "WFMO:BYT_O?",
            "WFMO:YUN?",
            "WFMO:YMU?",
            "WFMO:YOF?",
            "WFMO:YZE?",
            "CURV?",
        ]
        # Volts are (code - YOFF) YMULT + YZERO.
        assert trace.codes.tolist() == [[0x010A] * 16]
        assert trace.scale_v == (12.5e-6,)
        assert trace.offset_v == (pytest.approx(0.08),)
        scope.safe_state(1.0)
        assert without_checks(peer.take(), *CHECKS) == ["ACQ:STATE OFF"]


@pytest.mark.parametrize(
    ("answers", "error", "told"),
    [
        ({"*IDN?": "TEKTRONIX,TDS3054,0,1"}, ConnectError, "TDS3054"),
        ({"HOR:MODE:SAMPLER?": "500.0E+6"}, DeviceError, "reads 500000000"),
        ({"HOR:MODE:RECO?": "1000"}, DeviceError, "reads 1000"),
        ({"CH2:SCA?": "1.0E-1"}, DeviceError, "reads 1"),
        ({"CH2:SCA?": "9.91E+37"}, WireProtocolError, "finite"),
        ({"TRIG:STATE?": "DANCING"}, WireProtocolError, "DANCING"),
        ({"ACQ:NUMAC?": "0"}, WireProtocolError, "without a record"),
        ({"WFMO:NR_P?": "15"}, WireProtocolError, "15, expected 16"),
        ({"WFMO:BYT_N?": "1"}, WireProtocolError, "expected 2"),
        ({"WFMO:BYT_O?": "MSB"}, WireProtocolError, "expected LSB"),
        ({"WFMO:YUN?": '"A"'}, WireProtocolError, "expected V"),
        ({"WFMO:YMU?": "0.0"}, WireProtocolError, "per code"),
        ({"CURV?": b"#230" + bytes(30)}, WireProtocolError, "expected 32"),
        ({"ALLEv?": '113,"Undefined header; HEDR"'}, DeviceError, "113, Undefined"),
        ({"ALLEv?": '401,"Power on",222,"a ""b"", c"'}, DeviceError, '222, a ""b"", c'),
        ({"ALLEv?": "rubbish"}, WireProtocolError, "no event"),
        ({"ALLEv?": ""}, WireProtocolError, "empty"),
    ],
)
def test_answers_that_cannot_be(answers, error, told):
    paper = on_paper("tektronix.mso", "scpi-events", ANSWERS | answers)
    with paper as (_, scope), pytest.raises(error, match=told):  # noqa: PT012
        scope.open()
        scope.configure(DigitizerConfig(RATE_HZ, 16, {2: 0.8}, "external", 0.3))
        scope.arm()
        scope.wait(60.0)
        scope.fetch(60.0)


@pytest.fixture
def scope():
    """The driver on the emulator, a known voltage plugged into channel 2."""
    light = PlainLight(offset=0)
    light.waveform = np.linspace(-0.3, 0.3, 1000, dtype=np.float32)[None, :]
    with served(
        names=(),
        light=light,
        wiring={"rx.rf": "dut:2"},
        drivers={"dut": "tektronix.mso"},
    ) as lab:
        link = make_link("scpi-events", "dut", lab.endpoints["dut"])
        driver = make_driver("tektronix.mso", link)
        driver.open()
        yield driver, lab, light
        driver.close()


def test_volts_are_those_of_the_input(scope):
    driver, _, light = scope
    driver.configure(DigitizerConfig(RATE_HZ, 1000, {1: 0.8, 2: 0.8}))
    driver.arm()
    driver.wait(60.0)
    trace = driver.fetch(60.0)
    volts = trace.codes[1] * trace.scale_v[1] + trace.offset_v[1]
    # Ten bits over 10.24 divisions of 0.08 V.
    np.testing.assert_allclose(volts, light.waveform[0], atol=0.51 * 0.8192 / 1024)
    assert not trace.codes[0].any()
    assert trace.clipped == (0, 0)


def test_clipping_is_counted(scope):
    driver, _, light = scope
    driver.configure(DigitizerConfig(RATE_HZ, 1000, {2: 0.4}))
    driver.arm()
    driver.wait(60.0)
    # One step of an 8-bit converter over 10.24 divisions of 0.04 V below the rail.
    beyond = np.count_nonzero(np.abs(light.waveform[0]) > 0.2048 - 0.4096 / 256)
    # Rounding to 10 bits moves half a step, less than one sample on either side.
    assert abs(driver.fetch(60.0).clipped[0] - int(beyond)) <= 2


def test_a_pulse_on_the_auxiliary_input_starts_the_record(scope):
    driver, lab, _ = scope
    driver.configure(DigitizerConfig(RATE_HZ, 1000, {2: 0.8}, "external"))
    driver.arm()
    lab.cables.trigger()
    driver.wait(60.0)
    assert driver.fetch(60.0).codes.any()


def test_rates_it_does_not_have_are_told(scope):
    driver, _, _ = scope
    with pytest.raises(DeviceError, match="HOR:MODE:SAMPLER"):
        driver.configure(DigitizerConfig(400e6, 1000, {2: 0.8}))


def test_errors_come_by_their_event_codes(scope):
    driver, _, _ = scope
    link = driver._link
    link.write("HEDR OFF\nCH2:SCA 5")
    assert [code for code, _ in link.errors()] == [113, 222]
    assert link.errors() == []
    link.write("HEDR OFF")
    assert link.query("ALLEv?").startswith("1,")
    assert link.query("*ESR?") == "32"
    assert link.query("EVENT?") == "113"
    assert link.query("ALLEv?").startswith("0,")
