"""Which rings belong together: regions (connected by edges) and groups of regions (also by corners).

Each boundary that is followed gets a row in the table of regions. Two rows turn out to be one region when a hole
is found to lie in what surrounds it, or when open boundaries meet further down; they are united (union-find with path
halving, Tarjan and van Leeuwen 1984). With 8-connectivity there is a second forest over the same rows: regions of the
same value that touch diagonally form one group, which leaves as one MultiPolygon. With 4-connectivity each region is a
group of its own and both forests are the same.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["NONE", "REGION", "find", "new_region", "unite", "unite_corners"]

NONE = -1
"""Ends a linked list."""

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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def find(forest, h):
    """The root of row h."""
    while forest[h] != h:
        forest[h] = forest[forest[h]]
        h = forest[h]
    return h


@njit(nogil=True, cache=True)
def unite(forest, a, b):
    """Make rows a and b one; the older row is the root."""
    a = find(forest, a)
    b = find(forest, b)
    if a < b:
        forest[b] = a
    elif b < a:
        forest[a] = b


@njit(nogil=True, cache=True)
def unite_corners(forest, corners, pairs):
    """Unite the rows of pairs of corners that have been followed."""
    for k in range(pairs.shape[0]):
        unite(forest, corners[pairs[k, 0]].region, corners[pairs[k, 1]].region)
