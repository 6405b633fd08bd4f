"""Memory of programs that run for months: what a block needed goes back to the system.

The C library keeps what is freed between pieces that stay. How much that comes to
depends on how the blocks of several threads happened to overlap, and the worst such
moment would stay for ever.
"""

from __future__ import annotations

import ctypes
import sys


def give_back_free_memory() -> None:
    """Return free pages of the heap to the system; a few milliseconds.

    Does nothing where the C library has no such call.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    # glibc has it, musl has not.
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
