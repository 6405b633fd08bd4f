"""Every instrument, every wire it has, every fault it can have: one table.

A *subject* is an instrument and a whole use of it that looks at what it reads. A
*cell* is a subject on one wire with one fault at one verb, and the errors in which
that may end. Cells are made from what wires and devices can do wrong, so that a new
driver needs one subject, and a new kind of fault one line.
"""

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from bench_kit import ClickingLight
from patience_kit import PATIENT_S, Late, limited, not_late_each_time
from role_kit import MovableLight, visa_name

from driver.hal import AwgConfig, DigitizerConfig, TaggerChannel, TaggerConfig
from driver.hal_light import (
    AttenuatorConfig,
    BiasConfig,
    DetectorBiasConfig,
    LaserConfig,
    PolarisationConfig,
    PowerMeterConfig,
)
from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    WireProtocolError,
)
from scqc.core.records import Waveform
from sim_backends.faults import DRIP_S, LATE_S, Fault, FaultPlan
from sim_backends.serve import EmulatedInstrument, EmulatedLab, ServeRequest
from sim_backends.settings import SimSettings
from sim_backends.wire.zmq_tagger import free_ports

# The deadline that a fault meets.
IO_TIMEOUT_S = 0.3
# What the issue allows beyond the deadline, and until the station is safe.
SLACK_S, SAFE_S = 0.5, 1.0
GIVE_UP_S = PATIENT_S
#: How long an emulator that answers one after the other is busy with a reply.
BUSY_S = {"late-reply": LATE_S, "slow-drip": DRIP_S}
NAME = "dut"

LOST, LATE = (ConnectionLost,), (InstrumentTimeout,)
GARBLED, REPORTED = (WireProtocolError,), (DeviceError,)
REFUSED = (ConnectError, WireProtocolError)
#: No error, and right values.
RIGHT = (type(None),)

#: What each kind of fault must end in. A block that stops half-way is told from
#: silence where the length was announced, and else is late.
ERRORS = {
    "drop-connection": LOST,
    "cut-block": LOST,
    "reboot": LOST,
    "no-reply": LATE,
    "late-reply": LATE,
    "slow-drip": LATE,
    "half-block": LATE + GARBLED,
    "garbage": GARBLED,
    "bad-checksum": GARBLED,
    "wrong-length": GARBLED,
    "not-a-number": GARBLED,
    "out-of-order": GARBLED,
    "wrong-identity": REFUSED,
    "not-taken": REPORTED,
    "execution-error": REPORTED,
    "queue-overflow": REPORTED,
    "mode-hop": REPORTED,
    "pending-forever": LATE,
}
#: What strikes again and again: a setting that was so before is true though it was
#: not taken, and the first of many replies may be one that nobody looks at.
LASTING = ("not-taken", "execution-error", "wrong-length", "not-a-number", "half-block")
REPLIES = (
    "drop-connection",
    "cut-block",
    "no-reply",
    "late-reply",
    "slow-drip",
    "half-block",
    "garbage",
)
LINES = (*REPLIES, "wrong-length")
#: What a wire can do to a reply; a ZeroMQ message comes whole or not at all.
WIRES = {
    "tcp": REPLIES,
    "hislip": REPLIES,
    "visa": REPLIES,
    "terminal": LINES,
    "socket": LINES,
    "json": (*REPLIES, "not-a-number", "wrong-length"),
    "zmq": tuple(k for k in REPLIES if k not in {"cut-block", "slow-drip"}),
}
SCPI_SETTINGS = ("not-taken", "queue-overflow", "execution-error", "reboot")


@dataclass(frozen=True)
class Subject:
    """An instrument and what can go wrong with it.

    `asks` are the verbs at which it is asked something, `sets` those at which it is
    set; `special` are (verb, kind) beyond what wires and settings have, and
    `otherwise` the errors of a kind, or of (verb, kind), that are not in `ERRORS`.
    """

    use: Callable
    wires: tuple
    wiring: dict
    asks: tuple
    sets: dict = field(default_factory=dict)
    special: tuple = ()
    otherwise: dict = field(default_factory=dict)
    light: Callable = MovableLight


