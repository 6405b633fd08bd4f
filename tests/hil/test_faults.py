"""Every fault ends in its documented error, in time, and leaves nothing behind."""

import signal
import socket
import threading
import time

import numpy as np
import pytest
from bench_kit import AMPLITUDE_VPP, RATE_HZ, bench_on, served
from patience_kit import PATIENT_S, given_up, not_late_each_time, struck, within
from pydantic import ValidationError
from role_kit import sampled

from driver.awg.keysight_m8190a import KeysightM8190A
from driver.capture import record
from driver.digitizer.keysight_infiniium import KeysightInfiniium
from driver.hal import AwgConfig, DigitizerConfig
from driver.scpi.link import ScpiLink
from driver.transports.tcp import TcpTransport
from scqc.core.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    InstrumentError,
    InstrumentTimeout,
    WireProtocolError,
)
from scqc.core.records import Waveform
from sim_backends.faults import LATE_S, Fault, FaultPlan
from sim_backends.settings import FaultSettings

pytestmark = pytest.mark.hil

IO_TIMEOUT_S = 0.3
CONFIG = DigitizerConfig(rate_hz=RATE_HZ, n_samples=2048, range_v={1: 0.8})
LOST = (ConnectionLost,)
LATE = (InstrumentTimeout,)
GARBLED = (WireProtocolError,)

CASES = [
    ("awg", "identify", "drop-connection", LOST),
    ("awg", "identify", "no-reply", LATE),
    ("awg", "identify", "late-reply", LATE),
    ("awg", "identify", "garbage", GARBLED),
    ("awg", "identify", "wrong-identity", (ConnectError,)),
    ("awg", "configure", "drop-connection", LOST),
    ("awg", "configure", "no-reply", LATE),
    ("awg", "configure", "late-reply", LATE),
    ("awg", "configure", "garbage", GARBLED),
    ("awg", "upload", "drop-connection", LOST),
    ("awg", "upload", "no-reply", LATE),
    ("awg", "start", "drop-connection", LOST),
    ("awg", "start", "late-reply", LATE),
    ("awg", "switch", "drop-connection", LOST),
    ("scope", "identify", "wrong-identity", (ConnectError,)),
    ("scope", "configure", "drop-connection", LOST),
    ("scope", "configure", "no-reply", LATE),
    ("scope", "arm", "drop-connection", LOST),
    ("scope", "arm", "no-reply", LATE),
    ("scope", "wait", "drop-connection", LOST),
    ("scope", "wait", "no-reply", LATE),
    ("scope", "wait", "garbage", GARBLED),
    ("scope", "fetch", "drop-connection", LOST),
    ("scope", "fetch", "no-reply", LATE),
    ("scope", "fetch", "half-block", GARBLED + LATE),
    ("scope", "fetch", "garbage", GARBLED),
    ("scope", "fetch", "late-reply", LATE),
]
# The same through messages instead of a byte stream, where that differs.
BOTH_HISLIP = {"awg": "hislip", "scope": "hislip"}
BY_TRANSPORT = [
    *(({}, *case) for case in CASES),
    *(
        (BOTH_HISLIP, *case)
        for case in CASES
        if case[:2] in {("awg", "configure"), ("scope", "fetch")}
    ),
]


def whole_run(lab, io_timeout_s=PATIENT_S, record_s=PATIENT_S):
    """Open, configure, upload and record once."""
    bench = bench_on(
        lab, io_timeout_s, awg={"model": "M8190A"}, scope={"model": "MXR404A"}
    )
    with bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        samples = np.full((2, 1280), 0.1, dtype=np.float32)
        bench.awg.upload(Waveform(samples, RATE_HZ))
        return record(bench, "signal", CONFIG, record_s)


