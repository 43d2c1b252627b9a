"""Corners → boundaries: closed rings, and open ones that go on in the next strip.

All vertices stand in one long array, the *pool*; a *piece* is a stretch of it. An open boundary is a linked list of
pieces, so that joining two of them copies nothing; a ring is one piece. Between strips each open boundary is
represented by a stand-in corner, which the scan links like any other.

A ring that touches itself at a saddle vertex is cut there into simple rings, an exterior with a hole that touches
it or two holes that touch: what the OGC's rules call valid. The turn taken at a saddle (never across the vertex) keeps
regions 4-connected, so an exterior is never cut into two.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.polygons.connect import NONE, new_region, unite
from geoseg.polygons.trace import SADDLE

__all__ = ["NODE", "PIECE", "follow", "order_of"]

PIECE = np.dtype([("start", np.int64), ("size", np.int32), ("next", np.int32)], align=True)
"""A stretch of the pool, and the next piece of the same boundary (or the next ring of the same region)."""

NODE = np.dtype([("first", np.int32), ("last", np.int32), ("region", np.int32)], align=True)
"""An open boundary: first and last piece from its head to its tail, and its row in the table of regions."""

_FOLLOWED = np.int32(-1)


@njit(nogil=True, cache=True)
def follow(corners, sums, n, head, tail, nodes, pool, n_pool, pieces, n_pieces, regions, n_regions):
    """Walk every boundary of a strip.

    Parameters
    ----------
    corners, sums, n
        From `scan`; corners 1..len(nodes) stand for the open boundaries `nodes`. Afterwards corner.region is its row
        in the table of regions.
    head, tail
        Of the front; afterwards they name the stand-ins of the boundaries that are open now, 1..len(new nodes).
    nodes : NODE
    pool, n_pool, pieces, n_pieces, regions, n_regions
        Arrays with enough room, and how much of each is used.

    Returns
    -------
    nodes, n_pool, n_pieces, n_regions
        Nodes for the boundaries that are open now.
    """
    n_nodes = nodes.shape[0]
    n_open = 0
    for x in range(head.shape[0]):
        n_open += int(head[x] > 0)
    now_open = np.empty(n_open, NODE)
    first_open = n_regions
    k = 0
    for x in range(head.shape[0]):
        if head[x] > 0:
            n_pool, n_pieces = _follow_open(
                corners, head[x], nodes, pool, n_pool, pieces, n_pieces, regions, n_regions, now_open, k
            )
            n_regions += 1
            k += 1
            head[x] = k
    for x in range(tail.shape[0]):
        if tail[x] > 0:
            tail[x] = corners[tail[x]].region - first_open + 1
    for start in range(1, n):
        if corners[start].next != _FOLLOWED:
            n_pool, n_pieces = _follow_ring(corners, start, nodes, pool, n_pool, pieces, n_pieces, regions, n_regions)
            n_regions += 1
    for c in range(n_nodes + 1, n):  # apart from the walk, which jumps about, so that it touches less memory
        regions[corners[c].region].area += sums[c, 0]
        regions[corners[c].region].confidence += sums[c, 1]
    return now_open, n_pool, n_pieces, n_regions


@njit(nogil=True, cache=True)
def _follow_open(corners, c, nodes, pool, n_pool, pieces, n_pieces, regions, h, now_open, k):
    """Turn one open boundary into a node; its new vertices go into the pool."""
    n_nodes = nodes.shape[0]
    first = np.int32(NONE)
    last = np.int32(NONE)
    in_piece = False
    value = np.int32(0)
    lowest = np.int64(0)
    new_region(regions, h)
    while c > 0:
        if c <= n_nodes:
            node = nodes[c - 1]
            value = regions[node.region].value
            unite(regions.parent, node.region, h)
            if first == NONE:
                first = node.first
            else:
                pieces[last].next = node.first
            last = node.last
            in_piece = False
        else:
            value = corners[c].region
            lowest = max(lowest, corners[c].at)
            if not in_piece:
                pieces[n_pieces].start = n_pool
                pieces[n_pieces].size = 0
                pieces[n_pieces].next = NONE
                if first == NONE:
                    first = np.int32(n_pieces)
                else:
                    pieces[last].next = n_pieces
                last = np.int32(n_pieces)
                n_pieces += 1
                in_piece = True
            pool[n_pool] = corners[c].at
            n_pool += 1
            pieces[last].size += 1
        following = corners[c].next
        corners[c].next = _FOLLOWED
        corners[c].region = h
        c = following
    regions[h].value = value
    regions[h].bottom = lowest >> 32
    now_open[k].first = first
    now_open[k].last = last
    now_open[k].region = h
    return n_pool, n_pieces


@njit(nogil=True, cache=True)
def _follow_ring(corners, start, nodes, pool, n_pool, pieces, n_pieces, regions, h):
    """Write one closed boundary into the pool, as one simple ring or several."""
    n_nodes = nodes.shape[0]
    begin = n_pool
    n_saddles = np.int64(0)
    value = np.int32(0)
    lowest = np.int64(0)
    new_region(regions, h)
    c = np.int32(start)
    while True:
        if c <= n_nodes:
            node = nodes[c - 1]
            value = regions[node.region].value
            unite(regions.parent, node.region, h)
            p = node.first
            while True:
                for k in range(pieces[p].start, pieces[p].start + pieces[p].size):
                    pool[n_pool] = pool[k]
                    n_saddles += pool[k] & SADDLE
                    n_pool += 1
                if p == node.last:
                    break
                p = pieces[p].next
        else:
            at = corners[c].at
            value = corners[c].region
            lowest = max(lowest, at)
            pool[n_pool] = at
            n_saddles += at & SADDLE
            n_pool += 1
        following = corners[c].next
        corners[c].next = _FOLLOWED
        corners[c].region = h
        c = following
        if c == start:
            break
    regions[h].value = value
    regions[h].bottom = lowest >> 32
    if n_saddles >= 2:
        n_pieces = _cut_at_saddles(pool, begin, n_pool, n_saddles, pieces, n_pieces, regions, h)
    else:
        n_pieces = _add_ring(pool, begin, n_pool, pieces, n_pieces, regions, h)
    return n_pool, n_pieces


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def _may_have_pair(keys):
    """False if no key stands twice; only few keys, the usual case, are compared."""
    if keys.shape[0] > 12:
        return True
    for k in range(1, keys.shape[0]):
        for m in range(k):
            if keys[k] == keys[m]:
                return True
    return False


@njit(nogil=True, cache=True)
def order_of(keys):
    """The order that sorts keys; equal ones stay in order."""
    return np.argsort(keys, kind="mergesort")


@njit(nogil=True, cache=True)
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
