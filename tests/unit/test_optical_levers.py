"""What lasers, attenuators and controllers do to the simulated light."""

import math

import numpy as np
import pytest

from scqc.core.units import dbm_to_w
from sim_backends.devices.lab import Cables
from sim_backends.optics.levers import Emission
from sim_backends.optics.photon_source import SWITCHING_A, bias_efficiency
from sim_backends.photon_settings import PhotonSimSettings
from sim_backends.photon_world import PhotonWorld
from sim_backends.settings import SimSettings
from sim_backends.world import World

RATE_HZ = 400e6
CARRIER_HZ = 299_792_458.0 / 1550e-9
QUIET = {
    "laser": {"linewidth_hz": 0.0, "rin_db_per_hz": 0.0, "power_dbm": 10.0},
    "lo": {"linewidth_hz": 0.0, "rin_db_per_hz": 0.0, "power_dbm": 3.0},
    "modulator": {
        "extinction_ratio_db": 0.0,
        "quadrature_error_rad": 0.0,
        "imbalance_db": 0.0,
        "bias_drift_rad_per_sqrt_s": 0.0,
    },
    "channel": {
        "excess_noise_snu": 0.0,
        "polarisation_drift_rad_per_sqrt_s": 0.0,
        "polarisation_rad_per_v": 0.5,
        "length_km": 0.0,
    },
    "receiver": {
        "shot_noise": False,
        "electronic_noise_snu": 0.0,
        "lo_offset_error_hz": 0.0,
        "lo_drift_hz_per_s": 0.0,
        "beat_hz": 150e6,
        "efficiency": 1.0,
    },
    "digitizer": {"clock_error_ppm": 0.0},
}


def world(**changes):
    light = World(SimSettings(**{**QUIET, **changes}))
    light.set_level("signal", 2.0)
    light.set_level("lo", 2.0)
    return light


def tone(light, n=1 << 14):
    """Play a constant; return amplitude [V] and frequency [Hz] of the beat."""
    light.play(np.full((2, 1 << 15), 0.1, dtype=np.float32), RATE_HZ)
    volts = light.record(n + 8192, RATE_HZ)[-n:]
    spectrum = np.abs(np.fft.rfft(volts * np.hanning(n)))
    peak = int(np.argmax(spectrum))
    return 4.0 * spectrum[peak] / n, peak * RATE_HZ / n


def lit(power_dbm, frequency_hz=CARRIER_HZ):
    return Emission(True, power_dbm, frequency_hz)


def test_a_laser_as_in_the_settings_changes_nothing():
    before = tone(world())
    light = world()
    light.set_laser("signal", lit(10.0))
    light.set_laser("lo", lit(3.0, CARRIER_HZ - 150e6))
    light.set_attenuation_db(SimSettings().attenuator_db)
    assert tone(light) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("laser", ["signal", "lo"])
def test_the_beat_grows_with_the_field_of_either_laser(laser):
    nominal_dbm = QUIET["laser" if laser == "signal" else "lo"]["power_dbm"]
    before, _ = tone(world())
    light = world()
    offset_hz = 0.0 if laser == "signal" else -150e6
    light.set_laser(laser, lit(nominal_dbm - 6.0, CARRIER_HZ + offset_hz))
    assert tone(light)[0] == pytest.approx(before * 10 ** (-6.0 / 20.0), rel=1e-5)


@pytest.mark.parametrize("laser", ["signal", "lo"])
def test_without_a_laser_there_is_no_beat(laser):
    light = world()
    light.set_laser(laser, Emission(False, 10.0, CARRIER_HZ))
    light.play(np.full((2, 1 << 15), 0.1, dtype=np.float32), RATE_HZ)
    assert not np.any(light.record(20_000, RATE_HZ))


@pytest.mark.parametrize(
    ("signal_hz", "lo_hz", "beat_hz"),
    [(20e6, None, 170e6), (0.0, -90e6, 90e6), (30e6, -90e6, 120e6)],
)
def test_the_beat_is_the_difference_of_the_frequencies(signal_hz, lo_hz, beat_hz):
    light = world()
    light.set_laser("signal", lit(10.0, CARRIER_HZ + signal_hz))
    if lo_hz is not None:
        light.set_laser("lo", lit(3.0, CARRIER_HZ + lo_hz))
    assert tone(light)[1] == pytest.approx(beat_hz, abs=RATE_HZ / (1 << 14))


def test_attenuation_and_polarisation_weaken_the_signal():
    before, _ = tone(world())
    light = world()
    light.set_attenuation_db(SimSettings().attenuator_db + 10.0)
    light.set_polarisation_v((1.0, 0.5, 0.0, 0.0))
    expected = before * 10 ** (-10.0 / 20.0) * math.cos(0.5 * 1.5)
    assert tone(light)[0] == pytest.approx(expected, rel=1e-5)


