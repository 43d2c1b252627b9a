"""Rows of pixels → patches with their runs and borders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from geoseg.areas import column_area_units
from geoseg.polygons.patches import (
    LARGE,
    NONE,
    SETTLED,
    add_border,
    add_run,
    find,
    new_patch,
    settle,
    unite,
)

__all__ = ["Front", "gather", "new_front"]

NORTH, WEST, EAST, SOUTH = 0, 1, 2, 3
"""The order of a pixel's sides, among edges that are equally good."""

_LANES = 64


class Front(NamedTuple):
    """The runs of equal pixels of the last row (index 0 of the first axis) and of the row that is read (index 1)."""

    starts: Any
    """(2, width + 65) int32: first columns, then the width."""
    values: Any
    """(2, width + 1) int32."""
    patches: Any
    """(2, width + 1) int32: a row of the table of patches, `SETTLED`, or `NONE` for nodata."""


def new_front(width: int) -> Front:
    """The front above the first row: one run of nodata."""
    starts = np.zeros((2, width + 1 + _LANES), np.int32)
    starts[0, 1] = width
    return Front(starts, np.zeros((2, width + 1), np.int32), np.full((2, width + 1), NONE, np.int32))


@njit(nogil=True, cache=True)
def gather(
    rows,
    row0,
    nodata,
    minimum,
    reach,
    front,
    n_front,
    knots,
    coefs,
    unit,
    patches,
    n,
    runs,
    n_runs,
    borders,
    n_borders,
    row_runs,
    pending_row,
):
    """Read rows: extend the patches of the front, begin new ones, and settle those that reach the minimum.

    Parameters
    ----------
    rows
        (row, col) uint8 or int32.
    row0
        Number of the first row.
    nodata, minimum
        Value of pixels that belong to no region; the size from which on a region is not small.
    reach
        0: pixels are connected across edges; 1: across corners too.
    front, n_front
        `Front` and its number of runs.
    knots, coefs, unit
        `PixelAreas.table` of these rows and `PixelAreas.unit_m2`; with empty ``coefs`` each pixel counts 1.
    patches, n, runs, n_runs, borders, n_borders
        Tables of `PATCH`, `RUN` and `BORDER` and how much of each is used.
    row_runs, pending_row
        Heads of the lists of runs to be painted, from row ``pending_row`` on.

    Returns
    -------
    n_front, patches, n, runs, n_runs, borders, n_borders
        The tables may have been replaced by larger ones.
    """
    width = rows.shape[1]
    by_area = coefs.shape[0] > 0
    above = 0
    for r in range(rows.shape[0]):
        row = row0 + r
        values = rows[r]
        below = 1 - above
        starts, start_values, start_patches = front.starts[below], front.values[below], front.patches[below]
        up_starts, up_values, up_patches = front.starts[above], front.values[above], front.patches[above]
        n_runs_here = _find_runs(values, starts)
        patches = _grown(patches, n, n + n_runs_here)
        runs = _grown(runs, n_runs, n_runs + n_runs_here)
        borders = _grown(borders, n_borders, n_borders + 2 * (4 * n_runs_here + n_front))
        i = 0
        left = NONE
        left_value = 0
        before = np.int64(0)
        for j in range(n_runs_here):
            start = starts[j]
            stop = starts[j + 1]
            value = values[start]
            after = np.int64(stop)
            if by_area:
                after = column_area_units(stop, knots, coefs[r], unit)
            size = after - before
            before = after
            start_values[j] = value
            if value == nodata:
                start_patches[j] = NONE
                left = NONE
                continue
            while up_starts[i + 1] + reach <= start:
                i += 1

            # The region of the run is the union of all that it touches above.
            h = NONE
            k = i
            while k < n_front and up_starts[k] < stop + reach:
                if up_values[k] == value and up_patches[k] != NONE:
                    g = up_patches[k]
                    if g != SETTLED:
                        g = find(patches, g)
                        if patches[g].state == LARGE:
                            g = SETTLED
                    if h == NONE:
                        h = g
                    elif h != g:
                        if h == SETTLED or g == SETTLED:
                            settle(patches, runs, row_runs, pending_row, max(g, h))
                            h = SETTLED
                        else:
                            h = unite(patches, runs, borders, g, h)
                k += 1
            if h == NONE:
                h = n
                new_patch(patches, h, value, row, start)
                n += 1
            if h != SETTLED:
                patches[h].size += size
                if patches[h].size >= minimum:
                    settle(patches, runs, row_runs, pending_row, h)
                    h = SETTLED
                else:
                    patches[h].bottom = row
                    n_runs = add_run(patches, runs, n_runs, h, row, start, stop)
            start_patches[j] = h

            # Each side of a border that is a patch gets a note of it.
            if left != NONE and (h != SETTLED or left != SETTLED):
                n_borders = _meet(
                    patches, borders, n_borders, h, value, left, left_value, 1,
                    _edge(row, start, WEST), _edge(row, start - 1, EAST),
                )  # fmt: skip
            k = i
            while k < n_front and up_starts[k] < stop + reach:
                g = up_patches[k]
                if up_values[k] != value and g != NONE and (h != SETTLED or g != SETTLED):
                    first = max(start, up_starts[k])
                    length = max(0, min(stop, up_starts[k + 1]) - first)
                    n_borders = _meet(
                        patches, borders, n_borders, h, value, g, up_values[k], length,
                        _edge(row, first, NORTH), _edge(row - 1, first, SOUTH),
                    )  # fmt: skip
                k += 1
            left = h
            left_value = value
        n_front = n_runs_here
        above = below
    if above == 1:
        for k in range(n_front):
            front.starts[0, k] = front.starts[1, k]
            front.values[0, k] = front.values[1, k]
            front.patches[0, k] = front.patches[1, k]
        front.starts[0, n_front] = width
    for k in range(n_front):
        if front.patches[0, k] >= 0:
            h = find(patches, front.patches[0, k])
            front.patches[0, k] = SETTLED if patches[h].state == LARGE else h
    return n_front, patches, n, runs, n_runs, borders, n_borders


