"""Two programs, one bench: the second is refused, and a crash locks nobody out."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from bench_kit import UNWATCHED, WIRING, bench_on, served, settings_for
from watch_kit import TCP, gone, lit_program

from driver import bench_lock
from driver.bench import Bench
from driver.bench_lock import BenchLock, canonical, runtime_folder
from driver.processes import ProcessRef
from driver.settings import SafetySettings
from scqc.core.errors import ConnectError

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(os.name != "posix", reason="POSIX locks"),
]
RESOURCE = "tcp://192.0.2.77:5025"
HOLDER = """
import pathlib
import sys
from driver import bench_lock
from driver.bench_lock import BenchLock
bench_lock._BASE = pathlib.Path(sys.argv[2])
BenchLock({"awg": sys.argv[1]}).acquire()
print("held", flush=True)
input()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A runtime folder of this test's own."""
    monkeypatch.setattr(bench_lock, "_BASE", tmp_path)
    # Another environment is no other place.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "other"))
    return tmp_path / f"scqc-{os.getuid()}"


@pytest.fixture
def holder(folder):
    """Another program that has the lock of `RESOURCE`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, RESOURCE, str(folder.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_program_is_told_who_holds_what(holder):
    with pytest.raises(ConnectError) as caught:
        BenchLock({"scope": "tcp://192.0.2.78:1", "awg": RESOURCE.upper()}).acquire()
    message = str(caught.value)
    started = ProcessRef.of(holder.pid).started_utc
    for part in ("awg", "tcp://192.0.2.77:5025".upper(), str(holder.pid), started):
        assert part in message
    assert "end that program or wait" in message
    # It gave back what it had taken before.
    BenchLock({"scope": "tcp://192.0.2.78:1"}).acquire()


def test_a_crash_leaves_no_lock(holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(20.0)
    lock = BenchLock({"awg": RESOURCE})
    lock.acquire()
    held = lock.paths
    assert held
    assert all(path.exists() for path in held)
    lock.release()
    assert not any(path.exists() for path in held)


def test_a_second_bench_on_the_same_instruments_is_refused():
    """Before a byte is sent to them."""
    with served() as lab:
        with bench_on(lab):
            second = bench_on(lab)
            with pytest.raises(ConnectError, match=f"process {os.getpid()}"), second:
                pass
            assert lab.devices["awg"].is_safe
        with bench_on(lab) as bench:
            bench.awg.ping()


def test_a_killed_programs_bench_is_free_once_it_is_safe(monkeypatch):
    """Until then the watchdog holds it, and says so to who waits too long."""
    monkeypatch.setattr("driver.bench_lock.PATIENCE_S", 0.3)
    with lit_program(TCP) as victim:
        settings = settings_for({n: victim.lab.endpoints[n] for n in TCP})
        os.kill(victim.watchdog_pid, signal.SIGSTOP)
        victim.process.kill()
        victim.process.wait(20.0)
        second = Bench(settings, WIRING, SafetySettings(), UNWATCHED)
        with pytest.raises(ConnectError, match="watchdog of process"), second:
            pass
        assert not victim.is_dark
        monkeypatch.setattr("driver.bench_lock.PATIENCE_S", 20.0)
        os.kill(victim.watchdog_pid, signal.SIGCONT)
        # Waited for, not refused.
        with Bench(settings, WIRING, SafetySettings(), UNWATCHED) as bench:
            bench.awg.ping()
        assert gone(victim.watchdog_pid)
        assert victim.is_dark
        with Bench(settings, WIRING, SafetySettings(), UNWATCHED) as bench:
            bench.awg.ping()


def test_one_port_has_one_lock_whatever_it_is_called(tmp_path):
    port, name = tmp_path / "ttyUSB0", tmp_path / "by-id"
    port.touch()
    name.symlink_to(port)
    assert canonical(f"serial://{name}?baud=9600") == canonical(f"serial://{port}")
    assert canonical("TCP://Scope:5025") == canonical("tcp://scope:5025")
    assert canonical("tcp://scope:5025") != canonical("tcp://scope:5026")
    for one, other in (
        ("tcp://h:12000?counts=12345", "tcp://h:12000"),
        ("zmq://h:5555", "zmq://H"),
        ("zmq://h:5555?datalink=5556&stream=5557", "zmq://h"),
        ("hislip://h", "hislip://h:4880/hislip0"),
        ("tcp://127.0.0.1:7", "tcp://localhost:7"),
        ("tcp://[::1]:7", "tcp://LOCALHOST:7"),
    ):
        assert canonical(one) == canonical(other)
    assert canonical("hislip://h/hislip1") != canonical("hislip://h")
    assert canonical("zmq://h:5554") != canonical("zmq://h")


def test_names_of_pseudo_terminals_are_not_followed(tmp_path):
    """They are given to somebody else as soon as one is closed."""
    ours, theirs = os.openpty()
    (tmp_path / "phase").symlink_to(os.ttyname(theirs))
    assert canonical(f"serial://{tmp_path}/phase") == f"serial://{tmp_path}/phase"
    os.close(ours)
    os.close(theirs)


def test_two_names_of_one_resource_on_one_bench_are_one_lock(folder):
    lock = BenchLock({"a": RESOURCE, "b": RESOURCE})
    lock.acquire()
    assert len(lock.handles) == 1
    lock.release()
    assert not list(folder.glob("*.lock"))


def test_a_lock_removed_while_it_was_waited_for_is_taken_anew(folder, monkeypatch):
    """Its file is a new one; two programs must not each hold their own."""
    first = BenchLock({"awg": RESOURCE})
    first.acquire()
    original, calls = bench_lock._lock, []

    def slow(handle):
        if not calls:
            calls.append(handle)
            first.release()
        return original(handle)

    monkeypatch.setattr(bench_lock, "_lock", slow)
    second = BenchLock({"awg": RESOURCE})
    second.acquire()
    with pytest.raises(ConnectError, match="in use"):
        BenchLock({"awg": RESOURCE}).acquire()
    second.release()


def test_the_folder_is_this_users_alone(folder, tmp_path):
    assert stat.S_IMODE(runtime_folder().stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(ConnectError, match="open to others"):
        runtime_folder()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConnectError, match="somebody else"):
        runtime_folder()


def test_a_clock_of_starts_is_plausible():
    started = ProcessRef.here().started_utc
    assert started <= f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    assert started.startswith("20")
