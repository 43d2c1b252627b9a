"""Which vertices of the boundaries may be left out: simplification that neighbours share, band by band.

A vertex is dropped or kept for all regions that meet there, so both sides of a border always get the same line. Only
vertices where exactly two regions meet, and which lie inside a band of `BAND_ROWS` rows, can be dropped: *nodes* (three
or more regions, or a checkerboard) and the vertices on the rows between bands stay. Bands begin at the map's first row,
so the result does not depend on strips, chunks or threads, and a band needs nothing but its own pixels.

Between two vertices that stay, a border is a *chain*. It is simplified after Douglas and Peucker (1973): a part of it
becomes one chord if none of its vertices is further from the chord than the tolerance, and otherwise is cut at the
furthest. The tolerance alone would let lines cross. So a second condition must hold: between the part and its chord,
and on the chord, lies no vertex of any other border, nor of the rest of its own. Then no border enters that pocket (it
would have to turn in it), so none crosses the chord; and two chords cannot cross each other either, because one would
have to leave the other's pocket through the border, which it does not cross. The condition asks for the original
vertices only, therefore every chain can be decided by itself (compare de Berg, van Kreveld and Schirra 1998, who
simplify subdivisions under the same condition).

What remains are chords with the same two ends: they would enclose nothing. Chains that share both ends, or that end
twice on one row between bands, keep their furthest vertex, and a ring without a node keeps four.

`smooth` rounds the kept vertices by parabolas (as Chaikin 1974): the curve stays in the triangle of the vertex and a
part of its two sides. A triangle is used if no other vertex lies in it, by the same argument.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.borders import list_chains, list_vertices
from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.smooth import round_vertices
from geoseg.polygons.trace import COLUMN, DROPPED, ROUNDED

__all__ = ["BAND_ROWS", "find_flags"]

BAND_ROWS = 256
"""Rows of pixels that are simplified together."""

_NO_VERTICES = np.empty(0, np.int64)


def find_flags(rows: np.ndarray, row0: int, *, nodata: int, tolerance: tuple[float, float], smooth: bool) -> np.ndarray:
    """Decide the vertices of a band.

    Parameters
    ----------
    rows
        (row, col) uint8 or int32: all pixels of the band, at most `BAND_ROWS` rows.
    row0
        Number of the first of them in the map.
    nodata
        The value of pixels without a region, of the dtype of rows.
    tolerance
        Rows and columns that a vertex may be away from the line that replaces it: its distance is measured with each
        divided by its own, and may be 1.
    smooth
        Whether to round the vertices that stay, by at most the tolerance again.

    Returns
    -------
    flags
        (n,) int64: the vertices that are not simply kept, as `trace.CORNER.at`, sorted.
    """
    if not len(rows):
        return _NO_VERTICES
    row_starts, cols, links, rows_of = list_vertices(np.ascontiguousarray(rows), rows.dtype.type(nodata))
    chains, starts, arc, place = list_chains(links, rows_of, len(rows))
    kept = np.ones(len(cols), np.bool_)
    scale = 1.0 / np.asarray(tolerance, np.float64)
    vertices = (row_starts, rows_of, cols, arc, place)
    whole = _simplify(chains, starts, links, vertices, scale, kept, _NO_VERTICES)
    # Chains that became one chord each, between the same two ends.
    ends = np.sort(np.stack([chains[starts[whole]], chains[starts[whole + 1] - 1]]), axis=0)
    _, which, counts = np.unique(ends[0].astype(np.int64) << 32 | ends[1], return_inverse=True, return_counts=True)
    again = whole[counts[which] > 1]
    if len(again):
        _simplify(chains, starts, links, vertices, scale, kept, again)
    levels = np.zeros(len(cols), np.int64)
    if smooth:
        round_vertices(chains, starts, vertices, scale, kept, levels)
    flags = np.where(kept, levels * ROUNDED, DROPPED)
    chosen = np.flatnonzero(flags)
    places = (rows_of[chosen].astype(np.int64) + row0) << 32 | cols[chosen].astype(np.int64) << COLUMN
    return places | flags[chosen]


@entry
def _simplify(chains, starts, links, vertices, scale, kept, only):
    """Mark the inner vertices of chains as kept or not.

    Parameters
    ----------
    only : (k,) int64
        These chains, which must keep a vertex; or none: all chains.

    Returns
    -------
    (k,) int64
        The chains that became a single chord.
    """
    row_starts, rows_of, cols = vertices[:3]
    height = row_starts.shape[0] - 2
    west = np.empty(height + 1, np.int64)
    east = np.empty(height + 1, np.int64)
    stack = np.empty((64, 3), np.int64)
    whole = np.empty(starts.shape[0], np.int64)
    n_whole = 0
    for k in range(only.shape[0] if only.shape[0] else starts.shape[0] - 1):
        a = only[k] if only.shape[0] else k
        chain = chains[starts[a] : starts[a + 1]]
        last = chain.shape[0] - 1
        for t in range(1, last):
            kept[chain[t]] = False
        top = 0
        # How many vertices must stay: so many that the region inside cannot vanish, or shrink to a triangle.
        if chain[0] == chain[last]:
            far = _furthest_from(chain, rows_of, cols, scale)
            kept[chain[far]] = True
            _push(stack, 0, 0, far, 1)
            _push(stack, 1, far, last, 1)
            top = 2
        else:
            bent = only.shape[0] > 0 or _must_bend(chain[0], chain[last], links, rows_of, height)
            _push(stack, 0, 0, last, 2 if bent else 0)
            top = 1
        while top > 0:
            top -= 1
            i, j, must = stack[top, 0], stack[top, 1], stack[top, 2]
            if j - i < 2:
                continue
            between, distance = _furthest(chain, i, j, rows_of, cols, scale)
            if must == 0 and distance <= 1.0 and _is_free(chain, i, j, a, vertices, west, east):
                if i == 0 and j == last:
                    whole[n_whole] = a
                    n_whole += 1
                continue
            kept[chain[between]] = True
            if top + 2 > stack.shape[0]:
                larger = np.empty((2 * stack.shape[0], 3), np.int64)
                for n in range(top):  # a slice would compile a library of strings, for the message of an error
                    _push(larger, n, stack[n, 0], stack[n, 1], stack[n, 2])
                stack = larger
            longer = between - i >= j - between
            _push(stack, top, i, between, max(must - 1, 0) * int(longer))
            _push(stack, top + 1, between, j, max(must - 1, 0) * int(not longer))
            top += 2
    return whole[:n_whole]


@inner
def _push(stack, k, i, j, must):
    stack[k, 0] = i
    stack[k, 1] = j
    stack[k, 2] = must


@inner
def _must_bend(a, b, links, rows_of, height):
    """Whether a chord between two ends could lie on another border: a straight one, or one of the next band."""
    bent = rows_of[a] == rows_of[b] and (rows_of[a] == 0 or rows_of[a] == height)
    for side in range(4):
        bent |= links[a, side] == b
    return bent


@inner
def _furthest_from(chain, rows_of, cols, scale):
    """The place of the vertex that is furthest from a ring's first one."""
    far = 1
    largest = -1.0
    for t in range(1, chain.shape[0] - 1):
        y = (rows_of[chain[t]] - rows_of[chain[0]]) * scale[0]
        x = (cols[chain[t]] - cols[chain[0]]) * scale[1]
        if y * y + x * x > largest:
            largest = y * y + x * x
            far = t
    return far


