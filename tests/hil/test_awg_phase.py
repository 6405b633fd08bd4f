"""A phase shifter on a channel of a waveform generator."""

import numpy as np
import pytest
from bench_kit import UNWATCHED, ClickingLight, served
from run_kit import CONFIGS

from driver.bench import Bench
from driver.hal import AwgConfig, PhaseModulator
from driver.links import make_link
from driver.phase_modulator.awg_channel import AwgPhaseModulator, set_phase
from driver.registry import make_driver
from driver.settings import InstrumentSettings
from scqc.core.errors import ConfigError, RangeError, StateError
from scqc.core.records import Waveform
from scqc.runs.lab_config import parse_config

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]

WIRING = {"tx.im": "awg:1", "tx.pm": "awg:2", "rx.phase": "phase:2"}
STEP_V = 0.7 / 4094


@pytest.fixture
def lab():
    drivers = {"phase": "keysight.m8190a"}
    with served(
        names=("awg",), light=ClickingLight(), drivers=drivers, wiring=WIRING
    ) as found:
        yield found


def bench_on(lab):
    settings = {
        name: InstrumentSettings(
            role="awg", driver="keysight.m8190a", resource=lab.endpoints[name]
        )
        for name in ("awg", "phase")
    }
    return Bench(settings, WIRING, supervision=UNWATCHED)


def test_the_channel_holds_what_it_is_told(lab):
    light = lab.cables.light
    with bench_on(lab) as bench:
        phase = bench.phase("rx.phase")
        assert isinstance(phase, PhaseModulator)
        assert bench.phase("rx.phase") is phase
        for volts in (0.2, -0.35, 0.0, 0.35):
            phase.set_voltage(2, volts)
            assert light.phase_v == pytest.approx(volts, abs=STEP_V)
        phase.set_voltage(1, 0.1)
        assert light.phase_v == pytest.approx(0.35, abs=STEP_V)
        assert (phase.voltage(1), phase.voltage(2)) == (0.1, 0.35)
    assert light.phase_v == 0.0
    assert lab.devices["phase"].is_safe


def test_the_other_generator_plays_meanwhile(lab):
    light = lab.cables.light
    with bench_on(lab) as bench:
        bench.phase("rx.phase").set_voltage(2, 0.2)
        awg = bench.instrument("awg")
        awg.configure(AwgConfig(400e6, {1: 0.5, 2: 0.5}))
        awg.upload(Waveform(np.full((2, 320), 0.1, dtype=np.float32), 400e6))
        awg.start()
        assert light.playing
        assert len(light.played_v) == 1
        awg.stop()
        assert not light.playing
        assert light.phase_v == pytest.approx(0.2, abs=STEP_V)


def test_a_generator_plays_once_again_after_it_held(lab):
    with bench_on(lab) as bench:
        awg = bench.instrument("awg")
        awg.configure(AwgConfig(400e6, {1: 0.5, 2: 0.5}))
        awg.hold({1: 0.1})
        with pytest.raises(StateError, match="no waveform"):
            awg.start()
        awg.upload(Waveform(np.zeros((2, 320), dtype=np.float32), 400e6))
        assert not any(c.continuous for c in lab.devices["awg"].channels.values())
        awg.start()


def test_a_turn_in_radians(lab):
    light = lab.cables.light
    with bench_on(lab) as bench:
        phase = bench.phase("rx.phase")
        for phase_rad, turned_v in (
            (np.pi / 2, 0.15),
            (2.5 * np.pi, 0.15),
            (-1.0, -0.3 / np.pi),
        ):
            assert set_phase(phase, 2, phase_rad, 0.3) == pytest.approx(turned_v)
            assert light.phase_v == pytest.approx(turned_v, abs=STEP_V)
        with pytest.raises(RangeError):
            set_phase(phase, 2, 3.0, 1.0)


def test_limits(lab):
    light = lab.cables.light
    with bench_on(lab) as bench:
        phase = bench.phase("rx.phase")
        phase.set_voltage(2, 0.1)
        for channel, volts in ((2, 0.351), (2, float("nan")), (0, 0.1), (3, 0.1)):
            with pytest.raises(RangeError):
                phase.set_voltage(channel, volts)
        assert light.phase_v == pytest.approx(0.1, abs=STEP_V)


def test_a_generator_that_cannot_hold_is_refused():
    link = make_link("scpi", "awg", "tcp://192.0.2.1:1")
    with pytest.raises(StateError, match="cannot hold"):
        AwgPhaseModulator(make_driver("tektronix.awg70000", link))


def on_generator(**changes):
    """A photon-counting bench with its phase shifter on a second generator."""
    text = (CONFIGS / "dv_quick.toml").read_text()
    start = text.index("[bob.instruments.phase]")
    end = text.index("\n[", start + 1)
    driver = changes.pop("driver", "keysight.m8190a")
    table = (
        '[bob.instruments.phase]\nrole = "awg"\n'
        f'driver = "{driver}"\nresource = "tcp://192.0.2.9:5025"\n'
    )
    text = text[:start] + table + text[end:]
    for old, new in changes.pop("swaps", []):
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_config_takes_a_generator_for_the_phase():
    config = parse_config(on_generator())
    assert config.wiring["rx.phase"].startswith("phase:")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"driver": "tektronix.awg70000"}, "cannot hold a constant"),
        (
            {"swaps": [('"tx.pm" = "awg:2"', '"tx.pm" = "phase:2"')]},
            "plays nothing else",
        ),
    ],
)
def test_what_cannot_hold_or_plays_besides_is_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        parse_config(on_generator(**changes))
