"""Polygons as a class map on a grid, made where it is read."""

from __future__ import annotations

import math
from typing import Any

import dask.array
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import features
from rasterio.enums import MergeAlg

from geoseg.errors import OptionError
from geoseg.zones import check_areas, move_areas

__all__ = ["burn", "moved_to_grid", "zone_map"]

_ROWS = 512
_NONE = -1
_TOLERANCE = 0.05  # of a pixel: how far edges may be off when they are moved to the grid's CRS


def zone_map(zones: gpd.GeoDataFrame, geobox: GeoBox, *, field: str | None = None) -> xr.DataArray:
    """Polygons as a class map: a pixel belongs to the polygon in which its centre lies.

    Parameters
    ----------
    zones
        Polygons that do not overlap, in any CRS.
    geobox
        The grid.
    field
        The column with their names; polygons of one name are one class. None = each is one: "zone 1", "zone 2".

    Returns
    -------
    DataArray
        int32 (row, col), backed by Dask; -1 outside of all polygons.

    Raises
    ------
    OptionError
        No polygon, invalid ones, no CRS, no such column, a polygon without a name; when pixels are read: polygons that
        overlap.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((0, 0, 40, 10), "EPSG:32632", resolution=10)
    >>> zones = gpd.GeoDataFrame({"name": ["b", "a"]}, geometry=[shapely.box(0, 0, 20, 10), shapely.box(20, 0, 30, 10)],
    ...                          crs="EPSG:32632")
    >>> parts = zone_map(zones, grid, field="name")
    >>> parts.values.tolist(), parts.attrs["flag_names"]
    ([[1, 1, 0, -1]], ['a', 'b'])
    """
    check_areas(zones, name="the strata")
    names = _names(zones, field)
    known = sorted(set(names))
    numbers = np.array([known.index(name) for name in names], dtype=np.int32)
    shapes = moved_to_grid(zones, geobox)
    burnt = _Burnt(shapes, numbers, geobox)
    values = dask.array.from_array(
        burnt, chunks=(_ROWS, -1), name=False, asarray=False, meta=np.empty((0, 0), np.int32)
    )
    attrs = {"flag_values": np.arange(len(known), dtype=np.int32), "flag_names": known, "_FillValue": _NONE}
    attrs["flag_meanings"] = " ".join(name.replace(" ", "_") for name in known)
    return wrap_xr(values, geobox).rename("zone").assign_attrs(attrs)


def moved_to_grid(shapes: gpd.GeoDataFrame, geobox: GeoBox) -> np.ndarray:
    """Polygons in the CRS of a grid, their edges true to a twentieth of a pixel."""
    move = geobox.transform
    pixel = math.sqrt(abs(move.a * move.e - move.b * move.d))
    return move_areas(shapes, geobox.crs.to_wkt(), tolerance=_TOLERANCE * pixel)  # type: ignore[union-attr]


def burn(
    shapes: list[Any], numbers: Any, transform: Any, shape: tuple[int, int], *, fill: int = _NONE, add: bool = False
) -> np.ndarray:
    """int32 (row, col): the number of the shape in which each pixel's centre lies; or, with ``add``, their sum."""
    result = np.full(shape, fill, dtype=np.int32)
    if len(shapes):
        merge = MergeAlg.add if add else MergeAlg.replace
        features.rasterize(
            zip(shapes, np.asarray(numbers).tolist(), strict=True), out=result, transform=transform, merge_alg=merge
        )
    return result


class _Burnt:
    """What `dask.array.from_array` asks for: a window of the polygons' raster."""

    def __init__(self, shapes: np.ndarray, numbers: np.ndarray, geobox: GeoBox) -> None:
        there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        self.shapes, self.numbers, self.geobox = shapes[there], numbers[there], geobox
        self.tree = shapely.STRtree(self.shapes)
        self.shape, self.dtype, self.ndim = tuple(geobox.shape), np.dtype(np.int32), 2

    def __getitem__(self, window: Any) -> np.ndarray:
        rows, cols = (slice(*part.indices(size)[:2]) for part, size in zip(window, self.shape, strict=True))
        grid = self.geobox[rows, cols]
        found = np.sort(self.tree.query(shapely.geometry.shape(grid.extent.json)))
        shape = (int(grid.shape[0]), int(grid.shape[1]))
        shapes = list(self.shapes[found])
        if (burn(shapes, np.ones(len(found), int), grid.transform, shape, fill=0, add=True) > 1).any():
            raise OptionError(
                "A pixel belongs to one stratum, but some polygons overlap. Cut them so that they only touch, say with "
                "QGIS's 'Union'."
            )
        return burn(shapes, self.numbers[found], grid.transform, shape)


def _names(zones: gpd.GeoDataFrame, field: str | None) -> list[str]:
    if field is None:
        return [f"zone {number + 1}" for number in range(len(zones))]
    columns = [str(name) for name in zones.columns if name != zones.geometry.name]
    if field not in columns:
        raise OptionError(
            f"The strata have the columns {', '.join(columns) or '(none)'}, but not {field!r}. Choose one."
        )
    missing = pd.isna(zones[field]).to_numpy()
    if missing.any():
        raise OptionError(
            f"Every stratum has a name, but feature {missing.argmax()} (counted from 0) has none in {field!r}. Fill it."
        )
    return [str(name) for name in zones[field]]
