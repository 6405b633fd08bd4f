"""Figures of the bench: how fast a station opens, and how fast it goes dark.

    python -m benchmarks.instruments [--json] [--quick]

Ten emulated instruments in a process of their own, over loopback: SCPI on raw TCP
and HiSLIP, ZeroMQ, serial lines on pseudo-terminals.

- open to ready: locks, connections, identities, safe states and the watchdog,
  from entering the bench until it may be armed; and leaving it;
- darkness: from the end, stop or hang of a program with its light on until the
  last output is off.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.table import print_table
from driver.bench import Bench
from driver.guard import Supervision
from driver.scpi.link import ScpiLink
from driver.settings import InstrumentSettings
from driver.transports.tcp import TcpTransport
from scqc.runs.station import Station, station
from sim_backends.settings import SimSettings

#: Role, driver and a resource of the right form; the emulators give the real one.
TEN = {
    "awg": ("awg", "keysight.m8190a", "tcp://192.0.2.1:5025"),
    "awg2": ("awg", "keysight.m8190a", "tcp://192.0.2.2:5025"),
    "awg3": ("awg", "tektronix.awg70000", "tcp://192.0.2.3:5025"),
    "scope": ("digitizer", "keysight.infiniium", "tcp://192.0.2.4:5025"),
    "scope2": ("digitizer", "keysight.infiniium", "tcp://192.0.2.5:5025"),
    "scope3": ("digitizer", "keysight.infiniium", "tcp://192.0.2.6:5025"),
    "tagger": ("time-tagger", "idq.id900", "zmq://192.0.2.7"),
    "phase": ("phase-modulator", "thorlabs.mdt693b", "serial:///dev/ttyUSB0"),
    "phase2": ("phase-modulator", "thorlabs.mdt693b", "serial:///dev/ttyUSB1"),
    "phase3": ("phase-modulator", "thorlabs.mdt693b", "serial:///dev/ttyUSB2"),
}
HISLIP = {"scope2": "hislip", "scope3": "hislip"}
# Switches an output on, says so, and goes on until it is ended.
LIT = """
import ctypes, sys
from driver.bench import Bench
from driver.settings import InstrumentSettings
_, driver, resource = sys.argv
settings = InstrumentSettings(role="awg", driver=driver, resource=resource)
with Bench({"awg": settings}, {}) as bench:
    bench.instrument("awg").set_marker_level(1, 1.4)
    print("lit", flush=True)
    sys.stdin.readline()
    # Holds the lock of the interpreter, like a hung library.
    ctypes.PyDLL(None).usleep(5_000_000)
"""


def _act(number: int | None) -> Callable[[subprocess.Popen[bytes]], None]:
    """Return what ends, stops or hangs a program."""

    def act(program: subprocess.Popen[bytes]) -> None:
        if number is not None:
            program.send_signal(number)
        elif program.stdin is not None:
            program.stdin.write(b"\n")
            program.stdin.flush()

    return act


ENDS = {"kill": _act(signal.SIGKILL), "stop": _act(signal.SIGSTOP), "hang": _act(None)}


@contextmanager
def ten_instruments() -> Iterator[Station]:
    """Serve the ten instruments in a process of their own."""
    settings = {
        name: InstrumentSettings(role=role, driver=driver, resource=resource)
        for name, (role, driver, resource) in TEN.items()
    }
    sim = SimSettings.model_validate({"transports": HISLIP})
    with station(settings, {}, sim) as place:
        yield place


def open_to_ready(repeats: int) -> list[dict[str, Any]]:
    """Measure opening and leaving, with the watchdog and without."""
    rows = []
    with ten_instruments() as place:
        for watched in (True, False):
            opened_s, left_s = [], []
            for _ in range(repeats):
                bench = Bench(
                    place.instruments, {}, supervision=Supervision(watchdog=watched)
                )
                begin_s = time.perf_counter()
                with bench:
                    opened_s.append(time.perf_counter() - begin_s)
                    begin_s = time.perf_counter()
                left_s.append(time.perf_counter() - begin_s)
            rows.append(
                {
                    "instruments": len(TEN),
                    "watchdog": watched,
                    "open_median_s": statistics.median(opened_s),
                    "open_worst_s": max(opened_s),
                    "leave_median_s": statistics.median(left_s),
                }
            )
    return rows


def darkness(repeats: int) -> list[dict[str, Any]]:
    """Measure how long light outlives the program that switched it on."""
    rows = []
    settings = InstrumentSettings(
        role="awg", driver="keysight.m8190a", resource="tcp://192.0.2.1:5025"
    )
    with station({"awg": settings}, {}, SimSettings()) as place:
        resource = place.instruments["awg"].resource
        for name, act in ENDS.items():
            times_s = [_lit_for_s(resource, act) for _ in range(repeats)]
            rows.append(
                {
                    "end": name,
                    "trials": repeats,
                    "median_s": statistics.median(times_s),
                    "worst_s": max(times_s),
                }
            )
    return rows


def _lit_for_s(resource: str, act: Callable[[subprocess.Popen[bytes]], None]) -> float:
    """Return how long one program's light outlives it [s]."""
    pipe = subprocess.PIPE
    program = subprocess.Popen(
        [sys.executable, "-c", LIT, "keysight.m8190a", resource],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
    )
    link = ScpiLink(TcpTransport("awg", resource))
    link.open()
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == b"lit\n"
        begin_s = time.perf_counter()
        act(program)
        while link.query(":MARK1:SAMP:VOLT:LOW?") != "0":
            time.sleep(1e-3)
        return time.perf_counter() - begin_s
    finally:
        link.close()
        program.kill()
        program.communicate()
        # The watchdog, too, leaves the instrument alone before the next trial.
        time.sleep(0.5)


def measure(quick: bool) -> dict[str, Any]:
    """Return all figures."""
    return {
        "open_to_ready": open_to_ready(3 if quick else 10),
        "darkness": darkness(2 if quick else 10),
    }


def main() -> None:
    """Print the figures as tables or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.quick)
    if arguments.json:
        print(json.dumps(found))
        return
    print_table("ten instruments, open to ready", found["open_to_ready"])
    print_table("from the end of the program to darkness", found["darkness"])


if __name__ == "__main__":
    main()
