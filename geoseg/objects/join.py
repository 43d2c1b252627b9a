"""Joining: from links between parts to objects, without chaining true neighbours together.

Links alone are not enough. Where one tile sees two buildings and its neighbour takes them for one, following all links
would make one object of both, and, in a dense town, of a whole street. So what one tile told apart stays apart: two
parts of a tile are never joined if they touch, or if one of them is seen whole. (Two arms of something that the tile
does not see whole may be joined.) Links are followed from the strongest on, as in Kruskal's algorithm, and one that
would break this rule is left out. The outcome depends on nothing but the parts and the links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Nodes", "join"]


@dataclass(frozen=True, eq=False)
class Nodes:
    """What joining needs to know of parts, in lattice order."""

    tile: np.ndarray
    """(part,) int64: number of its tile."""
    cut: np.ndarray
    """(part,) bool: True where its tile does not see it whole."""
    neighbours: np.ndarray
    """(pair, 2) int64: parts of one tile, both cut, that touch."""


def join(nodes: Nodes, a: np.ndarray, b: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    """Which object each part belongs to.

    Parameters
    ----------
    nodes
        The parts.
    a, b, agreement
        (link,) The links between them, by number of the part, and how strong they are.

    Returns
    -------
    ndarray
        (part,) int64 number of the object, from 0, in the order of each object's first part.

    Examples
    --------
    Two houses of tile 0, which tile 1 takes for one; it goes with the one that it agrees with more.

    >>> nodes = Nodes(np.array([0, 0, 1]), np.array([False, False, True]), np.zeros((0, 2), int))
    >>> join(nodes, np.array([0, 1]), np.array([2, 2]), np.array([0.4, 0.6])).tolist()
    [0, 1, 1]
    """
    count = len(nodes.tile)
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    _, group = connected_components(links, directed=False)
    doubtful = _doubtful(nodes, group)
    if doubtful.any():
        group = _settle(nodes, a, b, agreement, group, doubtful)
    _, first, back = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[back]


def _doubtful(nodes: Nodes, group: np.ndarray) -> np.ndarray:
    """(group,) bool: True where a group holds two parts of one tile. All others need no second look."""
    order = np.lexsort((nodes.tile, group))
    twice = (group[order[1:]] == group[order[:-1]]) & (nodes.tile[order[1:]] == nodes.tile[order[:-1]])
    doubtful = np.zeros(int(group.max(initial=-1)) + 1, bool)
    doubtful[group[order[1:]][twice]] = True
    return doubtful


def _settle(
    nodes: Nodes, a: np.ndarray, b: np.ndarray, agreement: np.ndarray, group: np.ndarray, doubtful: np.ndarray
) -> np.ndarray:
    """The groups again, where the doubtful ones are made link by link."""
    parent = {int(part): int(part) for part in np.flatnonzero(doubtful[group])}
    members: dict[int, dict[int, list[int]]] = {part: {int(nodes.tile[part]): [part]} for part in parent}
    touching = {(int(one), int(other)) for one, other in nodes.neighbours if int(one) in parent}
    cut = nodes.cut

    def root(part: int) -> int:
        while parent[part] != part:
            parent[part] = part = parent[parent[part]]
        return part

    def apart(one: int, other: int) -> bool:
        return not (cut[one] and cut[other]) or (min(one, other), max(one, other)) in touching

    links = np.flatnonzero(doubtful[group[a]])
    for link in links[np.lexsort((b[links], a[links], -agreement[links]))]:
        one, other = root(int(a[link])), root(int(b[link]))
        if one == other:
            continue
        small, large = sorted((one, other), key=lambda part: (len(members[part]), -part))
        theirs, ours = members[small], members[large]
        if any(apart(x, y) for tile, parts in theirs.items() for x in parts for y in ours.get(tile, ())):
            continue
        for tile, parts in theirs.items():
            ours.setdefault(tile, []).extend(parts)
        parent[small] = large
        del members[small]
    fresh = group.astype(np.int64)
    free = int(group.max(initial=-1)) + 1
    for part in parent:
        fresh[part] = free + root(part)
    return fresh
