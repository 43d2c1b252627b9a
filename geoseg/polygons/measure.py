"""True areas and boundary lengths of polygons whose vertices lie anywhere, not only on the corners of pixels.

Edges are straight in the CRS of the grid. By Green's theorem the area of a polygon is a sum over its edges of the
integral of C(y, x) dy, where C is the grid's cumulative area along a row (`PixelAreas.surface`): a cubic in x and a
polynomial in y on each of a few pieces. An edge is cut where it leaves a piece, and Gauss's quadrature is exact on the
rest. So a polygon of whole pixels gets the area that `PixelAreas` gives it, and the parts of a polygon add up to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numba import njit
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.ellipsoid import ground_steps, plain_crs
from geoseg.errors import MismatchError

__all__ = ["polygon_areas", "polygon_perimeters"]

SNAP_PX = 1e-6
"""A coordinate nearer than this to a line of the pixel lattice is meant to be on it."""

_NEGLIGIBLE = 1e-13  # orders of a panel below this part of the first
_SHORT = 0.05  # of a panel: three points are exact to 1e-11 on polynomials of order 12
_LONG_PX = 16.0  # longer edges are measured in pieces
_PIECES = 256  # along the shorter side of a grid, at least
_LENGTH_TOLERANCE = 2e-6
_COSINE_TOLERANCE = 1e-6
_MOST_CELLS = 1024
_MOST_COSINES = 128  # each costs a dozen projections
_BEYOND_PX = 1.0
_GAUSS_3 = np.stack(np.polynomial.legendre.leggauss(3))
_GAUSS_8 = np.stack(np.polynomial.legendre.leggauss(8))


def polygon_areas(geometries: Any, grid: PixelAreas | GeoBox) -> np.ndarray:
    """The true area of each polygon on the ellipsoid.

    Parameters
    ----------
    geometries
        (n,) Polygons and MultiPolygons in the CRS of the grid, valid, inside the grid. Edges are straight in that CRS.
    grid
        Where the pixels are.

    Returns
    -------
    ndarray
        float64 (n,), m². Polygons of whole pixels have the area of their pixels to 1e-9.

    Raises
    ------
    MismatchError
        A polygon reaches more than a pixel beyond the grid.

    Examples
    --------
    >>> degree = GeoBox.from_bbox((10, 50, 12, 51), "EPSG:4326", resolution=1)
    >>> whole, half = polygon_areas([shapely.box(10, 50, 11, 51), shapely.box(10.5, 50, 11, 51)], degree)
    >>> f"{whole / 1e6:.3f} km²", f"{half / whole:.6f}"
    ('7892.219 km²', '0.500000')
    >>> polygon_areas([], degree)
    array([], dtype=float64)
    """
    flat = _Flat(geometries, _geobox(grid))
    areas = _ring_areas(flat.cols, flat.rows, flat.rings, *_surface(grid), _GAUSS_3, _GAUSS_8)
    return flat.sums(np.where(flat.is_hole, -areas, areas))


def polygon_perimeters(geometries: Any, grid: PixelAreas | GeoBox) -> np.ndarray:
    """The length of each polygon's boundary on the ground, holes included.

    Parameters
    ----------
    geometries, grid
        As in `polygon_areas`.

    Returns
    -------
    ndarray
        float64 (n,), m; relative error about 1e-5.

    Raises
    ------
    MismatchError
        A polygon reaches more than a pixel beyond the grid.

    Examples
    --------
    >>> degree = GeoBox.from_bbox((10, 50, 12, 51), "EPSG:4326", resolution=1)
    >>> [f"{length / 1000:.1f} km" for length in polygon_perimeters([shapely.box(10, 50, 11, 51)], degree)]
    ['364.4 km']
    >>> polygon_perimeters([], degree)
    array([], dtype=float64)
    """
    geobox = _geobox(grid)
    flat = _Flat(geometries, geobox)
    return flat.sums(_ring_lengths(flat.cols, flat.rows, flat.rings, *_lattices(grid), tuple(geobox.shape)))


def _geobox(grid: PixelAreas | GeoBox) -> GeoBox:
    return grid.geobox if isinstance(grid, PixelAreas) else grid


class _Flat:
    """Rings as flat arrays, in pixel coordinates."""

    def __init__(self, geometries: Any, geobox: GeoBox) -> None:
        shapes = np.asarray(geometries, dtype=object)
        parts, owner = shapes, np.arange(len(shapes))
        if (shapely.get_type_id(shapes) != shapely.GeometryType.POLYGON).any():
            parts, owner = shapely.get_parts(shapes, return_index=True)
        offsets = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(parts))])
        x, y = np.ascontiguousarray(shapely.get_coordinates(parts).T)
        self.rings, part = _ring_starts(x, y, offsets)
        self.is_hole = np.diff(part, prepend=-1) == 0  # a part's first ring is its exterior
        self.owner = owner[part]
        self.count = len(shapes)
        inverse = ~geobox.transform
        self.cols = _snapped(inverse.a * x + inverse.b * y + inverse.c)
        self.rows = _snapped(inverse.d * x + inverse.e * y + inverse.f)
        for places, size in zip((self.rows, self.cols), geobox.shape, strict=True):
            if len(places) and not -_BEYOND_PX <= places.min() <= places.max() <= size + _BEYOND_PX:
                raise MismatchError(
                    f"Polygons are measured on the grid that they lie on, but these go from pixel {places.min():.1f} "
                    f"to {places.max():.1f} of {size}. Give polygons and grid in one CRS, or the grid of their map."
                )

    def sums(self, of_rings: np.ndarray) -> np.ndarray:
        """By geometry."""
        return np.bincount(self.owner, of_rings, minlength=self.count).astype(float)


def _snapped(places: np.ndarray) -> np.ndarray:
    whole = np.rint(places)
    return np.where(np.abs(places - whole) < SNAP_PX, whole, places)


@lru_cache(maxsize=4)
def _surface(grid: PixelAreas | GeoBox) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`PixelAreas.surface` without the orders that do not matter."""
    areas = grid if isinstance(grid, PixelAreas) else PixelAreas(grid)
    edges, knots, coefs = areas.surface()
    density = np.abs(coefs[..., 1])
    matters = (density.max(axis=(0, 2)) > _NEGLIGIBLE * density[:, 0].max()).nonzero()[0]
    return edges, knots.astype(float), np.ascontiguousarray(coefs[:, : matters[-1] + 1])


