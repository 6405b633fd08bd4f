"""The drivers keep the launch limit, whatever asks them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from bench_kit import RATE_HZ, UNWATCHED, WIRING, served, settings_for

from driver.bench import Bench
from driver.hal import AwgConfig, Identity
from driver.hal_light import (
    AttenuatorConfig,
    LaserConfig,
    LaserReading,
)
from driver.launch import DrivenLaunch, LaunchLimit
from driver.settings import SafetySettings
from scqc.core.errors import ConfigError, InstrumentTimeout, RangeError
from scqc.core.records import Waveform
from scqc.runs import shared_rules
from scqc.runs.lab_config import parse_config

LIGHT_WIRING = {"tx.laser": "laser:1", "tx.attenuator": "voa:1"}
NOBODY = Identity("", "", "", "")
# One arm is fully on at 1 V.
DRIVEN = DrivenLaunch(full_scale_dbm=-20.0, v_pi_v=3.0, driver_gain=3.0)


class Fake:
    """What all instruments share."""

    name, identity = "it", NOBODY

    def __init__(self):
        self.sent = []

    def open(self):
        self.safe_state(1.0)
        return NOBODY

    def close(self):
        pass

    def ping(self):
        pass

    def safe_state(self, timeout_s):
        self.sent.append("safe")

    def snapshot(self):
        return {}


class FakeLaser(Fake):
    frequency_range_hz, power_range_dbm = (1e14, 3e14), (0.0, 30.0)

    def configure(self, config):
        self.sent.append(config)
        return config

    def set_enabled(self, is_on, timeout_s):
        self.sent.append(is_on)

    def reading(self):
        return LaserReading(False, 2e14, 0.0)


class FakeAttenuator(Fake):
    attenuation_range_db = (0.0, 60.0)
    takes = True

    def set_attenuation(self, config):
        self.sent.append(config)
        if not self.takes:
            raise InstrumentTimeout("it", "ATT", "not done")
        return config

    def attenuation_db(self):
        return 0.0


@pytest.fixture
def light():
    """A laser and an attenuator under a limit of 0 dBm, with 3 dB known loss."""
    laser, attenuator = FakeLaser(), FakeAttenuator()
    limit = LaunchLimit(0.0, 3.0)
    laser.open()
    attenuator.open()
    limit.attach({"laser": laser, "voa": attenuator}, LIGHT_WIRING)
    laser.sent.clear()
    attenuator.sent.clear()
    return SimpleNamespace(laser=laser, attenuator=attenuator)


def power(dbm):
    return LaserConfig(193.4e12, dbm)


def test_the_attenuator_must_be_set_before_the_laser_may_be_strong(light):
    # At its largest attenuation since it was opened.
    light.laser.configure(power(20.0))
    light.attenuator.set_attenuation(AttenuatorConfig(17.0))
    with pytest.raises(RangeError, match=r"may launch 0\.50 dBm") as caught:
        light.attenuator.set_attenuation(AttenuatorConfig(16.5))
    assert "safety.max_launch_dbm is 0" in str(caught.value)
    assert light.attenuator.sent == [AttenuatorConfig(17.0)]
    with pytest.raises(RangeError, match=r"may launch 0\.50 dBm"):
        light.laser.configure(power(20.5))
    assert light.laser.sent == [power(20.0)]


def test_a_dark_laser_lets_the_attenuator_open(light):
    light.attenuator.set_attenuation(AttenuatorConfig(0.0))
    with pytest.raises(RangeError):
        light.laser.configure(power(3.5))
    light.laser.configure(power(3.0))
    light.laser.safe_state(1.0)
    light.laser.configure(power(2.0))


def test_an_attenuation_that_may_not_have_been_taken_counts_as_the_smaller(light):
    light.attenuator.set_attenuation(AttenuatorConfig(10.0))
    light.attenuator.takes = False
    with pytest.raises(InstrumentTimeout):
        light.attenuator.set_attenuation(AttenuatorConfig(30.0))
    with pytest.raises(RangeError):
        light.laser.configure(power(20.0))
    light.laser.configure(power(13.0))


def test_nothing_that_is_no_number_passes(light):
    with pytest.raises(RangeError):
        light.laser.configure(power(math.nan))
    light.laser.configure(power(3.0))
    with pytest.raises(RangeError):
        light.attenuator.set_attenuation(AttenuatorConfig(math.nan))


def test_a_laser_without_an_attenuator_has_the_known_loss_alone():
    laser = FakeLaser()
    LaunchLimit(0.0, 3.0).attach({"laser": laser}, {"tx.laser": "laser:1"})
    laser.open()
    laser.configure(power(3.0))
    with pytest.raises(RangeError):
        laser.configure(power(3.1))


def test_bobs_laser_launches_nothing():
    laser = FakeLaser()
    LaunchLimit(0.0).attach({"laser": laser}, {"rx.laser": "laser:1"})
    laser.configure(power(20.0))


def test_what_peaks_let_through():
    """sin^2 of a quarter turn per half-wave voltage, arm by arm."""
    assert DRIVEN.launch_dbm({1: 1.0, 2: 0.0}) == pytest.approx(-20.0)
    assert DRIVEN.launch_dbm({1: 1.0, 2: 1.0}) == pytest.approx(
        -20.0 + 3.0103, abs=1e-4
    )
    assert DRIVEN.launch_dbm({1: 0.5, 2: 0.0}) == pytest.approx(-23.0103, abs=1e-4)
    # Beyond the half-wave voltage a waveform passes the maximum on its way.
    assert DRIVEN.launch_dbm({1: 2.0, 2: 0.0}) == pytest.approx(-20.0)
    assert DRIVEN.launch_dbm({1: 0.0, 2: 0.0}) == -math.inf


def ramp(peak_v, n=1280):
    samples = np.zeros((2, n), dtype=np.float32)
    samples[0] = np.linspace(-peak_v, 0.0, n)
    return Waveform(samples, RATE_HZ)


def launching(lab, limit_dbm):
    settings = settings_for(lab.endpoints)
    safety = SafetySettings(max_launch_dbm=limit_dbm)
    driven = DrivenLaunch(-20.0, 0.3, 1.0)
    return Bench(settings, WIRING, safety, UNWATCHED, driven)


@pytest.mark.hil
def test_a_waveform_that_launches_too_much_is_never_sent():
    """Straight to the driver, around every check of the config."""
    with served() as lab, launching(lab, -23.0) as bench:
        awg = bench.instrument("awg")
        awg.configure(AwgConfig(RATE_HZ, {1: 0.7, 2: 0.7}))
        awg.upload(ramp(0.14))
        loaded = {
            n: s.copy() for n, s in lab.devices["awg"].channels[1].segments.items()
        }
        for call in (awg.upload, lambda w: awg.upload_segments([ramp(0.1), w])):
            with pytest.raises(RangeError, match=r"safety\.max_launch_dbm is -23"):
                call(ramp(0.16))
        now = lab.devices["awg"].channels[1].segments
        assert all(np.array_equal(loaded[n], now[n]) for n in loaded)


@pytest.mark.hil
def test_within_the_limit_everything_passes():
    with served() as lab, launching(lab, -20.0) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, {1: 0.7, 2: 0.7}))
        bench.awg.upload(ramp(0.35))


def test_an_attenuator_below_its_nominal_value_counts_for_the_waveform():
    attenuator, uploads = FakeAttenuator(), []
    driven = DrivenLaunch(-20.0, 1.0, 1.0, attenuation_db=25.0)
    limit = LaunchLimit(-20.0, driven=driven)
    limit.attach({"voa": attenuator}, LIGHT_WIRING)
    upload = limit._around_upload(SimpleNamespace(name="awg"), (1, 2))
    attenuator.set_attenuation(AttenuatorConfig(25.0))
    upload(uploads.append, ramp(1.0))
    with pytest.raises(RangeError, match="may launch -19"):
        attenuator.set_attenuation(AttenuatorConfig(24.0))
    upload(uploads.append, ramp(0.5))
    attenuator.set_attenuation(AttenuatorConfig(22.0))
    with pytest.raises(RangeError, match="may launch -17"):
        upload(uploads.append, ramp(1.0))
    assert len(uploads) == 2


def test_the_config_is_checked_by_the_same_sum():
    points = {
        "laser": SimpleNamespace(set_points=SimpleNamespace(power_dbm=10.0)),
        "voa": SimpleNamespace(set_points=SimpleNamespace(attenuation_db=6.0)),
    }
    for insertion_db, refused in ((4.0, False), (3.9, True)):
        safety = SafetySettings(insertion_db=insertion_db)
        config = SimpleNamespace(wiring=LIGHT_WIRING, instruments=points, safety=safety)
        assert bool(list(shared_rules._launch(config))) is refused


def test_a_negative_insertion_loss_is_no_loss():
    with pytest.raises(ConfigError, match="insertion_db"):
        parse_config("schema = 1\n[safety]\ninsertion_db = -1.0\n")
