"""Areas along a row as integers: the loops behind `PixelAreas`, and the one definition that all sums share."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["add_runs", "column_area_units", "row_area_units"]


@njit(nogil=True, cache=True)
def column_area_units(column, knots, row_coefs, unit_m2):  # type: ignore[no-untyped-def]
    """The area of a row from column 0 to the lattice column ``column``, in integers of ``unit_m2``.

    ``knots`` and ``row_coefs = coefs[r]`` come from `PixelAreas.table`.
    """
    piece = len(knots) - 2
    if knots[piece] > column:  # binary search for the last knot at or before the column
        low = 0
        while piece - low > 1:
            middle = (low + piece) // 2
            if knots[middle] <= column:
                low = middle
            else:
                piece = middle
        piece = low
    t = float(column - knots[piece])
    c = row_coefs[piece]
    area = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
    return np.int64(np.rint(area / unit_m2))


@njit(nogil=True, cache=True)
def row_area_units(columns, knots, row_coefs, unit_m2):  # type: ignore[no-untyped-def]
    """`column_area_units` for an array of lattice columns: int64, the same shape (n,)."""
    units = np.empty(len(columns), dtype=np.int64)
    for index in range(len(columns)):
        units[index] = column_area_units(columns[index], knots, row_coefs, unit_m2)
    return units


@njit(nogil=True, cache=True)
def add_runs(bins, left, knots, coefs, unit_m2, pixels, units):  # type: ignore[no-untyped-def]
    """Add the pixels and the integer area of each run of equal bins, which begin at the grid's column ``left``, to
    ``pixels`` and ``units``."""
    height, width = bins.shape
    for row in range(height):
        start = 0
        before = column_area_units(left, knots, coefs[row], unit_m2)
        while start < width:
            value = bins[row, start]
            stop = start + 1
            while stop < width and bins[row, stop] == value:
                stop += 1
            after = column_area_units(left + stop, knots, coefs[row], unit_m2)
            pixels[value] += stop - start
            units[value] += after - before
            start, before = stop, after
