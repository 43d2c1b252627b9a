"""One plane for a comparison, in metres: areas on it are true, and lengths nearly so."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion

from geoseg.ellipsoid import horizontal_crs
from geoseg.errors import OptionError
from geoseg.zones import move_areas

__all__ = ["equal_area_plane", "to_plane"]

_LONG_M = 1000.0  # shorter edges are straight in both CRSs to 2 cm, up to 45 degrees north, and 10 cm up to 80
_TOLERANCE_M = 0.1
_FARTHEST_M = 4.9e6  # on the plane; 5000 km on the ground, where lengths are off by 8 %


def equal_area_plane(crs: Any, shapes: np.ndarray) -> pyproj.CRS:
    """Lambert's azimuthal equal-area projection around the middle of some polygons, on the datum of their CRS.

    Areas are true everywhere. Lengths are true to 0.1 % within 570 km of the middle, and to 1 % within 1800 km.

    Parameters
    ----------
    crs
        Of the polygons; tied to an ellipsoid.
    shapes
        (n,) At least one polygon, none of them empty.

    Raises
    ------
    OptionError
        No coordinate has a place on the Earth.

    Examples
    --------
    >>> plane = equal_area_plane("EPSG:32632", np.array([shapely.box(500_000, 0, 500_010, 10)]))
    >>> [round(parameter.value, 2) + 0 for parameter in plane.coordinate_operation.params[:2]]
    [0.0, 9.0]
    """
    plain = horizontal_crs(pyproj.CRS.from_user_input(crs)).to_2d()
    at = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(shapely.get_geometry(shapes, 0)), 0))
    geodetic = plain.geodetic_crs
    assert geodetic is not None  # horizontal_crs has looked
    radian = geodetic.axis_info[0].unit_conversion_factor
    lon, lat = pyproj.Transformer.from_crs(plain, geodetic, always_xy=True).transform(at[:, 0], at[:, 1])
    there = np.isfinite(lon) & np.isfinite(lat)
    if not there.any():
        raise OptionError(
            f"Objects need a place on the Earth, but no coordinate has one in {plain.name}. Check the CRS: is it the "
            "one that the polygons were drawn in?"
        )
    lon, lat = lon[there] * radian, lat[there] * radian
    x, y, z = np.mean([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    middle = LambertAzimuthalEqualAreaConversion(
        latitude_natural_origin=float(np.rad2deg(np.arctan2(z, np.hypot(x, y)))),
        longitude_natural_origin=float(np.rad2deg(np.arctan2(y, x))),
    )
    return ProjectedCRS(middle, name="equal-area plane", geodetic_crs=geodetic)


def to_plane(shapes: np.ndarray, crs: Any, plane: pyproj.CRS, *, name: str, rows: np.ndarray) -> np.ndarray:
    """Valid polygons on the plane. Long edges get vertices, so that they run where they did in their own CRS.

    Parameters
    ----------
    shapes
        (n,) Valid Polygons and MultiPolygons in `crs`.
    name, rows
        What they are called in messages, and the row of each (n,).

    Raises
    ------
    OptionError
        Some have no place on the Earth, or lie too far from the middle.
    """
    if not len(shapes):
        return shapes
    transformer = pyproj.Transformer.from_crs(crs, plane, always_xy=True)
    moved = shapely.transform(shapes, lambda at: np.stack(transformer.transform(at[:, 0], at[:, 1]), axis=-1))
    at, owner = shapely.get_coordinates(moved, return_index=True)
    far = np.hypot(*at.T)
    if not (far < _FARTHEST_M).all():
        where = rows[owner[np.argmax(~(far < _FARTHEST_M))]]
        raise OptionError(
            f"Objects are compared within 5000 km of their middle, but feature {where} of {name} (counted from 0) lies "
            "farther away or nowhere. Check the CRS of both files, or compare region by region."
        )
    steps = np.hypot(*np.diff(at, axis=0).T)
    long = np.unique(owner[1:][(steps > _LONG_M) & (owner[1:] == owner[:-1])])
    if len(long):
        moved[long] = move_areas(gpd.GeoSeries(shapes[long], crs=crs), plane, tolerance=_TOLERANCE_M)
    invalid = np.flatnonzero(~shapely.is_valid(moved))  # rings that touched may cross by a rounding error
    moved[invalid] = shapely.make_valid(moved[invalid], method="structure", keep_collapsed=False)
    return moved
