"""The values of a label raster at the centres of another grid's pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyproj
import xarray as xr
from odc.geo.geobox import GeoBox

from geoseg.classmap import geobox_of

__all__ = ["look_up"]

_PLACES = 4096
"""Pixels a side of the windows in which a label raster is looked up."""


def look_up(raster: xr.DataArray, geobox: GeoBox, table: Mapping[int, int], *, empty: int) -> np.ndarray:
    """What a raster holds where the pixels of a grid have their centres (nearest neighbour).

    Parameters
    ----------
    raster
        Of any CRS and size.
    geobox
        Any grid.
    table
        What becomes of each of the raster's values.
    empty
        What becomes of all others, and of what lies outside.

    Returns
    -------
    ndarray
        (row, col) uint8.
    """
    rows, cols = (int(side) for side in geobox.shape)
    out = np.full((rows, cols), empty, dtype=np.uint8)
    for top in range(0, rows, _PLACES):
        for left in range(0, cols, _PLACES):
            window = slice(top, min(top + _PLACES, rows)), slice(left, min(left + _PLACES, cols))
            out[window] = _look_up_window(raster, geobox[window], table, empty)
    return out


def _look_up_window(raster: xr.DataArray, geobox: GeoBox, table: Mapping[int, int], empty: int) -> np.ndarray:
    source = geobox_of(raster)
    out = np.full(tuple(geobox.shape), empty, dtype=np.uint8)
    row, col = _places(geobox, source)
    inside = (row >= 0) & (row < source.shape[0]) & (col >= 0) & (col < source.shape[1])
    if not inside.any():
        return out
    row, col = row[inside].astype(np.int64), col[inside].astype(np.int64)
    part = raster.data[row.min() : row.max() + 1, col.min() : col.max() + 1]
    part = np.asarray(part)[row - row.min(), col - col.min()]
    found = np.full(part.shape, empty, dtype=np.uint8)
    for value, becomes in table.items():
        found[part == value] = becomes
    out[inside] = found
    return out


def _places(geobox: GeoBox, source: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the source pixel that each pixel centre lies in, (row, col); -1 where it has no place."""
    rows, cols = (int(side) for side in geobox.shape)
    a, b, c, d, e, f = list(geobox.affine)[:6]
    across, down = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    x, y = a * across + b * down + c, d * across + e * down + f
    if geobox.crs != source.crs:
        move = pyproj.Transformer.from_crs(geobox.crs.proj, source.crs.proj, always_xy=True)  # type: ignore[union-attr]
        x, y = move.transform(x, y)
    a, b, c, d, e, f = list(~source.affine)[:6]
    col, row = a * x + b * y + c, d * x + e * y + f
    finite = np.isfinite(col) & np.isfinite(row)
    return np.where(finite, np.floor(row), -1), np.where(finite, np.floor(col), -1)
