"""How this room's functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["entry", "inner"]


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls."""
    return njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function)


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that only compiled functions call: without a wrapper for Python, which takes less time."""
    return njit(nogil=True, cache=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)
