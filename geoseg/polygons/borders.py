"""The borders of a band of a map as a graph: vertices where they turn or meet, and chains between those that stay.

The same vertices as in `trace`, but each one once, not once for each region that meets there.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.trace import END, find_changes

__all__ = ["list_chains", "list_vertices"]

_NONE = -1
_NORTH, _EAST, _SOUTH, _WEST = 0, 1, 2, 3


@entry
def list_vertices(rows, nodata):
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
            for k in range(n):  # slices would compile a library of strings, for the message of an error
                for side in range(4):
                    more[k, side] = links[k, side]
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
    for k in range(used):
        larger[k] = array[k]
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
def list_chains(links, rows_of, height):
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