@njit(nogil=True, cache=True)
def _edge(row, column, side):
    """Edges by number: by row, column and side of a pixel."""
    return np.int64(row) << 34 | np.int64(column) << 2 | np.int64(side)


@njit(nogil=True, cache=True)
def _meet(patches, borders, n_borders, a, a_value, b, b_value, length, a_first, b_first):
    """Note a border between two regions in those of them that are patches."""
    if a != SETTLED:
        a = find(patches, a)
        if patches[a].state == LARGE:
            a = SETTLED
    if b != SETTLED:
        b = find(patches, b)
        if patches[b].state == LARGE:
            b = SETTLED
    if a != SETTLED:
        n_borders = add_border(patches, borders, n_borders, a, b, b_value, length, a_first)
    if b != SETTLED:
        n_borders = add_border(patches, borders, n_borders, b, a, a_value, length, b_first)
    return n_borders


@njit(nogil=True, cache=True)
def _find_runs(row, starts):
    """Write the first columns of the runs of equal pixels, and the width; return the number of runs.

    Long runs are skipped 64 pixels at a time, and the columns of the others are written without a branch: each is
    written, but only a change moves the place of writing.
    """
    width = row.shape[0]
    starts[0] = 0
    n = 1
    x = 1
    while x + _LANES <= width:
        different = row[x] ^ row[x - 1]
        for k in range(1, _LANES):
            different |= row[x + k] ^ row[x + k - 1]
        if different != 0:
            for k in range(_LANES):
                starts[n] = x + k
                n += int(row[x + k] != row[x + k - 1])
        x += _LANES
    while x < width:
        starts[n] = x
        n += int(row[x] != row[x - 1])
        x += 1
    starts[n] = width
    return n


@njit(nogil=True, cache=True)
def _grown(array, used, need):
    """The array with room for `need` items; the first `used` are kept."""
    if need <= array.shape[0]:
        return array
    larger = np.empty(max(need, array.shape[0] * 3 // 2), array.dtype)
    for k in range(used):
        larger[k] = array[k]
    return larger
