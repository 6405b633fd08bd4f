"""The Keysight M8195A: bytes on the wire, and codes behind it."""

import numpy as np
import pytest
from bench_kit import PlainLight
from role_kit import opened
from transcript_kit import on_paper, without_checks

from driver.awg.keysight_m8195a import MAXIMUM_SAMPLES, RATES_HZ, dac_codes
from driver.hal import AwgConfig
from scqc.core.errors import ConnectError, RangeError
from scqc.core.records import Waveform
from scqc.core.rng import stream

RATE_HZ, DIVIDER = 16e9, 4
LEVELS_V = {1: 0.5, 2: 0.25}
CHECKS = ("*OPC?", ":SYST:ERR?")
ANSWERS = {
    "*IDN?": "Keysight Technologies,M8195A,DE55300001,3.6.0.0-2",
    "*OPC?": "1",
    ":SYST:ERR?": '0,"No error"',
    ":FREQ:RAST?": "6.4E+10",
    ":VOLT1:AMPL?": "0.5",
    ":VOLT2:AMPL?": "0.25",
}


def waveform(n_samples=1280, name="m8195a"):
    """Return uniform voltages over the full range of both channels."""
    volts = stream(1, name).uniform(-1, 1, (2, n_samples))
    volts *= 0.5 * np.array([[LEVELS_V[1]], [LEVELS_V[2]]])
    return Waveform(volts.astype(np.float32), RATE_HZ)


def test_transcript():
    with on_paper("keysight.m8195a", "scpi", ANSWERS) as (peer, awg):
        awg.open()
        assert without_checks(peer.take(), *CHECKS) == [
            "*IDN?",
            "*CLS",
            ":ABOR",
            *(f":OUTP{n} OFF" for n in (1, 2, 3, 4)),
        ]
        taken = awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        assert taken == AwgConfig(RATE_HZ, LEVELS_V)
        assert without_checks(peer.take(), *CHECKS) == [
            ":ABOR",
            ":INST:DACM DCM",
            ":INST:MEM:EXT:RDIV DIV4",
            ":TRAC1:MMOD EXT",
            ":TRAC2:MMOD EXT",
            ":FREQ:RAST 64000000000",
            ":FUNC:MODE ARB",
            ":VOLT1:AMPL 0.5",
            ":VOLT1:OFFS 0",
            ":VOLT2:AMPL 0.25",
            ":VOLT2:OFFS 0",
            ":VOLT3:AMPL 0.5",
            ":VOLT3:OFFS 0.25",
            ":VOLT4:AMPL 0.5",
            ":VOLT4:OFFS 0.25",
            ":INIT:CONT:STAT OFF",
            ":INIT:GATE OFF",
            ":TRIG:SOUR:ENAB EVEN",
            ":FREQ:RAST?",
            ":VOLT1:AMPL?",
            ":VOLT2:AMPL?",
        ]
        samples = np.zeros((2, 1280), dtype=np.float32)
        samples[0] = 0.25
        samples[1] = -0.125
        awg.upload(Waveform(samples, RATE_HZ))
        sent = without_checks(peer.take(), *CHECKS)
        # Channel 1 with a marker byte per sample, raised for the first 128.
        first = b"\x7f\x01" * 128 + b"\x7f\x00" * 1152
        second = b"\x81" * 1280
        assert sent == [
            ":ABOR",
            ":TRAC1:DEL:ALL",
            ":TRAC1:DEF 1,1280",
            ":TRAC2:DEL:ALL",
            ":TRAC2:DEF 1,1280",
            ":TRAC1:DATA 1,0,#42560" + first.decode("latin-1"),
            ":TRAC2:DATA 1,0,#41280" + second.decode("latin-1"),
            ":TRAC1:SEL 1",
            ":TRAC2:SEL 1",
        ]
        awg.start()
        assert without_checks(peer.take(), *CHECKS) == [
            *(f":OUTP{n} ON" for n in (1, 2, 3, 4)),
            ":INIT:IMM",
            ":TRIG:BEG",
        ]
        awg.stop()
        assert without_checks(peer.take(), *CHECKS) == [":ABOR"]


def test_another_model_is_refused():
    answers = ANSWERS | {"*IDN?": "Keysight Technologies,M8196A,1,1"}
    with (
        on_paper("keysight.m8195a", "scpi", answers) as (_, awg),
        pytest.raises(ConnectError, match="M8196A"),
    ):
        awg.open()


@pytest.mark.parametrize("parts", [1, 3])
def test_what_is_uploaded_is_played_to_the_code(parts):
    light = PlainLight()
    with opened("keysight.m8195a", light=light) as (awg, lab):
        awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        sent = [waveform(name=f"m8195a/{n}") for n in range(parts)]
        awg.upload_segments(sent)
        awg.start()
        played = lab.cables.played[-1]
    whole = np.concatenate([w.samples for w in sent], axis=1)
    for row, n in enumerate((1, 2)):
        # Quantised by hand: 127 codes for half the amplitude.
        codes = np.rint(whole[row] * np.float32(127 / (0.5 * LEVELS_V[n])))
        np.testing.assert_array_equal(played[row], codes)
    volts, rate_hz = light.played_v[-1]
    assert rate_hz == RATE_HZ
    half_code_v = 0.5 * 0.5 * LEVELS_V[1] / 127
    assert np.max(np.abs(volts[0] - whole[0])) <= half_code_v * (1 + 1e-5)


@pytest.mark.parametrize("rate_hz", [13.4e9, 16.3e9, 26.8e9, 32.6e9, 64e9])
def test_rates_between_the_dividers_are_refused(rate_hz):
    with (
        opened("keysight.m8195a") as (awg, _),
        pytest.raises(RangeError, match=r"M8195A: limits are .* or "),
    ):
        awg.configure(AwgConfig(rate_hz, LEVELS_V))


@pytest.mark.parametrize("low_high", RATES_HZ)
def test_the_ends_of_both_ranges_are_taken(low_high):
    with opened("keysight.m8195a") as (awg, _):
        for rate_hz in low_high:
            assert awg.configure(AwgConfig(rate_hz, LEVELS_V)).rate_hz == (
                pytest.approx(rate_hz, rel=1e-9)
            )


def test_full_scale_is_symmetric():
    assert dac_codes(np.array([0.25, -0.25, 0.0], np.float32), 0.5).tolist() == [
        127,
        -127,
        0,
    ]
    assert MAXIMUM_SAMPLES % 128 == 0
