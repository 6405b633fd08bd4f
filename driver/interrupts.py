"""Requests to end the program: they wait while the bench is made safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an exception.

    Raises
    ------
    SystemExit
        With the exit code that shells give to such an end.
    """
    raise SystemExit(128 + number)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM in the main thread until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    both = (signal.SIGINT, signal.SIGTERM)
    held = [(int(n), signal.signal(n, note)) for n in both]
    try:
        yield
    finally:
        for number, handler in held:
            # A handler the block itself restored is left as it is.
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
    for number in pending:
        signal.raise_signal(number)