@inner
def _furthest(chain, i, j, rows_of, cols, scale):
    """The place of the vertex between i and j that is furthest from their chord, and its distance."""
    y0 = rows_of[chain[i]]
    x0 = cols[chain[i]]
    dy = (rows_of[chain[j]] - y0) * scale[0]
    dx = (cols[chain[j]] - x0) * scale[1]
    length = dy * dy + dx * dx
    far = i + 1
    largest = -1.0
    for t in range(i + 1, j):
        y = (rows_of[chain[t]] - y0) * scale[0]
        x = (cols[chain[t]] - x0) * scale[1]
        along = y * dy + x * dx
        if along <= 0.0:
            square = y * y + x * x
        elif along >= length:
            square = (y - dy) ** 2 + (x - dx) ** 2
        else:
            square = (y * dx - x * dy) ** 2 / length
        if square > largest:
            largest = square
            far = t
    return far, np.sqrt(largest)


@inner
def _is_free(chain, i, j, a, vertices, west, east):
    """Whether no vertex of another border, or of the rest of this one, lies between a part of a chain and its chord.

    Row by row, everything between the outermost points of part and chord is looked at: that holds the pocket.
    """
    row_starts, rows_of, cols, arc, place = vertices
    y0, x0 = np.int64(rows_of[chain[i]]), np.int64(cols[chain[i]])
    y1, x1 = np.int64(rows_of[chain[j]]), np.int64(cols[chain[j]])
    north = south = y0
    for t in range(i + 1, j + 1):
        north = min(north, rows_of[chain[t]])
        south = max(south, rows_of[chain[t]])
    for r in range(north, south + 1):
        west[r] = 1 << 40
        east[r] = -1
    y, x = y0, x0
    for t in range(i, j + 1):
        to = np.int64(rows_of[chain[t]])
        step = 1 if to >= y else -1
        for r in range(y, to + step, step):
            west[r] = min(west[r], x)
            east[r] = max(east[r], x)
        y, x = to, np.int64(cols[chain[t]])
        west[y] = min(west[y], x)
        east[y] = max(east[y], x)
    if y0 != y1:
        if y0 > y1:
            y0, x0, y1, x1 = y1, x1, y0, x0
        for r in range(y0, y1 + 1):  # the whole columns on both sides of the chord
            run = (x1 - x0) * (r - y0)
            floor = x0 + run // (y1 - y0)
            west[r] = min(west[r], floor + int(run % (y1 - y0) != 0))
            east[r] = max(east[r], floor)
    for r in range(north, south + 1):
        low, high = row_starts[r], row_starts[r + 1]
        while low < high:
            middle = (low + high) // 2
            if cols[middle] < west[r]:
                low = middle + 1
            else:
                high = middle
        while low < row_starts[r + 1] and cols[low] <= east[r]:
            own = low == chain[i] or low == chain[j] or (arc[low] == a and i < place[low] < j)
            if not own:
                return False
            low += 1
    return True
