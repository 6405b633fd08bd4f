"""A program with light on, for tests that end, stop or hang it.

The emulators live in the test's own process and so outlive the program, like
instruments in a lab. What is measured is the time from the signal until they are
all dark.
"""

import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_kit import KINDS, WIRING, PlainLight, served

from driver.processes import ProcessRef

HOME = Path(__file__).resolve().parents[1]
# Dark for so long is dark for good.
SETTLED_S = 0.4
TCP = ("awg", "scope")
SERIAL = ("awg", "scope", "phase")
WATCHED_WIRING = WIRING | {"rx.phase": "phase:2"}
PROGRAM = """
    import ctypes, os, sys, time
    import numpy as np
    from driver.bench import Bench
    from driver.guard import Supervision
    from driver.hal import AwgConfig
    from driver.settings import InstrumentSettings, SafetySettings
    from scqc.core.errors import WatchdogError
    from scqc.core.records import Waveform

    watchdog, how, *places = sys.argv[1:]
    settings = {}
    for place in places:
        name, role, driver, resource = place.split(" ")
        settings[name] = InstrumentSettings(role=role, driver=driver, resource=resource)
    # Only one that is to hang may be thought to: a busy machine lets programs wait.
    patience = {} if how == "hang" else {"hang_s": 30.0}
    supervision = Supervision(watchdog == "watched", **patience)
    wiring = {"switch.signal": "awg:marker1"}
    bench = Bench(settings, wiring, SafetySettings(), supervision)
    try:
        with bench:
            bench.switch("switch.signal").set_open(True)
            bench.awg.configure(AwgConfig(400e6, {1: 0.5, 2: 0.5}))
            samples = np.full((2, 6400), 0.1, dtype=np.float32)
            bench.awg.upload(Waveform(samples, 400e6))
            bench.awg.start()
            if "phase" in settings:
                bench.phase_modulator.set_voltage(2, 20.0)
            pid = bench._guard.pid if bench._guard else 0
            print("lit", pid, flush=True)
            if how == "hang":
                sys.stdin.readline()
                # Through PyDLL the lock of the interpreter is held meanwhile.
                ctypes.PyDLL(None).usleep(int(sys.stdin.readline()))
            while True:
                # Light on again and again, as a run does.
                bench.switch("switch.signal").set_open(True)
                bench.awg.upload(Waveform(samples, 400e6))
                bench.awg.start()
    except WatchdogError as error:
        print("told", error, flush=True)
        sys.exit(4)
"""


@dataclass
class Victim:
    """The program and what became of the light it had on."""

    process: subprocess.Popen
    lab: object
    watchdog_pid: int

    @property
    def is_dark(self):
        levels = self.lab.cables.light.levels
        safe = all(getattr(d, "is_safe", True) for d in self.lab.devices.values())
        return safe and levels.get("signal", 0.0) == 0.0

    def dark_after(self, begin_s, limit_s=60.0):
        """Return how long after `begin_s` all is dark for good [s]."""
        lit_s = time.monotonic()
        while (now_s := time.monotonic()) < lit_s + SETTLED_S:
            if not self.is_dark:
                lit_s = now_s
                if now_s > begin_s + limit_s:
                    return float("inf")
            time.sleep(1e-3)
        return lit_s - begin_s

    def said(self):
        """Return the rest of what the program said, and its exit code."""
        out, _ = self.process.communicate(timeout=60.0)
        return out.decode(), self.process.returncode


@contextmanager
def lit_program(names=TCP, how="play", watched=True, transports=None):
    """Run a program until its light is on."""
    with served(
        light=PlainLight(),
        names=names,
        wiring={s: p for s, p in WATCHED_WIRING.items() if p.split(":")[0] in names},
        transports=transports or {},
    ) as lab:
        places = [f"{n} {' '.join(KINDS[n])} {lab.endpoints[n]}" for n in names]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", textwrap.dedent(PROGRAM)),
                *("watched" if watched else "alone", how, *places),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HOME,
        )
        try:
            word, pid = process.stdout.readline().split()
            assert word == b"lit"
            victim = Victim(process, lab, int(pid))
            assert not victim.is_dark
            yield victim
        finally:
            process.kill()
            process.communicate()


def gone(pid, timeout_s=60.0):
    """Return whether a process ends in time."""
    process, end = ProcessRef.of(pid), time.monotonic() + timeout_s
    while process.is_alive and time.monotonic() < end:
        time.sleep(0.02)
    return not process.is_alive
