"""Where polygons and areas meet, they get one vertex in common, computed once and the same from every side.

Cut two neighbours one after the other, and the points where an edge of the area crosses their common edge may differ in
the last digit: a gap, or an overlap. So each such point is made beforehand, from the two edges alone, whatever their
direction and whatever else is cut, and it becomes a vertex of the polygon and of the area. What is then cut by GEOS has
no crossing left to be computed.

Polygons keep their shape: an edge gets vertices, but none is moved. (The vertex of a slanted edge may lie off it by a
rounding error; on axis-parallel edges it lies exactly.) Areas give way by less than a tolerance, so that nothing is cut
off that only rounding made stick out: an edge that passes a polygon's vertex goes through it, and a vertex beside a
polygon's edge moves onto it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numba import njit

__all__ = ["Noder"]


@dataclass(frozen=True)
class _Rings:
    """Polygons and MultiPolygons as flat arrays."""

    at: np.ndarray
    """(vertex, 2) float64; rings are closed."""
    rings: np.ndarray
    """(ring + 1,) int64 into at."""
    parts: np.ndarray
    """(part + 1,) int64 into rings."""
    shapes: np.ndarray
    """(shape + 1,) int64 into parts."""

    @staticmethod
    def of(shapes: np.ndarray) -> _Rings:
        polygons = shapely.get_parts(shapes)
        counts = np.concatenate([[0], np.cumsum(shapely.get_num_geometries(shapes))])
        if not len(polygons):
            return _Rings(np.empty((0, 2)), np.zeros(1, np.int64), np.zeros(1, np.int64), counts)
        _, at, (rings, parts) = shapely.to_ragged_array(polygons)
        return _Rings(at, rings.astype(np.int64), parts.astype(np.int64), counts)

    def edges(self) -> np.ndarray:
        """The vertices from which an edge leads to the next vertex."""
        starts = np.ones(len(self.at), dtype=bool)
        starts[self.rings[1:] - 1] = False
        return np.flatnonzero(starts)

    def owner(self, vertices: np.ndarray) -> np.ndarray:
        """The shape that each vertex belongs to."""
        return np.searchsorted(self.rings[self.parts[self.shapes]], vertices, side="right") - 1

    def with_nodes(self, nodes: np.ndarray) -> _Rings:
        """With more vertices: (edge, key, x, y), ordered along an edge by key."""
        nodes = nodes[np.lexsort(nodes[:, ::-1].T)]
        repeated = np.zeros(len(nodes), dtype=bool)
        repeated[1:] = (nodes[1:, [0, 2, 3]] == nodes[:-1, [0, 2, 3]]).all(axis=1)
        nodes = nodes[~repeated]
        edges = nodes[:, 0].astype(np.int64)
        at = np.insert(self.at, edges + 1, nodes[:, 2:], axis=0)
        return _Rings(at, self.rings + np.searchsorted(edges, self.rings), self.parts, self.shapes)

    def with_moves(self, moves: np.ndarray) -> _Rings:
        """With vertices moved: (vertex, rank, x, y); of several moves of a vertex the first one counts."""
        moves = moves[np.lexsort(moves[:, ::-1].T)]
        vertices, first = np.unique(moves[:, 0].astype(np.int64), return_index=True)
        at = self.at.copy()
        at[vertices] = moves[first, 2:]
        at[self.rings[1:] - 1] = at[self.rings[:-1]]
        return _Rings(at, self.rings, self.parts, self.shapes)

    def build(self, chosen: np.ndarray) -> np.ndarray:
        """The shapes chosen by number."""
        polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.at, (self.rings, self.parts))
        counts = np.diff(self.shapes)
        result = polygons[self.shapes[chosen]]
        for several in np.flatnonzero(counts[chosen] > 1):
            first, end = self.shapes[chosen[several]], self.shapes[chosen[several] + 1]
            result[several] = shapely.multipolygons(polygons[first:end])
        return result


class Noder:
    """Areas, ready to meet one batch of polygons after the other.

    Parameters
    ----------
    areas
        (n,) valid Polygons and MultiPolygons.
    tolerance
        How far areas give way. It must be many times the last digit of a coordinate.
    """

    def __init__(self, areas: np.ndarray, tolerance: float) -> None:
        self._areas = areas
        self._tolerance = tolerance
        self._rings = _Rings.of(areas)
        self._edges = self._rings.edges()
        start, end = self._rings.at[self._edges], self._rings.at[self._edges + 1]
        low, high = np.minimum(start, end) - tolerance, np.maximum(start, end) + tolerance
        self._tree = shapely.STRtree(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
        ring = np.searchsorted(self._rings.rings, np.arange(len(self._rings.at)), side="right") - 1
        self._vertex = np.arange(len(self._rings.at))
        last = self._rings.rings[1:] - 1
        self._vertex[last] = self._rings.rings[ring[last]]  # a ring's last vertex is its first

    def meet(self, polygons: np.ndarray, *, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The polygons and the areas with their common vertices.

        Parameters
        ----------
        polygons
            (m,) valid Polygons and MultiPolygons.
        own
            (n,) int: the only polygon that each area meets. None: all meet all.

        Returns
        -------
        polygons, areas
            As they were given, and in that order; those that got no vertex are the same objects.

        Examples
        --------
        >>> noder = Noder(np.array([shapely.box(1, 1, 9, 9)]), 1e-6)
        >>> polygons, areas = noder.meet(np.array([shapely.box(0, 0, 2, 3), shapely.box(2, 2, 3, 3)]))
        >>> polygons[0].wkt, shapely.get_num_coordinates(polygons).tolist()
        ('POLYGON ((2 0, 2 1, 2 3, 1 3, 0 3, 0 0, 2 0))', [7, 5])
        >>> areas[0].wkt
        'POLYGON ((9 1, 9 9, 1 9, 1 3, 1 1, 2 1, 9 1))'
        >>> noder.meet(np.array([], dtype=object))[0]
        array([], dtype=object)
        """
        mine, theirs = _Rings.of(polygons), self._rings
        edges = mine.edges()
        ends = np.stack([edges, edges + 1], axis=1).ravel()
        lines = shapely.linestrings(mine.at[ends], indices=np.repeat(np.arange(len(edges)), 2))
        one, other = self._tree.query(lines) if len(edges) else (edges, edges)
        one, other = edges[one], self._edges[other]
        if own is not None:
            fit = mine.owner(one) == own[theirs.owner(other)]
            one, other = one[fit], other[fit]
        met = _find(mine.at, one, theirs.at, other, self._tolerance)
        one, other = one[met], other[met]
        on_mine, on_theirs, moves = _nodes(mine.at, one, theirs.at, other, self._vertex, self._tolerance)
        changed = np.unique(theirs.owner(np.concatenate([on_theirs[:, 0], moves[:, 0]]).astype(np.int64)))
        areas = self._areas.copy()
        areas[changed] = theirs.with_moves(moves).with_nodes(on_theirs).build(changed)
        invalid = changed[~shapely.is_valid(areas[changed])]  # narrower than the tolerance somewhere
        areas[invalid] = shapely.make_valid(areas[invalid], method="structure", keep_collapsed=False)
        noded = polygons.copy()
        changed = np.unique(mine.owner(on_mine[:, 0].astype(np.int64)))
        noded[changed] = mine.with_nodes(on_mine).build(changed)
        return noded, areas