@lru_cache(maxsize=4)
def _lattices(grid: PixelAreas | GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Metres per column and per row step, and the cosine between the steps, at even places: (row, col, 2 or 1)."""
    areas = grid if isinstance(grid, PixelAreas) else PixelAreas(grid)
    geobox = areas.geobox

    def lengths(cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.stack(areas.edge_lengths(cols.ravel(), rows.ravel()), axis=-1).reshape(*cols.shape, 2)

    def cosines(cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.nan_to_num(ground_steps(geobox, plain_crs(geobox), cols=cols, rows=rows)[3])[..., None]

    steps = _lattice(lengths, geobox.shape, most=_MOST_CELLS, relative=True)
    return steps, _lattice(cosines, geobox.shape, most=_MOST_COSINES, relative=False)


def _lattice(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], shape: Any, *, most: int, relative: bool
) -> np.ndarray:
    """Values at even places of the grid, as many as it takes for bilinear interpolation."""
    counts = [1, 1]
    while True:
        rows, cols = (np.linspace(0.0, size, 2 * n + 1) for size, n in zip(shape, counts, strict=True))
        values = function(*np.meshgrid(cols, rows))
        errors = []
        for at in (values, values.swapaxes(0, 1)):
            error = np.abs((at[:-2:2] + at[2::2]) / 2 - at[1::2])
            errors.append((error / np.maximum(at[1::2], 1e-6 * values.max()) if relative else error).max())
        limit = _LENGTH_TOLERANCE if relative else _COSINE_TOLERANCE
        more = [e > limit and n < min(most, size) for e, n, size in zip(errors, counts, shape, strict=True)]
        if not any(more):
            return np.ascontiguousarray(values[::2, ::2])
        counts = [2 * n if halve else n for n, halve in zip(counts, more, strict=True)]


@njit(nogil=True, cache=True)
def _ring_starts(x, y, offsets):
    """The first vertex of each ring and the end of the last, and the part of each ring.

    A ring ends where it comes back to its first vertex: this is much faster than to ask for rings one by one.
    """
    rings = np.empty(len(x) // 4 + 1, np.int64)
    part_of = np.empty(len(x) // 4, np.int64)
    n = 0
    for part in range(len(offsets) - 1):
        start = offsets[part]
        for k in range(start, offsets[part + 1]):
            if k >= start + 3 and x[k] == x[start] and y[k] == y[start]:
                rings[n] = start
                part_of[n] = part
                n += 1
                start = k + 1
    rings[n] = len(x)
    return rings[: n + 1], part_of[:n]


@njit(nogil=True, cache=True)
def _ring_areas(cols, rows, rings, row_edges, knots, coefs, few, many):
    """The area inside each ring, whichever way it turns."""
    areas = np.empty(len(rings) - 1)
    cuts = np.empty(len(row_edges) + len(knots) + 2)
    i = 0
    j = 0
    for ring in range(len(rings) - 1):
        total = 0.0
        for k in range(rings[ring], rings[ring + 1] - 1):
            x0, x1, y0, y1 = cols[k], cols[k + 1], rows[k], rows[k + 1]
            if y0 == y1:
                continue
            i = _piece(row_edges, min(y0, y1), i)
            j = _piece(knots, min(x0, x1), j)
            inside = max(y0, y1) <= row_edges[i + 1] or i == len(row_edges) - 2
            if inside and (max(x0, x1) <= knots[j + 1] or j == len(knots) - 2):
                total += _integral(x0, y0, x1, y1, i, j, row_edges, knots, coefs, few, many)
                continue
            n = _places_of_cuts(x0, y0, x1, y1, row_edges, knots, cuts)
            for m in range(n - 1):
                s, t = cuts[m], cuts[m + 1]
                u0, v0 = x0 + s * (x1 - x0), y0 + s * (y1 - y0)
                u1, v1 = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
                i = _piece(row_edges, (v0 + v1) / 2, i)
                j = _piece(knots, (u0 + u1) / 2, j)
                total += _integral(u0, v0, u1, v1, i, j, row_edges, knots, coefs, few, many)
        areas[ring] = abs(total)
    return areas


@njit(nogil=True, cache=True, inline="always")
def _piece(edges, at, guess):
    """The last piece that starts at or before a place, the first or last one for places outside."""
    if edges[guess] <= at < edges[guess + 1]:
        return guess
    return min(max(np.searchsorted(edges, at, side="right") - 1, 0), len(edges) - 2)


@njit(nogil=True, cache=True)
def _places_of_cuts(x0, y0, x1, y1, row_edges, knots, cuts):
    """0, the places 0..1 in order where an edge crosses into another piece, and 1; return their number."""
    cuts[0] = 0.0
    n = 1
    for edge in row_edges[1:-1]:
        if min(y0, y1) < edge < max(y0, y1):
            cuts[n] = (edge - y0) / (y1 - y0)
            n += 1
    for knot in knots[1:-1]:
        if min(x0, x1) < knot < max(x0, x1):
            cuts[n] = (knot - x0) / (x1 - x0)
            n += 1
    cuts[1:n].sort()
    cuts[n] = 1.0
    return n + 1


@njit(nogil=True, cache=True, error_model="numpy")
def _integral(x0, y0, x1, y1, i, j, row_edges, knots, coefs, few, many):
    """∫ C dy along an edge inside one piece."""
    half = (row_edges[i + 1] - row_edges[i]) / 2
    middle = (row_edges[i + 1] + row_edges[i]) / 2
    rule = few if abs(y1 - y0) <= 2 * _SHORT * half else many
    total = 0.0
    for p in range(rule.shape[1]):
        place = (rule[0, p] + 1) / 2
        t = x0 + place * (x1 - x0) - knots[j]
        s = (y0 + place * (y1 - y0) - middle) / half
        before, now = s, 1.0  # T_-1 = T_1
        value = 0.0
        for order in range(coefs.shape[1]):
            c = coefs[i, order, j]
            value += now * (c[0] + t * (c[1] + t * (c[2] + t * c[3])))
            before, now = now, 2 * s * now - before
        total += rule[1, p] * value
    return total * (y1 - y0) / 2


@njit(nogil=True, cache=True, error_model="numpy")
def _ring_lengths(cols, rows, rings, steps, cosines, shape):
    """The length of each ring on the ground: edges in pieces so short that their middle speaks for them."""
    height, width = shape
    longest = min(max(min(height, width) / _PIECES, 1.0), _LONG_PX)
    lengths = np.zeros(len(rings) - 1)
    for ring in range(len(rings) - 1):
        for k in range(rings[ring], rings[ring + 1] - 1):
            dx, dy = cols[k + 1] - cols[k], rows[k + 1] - rows[k]
            n = int(max(np.ceil(max(abs(dx), abs(dy)) / longest), 1.0))
            for m in range(n):
                x = (cols[k] + (m + 0.5) / n * dx) / width
                y = (rows[k] + (m + 0.5) / n * dy) / height
                east, south = _bilinear(steps, 0, x, y) * dx, _bilinear(steps, 1, x, y) * dy
                square = east * east + south * south
                if dx != 0.0 and dy != 0.0:
                    square += 2 * _bilinear(cosines, 0, x, y) * east * south
                lengths[ring] += np.sqrt(max(square, 0.0)) / n
    return lengths


@njit(nogil=True, cache=True, inline="always")
def _bilinear(lattice, which, x, y):
    """A value at the part x, y (0..1) of the grid's sides."""
    x *= lattice.shape[1] - 1
    y *= lattice.shape[0] - 1
    j = min(max(np.int64(x), 0), lattice.shape[1] - 2)
    i = min(max(np.int64(y), 0), lattice.shape[0] - 2)
    s, t = x - j, y - i
    north = lattice[i, j, which] * (1 - s) + lattice[i, j + 1, which] * s
    return north * (1 - t) + (lattice[i + 1, j, which] * (1 - s) + lattice[i + 1, j + 1, which] * s) * t
