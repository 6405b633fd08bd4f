"""The driver of Swabian taggers, on a stand-in of the maker's package."""

import sys

import numpy as np
import pytest
from local_kit import opened_driver, regular_tags
from swabian_stub import installed

from driver import hal
from driver.links import check_resource, takes_one_client
from driver.registry import DRIVERS
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentTimeout,
    RangeError,
    WireProtocolError,
)

pytestmark = pytest.mark.hil

NAME, RESOURCE, SERIAL = "swabian.timetagger", "swabian://2138000XIR", "2138000XIR"
TWO = hal.TaggerConfig(
    {1: hal.TaggerChannel(0.25), 4: hal.TaggerChannel(0.5, "falling", 30)}
)


@pytest.fixture
def device():
    with installed(regular_tags()) as taggers:
        yield taggers[SERIAL]


@pytest.fixture
def tagger(device):
    with opened_driver(NAME, RESOURCE) as driver:
        driver.configure(TWO)
        yield driver


def test_calls_are_those_of_the_package(device, tagger):
    tagger.start(1e-6)
    assert device.calls == [
        ("setTriggerLevel", 1, 0.25),
        ("setInputDelay", 1, 0),
        ("setTriggerLevel", 4, 0.5),
        # A falling edge has a number of its own.
        ("setInputDelay", -4, 30),
        ("TimeTagStream", (1, -4)),
    ]
    found = tagger.read(1.0)
    assert set(found.channels.tolist()) == {1, 4}
    expected = np.arange(4, 900_000, 4000) + 30
    np.testing.assert_array_equal(found.times_ps[found.channels == 4], expected)
    tagger.start(1e-6)
    tagger.stop()
    assert device.calls[-1] == ("stop",)


def test_missed_tags_are_counted_and_overflows_told(device, tagger):
    tagger.start(1e-6)
    device.events = [(500, 2, 0, 0), (600, 4, 1, 7), (601, 4, 4, 65535), (700, 3, 0, 0)]
    tagger.start(1e-6)
    found = tagger.read(1.0)
    assert (found.lost, found.overflow) == (65542, True)
    assert 600 not in found.times_ps
    device.events = []
    tagger.start(1e-6)
    found = tagger.read(1.0)
    assert (found.lost, found.overflow) == (0, False)


@pytest.mark.parametrize("kind", ["blocks", "time base", "full"])
def test_whatever_may_have_lost_tags_is_told(device, tagger, monkeypatch, kind):
    if kind == "full":
        name = "driver.time_tagger.swabian_timetagger.BUFFER_TAGS"
        monkeypatch.setattr(name, 10)
    if kind == "time base":
        device.events = [(5, 1, 0, 0)]
    tagger.start(1e-6)
    if kind == "blocks":
        device.overflows = 1
    assert tagger.read(1.0).overflow


@pytest.mark.parametrize("event", [(-5, 0, 1, 0), (2_000_000, 0, 1, 0), (5, 0, 7, 0)])
def test_tags_that_cannot_be_are_refused(device, tagger, event):
    device.events = [event]
    tagger.start(1e-6)
    with pytest.raises(WireProtocolError):
        tagger.read(1.0)


def test_tags_out_of_order_are_refused(device, tagger, monkeypatch):
    monkeypatch.setattr(np, "argsort", lambda a, kind: np.arange(a.size)[::-1])
    tagger.start(1e-6)
    with pytest.raises(WireProtocolError, match="in order"):
        tagger.read(1.0)


def test_a_record_that_does_not_end_is_stopped_in_time(device, tagger):
    tagger.start(1e-6)
    device.overflows = -1
    with pytest.raises(InstrumentTimeout, match="still recording"):
        tagger.read(0.05)
    assert device.calls[-1] == ("stop",)
    with pytest.raises(InstrumentTimeout, match="not done"):
        tagger.counts(1e-6)


def test_an_unplugged_tagger_is_a_device_error(device, tagger):
    device.freed = True
    with pytest.raises(DeviceError, match="was freed"):
        tagger.ping()
    with pytest.raises(DeviceError, match="was freed"):
        tagger.configure(TWO)


def test_closing_gives_the_tagger_back(device):
    with opened_driver(NAME, "swabian://") as tagger:
        assert tagger.identity.serial == SERIAL
        assert not device.freed
    assert device.freed


def test_a_tagger_that_is_not_there(device):
    with (
        pytest.raises(ConnectError, match="No Time Tagger with this serial"),
        opened_driver(NAME, "swabian://OTHER"),
    ):
        pass


def test_the_package_that_is_missing_is_named(monkeypatch):
    for module in ("Swabian", "Swabian.TimeTagger", "TimeTagger"):
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(ConnectError, match="pip install Swabian-TimeTagger"),
        opened_driver(NAME, RESOURCE),
    ):
        pass


@pytest.mark.parametrize("resource", ["swabian:/x", "swabian://a b", "tcp://h:1"])
def test_resources(resource):
    with pytest.raises(RangeError, match="expected swabian://SERIAL"):
        check_resource(DRIVERS[NAME].link, "resource", resource)
    assert takes_one_client(RESOURCE)


def test_an_input_without_falling_edge_is_told(tagger):
    config = hal.TaggerConfig({12: hal.TaggerChannel(0.1, "falling")})
    with pytest.raises(DeviceError, match="no falling edge"):
        tagger.configure(config)
