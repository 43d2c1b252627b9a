"""The two sides of a comparison: polygons checked, mended, moved to one plane and cut to the area of interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely

from geoseg.accuracy.plane import equal_area_plane, to_plane
from geoseg.errors import OptionError

__all__ = ["Side", "class_names", "make_sides"]

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_TOUCH = 1e-6  # the share of an object up to which it only touches the area of interest
_ENOUGH = 0.5  # the share of an object inside the area of interest from which on it counts


@dataclass(frozen=True, eq=False)
class Side:
    """The objects of one side, in the order of their rows."""

    rows: np.ndarray
    """(object,) int64: the row in the frame, from 0."""
    shapes: np.ndarray
    """(object,) Polygons and MultiPolygons: what lies in the area of interest, metres on the equal-area plane."""
    inside_m2: np.ndarray
    """(object,) float64: the area of `shapes`; above 0."""
    area_m2: np.ndarray
    """(object,) float64: the area of the whole object."""
    counts: np.ndarray
    """(object,) bool: True = at least half of it lies in the area of interest."""
    mended: int
    """How many polygons were invalid, and were mended."""
    without_area: int
    """How many features had no geometry or no area, and were left out."""
    outside: int
    """How many lie wholly outside of the area of interest, and were left out."""

    def __len__(self) -> int:
        """How many objects."""
        return len(self.rows)


def make_sides(
    objects: gpd.GeoDataFrame, reference: gpd.GeoDataFrame, within: gpd.GeoDataFrame | gpd.GeoSeries | None
) -> tuple[Side, Side]:
    """Both sides on one plane.

    Parameters
    ----------
    objects, reference
        Polygons and MultiPolygons, each side in any CRS. Features without a geometry or an area are left out.
    within
        The area of interest, polygons in any CRS; None = everywhere.

    Raises
    ------
    OptionError
        No CRS, another type of geometry, coordinates that are not numbers, or without a place on the Earth.
    """
    given = [(objects, "the objects"), (reference, "the reference"), (within, "the area of interest")]
    checked = [_checked(frame, name) for frame, name in given if frame is not None]
    if within is not None and not checked[2].there.any():
        raise OptionError("An area of interest needs polygons, but it holds none. Choose another layer.")
    sources = [part for part in (checked[1], checked[0], *checked[2:]) if part.there.any()]
    if not sources:
        return _side(checked[0], checked[0].shapes[:0], None), _side(checked[1], checked[1].shapes[:0], None)
    plane = equal_area_plane(sources[0].crs, sources[0].polygons)
    moved = [to_plane(p.polygons, p.crs, plane, name=p.name, rows=np.flatnonzero(p.there)) for p in checked]
    area = None if within is None else shapely.union_all(moved[2])
    return _side(checked[0], moved[0], area), _side(checked[1], moved[1], area)


@dataclass(frozen=True, eq=False)
class _Checked:
    name: str
    crs: pyproj.CRS
    shapes: np.ndarray
    """(feature,) Valid polygons in two dimensions."""
    there: np.ndarray
    """(feature,) bool: True = it has an area."""
    mended: int

    @property
    def polygons(self) -> np.ndarray:
        return self.shapes[self.there]


def _checked(frame: gpd.GeoDataFrame | gpd.GeoSeries, name: str) -> _Checked:
    if not isinstance(frame, gpd.GeoSeries) and getattr(frame, "active_geometry_name", None) is None:
        raise OptionError(f"A comparison needs a GeoDataFrame with polygons, but {name} have no geometry.")
    crs = frame.crs
    if crs is None:
        raise OptionError(f"A comparison needs a CRS on both sides, but {name} have none. Assign the right one.")
    if crs.geodetic_crs is None:
        raise OptionError(f"A comparison needs a CRS that is tied to the Earth, but {name} are in {crs.name!r}.")
    shapes = shapely.force_2d(np.array(frame.geometry.values, dtype=object))
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    wrong = np.flatnonzero(there & ~np.isin(shapely.get_type_id(shapes), _POLYGONS))
    if len(wrong):
        raise OptionError(
            f"A comparison of objects needs polygons, but feature {wrong[0]} of {name} (counted from 0) is a "
            f"{shapes[wrong[0]].geom_type}. Choose another layer, or make polygons of it."
        )
    at, owner = shapely.get_coordinates(shapes, return_index=True)
    odd = ~np.isfinite(at).all(axis=1)
    if odd.any():
        raise OptionError(
            f"Coordinates are finite numbers, but feature {owner[odd][0]} of {name} (counted from 0) has others. "
            "Remove it."
        )
    invalid = np.flatnonzero(there & ~shapely.is_valid(shapes))
    shapes[invalid] = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    there &= np.nan_to_num(shapely.area(shapes)) > 0
    return _Checked(name, crs, shapes, there, len(invalid))


def _side(checked: _Checked, moved: np.ndarray, area: Any) -> Side:
    area_m2 = shapely.area(moved)
    inside = moved if area is None else _clipped(moved, area)
    inside_m2 = area_m2 if area is None else shapely.area(inside)
    kept = inside_m2 > _TOUCH * area_m2
    return Side(
        rows=np.flatnonzero(checked.there)[kept],
        shapes=inside[kept],
        inside_m2=inside_m2[kept],
        area_m2=area_m2[kept],
        counts=inside_m2[kept] >= _ENOUGH * area_m2[kept],
        mended=checked.mended,
        without_area=int((~checked.there).sum()),
        outside=int((~kept).sum()),
    )


def _clipped(shapes: np.ndarray, area: Any) -> np.ndarray:
    """What of each polygon lies in the area; those that lie in it as a whole stay as they are."""
    shapely.prepare(area)
    result = shapes.copy()
    result[~shapely.intersects(area, shapes)] = shapely.Polygon()
    cut = np.flatnonzero(~shapely.is_empty(result) & ~shapely.covers(area, shapes))
    pieces = shapely.intersection(shapes[cut], area)
    mixed = np.flatnonzero(~np.isin(shapely.get_type_id(pieces), _POLYGONS))  # lines and points where they touch
    parts, owner = shapely.get_parts(pieces[mixed], return_index=True)
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    pieces[mixed] = shapely.Polygon()
    if flat.any():
        pieces[mixed[np.unique(owner[flat])]] = shapely.multipolygons(
            parts[flat], indices=np.unique(owner[flat], return_inverse=True)[1]
        )
    result[cut] = pieces
    return result


def class_names(frame: gpd.GeoDataFrame, column: str, rows: np.ndarray, *, name: str) -> np.ndarray:
    """The class of some features as text: (row,) str; whole numbers without a point.

    Raises
    ------
    OptionError
        No such column, or a feature without a class.

    Examples
    --------
    >>> frame = gpd.GeoDataFrame({"class": [3.0]}, geometry=[shapely.box(0, 0, 1, 1)])
    >>> class_names(frame, "class", np.array([0]), name="the objects").tolist()
    ['3']
    """
    values = column_of(frame, column, name=name).iloc[rows]
    if values.isna().any():
        raise OptionError(
            f"Every object needs a class, but feature {rows[np.argmax(values.isna())]} of {name} (counted from 0) has "
            f"none in the column {column!r}. Fill it, or compare without classes."
        )
    whole = [int(v) if isinstance(v, float | np.floating) and float(v).is_integer() else v for v in values]
    return np.array([str(value) for value in whole], dtype=object)


def column_of(frame: gpd.GeoDataFrame, column: str, *, name: str) -> Any:
    """A column that must be there."""
    columns = [str(other) for other in frame.columns if other != frame.geometry.name]
    if column not in columns:
        raise OptionError(f"{name[0].upper()}{name[1:]} have the columns {columns}, but not {column!r}. Choose one.")
    return frame[column]
