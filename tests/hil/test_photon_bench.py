"""Weak pulses through the whole bench: generator, light, time tagger, tap."""

import io
import socket

import numpy as np
import pytest
from bench_kit import UNWATCHED
from photon_bench_kit import PULSE_HZ, SLOT_PS, photon_settings, pulse_train
from pydantic import ValidationError

from driver.bench import Bench
from driver.capture import acquire_tags
from driver.hal import AwgConfig, TaggerChannel, TaggerConfig
from driver.settings import InstrumentSettings
from scqc.core.errors import DeviceError
from scqc.core.records import Waveform
from scqc.core.rng import stream
from sim_backends.optics.click_detectors import PHOTON
from sim_backends.photon_settings import PhotonSimSettings
from sim_backends.serve import EmulatedLab, ServeRequest
from sim_backends.settings import SimSettings

pytestmark = pytest.mark.hil

WIRING = {
    "tx.im": "awg:1",
    "tx.pm": "awg:2",
    "switch.signal": "awg:marker1",
    "rx.z0": "tagger:1",
    "rx.z1": "tagger:2",
    "rx.x0": "tagger:3",
    "rx.x1": "tagger:4",
}
INSTRUMENTS = {
    "awg": ("awg", "keysight.m8190a"),
    "tagger": ("time-tagger", "idq.id900"),
}
RATE_HZ = 4 * PULSE_HZ
N_SLOTS = 16 * 1250
CONFIG = TaggerConfig({n: TaggerChannel(0.2) for n in (1, 2, 3, 4)})


def request(sim):
    """Return what the emulator process would be asked, after a trip as JSON."""
    instruments = {
        name: {"driver": driver} for name, (_, driver) in INSTRUMENTS.items()
    }
    asked = ServeRequest(sim=sim, instruments=instruments, wiring=WIRING, tap=True)
    return ServeRequest.model_validate_json(asked.model_dump_json())


def bench_on(lab):
    settings = {
        name: InstrumentSettings(role=role, driver=driver, resource=lab.endpoints[name])
        for name, (role, driver) in INSTRUMENTS.items()
    }
    return Bench(settings, WIRING, supervision=UNWATCHED)


def tapped(lab):
    host, port = lab.endpoints["tap"].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), 2.0) as tap:
        return np.load(io.BytesIO(b"".join(iter(lambda: tap.recv(1 << 16), b""))))


def test_phases_come_out_of_the_right_detectors():
    """0 and pi by the phase modulator reach z0 and z1, and no other way round."""
    sim = photon_settings(source={"full_scale_photons": 0.5})
    bits = stream(3, "bits").integers(0, 2, N_SLOTS)
    volts = pulse_train(sim, np.ones(N_SLOTS), np.pi * bits)
    halves = [Waveform(np.ascontiguousarray(v), RATE_HZ) for v in np.split(volts, 2, 1)]
    duration_s = 1.2e-3
    lab = EmulatedLab(request(sim))
    try:
        with bench_on(lab) as bench:
            bench.awg.configure(AwgConfig(RATE_HZ, {1: 0.7, 2: 0.7}))
            bench.awg.upload_segments(halves)
            bench.switch("switch.signal").set_open(True)
            tags = acquire_tags(bench, CONFIG, duration_s, 20.0)
            found = tapped(lab)
    finally:
        lab.close()
    truth = {k.removeprefix("truth/0/"): found[k] for k in found if "truth" in k}
    np.testing.assert_array_equal(truth["detector"], tags.channels - 1)
    # The slot by the tags' own time, knowing when the waveform began.
    at = (tags.times_ps - 1e12 * float(truth["start_s"])) / SLOT_PS
    gated = truth["in_gate"]
    np.testing.assert_array_equal(np.floor(at[gated]), truth["slot"][gated])
    sure = (truth["origin_window"] == 1) & (truth["cause"] == PHOTON)
    in_z = sure & (tags.channels <= 2)
    # Half the light goes to z, half of that interferes: mean 0.125 per slot.
    expected = 0.125 * N_SLOTS
    assert abs(np.count_nonzero(in_z) - expected) < 6 * np.sqrt(expected)
    np.testing.assert_array_equal(
        tags.channels[in_z] - 1, bits[truth["origin_slot"][in_z]]
    )
    # The converter's codes say the same as the waveform.
    codes = np.rint(volts * (2047 / 0.35)).astype(np.int16)
    np.testing.assert_array_equal(found["played/0"], codes)


def test_a_closed_shutter_lets_nothing_through():
    sim = photon_settings(channel={"length_km": 0, "shutter_isolation_db": 0})
    volts = pulse_train(sim, np.ones(N_SLOTS), np.zeros(N_SLOTS))
    lab = EmulatedLab(request(sim))
    try:
        with bench_on(lab) as bench:
            bench.awg.configure(AwgConfig(RATE_HZ, {1: 0.7, 2: 0.7}))
            bench.awg.upload(Waveform(volts, RATE_HZ))
            bench.switch("switch.signal").set_open(False)
            assert acquire_tags(bench, CONFIG, 1.2e-3, 20.0).times_ps.size == 0
    finally:
        lab.close()


def test_a_waveform_too_slow_for_the_laser_is_refused():
    lab = EmulatedLab(request(photon_settings()))
    try:
        with bench_on(lab) as bench:
            bench.awg.configure(AwgConfig(PULSE_HZ, {1: 0.7, 2: 0.7}))
            bench.awg.upload(Waveform(np.zeros((2, 1280), np.float32), PULSE_HZ))
            with pytest.raises(DeviceError, match="samples per slot"):
                bench.awg.start()
    finally:
        lab.close()


@pytest.mark.parametrize("sim", [SimSettings(seed=4), PhotonSimSettings(seed=4)])
def test_either_laboratory_survives_the_way_to_the_emulators(sim):
    assert request(sim).sim == sim


def test_a_mixture_of_laboratories_is_refused():
    mixed = SimSettings().model_dump() | {"source": {}}
    with pytest.raises(ValidationError):
        ServeRequest(sim=mixed, instruments={})
