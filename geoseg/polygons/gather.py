"""Rows of pixels → patches with their runs and borders.

A strip is read twice: `label` finds its regions, as union-find over runs of equal pixels, and `note` then lists the
runs and borders of those that are small so far. Most pixels belong to large regions, which it does not touch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from geoseg.areas import column_area_units
from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.patches import (
    NONE,
    SETTLED,
    add_border,
    add_run,
    find,
    new_patch,
    settle,
    unite,
)
from geoseg.polygons.trace import grown

__all__ = ["Lines", "label", "new_lines", "note"]

NORTH, WEST, EAST, SOUTH = 0, 1, 2, 3
"""The order of a pixel's sides, among edges that are equally good."""

_LANES = 64


class Lines(NamedTuple):
    """Rows as runs of equal pixels: the last row that was read before a strip, and the strip's rows."""

    offsets: Any
    """(row + 1,) int64: where each row's runs begin in the other arrays; each row is followed by one entry more."""
    starts: Any
    """int32: first columns, then the width."""
    values: Any
    """int32."""
    regions: Any
    """int32: a row of the table of patches, `SETTLED`, or `NONE` for nodata."""
    above: Any
    """int32: the last run of the row above that the run touches across an edge; not known for the first row."""
    below: Any
    """int32: the last run of the row below; not known for the last row."""
    small_offsets: Any
    """(row + 1,) int64: where each row begins in ``small``."""
    small: Any
    """int32: the runs of patches."""


def new_lines(width: int) -> Lines:
    """The row above the first: one run of nodata."""
    nothing = np.full(2, NONE, np.int32)
    runs = np.array([0, width], np.int32)
    return Lines(np.array([0, 2]), runs, nothing, nothing, nothing, nothing, np.zeros(2, np.int64), nothing)


@entry
def label(
    rows, row0, nodata, minimum, reach, last, knots, coefs, unit, patches, n, runs, borders, row_runs, pending_row
):
    """Find the regions of some rows: patches grow, begin, unite, and settle when they reach the minimum.

    Parameters
    ----------
    rows
        (row, col) uint8 or int32.
    row0
        Number of the first row.
    nodata, minimum
        Value of pixels that belong to no region; the size from which on a region is not small.
    reach
        Whether pixels are connected across corners too.
    last
        `Lines` that end with the row above.
    knots, coefs, unit
        `PixelAreas.table` of these rows and `PixelAreas.unit_m2`; with empty ``coefs`` each pixel counts 1.
    patches, n
        Table of `PATCH` and how much of it is used.
    runs, borders
        Tables of `RUN` and `BORDER`.
    row_runs, pending_row
        Heads of the lists of runs to be painted, from row ``pending_row`` on.

    Returns
    -------
    lines, patches, n
        `Lines` that begin with the row above; the table of patches may have been replaced by a larger one.
    """
    height, width = rows.shape
    begin = last.offsets[-2]
    end = last.offsets[-1] - begin
    offsets = np.empty(height + 2, np.int64)
    offsets[0] = 0
    offsets[1] = end
    room = max(end + 2 * (width + 1 + _LANES), last.starts.shape[0])  # as much as the last strip needed
    starts, values, regions = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    above, below = np.empty(room, np.int32), np.empty(room, np.int32)
    small = np.empty(room, np.int32)
    small_offsets = np.empty(height + 2, np.int64)
    small_offsets[0] = 0
    n_small = 0
    for k in range(end):
        starts[k] = last.starts[begin + k]
        values[k] = last.values[begin + k]
        regions[k] = last.regions[begin + k]
        small[n_small] = k
        n_small += int((regions[k] >= 0) & (k < end - 1))
    small_offsets[1] = n_small
    for r in range(height):
        i = np.uint64(offsets[r])
        begin = offsets[r + 1]
        starts = grown(starts, begin, begin + width + 1 + _LANES)
        end = begin + _find_runs(rows[r], starts[begin:])
        values = grown(values, begin, end + 1)
        regions = grown(regions, begin, end + 1)
        above, below = grown(above, begin, end + 1), grown(below, begin, end + 1)
        patches = grown(patches, n, n + end - begin)
        offsets[r + 2] = end + 1
        for k in range(begin, end):
            values[k] = rows[r, starts[k]]

        # Runs belong to the regions of the equal runs that they touch above. Both rows are walked at once.
        region = np.int32(NONE)
        j = np.uint64(begin)
        one = np.uint64(1)  # unsigned: an index that cannot be negative costs less
        while j < np.uint64(end):
            i_stop = starts[i + one]
            j_stop = starts[j + one]
            up = regions[i]
            equal = values[i] == values[j]
            if equal & (region != NONE) & (region != up):  # one test: the branch is rarely taken
                region = _join(patches, runs, borders, row_runs, pending_row, region, up)
            region = up if equal & (region == NONE) else region
            following = np.int32(NONE)
            if reach and i_stop == j_stop and j_stop < width:
                if values[i + one] == values[j]:
                    region = _join(patches, runs, borders, row_runs, pending_row, region, regions[i + one])
                if values[i] == values[j + one]:
                    following = regions[i]
            regions[j] = region
            above[j] = i
            below[i] = j
            region = following if j_stop <= i_stop else region
            i += np.uint64(i_stop <= j_stop)
            j += np.uint64(j_stop <= i_stop)

        # Regions grow; those of runs that touch nothing begin.
        small = grown(small, n_small, n_small + end - begin)
        first = last_small = n_small
        for k in range(begin, end):
            small[last_small] = k
            last_small += int((regions[k] != SETTLED) & (values[k] != nodata))
        for k in range(first, last_small):
            g = small[k]
            h = n
            if regions[g] == NONE:
                new_patch(patches, h, values[g], row0 + r, starts[g])
                n += 1
            else:
                h = find(patches, regions[g])
            patch = patches[h]
            patch.size += _size(starts[g], starts[g + 1], knots, coefs, r, unit)
            patch.bottom = row0 + r
            regions[g] = h
            if patch.size >= minimum or patch.settled:
                settle(patches, runs, row_runs, pending_row, h)
                regions[g] = SETTLED
            small[n_small] = g
            n_small += int(regions[g] != SETTLED)
        small_offsets[r + 2] = n_small
    return Lines(offsets, starts, values, regions, above, below, small_offsets, small), patches, n


