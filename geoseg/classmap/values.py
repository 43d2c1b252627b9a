"""Rasters of numbers that lie over a class map: its confidence, a height, an index."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import xarray as xr
from odc.geo.xr import wrap_xr
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from geoseg.classmap.lazy import lazy_array
from geoseg.classmap.read import choose_band, grid_of
from geoseg.errors import SceneError

__all__ = ["open_value_map"]

_CHUNK_ROWS = 512


def open_value_map(path: str | os.PathLike[str], *, band: int | None = None, crs: Any = None) -> xr.DataArray:
    """Open a raster of numbers, lazily; what is invalid is NaN.

    Scale and offset of the file are applied.

    Parameters
    ----------
    path
        A raster that GDAL can open.
    band
        The band, from 1; needed where there are several.
    crs
        The CRS, where the file has none (or a wrong one: this one wins).

    Returns
    -------
    DataArray
        float32 (row, col), float64 where the file's numbers need it, backed by Dask with full-width chunks.

    Raises
    ------
    SceneError
        Not a raster, damaged, no CRS, several bands and none chosen, complex numbers.
    OptionError
        The file has no such band.

    Examples
    --------
    >>> open_value_map("missing.tif")
    Traceback (most recent call last):
    geoseg.errors.SceneError: Values are read from a raster that GDAL can open, but missing.tif is not ...
    """
    path = str(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # grid_of says it
            opened = rasterio.open(path)
        with opened as dataset:
            number = choose_band(dataset, band, path)
            geobox = grid_of(dataset, crs, path)
            kind = np.dtype(dataset.dtypes[number - 1])
            if kind.kind not in "iuf":
                raise SceneError(f"Values are real numbers, but {path} holds {kind}. Convert it, or choose a band.")
            scale, offset = dataset.scales[number - 1], dataset.offsets[number - 1]
            masked = MaskFlags.all_valid not in dataset.mask_flag_enums[number - 1]
            block_rows = dataset.block_shapes[number - 1][0]
    except rasterio.errors.RasterioIOError as error:
        raise SceneError(
            f"Values are read from a raster that GDAL can open, but {path} is not ({error}). Check the path."
        ) from error
    narrow = np.can_cast(kind, np.float32) and (scale, offset) == (1, 0)
    dtype = np.dtype(np.float32 if narrow else np.float64)
    reader = _ValueRows(path, number, (geobox.shape[0], geobox.shape[1]), dtype, scale, offset, masked)
    rows = max(block_rows, _CHUNK_ROWS // block_rows * block_rows)
    return wrap_xr(lazy_array(reader, min(rows, geobox.shape[0])), geobox).rename("value")


@dataclass(frozen=True)
class _ValueRows:
    """Reads rows of a band as floats, NaN where invalid."""

    path: str
    band: int
    shape: tuple[int, int]
    dtype: np.dtype
    scale: float
    offset: float
    masked: bool
    """Whether the file says which pixels are invalid."""

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        window = ((start, stop), (0, self.shape[1]))
        try:
            with rasterio.open(self.path) as dataset:
                values = dataset.read(self.band, window=window).astype(self.dtype)
                if self.masked:
                    values[dataset.read_masks(self.band, window=window) == 0] = np.nan
        except rasterio.errors.RasterioError as error:
            raise SceneError(f"{self.path} cannot be read ({error}): the file is damaged. Get it again.") from error
        if (self.scale, self.offset) != (1, 0):
            values *= self.scale
            values += self.offset
        return values
