"""Rows of pixels → patches with their runs and borders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from geoseg.areas import column_area_units
from geoseg.polygons.patches import (
    FAR,
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
    above = 0
    patches_above = True
    for r in range(rows.shape[0]):
        row = row0 + r
        starts, values, regions = front.starts[1 - above], front.values[1 - above], front.patches[1 - above]
        up_starts, up_values, up_regions = front.starts[above], front.values[above], front.patches[above]
        n_here = _find_runs(rows[r], starts)
        for j in range(n_here):
            values[j] = rows[r, starts[j]]
        patches = _grown(patches, n, n + n_here)
        runs = _grown(runs, n_runs, n_runs + n_here)
        borders = _grown(borders, n_borders, n_borders + 8 * (n_here + n_front))

        # Runs belong to the regions of the equal runs that they touch above. Both rows are walked at once.
        i = 0
        j = 0
        region = NONE
        while j < n_here:
            i_stop = up_starts[i + 1]
            j_stop = starts[j + 1]
            equal = up_values[i] == values[j]
            if equal and region != NONE and region != up_regions[i]:
                region = _join(patches, runs, borders, row_runs, pending_row, region, up_regions[i])
            region = up_regions[i] if equal and region == NONE else region
            after = NONE
            if reach and i_stop == j_stop and j_stop < width:
                if up_values[i + 1] == values[j]:
                    region = _join(patches, runs, borders, row_runs, pending_row, region, up_regions[i + 1])
                if up_values[i] == values[j + 1]:
                    after = up_regions[i]
            regions[j] = region
            region = after if j_stop <= i_stop else region
            i += int(i_stop <= j_stop)
            j += int(j_stop <= i_stop)

        # Regions grow; those of runs that touch nothing begin.
        patches_here = False
        for j in range(n_here):
            h = regions[j]
            if h == SETTLED or values[j] == nodata:
                continue
            if h == NONE:
                h = n
                new_patch(patches, h, values[j], row, starts[j])
                n += 1
            else:
                h = _root(patches, h)
            if h != SETTLED:
                patches[h].size += _size(starts[j], starts[j + 1], knots, coefs, r, unit)
                if patches[h].size >= minimum:
                    settle(patches, runs, row_runs, pending_row, h)
                    h = SETTLED
                else:
                    patches[h].bottom = row
                    n_runs = add_run(patches, runs, n_runs, h, row, starts[j], starts[j + 1])
                    patches_here = True
            regions[j] = h

        # Where a patch meets another region, it gets a note of the border.
        if patches_here:
            for j in range(1, n_here):
                if _is_border(regions[j - 1], regions[j]):
                    n_borders = _meet(
                        patches, borders, n_borders, regions[j - 1], values[j - 1], regions[j], values[j], 1,
                        _edge(row, starts[j] - 1, EAST), _edge(row, starts[j], WEST),
                    )  # fmt: skip
        if patches_here or patches_above:
            i = 0
            j = 0
            x = 0
            while j < n_here:
                i_stop = up_starts[i + 1]
                j_stop = starts[j + 1]
                stop = min(i_stop, j_stop)
                if _is_border(up_regions[i], regions[j]) and up_values[i] != values[j]:
                    n_borders = _meet(
                        patches, borders, n_borders, up_regions[i], up_values[i], regions[j], values[j], stop - x,
                        _edge(row - 1, x, SOUTH), _edge(row, x, NORTH),
                    )  # fmt: skip
                if reach and i_stop == j_stop and stop < width:
                    for a, b in ((i, j + 1), (i + 1, j)):
                        if _is_border(up_regions[a], regions[b]) and up_values[a] != values[b]:
                            n_borders = _meet(
                                patches, borders, n_borders, up_regions[a], up_values[a], regions[b], values[b], 0,
                                FAR, FAR,
                            )  # fmt: skip
                i += int(i_stop <= j_stop)
                j += int(j_stop <= i_stop)
                x = stop
        patches_above = patches_here
        n_front = n_here
        above = 1 - above
    if above == 1:
        for k in range(n_front):
            front.starts[0, k] = front.starts[1, k]
            front.values[0, k] = front.values[1, k]
            front.patches[0, k] = front.patches[1, k]
        front.starts[0, n_front] = width
    for k in range(n_front):
        if front.patches[0, k] >= 0:
            front.patches[0, k] = _root(patches, front.patches[0, k])
    return n_front, patches, n, runs, n_runs, borders, n_borders


@njit(nogil=True, cache=True)
def _size(start, stop, knots, coefs, r, unit):
    """The size of a run in row r."""
    if coefs.shape[0] == 0:
        return np.int64(stop - start)
    return column_area_units(stop, knots, coefs[r], unit) - column_area_units(start, knots, coefs[r], unit)


@njit(nogil=True, cache=True)
def _root(patches, h):
    """The patch that row h of the table is part of, or `SETTLED`."""
    h = find(patches, h)
    return np.int32(SETTLED) if patches[h].state == LARGE else np.int32(h)


@njit(nogil=True, cache=True)
def _join(patches, runs, borders, row_runs, pending_row, a, b):
    """Make two regions that touch and have one value one region."""
    a = _root(patches, a) if a >= 0 else a
    b = _root(patches, b) if b >= 0 else b
    if a == b or b == NONE:
        return a
    if a == NONE:
        return b
    if a == SETTLED or b == SETTLED:
        settle(patches, runs, row_runs, pending_row, max(a, b))
        return np.int32(SETTLED)
    return np.int32(unite(patches, runs, borders, a, b))


@njit(nogil=True, cache=True)
def _is_border(a, b):
    """Whether one of two regions is a patch and neither is nodata."""
    return (max(a, b) >= 0) & (min(a, b) != NONE)


@njit(nogil=True, cache=True)
def _edge(row, column, side):
    """Edges by number: by row, column and side of a pixel."""
    return np.int64(row) << 34 | np.int64(column) << 2 | np.int64(side)


@njit(nogil=True, cache=True)
def _meet(patches, borders, n_borders, a, a_value, b, b_value, length, a_first, b_first):
    """Note a border between two regions in those of them that are patches."""
    a = _root(patches, a) if a >= 0 else a
    b = _root(patches, b) if b >= 0 else b
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
