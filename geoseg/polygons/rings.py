"""Corners → the boundaries of a strip: closed rings, and open chains that go on in the strip above or below.

A ring that touches itself at a saddle vertex is cut there into simple rings, an exterior with a hole that touches
it or two holes that touch: what the OGC's rules call valid. The turn taken at a saddle (never across the vertex) keeps
regions 4-connected, so an exterior is never cut into two.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.connect import NODE, NONE, Open, new_region, unite_corners
from geoseg.polygons.trace import END, FOLLOWED, SADDLE, VOID

__all__ = ["add_boundary", "follow", "order_of"]


@entry
def follow(corners, sums, n, front, joins, touches, pool, pieces, regions):
    """Walk every boundary of a strip.

    Parameters
    ----------
    corners, sums, n, front, joins, touches
        From `scan`. Afterwards corner.region is its row in the table of regions.
    pool, pieces, regions
        Arrays to write into, with room for n.

    Returns
    -------
    Open
        Everything in the strip, finished or not.
    """
    n_above = front.n_above
    n_below = 0
    while front.changes[n_below] != END:
        n_below += 1
    nodes = np.empty(2 * (n_above + n_below), NODE)
    below = np.full((n_below, 2), np.int32(NONE))
    above = np.full((n_above, 2), np.int32(NONE))
    n_pool = np.int64(0)
    h = np.int64(0)
    for k in range(n_below):
        head = front.head[front.changes[k]]
        if head != VOID:
            n_pool = _follow_open(corners, head, n_above, pool, n_pool, pieces, nodes, regions, h)
            below[k, 1] = h
            h += 1
    for k in range(n_above):
        if corners[1 + 2 * k].next != FOLLOWED:
            n_pool = _follow_open(corners, np.int32(1 + 2 * k), n_above, pool, n_pool, pieces, nodes, regions, h)
            h += 1
    for k in range(n_above):  # when all have been followed: a chain may end at an edge further on
        above[k, 0] = corners[1 + 2 * k].region
        above[k, 1] = corners[2 + 2 * k].region
    n_nodes = h
    n_pieces = h
    for c in range(1 + 2 * n_above, n):
        if corners[c].next != FOLLOWED:
            n_pool, n_pieces = _follow_ring(corners, c, pool, n_pool, pieces, n_pieces, regions, h)
            h += 1
    for c in range(1 + 2 * n_above, n):  # apart from the walk, which jumps about, so that it touches less memory
        regions[corners[c].region].area += sums[c, 0]
        regions[corners[c].region].confidence += sums[c, 1]
    for k in range(n_below):
        x = front.changes[k]
        if below[k, 1] != NONE:
            regions[below[k, 1]].area += front.area[x]
            regions[below[k, 1]].confidence += front.confidence[x]
        if front.tail[x] != VOID:
            below[k, 0] = corners[front.tail[x]].region
            regions[below[k, 0]].area -= front.area[x]
            regions[below[k, 0]].confidence -= front.confidence[x]
    unite_corners(regions.parent, corners, joins)
    unite_corners(regions.group, corners, touches)
    return Open(pool, n_pool, pieces, n_pieces, regions, h, nodes[:n_nodes], above, below, n_pool, n_pieces)


@inner
def _follow_open(corners, c, n_above, pool, n_pool, pieces, nodes, regions, h):
    """Write one open boundary into the pool: node, piece and region h."""
    new_region(regions, h)
    regions[h].value = corners[c].region
    begin = n_pool
    lowest = np.int64(0)
    while c > 0:
        if c > 2 * n_above:
            lowest = max(lowest, corners[c].at)
            pool[n_pool] = corners[c].at
            n_pool += 1
        following = corners[c].next
        corners[c].next = FOLLOWED
        corners[c].region = h
        c = following
    regions[h].bottom = lowest >> 32
    pieces[h].start = begin
    pieces[h].size = n_pool - begin
    pieces[h].next = NONE
    nodes[h].first = h
    nodes[h].last = h
    nodes[h].region = h
    return n_pool


@inner
def _follow_ring(corners, start, pool, n_pool, pieces, n_pieces, regions, h):
    """Write one closed boundary into the pool: region h."""
    new_region(regions, h)
    regions[h].value = corners[start].region
    begin = n_pool
    n_saddles = np.int64(0)
    lowest = np.int64(0)
    c = np.int32(start)
    while corners[c].next != FOLLOWED:
        at = corners[c].at
        lowest = max(lowest, at)
        pool[n_pool] = at
        n_saddles += at & SADDLE
        n_pool += 1
        following = corners[c].next
        corners[c].next = FOLLOWED
        corners[c].region = h
        c = following
    regions[h].bottom = lowest >> 32
    return n_pool, add_boundary(pool, begin, n_pool, n_saddles, pieces, n_pieces, regions, h)


@inner
def add_boundary(pool, begin, end, n_saddles, pieces, n_pieces, regions, h):
    """Give a region the closed boundary pool[begin:end], as one simple ring or several."""
    if n_saddles >= 2:
        return _cut_at_saddles(pool, begin, end, n_saddles, pieces, n_pieces, regions, h)
    return _add_ring(pool, begin, end, pieces, n_pieces, regions, h)


@inner
def _cut_at_saddles(pool, begin, end, n_saddles, pieces, n_pieces, regions, h):
    """Cut a ring into simple rings wherever it comes back to a vertex.

    Vertices are stacked; on the second visit of a vertex all that was stacked since the first is a ring of its own.
    Boundaries do not cross, so visits are nested like brackets, and each vertex is taken off once.
    """
    size = end - begin
    keys = np.empty(n_saddles, np.int64)
    places = np.empty(n_saddles, np.int64)
    k = 0
    for p in range(size):
        if pool[begin + p] & SADDLE:
            keys[k] = pool[begin + p]
            places[k] = p
            k += 1
    if not _may_have_pair(keys):
        return _add_ring(pool, begin, end, pieces, n_pieces, regions, h)
    order = order_of(keys)
    again = np.zeros(size, np.bool_)
    for k in range(1, n_saddles):
        if keys[order[k]] == keys[order[k - 1]]:
            again[places[order[k]]] = True
    vertices = np.empty(size, np.int64)
    for p in range(size):
        vertices[p] = pool[begin + p]
    stack = np.empty(size, np.int64)
    height = 0
    done = begin
    for p in range(size):
        if again[p]:
            bottom = height - 1
            while stack[bottom] != vertices[p]:
                bottom -= 1
            ring = done
            for k in range(bottom, height):
                pool[done] = stack[k]
                done += 1
            height = bottom + 1
            n_pieces = _add_ring(pool, ring, done, pieces, n_pieces, regions, h)
        else:
            stack[height] = vertices[p]
            height += 1
    for k in range(height):
        pool[done + k] = stack[k]
    return _add_ring(pool, done, end, pieces, n_pieces, regions, h)


@inner
def _may_have_pair(keys):
    """False if no key stands twice; only few keys, the usual case, are compared."""
    if keys.shape[0] > 12:
        return True
    for k in range(1, keys.shape[0]):
        for m in range(k):
            if keys[k] == keys[m]:
                return True
    return False


@inner
def order_of(keys):
    """The order that sorts keys; equal ones stay in order.

    Merge sort, from the bottom up. numpy's argsort would take longer to compile than all the rest of this file.
    """
    n = keys.shape[0]
    order = np.empty(n, np.int64)
    merged = np.empty(n, np.int64)
    for k in range(n):
        order[k] = k
    size = 1
    while size < n:
        for left in range(0, n, 2 * size):
            i = left
            middle = min(left + size, n)
            j = middle
            right = min(middle + size, n)
            for k in range(left, right):
                if j == right or (i < middle and keys[order[i]] <= keys[order[j]]):
                    merged[k] = order[i]
                    i += 1
                else:
                    merged[k] = order[j]
                    j += 1
        order, merged = merged, order
        size *= 2
    return order


@inner
def _add_ring(pool, begin, end, pieces, n_pieces, regions, h):
    """Give a region the ring pool[begin:end], turned to start at its first vertex in order of rows and columns."""
    first = begin
    for k in range(begin + 1, end):
        if pool[k] < pool[first]:
            first = k
    if first != begin:
        turned = np.empty(end - begin, np.int64)
        for k in range(begin, end):
            turned[k - first + (0 if k >= first else end - begin)] = pool[k]
        for k in range(begin, end):
            pool[k] = turned[k - begin]
    pieces[n_pieces].start = begin
    pieces[n_pieces].size = end - begin
    pieces[n_pieces].next = NONE
    if regions[h].first == NONE:
        regions[h].first = n_pieces
    else:
        pieces[regions[h].last].next = n_pieces
    regions[h].last = n_pieces
    return n_pieces + 1
