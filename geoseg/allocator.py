"""How the C library hands out memory: kept for the next tile while a network runs, given back after."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

__all__ = ["keep_memory", "release_memory"]

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
    glibc = _glibc()
    return glibc is not None and all(
        glibc.mallopt(option, value) == 1
        for option, value in ((_M_MMAP_THRESHOLD, 1 << 25), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 1 << 26))
    )


def release_memory() -> bool:
    """Give what is free, and was kept, back to the system; gives whether there was any.

    What a stage of a run kept would otherwise lie under the peak of the next one.
    """
    glibc = _glibc()
    return glibc is not None and glibc.malloc_trim(0) == 1


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt, library.malloc_trim  # noqa: B018  (another C library, musl, has its own ways)
    except (OSError, AttributeError):
        return None
    return library
