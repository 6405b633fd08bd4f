"""Every driver, open on its served emulator, for the suites of the roles."""

from contextlib import contextmanager

import numpy as np
import pytest
from bench_kit import KINDS, ClickingLight, PlainLight, served
from hw_kit import CHOICE, HW, UNSEEN, chosen, opened_hardware
from local_kit import LOCAL

from driver import hal, hal_light
from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from sim_backends.optics.levers import AdjustableOptics

ROLES = {
    "awg": hal.ArbitraryWaveformGenerator,
    "digitizer": hal.Digitizer,
    "time-tagger": hal.TimeTagger,
    "phase-modulator": hal.PhaseModulator,
    "laser": hal_light.Laser,
    "attenuator": hal_light.Attenuator,
    "bias-controller": hal_light.BiasController,
    "polarisation-controller": hal_light.PolarisationController,
    "power-meter": hal_light.PowerMeter,
    "detector-bias": hal_light.DetectorBias,
    "optical-switch": hal.OpticalSwitch,
}
SCPI = {"scpi", "scpi-events"}
# One generator, one digitiser, one of the others: the transport is the same code.
VISA = ("keysight.m8190a", "tektronix.mso", "thorlabs.pm100")
SIGNALS = {
    "laser": "tx.laser",
    "attenuator": "tx.attenuator",
    "bias-controller": "tx.bias",
    "polarisation-controller": "rx.polarisation",
    "power-meter": "rx.power",
    "detector-bias": "bias.z0",
    "optical-switch": "switch.signal",
}


class MovableLight(PlainLight, AdjustableOptics):
    """Plain light whose levers can be looked at."""

    def __init__(self):
        PlainLight.__init__(self)
        AdjustableOptics.__init__(self)

    def power_w(self, place):
        return 1e-6

    def count_rate_hz(self, detector):
        return 1000.0 * (detector + 1)


def backends(names):
    """Return every driver on its usual link, SCPI over HiSLIP and VISA too."""
    if CHOICE.instruments:
        return chosen(names)
    scpi = [name for name in names if DRIVERS[name].link in SCPI]
    visa = [name for name in names if name in VISA]
    return [
        *names,
        *(f"{name} hislip" for name in scpi),
        *(f"{name} visa" for name in visa),
    ]


def visa_name(endpoint):
    """Return what VISA calls ``hislip://127.0.0.1:port/hislip0``."""
    host, port = endpoint.split("/")[2].split(":")
    return f"visa://TCPIP::{host}::hislip0,{port}::INSTR"


def playing(role):
    """Return the backends that play a role."""
    return backends([name for name, entry in DRIVERS.items() if role in entry.roles])


def sampled(cases, every=4):
    """Return cases for a test: one in `every` always, the others in the soak."""
    return [
        pytest.param(
            *case,
            marks=() if i % every == 0 else pytest.mark.soak,
            id="-".join(["instruments", *(p for p in case if isinstance(p, str))]),
        )
        for i, case in enumerate(cases)
    ]


@contextmanager
def opened(backend, light=None, wiring=None, faults=()):
    """Serve the instrument of a backend and open its driver; yield both."""
    wanted, _, transport = backend.partition(" ")
    if transport.startswith(HW):
        if light is not None:
            pytest.skip(UNSEEN)
        with opened_hardware(transport.removeprefix(HW)) as both:
            yield both
        return
    if wanted in LOCAL:
        with LOCAL[wanted]() as driver:
            yield driver, None
        return
    played = DRIVERS[wanted].roles
    name = next((n for n, (role, _) in KINDS.items() if role in played), "dut")
    # VISA reaches our emulators by HiSLIP.
    transports = {name: "hislip"} if transport else {}
    if light is None:
        times_ps = [np.arange(n, 900_000, 1000 * n) for n in (1, 2, 3, 4)]
        clicks = name == "tagger"
        light = ClickingLight(times_ps, dark=False) if clicks else MovableLight()
    if wiring is None and name == "dut":
        plays = DRIVERS[wanted].plays.items()
        wiring = {SIGNALS[role]: f"dut:{ports[0]}" for role, ports in plays}
    with served(
        {name: list(faults)},
        names=(),
        light=light,
        wiring=wiring,
        drivers={name: wanted},
        transports=transports,
    ) as lab:
        kind = DRIVERS[wanted].link
        place = lab.endpoints[name]
        place = visa_name(place) if transport == "visa" else place
        link = make_link(kind, name, place, io_timeout_s=20.0)
        driver = make_driver(wanted, link)
        driver.open()
        try:
            yield driver, lab
        finally:
            driver.close()
