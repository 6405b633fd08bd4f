"""The suites of the roles on real instruments: those of a lab config, one by one.

``make test-hw CONFIG=lab.toml`` chooses the config. All its instruments are opened as
one bench, with its lock, its watchdog and its limits. Nothing that could let light
out, or drive what hangs on an instrument, is called unless that is allowed: the calls
are guarded here, not in the tests, so that no test can forget it.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from driver.bench import Bench
from driver.guard import Supervision
from driver.settings import InstrumentSettings
from scqc.runs.lab_config import load_config
from scqc.runs.parties.opened import COMPUTING_HANG_S

HW = "hw:"
#: Calls that may let light out, or do when their first argument is true or above 0.
ALWAYS = {
    "awg": ("start", "hold"),
    "attenuator": ("set_attenuation",),
    "bias-controller": ("set_bias",),
    "phase-modulator": ("set_voltage",),
    "detector-bias": ("set_detectors",),
}
WHEN_TRUE = {
    "laser": ("set_enabled",),
    "optical-switch": ("set_open",),
}
MARKERS = {"awg": ("set_marker_level",)}
NO_LIGHT = "could let light out or drive the bench: only with --allow-light"
UNSEEN = "looks at light that the test makes itself"


@dataclass
class Choice:
    """What the command line chose."""

    instruments: dict[str, InstrumentSettings] = field(default_factory=dict)
    allow_light: bool = False
    config: object = None
    bench: Bench | None = None

    def opened(self):
        """Return the bench, open; it stays so until the tests are over."""
        if self.bench is None:
            config = self.config
            # Tests compute beside their instruments, as services do.
            watch = Supervision(hang_s=COMPUTING_HANG_S)
            bench = Bench(config.instruments, config.wiring, config.safety, watch)
            self.bench = bench.__enter__()
            if not self.allow_light:
                for name, settings in self.instruments.items():
                    keep_dark(bench.instrument(name), settings.roles)
        return self.bench


CHOICE = Choice()


def choose(path, *, allow_light):
    """Take the instruments of a lab config from now on.

    Raises
    ------
    pytest.UsageError
        If the config is one of emulators.
    """
    config = load_config(path).config
    if config.sim is not None:
        raise pytest.UsageError(f"{path}: [sim] is no hardware; take the table out")
    CHOICE.instruments = dict(config.instruments)
    CHOICE.allow_light, CHOICE.config = allow_light, config


def release():
    """Make the bench safe and close it."""
    bench, CHOICE.bench = CHOICE.bench, None
    if bench is not None:
        bench.__exit__(None, None, None)


def chosen(names):
    """Return the backends of the chosen instruments whose driver is one of `names`."""
    found = CHOICE.instruments.items()
    return [f"{s.driver} {HW}{n}" for n, s in found if s.driver in names]


class Unseen:
    """Light that nobody but the instruments sees."""

    def __getattr__(self, name):
        pytest.skip(UNSEEN)


@contextmanager
def opened_hardware(name):
    """Provide a chosen instrument, guarded; it is safe in the end."""
    driver, settings = CHOICE.opened().instrument(name), CHOICE.instruments[name]
    driver.open()
    try:
        yield driver, SimpleNamespace(cables=SimpleNamespace(light=Unseen()))
    finally:
        # A test may have closed it.
        driver.open()
        driver.safe_state(settings.io_timeout_s)


def keep_dark(driver, roles):
    """Let every call of a driver that could let light out skip the test instead."""

    def guard(name, lets_out):
        original = getattr(driver, name)

        def guarded(*arguments):
            if lets_out(*arguments):
                pytest.skip(f"{name} {NO_LIGHT}")
            return original(*arguments)

        setattr(driver, name, guarded)

    for table, lets_out in (
        (ALWAYS, lambda *_: True),
        (WHEN_TRUE, lambda on, *_: on),
        (MARKERS, lambda _marker, level_v: level_v > 0.0),
    ):
        for role in set(roles) & set(table):
            for name in table[role]:
                if hasattr(driver, name):
                    guard(name, lets_out)
