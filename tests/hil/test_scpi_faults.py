"""Every fault of the newer SCPI instruments ends in its documented error, in time."""

import threading
import time
from itertools import combinations

import numpy as np
import pytest
from bench_kit import served
from role_kit import MovableLight

from driver.hal import AwgConfig, DigitizerConfig
from driver.hal_light import LaserConfig, PowerMeterConfig
from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentTimeout,
    WireProtocolError,
)
from scqc.core.records import Waveform
from sim_backends.faults import LATE_S, FaultPlan

pytestmark = pytest.mark.hil

IO_TIMEOUT_S = 0.4
# Of a whole record, when nothing goes wrong.
RECORD_S = 1.5
LOST, LATE = (ConnectionLost,), (InstrumentTimeout,)
GARBLED, REPORTED = (WireProtocolError,), (DeviceError,)
REFUSED = (ConnectError, WireProtocolError)


def use_board(board):
    board.configure(AwgConfig(125e6, {1: 1.0, 2: 1.0}))
    samples = np.full((2, 1000), 0.25, dtype=np.float32)
    board.upload(Waveform(samples, 125e6))
    board.configure(DigitizerConfig(125e6, 1000, {1: 1.0}, "external"))
    board.arm()
    board.start()
    board.wait(RECORD_S)
    trace = board.fetch(RECORD_S)
    assert trace.codes[0, -1] * trace.scale_v[0] == pytest.approx(0.25, abs=1e-3)


def use_scope(scope):
    scope.configure(DigitizerConfig(625e6, 1000, {1: 0.8}))
    scope.arm()
    scope.wait(RECORD_S)
    assert scope.fetch(RECORD_S).codes.shape == (1, 1000)


def use_laser(laser):
    laser.configure(LaserConfig(193.4e12, 6.0))
    laser.set_enabled(True, IO_TIMEOUT_S)
    assert laser.reading().is_on


def use_meter(meter):
    meter.configure_meter(PowerMeterConfig(1310e-9, 10))
    assert meter.power_w() == pytest.approx(1e-6)


USES = {
    "redpitaya.stemlab": use_board,
    "tektronix.mso": use_scope,
    "keysight.n7776c": use_laser,
    "thorlabs.pm100": use_meter,
}
ANY_REPLY = (
    ("drop-connection", LOST),
    ("reboot", LOST),
    ("no-reply", LATE),
    ("late-reply", LATE),
    ("garbage", GARBLED),
)
SETTINGS = (*ANY_REPLY, ("queue-overflow", REPORTED), ("execution-error", REPORTED))
CASES = [
    *(
        (driver, "identify", kind, errors)
        for driver in USES
        for kind, errors in ANY_REPLY
    ),
    *((driver, "identify", "wrong-identity", REFUSED) for driver in USES),
    *(
        (driver, "configure", kind, errors)
        for driver in USES
        for kind, errors in SETTINGS
    ),
    # Numbers that are none, and fields too many.
    *(
        (driver, "configure", kind, GARBLED)
        for driver in USES
        for kind in ("not-a-number", "wrong-length")
    ),
    *((driver, "configure", "not-taken", REPORTED) for driver in USES),
    ("redpitaya.stemlab", "upload", "drop-connection", LOST),
    ("redpitaya.stemlab", "upload", "queue-overflow", REPORTED),
    ("redpitaya.stemlab", "start", "drop-connection", LOST),
    *(
        (driver, at, kind, errors)
        for driver in ("redpitaya.stemlab", "tektronix.mso")
        for at, kind, errors in (
            ("arm", "drop-connection", LOST),
            ("wait", "no-reply", LATE),
            ("wait", "garbage", GARBLED),
            ("wait", "reboot", LOST),
            ("fetch", "no-reply", LATE),
            ("fetch", "garbage", GARBLED),
            ("fetch", "half-block", GARBLED + LATE),
            ("fetch", "wrong-length", GARBLED),
            ("fetch", "not-a-number", GARBLED),
            ("fetch", "drop-connection", LOST),
        )
    ),
    ("keysight.n7776c", "start", "not-taken", REPORTED),
    ("keysight.n7776c", "start", "mode-hop", REPORTED),
    ("keysight.n7776c", "start", "pending-forever", LATE),
    ("thorlabs.pm100", "fetch", "no-reply", LATE),
    ("thorlabs.pm100", "fetch", "not-a-number", GARBLED),
    ("thorlabs.pm100", "fetch", "garbage", GARBLED),
]
TRANSPORTS = {driver: ("tcp", "hislip") for driver in USES}
# The board has a byte stream only.
TRANSPORTS["redpitaya.stemlab"] = ("tcp",)
WIRING = {
    "redpitaya.stemlab": {"tx.i": "dut:1", "tx.q": "dut:2", "rx.rf": "dut:in1"},
    "tektronix.mso": {"rx.rf": "dut:1"},
    "keysight.n7776c": {"tx.laser": "dut:1"},
    "thorlabs.pm100": {"rx.power": "dut:1"},
}


def matrix():
    """Return all cases; those without a new pair are for the soak.

    Pairs are of driver, fault and transport, and of driver and verb.
    """
    met, found = set(), []
    for case in CASES:
        for transport in TRANSPORTS[case[0]]:
            values = (*case[:3], transport)
            three = (values[0], values[2], transport)
            pairs = {*combinations(enumerate(three), 2), values[:2]}
            new, met = pairs - met, met | pairs
            mark = () if new else pytest.mark.soak
            name = "-".join(["instruments", *values])
            found.append(pytest.param(*values, case[3], marks=mark, id=name))
    return found


def whole_use(driver, lab):
    """Open, use as intended, close."""
    link = make_link(
        DRIVERS[driver].link, "dut", lab.endpoints["dut"], IO_TIMEOUT_S, IO_TIMEOUT_S
    )
    instrument = make_driver(driver, link)
    try:
        identity = instrument.open()
        if identity.vendor == "Somebody Else":
            raise ConnectError("dut", "*IDN?", "not expected here")
        USES[driver](instrument)
    finally:
        instrument.close()


@pytest.mark.parametrize(("driver", "at", "kind", "transport", "errors"), matrix())
def test_fault_ends_in_its_typed_error(driver, at, kind, transport, errors):
    before = {t.ident for t in threading.enumerate()}
    # What was so before is true though it was not taken: all are not.
    times = 1000 if kind == "not-taken" else 1
    with served(
        {"dut": [(at, kind)] * times},
        names=(),
        light=MovableLight(),
        wiring=WIRING[driver],
        drivers={"dut": driver},
        transports={"dut": transport},
    ) as lab:
        start = time.monotonic()
        with pytest.raises(errors) as caught:
            whole_use(driver, lab)
        # One late exchange, and the others take milliseconds each.
        limit_s = RECORD_S if at == "fetch" else IO_TIMEOUT_S
        assert time.monotonic() - start < limit_s + LATE_S + 2.0
        assert caught.value.instrument == "dut"
        # The fault is over: all is well again, with nothing stale.
        lab.devices["dut"].faults = FaultPlan("dut")
        whole_use(driver, lab)
    assert not [t for t in threading.enumerate() if t.ident not in before]
