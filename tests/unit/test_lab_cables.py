"""An instrument is switched off at once, whatever the laboratory is rendering."""

import threading

import numpy as np
from bench_kit import WIRING, PlainLight

from sim_backends.devices.lab import Cables

CODES = np.zeros((2, 8), dtype=np.int16)
VOLTS = np.ones((2, 8), dtype=np.float32)


class SlowLight(PlainLight):
    """An exposure that ends when the test says so; it begins with a snapshot."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.seen = []

    def record(self, n_samples, rate_hz):
        self.begun.set()
        self.go_on.wait(60.0)
        self.seen.append((self.waveform is not None, dict(self.levels)))
        return np.zeros(n_samples, dtype=np.float32)


def exposing(light):
    cables = Cables(light, WIRING)
    cables.set_marker("awg", 1, 1.4)
    cables.play("awg", CODES, VOLTS, 1.0, once=True)
    thread = threading.Thread(target=cables.record, args=(8, 1.0))
    thread.start()
    light.begun.wait(60.0)
    return cables, thread


def test_nobody_waits_for_an_exposure_and_it_sees_no_change():
    light = SlowLight()
    cables, thread = exposing(light)
    cables.stop("awg")
    cables.set_marker("awg", 1, 0.0)
    assert not cables.playing
    light.go_on.set()
    thread.join()
    assert light.seen == [(True, {"signal": 1.4})]
    assert light.waveform is None
    assert light.levels == {"signal": 0.0}


def test_what_is_played_next_is_not_ended_by_the_stop_before_it():
    light = SlowLight()
    cables, thread = exposing(light)
    cables.stop("awg")
    playing = threading.Thread(
        target=cables.play, args=("awg", CODES, VOLTS, 1.0), kwargs={"once": True}
    )
    playing.start()
    light.go_on.set()
    thread.join()
    playing.join()
    assert cables.playing
    assert light.waveform is not None
    cables.record(8, 1.0)
    assert light.seen[1][0]