@pytest.mark.parametrize(
    ("transports", "instrument", "at", "kind", "errors"), sampled(BY_TRANSPORT, 3)
)
@not_late_each_time
def test_fault_ends_in_its_typed_error(transports, instrument, at, kind, errors):
    before = {t.ident for t in threading.enumerate()}
    with served({instrument: [(at, kind)]}, transports=transports) as lab:
        start = time.monotonic()
        # Only where a reply is to be late is there a hurry.
        hurry = (IO_TIMEOUT_S, 2.0) if InstrumentTimeout in errors else ()
        with pytest.raises(InstrumentError) as caught:
            whole_run(lab, *hurry)
        struck(lab.devices[instrument])
        assert isinstance(caught.value, errors)
        # Reading has the 2 s of the whole record. Leaving costs a late reply.
        limit_s = 2.0 if at == "fetch" else IO_TIMEOUT_S
        within(limit_s + LATE_S + 4.0, start)
        assert caught.value.instrument == instrument
        assert instrument in str(caught.value)
        if kind != "wrong-identity" and at != "identify":
            assert lab.devices["awg"].is_safe
        # The fault struck once: the bench works again, with nothing stale.
        trace = whole_run(lab)
        level_v = trace.codes[0, 200] * trace.scale_v[0]
        assert level_v == pytest.approx(0.1, abs=0.8 / 1024)
    left = [t for t in threading.enumerate() if t.ident not in before]
    assert not left


@pytest.mark.parametrize("idle_s", [0.0, LATE_S + 0.2])
@not_late_each_time
def test_a_late_reply_never_answers_the_next_query(idle_s):
    with served({"awg": [("configure", "late-reply")]}) as lab:
        link = ScpiLink(TcpTransport("awg", lab.endpoints["awg"]))
        link.open()
        given_up(InstrumentTimeout, lambda: link.query(":FREQ:RAST?", 0.2))
        time.sleep(idle_s)
        assert link.query(":VOLT1?") == "0.5"
        assert link.query("*IDN?").startswith("Agilent")
        link.close()


def test_half_a_block_is_told_from_silence():
    with served({"scope": [("fetch", "half-block")]}) as lab:
        link = ScpiLink(TcpTransport("scope", lab.endpoints["scope"]))
        link.open()
        link.write(":WAV:STR ON\n:ACQ:POIN 64\n:TRIG:SWE AUTO\n:SING")
        while link.query(":PDER?") == "0":
            time.sleep(0.001)
        with pytest.raises(WireProtocolError, match="63 of 128 bytes"):
            link.query_block(":WAV:DATA?", "<i2", 64, 1.0)
        assert link.query_block(":WAV:DATA?", "<i2", 64).size == 64
        link.close()


@pytest.mark.parametrize("count", [63, 65])
def test_a_block_of_another_length_is_refused(count):
    for streaming in ("ON", "OFF"):
        with served() as lab:
            transport = TcpTransport("scope", lab.endpoints["scope"])
            link = ScpiLink(transport)
            link.open()
            link.write(f":WAV:STR {streaming}\n:ACQ:POIN 64\n:SING")
            while link.query(":PDER?") == "0":
                time.sleep(0.001)
            with pytest.raises(WireProtocolError):
                link.query_block(":WAV:DATA?", "<i2", count, 1.0)
            assert link.query(":ACQ:POIN?") == "64"
            link.close()


def test_idempotent_query_survives_a_lost_link():
    with served({"awg": [("configure", "drop-connection")]}) as lab:
        link = ScpiLink(TcpTransport("awg", lab.endpoints["awg"]))
        link.open()
        assert link.query(":VOLT1?", idempotent=True) == "0.5"
        link.close()


