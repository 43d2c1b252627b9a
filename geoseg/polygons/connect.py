"""The tables of what has been traced, and which rings belong together: regions (connected by edges) and groups of
regions (also by corners).

All vertices stand in one long array, the *pool*; a *piece* is a stretch of it. An open boundary, a *node*, is a linked
list of pieces, so that joining two of them copies nothing; a ring is one piece.

Each boundary that is followed gets a row in the table of regions. Two rows turn out to be one region when a hole
is found to lie in what surrounds it, or when open boundaries meet further down; they are united (union-find with path
halving, Tarjan and van Leeuwen 1984). With 8-connectivity there is a second forest over the same rows: regions of the
same value that touch diagonally form one group, which leaves as one MultiPolygon. With 4-connectivity each region is a
group of its own and both forests are the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from geoseg.polygons.compiled import inner

__all__ = ["NODE", "NONE", "PIECE", "REGION", "Open", "find", "new_region", "unite", "unite_corners"]

NONE = -1
"""Ends a linked list."""

PIECE = np.dtype([("start", np.int64), ("size", np.int32), ("next", np.int32)], align=True)
"""A stretch of the pool, and the next piece of the same boundary (or the next ring of the same region)."""

NODE = np.dtype([("first", np.int32), ("last", np.int32), ("region", np.int32)], align=True)
"""An open boundary: first and last piece from its head to its tail, and its row in the table of regions. An empty piece
(a boundary without a vertex so far) stands alone."""

REGION = np.dtype(
    [
        ("parent", np.int32),  # union-find of regions
        ("group", np.int32),  # union-find of groups
        ("first", np.int32),  # closed rings found so far: a linked list of pieces
        ("last", np.int32),
        ("kept_first", np.int32),  # of a group: rings of its finished regions, each exterior before its holes
        ("kept_last", np.int32),
        ("value", np.int32),
        ("bottom", np.int32),  # lowest lattice row met so far
        ("area", np.int64),  # sums over the pixels, of the boundary followed so far
        ("confidence", np.int64),
    ],
    align=True,
)
"""What is connected, and its sums."""


class Open(NamedTuple):
    """Some rows of the map, traced. Between strips all of it is open or belongs to something open."""

    pool: Any
    """int64 vertices, like `CORNER.at`; of this and the next two arrays only the first n are used."""
    n_pool: Any
    pieces: Any
    """PIECE."""
    n_pieces: Any
    regions: Any
    """REGION."""
    n_regions: Any
    nodes: Any
    """(boundary,) NODE."""
    above: Any
    """(change, 2) int32: for each change of the row above, the node that goes down from there on the east side of the
    edge, and the one that comes up to there on its west side; NONE where that side is nodata."""
    below: Any
    """(change, 2) int32: the same for the changes of the last row, where these nodes end and start."""
    live_pool: Any
    """How much of the pool was used when it was compacted last."""
    live_pieces: Any


@inner
def new_region(regions, h):
    """Make row h of the table a region without anything."""
    regions[h].parent = h
    regions[h].group = h
    regions[h].first = NONE
    regions[h].last = NONE
    regions[h].kept_first = NONE
    regions[h].kept_last = NONE
    regions[h].value = 0
    regions[h].bottom = 0
    regions[h].area = 0
    regions[h].confidence = 0


@inner
def find(forest, h):
    """The root of row h."""
    while forest[h] != h:
        forest[h] = forest[forest[h]]
        h = forest[h]
    return h


@inner
def unite(forest, a, b):
    """Make rows a and b one; the older row is the root."""
    a = find(forest, a)
    b = find(forest, b)
    if a < b:
        forest[b] = a
    elif b < a:
        forest[a] = b


@inner
def unite_corners(forest, corners, pairs):
    """Unite the rows of pairs of corners that have been followed."""
    for k in range(pairs.shape[0]):
        unite(forest, np.int64(corners[pairs[k, 0]].region), np.int64(corners[pairs[k, 1]].region))
