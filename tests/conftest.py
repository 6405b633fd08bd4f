"""Options of the whole test run: real instruments in place of emulators."""

import signal
from pathlib import Path

import hw_kit
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be drawn, is no property of the code: the
# first one compiles, and the machine may be busy.
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples in every run: what fails is what was changed. Others are tried by
# make soak, or by pytest --hypothesis-profile=explore.
settings.register_profile("scqc", settings.get_profile("explore"), derandomize=True)
settings.load_profile("scqc")

# Fixtures that make a bench in the test's own process cheap.
pytest_plugins = ("warm_kit",)


def pytest_addoption(parser):
    group = parser.getgroup("scqc")
    group.addoption(
        "--hw-config",
        type=Path,
        help="run the suites of the roles on the instruments of this lab config",
    )
    group.addoption(
        "--allow-light",
        action="store_true",
        help="with --hw-config: also what could let light out",
    )


def pytest_configure(config):
    # A shell that starts the tests in the background has interrupts ignored, for the
    # programs that tests start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = config.getoption("--hw-config")
    if path is not None:
        hw_kit.choose(path, allow_light=config.getoption("--allow-light"))


def pytest_unconfigure():
    hw_kit.release()


def pytest_collection_modifyitems(config, items):
    if config.getoption("--hw-config") is None:
        return
    for item in items:
        if item.get_closest_marker("known_light"):
            item.add_marker(pytest.mark.skip(reason=hw_kit.UNSEEN))
