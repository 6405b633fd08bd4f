"""A silent instrument does not keep the light of the others on."""

import threading
import time
from contextlib import contextmanager

import pytest
from bench_kit import PATIENT, UNWATCHED, ClickingLight, served, settings_for
from patience_kit import Late, limited, not_late_each_time

from driver.bench import Bench
from driver.making_safe import make_all_safe, safe_order
from driver.settings import SafetySettings
from driver.watching import _watched
from scqc.core.errors import InstrumentTimeout

pytestmark = pytest.mark.hil
# Only a failing test waits so long.
PATIENCE_S = 20.0


class Lamp:
    """An instrument that is silent until it is let go."""

    def __init__(self, let_go=None, error=None):
        self.let_go, self.error, self.dark = let_go, error, threading.Event()

    def safe_state(self, timeout_s):
        if self.let_go is not None:
            self.let_go.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.dark.set()


@contextmanager
def passing():
    yield


def test_a_silent_one_keeps_no_light_on_and_every_failure_is_told():
    go = threading.Event()
    silent = InstrumentTimeout("a", "safe", "silent")
    lamps = {"a": Lamp(go, silent), "b": Lamp(error=ValueError("odd")), "c": Lamp()}
    found = {}
    thread = threading.Thread(
        target=lambda: found.update(make_all_safe(lamps, passing))
    )
    thread.start()
    # "a" is let go only after "c" is dark: one after the other, it never were.
    dark = lamps["c"].dark.wait(PATIENCE_S / 2)
    go.set()
    thread.join()
    assert dark
    assert list(found) == ["a", "b"]
    assert not [t for t in threading.enumerate() if t.name.startswith("safe")]


def test_leaving_a_bench_does_not_wait_for_the_first_to_answer(monkeypatch):
    """The others pass the interlock from their own threads, also once it is set."""
    dark, seen = threading.Event(), []
    safety = SafetySettings(on_exit=("awg.stop",))
    with (
        served() as lab,
        Bench(settings_for(lab.endpoints), {}, safety, PATIENT) as bench,
    ):
        scope = bench.digitizer
        really = scope.safe_state

        def told(timeout_s):
            really(timeout_s)
            dark.set()

        silent = lambda _: seen.append(dark.wait(PATIENCE_S))  # noqa: E731
        monkeypatch.setattr(bench.awg, "safe_state", silent)
        monkeypatch.setattr(scope, "safe_state", told)
        bench._interlock.trip("a test")
        assert bench.safe_state() == []
        bench._interlock._flag[0] = 0
    assert seen == [True, True]


def test_light_goes_first():
    roles = {
        "scope": ("digitizer",),
        "voa": ("attenuator",),
        "mbx": ("bias-controller",),
        "box": ("digitizer", "awg"),
        "shutter": ("optical-switch",),
        "laser": ("laser",),
    }
    by_role = ["laser", "shutter", "box", "voa", "mbx", "scope"]
    assert safe_order(roles, ()) == by_role
    assert safe_order(roles, ("voa.max",))[0] == "voa"


def test_a_server_said_to_take_one_client_is_watched_as_such():
    settings = settings_for({"awg": "tcp://127.0.0.1:7"})["awg"]
    given = settings.model_copy(update={"one_client": True})
    assert not _watched("awg", settings).is_exclusive
    assert _watched("awg", given).is_exclusive


@not_late_each_time
def test_the_station_is_dark_within_a_second_beside_a_silent_instrument():
    """The generator comes first and says nothing; the voltage source goes to zero."""
    with served(light=ClickingLight(), names=("awg", "phase")) as lab:
        wiring = {"rx.phase": "phase:2"}
        settings = settings_for(lab.endpoints, PATIENCE_S / 2)
        with Bench(settings, wiring, SafetySettings(), UNWATCHED) as bench:
            bench.phase("rx.phase").set_voltage(2, 30.0)
            assert not lab.devices["phase"].is_safe
            # An emulator whose lock is taken answers nothing, like one that hangs.
            with lab.devices["awg"].lock:
                start = time.monotonic()
                ending = threading.Thread(target=bench.safe_state)
                ending.start()
                while not lab.devices["phase"].is_safe:
                    assert time.monotonic() - start < PATIENCE_S
                    time.sleep(1e-3)
                dark_s = time.monotonic() - start
                if not ending.is_alive():
                    raise Late("the silent one was no more waited for")
            ending.join(PATIENCE_S)
    # One after the other it were the generator's deadline first; alone it takes 0.06 s.
    limited(dark_s, 1.0)