@njit(nogil=True, cache=True, inline="always")
def _ordered(at, edge):
    """The ends of an edge in order of x and y, and whether they had to change places."""
    ax, ay, bx, by = at[edge, 0], at[edge, 1], at[edge + 1, 0], at[edge + 1, 1]
    if ax < bx or (ax == bx and ay < by):
        return ax, ay, bx, by, False
    return bx, by, ax, ay, True


@njit(nogil=True, cache=True, error_model="numpy")
def _place(x, y, ax, ay, bx, by):
    """Where an edge is nearest to a point, 0..1, and the square of the distance."""
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    t = min(max(((x - ax) * dx + (y - ay) * dy) / square, 0.0), 1.0) if square > 0.0 else 0.0
    ex, ey = x - ax - t * dx, y - ay - t * dy
    return t, ex * ex + ey * ey


@njit(nogil=True, cache=True, inline="always")
def _side(x, y, ax, ay, bx, by):
    """Twice the area of a triangle: positive on the left of an edge."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@njit(nogil=True, cache=True)
def _find(mine, one, theirs, other, tolerance):
    """Which pairs of edges cross or come nearer than the tolerance."""
    met = np.zeros(len(one), np.bool_)
    limit = tolerance * tolerance
    for k in range(len(one)):
        px, py, qx, qy, _ = _ordered(mine, one[k])
        vx, vy, wx, wy, _ = _ordered(theirs, other[k])
        met[k] = (
            _crosses(px, py, qx, qy, vx, vy, wx, wy)
            or _place(px, py, vx, vy, wx, wy)[1] <= limit
            or _place(qx, qy, vx, vy, wx, wy)[1] <= limit
            or _place(vx, vy, px, py, qx, qy)[1] <= limit
            or _place(wx, wy, px, py, qx, qy)[1] <= limit
        )
    return met


@njit(nogil=True, cache=True, inline="always")
def _crosses(px, py, qx, qy, vx, vy, wx, wy):
    """Whether the inner points of two edges cross."""
    return (_side(px, py, vx, vy, wx, wy) > 0) != (_side(qx, qy, vx, vy, wx, wy) > 0) and (
        _side(vx, vy, px, py, qx, qy) > 0
    ) != (_side(wx, wy, px, py, qx, qy) > 0)


@njit(nogil=True, cache=True, inline="always")
def _put(table, n, number, key, x, y):
    table[n, 0] = number
    table[n, 1] = key
    table[n, 2] = x
    table[n, 3] = y
    return n + 1


@njit(nogil=True, cache=True, error_model="numpy")
def _nodes(mine, one, theirs, other, vertex, tolerance):
    """The common vertices of pairs of edges.

    Returns
    -------
    on_mine, on_theirs
        (node, 4) float64: edge, key in the edge's own direction, x, y.
    moves
        (move, 4) float64: vertex of theirs, 0 (to a vertex of mine) or 1 (onto an edge), x, y.
    """
    on_mine = np.empty((2 * len(one), 4))
    on_theirs = np.empty((2 * len(one), 4))
    moves = np.empty((4 * len(one), 4))
    n = m = n_moves = 0
    limit = tolerance * tolerance
    for k in range(len(one)):
        px, py, qx, qy, turned = _ordered(mine, one[k])
        vx, vy, wx, wy, their_turned = _ordered(theirs, other[k])
        way, their_way = -1.0 if turned else 1.0, -1.0 if their_turned else 1.0
        first, last = vertex[other[k]], vertex[other[k] + 1]
        if their_turned:
            first, last = last, first
        first_moved = last_moved = touched = False
        for x, y in ((px, py), (qx, qy)):
            t, square = _place(x, y, vx, vy, wx, wy)
            if square > limit:
                continue
            touched = True
            if (x - vx) ** 2 + (y - vy) ** 2 <= limit:
                n_moves = _put(moves, n_moves, first, 0.0, x, y)
                first_moved = True
            elif (x - wx) ** 2 + (y - wy) ** 2 <= limit:
                n_moves = _put(moves, n_moves, last, 0.0, x, y)
                last_moved = True
            else:
                m = _put(on_theirs, m, other[k], their_way * t, x, y)
        for x, y, number, moved in ((vx, vy, first, first_moved), (wx, wy, last, last_moved)):
            t, square = _place(x, y, px, py, qx, qy)
            if square > limit:
                continue
            touched = True
            if not moved:
                u = px if px == qx else (x if py == qy else px + t * (qx - px))
                v = py if py == qy else (y if px == qx else py + t * (qy - py))
                n = _put(on_mine, n, one[k], way * t, u, v)
                n_moves = _put(moves, n_moves, number, 1.0, u, v)
        if not touched:
            a, b = _side(px, py, vx, vy, wx, wy), _side(qx, qy, vx, vy, wx, wy)
            c, d = _side(vx, vy, px, py, qx, qy), _side(wx, wy, px, py, qx, qy)
            t = a / (a - b)
            u = px if px == qx else (vx if vx == wx else px + t * (qx - px))
            v = py if py == qy else (vy if vy == wy else py + t * (qy - py))
            n = _put(on_mine, n, one[k], way * t, u, v)
            m = _put(on_theirs, m, other[k], their_way * (c / (c - d)), u, v)
    return on_mine[:n], on_theirs[:m], moves[:n_moves]
