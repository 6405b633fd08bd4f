"""Real drivers against served emulators, over loopback."""

import io
import threading

import numpy as np
import pytest
from bench_kit import AMPLITUDE_VPP, RATE_HZ, PlainLight, bench_on, served

from driver.capture import acquire, record
from driver.hal import AwgConfig, DigitizerConfig
from scqc.core.errors import (
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
)
from scqc.core.records import Waveform
from scqc.core.rng import stream

pytestmark = pytest.mark.hil

CONFIG = DigitizerConfig(rate_hz=RATE_HZ, n_samples=4096, range_v={1: 0.8})


def waveform(n_samples=1280, name="waveform"):
    """Return uniform voltages over the full range of the generator."""
    volts = stream(1, name).uniform(-0.25, 0.25, (2, n_samples))
    return Waveform(volts.astype(np.float32), RATE_HZ)


def test_waveform_arrives_exact_to_one_code():
    light = PlainLight()
    with served(light=light) as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        sent = waveform()
        bench.awg.upload(sent)
        trace = record(bench, "signal", CONFIG, 5.0)
        (codes,) = lab.cables.played
        step_v = 0.25 / 2047
        np.testing.assert_array_equal(codes, np.rint(sent.samples / step_v))
        volts, rate_hz = light.played_v[0]
        assert rate_hz == RATE_HZ
        assert np.max(np.abs(volts - sent.samples)) <= 0.5 * step_v * (1 + 1e-4)
    seen_v = trace.codes[0] * trace.scale_v[0] + trace.offset_v[0]
    adc_step_v = 0.8 / 1024
    np.testing.assert_allclose(
        seen_v[37 : 37 + 1280], volts[0], atol=0.5 * adc_step_v * (1 + 1e-4)
    )
    assert not seen_v[:37].any()
    assert not seen_v[37 + 1280 :].any()
    assert trace.clipped == (0,)


def test_long_waveform_goes_in_slices(monkeypatch):
    monkeypatch.setattr("driver.awg.keysight_m8190a.SLICE_SAMPLES", 256)
    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        sent = waveform(64 * 50)
        bench.awg.upload(sent)
        bench.awg.start()
        (codes,) = lab.cables.played
        np.testing.assert_array_equal(codes, np.rint(sent.samples * 2047 / 0.25))


def test_every_start_is_one_play():
    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.awg.upload(waveform())
        first = record(bench, "signal", CONFIG, 5.0)
        second = acquire(bench, CONFIG, 5.0)
        assert first.codes.any()
        assert not second.codes.any(), "the waveform was played a second time"
        assert len(lab.cables.played) == 1


def test_shutters_follow_the_kind_of_record():
    light = PlainLight()
    with served(light=light) as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.awg.upload(waveform())
        for kind in ("signal", "shot", "electronic"):
            record(bench, kind, CONFIG, 5.0)
    levels = [{k: v > 0.8 for k, v in r[2].items()} for r in light.records]
    assert levels == [
        {"signal": True, "lo": True},
        {"signal": False, "lo": True},
        {"signal": False, "lo": False},
    ]


def test_bench_time_passes_between_records():
    config = DigitizerConfig(rate_hz=1e6, n_samples=500_000, range_v={1: 0.8})
    with served() as lab, bench_on(lab) as bench:
        starts = [acquire(bench, config, 5.0).t0_s for _ in range(3)]
    assert starts == pytest.approx([0.0, 0.5, 1.0], abs=0.011)


def test_clipped_samples_are_counted():
    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        volts = np.zeros((2, 1280), dtype=np.float32)
        volts[0, 100:107] = 0.24
        volts[0, 200:203] = -0.24
        bench.awg.upload(Waveform(volts, RATE_HZ))
        small = DigitizerConfig(rate_hz=RATE_HZ, n_samples=4096, range_v={1: 0.1})
        trace = record(bench, "signal", small, 5.0)
    assert trace.clipped == (10,)


@pytest.mark.parametrize(
    ("volts", "n_samples", "limit"),
    [
        (0.2, 1281, "multiple of 64"),
        (0.2, 256, "320"),
        (0.2501, 1280, "exceeds"),
        (np.nan, 1280, "exceeds"),
    ],
)
def test_bad_waveform_is_refused_before_a_byte_is_sent(volts, n_samples, limit):
    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        before = dict(lab.devices["awg"].channels[1].segments)
        samples = np.full((2, n_samples), volts, dtype=np.float32)
        with pytest.raises(RangeError, match=limit):
            bench.awg.upload(Waveform(samples, RATE_HZ))
        assert lab.devices["awg"].channels[1].segments == before


def test_waveform_at_another_rate_is_refused():
    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        samples = np.zeros((2, 1280), dtype=np.float32)
        with pytest.raises(RangeError, match="runs at"):
            bench.awg.upload(Waveform(samples, 2 * RATE_HZ))


def test_calls_in_the_wrong_state():
    with served() as lab, bench_on(lab) as bench:
        with pytest.raises(StateError):
            bench.awg.upload(waveform())
        with pytest.raises(StateError):
            bench.awg.start()
        with pytest.raises(StateError):
            bench.digitizer.fetch(1.0)
        with pytest.raises(StateError):
            bench.digitizer.arm()


def test_no_trigger_is_a_timeout():
    config = DigitizerConfig(
        rate_hz=RATE_HZ, n_samples=4096, range_v={1: 0.8}, trigger="external"
    )
    with served() as lab, bench_on(lab) as bench, pytest.raises(InstrumentTimeout):
        acquire(bench, config, 0.2)


def test_the_device_queue_becomes_one_error():
    with served() as lab, bench_on(lab) as bench:
        link = bench.awg._link
        with pytest.raises(DeviceError) as caught, link.batch() as batch:
            batch += [":FREQ:RAST 1", ":NOSUCH:THING 3", ":VOLT1 abc"]
        assert [code for code, _ in caught.value.entries] == [-222, -113, -104]
        assert link.errors() == []


def test_truth_tap_sends_what_was_played():
    import socket

    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        for name in ("a", "b"):
            bench.awg.upload(waveform(name=name))
            bench.awg.start()
        host, port = lab.endpoints["tap"].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), 2.0) as tap:
            data = b"".join(iter(lambda: tap.recv(1 << 16), b""))
        file = io.BytesIO(data)
        arrays = [np.load(file) for _ in range(2)]
        assert file.read() == b""
        for got, played in zip(arrays, lab.cables.played, strict=True):
            np.testing.assert_array_equal(got, played)


def test_snapshot_is_json():
    import json

    with served() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.digitizer.configure(CONFIG)
        shown = json.loads(json.dumps(bench.snapshot()))
    assert shown["awg"]["identity"][1] == "M8190A"
    assert shown["scope"]["settings"]["n_samples"] == 4096


def test_no_thread_is_left():
    before = {t.ident for t in threading.enumerate()}
    with served() as lab, bench_on(lab) as bench:
        acquire(bench, CONFIG, 5.0)
    left = [t for t in threading.enumerate() if t.ident not in before]
    assert not left
