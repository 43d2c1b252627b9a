"""Square a coverage whose coordinates are metres: directions, walls and corners put together."""

from __future__ import annotations

import numpy as np
import shapely
from numba import njit

from geoseg.polygons.arcs import Arcs, as_multipolygons
from geoseg.polygons.corners import only_corners, place_corners, slopes, zip_walls
from geoseg.polygons.walls import corner_candidates, cut_into_walls, main_direction

__all__ = ["square"]

_SAME_DIRECTION = np.radians(2.0)  # houses that touch and whose directions differ by less are squared together
_PASSES = 3  # of finding walls; after each but the last the main direction is turned to them


def square(
    arcs: Arcs, xy: np.ndarray, frozen: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move the vertices of a coverage so that walls are straight and most corners square.

    Parameters
    ----------
    arcs
        Of the coverage.
    xy
        (vertex, 2) m.
    frozen
        (polygon,) bool: polygons that stay as they are. Their neighbours keep fitting them.
    tolerance
        What is smaller is taken for stairs or noise, m.

    Returns
    -------
    xy, vertices, offsets
        What `Arcs.polygons` takes: places of vertices, and the corners of arcs. Nothing is checked.
    """
    vertices = arcs.vertices.copy()
    closed = ~arcs.is_node[vertices[arcs.offsets[:-1]]]
    marked = corner_candidates(xy, vertices, arcs.offsets, tolerance / 2)
    family, angles = _families(arcs, xy, frozen, tolerance)
    n = len(angles)
    arc_family = np.where(arcs.sides[:, 1] < 0, family[arcs.sides[:, 0]], family[arcs.sides].min(axis=1))
    for attempt in range(_PASSES):
        arc_angles = np.where(arc_family >= 0, np.append(angles, np.nan)[arc_family], np.nan)
        kept, kinds, sums = cut_into_walls(xy, vertices, arcs.offsets, closed, marked, arc_angles, tolerance)
        if attempt < _PASSES - 1:
            angles = angles + slopes(arc_family, n, arcs.offsets, kept, kinds, sums)
    order = np.argsort(arc_family, kind="stable")
    family_offsets = np.searchsorted(arc_family[order], np.arange(n + 1))
    placed = place_corners(
        xy, vertices, arcs.offsets, arc_family, order, family_offsets, arc_angles, kept, kinds, sums, tolerance
    )
    vertices, offsets = only_corners(vertices, arcs.offsets, kept, kinds, closed)
    return placed, *zip_walls(placed, vertices, offsets, closed, 1e-9 * tolerance)


def _edges(arcs: Arcs, xy: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The edges of simplified rings, which nodes do not cut: (edge, 2) m, and their polygons' offsets."""
    _, at, (rings, parts, rows) = shapely.to_ragged_array(as_multipolygons(arcs.polygons(xy)))
    marked = corner_candidates(at, np.arange(len(at)), rings, tolerance)
    ring = np.repeat(np.arange(len(rings) - 1), np.diff(rings))[marked]
    at = at[marked]
    inside = ring[1:] == ring[:-1]
    return (at[1:] - at[:-1])[inside], np.searchsorted(ring[1:][inside], parts[rows])


def _families(arcs: Arcs, xy: np.ndarray, frozen: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of a group that share a main direction, and these directions.

    Returns
    -------
    (polygon,) number of the family, those of a group in order of their largest member's size; -1: frozen.
    (family,) angle.
    """
    steps, offsets = _edges(arcs, xy, tolerance)
    length2 = (steps**2).sum(axis=1)
    weight = np.add.reduceat(length2, offsets[:-1])
    doubt = np.arctan2(tolerance, np.sqrt(np.maximum.reduceat(length2, offsets[:-1])))
    place = _places(arcs)
    by_weight = np.lexsort((place, -weight, arcs.groups))
    family = _gather(arcs.groups, frozen, main_direction(steps, offsets), _SAME_DIRECTION + doubt, by_weight)
    owner, place = np.repeat(family, np.diff(offsets)), np.repeat(place, np.diff(offsets))
    order = np.lexsort((place, owner))
    return family, main_direction(steps[order], np.searchsorted(owner[order], np.arange(family.max() + 2)))


def _places(arcs: Arcs) -> np.ndarray:
    """(polygon,) an order that follows from the arcs, not from the order of rows, so that sums have the same digits."""
    polygon, arc = arcs.sides.ravel(), np.repeat(np.arange(len(arcs.sides)), 2)
    polygon, arc = polygon[polygon >= 0], arc[polygon >= 0]
    first = np.full(len(arcs.groups), len(arcs.sides))
    np.minimum.at(first, polygon, arc)
    place = np.empty(len(first), np.int64)
    place[np.lexsort((np.bincount(polygon, arc), first))] = np.arange(len(first))
    return place


@njit(nogil=True, cache=True)
def _gather(groups, frozen, angles, doubt, order):
    """Each polygon joins the family of its group whose first member's direction is nearest, or starts one."""
    family = np.full(len(groups), -1)
    first = np.empty(len(groups), np.int64)  # member of each family
    count = start = 0
    for k in range(len(order)):
        row = order[k]
        if k > 0 and groups[row] != groups[order[k - 1]]:
            start = count
        if frozen[row]:
            continue
        nearest, least = -1, doubt[row]
        for f in range(start, count):
            off = abs(angles[row] - angles[first[f]])
            off = min(off, np.pi / 2 - off)
            if off <= least:
                nearest, least = f, off
        if nearest < 0:
            first[count] = row
            nearest = count
            count += 1
        family[row] = nearest
    return family
