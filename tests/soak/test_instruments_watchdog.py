"""Fifty programs of each kind end with the light on; it is off within a second."""

import signal
import time

import pytest
from watch_kit import SERIAL, TCP, lit_program

pytestmark = pytest.mark.soak

TRIALS = 50
LIMIT_S = 1.0
HISLIP = {"awg": "hislip", "scope": "hislip"}
STATIONS = ((TCP, None), (TCP, HISLIP), (SERIAL, None))


def darkness_s(trial, act, how="play"):
    """Return how long the light of one program outlives `act` [s]."""
    names, transports = STATIONS[trial % len(STATIONS)]
    with lit_program(names, how, transports=transports) as victim:
        # Anywhere in the loop of shutter, upload and start.
        time.sleep(0.007 * trial)
        begin_s = time.monotonic()
        act(victim)
        return victim.dark_after(begin_s)


def report(name, times_s):
    ordered = sorted(times_s)
    middle = ordered[len(ordered) // 2]
    print(f"{name}: median {middle:.3f} s, worst {ordered[-1]:.3f} s")
    late = [t for t in times_s if not t < LIMIT_S]
    assert not late


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_instruments_are_dark_within_a_second_of_the_signal(number):
    times_s = [
        darkness_s(trial, lambda victim: victim.process.send_signal(number))
        for trial in range(TRIALS)
    ]
    report(number.name, times_s)


def hang(victim):
    victim.process.stdin.write(b"go\n5000000\n")
    victim.process.stdin.flush()


def test_instruments_are_dark_within_a_second_of_a_hang():
    times_s = [darkness_s(trial, hang, "hang") for trial in range(TRIALS)]
    report("hang", times_s)
