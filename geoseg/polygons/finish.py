"""What is finished leaves, what is open stays.

After each strip the rows of the table of regions that turned out to be one are merged. A group without an open boundary
is a finished polygon. The rest is renumbered, so that the table stays as small as the front, and the pool is
compacted when more than half of it is garbage, so that memory follows what is open and each vertex is moved a
bounded number of times on average, however large a region grows.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import inner
from geoseg.polygons.connect import NONE, PIECE, find, unite

__all__ = ["compact", "is_exterior", "keep_open", "settle"]


@inner
def _append(pieces, first, last, more_first, more_last):
    """Join two linked lists; either may be empty."""
    if more_first == NONE:
        return first, last
    if first == NONE:
        return more_first, more_last
    pieces[last].next = more_first
    return first, more_last


@inner
def is_exterior(pool, pieces, ring):
    """A ring starts at its top left vertex: the exterior goes down from there, a hole along its upper side."""
    start = pieces[ring].start
    return pool[start + 1] >> 32 > pool[start] >> 32


@inner
def settle(regions, n_regions, nodes, pool, pieces, eight):
    """Merge the rows that are one region or group, and list the groups that are finished.

    Returns
    -------
    done : (feature,) int32
        Rows of the groups that have no open boundary.
    keys, bottoms : (feature,) int64
        Their first vertex in order of rows and columns, and the lowest lattice row of their boundary.
    n_parts, n_rings, n_vertices : int
        Totals over them.
    """
    region_open = np.zeros(n_regions, np.bool_)
    group_open = np.zeros(n_regions, np.bool_)
    for h in range(n_regions):
        root = find(regions.parent, h)
        if eight:
            unite(regions.group, h, root)
        else:
            regions[h].group = root
        if root != h:
            regions[root].first, regions[root].last = _append(
                pieces, regions[root].first, regions[root].last, regions[h].first, regions[h].last
            )
            regions[h].first = NONE
    for h in range(n_regions):
        group = find(regions.group, h)
        if group != h:
            regions[group].area += regions[h].area
            regions[group].confidence += regions[h].confidence
            regions[group].bottom = max(regions[group].bottom, regions[h].bottom)
            regions[group].kept_first, regions[group].kept_last = _append(
                pieces,
                regions[group].kept_first,
                regions[group].kept_last,
                regions[h].kept_first,
                regions[h].kept_last,
            )
            regions[h].kept_first = NONE
    for k in range(nodes.shape[0]):
        region_open[find(regions.parent, np.int64(nodes[k].region))] = True
        group_open[find(regions.group, np.int64(nodes[k].region))] = True
    n_done = 0
    for h in range(n_regions):
        group = find(regions.group, h)
        if not region_open[h] and regions[h].first != NONE:
            _put_exterior_first(regions, h, pool, pieces)
            regions[group].kept_first, regions[group].kept_last = _append(
                pieces,
                regions[group].kept_first,
                regions[group].kept_last,
                regions[h].first,
                regions[h].last,
            )
            regions[h].first = NONE
        n_done += int(group == h and not group_open[h])

    done = np.empty(n_done, np.int32)
    keys = np.empty(n_done, np.int64)
    bottoms = np.empty(n_done, np.int64)
    n_done = 0
    n_parts = 0
    n_rings = 0
    n_vertices = 0
    for h in range(n_regions):
        if regions[h].group == h and not group_open[h]:
            ring = regions[h].kept_first
            key = pool[pieces[ring].start]
            while ring != NONE:
                n_rings += 1
                n_parts += int(is_exterior(pool, pieces, ring))
                n_vertices += pieces[ring].size + 1
                key = min(key, pool[pieces[ring].start])
                ring = pieces[ring].next
            done[n_done] = h
            keys[n_done] = key
            bottoms[n_done] = regions[h].bottom
            n_done += 1
    return done, keys, bottoms, n_parts, n_rings, n_vertices


@inner
def _put_exterior_first(regions, h, pool, pieces):
    """Move the exterior to the front of a finished region's list of rings."""
    before = np.int32(NONE)
    ring = regions[h].first
    while not is_exterior(pool, pieces, ring):
        before = ring
        ring = pieces[ring].next
    if before != NONE:
        pieces[before].next = pieces[ring].next
        if regions[h].last == ring:
            regions[h].last = before
        pieces[ring].next = regions[h].first
        regions[h].first = ring


