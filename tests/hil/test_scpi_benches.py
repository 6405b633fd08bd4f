"""Benches of the newer SCPI instruments: roles, capture, safe state on every exit."""

import numpy as np
import pytest
from bench_kit import UNWATCHED, PlainLight, served
from role_kit import MovableLight

from driver.bench import Bench
from driver.capture import acquire
from driver.hal import AwgConfig, DigitizerConfig
from driver.hal_light import DetectorBiasConfig, LaserConfig
from driver.settings import InstrumentSettings, SafetySettings
from scqc.core.errors import RangeError
from scqc.core.records import Waveform

pytestmark = pytest.mark.hil


def bench_of(lab, wiring, **roles):
    """Return a bench, not yet entered; `roles` maps names to role and driver."""
    settings = {
        name: InstrumentSettings(
            role=role, driver=driver, resource=lab.endpoints[name], io_timeout_s=20.0
        )
        for name, (role, driver) in roles.items()
    }
    return Bench(settings, wiring, SafetySettings(), UNWATCHED)


def test_one_board_plays_and_records():
    """What the outputs play is what the input sees, to half a step of 14 bits each."""
    wiring = {"tx.i": "board:1", "tx.q": "board:2", "rx.rf": "board:in2"}
    drivers = {"board": "redpitaya.stemlab"}
    with served(
        names=(), light=PlainLight(offset=3), wiring=wiring, drivers=drivers
    ) as lab:
        both = (["awg", "digitizer"], "redpitaya.stemlab")
        with bench_of(lab, wiring, board=both) as bench:
            assert bench.awg is bench.digitizer
            bench.awg.configure(AwgConfig(125e6, {1: 1.0, 2: 1.0}))
            samples = np.zeros((2, 5000), dtype=np.float32)
            samples[0] = 0.5 * np.sin(np.arange(5000) / 7.0)
            bench.awg.upload(Waveform(samples, 125e6))
            config = DigitizerConfig(125e6, 6000, {1: 1.0, 2: 1.0}, "external")
            trace = acquire(bench, config, 5.0, bench.awg.start)
            assert not trace.codes[0].any()
            volts = trace.codes[1] * trace.scale_v[1]
            half_steps_v = 0.5 / 8191 + 0.5 / 8192
            # The text of the samples adds half of its last decimal.
            np.testing.assert_allclose(
                volts[3:5003], samples[0], atol=half_steps_v + 0.5e-6
            )
            assert not volts[5003:].any()
            # The same waveform again: it plays once per start.
            again = acquire(bench, config, 5.0, bench.awg.start)
            np.testing.assert_array_equal(again.codes, trace.codes)
            assert not lab.cables.playing
            with pytest.raises(RangeError, match="markers"):
                bench.awg.set_marker_level(1, 1.4)
        assert lab.devices["board"].is_safe
        assert [codes.shape for codes in lab.cables.played] == [(2, 16384)] * 2


def test_everything_dark_when_the_bench_is_left():
    wiring = {"tx.laser": "laser:1", "rx.power": "meter:1", "bias.x1": "snspd:3"}
    drivers = {
        "laser": "keysight.n7776c",
        "meter": "thorlabs.pm100",
        "snspd": "singlequantum.websq",
    }
    roles = {"laser": "laser", "meter": "power-meter", "snspd": "detector-bias"}
    with served(names=(), light=MovableLight(), wiring=wiring, drivers=drivers) as lab:
        bench = bench_of(lab, wiring, **{n: (roles[n], d) for n, d in drivers.items()})
        with pytest.raises(ValueError, match="on purpose"), bench:  # noqa: PT012
            laser = bench.instrument("laser")
            laser.configure(LaserConfig(193.4e12, -3.0))
            laser.set_enabled(True, 2.0)
            bench.instrument("snspd").set_detectors(DetectorBiasConfig({3: 20e-6}))
            assert lab.cables.light.levers.signal.is_on
            assert not lab.devices["snspd"].is_safe
            raise ValueError("on purpose")
        assert not lab.cables.light.levers.signal.is_on
        assert all(lab.devices[name].is_safe for name in ("laser", "snspd"))


def test_the_safe_state_tests_see_a_light_left_on(monkeypatch):
    """The test above must fail when the driver forgets its duty."""
    from driver.laser.keysight_n7776c import KeysightN7776C

    wiring, drivers = {"tx.laser": "laser:1"}, {"laser": "keysight.n7776c"}
    with served(names=(), light=MovableLight(), wiring=wiring, drivers=drivers) as lab:
        with bench_of(lab, wiring, laser=("laser", "keysight.n7776c")) as bench:
            laser = bench.instrument("laser")
            laser.configure(LaserConfig(193.4e12, -3.0))
            laser.set_enabled(True, 2.0)
            monkeypatch.setattr(KeysightN7776C, "_switch", lambda *_: None)
        assert lab.cables.light.levers.signal.is_on
