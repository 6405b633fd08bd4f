"""What the SCPI drivers for light write, against the commands of their manuals."""

import pytest
from transcript_kit import on_paper, without_checks

from driver.hal_light import LaserConfig, LaserReading, PowerMeterConfig
from scqc.core.errors import ConnectError, DeviceError, WireProtocolError

CHECKS = ("*OPC?", ":SYST:ERR?")
FINE = {"*OPC?": "1", ":SYST:ERR?": '0,"No error"'}
LASER = FINE | {
    "*IDN?": "Keysight Technologies,N7776C,DE1,1.300",
    "SOUR0:WAV? MIN": "+1.480000000E-006",
    "SOUR0:WAV? MAX": "+1.620000000E-006",
    "SOUR0:POW? MIN": "-1.50000000E+001",
    "SOUR0:POW? MAX": "+1.30000000E+001",
    "SOUR0:POW:STAT?": ["0", "1"],
    "SOUR0:WAV?": "+1.550000000E-006",
    "SOUR0:POW?": "+6.00000000E+000",
}
METER = FINE | {
    "*IDN?": "Thorlabs,PM100D,P1,2.8.0",
    "SYST:SENS:IDN?": "S132C,00000001,01-Jan-2024,1,1,289",
    "SENS:CORR:WAV? MIN": "7.00000000E+02",
    "SENS:CORR:WAV? MAX": "1.80000000E+03",
    "SENS:CORR:WAV?": "1.55000000E+03",
    "SENS:AVER:COUN?": "10",
    "MEAS:POW?": "3.25000000E-06",
}
# 299792458 / 1550e-9
AT_1550_HZ = 193414489032258.06


def test_n7776c():
    with on_paper("keysight.n7776c", "scpi", LASER) as (peer, laser):
        laser.open()
        assert without_checks(peer.take(), *CHECKS) == [
            "*IDN?",
            "*CLS",
            "SOUR0:POW:STAT 0",
            "SOUR0:POW:STAT?",
            "SOUR0:POW:UNIT 0",
            "SOUR0:WAV? MIN",
            "SOUR0:WAV? MAX",
            "SOUR0:POW? MIN",
            "SOUR0:POW? MAX",
        ]
        taken = laser.configure(LaserConfig(AT_1550_HZ, 6.0))
        assert taken == LaserConfig(pytest.approx(AT_1550_HZ, rel=1e-12), 6.0)
        assert without_checks(peer.take(), *CHECKS) == [
            "SOUR0:POW:UNIT 0",
            "SOUR0:WAV 1550.0000nm",
            "SOUR0:POW 6.000dBm",
            "SOUR0:WAV?",
            "SOUR0:POW?",
        ]
        laser.set_enabled(True, 1.0)
        assert without_checks(peer.take(), *CHECKS) == [
            "SOUR0:POW:STAT 1",
            "SOUR0:POW:STAT?",
            "SOUR0:WAV?",
        ]
        reading = laser.reading()
        assert reading == LaserReading(True, pytest.approx(AT_1550_HZ), 6.0)
        assert peer.take() == ["SOUR0:POW:STAT?", "SOUR0:WAV?", "SOUR0:POW?"]


@pytest.mark.parametrize(
    ("answers", "error", "told"),
    [
        ({"*IDN?": "Keysight Technologies,N7745A,1,1"}, ConnectError, "N7745A"),
        ({"SOUR0:WAV? MIN": "+1.7E-006"}, WireProtocolError, "limits"),
        ({"SOUR0:WAV?": "+1.550020000E-006"}, DeviceError, "1.55002e-06"),
        ({"SOUR0:POW?": "+5.9E+000"}, DeviceError, "reads 5.9 dBm"),
        ({"SOUR0:POW?": "+9.91E+037"}, WireProtocolError, "finite"),
        ({"SOUR0:WAV?": "nan"}, WireProtocolError, "finite"),
        ({"SOUR0:POW:STAT?": "0"}, DeviceError, "set to 1, reads 0"),
        ({"SOUR0:POW:STAT?": "2"}, WireProtocolError, "neither"),
        (
            {"SOUR0:WAV?": ["+1.550000000E-006", "+1.550020000E-006"]},
            DeviceError,
            "1.55002e-06",
        ),
        ({":SYST:ERR?": ['-222,"Data out of range"', "0"]}, DeviceError, "-222"),
    ],
)
def test_n7776c_answers_that_cannot_be(answers, error, told):
    paper = on_paper("keysight.n7776c", "scpi", LASER | answers)
    with paper as (_, laser), pytest.raises(error, match=told):  # noqa: PT012
        laser.open()
        laser.configure(LaserConfig(AT_1550_HZ, 6.0))
        laser.set_enabled(True, 1.0)


def test_pm100():
    with on_paper("thorlabs.pm100", "scpi", METER) as (peer, meter):
        meter.open()
        assert without_checks(peer.take(), *CHECKS) == [
            "*IDN?",
            "*CLS",
            "SYST:SENS:IDN?",
            "SENS:POW:UNIT W",
            "SENS:POW:RANG:AUTO 1",
            "SENS:CORR:WAV? MIN",
            "SENS:CORR:WAV? MAX",
        ]
        assert meter.wavelength_range_m == pytest.approx((700e-9, 1800e-9))
        meter.configure_meter(PowerMeterConfig(1550e-9, 10))
        assert without_checks(peer.take(), *CHECKS) == [
            "SENS:CORR:WAV 1550.000",
            "SENS:AVER:COUN 10",
            "SENS:CORR:WAV?",
            "SENS:AVER:COUN?",
        ]
        assert meter.power_w() == 3.25e-6
        assert peer.take() == ["MEAS:POW?"]
        meter.safe_state(1.0)
        assert without_checks(peer.take(), *CHECKS) == ["ABOR"]


@pytest.mark.parametrize(
    ("answers", "error", "told"),
    [
        ({"*IDN?": "Thorlabs,TLPM,1,1"}, ConnectError, "TLPM"),
        ({"SYST:SENS:IDN?": "no sensor,,,,,0"}, ConnectError, "no sensor"),
        # An energy sensor.
        ({"SYST:SENS:IDN?": "ES111C,1,x,2,1,306"}, ConnectError, "flags 306"),
        ({"SYST:SENS:IDN?": "S132C,1"}, WireProtocolError, "no sensor"),
        ({"SENS:CORR:WAV? MAX": "600"}, WireProtocolError, "wavelengths"),
        ({"SENS:CORR:WAV?": "1.54900000E+03"}, DeviceError, "reads 1549"),
        ({"SENS:AVER:COUN?": "1"}, DeviceError, "reads 1"),
        ({"MEAS:POW?": "9.91000000E+37"}, WireProtocolError, "finite"),
        ({"MEAS:POW?": "NAN"}, WireProtocolError, "finite"),
        ({"MEAS:POW?": "3.25E-06,0"}, WireProtocolError, "no number"),
    ],
)
def test_pm100_answers_that_cannot_be(answers, error, told):
    paper = on_paper("thorlabs.pm100", "scpi", METER | answers)
    with paper as (_, meter), pytest.raises(error, match=told):  # noqa: PT012
        meter.open()
        meter.configure_meter(PowerMeterConfig(1550e-9, 10))
        meter.power_w()
