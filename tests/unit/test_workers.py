"""Workers of a pool: they do not outlive the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scqc.plan import sweeps
from scqc.plan.grids import grid_of
from scqc.plan.sweeps import run_sweep
from scqc.plan.workers import Workers

SCRIPT = """
import time
from scqc.plan.workers import Workers, run_chunks
list(run_chunks(time.sleep, [120.0] * 4, Workers(2)))
"""
PATIENCE_S = 60.0


def stat(pid):
    """Return state and parent of a process; nothing if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def children(pid):
    numbers = (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    return [one for one in numbers if stat(one)[1] == pid]


def runs(pid):
    return stat(pid)[0] not in {"", "Z", "X"}


def wait_until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "did not come in time"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT])
    try:
        # Two workers, and what keeps track of their shared memory.
        wait_until(lambda: len(children(parent.pid)) >= 3)
        workers = children(parent.pid)
        time.sleep(1.0)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert len(workers) >= 3
    wait_until(lambda: not any(runs(pid) for pid in workers))


def test_paths_for_workers_do_not_depend_on_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = []
    monkeypatch.setattr(
        sweeps, "run_chunks", lambda f, i, w: iter(sent.extend(i) or ())
    )
    grid = grid_of("fiber-metro", [], ["length_km=0:40:3"])
    list(run_sweep(grid, Path("sweeps"), Workers(1)))
    assert [os.fspath(path.parent) for _, _, path in sent] == [f"{tmp_path}/sweeps"]