def test_an_interrupt_in_a_query_leaves_no_stale_reply(monkeypatch):
    with served() as lab:
        link = ScpiLink(TcpTransport("awg", lab.endpoints["awg"]))
        link.open()
        original = TcpTransport.read_line

        def interrupted(self, deadline, limit=1 << 20):
            raise KeyboardInterrupt

        monkeypatch.setattr(TcpTransport, "read_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.query("*IDN?")
        monkeypatch.setattr(TcpTransport, "read_line", original)
        assert link.query(":VOLT1?") == "0.5"
        link.close()


def test_all_instruments_that_failed_are_listed():
    faults = {name: [("identify", "wrong-identity")] for name in ("awg", "scope")}
    with (
        served(faults) as lab,
        pytest.raises(ConnectError, match="2 of 2") as caught,
        bench_on(lab, awg={"model": "M8190A"}, scope={"vendor": "KEYSIGHT"}),
    ):
        pass
    assert "Model X" in str(caught.value)
    assert "Somebody Else" in str(caught.value)
    assert isinstance(caught.value.__cause__, ExceptionGroup)


def test_one_bad_instrument_leaves_the_other_safe():
    with served({"scope": [("identify", "wrong-identity")]}) as lab:
        awg = lab.devices["awg"]
        awg.channels[1].output = True
        with (
            pytest.raises(ConnectError),
            bench_on(lab, scope={"model": "MXR404A"}),
        ):
            pass
        assert awg.is_safe


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_any_exit_leaves_the_safe_state(error):
    with served() as lab:
        awg = lab.devices["awg"]
        with pytest.raises(error), bench_on(lab) as bench:  # noqa: PT012
            bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
            samples = np.full((2, 1280), 0.1, dtype=np.float32)
            bench.awg.upload(Waveform(samples, RATE_HZ))
            bench.switch("switch.signal").set_open(True)
            bench.awg.start()
            assert not awg.is_safe
            raise error
        assert awg.is_safe
        assert lab.cables.light.levels == {"signal": 0.0, "lo": 0.0}


def test_an_interrupt_while_opening_leaves_the_safe_state(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    with served() as lab:
        lab.devices["awg"].channels[2].output = True
        monkeypatch.setattr(KeysightInfiniium, "open", interrupted)
        with pytest.raises(KeyboardInterrupt), bench_on(lab):
            pass
        assert lab.devices["awg"].is_safe


def test_a_link_that_died_unnoticed_does_not_prevent_the_safe_state():
    """The peer's end shows only when the safe state is sent: it is sent again."""
    with served() as lab:
        with bench_on(lab) as bench:
            bench.switch("switch.lo").set_open(True)
            for connection in list(lab.servers["awg"]._open):
                connection.shutdown(socket.SHUT_RDWR)
        assert lab.devices["awg"].is_safe


def test_ctrl_c_waits_until_the_bench_is_safe(monkeypatch):
    """An impatient second Ctrl-C must not cut the way to the safe state short."""
    original = KeysightInfiniium.safe_state

    def impatient(self, timeout_s):
        signal.raise_signal(signal.SIGINT)
        original(self, timeout_s)

    with served() as lab:
        bench = bench_on(lab)
        with pytest.raises(KeyboardInterrupt), bench:  # noqa: PT012
            bench.switch("switch.lo").set_open(True)
            monkeypatch.setattr(KeysightInfiniium, "safe_state", impatient)
        assert lab.devices["awg"].is_safe
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_safe_state_test_sees_a_missing_safe_state(monkeypatch):
    """The test above must fail when the driver forgets its duty."""
    with served() as lab:
        with bench_on(lab) as bench:
            bench.switch("switch.lo").set_open(True)
            monkeypatch.setattr(KeysightM8190A, "safe_state", lambda *_: None)
        assert not lab.devices["awg"].is_safe


def test_one_failing_instrument_does_not_stop_the_others():
    with served() as lab:
        bench = bench_on(lab, IO_TIMEOUT_S)
        with pytest.raises(ConnectError), bench:  # noqa: PT012
            bench.switch("switch.lo").set_open(True)
            # Opened last, so made safe first.
            lab.servers["scope"].close()
        assert lab.devices["awg"].is_safe


@pytest.mark.parametrize(("at", "kind"), [("fetsch", "garbage"), ("fetch", "fire")])
def test_unknown_faults_are_refused(at, kind):
    with pytest.raises(ConfigError, match="one of"):
        FaultPlan("scope", [Fault(at, kind)])
    with pytest.raises(ValidationError, match="should be"):
        FaultSettings(at=at, kind=kind)
