"""The common part of two or more class maps, on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.change.places import Places, no_overlap
from geoseg.classmap import geobox_of, iter_strips, nodata_of
from geoseg.errors import OptionError, SceneError

__all__ = ["Stack", "align", "on_grid", "stack_of", "valid_in_all"]

_CHUNK_ROWS, _CHUNK_COLS = 512, 2048
_MAX_READ_PX = 1 << 26  # of the map before, at once: whole rows, as files give them
_LEGEND = ("flag_values", "flag_meanings", "flag_names", "flag_colors", "color_table", "long_name")


@dataclass(frozen=True)
class Stack:
    """The pixels of maps on one grid, lazily, each with its own nodata."""

    geobox: GeoBox
    """The common part of the grid of the last map."""
    maps: tuple[dask.array.Array, ...]
    """Class values (row, col), in the same chunks."""
    no_data: tuple[int, ...]
    """The value of pixels without a class, for each map."""

    def strips(self, rows: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        """First row, and the pixels of each map, of strips of at most so many rows, from top to bottom."""
        streams = (iter_strips(xr.DataArray(part), rows=rows) for part in self.maps)
        for strips in zip(*streams, strict=True):
            yield strips[0][0], [values for _, values in strips]


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
    stack = stack_of((before, after))
    parts = []
    for date, da in enumerate((before, after)):
        masked = dask.array.map_blocks(
            _masked, *stack.maps, no_data=stack.no_data, date=date, dtype=stack.maps[date].dtype
        )
        attrs = {key: da.attrs[key] for key in _LEGEND if key in da.attrs}
        part = wrap_xr(masked, stack.geobox).rename(da.name or "class")
        parts.append(part.assign_attrs(attrs, _FillValue=stack.no_data[date]))
    return parts[0], parts[1]


def stack_of(maps: Sequence[xr.DataArray]) -> Stack:
    """The common part of two or more maps on the grid of the last one; see `align` for the rule.

    Unlike there, pixels that have no data in one of the maps keep their class in the others.

    Raises
    ------
    OptionError
        Fewer than two maps.
    SceneError
        See `align`.
    """
    if len(maps) < 2:
        raise OptionError(f"Change is found between two or more class maps, but {len(maps)} was given. Give another.")
    no_data = tuple(_no_data(da) for da in maps)
    boxes = [geobox_of(da) for da in maps]
    windows = [Places(box, boxes[-1]).window() for box in boxes[:-1]]
    rows, cols = (
        slice(max(window[axis].start for window in windows), min(window[axis].stop for window in windows))
        for axis in (0, 1)
    )
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise no_overlap(boxes)
    grid: GeoBox = boxes[-1][rows, cols]  # type: ignore[assignment]
    parts = tuple(on_grid(da, grid, no_data=value) for da, value in zip(maps[:-1], no_data, strict=False))
    chunks = max((part.chunks for part in parts), key=lambda sizes: len(sizes[1]))
    last = dask.array.asarray(maps[-1].data[rows, cols])
    return Stack(grid, tuple(part.rechunk(chunks) for part in (*parts, last)), no_data)


def on_grid(da: xr.DataArray, grid: GeoBox, *, no_data: int) -> dask.array.Array:
    """The pixels of a map at the places of another grid, lazily, by the rule of `align`; no_data where it has none."""
    places = Places(geobox_of(da), grid)
    sampled = _Sampled(da.data, places, no_data)
    chunks = (_CHUNK_ROWS, -1 if places.is_upright else _CHUNK_COLS)
    meta = np.empty((0, 0), da.dtype)
    return dask.array.from_array(sampled, chunks=chunks, name=False, asarray=False, meta=meta)


def _no_data(da: xr.DataArray) -> int:
    if da.dtype.kind not in "iu":
        raise SceneError(
            f"Change is found between maps of whole numbers, but one is {da.dtype}. Open it with open_class_map, or "
            "convert it (astype)."
        )
    nodata = nodata_of(da)
    return int(np.iinfo(da.dtype).max) if nodata is None else nodata


def _masked(*parts: np.ndarray, no_data: tuple[int, ...], date: int) -> np.ndarray:
    values = parts[date]
    return np.where(valid_in_all(parts, no_data), values, values.dtype.type(no_data[date]))


def valid_in_all(parts: Sequence[np.ndarray], no_data: Sequence[int]) -> np.ndarray:
    """bool (row, col): where all maps have a class."""
    valid = parts[0] != no_data[0]
    for values, nothing in zip(parts[1:], no_data[1:], strict=True):
        valid &= values != nothing
    return valid


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
