"""How well two outlines agree: boundary IoU and PoLiS distance of pairs of polygons, on a plane in metres."""

from __future__ import annotations

import numpy as np
import shapely
from numba import njit

__all__ = ["boundary_iou", "polis_distance"]

_AT_ONCE = 16_384


def boundary_iou(
    one: np.ndarray, other: np.ndarray, distance_m: float, *, common_m2: np.ndarray | None = None
) -> np.ndarray:
    """The IoU of the bands along the inside of two outlines.

    Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", with a distance in metres
    where the paper has one in pixels. Objects narrower than two bands are compared as a whole.

    Parameters
    ----------
    one, other
        (pair,) Valid Polygons and MultiPolygons.
    distance_m
        Width of the band, in the unit of the coordinates.
    common_m2
        (pair,) The areas of the intersections, where they are known.

    Returns
    -------
    ndarray
        float64 (pair,), 0..1.

    Examples
    --------
    >>> square = np.array([shapely.box(0, 0, 10, 10)])
    >>> boundary_iou(square, np.array([shapely.box(0, 0, 10, 10)]), 1.0).round(6).tolist()
    [1.0]
    >>> boundary_iou(square, np.array([shapely.box(1, 0, 11, 10)]), 1.0).round(6).tolist()  # 18 of 36 + 36 - 18
    [0.333333]
    """
    result = np.empty(len(one))
    for start in range(0, len(one), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        common = _common(one[part], other[part]) if common_m2 is None else common_m2[part]
        result[part] = _boundary_iou(one[part], other[part], common, distance_m)
    return result


def _boundary_iou(one: np.ndarray, other: np.ndarray, common: np.ndarray, distance_m: float) -> np.ndarray:
    """The bands are G - g and P - p, where g and p are the cores: what they share follows from four intersections."""
    core, other_core = shapely.buffer(one, -distance_m), shapely.buffer(other, -distance_m)
    common = common - _common(core, other) - _common(one, other_core) + _common(core, other_core)
    bands = shapely.area(one) - shapely.area(core) + shapely.area(other) - shapely.area(other_core)
    return np.clip(common / (bands - common), 0.0, 1.0)


def _common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    area = np.zeros(len(one))
    there = np.flatnonzero(~(shapely.is_empty(one) | shapely.is_empty(other)))
    area[there] = shapely.area(shapely.intersection(one[there], other[there]))
    return area


def polis_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The mean distance from the vertices of each outline to the nearest place of the other outline.

    Avbelj, Müller and Bamler 2015, "A Metric for Polygon Comparison and Building Extraction Evaluation":
    the mean over one polygon's vertices and the mean over the other's, halved. Holes and parts are outlines, too.

    Parameters
    ----------
    one, other
        (pair,) Polygons and MultiPolygons, not empty.

    Returns
    -------
    ndarray
        float64 (pair,), in the unit of the coordinates.

    Examples
    --------
    >>> square = np.array([shapely.box(0, 0, 10, 10)])
    >>> polis_distance(square, np.array([shapely.box(2, 0, 12, 10)])).tolist()  # two of four corners are 2 away
    [1.0]
    >>> polis_distance(square[:0], square[:0]).tolist()
    []
    """
    return _polis(*_edges(one), *_edges(other))


def _edges(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends of all edges (edge, 2), and the number of each shape's first edge (shape + 1,).

    The starts are the vertices, each once.
    """
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    inner = np.flatnonzero(ring[:-1] == ring[1:])
    first = np.searchsorted(owner[part[ring[inner]]], np.arange(len(shapes) + 1))
    return at[inner], at[inner + 1], first


@njit(nogil=True, cache=True)
def _polis(starts, ends, first, other_starts, other_ends, other_first):
    result = np.empty(len(first) - 1)
    for p in range(len(result)):
        a, b, c, d = first[p], first[p + 1], other_first[p], other_first[p + 1]
        there = _mean_distance(starts[a:b], other_starts[c:d], other_ends[c:d])
        back = _mean_distance(other_starts[c:d], starts[a:b], ends[a:b])
        result[p] = (there + back) / 2
    return result


@njit(nogil=True, cache=True)
def _mean_distance(points, starts, ends):
    """From points to the nearest of the edges."""
    total = 0.0
    for i in range(len(points)):
        nearest = np.inf
        for j in range(len(starts)):
            dx, dy = ends[j, 0] - starts[j, 0], ends[j, 1] - starts[j, 1]
            px, py = points[i, 0] - starts[j, 0], points[i, 1] - starts[j, 1]
            length = dx * dx + dy * dy
            place = 0.0
            if length > 0.0:
                place = min(max((px * dx + py * dy) / length, 0.0), 1.0)
            x, y = px - place * dx, py - place * dy
            nearest = min(nearest, x * x + y * y)
        total += np.sqrt(nearest)
    return total / len(points)
