"""How this room's functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["entry", "inner"]

_ENTRY: dict[str, Any] = {"nogil": True, "cache": True, "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_ENTRY, "no_cpython_wrapper": True}


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls."""
    return njit(**_ENTRY)(function)


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that only compiled functions call: without a wrapper for Python, which takes less time."""
    return njit(**_INNER)(function)
