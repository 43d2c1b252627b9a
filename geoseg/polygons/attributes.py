"""The shape of each polygon in a few numbers: area, perimeter, compactness, orientation; on the ellipsoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from numba import njit
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.ellipsoid import horizontal_crs
from geoseg.polygons.measure import polygon_areas, polygon_perimeters

__all__ = ["polygon_attributes", "polygon_orientations"]

_STEP = 1e-6  # of the ellipsoid's radius: the step by which the compass is taken, about 6 m
_EQUAL = 1e-6  # sides and areas of rectangles that differ by less than this part are equal


def polygon_attributes(geometries: Any, grid: PixelAreas | GeoBox) -> pd.DataFrame:
    """Area, perimeter, compactness and orientation of polygons.

    Parameters
    ----------
    geometries
        (n,) Polygons and MultiPolygons in the CRS of the grid, valid, inside the grid.
    grid
        Where the pixels are, as for `polygon_areas`.

    Returns
    -------
    DataFrame
        ``area_m2``; ``perimeter_m``, holes included; ``compactness``, 4π area / perimeter² (Polsby and Popper 1991):
        1 for a circle, 0.785 for a square, near 0 for a thread; ``orientation_deg`` as from `polygon_orientations`.

    Raises
    ------
    MismatchError
        A polygon reaches more than a pixel beyond the grid.
    SceneError
        The grid has no CRS, or one without an ellipsoid.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((500_000, 0, 500_100, 100), "EPSG:32632", resolution=1)
    >>> polygon_attributes([shapely.box(500_000, 0, 500_010, 10)], grid).round(3).values.tolist()
    [[100.08, 40.016, 0.785, 0.0]]
    >>> len(polygon_attributes([], grid))
    0
    """
    area, length = polygon_areas(geometries, grid), polygon_perimeters(geometries, grid)
    geobox = grid.geobox if isinstance(grid, PixelAreas) else grid
    assert geobox.crs is not None  # polygon_areas has looked
    return pd.DataFrame(
        {
            "area_m2": area,
            "perimeter_m": length,
            "compactness": 4 * np.pi * area / np.square(length),
            "orientation_deg": polygon_orientations(geometries, geobox.crs.to_wkt()),
        }
    )


def polygon_orientations(geometries: Any, crs: Any) -> np.ndarray:
    """Where the long side of the smallest rectangle around each polygon points, by the compass.

    The rectangle is the smallest by area, drawn on the ground: neither the convergence of a projection nor degrees of
    different lengths turn it. Of a square, which has no long side, it is the side that points between north and east.

    Parameters
    ----------
    geometries
        (n,) Polygons and MultiPolygons, not empty.
    crs
        Theirs: anything that pyproj takes.

    Returns
    -------
    ndarray
        float64 (n,), degrees clockwise from true north, 0 to below 180; NaN where there is no place on the Earth.

    Raises
    ------
    SceneError
        The CRS is not tied to an ellipsoid.

    Examples
    --------
    >>> north, east = shapely.box(9, 50, 9.0001, 50.001), shapely.box(9, 50, 9.001, 50.0001)
    >>> polygon_orientations([north, east], "EPSG:4326").round(1).tolist()
    [0.0, 90.0]
    >>> polygon_orientations([], "EPSG:4326").tolist()
    []
    """
    shapes = np.asarray(geometries, dtype=object)
    if not len(shapes):
        return np.zeros(0)
    boxes = shapely.bounds(shapes)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    at, owner = shapely.get_coordinates(shapely.convex_hull(shapes), return_index=True)
    compass = _compass(horizontal_crs(pyproj.CRS.from_user_input(crs)), *middle.T)
    at = np.einsum("nij,nj->ni", compass[owner], at - middle[owner])
    return _orientations(at, np.searchsorted(owner, np.arange(len(shapes) + 1)))


def _compass(crs: pyproj.CRS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Matrices that turn small steps in the CRS into metres to the east and to the north: (place, 2, 2)."""
    geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
    assert geodetic is not None  # horizontal_crs has looked
    assert ellipsoid is not None
    inverse = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    degree = np.rad2deg(geodetic.axis_info[0].unit_conversion_factor)
    step = ellipsoid.semi_major_metre * _STEP / crs.axis_info[0].unit_conversion_factor
    if not crs.is_projected:
        step = _STEP / crs.axis_info[0].unit_conversion_factor
    geod = crs.get_geod()
    assert geod is not None
    columns = []
    for dx, dy in ((step, 0.0), (0.0, step)):
        ends = [np.multiply(inverse.transform(x + sign * dx, y + sign * dy), degree) for sign in (-1, 1)]
        there = np.isfinite(ends).all(axis=(0, 1))
        out = np.full((len(x), 2), np.nan)
        azimuth, _, length = geod.inv(*ends[0][:, there], *ends[1][:, there])
        azimuth = np.deg2rad(azimuth)
        out[there] = np.stack([length * np.sin(azimuth), length * np.cos(azimuth)], axis=-1) / (2 * step)
        columns.append(out)
    return np.stack(columns, axis=-1)


@njit(nogil=True, cache=True)
def _orientations(at, first):
    """Of the smallest rectangle around each convex ring: one of its sides lies on a side of the ring."""
    result = np.full(len(first) - 1, np.nan)
    for n in range(len(result)):
        smallest = np.inf
        for k in range(first[n], first[n + 1] - 1):
            east, north = at[k + 1, 0] - at[k, 0], at[k + 1, 1] - at[k, 1]
            length = np.hypot(east, north)
            if not length > 0.0:
                continue
            east, north = east / length, north / length
            low, high, left, right = np.inf, -np.inf, np.inf, -np.inf
            for j in range(first[n], first[n + 1]):
                along, across = at[j, 0] * east + at[j, 1] * north, at[j, 1] * east - at[j, 0] * north
                low, high = min(low, along), max(high, along)
                left, right = min(left, across), max(right, across)
            long, short = high - low, right - left
            bearing = np.rad2deg(np.arctan2(east, north)) % 180.0
            if abs(long - short) <= _EQUAL * long:
                bearing %= 90.0
            elif long < short:
                bearing = (bearing + 90.0) % 180.0
            if 180.0 - bearing < 1e-9:
                bearing = 0.0
            if long * short < smallest * (1 - _EQUAL):
                smallest = long * short
                result[n] = bearing
            elif long * short <= smallest * (1 + _EQUAL):  # of two rectangles as small, always the same
                result[n] = min(result[n], bearing)
    return result