@dataclass(frozen=True)
class Cell:
    driver: str
    wire: str
    at: str
    kind: str
    errors: tuple


def use_awg(rate_hz, markers=True):
    def use(awg, _timeout_s):
        awg.configure(AwgConfig(rate_hz, {1: 0.3, 2: 0.3}))
        n_samples = -(-awg.minimum_samples // awg.granularity) * awg.granularity
        samples = np.full((2, n_samples), 0.1, dtype=np.float32)
        awg.upload(Waveform(samples, rate_hz))
        if markers:
            awg.set_marker_level(1, 1.0)
        awg.start()
        awg.stop()

    return use


def use_scope(rate_hz):
    def use(scope, timeout_s):
        scope.configure(DigitizerConfig(rate_hz, 1000, {1: 0.4}))
        scope.arm()
        scope.wait(timeout_s)
        assert scope.fetch(timeout_s).codes.shape == (1, 1000)

    return use


def use_board(board, timeout_s):
    board.configure(AwgConfig(125e6, {1: 1.0, 2: 1.0}))
    samples = np.full((2, 1000), 0.25, dtype=np.float32)
    board.upload(Waveform(samples, 125e6))
    board.configure(DigitizerConfig(125e6, 1000, {1: 1.0}, "external"))
    board.arm()
    board.start()
    board.wait(timeout_s)
    trace = board.fetch(timeout_s)
    assert trace.codes[0, -1] * trace.scale_v[0] == pytest.approx(0.25, abs=1e-3)


def use_laser(laser, timeout_s):
    config = LaserConfig(193.412_345e12, 8.5)
    laser.configure(config)
    laser.set_enabled(True, timeout_s)
    reading = laser.reading()
    assert reading.is_on
    assert reading.frequency_hz == pytest.approx(config.frequency_hz, abs=1e9)


def use_meter(meter, _timeout_s):
    meter.configure_meter(PowerMeterConfig(1310e-9, 10))
    assert meter.power_w() == pytest.approx(1e-6)


def use_supply(supply, _timeout_s):
    supply.set_detectors(DetectorBiasConfig({1: 20e-6}, {1: 0.15}))
    assert supply.count_rates_hz(0.02)[1] == pytest.approx(1000.0, rel=0.1)


def use_tagger(tagger, timeout_s):
    channels = {1: TaggerChannel(0.2), 2: TaggerChannel(0.25, delay_ps=137)}
    assert tagger.configure(TaggerConfig(channels)).channels == channels
    tagger.start(1e-6)
    assert tagger.read(timeout_s).times_ps.size == 900 + 450


def use_phase(source, _timeout_s):
    source.set_voltage(2, 5.0)
    assert source.voltage(2) == 5.0


def use_voa(voa, _timeout_s):
    voa.set_attenuation(AttenuatorConfig(12.5))
    assert voa.attenuation_db() == 12.5


def use_epc(epc, _timeout_s):
    epc.set_polarisation(PolarisationConfig({1: 2.5, 4: -0.125}))
    assert epc.polarisation().volts == {1: 2.5, 2: 0.0, 3: 0.0, 4: -0.125}


def use_mbx(mbx, timeout_s):
    mbx.set_attenuation(AttenuatorConfig(12.5))
    assert mbx.set_bias(BiasConfig(None, 1.5), timeout_s).volts == 1.5
    assert mbx.set_bias(BiasConfig("null"), timeout_s).is_locked
    assert mbx.attenuation_db() == 12.5


def use_switch(switch, _timeout_s):
    for is_open in (True, False, True):
        switch.set_open(is_open)
        assert switch.is_open is is_open


def clicks():
    times_ps = [np.arange(n, 900_000, 1000 * n) for n in (1, 2, 3, 4)]
    return ClickingLight(times_ps, dark=False)


SCPI = ("tcp", "hislip")
LINE = ("terminal", "socket")
SERIAL_REBOOT = {"reboot": LATE}
SUBJECTS = {
    "keysight.m8190a": Subject(
        use_awg(400e6),
        SCPI,
        {"tx.i": "dut:1", "tx.q": "dut:2", "switch.signal": "dut:marker1"},
        ("identify", "configure", "upload", "start", "switch"),
        {
            "configure": SCPI_SETTINGS,
            "upload": SCPI_SETTINGS[1:],
            "start": SCPI_SETTINGS[1:],
            "switch": SCPI_SETTINGS,
        },
        (("configure", "not-a-number"), ("configure", "wrong-length")),
    ),
    "keysight.m8195a": Subject(
        use_awg(16e9, markers=False),
        SCPI,
        {"tx.i": "dut:1", "tx.q": "dut:2"},
        ("identify", "configure", "upload", "start"),
        {
            "configure": SCPI_SETTINGS,
            "upload": SCPI_SETTINGS[1:],
            "start": SCPI_SETTINGS[1:],
        },
        (("configure", "not-a-number"), ("configure", "wrong-length")),
    ),
    "tektronix.awg70000": Subject(
        use_awg(2.5e9),
        SCPI,
        {"tx.i": "dut:1", "tx.q": "dut:2", "switch.signal": "dut:marker1"},
        ("identify", "configure", "upload", "start"),
        {
            "configure": SCPI_SETTINGS,
            "upload": SCPI_SETTINGS[1:],
            "start": SCPI_SETTINGS[1:],
        },
        (("configure", "not-a-number"), ("configure", "wrong-length")),
    ),
    "keysight.infiniium": Subject(
        use_scope(400e6),
        (*SCPI, "visa"),
        {"rx.rf": "dut:1"},
        ("identify", "configure", "arm", "wait", "fetch"),
        {"configure": SCPI_SETTINGS},
        tuple(
            (at, kind)
            for at in ("configure", "fetch")
            for kind in ("not-a-number", "wrong-length")
        ),
    ),
    "tektronix.mso": Subject(
        use_scope(625e6),
        (*SCPI, "visa"),
        {"rx.rf": "dut:1"},
        ("identify", "configure", "wait", "fetch"),
        {"configure": SCPI_SETTINGS, "arm": ("drop-connection",)},
        tuple(
            (at, kind)
            for at in ("configure", "fetch")
            for kind in ("not-a-number", "wrong-length")
        ),
    ),
    "redpitaya.stemlab": Subject(
        use_board,
        ("tcp",),
        {"tx.i": "dut:1", "tx.q": "dut:2", "rx.rf": "dut:in1"},
        ("identify", "configure", "wait", "fetch"),
        {
            "configure": SCPI_SETTINGS,
            "upload": ("drop-connection", "queue-overflow"),
            "arm": ("drop-connection",),
            "start": ("drop-connection",),
        },
        tuple(
            (at, kind)
            for at in ("configure", "fetch")
            for kind in ("not-a-number", "wrong-length")
        ),
    ),
    "keysight.n7776c": Subject(
        use_laser,
        SCPI,
        {"tx.laser": "dut:1"},
        ("identify", "configure"),
        {"configure": SCPI_SETTINGS, "start": ("not-taken",)},
        (
            ("configure", "not-a-number"),
            ("start", "mode-hop"),
            ("start", "pending-forever"),
        ),
    ),
    "thorlabs.pm100": Subject(
        use_meter,
        (*SCPI, "visa"),
        {"rx.power": "dut:1"},
        ("identify", "configure", "fetch"),
        {"configure": SCPI_SETTINGS},
        (("configure", "not-a-number"), ("fetch", "not-a-number")),
    ),
    "singlequantum.websq": Subject(
        use_supply,
        ("json",),
        {"bias.z0": "dut:1"},
        ("identify", "configure", "fetch"),
        {"configure": ("not-taken", "execution-error", "reboot")},
        # Without its labels it has not answered; the number of detectors is no list.
        otherwise={
            ("identify", "wrong-identity"): REFUSED + LATE,
            ("identify", "wrong-length"): RIGHT,
            ("identify", "not-a-number"): GARBLED,
        },
    ),
    "idq.id900": Subject(
        use_tagger,
        ("zmq",),
        {f"rx.{d}": f"dut:{n}" for n, d in enumerate(("z0", "z1", "x0", "x1"), 1)},
        ("identify", "configure", "arm", "start", "wait", "fetch"),
        {"configure": ("not-taken", "execution-error", "reboot")},
        (
            ("configure", "not-a-number"),
            ("fetch", "not-a-number"),
            ("fetch", "out-of-order"),
        ),
        # What settings are answered with is not documented, so it is not looked at;
        # what was taken is read back. Half a word that a record is over is one.
        {
            (at, kind): GARBLED + LATE + RIGHT
            for at in ("configure", "arm", "start", "wait")
            for kind in ("half-block", "garbage", "not-a-number")
        },
        light=clicks,
    ),
    "itla.msa": Subject(
        use_laser,
        LINE,
        {"tx.laser": "dut:1"},
        ("identify", "configure", "switch", "fetch"),
        {
            "configure": ("not-taken", "execution-error", "reboot"),
            "switch": ("not-taken", "execution-error"),
        },
        (
            ("configure", "bad-checksum"),
            ("switch", "bad-checksum"),
            ("switch", "mode-hop"),
            ("configure", "pending-forever"),
            ("switch", "pending-forever"),
        ),
        # Reading a register is tried again, and what is left over is dropped.
        {
            "reboot": LATE,
            "slow-drip": LATE + GARBLED,
            "wrong-length": GARBLED + RIGHT,
            ("identify", "garbage"): GARBLED + RIGHT,
            ("fetch", "garbage"): GARBLED + RIGHT,
            ("identify", "half-block"): LATE + GARBLED + RIGHT,
            ("fetch", "half-block"): LATE + GARBLED + RIGHT,
        },
    ),
    "thorlabs.mdt693b": Subject(
        use_phase,
        LINE,
        {"rx.phase": "dut:2"},
        ("identify", "switch", "fetch"),
        {"switch": ("not-taken", "execution-error", "reboot")},
        (("fetch", "not-a-number"),),
        # A reply begins with its command: a second one is known and dropped.
        # What has rebooted holds 0 V, and is asked at once.
        {"reboot": REPORTED, "wrong-length": RIGHT},
    ),
    "ozoptics.dd100": Subject(
        use_voa,
        LINE,
        {"tx.attenuator": "dut:1"},
        ("identify", "configure", "fetch"),
        {"configure": ("not-taken", "execution-error", "reboot")},
        (("fetch", "not-a-number"),),
        SERIAL_REBOOT | {("identify", "wrong-length"): GARBLED + RIGHT},
    ),
    "ozoptics.epc": Subject(
        use_epc,
        LINE,
        {"rx.polarisation": "dut:1"},
        ("identify", "configure", "fetch"),
        {"configure": ("not-taken", "execution-error", "reboot")},
        (("fetch", "not-a-number"),),
        SERIAL_REBOOT | {("identify", "wrong-length"): GARBLED + RIGHT},
    ),
    "thorlabs.mbx": Subject(
        use_mbx,
        LINE,
        {"tx.bias": "dut:1", "tx.attenuator": "dut:voa1"},
        ("identify", "configure", "wait", "fetch"),
        {"configure": ("not-taken", "reboot")},
        (("fetch", "not-a-number"), ("wait", "pending-forever")),
        # Settings may be answered or not; what was taken is read behind them. One
        # that forgets the settings before the first is like one that was just on.
        {
            "reboot": REPORTED + RIGHT,
            "slow-drip": LATE + GARBLED,
            ("identify", "wrong-length"): GARBLED + RIGHT,
            ("configure", "no-reply"): LATE + RIGHT,
            ("configure", "half-block"): LATE + GARBLED + RIGHT,
            ("configure", "wrong-length"): GARBLED + RIGHT,
        },
    ),
    "generic.line_switch": Subject(
        use_switch,
        LINE,
        {"switch.signal": "dut:1"},
        ("fetch",),
        {"switch": ("not-taken", "reboot")},
        # What has rebooted is closed; a second answer says the same again.
        otherwise={"reboot": REPORTED, "wrong-length": GARBLED + RIGHT},
    ),
}


def cells():
    """Return every cell of the matrix."""
    found = []
    for driver, subject in SUBJECTS.items():
        pairs = [("identify", "wrong-identity")] if "identify" in subject.asks else []
        pairs += [(at, k) for at, kinds in subject.sets.items() for k in kinds]
        for wire in subject.wires:
            asked = [(at, k) for at in subject.asks for k in WIRES[wire]]
            for at, kind in dict.fromkeys(asked + pairs + list(subject.special)):
                errors = ERRORS[kind]
                for key in (kind, (at, kind)):
                    errors = subject.otherwise.get(key, errors)
                found.append(Cell(driver, wire, at, kind, errors))
    return found


def pairwise(found):
    """Return as few of the cells as a greedy choice finds that meet all pairs.

    Pairs are of driver, wire and fault, each with each, and of driver and verb. What
    a wire does to a reply meets the session, which drivers share: there the session
    stands for its drivers.
    """

    def pairs(cell):
        on_wire = cell.kind in WIRES[cell.wire]
        who = DRIVERS[cell.driver].link if on_wire else cell.driver
        return {
            (cell.driver, cell.wire),
            (who, cell.kind),
            (cell.wire, cell.kind),
            (cell.driver, cell.at),
        }

    missing = set().union(*(pairs(cell) for cell in found))
    left, chosen = list(found), []
    while missing:
        # The first of the best, so that the choice is always the same.
        best = max(left, key=lambda cell: len(pairs(cell) & missing))
        chosen.append(best)
        left.remove(best)
        missing -= pairs(best)
    return chosen


def parameters(on_lines):
    """Return the matrix of serial instruments or of the others, in two files.

    What is not in the cover is for the soak.
    """
    found = cells()
    covered = set(pairwise(found))
    return [
        pytest.param(
            cell,
            marks=() if cell in covered else pytest.mark.soak,
            id="-".join(["instruments", cell.driver, cell.wire, cell.at, cell.kind]),
        )
        for cell in found
        if (cell.wire in LINE) is on_lines
    ]


@contextlib.contextmanager
def laboratory(cell):
    """Serve the subject of a cell on its wire; yield the laboratory."""
    subject = SUBJECTS[cell.driver]
    carrier = "tcp" if cell.wire == "tcp" else "hislip"
    transports = {NAME: carrier} if cell.wire in {"tcp", "hislip", "visa"} else {}
    # A terminal is what serial instruments have unless they are given a port.
    port = free_ports(1) if cell.wire == "socket" else 0
    request = ServeRequest(
        sim=SimSettings(transports=transports),
        instruments={NAME: EmulatedInstrument(driver=cell.driver, port=port)},
        wiring=subject.wiring,
    )
    lab = EmulatedLab(request, subject.light())
    try:
        yield lab
    finally:
        lab.close()


def driver_on(cell, lab, open_timeout_s=PATIENT_S, io_timeout_s=PATIENT_S):
    """Return the driver of a cell on a new link, not yet open."""
    place = lab.endpoints[NAME]
    place = visa_name(place) if cell.wire == "visa" else place
    kind = DRIVERS[cell.driver].link
    return make_driver(
        cell.driver, make_link(kind, NAME, place, open_timeout_s, io_timeout_s)
    )


def use_once(cell, lab, plan=None):
    """Open, use as intended, close; the plan's faults strike as soon as they can.

    Without faults there is time enough, on a busy machine too.
    """
    device, at_once = lab.devices[NAME], plan is not None and cell.at == "identify"
    io_timeout_s = PATIENT_S if plan is None else IO_TIMEOUT_S
    driver = driver_on(cell, lab, IO_TIMEOUT_S if at_once else PATIENT_S, io_timeout_s)
    plan = plan or FaultPlan(NAME)
    if at_once:
        device.faults = plan
    try:
        identity = driver.open()
        if cell.kind == "wrong-identity" and plan.struck_s:
            # The bench compares with what is expected.
            raise ConnectError(NAME, "identify", f"{identity} is another one")
        device.faults = plan
        SUBJECTS[cell.driver].use(driver, io_timeout_s)
    finally:
        driver.close()


@dataclass
class Outcome:
    """How a use with a fault ended, and what it took [s]."""

    error: Exception | None
    since_strike_s: float
    wall_s: float
    cpu_s: float
    struck: bool


def strike(cell, lab):
    """Use the subject once with the fault of its cell."""
    times = 1000 if cell.kind in LASTING else 1
    plan = FaultPlan(NAME, [Fault(cell.at, cell.kind, times)])
    begin_s, cpu_s = time.monotonic(), time.process_time()
    error = None
    try:
        use_once(cell, lab, plan)
    except InstrumentError as raised:
        error = raised
    end_s, cpu_s = time.monotonic(), time.process_time() - cpu_s
    lab.devices[NAME].faults = FaultPlan(NAME)
    last_s = plan.struck_s[-1] if plan.struck_s else begin_s
    return Outcome(error, end_s - last_s, end_s - begin_s, cpu_s, bool(plan.struck_s))


def make_safe(cell, lab):
    """Make the station safe over fresh links; return how long it took [s].

    One that cannot be opened yet is tried again, as bench and watchdog do.
    """
    begin_s = time.monotonic()
    while True:
        driver = driver_on(cell, lab)
        try:
            driver.open()
            driver.safe_state(PATIENT_S)
            return time.monotonic() - begin_s
        except InstrumentError:
            if time.monotonic() > begin_s + GIVE_UP_S:
                raise
        finally:
            driver.close()


def held():
    """Return the threads and the open files of this process."""
    files = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            files.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return {t.ident for t in threading.enumerate()}, files


def left_over(before):
    """Return the threads and files that were not there before, and stay.

    Threads that close what hung are waited for by nobody.
    """
    end_s = time.monotonic() + PATIENT_S
    while True:
        threads, files = held()
        found = (threads - before[0]) | (files - before[1])
        if not found or time.monotonic() > end_s:
            return found
        # Takes long, and is needed for cycles alone.
        gc.collect()
        time.sleep(0.02)


def in_time(cell, outcome):
    """Fail as late if there was too little time for the fault, or it took too long."""
    if not outcome.struck:
        raise Late("the fault was not met")
    if isinstance(outcome.error, cell.errors):
        if outcome.error is not None:
            limited(outcome.since_strike_s, IO_TIMEOUT_S + SLACK_S)
    elif isinstance(outcome.error, (ConnectError, InstrumentTimeout)):
        raise Late(f"cut off: {outcome.error}")


@not_late_each_time
def check(cell):
    """Assert that a fault ends as documented, in time, and leaves nothing behind."""
    before = held()
    with laboratory(cell) as lab:
        device = lab.devices[NAME]
        outcome = strike(cell, lab)
        in_time(cell, outcome)
        assert isinstance(outcome.error, cell.errors)
        if outcome.error is not None:
            assert outcome.error.instrument == NAME
        if outcome.wall_s >= IO_TIMEOUT_S:
            # Who waits does not spin.
            limited(outcome.cpu_s, 0.8 * outcome.wall_s)
        # An emulator that still sends cannot be spoken to on some wires.
        limited(make_safe(cell, lab), SAFE_S + BUSY_S.get(cell.kind, 0.0))
        assert getattr(device, "is_safe", True)
        # The fault is over: all is well again, with nothing stale.
        use_once(cell, lab)
    assert not left_over(before)


def warm_up():
    """Use every driver once: what is imported and compiled has no deadline then."""
    for driver in SUBJECTS:
        cell = next(c for c in cells() if c.driver == driver)
        with laboratory(cell) as lab:
            use_once(cell, lab)
