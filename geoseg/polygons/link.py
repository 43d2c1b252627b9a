"""The strips of a map, linked along their seams.

What a strip leaves open lies in an `Open`. Across a seam, each vertical edge has two travellers: one chain ends there
and another goes on, on its east side downwards, on its west side upwards. Following them from chain to chain joins
lists of pieces and copies no vertex, until a boundary closes: then it becomes a ring. So linking costs what is open
and what closes, not what the strip holds.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.connect import NODE, NONE, Open, unite
from geoseg.polygons.rings import add_boundary
from geoseg.polygons.trace import SADDLE, grown

__all__ = ["link"]


@entry
def link(state, strip):
    """Put a strip below the rows that came before.

    Parameters
    ----------
    state : Open
        Of all rows above, from the top of the map; its arrays are used up.
    strip : Open
        Of the strip, without what lies inside it.

    Returns
    -------
    Open
        Of all rows so far, with what the strip closes.
    """
    n_above = state.nodes.shape[0]
    n_nodes = n_above + strip.nodes.shape[0]
    pool, n_pool, pieces, n_pieces, regions, n_regions, nodes = _append(state, strip)

    following = np.full(n_nodes, np.int32(NONE))
    for k in range(state.below.shape[0]):
        if state.below[k, 0] != NONE:
            following[state.below[k, 0]] = n_above + strip.above[k, 0]
        if state.below[k, 1] != NONE:
            following[n_above + strip.above[k, 1]] = state.below[k, 1]

    below = np.full(strip.below.shape, np.int32(NONE))
    chain_of = np.full(n_nodes, np.int32(NONE))
    now_open = np.empty(strip.below.shape[0], NODE)
    n_open = np.int64(0)
    for k in range(strip.below.shape[0]):
        if strip.below[k, 1] != NONE:
            _join(n_above + strip.below[k, 1], following, chain_of, n_open, nodes, now_open, pieces, regions)
            below[k, 1] = n_open
            n_open += 1
    for k in range(strip.below.shape[0]):
        if strip.below[k, 0] != NONE:
            below[k, 0] = chain_of[n_above + strip.below[k, 0]]
    now_open = now_open[:n_open]
    for node in range(n_nodes):
        if chain_of[node] == NONE:
            pool, n_pool, pieces, n_pieces = _close(
                node, following, chain_of, nodes, pool, n_pool, pieces, n_pieces, regions
            )

    return Open(
        pool,
        n_pool,
        pieces,
        n_pieces,
        regions,
        n_regions,
        now_open,
        state.above,
        below,
        state.live_pool,
        state.live_pieces,
    )


@inner
def _append(state, strip):
    """The tables of both, one after the other."""
    n_pool, n_pieces, n_regions = state.n_pool, state.n_pieces, state.n_regions
    pool = grown(state.pool, n_pool, n_pool + strip.n_pool)
    for k in range(strip.n_pool):
        pool[n_pool + k] = strip.pool[k]
    pieces = grown(state.pieces, n_pieces, n_pieces + strip.n_pieces)
    for k in range(strip.n_pieces):
        pieces[n_pieces + k].start = strip.pieces[k].start + n_pool
        pieces[n_pieces + k].size = strip.pieces[k].size
        pieces[n_pieces + k].next = _moved(strip.pieces[k].next, n_pieces)
    regions = grown(state.regions, n_regions, n_regions + strip.n_regions)
    for k in range(strip.n_regions):
        h = n_regions + k
        regions[h] = strip.regions[k]
        regions[h].parent += n_regions
        regions[h].group += n_regions
        regions[h].first = _moved(regions[h].first, n_pieces)
        regions[h].last = _moved(regions[h].last, n_pieces)
        regions[h].kept_first = _moved(regions[h].kept_first, n_pieces)
        regions[h].kept_last = _moved(regions[h].kept_last, n_pieces)
    n_above = state.nodes.shape[0]
    nodes = np.empty(n_above + strip.nodes.shape[0], NODE)
    for k in range(n_above):
        nodes[k] = state.nodes[k]
    for k in range(strip.nodes.shape[0]):
        nodes[n_above + k].first = strip.nodes[k].first + n_pieces
        nodes[n_above + k].last = strip.nodes[k].last + n_pieces
        nodes[n_above + k].region = strip.nodes[k].region + n_regions
    return (
        pool,
        n_pool + strip.n_pool,
        pieces,
        n_pieces + strip.n_pieces,
        regions,
        n_regions + strip.n_regions,
        nodes,
    )


@inner
def _moved(number, by):
    """A place in a list that now begins further on."""
    return number if number == NONE else np.int32(number + by)


@inner
def _join(node, following, chain_of, chain, nodes, now_open, pieces, regions):
    """Join the nodes of one open boundary."""
    first = nodes[node].first
    last = nodes[node].last
    region = np.int64(nodes[node].region)
    chain_of[node] = chain
    node = following[node]
    while node != NONE:
        chain_of[node] = chain
        unite(regions.parent, region, np.int64(nodes[node].region))
        if pieces[first].size == 0:
            first = nodes[node].first
            last = nodes[node].last
        elif pieces[nodes[node].first].size > 0:
            pieces[last].next = nodes[node].first
            last = nodes[node].last
        node = following[node]
    now_open[chain].first = first
    now_open[chain].last = last
    now_open[chain].region = region


@inner
def _close(start, following, chain_of, nodes, pool, n_pool, pieces, n_pieces, regions):
    """Copy the nodes of one closed boundary into rings."""
    region = np.int64(nodes[start].region)
    size = np.int64(0)
    node = np.int32(start)
    while chain_of[node] == NONE:
        chain_of[node] = 0
        unite(regions.parent, region, np.int64(nodes[node].region))
        p = nodes[node].first
        size += pieces[p].size
        while p != nodes[node].last:
            p = pieces[p].next
            size += pieces[p].size
        node = following[node]
    pool = grown(pool, n_pool, n_pool + size)
    pieces = grown(pieces, n_pieces, n_pieces + size // 4 + 1)
    begin = n_pool
    n_saddles = np.int64(0)
    while n_pool < begin + size:
        p = nodes[node].first
        while True:
            for k in range(pieces[p].start, pieces[p].start + pieces[p].size):
                pool[n_pool] = pool[k]
                n_saddles += pool[k] & SADDLE
                n_pool += 1
            if p == nodes[node].last:
                break
            p = pieces[p].next
        node = following[node]
    return pool, n_pool, pieces, add_boundary(pool, begin, n_pool, n_saddles, pieces, n_pieces, regions, region)