@inner
def keep_open(regions, n_regions, nodes):
    """Renumber the regions and groups that have an open boundary; return how many rows are kept."""
    kept = np.zeros(n_regions, np.bool_)
    group_of = np.empty(n_regions, np.int32)
    for k in range(nodes.shape[0]):
        h = find(regions.parent, np.int64(nodes[k].region))
        nodes[k].region = h
        group_of[h] = find(regions.group, h)
        group_of[group_of[h]] = group_of[h]
        kept[h] = True
        kept[group_of[h]] = True
    number = np.empty(n_regions, np.int32)
    n_kept = 0
    for h in range(n_regions):
        if kept[h]:
            number[h] = n_kept
            n_kept += 1
    for h in range(n_regions):
        if kept[h]:
            k = number[h]
            regions[k] = regions[h]
            regions[k].parent = k
            regions[k].group = number[group_of[h]]
            if group_of[h] != h:  # its sums were given to the group
                regions[k].area = 0
                regions[k].confidence = 0
    for k in range(nodes.shape[0]):
        nodes[k].region = number[nodes[k].region]
    return n_kept


@inner
def compact(pool, pieces, nodes, regions, n_regions):
    """Copy what is still needed into a new pool; each open boundary becomes one piece.

    Returns
    -------
    pool, n_pool, pieces, n_pieces
        The copies are as small as they can be.
    """
    n_pool = np.int64(0)
    n_pieces = nodes.shape[0]
    for k in range(nodes.shape[0]):
        p = nodes[k].first
        n_pool += pieces[p].size
        while p != nodes[k].last:
            p = pieces[p].next
            n_pool += pieces[p].size
    for h in range(n_regions):
        for ring in (regions[h].first, regions[h].kept_first):
            while ring != NONE:
                n_pool += pieces[ring].size
                n_pieces += 1
                ring = pieces[ring].next

    new_pool = np.empty(n_pool, pool.dtype)
    new_pieces = np.empty(n_pieces, PIECE)
    n_pool = np.int64(0)
    n_pieces = np.int64(0)
    for k in range(nodes.shape[0]):
        p = nodes[k].first
        end = _copy(pool, pieces, p, new_pool, n_pool)
        while p != nodes[k].last:
            p = pieces[p].next
            end = _copy(pool, pieces, p, new_pool, end)
        new_pieces[n_pieces].start = n_pool
        new_pieces[n_pieces].size = end - n_pool
        new_pieces[n_pieces].next = NONE
        nodes[k].first = n_pieces
        nodes[k].last = n_pieces
        n_pool = end
        n_pieces += 1
    for h in range(n_regions):
        if regions[h].first != NONE:
            first = n_pieces
            n_pool, n_pieces = _copy_rings(pool, pieces, regions[h].first, new_pool, n_pool, new_pieces, n_pieces)
            regions[h].first = first
            regions[h].last = n_pieces - 1
        if regions[h].kept_first != NONE:
            first = n_pieces
            n_pool, n_pieces = _copy_rings(pool, pieces, regions[h].kept_first, new_pool, n_pool, new_pieces, n_pieces)
            regions[h].kept_first = first
            regions[h].kept_last = n_pieces - 1
    return new_pool, n_pool, new_pieces, n_pieces


@inner
def _copy(pool, pieces, p, new_pool, at):
    """Copy a piece's vertices; return where they end."""
    start = pieces[p].start
    for k in range(pieces[p].size):
        new_pool[at + k] = pool[start + k]
    return at + pieces[p].size


@inner
def _copy_rings(pool, pieces, ring, new_pool, n_pool, new_pieces, n_pieces):
    """Copy a list of rings."""
    while ring != NONE:
        end = _copy(pool, pieces, ring, new_pool, n_pool)
        new_pieces[n_pieces].start = n_pool
        new_pieces[n_pieces].size = end - n_pool
        ring = pieces[ring].next
        new_pieces[n_pieces].next = NONE if ring == NONE else n_pieces + 1
        n_pool = end
        n_pieces += 1
    return n_pool, n_pieces
