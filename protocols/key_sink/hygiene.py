"""What a process can do so that key stays out of core dumps and swap.

Best effort: Python copies bytes as it likes and wipes nothing that it frees. What is
promised, and what is not: ``docs/explanation/keys.md``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

# Of <sys/prctl.h> and <sys/mman.h> on Linux.
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2


@dataclass(frozen=True, slots=True)
class Hardening:
    """What this process was granted.

    Parameters
    ----------
    no_core_dump : bool
        The size of core files is zero.
    not_dumpable : bool
        Other processes of the user cannot read its memory.
    locked : bool
        Its memory is not written to swap.
    """

    no_core_dump: bool
    not_dumpable: bool
    locked: bool


def harden_process(*, lock_memory: bool = True) -> Hardening:
    """Ask the system to keep this process's memory to itself.

    Call it first thing in a program that holds key. Children inherit that there are
    no core files, and nothing else.

    Parameters
    ----------
    lock_memory : bool
        Also what is allocated later; needs the right to, or a large enough limit.

    Returns
    -------
    Hardening
        Whatever was not granted is no error.
    """
    no_core = _no_core_files()
    if not sys.platform.startswith("linux"):
        return Hardening(no_core, False, False)
    libc = ctypes.CDLL(None, use_errno=True)
    not_dumpable = libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    locked = lock_memory and _may_lock_all() and _lock(libc)
    return Hardening(no_core, not_dumpable, locked)


def _no_core_files() -> bool:
    if os.name != "posix":
        return False
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return True


def _may_lock_all() -> bool:
    """Only without a limit: beyond one, every later allocation would fail."""
    import resource

    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY


def _lock(libc: ctypes.CDLL) -> bool:
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0)
