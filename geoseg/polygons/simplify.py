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

from typing import Any

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.trace import COLUMN, DROPPED, END, ROUNDED, find_changes

__all__ = ["BAND_ROWS", "find_flags"]

BAND_ROWS = 256
"""Rows of pixels that are simplified together."""

_NONE = -1
_NORTH, _EAST, _SOUTH, _WEST = 0, 1, 2, 3
_NO_VERTICES = np.empty(0, np.int64)


def find_flags(
    rows: np.ndarray, row0: int, *, nodata: Any, tolerance: tuple[float, float], smooth: bool
) -> tuple[np.ndarray, float]:
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
    moved
        The largest distance between a dropped vertex and its chord, as a share of the tolerance.
    """
    if not len(rows):
        return _NO_VERTICES, 0.0
    row_starts, cols, links, rows_of = _list_vertices(np.ascontiguousarray(rows), rows.dtype.type(nodata))
    chains, starts, arc, place = _list_chains(links, rows_of, len(rows))
    kept = np.ones(len(cols), np.bool_)
    scale = 1.0 / np.asarray(tolerance, np.float64)
    vertices = (row_starts, rows_of, cols, arc, place)
    whole, moved = _simplify(chains, starts, links, vertices, scale, kept, _NO_VERTICES)
    # Chains that became one chord each, between the same two ends.
    ends = np.sort(np.stack([chains[starts[whole]], chains[starts[whole + 1] - 1]]), axis=0)
    _, which, counts = np.unique(ends[0].astype(np.int64) << 32 | ends[1], return_inverse=True, return_counts=True)
    again = whole[counts[which] > 1]
    if len(again):
        moved = max(moved, _simplify(chains, starts, links, vertices, scale, kept, again)[1])
    levels = np.zeros(len(cols), np.int64)
    if smooth:
        _round(chains, starts, vertices, scale, kept, levels)
    flags = np.where(kept, levels * ROUNDED, DROPPED)
    chosen = np.flatnonzero(flags)
    return (rows_of[chosen].astype(np.int64) + row0) << 32 | cols[chosen].astype(np.int64) << COLUMN | flags[
        chosen
    ], moved


@entry
def _list_vertices(rows, nodata):
    """All vertices of a band, row by row, and how they are linked along the borders.

    Returns
    -------
    row_starts : (row + 2,) int32
        First vertex of each lattice row.
    cols : (n,) int32
    links : (n, 4) int32
        The next vertex to the north, east, south and west, or -1. Those on the band's first and last lattice row are
        linked into the band only.
    rows_of : (n,) int32
        Lattice row of each, from 0.
    """
    height, width = rows.shape
    above = np.full(width + 2, nodata, rows.dtype)
    below = np.full(width + 2, nodata, rows.dtype)
    above_changes = np.empty(width + 1 + 64, np.int32)
    below_changes = np.empty(width + 1 + 64, np.int32)
    above_changes[0] = END
    n_above = 0
    row_starts = np.zeros(height + 2, np.int32)
    cols = np.empty(1024, np.int32)
    rows_of = np.empty(1024, np.int32)
    links = np.empty((1024, 4), np.int32)
    open_above = np.full(width + 1, _NONE, np.int32)  # the vertex at the upper end of a column's open edge
    n = 0
    for r in range(height + 1):
        inside = 0 < r < height
        if r < height:
            for x in range(width):
                below[x + 1] = rows[r, x]
            n_below = find_changes(below, width, below_changes)
        else:
            below_changes[0] = END
            n_below = 0
        if n + n_above + n_below > cols.shape[0]:
            size = max(n + n_above + n_below, cols.shape[0] * 3 // 2)
            cols = _grown(cols, n, size)
            rows_of = _grown(rows_of, n, size)
            more = np.empty((size, 4), np.int32)
            more[:n] = links[:n]
            links = more
        i = 0
        j = 0
        last_east = np.int32(_NONE)
        while True:
            x = min(above_changes[i], below_changes[j])
            if x == END:
                break
            north = above_changes[i] == x
            south = below_changes[j] == x
            i += int(north)
            j += int(south)
            west = inside and above[x] != below[x]
            east = inside and above[x + 1] != below[x + 1]
            if north and south and not west and not east:
                continue
            cols[n] = x
            rows_of[n] = r
            for side in range(4):
                links[n, side] = _NONE
            if north:
                links[n, _NORTH] = open_above[x]
                links[open_above[x], _SOUTH] = n
            if west:
                links[n, _WEST] = last_east
                links[last_east, _EAST] = n
            if east:
                last_east = np.int32(n)
            if south:
                open_above[x] = n
            n += 1
        row_starts[r + 1] = n
        above, below = below, above
        above_changes, below_changes = below_changes, above_changes
        n_above = n_below
    return row_starts, cols[:n], links[:n], rows_of[:n]


@inner
def _grown(array, used, size):
    larger = np.empty(size, array.dtype)
    larger[:used] = array[:used]
    return larger


@inner
def _is_node(links, rows_of, height, v):
    """Whether a vertex ends chains: it lies on the band's edge, or not exactly two regions meet."""
    if rows_of[v] == 0 or rows_of[v] == height:
        return True
    n = 0
    for side in range(4):
        n += int(links[v, side] != _NONE)
    return n != 2


