"""A coverage as arcs: each stretch of boundary between two nodes once, however many polygons it borders.

A node is a vertex at which other than two edges meet: where regions meet, or touch at a corner. What is done to an arc
is done to both polygons on its sides, so they keep fitting. Arcs, their directions and their order follow from
the coordinates alone, not from the order of rows or rings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numba import njit

from geoseg.polygons.connect import find, unite

__all__ = ["Arcs", "as_multipolygons", "components", "cut_into_arcs"]


@dataclass(frozen=True)
class Arcs:
    xy: np.ndarray
    """(vertex, 2) float64: every place of the coverage once, in order of x and then y."""

    vertices: np.ndarray
    """(place,) int64: the vertices of all arcs, one after the other. An arc without a node ends at its first vertex."""

    offsets: np.ndarray
    """(arc + 1,) int64: where each arc starts among the places."""

    sides: np.ndarray
    """(arc, 2) int64: the polygons that it borders, lower row first; -1 where there is only one."""

    is_node: np.ndarray
    """(vertex,) bool."""

    groups: np.ndarray
    """(polygon,) int64: polygons that share a vertex, directly or through others, have the same number."""

    pieces: np.ndarray
    """(piece,) int64: the arcs that rings are made of, one ring after the other."""

    backwards: np.ndarray
    """(piece,) bool: True where the ring follows its arc from the end."""

    ring_offsets: np.ndarray
    """(ring + 1,) int64: where each ring starts among the pieces."""

    nesting: tuple[np.ndarray, np.ndarray]
    """Offsets of parts among rings and of polygons among parts, as `shapely.from_ragged_array` takes them."""

    is_multi: np.ndarray
    """(polygon,) bool: True for a MultiPolygon."""

    def polygons(
        self, xy: np.ndarray, vertices: np.ndarray | None = None, offsets: np.ndarray | None = None
    ) -> np.ndarray:
        """The coverage with other places for its vertices.

        Parameters
        ----------
        xy
            (vertex, 2), where each vertex is now.
        vertices, offsets
            Other vertices for the same arcs, if they changed: between the same nodes, or round without one.

        Returns
        -------
        (polygon,) Polygon or MultiPolygon. Vertices that fell together are one; what has collapsed is invalid.
        """
        if vertices is None or offsets is None:
            vertices, offsets = self.vertices, self.offsets
        sizes = np.diff(offsets)[self.pieces] - 1  # the end of a piece is the start of the next
        steps = _ranges(sizes)
        piece = np.repeat(np.arange(len(sizes)), sizes)
        arc = self.pieces[piece]
        at = xy[vertices[np.where(self.backwards[piece], offsets[arc + 1] - 1 - steps, offsets[arc] + steps)]]
        n_rings = len(self.ring_offsets) - 1
        ring = np.repeat(np.arange(n_rings), np.diff(self.ring_offsets))[piece]
        counts = np.bincount(ring, minlength=n_rings)
        same = (at == at[_following(counts)]).all(axis=1)
        distinct = np.bincount(ring[~same], minlength=n_rings)
        dropped = same & (distinct >= 3)[ring]
        at, ring = at[~dropped], ring[~dropped]
        counts = np.bincount(ring, minlength=n_rings)
        starts = np.cumsum(counts) - counts
        padded = np.maximum(counts, 3)
        index = np.minimum(_ranges(padded + 1), np.repeat(np.maximum(counts - 1, 0), padded + 1))
        new_offsets = np.concatenate([[0], np.cumsum(padded + 1)])
        index[new_offsets[1:] - 1] = 0
        coords = at[index + np.repeat(starts, padded + 1)]
        built = shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, coords, (new_offsets, *self.nesting))
        built[~self.is_multi] = shapely.get_geometry(built[~self.is_multi], 0)
        return built


def cut_into_arcs(polygons: np.ndarray, apart: np.ndarray | None = None) -> Arcs:
    """The arcs of an edge-matched coverage of Polygons and MultiPolygons, none of them missing or empty.

    Polygons with different numbers in ``apart`` share no vertices, even where they touch.
    """
    types = shapely.get_type_id(polygons)
    single = types == shapely.GeometryType.POLYGON
    _, coords, (ring_ends, *nesting) = shapely.to_ragged_array(as_multipolygons(polygons))
    coords = coords[:, :2]

    ring = np.repeat(np.arange(len(ring_ends) - 1), np.diff(ring_ends))
    part_of_ring = np.repeat(np.arange(len(nesting[0]) - 1), np.diff(nesting[0]))
    row_of_part = np.repeat(np.arange(len(nesting[1]) - 1), np.diff(nesting[1]))
    row_of_ring = row_of_part[part_of_ring]
    world = np.zeros(len(coords)) if apart is None else apart[row_of_ring[ring]]
    order = np.lexsort((world, coords[:, 1], coords[:, 0]))
    ordered = coords[order]
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1) | (world[order][1:] != world[order][:-1])
    vertex = np.empty(len(coords), np.int64)
    vertex[order] = np.cumsum(is_new) - 1
    xy = ordered[is_new]

    repeated = np.zeros(len(vertex), bool)  # also the last vertex of a ring, which is its first
    repeated[1:] = (vertex[1:] == vertex[:-1]) & (ring[1:] == ring[:-1])
    repeated[np.asarray(ring_ends[1:], np.int64) - 1] = True
    vertex, ring = vertex[~repeated], ring[~repeated]
    counts = np.bincount(ring)
    edges, edge, _ = _edges(vertex, vertex[_following(counts)])
    is_node = np.bincount(edges.ravel(), minlength=len(xy)) != 2

    # Each ring starts at its lowest node, or where it has none at its lowest vertex.
    rank = np.where(is_node[vertex], vertex - len(xy), vertex)
    starts = np.cumsum(counts) - counts
    is_start = rank == np.minimum.reduceat(rank, starts)[ring]
    first = np.flatnonzero(is_start)[np.unique(ring[is_start], return_index=True)[1]]
    turned = np.repeat(starts, counts) + (_ranges(counts) + np.repeat(first - starts, counts)) % np.repeat(
        counts, counts
    )
    vertex, edge = vertex[turned], edge[turned]

    cut = is_node[vertex]
    cut[starts] = True
    piece_starts = np.flatnonzero(cut)
    piece_ring = ring[piece_starts]
    sizes = np.diff(np.append(piece_starts, len(vertex)))
    following = _following(counts)
    last_edge = piece_starts + sizes - 1
    begin, end = vertex[piece_starts], vertex[following[last_edge]]
    backwards = np.where(begin != end, end < begin, vertex[last_edge] < vertex[following[piece_starts]])
    _, chosen, pieces = np.unique(np.minimum.reduceat(edge, piece_starts), return_index=True, return_inverse=True)

    offsets = np.concatenate([[0], np.cumsum(sizes[chosen] + 1)])
    steps = _ranges(sizes[chosen] + 1)
    lengths = np.repeat(sizes[chosen], sizes[chosen] + 1)
    steps = np.where(np.repeat(backwards[chosen], sizes[chosen] + 1), lengths - steps, steps)
    at = np.repeat(piece_starts[chosen], sizes[chosen] + 1) + steps
    vertices = np.where(
        steps == lengths, np.repeat(end[chosen], sizes[chosen] + 1), vertex[np.minimum(at, len(vertex) - 1)]
    )

    rows = row_of_ring[piece_ring]
    sides = np.full((len(chosen), 2), -1)
    by_arc = np.lexsort((rows, pieces))
    second = np.zeros(len(pieces), np.int64)
    second[1:] = pieces[by_arc][1:] == pieces[by_arc][:-1]
    sides[pieces[by_arc], second] = rows[by_arc]

    return Arcs(
        xy,
        vertices,
        offsets,
        sides,
        is_node,
        _groups(vertex, row_of_ring[ring], len(xy), len(polygons)),
        pieces,
        backwards,
        np.searchsorted(piece_ring, np.arange(len(counts) + 1)),
        (nesting[0], nesting[1]),
        ~single,
    )


def as_multipolygons(polygons: np.ndarray) -> np.ndarray:
    """Each Polygon as a MultiPolygon of one part, so that all can be taken apart in one way."""
    multi = polygons.copy()
    single = np.flatnonzero(shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON)
    multi[single] = shapely.multipolygons(polygons[single], indices=np.arange(len(single)))
    return multi


def _edges(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every edge once, as a pair of vertices, and the number of each step's edge and of its visits."""
    n = max(begin.max(), end.max()) + 1
    keys, edge, visits = np.unique(
        np.minimum(begin, end) * n + np.maximum(begin, end), return_inverse=True, return_counts=True
    )
    return np.stack([keys // n, keys % n], axis=1), edge, visits


def _ranges(counts: np.ndarray) -> np.ndarray:
    """0, 1, … for each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _following(counts: np.ndarray) -> np.ndarray:
    """The index of the next element in rings of so many elements."""
    following = np.arange(1, counts.sum() + 1)
    ends = np.cumsum(counts)
    following[(ends - 1)[counts > 0]] = (ends - counts)[counts > 0]
    return following


@njit(nogil=True, cache=True)
def _groups(vertex, row, n_vertices, n_rows):
    """Unite the rows that meet at a vertex."""
    forest = np.arange(n_rows)
    first = np.full(n_vertices, -1)
    for k in range(len(vertex)):
        if first[vertex[k]] < 0:
            first[vertex[k]] = row[k]
        else:
            unite(forest, first[vertex[k]], row[k])
    for k in range(n_rows):
        forest[k] = find(forest, k)
    return forest


@njit(nogil=True, cache=True)
def components(n, pairs):
    """The lowest of all that each of n things is linked to, directly or through others: (n,) int64."""
    forest = np.arange(n)
    for k in range(len(pairs)):
        unite(forest, pairs[k, 0], pairs[k, 1])
    for k in range(n):
        forest[k] = find(forest, k)
    return forest
