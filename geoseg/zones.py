"""Polygons that somebody drew, to clip or to split by: are they usable, and where do they lie in another CRS?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely

from geoseg.errors import OptionError

__all__ = ["check_areas", "move_areas"]

_ROUNDS = 24  # of halving: 2**24 pieces of an edge
_PLACES = (0.25, 0.5, 0.75)


def check_areas(
    areas: gpd.GeoDataFrame | gpd.GeoSeries,
    *,
    name: str = "the areas",
    task: str = "Cutting",
    labels: Sequence[str] | None = None,
) -> None:
    """Refuse what cannot be used to cut polygons, or to sum by.

    Parameters
    ----------
    areas
        What should be valid Polygons and MultiPolygons with a CRS. Features without a geometry are no fault.
    name
        What they are called in messages.
    task
        What needs them, for messages.
    labels
        The name of each feature for messages; by default its number.

    Raises
    ------
    OptionError
        No CRS, no polygon, another type of geometry, or an invalid polygon.

    Examples
    --------
    >>> check_areas(gpd.GeoSeries([shapely.box(0, 0, 1, 1)], crs="EPSG:4326"))
    >>> check_areas(gpd.GeoSeries([], crs="EPSG:4326"))
    Traceback (most recent call last):
    geoseg.errors.OptionError: Cutting needs polygons, but the areas hold none. Choose another layer.
    """

    def feature(number: int) -> str:
        return f"feature {number} of {name} (counted from 0)" if labels is None else f"{labels[number]!r} of {name}"

    shapes = np.asarray(areas.geometry.values, dtype=object)
    there = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    if not len(there):
        raise OptionError(f"{task} needs polygons, but {name} hold none. Choose another layer.")
    kinds = shapely.get_type_id(shapes[there])
    wrong = there[(kinds != shapely.GeometryType.POLYGON) & (kinds != shapely.GeometryType.MULTIPOLYGON)]
    if len(wrong):
        raise OptionError(
            f"{task} needs polygons, but {feature(wrong[0])} is a "
            f"{shapes[wrong[0]].geom_type}. Choose another layer, or make polygons of it."
        )
    if areas.crs is None:
        raise OptionError(f"{task} needs a CRS on both sides, but {name} have none. Assign the one they were drawn in.")
    invalid = there[~shapely.is_valid(shapes[there])]
    if len(invalid):
        others = f" ({len(invalid) - 1} more are invalid, too)" if len(invalid) > 1 else ""
        raise OptionError(
            f"{task} needs valid polygons, but {feature(invalid[0])} is not: "
            f"{shapely.is_valid_reason(shapes[invalid[0]])}{others}. Mend them, say with QGIS's 'Fix geometries'."
        )


def move_areas(
    areas: gpd.GeoDataFrame | gpd.GeoSeries, crs: Any, *, tolerance: float, shortest: float = 0.0
) -> np.ndarray:
    """The polygons in another CRS, with straight edges that stay straight.

    An edge that is straight in one CRS is a curve in another. Edges are halved until the curve is met, and then each
    vertex is moved by itself; equal edges of neighbours stay equal. Without a change of CRS no vertex is added.

    Parameters
    ----------
    areas
        Polygons that `check_areas` accepts.
    crs
        Where they go.
    tolerance
        The largest distance between an edge and its curve, in units of `crs`.
    shortest
        Edges that are shorter than this are not halved, for tolerances as small as the rounding of a projection.

    Returns
    -------
    ndarray
        (n,) Polygons and MultiPolygons; None for features without a geometry.

    Raises
    ------
    OptionError
        They have no place in that CRS, or are torn apart in it: they cross the line where its map ends, or hold a pole.

    Examples
    --------
    >>> field = gpd.GeoSeries([shapely.box(9, 50, 10, 51)], crs="EPSG:4326")
    >>> moved = move_areas(field, "EPSG:32632", tolerance=0.1)
    >>> shapely.get_num_coordinates(moved)
    array([145], dtype=int32)
    >>> move_areas(field.iloc[:0], "EPSG:32632", tolerance=0.1)
    array([], dtype=object)
    """
    shapes = np.asarray(areas.geometry.values, dtype=object)
    target = pyproj.CRS.from_user_input(crs)
    if not len(shapes) or areas.crs == target:
        return shapes
    transformer = pyproj.Transformer.from_crs(areas.crs, target, always_xy=True)

    def moved(at: np.ndarray) -> np.ndarray:
        return np.stack(transformer.transform(at[:, 0], at[:, 1]), axis=-1)

    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    waiting = ring[:-1] == ring[1:]
    with np.errstate(invalid="ignore"):
        for _ in range(_ROUNDS):
            start, end = at[:-1][waiting], at[1:][waiting]
            first, last = moved(start), moved(end)
            errors = [np.hypot(*(moved(start * (1 - t) + end * t) - (first * (1 - t) + last * t)).T) for t in _PLACES]
            error = np.max(errors, axis=0)
            long = np.maximum(np.hypot(*(last - first).T), error) > shortest
            bent = np.flatnonzero(waiting)[(error > tolerance) & long]
            if not len(bent):
                break
            at = np.insert(at, bent + 1, (at[bent] + at[bent + 1]) / 2, axis=0)  # the same from both ends of an edge
            ring = np.insert(ring, bent + 1, ring[bent])
            places = bent + np.arange(len(bent))
            waiting = np.zeros(len(at) - 1, dtype=bool)
            waiting[places] = waiting[places + 1] = True
        else:
            x, y = start[np.argmax(error)]
            raise OptionError(
                f"Areas must stay in one piece in the CRS of the polygons, but at {x:.6g}, {y:.6g} one is torn apart "
                f"in {target.name}: it crosses the line where a map in it ends, or holds a pole. Cut it there first."
            )
    at = moved(at)
    if not np.isfinite(at).all():
        raise OptionError(
            f"Cutting needs areas that have a place in the CRS of the polygons, but some lie outside of {target.name}. "
            "Cut the areas to the region of the map first."
        )
    polygons = shapely.polygons(shapely.linearrings(at, indices=ring), indices=part)
    result = np.full(len(shapes), None, dtype=object)
    shapely.multipolygons(polygons, indices=owner, out=result)
    single = np.flatnonzero(shapely.get_num_geometries(result) == 1)
    result[single] = shapely.get_geometry(result[single], 0)
    invalid = np.flatnonzero(~shapely.is_valid(result) & ~shapely.is_missing(result))
    result[invalid] = shapely.make_valid(result[invalid], method="structure", keep_collapsed=False)
    return result
