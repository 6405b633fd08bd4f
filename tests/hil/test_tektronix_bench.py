"""The Tektronix driver against its served emulator, over loopback."""

import numpy as np
import pytest
from bench_kit import RATE_HZ, UNWATCHED, ClickingLight, PlainLight, served

from driver.awg.tektronix_awg70000 import TektronixAwg70000
from driver.bench import Bench
from driver.capture import record
from driver.hal import AwgConfig, DigitizerConfig
from driver.scpi.link import ScpiLink
from driver.settings import InstrumentSettings, SafetySettings
from driver.transports.tcp import TcpTransport
from scqc.core.errors import DeviceError, RangeError
from scqc.core.records import Waveform
from scqc.core.rng import stream

pytestmark = pytest.mark.hil

DRIVER = "tektronix.awg70000"
WIRING = {
    "tx.i": "awg:1",
    "tx.q": "awg:2",
    "rx.rf": "scope:1",
    "switch.signal": "awg:marker1",
    "switch.lo": "awg:marker2",
}
ROLES = {"awg": ("awg", DRIVER), "scope": ("digitizer", "keysight.infiniium")}
LEVELS_V = {1: 0.5, 2: 0.25}
CONFIG = DigitizerConfig(rate_hz=RATE_HZ, n_samples=4096, range_v={1: 0.8})


def serve(light=None, **more):
    return served(light=light, drivers={"awg": DRIVER}, **more)


def bench_on(lab):
    settings = {
        name: InstrumentSettings(
            role=role, driver=driver, resource=lab.endpoints[name], io_timeout_s=20.0
        )
        for name, (role, driver) in ROLES.items()
    }
    return Bench(settings, WIRING, SafetySettings(), UNWATCHED)


def waveform(n_samples=3000, name="waveform"):
    """Return uniform voltages over the full range of both channels."""
    volts = stream(1, name).uniform(-1, 1, (2, n_samples))
    volts *= 0.5 * np.array([[LEVELS_V[1]], [LEVELS_V[2]]])
    return Waveform(volts.astype(np.float32), RATE_HZ)


def test_waveform_arrives_exact_to_one_code():
    light = PlainLight()
    with serve(light) as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        sent = waveform()
        bench.awg.upload(sent)
        record(bench, "signal", CONFIG, 5.0)
        (codes,) = lab.cables.played
        step_v = np.array([[0.25], [0.125]]) / 127
        np.testing.assert_array_equal(codes, np.rint(sent.samples / step_v))
        volts, rate_hz = light.played_v[0]
        assert rate_hz == RATE_HZ
        assert np.all(np.abs(volts - sent.samples) <= 0.5 * step_v * (1 + 1e-4))
    assert lab.devices["awg"].is_safe
    assert light.levels == {"signal": 0.0, "lo": 0.0}


def test_segments_are_joined():
    with serve() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        parts = [waveform(n, f"part {n}") for n in (2400, 2401, 3000)]
        bench.awg.upload_segments(parts)
        bench.awg.start()
        (codes,) = lab.cables.played
        joined = np.concatenate([p.samples for p in parts], axis=1)
        step_v = np.array([[0.25], [0.125]]) / 127
        np.testing.assert_array_equal(codes, np.rint(joined / step_v))


def test_shutters_follow_in_every_state():
    """A marker holds while waiting, playing and after a stop, not while loading."""
    light = PlainLight()
    with serve(light) as lab, bench_on(lab) as bench:
        shutter = bench.switch("switch.signal")
        shutter.set_open(True)
        assert light.levels == {"signal": pytest.approx(1.4), "lo": 0.0}
        for act in (
            lambda: bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V)),
            lambda: bench.awg.upload(waveform()),
            bench.awg.start,
            bench.awg.stop,
        ):
            act()
            assert light.levels == {"signal": pytest.approx(1.4), "lo": 0.0}
        assert not lab.cables.playing
        shutter.set_open(False)
        assert light.levels["signal"] == 0.0
        bench.switch("switch.lo").set_open(True)
        assert light.levels == {"signal": 0.0, "lo": pytest.approx(1.4)}


