"""Drivers that need no wire: recorded files, and packages of makers."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import spcm_stub
import swabian_stub

from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from scqc.core.records import TimeTags
from scqc.store.ptu import write_ptu

PERIOD_PS = 1_000_000
PERIODS = 40


def regular_tags(periods=PERIODS, inputs=(1, 2, 3, 4)):
    """Return tags that are the same in every microsecond.

    Input n fires every n nanoseconds, from n ps on and up to 0.9 us.
    """
    times = [np.arange(n, 900_000, 1000 * n, dtype=np.int64) for n in inputs]
    once = np.concatenate(times)
    who = np.repeat(np.array(inputs, np.uint8), [t.size for t in times])
    order = np.argsort(once, kind="stable")
    starts = PERIOD_PS * np.arange(periods)[:, None]
    return TimeTags(
        (once[order] + starts).ravel(),
        np.tile(who[order], periods),
        periods * PERIOD_PS,
    )


@contextmanager
def opened_driver(name, resource, io_timeout_s=20.0):
    """Build and open a driver; close it at the end."""
    link = make_link(DRIVERS[name].link, "dut", resource, io_timeout_s=io_timeout_s)
    driver = make_driver(name, link)
    driver.open()
    try:
        yield driver
    finally:
        driver.close()


@contextmanager
def replay():
    """Play a file of regular tags."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "regular.ptu"
        write_ptu(path, regular_tags())
        with opened_driver("picoquant.ptu", f"file://{path}") as driver:
            yield driver


@contextmanager
def swabian():
    """Drive a stand-in of the maker's package."""
    with (
        swabian_stub.installed(regular_tags()),
        opened_driver("swabian.timetagger", "swabian://2138000XIR") as driver,
    ):
        yield driver


@contextmanager
def spectrum():
    """Drive a stand-in of the maker's package."""
    with (
        spcm_stub.installed(),
        opened_driver("spectrum.spcm", "spcm:///dev/spcm0") as driver,
    ):
        yield driver


LOCAL = {
    "picoquant.ptu": replay,
    "swabian.timetagger": swabian,
    "spectrum.spcm": spectrum,
}
