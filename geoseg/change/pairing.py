"""The common part of two class maps, on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.change.places import Places
from geoseg.classmap import geobox_of, nodata_of
from geoseg.errors import SceneError

__all__ = ["Pair", "align", "pair_of"]

_CHUNK_ROWS, _CHUNK_COLS = 512, 2048
_MAX_READ_PX = 1 << 26  # of the map before, at once: whole rows, as files give them
_LEGEND = ("flag_values", "flag_meanings", "flag_names", "flag_colors", "color_table", "long_name")


@dataclass(frozen=True)
class Pair:
    """The pixels of two maps on one grid, lazily, each with its own nodata."""

    geobox: GeoBox
    """The common part of the grid of the later map."""
    before: dask.array.Array
    """Class values (row, col)."""
    after: dask.array.Array
    """Class values (row, col), in the same chunks."""
    no_data: tuple[int, int]
    """The value of pixels without a class, before and after."""


def align(before: xr.DataArray, after: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The common part of two class maps on the grid of ``after``, lazily.

    A pixel of ``after`` gets the class of that pixel of ``before`` in which its centre lies, which is the pixel with
    the nearest centre. A centre on an edge belongs to the pixel with the higher row or column. Where the CRSs differ,
    centres are reprojected. Where one of the two maps has no data, both have none.

    Parameters
    ----------
    before, after
        Class maps of whole numbers with a grid, numpy or Dask; `geoseg.open_class_map` opens them. A map without a
        nodata value has the highest value of its type for it.

    Returns
    -------
    before, after
        On one grid, backed by Dask, each with its legend and type. The grid is the part of that of ``after`` that lies
        in ``before``; in another CRS or turned, it may have a rim without data.

    Raises
    ------
    SceneError
        The maps do not overlap, have no CRS or grid, or are not of whole numbers.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> early = GeoBox.from_bbox((0, 0, 40, 20), "EPSG:32632", resolution=20)
    >>> late = GeoBox.from_bbox((10, 0, 40, 10), "EPSG:32632", resolution=10)
    >>> before = class_map(np.array([[1, 2]], np.uint8), early, [])
    >>> after = class_map(np.array([[1, 255, 1]], np.uint8), late, [])
    >>> [part.values.tolist() for part in align(before, after)]
    [[[1, 255, 2]], [[1, 255, 1]]]
    """
    pair = pair_of(before, after)
    parts = []
    for date, (da, values) in enumerate(zip((before, after), (pair.before, pair.after), strict=True)):
        masked = dask.array.map_blocks(
            _masked, pair.before, pair.after, no_data=pair.no_data, date=date, dtype=values.dtype
        )
        attrs = {key: da.attrs[key] for key in _LEGEND if key in da.attrs}
        part = wrap_xr(masked, pair.geobox).rename(da.name or "class")
        parts.append(part.assign_attrs(attrs, _FillValue=pair.no_data[date]))
    return parts[0], parts[1]


def pair_of(before: xr.DataArray, after: xr.DataArray) -> Pair:
    """The common part of two maps; see `align`, whose maps have no data where one of the two has none."""
    no_data = _no_data(before), _no_data(after)
    places = Places(geobox_of(before), geobox_of(after))
    rows, cols = places.window()
    grid: GeoBox = places.target[rows, cols]  # type: ignore[assignment]
    places = Places(places.source, grid)
    sampled = _Sampled(before.data, places, no_data[0])
    chunks = (_CHUNK_ROWS, -1 if places.is_upright else _CHUNK_COLS)
    meta = np.empty((0, 0), before.dtype)
    early = dask.array.from_array(sampled, chunks=chunks, name=False, asarray=False, meta=meta)
    late = dask.array.asarray(after.data[rows, cols]).rechunk(early.chunks)
    return Pair(grid, early, late, no_data)


def _no_data(da: xr.DataArray) -> int:
    if da.dtype.kind not in "iu":
        raise SceneError(
            f"Change is found between maps of whole numbers, but one is {da.dtype}. Open it with open_class_map, or "
            "convert it (astype)."
        )
    nodata = nodata_of(da)
    return int(np.iinfo(da.dtype).max) if nodata is None else nodata


def _masked(before: np.ndarray, after: np.ndarray, *, no_data: tuple[int, int], date: int) -> np.ndarray:
    both = (before != no_data[0]) & (after != no_data[1])
    values = (before, after)[date]
    return np.where(both, values, values.dtype.type(no_data[date]))


class _Sampled:
    """What `dask.array.from_array` asks for: the pixels of a map at the places of another grid.

    Which pixels a window needs is known when it is read; only they are read, within the task.
    """

    def __init__(self, data: Any, places: Places, no_data: int) -> None:
        self.data, self.places, self.no_data = data, places, no_data
        self.shape, self.dtype, self.ndim = tuple(places.target.shape), data.dtype, 2

    def __getitem__(self, window: Any) -> np.ndarray:
        spans = [part.indices(size)[:2] for part, size in zip(window, self.shape, strict=True)]
        return self._sample(*(np.arange(start, stop) for start, stop in spans))

    def _sample(self, down: np.ndarray, across: np.ndarray) -> np.ndarray:
        """The pixels at these rows and columns of the other grid, in parts where they lie far apart."""
        if self.places.is_upright:
            rows = self.places.find(down, np.zeros(len(down)))[0][:, None]
            cols = self.places.find(np.zeros(len(across)), across)[1][None, :]
        else:
            rows, cols = self.places.find(*np.meshgrid(down, across, indexing="ij"))
        result = np.full((len(down), len(across)), self.no_data, dtype=self.dtype)
        inside = (rows >= 0) & (cols >= 0)
        if not inside.any():
            return result
        (top, bottom), (left, right) = ((part[part >= 0].min(), part.max() + 1) for part in (rows, cols))
        axis = 0 if self.places.is_upright or len(down) >= len(across) else 1
        if (bottom - top) * self.places.source.shape[1] > _MAX_READ_PX and result.shape[axis] > 1:
            halves = np.array_split((down, across)[axis], 2)
            parts = [self._sample(half, across) if axis == 0 else self._sample(down, half) for half in halves]
            return np.concatenate(parts, axis=axis)
        read = self.data[int(top) : int(bottom), int(left) : int(right)]
        if not isinstance(read, np.ndarray):
            read = read.compute(scheduler="synchronous")  # this is a task already
        np.copyto(result, read[np.maximum(rows - top, 0), np.maximum(cols - left, 0)], where=inside)
        return result
