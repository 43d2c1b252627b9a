"""What a map says at points and in polygons."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.areas.rows import add_runs
from geoseg.classmap import geobox_of, iter_strips, nodata_of
from geoseg.sampling.zone_map import burn, moved_to_grid

__all__ = ["NO_CLASS", "class_parts", "pixels_at", "values_at"]

_ROWS = 256

NO_CLASS = int(np.iinfo(np.int64).min)
"""Stands for the pixels without a class in `class_parts`."""


def pixels_at(points: gpd.GeoSeries, class_map: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels in which points lie.

    Parameters
    ----------
    points
        In any CRS; what has none of the map's pixels is outside.
    class_map
        A map.

    Returns
    -------
    rows, cols
        int64 (point,); -1 outside of the map.
    """
    grid = geobox_of(class_map)
    moved = points.to_crs(grid.crs.to_wkt())  # type: ignore[union-attr]
    x, y = shapely.get_x(moved.to_numpy()), shapely.get_y(moved.to_numpy())
    back = ~grid.transform
    col, row = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    with np.errstate(invalid="ignore"):
        inside = (row >= 0) & (row < grid.shape[0]) & (col >= 0) & (col < grid.shape[1])
    rows, cols = (np.where(inside, np.floor(np.where(inside, part, 0)), -1).astype(np.int64) for part in (row, col))
    return rows, cols


def values_at(class_map: xr.DataArray, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of pixels; the map is read once, strip by strip, to the last row that is asked for.

    Parameters
    ----------
    class_map
        A map.
    rows, cols
        int64 (pixel,); negative = outside.

    Returns
    -------
    values, valid
        int64 (pixel,), and whether it is a class.
    """
    values, valid = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    if not len(rows) or rows.max() < 0:
        return values, valid
    nodata = nodata_of(class_map)
    order = np.argsort(rows, kind="stable")
    for row0, strip in iter_strips(class_map[: int(rows.max()) + 1], rows=_ROWS):
        start, stop = np.searchsorted(rows[order], [row0, row0 + len(strip)])
        here = order[start:stop]
        found = strip[rows[here] - row0, cols[here]]
        valid[here] = np.isfinite(found) & (found != nodata)
        values[here] = np.where(valid[here], found, 0)
    return values, valid


def class_parts(class_map: xr.DataArray, polygons: gpd.GeoDataFrame) -> pd.DataFrame:
    """The map's classes in each polygon: of the pixels whose centres lie in it. Polygons may overlap.

    Parameters
    ----------
    class_map
        A map.
    polygons
        In any CRS.

    Returns
    -------
    DataFrame
        ``cluster`` (the polygon's place, from 0), ``value``, ``pixels``, ``area`` (m²); ``value`` is
        `NO_CLASS` for pixels without a class, where there are some. The map is read once.
    """
    grid = geobox_of(class_map)
    areas = PixelAreas(grid)
    nodata = nodata_of(class_map)
    shapes = moved_to_grid(polygons, grid)
    there = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    spans = _spans(shapes[there], grid)
    records: list[tuple[int, int, int, int]] = []
    for row0, strip in iter_strips(class_map, rows=_ROWS):
        row1 = row0 + len(strip)
        for at, (top, bottom, left, right) in zip(there, spans, strict=True):
            first, last = max(top, row0), min(bottom, row1)
            if first >= last or left >= right:
                continue
            window = grid[slice(first, last), slice(left, right)]
            inside = burn([shapes[at]], [1], window.transform, (last - first, right - left), fill=0)
            part = strip[first - row0 : last - row0, left:right]
            valid = np.isfinite(part) & (part != nodata)
            values, bins = np.unique(np.where(valid, part, 0)[inside > 0], return_inverse=True)
            wanted = np.full(inside.shape, len(values) + 1, np.int64)  # the last: outside; the last but one: nodata
            wanted[inside > 0] = bins
            wanted[(inside > 0) & ~valid] = len(values)
            pixels, units = np.zeros((2, len(values) + 2), np.int64)
            add_runs(wanted, left, *areas.table(first, last), areas.unit_m2, pixels, units)
            for value, count, size in zip([*values.tolist(), NO_CLASS], pixels[:-1], units[:-1], strict=True):
                if count:
                    records.append((int(at), int(value), int(count), int(size)))
    table = pd.DataFrame(records, columns=["cluster", "value", "pixels", "units"], dtype=np.int64)
    summed = table.groupby(["cluster", "value"], as_index=False).sum()
    return summed.assign(area=summed.pop("units") * areas.unit_m2)


def _spans(shapes: np.ndarray, grid: object) -> list[tuple[int, int, int, int]]:
    """Top, bottom, left and right (exclusive) of the pixels that a polygon may touch, within the grid."""
    back = ~grid.transform  # type: ignore[attr-defined]
    height, width = grid.shape  # type: ignore[attr-defined]
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    x, y = bounds[:, [0, 2, 2, 0]], bounds[:, [1, 1, 3, 3]]
    col, row = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    edges = [
        np.clip(np.floor(row.min(axis=1)), 0, height),
        np.clip(np.ceil(row.max(axis=1)), 0, height),
        np.clip(np.floor(col.min(axis=1)), 0, width),
        np.clip(np.ceil(col.max(axis=1)), 0, width),
    ]
    return [tuple(int(edge) for edge in part) for part in zip(*edges, strict=True)]  # type: ignore[misc]
