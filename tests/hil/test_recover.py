"""A lost instrument comes back the same, set the same, with nothing armed."""

import dataclasses
import socket
from importlib import import_module

import numpy as np
import pytest
from bench_kit import AMPLITUDE_VPP, RATE_HZ, bench_on, served

from driver.capture import record
from driver.hal import AwgConfig, DigitizerConfig, Identity, TaggerChannel, TaggerConfig
from driver.registry import DRIVERS
from driver.restoring import require_same
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    StateError,
)
from scqc.core.records import Waveform

pytestmark = pytest.mark.hil

ALL = ("awg", "scope", "tagger", "phase")
AWG = AwgConfig(RATE_HZ, AMPLITUDE_VPP)
SCOPE = DigitizerConfig(rate_hz=RATE_HZ, n_samples=2048, range_v={1: 0.8})
TAGGER = TaggerConfig({1: TaggerChannel(threshold_v=0.25), 2: TaggerChannel()})
RAMP = Waveform(np.full((2, 1280), 0.1, dtype=np.float32), RATE_HZ)


@pytest.fixture
def lab():
    with served(names=ALL) as found:
        yield found


@pytest.fixture
def bench(lab):
    """A bench in use: configured, lit, played."""
    with bench_on(lab) as found:
        found.awg.configure(AWG)
        found.awg.upload(RAMP)
        found.switch("switch.signal").set_open(True)
        found.awg.start()
        found.digitizer.configure(SCOPE)
        found.tagger.configure(TAGGER)
        found.phase_modulator.set_voltage(2, 31.5)
        yield found


def cut(lab, name):
    for connection in list(lab.servers[name]._open):
        connection.shutdown(socket.SHUT_RDWR)


def test_the_generator_comes_back_dark_configured_and_empty(lab, bench):
    cut(lab, "awg")
    with pytest.raises(ConnectionLost):
        bench.awg.stop()
    bench.recover("awg")
    awg = lab.devices["awg"]
    assert awg.is_safe
    assert awg.rate_hz == RATE_HZ
    assert awg.channels[1].amplitude_vpp == AMPLITUDE_VPP[1]
    assert not bench.switch("switch.signal").is_open
    with pytest.raises(StateError, match="no waveform"):
        bench.awg.start()
    bench.awg.upload(RAMP)
    trace = record(bench, "signal", SCOPE, 5.0)
    assert trace.codes[0, 200] * trace.scale_v[0] == pytest.approx(0.1, abs=1e-3)


def test_a_generator_that_rebooted_is_configured_again(lab, bench):
    cut(lab, "awg")
    lab.devices["awg"].reset()
    assert lab.devices["awg"].rate_hz != RATE_HZ
    bench.recover("awg")
    assert lab.devices["awg"].rate_hz == RATE_HZ


def test_a_generator_that_no_longer_takes_its_set_points_is_named(
    lab, bench, monkeypatch
):
    """A rate the hardware lost the option for: it takes another one."""
    awg = lab.devices["awg"]
    original = type(awg)._set_rate

    def set_half(self, suffixes, parameters):
        original(self, suffixes, parameters)
        self.rate_hz /= 2

    call = next(c for c in [awg.tree.find(["FREQ", "RAST"])[0]])
    monkeypatch.setattr(
        awg.tree,
        "find",
        lambda path, found=awg.tree.find: (
            (dataclasses.replace(call, on_set=lambda s, p: set_half(awg, s, p)), ())
            if path == ["FREQ", "RAST"]
            else found(path)
        ),
    )
    with pytest.raises(DeviceError, match=r"rate.*set to 4.*, reads 2") as caught:
        bench.recover("awg")
    assert caught.value.instrument == "awg"


@pytest.mark.parametrize("name", ["scope", "tagger", "phase"])
def test_the_others_come_back_with_their_set_points(lab, bench, name):
    snapshot = bench.instrument(name).snapshot()
    bench.recover(name)
    assert bench.instrument(name).snapshot() == snapshot
    if name == "phase":
        assert lab.devices["phase"].volts["y"] == 31.5
    else:
        bench.instrument(name).ping()


def test_another_instrument_is_not_taken_for_the_lost_one(lab, monkeypatch):
    """Nor is it left lit; and that the lost one is not known to be safe is said."""
    stranger = ("Agilent Technologies", "M8190A", "2", "0")
    with pytest.raises(StateError, match="awg"), bench_on(lab) as bench:  # noqa: PT012
        bench.awg.configure(AWG)
        monkeypatch.setattr(lab.devices["awg"], "identity", stranger)
        lab.devices["awg"].channels[1].output = True
        with pytest.raises(ConnectError, match="answers for"):
            bench.recover("awg")
        assert lab.devices["awg"].is_safe


def test_an_instrument_that_stays_away_is_given_up_in_time(lab):
    with pytest.raises(ConnectError), bench_on(lab, 0.2) as bench:  # noqa: PT012
        lab.servers["scope"].close()
        with pytest.raises(ConnectError, match=r"not back within 0\.3 s"):
            bench.recover("scope", 0.3)


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_driver_that_runs_configure_comes_back_unchecked(driver):
    """Those of light have their set-points in the config: they are set again."""
    entry = DRIVERS[driver]
    if {"awg", "digitizer", "time-tagger", "phase-modulator"} & set(entry.roles):
        kind = getattr(import_module(entry.module), entry.class_name)
        assert callable(kind.restore)


def test_set_points_are_compared_one_by_one():
    require_same("it", AWG, AwgConfig(RATE_HZ * (1 + 1e-9), {1: 0.5, 2: 0.5}))
    with pytest.raises(DeviceError, match=r"amplitude_vpp\.2 is 0\.4, was 0\.5"):
        require_same("it", AWG, AwgConfig(RATE_HZ, {1: 0.5, 2: 0.4}))
    with pytest.raises(DeviceError, match="amplitude_vpp"):
        require_same("it", AWG, AwgConfig(RATE_HZ, {1: 0.5}))
    with pytest.raises(DeviceError, match="trigger is 'external', was 'immediate'"):
        require_same("it", AWG, AwgConfig(RATE_HZ, AMPLITUDE_VPP, "external"))
    nobody = Identity("", "", "", "")
    with pytest.raises(DeviceError, match="serial"):
        require_same("it", nobody, dataclasses.replace(nobody, serial="2"))
