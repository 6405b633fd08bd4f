"""Time in tests: a busy machine may stop any thread, for a second or more.

A bound on time is a property of our code only if nothing else took the time. Who is
late by himself is late each time; so a test that looks at a clock is tried again when
it was late, and when a hurried exchange was cut off before what it is about began.
"""

import contextlib
import functools
import gc
import socket
import time

#: For what is to happen: far more than it takes, and only a failing test waits for it.
PATIENT_S = 60.0
TRIES = 5


class Late(AssertionError):  # noqa: N818
    """Something took longer than it may."""


def limited(took_s, limit_s):
    """Fail as late if something took too long."""
    if took_s >= limit_s:
        raise Late(f"{took_s:.3f} s, not within {limit_s:g} s")


def within(limit_s, begin_s):
    """Fail as late if more than `limit_s` has passed since `begin_s`."""
    limited(time.monotonic() - begin_s, limit_s)


def struck(device):
    """Fail as late if an emulator's fault has not struck yet."""
    if not device.faults.struck_s:
        raise Late("the fault was not met: an exchange before it was cut off")


def not_late_each_time(test):
    """Give a test further tries if it was late, and for nothing else."""

    @functools.wraps(test)
    def tried(*arguments, **options):
        for _ in range(TRIES - 1):
            try:
                return test(*arguments, **options)
            except Late:
                pass
            # Nothing of it may come to an end in another test.
            gc.collect()
        return test(*arguments, **options)

    return tried


def until(condition, explain=lambda: "it did not come"):
    """Wait until something holds."""
    end_s = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < end_s, explain()
        time.sleep(0.01)


def given_up(error, call):
    """Call what a late reply answers; fail as late if it came before the deadline."""
    try:
        call()
    except error:
        return
    raise Late("the reply came while it was still waited for")


@contextlib.contextmanager
def deaf_port():
    """Hold a port that refuses; one that was only free may be somebody's by now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