def test_shot_noise_belongs_to_the_local_oscillator():
    receiver = {**QUIET["receiver"], "shot_noise": True, "bandwidth_hz": 0.0}
    light = world(receiver=receiver)
    light.set_laser("lo", lit(3.0 - 10.0, CARRIER_HZ - 150e6))
    n = 200_000
    variance = np.var(light.record(n, RATE_HZ).astype(float))
    expected = (5e-3) ** 2 * 10 ** (-10.0 / 10.0)
    # The standard deviation of a variance is sqrt(2 / n) of it.
    assert variance == pytest.approx(expected, rel=5.0 * math.sqrt(2.0 / n))


def test_a_locked_bias_stands_at_the_null():
    modulator = {**QUIET["modulator"], "bias_i_rad": 0.2, "bias_q_rad": -0.1}
    light = world(modulator=modulator)
    light.play(np.zeros((2, 1 << 15), dtype=np.float32), RATE_HZ)
    assert np.max(np.abs(light.record(20_000, RATE_HZ))) > 1e-3
    light.set_bias_v(None)
    assert not np.any(light.record(20_000, RATE_HZ))
    light.set_bias_v(0.5)
    assert np.max(np.abs(light.record(20_000, RATE_HZ))) > 1e-3


def test_the_power_meter_reads_what_is_launched():
    light = world()
    light.set_bias_v(None)
    v_pi_v = light.settings.modulator.v_pi_v
    gain = 10.0 ** (light.settings.modulator.driver_gain_db / 20.0)
    one_arm = np.zeros((2, 1000), dtype=np.float32)
    one_arm[0] = v_pi_v / gain
    light.play(one_arm, RATE_HZ)
    loss_db = light.settings.modulator.insertion_loss_db + light.settings.attenuator_db
    full_w = dbm_to_w(10.0 - loss_db)
    assert light.power_w("launch") == pytest.approx(full_w, rel=1e-5)
    light.set_attenuation_db(light.settings.attenuator_db + 3.0)
    assert light.power_w("launch") == pytest.approx(full_w * 10**-0.3, rel=1e-5)
    light.set_laser("signal", Emission(False, 10.0, CARRIER_HZ))
    assert light.power_w("launch") == 0.0
    light.stop()
    light.set_level("lo", 0.0)
    assert light.power_w("receiver") == pytest.approx(dbm_to_w(3.0 - 60.0), rel=1e-9)


def photons(**settings):
    light = PhotonWorld(PhotonSimSettings(**settings))
    light.set_level("signal", 2.0)
    drive_v = np.full((2, 1 << 20), 0.175, dtype=np.float32)
    drive_v[1] = 0.0
    light.play(drive_v, 1e9)
    return light


def test_photons_follow_the_attenuator():
    nominal = photons()
    weak = photons()
    weak.set_laser("signal", lit(PhotonSimSettings().source.power_dbm - 1.0))
    weak.set_attenuation_db(PhotonSimSettings().source.attenuation_db + 2.0)
    ratio = weak.power_w("launch") / nominal.power_w("launch")
    assert ratio == pytest.approx(10**-0.3, rel=1e-9)
    source = nominal.settings.source
    fully_open_w = (
        source.full_scale_photons * source.pulse_rate_hz * 6.626_070_15e-34 * CARRIER_HZ
    )
    assert 0.0 < nominal.power_w("launch") <= fully_open_w * (1.0 + 1e-9)


def test_a_detector_without_current_sees_nothing():
    light = photons(channel={"length_km": 1.0}, detectors={"dark_rate_hz": [0.0] * 4})
    light.set_detector_bias_a(0, 0.0)
    light.set_detector_bias_a(1, 20e-6)
    assert light.count_rate_hz(0) == 0.0
    assert light.count_rate_hz(1) > 0.0


def test_a_nanowire_has_a_plateau_and_a_switching_current():
    assert bias_efficiency(0.0) == 0.0
    assert bias_efficiency(10e-6) == pytest.approx(0.5)
    assert bias_efficiency(20e-6) == pytest.approx(1.0, abs=1e-5)
    assert bias_efficiency(1.01 * SWITCHING_A) == 0.0


def test_wired_lasers_start_dark():
    light = world()
    Cables(light, {"tx.laser": "laser:1"})
    assert light.levers.signal is not None
    assert not light.levers.signal.is_on
    assert light.levers.lo is None


def test_only_wired_ports_move_the_light():
    light = world()
    cables = Cables(light, {"tx.laser": "laser:1", "tx.attenuator": "voa:1"})
    cables.optics.set_attenuation("voa", "2", 3.0)
    assert light.levers.attenuation_db is None
    cables.optics.set_attenuation("voa", "1", 3.0)
    assert light.levers.attenuation_db == 3.0
    cables.optics.set_laser("laser", 1, lit(1.0))
    assert light.levers.signal == lit(1.0)
    assert cables.optics.power_w("meter", 1) == 0.0