@entry
def note(lines, row0, patches, runs, n_runs, borders, n_borders):
    """List the runs and the borders of patches, after `label`; the tables may be replaced by larger ones."""
    offsets, starts, values, regions, above, below, small_offsets, small = lines
    n_rows = offsets.shape[0] - 1
    for j in small[: small_offsets[-1]]:
        regions[j] = _root(patches, regions[j])
    for r in range(n_rows):
        row = row0 + r - 1
        begin = offsets[r]
        end = offsets[r + 1] - 1
        runs = grown(runs, n_runs, n_runs + end - begin)
        around = offsets[min(r + 2, n_rows)] - offsets[max(r - 1, 0)]
        borders = grown(borders, n_borders, n_borders + 4 * around)
        for j in small[small_offsets[r] : small_offsets[r + 1]]:
            h = regions[j]
            if h < 0:
                continue
            start = starts[j]
            stop = starts[j + 1]
            if r > 0:
                n_runs = add_run(patches, runs, n_runs, h, row, start, stop)
                if j > begin and regions[j - 1] != NONE:
                    n_borders = add_border(
                        patches, borders, n_borders, h, regions[j - 1], values[j - 1], 1, _edge(row, start, WEST)
                    )
                if j + 1 < end and regions[j + 1] != NONE:
                    n_borders = add_border(
                        patches, borders, n_borders, h, regions[j + 1], values[j + 1], 1, _edge(row, stop - 1, EAST)
                    )
            for side in (NORTH, SOUTH):
                if (side == NORTH and r == 0) or (side == SOUTH and r == n_rows - 1):
                    continue
                k = above[j] if side == NORTH else below[j]
                while True:
                    first = max(start, starts[k])
                    if regions[k] != NONE and values[k] != values[j]:
                        length = min(stop, starts[k + 1]) - first
                        edge = _edge(row, first, side)
                        n_borders = add_border(patches, borders, n_borders, h, regions[k], values[k], length, edge)
                    if first == start:
                        break
                    k -= 1
    return runs, n_runs, borders, n_borders


@inner
def _size(start, stop, knots, coefs, r, unit):
    """The size of a run in row r."""
    if coefs.shape[0] == 0:
        return np.int64(stop - start)
    return column_area_units(stop, knots, coefs[r], unit) - column_area_units(start, knots, coefs[r], unit)


@inner
def _join(patches, runs, borders, row_runs, pending_row, a, b):
    """Make two regions that touch and have one value one region."""
    a = _root(patches, a)
    b = _root(patches, b)
    if a == b or b == NONE:
        return a
    if a == NONE:
        return b
    if a == SETTLED or b == SETTLED:
        settle(patches, runs, row_runs, pending_row, max(a, b))
        return np.int32(SETTLED)
    return np.int32(unite(patches, runs, borders, a, b))


@inner
def _root(patches, region):
    """The patch that a row of the table is part of, or `SETTLED` if that is settled."""
    if region < 0:
        return np.int32(region)
    h = find(patches, region)
    return np.int32(SETTLED) if patches[h].settled else np.int32(h)


@inner
def _edge(row, column, side):
    """Edges by number: by row, column and side of a pixel."""
    return np.int64(row) << 34 | np.int64(column) << 2 | np.int64(side)


@inner
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