def test_markers_that_are_low_in_the_file_close_the_shutter(monkeypatch):
    """The emulator plays the markers of the file: a driver that forgets them fails."""
    monkeypatch.setattr("driver.awg.tektronix_awg70000.MARKER_1", 0)
    light = PlainLight()
    with serve(light) as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        bench.awg.upload(waveform())
        bench.switch("switch.signal").set_open(True)
        bench.awg.start()
        assert light.levels["signal"] < 1.0


def test_an_external_start_waits_for_the_pulse_and_no_earlier_one_counts():
    with serve() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V, "external"))
        bench.awg.upload(waveform())
        lab.cables.trigger()
        assert lab.cables.played == []
        bench.awg.start()
        assert lab.cables.played == []
        lab.cables.trigger()
        assert len(lab.cables.played) == 1


def test_one_generator_starts_the_other():
    """Alice's sync marker, from either family, starts Bob's armed generator."""
    wiring = {"tx.im": "awg:1", "tx.pm": "awg:2", "rx.pm": "other:1"}
    drivers = {"awg": DRIVER, "other": DRIVER}
    with served(
        light=ClickingLight(), names=("awg",), wiring=wiring, drivers=drivers
    ) as lab:
        alice, bob = (
            TektronixAwg70000(ScpiLink(TcpTransport(n, lab.endpoints[n])))
            for n in drivers
        )
        for awg, trigger in ((alice, "immediate"), (bob, "external")):
            awg.open()
            awg.configure(AwgConfig(RATE_HZ, LEVELS_V, trigger))
            awg.upload(waveform())
        bob.start()
        assert lab.cables.played == []
        alice.start()
        assert lab.cables.is_playing("awg")
        assert lab.cables.is_playing("other")
        assert len(lab.cables.played) == 2
        for awg in (alice, bob):
            awg.close()


@pytest.mark.parametrize(
    ("volts", "n_samples", "limit"),
    [
        (0.1, 2399, "2400"),
        (0.1251, 3000, "exceeds"),
        (np.nan, 3000, "exceeds"),
    ],
)
def test_bad_waveform_is_refused_before_a_byte_is_sent(volts, n_samples, limit):
    with serve() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        before = dict(lab.devices["awg"].files)
        samples = np.full((2, n_samples), volts, dtype=np.float32)
        with pytest.raises(RangeError, match=limit):
            bench.awg.upload(Waveform(samples, RATE_HZ))
        assert lab.devices["awg"].files == before


def test_hostile_files_are_refused_by_the_instrument():
    with serve() as lab, bench_on(lab) as bench:
        link = bench.awg._link
        link.write_block('MMEM:DATA "x.wfmx",', memoryview(b"<DataFile nonsense"))
        with pytest.raises(DeviceError) as caught, link.batch() as batch:
            batch.append('MMEM:OPEN "C:\\x.wfmx"')
        assert caught.value.entries[0][0] in {-230, -256}
        with pytest.raises(DeviceError) as caught, link.batch() as batch:
            batch += ['SOUR1:CASS:WAV "none"', "AWGC:RUN", "SOUR1:MARK1:VOLT:OFFS 1.3"]
        assert [code for code, _ in caught.value.entries] == [-224, -221, -222]


def test_public_sequence_of_commands():
    """Long forms as a public driver sends them."""
    with serve() as lab, bench_on(lab) as bench:
        link = bench.awg._link
        bench.awg.configure(AwgConfig(RATE_HZ, LEVELS_V))
        bench.awg.upload(waveform())
        assert link.query("WLISt:LIST?") == '"scqc_1,scqc_2"'
        assert link.query("SOURCE1:CASSet?") == '"scqc_1"'
        assert link.query("CLOCk:SOURce?") == "INT"
        assert link.query("AWGControl:RSTATe?") == "1"
        link.write("TRIGger:IMMediate BTRigger")
        assert link.query("AWGControl:RSTATe?") == "2"
        link.write("AWGControl:STOP")
        assert link.query("AWGControl:RSTATe?") == "0"
        link.write('MMEMory:DELete "absent.wfmx"')
        assert link.query("SYSTem:ERRor:CODE?") == "-256"
