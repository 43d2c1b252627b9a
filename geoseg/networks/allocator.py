"""How the C library hands out memory to a network on a processor."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

__all__ = ["keep_memory"]

# Numbers of mallopt's options in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_memory() -> bool:
    """Have glibc keep freed memory for the next tile, once in a process; gives whether it was done.

    By default glibc may map a large array anew and give it back when it is freed, so each activation of each tile is
    paid for in page faults: a sixth of the time of a forward pass (docs/benchmarks.md). Results are the same. Arrays
    of 32 MB and more (strips of a wide block) are still mapped on their own, so that they leave no holes.
    On systems without glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library (musl) has its own ways
        return False
    return all(
        mallopt(option, value) == 1
        for option, value in ((_M_MMAP_THRESHOLD, 1 << 25), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 1 << 26))
    )
