"""QCoDeS on the emulators, unmodified."""

import numpy as np
import pytest
from bench_kit import PlainLight, served
from qcodes.instrument_drivers.tektronix import TektronixAWG70002A

AMPLITUDE_VPP, BITS = 0.5, 10
TOP = 2 ** (BITS - 1) - 1


@pytest.fixture
def lab():
    with served(
        names=(),
        light=PlainLight(),
        wiring={"tx.i": "dut:1", "tx.q": "dut:2"},
        drivers={"dut": "tektronix.awg70000"},
        transports={"dut": "hislip"},
    ) as found:
        yield found


@pytest.fixture
def awg(lab, resource):
    found = TektronixAWG70002A("awg", resource(lab.endpoints["dut"]), visalib="@py")
    yield found
    found.close()


def test_connect(awg):
    assert awg.IDN()["vendor"] == "TEKTRONIX"
    assert awg.IDN()["model"] == "AWG70002A"
    assert awg.current_directory() == '"\\Users\\OEM\\Documents"'


def test_configure_and_read_back(awg):
    awg.mode("AWG")
    awg.sample_rate(1e10)
    assert awg.sample_rate() == 1e10
    assert awg.clock_source() == "Internal"
    for channel, vpp in ((awg.ch1, 0.3), (awg.ch2, AMPLITUDE_VPP)):
        channel.awg_amplitude(vpp)
        assert channel.awg_amplitude() == pytest.approx(vpp)
        channel.resolution(8)
        assert channel.resolution() == 8
        channel.state(1)
        assert channel.state() == 1
    assert awg.run_state() == "Stopped"


def test_waveform_round_trip_is_exact_to_one_code(awg, lab):
    """Every code of the converter goes out and comes back as itself."""
    rng = np.random.default_rng(70002)
    sent = {}
    awg.sample_rate(1e10)
    for n, channel in ((1, awg.ch1), (2, awg.ch2)):
        codes = np.concatenate(
            [np.arange(-TOP, TOP + 1), rng.integers(-TOP, TOP, 2000)]
        )
        rng.shuffle(codes)
        sent[n] = codes
        volts = codes * (0.5 * AMPLITUDE_VPP / TOP)
        name = f"interop{n}"
        file = awg.makeWFMXFile(volts, AMPLITUDE_VPP)
        awg.sendWFMXFile(file, f"{name}.wfmx")
        awg.loadWFMXFile(f"{name}.wfmx")
        channel.awg_amplitude(AMPLITUDE_VPP)
        channel.resolution(BITS)
        channel.setWaveform(name)
        channel.state(1)
    assert awg.waveformList == ["interop1", "interop2"]
    awg.play()
    assert awg.run_state() == "Running"
    awg.stop()
    assert awg.run_state() == "Stopped"
    (played,) = lab.cables.played
    for row, n in enumerate((1, 2)):
        np.testing.assert_array_equal(played[row], sent[n])


def test_a_coarser_converter_is_seen(awg, lab):
    """The test above must notice one code: with 8 bits most codes differ."""
    codes = np.arange(-TOP, TOP + 1).repeat(4)
    for channel in (awg.ch1, awg.ch2):
        file = awg.makeWFMXFile(codes * (0.5 * AMPLITUDE_VPP / TOP), AMPLITUDE_VPP)
        awg.sendWFMXFile(file, "coarse.wfmx")
        awg.loadWFMXFile("coarse.wfmx")
        channel.resolution(8)
        channel.setWaveform("coarse")
        channel.state(1)
    awg.play()
    awg.stop()
    assert np.mean(lab.cables.played[0][0] != codes) > 0.9
    assert np.abs(lab.cables.played[0]).max() == 127