@entry
def _list_chains(links, rows_of, height):
    """The chains, one after the other, with both ends; a ring without a node begins and ends at its first vertex.

    Returns
    -------
    chains : (m,) int32
        Vertices.
    starts : (chain + 1,) int64
    arc, place : (n,) int32
        Each inner vertex's chain and where it stands there; -1 for nodes.
    """
    n = links.shape[0]
    arc = np.full(n, _NONE, np.int32)
    place = np.full(n, _NONE, np.int32)
    chains = np.empty(3 * n + 2, np.int32)  # each chain has an inner vertex, and two ends
    starts = np.zeros(n + 1, np.int64)
    n_arcs = 0
    m = 0
    for rings in range(2):  # first the chains between nodes; what is left are rings without one
        for v in range(n):
            if rings == 1 and arc[v] != _NONE:
                continue
            if _is_node(links, rows_of, height, v) == (rings == 1):
                continue
            for side in range(4):
                u = links[v, side]
                if u == _NONE or arc[u] != _NONE or (rings == 0 and _is_node(links, rows_of, height, u)):
                    continue
                begin = m
                chains[m] = v
                m += 1
                before = np.int32(v)
                while u != v and not _is_node(links, rows_of, height, u):
                    arc[u] = n_arcs
                    place[u] = m - begin
                    chains[m] = u
                    m += 1
                    u, before = _next_on(links, u, before), u
                chains[m] = u
                m += 1
                if rings == 1:
                    arc[v] = n_arcs
                    place[v] = 0
                n_arcs += 1
                starts[n_arcs] = m
                if rings == 1:
                    break
    return chains[:m], starts[: n_arcs + 1], arc, place


@inner
def _next_on(links, u, before):
    """The other neighbour of a vertex that has two."""
    for side in range(4):
        if links[u, side] != _NONE and links[u, side] != before:
            return links[u, side]
    return before


@entry
def _simplify(chains, starts, links, vertices, scale, kept, only):
    """Mark the inner vertices of chains as kept or not.

    Parameters
    ----------
    only : (k,) int64
        These chains, which must keep a vertex; or none: all chains.

    Returns
    -------
    whole : (k,) int64
        The chains that became a single chord.
    moved : float
    """
    row_starts, rows_of, cols = vertices[:3]
    height = row_starts.shape[0] - 2
    west = np.empty(height + 1, np.int64)
    east = np.empty(height + 1, np.int64)
    stack = np.empty((64, 3), np.int64)
    whole = np.empty(starts.shape[0], np.int64)
    n_whole = 0
    moved = 0.0
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
                moved = max(moved, distance)
                if i == 0 and j == last:
                    whole[n_whole] = a
                    n_whole += 1
                continue
            kept[chain[between]] = True
            if top + 2 > stack.shape[0]:
                larger = np.empty((2 * stack.shape[0], 3), np.int64)
                larger[: stack.shape[0]] = stack
                stack = larger
            longer = between - i >= j - between
            _push(stack, top, i, between, max(must - 1, 0) * int(longer))
            _push(stack, top + 1, between, j, max(must - 1, 0) * int(not longer))
            top += 2
    return whole[:n_whole], moved


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


@entry
def _round(chains, starts, vertices, scale, kept, levels):
    """Give each kept inner vertex a level: 0, or n to round it over 2**(n - 4) of its two sides."""
    arc = vertices[3]
    stay = np.empty(64, np.int32)
    for a in range(starts.shape[0] - 1):
        chain = chains[starts[a] : starts[a + 1]]
        if chain.shape[0] > stay.shape[0]:
            stay = np.empty(2 * chain.shape[0], np.int32)
        n = 0
        for t in range(chain.shape[0]):
            if kept[chain[t]]:
                stay[n] = chain[t]
                n += 1
        if arc[chain[0]] == a:  # a ring without a node: its first vertex is an inner one, too
            levels[chain[0]] = _level(stay[n - 2], stay[0], stay[1], vertices, scale, kept)
        for t in range(1, n - 1):
            levels[stay[t]] = _level(stay[t - 1], stay[t], stay[t + 1], vertices, scale, kept)


@inner
def _level(a, p, b, vertices, scale, kept):
    """How far vertex p, between a and b, can be rounded: 3, 2 or 1 for a half, quarter or eighth of its sides, or 0."""
    row_starts, rows_of, cols = vertices[:3]
    y, x = float(rows_of[p]), float(cols[p])
    ay, ax = rows_of[a] - y, cols[a] - x
    by, bx = rows_of[b] - y, cols[b] - x
    level = 3
    while level > 0:
        part = 2.0 ** (level - 4)
        ys = (y, y + part * ay, y + part * by)
        xs = (x, x + part * ax, x + part * bx)
        # The parabola's middle is where it is furthest from the vertex.
        away = np.hypot((ay + by) * scale[0], (ax + bx) * scale[1]) * part / 4
        if away <= 1.0 and _is_empty(ys, xs, p, row_starts, cols, kept):
            return level
        level -= 1
    return level


@inner
def _is_empty(ys, xs, p, row_starts, cols, kept):
    """Whether a triangle holds no kept vertex but its own, p."""
    slack = 1e-9  # a vertex on the border counts as inside
    for r in range(int(np.ceil(min(ys) - slack)), int(np.floor(max(ys) + slack)) + 1):
        west, east = np.inf, -np.inf
        for k in range(3):
            y0, x0, y1, x1 = ys[k], xs[k], ys[(k + 1) % 3], xs[(k + 1) % 3]
            if min(y0, y1) - slack <= r <= max(y0, y1) + slack:
                if abs(y1 - y0) <= slack:
                    low, high = min(x0, x1), max(x0, x1)
                else:
                    low = high = x0 + (x1 - x0) * min(max((r - y0) / (y1 - y0), 0.0), 1.0)
                west = min(west, low - slack)
                east = max(east, high + slack)
        low_v, high_v = row_starts[r], row_starts[r + 1]
        while low_v < high_v:
            middle = (low_v + high_v) // 2
            if cols[middle] < west:
                low_v = middle + 1
            else:
                high_v = middle
        while low_v < row_starts[r + 1] and cols[low_v] <= east:
            if kept[low_v] and low_v != p:
                return False
            low_v += 1
    return True
