"""Polygons × areas → pieces: the numpy and GEOS core of `geoseg.polygons.cut`, without tables.

No loop goes over polygons: most lie wholly inside or outside of an area, which prepared geometries tell fast, and the
few that an area's border passes are cut together.
"""

from __future__ import annotations

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoseg.polygons.nodes import Noder

__all__ = ["Cutter", "halve", "polygonal"]

_LARGE = 500  # vertices of a shape that is worth being divided before many others cut it
_FEW = 4  # others that cut a large shape as it is


class Cutter:
    """Areas that cut one batch of polygons after the other.

    Parameters
    ----------
    areas
        (n,) valid Polygons and MultiPolygons that do not overlap.
    tolerance
        See `Noder`.

    Examples
    --------
    >>> cutter = Cutter(np.array([shapely.box(0, 0, 5, 5), shapely.box(5, 0, 9, 5)]), 1e-6)
    >>> pieces, source, area, is_cut = cutter.cut(np.array([shapely.box(1, 1, 2, 2), shapely.box(4, 1, 6, 2)]))
    >>> source, area, is_cut, shapely.area(pieces)
    (array([0, 1, 1]), array([0, 0, 1]), array([False,  True,  True]), array([1., 1., 1.]))
    """

    def __init__(self, areas: np.ndarray, tolerance: float) -> None:
        self._areas = areas
        self._tolerance = tolerance
        self._noder = Noder(areas, tolerance)
        self._tree = shapely.STRtree(areas)
        self._border = shapely.multilinestrings(shapely.get_rings(shapely.get_parts(areas)))
        shapely.prepare(areas)
        shapely.prepare(self._border)

    def cut(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The pieces of polygons in areas, in order of polygon and area.

        Returns
        -------
        pieces
            (p,) Polygons and MultiPolygons. A polygon inside an area is itself, with the vertices of the area on its
            edges. Others start at their leftmost vertex, exteriors counter-clockwise.
        source, area
            (p,) int: whose piece it is, and where it lies.
        is_cut
            (p,) bool: False for a polygon that lies wholly in the area.
        """
        low, high = shapely.bounds(shapes).reshape(-1, 2, 2).swapaxes(0, 1)
        low, high = low - self._tolerance, high + self._tolerance
        is_near = shapely.intersects(self._border, shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
        near, far = np.flatnonzero(is_near), np.flatnonzero(~is_near)
        # No border comes near to these: where one of their vertices lies, they lie.
        starts = np.cumsum(shapely.get_num_coordinates(shapes[far])) - shapely.get_num_coordinates(shapes[far])
        first = shapely.get_coordinates(shapes[far])[starts]
        one, where = self._tree.query(shapely.points(first)) if len(far) else (far, far)
        inside = shapely.intersects_xy(self._areas[where], first[one])
        whole, at = far[one[inside]], where[inside]
        noded, areas = self._noder.meet(shapes[near])
        one, where, pieces, is_cut = _pieces(noded, areas)
        source, area = np.concatenate([whole, near[one]]), np.concatenate([at, where])
        order = np.lexsort([area, source])
        pieces = np.concatenate([shapes[whole], pieces])[order]
        return pieces, source[order], area[order], np.concatenate([np.zeros(len(whole), bool), is_cut])[order]


def _pieces(shapes: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which shape lies in which area with which piece, and whether that is a part of it only."""
    one, where = shapely.STRtree(areas).query(shapes) if len(shapes) else (np.empty(0, int), np.empty(0, int))
    order = np.lexsort([where, one])
    one, where = one[order], where[order]
    near_shapes, near_areas = _local(shapes, areas, one, where), _local(areas, shapes, where, one)
    shapely.prepare(near_areas)
    covered = shapely.covers(near_areas, shapes[one])
    meets = np.flatnonzero(~covered & shapely.intersects(near_areas, near_shapes))
    pieces = shapes[one]
    pieces[meets] = polygonal(shapely.intersection(near_shapes[meets], near_areas[meets]))
    found = covered.copy()
    found[meets] = ~shapely.is_empty(pieces[meets])
    return one[found], where[found], pieces[found], ~covered[found]


def _local(shapes: np.ndarray, others: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each pair a shape that is the same near the other one, but smaller where a large shape meets many others.

    A large one is cut by boxes around groups of the others, in halves again and again, so that it need not be read as
    a whole for each of them. The boxes are wider than the group, and where shapes cross there are vertices already: so
    the vertices that a box makes are none of the pieces'.
    """
    local = shapes[one]
    large = np.flatnonzero(shapely.get_num_coordinates(shapes) > _LARGE)
    bounds = shapely.bounds(others)
    for number in large[np.bincount(one, minlength=len(shapes))[large] > _FEW]:
        waiting = [(shapes[number], np.flatnonzero(one == number))]
        while waiting:
            shape, pairs = waiting.pop()
            local[pairs] = shape
            if len(pairs) <= _FEW or shapely.get_num_coordinates(shape) <= _LARGE:
                continue
            boxes = bounds[other[pairs]]
            centres = boxes[:, :2] + boxes[:, 2:]
            along = np.argsort(centres[:, np.argmax(np.ptp(centres, axis=0))], kind="stable")
            for half in np.array_split(pairs[along], 2):
                low, high = bounds[other[half], :2].min(axis=0), bounds[other[half], 2:].max(axis=0)
                margin = (high - low).max() / 16
                box = shapely.box(*(low - margin), *(high + margin))
                waiting.append((polygonal(shapely.intersection([shape], box))[0], half))
    return local


def polygonal(shapes: np.ndarray) -> np.ndarray:
    """What is polygons of the results of an intersection, in a standard order of vertices; the rest is dropped.

    >>> point_and_square = shapely.from_wkt("GEOMETRYCOLLECTION (POINT (9 9), POLYGON ((0 0, 1 1, 1 0, 0 0)))")
    >>> [shape.wkt for shape in polygonal(np.array([point_and_square, shapely.Point(0, 0)]))]
    ['POLYGON ((0 0, 1 0, 1 1, 0 0))', 'POLYGON EMPTY']
    """
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    parts, owner = shapely.get_parts(shapes[mixed], return_index=True)
    kept = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    found = np.full(mixed.sum(), shapely.Polygon(), dtype=object)
    shapely.multipolygons(parts[kept], indices=owner[kept], out=found)
    single = np.flatnonzero(shapely.get_num_geometries(found) == 1)
    found[single] = shapely.get_geometry(found[single], 0)
    result = shapes.copy()
    result[mixed] = found
    kinds = shapely.get_type_id(result)
    result[(kinds != shapely.GeometryType.POLYGON) & (kinds != shapely.GeometryType.MULTIPOLYGON)] = shapely.Polygon()
    return shapely.orient_polygons(shapely.normalize(result))


def halve(shapes: np.ndarray, max_vertices: int, geobox: GeoBox, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Polygons in pieces of few vertices, in order of polygon, and whose piece each one is.

    >>> circle = shapely.Point(0, 0).buffer(1)
    >>> grid = GeoBox.from_bbox((-1, -1, 1, 1), "EPSG:32632", shape=(2, 2))
    >>> pieces, source = halve(np.array([circle, shapely.box(2, 2, 3, 3)]), 40, grid, 1e-6)
    >>> source, shapely.get_num_coordinates(pieces)
    (array([0, 0, 1]), array([34, 34,  5], dtype=int32))
    """
    source = np.arange(len(shapes))
    done = [(shapes[:0], source[:0])]
    while True:
        bounds = shapely.bounds(shapes)
        sides = bounds[:, 2:] - bounds[:, :2]
        large = (shapely.get_num_coordinates(shapes) > max_vertices) & (sides.max(axis=1) > 8 * tolerance)
        done.append((shapes[~large], source[~large]))
        if not large.any():
            break
        shapes, source, bounds = shapes[large], source[large], bounds[large]
        halves = _halves(bounds, geobox)
        noded, halves = Noder(halves, tolerance).meet(shapes, own=np.repeat(np.arange(len(shapes)), 2))
        pieces = polygonal(shapely.intersection(np.repeat(noded, 2), halves))
        there = ~shapely.is_empty(pieces)
        shapes, source = pieces[there], np.repeat(source, 2)[there]
    pieces, source = (np.concatenate(parts) for parts in zip(*done, strict=True))
    order = np.argsort(source, kind="stable")
    return pieces[order], source[order]


def _halves(bounds: np.ndarray, geobox: GeoBox) -> np.ndarray:
    """Two boxes for each box of bounds, (2 n,), that meet across its longer side, and are larger elsewhere."""
    n = len(bounds)
    rows = np.arange(n)
    low, high = bounds[:, :2].copy(), bounds[:, 2:].copy()
    side = np.argmax(high - low, axis=1)
    middle = (low + high)[rows, side] / 2
    transform = geobox.transform
    if transform.b == 0 and transform.d == 0:
        start, step = np.array([transform.c, transform.f])[side], np.array([transform.a, transform.e])[side]
        line = start + np.rint((middle - start) / step) * step
        inside = np.abs(line - middle) < (high - low)[rows, side] / 4
        middle = np.where(inside, line, middle)
    margin = (high - low).max(axis=1, keepdims=True)
    low, high = low - margin, high + margin
    boxes = np.stack([low, high, low, high], axis=1)  # low and high of the one half, and of the other
    boxes[rows, 1, side] = boxes[rows, 2, side] = middle
    west, south, east, north = boxes.reshape(2 * n, 4).T
    return shapely.box(west, south, east, north)
