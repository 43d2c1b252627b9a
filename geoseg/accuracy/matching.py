"""Which object is which: overlaps of two sets of polygons, and the one-to-one matching of largest total IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from geoseg.accuracy.sides import Side

__all__ = ["IOU_DECIMALS", "Pairs", "find_pairs", "match_one_to_one"]

IOU_DECIMALS = 6
"""Of an IoU: moved coordinates are good to some nanometres, and so a tie stays a tie in any CRS."""

_AT_ONCE = 65_536  # intersections held together
_DENSE_CELLS = 4_000_000  # of the cost matrix of a component; larger ones are solved as sparse ones


@dataclass(frozen=True, eq=False)
class Pairs:
    """Objects and references that overlap, sorted by object, then by reference."""

    object: np.ndarray
    """(pair,) int64: index of the object."""
    reference: np.ndarray
    """(pair,) int64: index of the reference."""
    common_m2: np.ndarray
    """(pair,) float64: the area of their intersection; above 0."""
    iou: np.ndarray
    """(pair,) float64: the intersection's part of the union, 0..1, to 6 decimals."""

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.object)

    def at(self, which: np.ndarray) -> Pairs:
        """Some of the pairs: by number, or where True."""
        return Pairs(self.object[which], self.reference[which], self.common_m2[which], self.iou[which])


def find_pairs(objects: Side, reference: Side) -> Pairs:
    """All pairs with a common area; time and memory are linear in their number."""
    tree = shapely.STRtree(reference.shapes)
    found: list[np.ndarray] = []
    for start in range(0, len(objects), _AT_ONCE):
        hits = tree.query(objects.shapes[start : start + _AT_ONCE], predicate="intersects")
        hits[0] += start
        found.append(hits)
    one, other = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    common = np.empty(len(one))
    for start in range(0, len(one), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        common[part] = shapely.area(shapely.intersection(objects.shapes[one[part]], reference.shapes[other[part]]))
    union = objects.inside_m2[one] + reference.inside_m2[other] - common
    iou = np.clip(np.round(common / union, IOU_DECIMALS), 0.0, 1.0)
    pairs = Pairs(one, other, common, iou)
    pairs = pairs.at(common > 0)
    return pairs.at(np.lexsort((pairs.reference, pairs.object)))


def match_one_to_one(pairs: Pairs) -> np.ndarray:
    """The pairs to keep so that nothing is matched twice and the sum of the IoUs is as large as it can be.

    Where the polygons of each side do not overlap one another, at most one pair of an object has an IoU above 0.5, and
    so there is no choice. The rest is an assignment problem for each group of pairs that hang together.

    Parameters
    ----------
    pairs
        Those that may be matched.

    Returns
    -------
    ndarray
        (pair,) bool: True = matched.

    Examples
    --------
    >>> zero = np.zeros(3)
    >>> match_one_to_one(Pairs(np.array([0, 0, 1]), np.array([0, 1, 0]), zero, np.array([0.9, 0.6, 0.6]))).tolist()
    [False, True, True]
    >>> match_one_to_one(Pairs(*np.zeros((2, 0), np.int64), *np.zeros((2, 0)))).tolist()
    []
    """
    one, other = pairs.object, pairs.reference
    chosen = (np.bincount(one)[one] == 1) & (np.bincount(other)[other] == 1) if len(pairs) else np.zeros(0, bool)
    open_ = np.flatnonzero(~chosen)
    if not len(open_):
        return chosen
    one, other = (np.unique(side[open_], return_inverse=True)[1] for side in (one, other))
    size = one.max() + 1, other.max() + 1
    graph = coo_array((np.ones(len(open_)), (one, other + size[0])), shape=(sum(size), sum(size)))
    group = connected_components(graph, directed=False)[1][one]
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        best = _best(one[members], other[members], pairs.iou[open_[members]])
        chosen[open_[members[best]]] = True
    return chosen


def _best(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Numbers of the pairs of the matching of largest weight."""
    (rows, row), (cols, col) = (np.unique(side, return_inverse=True) for side in (one, other))
    shape = len(rows), len(cols)
    if shape[0] * shape[1] > _DENSE_CELLS:
        return _best_sparse(row, col, weight, shape)
    matrix = np.zeros(shape)
    number = np.full(shape, -1)
    matrix[row, col], number[row, col] = weight, np.arange(len(weight))
    taken = number[linear_sum_assignment(matrix, maximize=True)]
    return taken[taken >= 0]


def _best_sparse(row: np.ndarray, col: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The same without a dense matrix: each row may also take a column of its own, which is worth nothing."""
    n, m = shape
    rows = np.concatenate([row, np.arange(n)])
    cols = np.concatenate([col, m + np.arange(n)])
    cost = csr_array((np.concatenate([2.0 - weight, np.full(n, 2.0)]), (rows, cols)), shape=(n, m + n))
    taken = np.stack(min_weight_full_bipartite_matching(cost), axis=1)
    code = row * (m + n) + col
    return np.flatnonzero(np.isin(code, taken[:, 0].astype(np.int64) * (m + n) + taken[:, 1]))
