"""The emulator process: started, used, and gone with its program."""

import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from bench_kit import AMPLITUDE_VPP, PATIENT, RATE_HZ, WIRING, settings_for

from driver.bench import Bench
from driver.capture import record
from driver.hal import AwgConfig, DigitizerConfig
from driver.processes import ProcessRef
from driver.scpi.link import ScpiLink
from driver.transports.tcp import TcpTransport
from scqc.core.errors import ConnectError
from scqc.core.records import Waveform
from scqc.runs import station as station_module
from scqc.runs.station import station
from sim_backends.settings import FaultSettings, SimSettings

pytestmark = pytest.mark.hil

CONFIGURED = settings_for(
    {"awg": "tcp://192.0.2.1:5025", "scope": "tcp://192.0.2.2:5025"}, 20.0
)


def gone(pid):
    return not ProcessRef.of(pid).is_alive


def test_without_sim_nothing_is_touched():
    with station(CONFIGURED, WIRING, None) as bench:
        assert bench.instruments is CONFIGURED
        assert bench.pid is None


def test_a_record_through_the_virtual_laboratory():
    with station(CONFIGURED, WIRING, SimSettings(), tap=True) as found:
        with Bench(found.instruments, found.wiring, supervision=PATIENT) as bench:
            bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
            t = np.arange(12800) / RATE_HZ
            tone = 0.2 * np.exp(-2j * np.pi * 55e6 * t)
            samples = np.stack([tone.real, tone.imag]).astype(np.float32)
            bench.awg.upload(Waveform(samples, RATE_HZ))
            config = DigitizerConfig(RATE_HZ, 16384, {1: 0.4})
            traces = {
                kind: record(bench, kind, config, 60.0)
                for kind in ("signal", "shot", "electronic")
            }
        host, port = found.tap.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), 60.0) as tap:
            data = b"".join(iter(lambda: tap.recv(1 << 16), b""))
    codes = np.load(io.BytesIO(data))
    np.testing.assert_array_equal(codes, np.rint(samples * 2047 / 0.25))
    power = {k: float(np.var(t.codes[0] * t.scale_v[0])) for k, t in traces.items()}
    assert power["signal"] > power["shot"] > power["electronic"]
    assert gone(found.pid)


def test_faults_reach_the_emulators():
    faults = {"scope": [FaultSettings(at="identify", kind="wrong-identity")]}
    wanted = dict(CONFIGURED)
    wanted["scope"] = CONFIGURED["scope"].model_copy(
        update={"expect": CONFIGURED["scope"].expect.model_copy(update={"model": "M"})}
    )
    with (
        station(wanted, WIRING, SimSettings(faults=faults)) as found,
        pytest.raises(ConnectError, match="Model X"),
        Bench(found.instruments, found.wiring, supervision=PATIENT),
    ):
        pass


def test_emulators_that_cannot_start_say_why():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"scope": taken.getsockname()[1]}
        start = time.monotonic()
        with (
            pytest.raises(ConnectError, match=r"not started.*in use"),
            station(CONFIGURED, WIRING, SimSettings(ports=ports)),
        ):
            pass
    assert time.monotonic() - start < 30.0


def test_start_has_a_deadline(monkeypatch):
    spawned = []

    def spawn(log):
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        spawned.append(process)
        return process

    monkeypatch.setattr(station_module, "_spawn", spawn)
    with (
        pytest.raises(ConnectError, match=r"not ready within 0\.3 s"),
        station(CONFIGURED, WIRING, SimSettings(), start_timeout_s=0.3),
    ):
        pass
    assert spawned[0].returncode is not None


PROGRAM = """
    import sys, time
    from bench_kit import PATIENT, WIRING, settings_for
    from driver.bench import Bench
    settings = settings_for({"awg": sys.argv[1], "scope": sys.argv[2]}, 60.0)
    with Bench(settings, WIRING, supervision=PATIENT) as bench:
        bench.switch("switch.signal").set_open(True)
        bench.awg._link.write(":OUTP1 ON")
        bench.awg.ping()
        print("lit", flush=True)
        time.sleep(300)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_bench_dark(number):
    with station(CONFIGURED, WIRING, SimSettings()) as found:
        places = [found.instruments[n].resource for n in ("awg", "scope")]
        environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__) + "/.."}
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), *places],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        link = ScpiLink(TcpTransport("awg", places[0]))
        link.open()
        with process.stdout as said:
            assert said.readline() == b"lit\n"
        assert link.query(":OUTP1?") == "1"
        assert link.query(":MARK1:SAMP:VOLT:LOW?") == "1.4"
        process.send_signal(number)
        assert process.wait(60.0) != 0
        assert link.query(":OUTP1?") == "0"
        assert link.query(":MARK1:SAMP:VOLT:LOW?") == "0"
        link.close()


@pytest.mark.skipif(os.name != "posix", reason="POSIX processes")
def test_emulators_do_not_outlive_a_killed_program():
    program = """
        import os, signal
        from bench_kit import WIRING, settings_for
        from scqc.runs.station import station
        from sim_backends.settings import SimSettings
        places = {"awg": "tcp://h:1", "scope": "tcp://h:2"}
        with station(settings_for(places), WIRING, SimSettings()) as found:
            print(found.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__) + "/.."}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        env=environment,
        timeout=300,
        check=False,
    )
    pid = int(said.stdout)
    # They stay for two seconds: a watchdog may want to make them safe.
    end = time.monotonic() + 120.0
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert gone(pid)
