"""Sums by zone and class over a map that is read strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyproj
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.areas.by_class import as_bins
from geoseg.classmap import class_names, geobox_of, iter_strips, nodata_of
from geoseg.errors import MismatchError, SceneError
from geoseg.zonal.compiled import add_zones, mark_present
from geoseg.zonal.placing import Placed
from geoseg.zonal.profile import RowProfile

__all__ = ["MOST_CLASSES", "Sums", "check_same_grid", "sum_by_zone"]

MOST_CLASSES = 600
"""Each has three columns in the layer of zones, and SQLite has room for 2000."""

_SAME_PX = 1e-3  # corners of equal grids differ by less


@dataclass(frozen=True)
class Sums:
    """What the zones have of each class. The last column is of pixels without a class."""

    values: list[int]
    """The classes of the columns but the last, rising: those of the legend, and those that occur."""
    area_m2: np.ndarray
    """float64 (zone, column)"""
    pixels: np.ndarray
    """float64 (zone, column): parts of pixels are fractions."""
    moments: np.ndarray
    """float64 (zone, column, 3): weight, sum and sum of squares of the values, counted from `origins`. Without values
    there is no zone in it, (0, column, 3)."""
    extremes: np.ndarray
    """float64 (zone, column, 2): the lowest and the highest value, (inf, -inf) where there is none; or (0, column,
    2)."""
    origins: np.ndarray
    """float64 (zone,): NaN where there is no value."""
    unit_m2: float
    """What the weights in `moments` are counted in."""


class _Tally:
    """Sums that grow by a column with each new class. Column 0 is of pixels without a class."""

    def __init__(self, zones: int, values: list[int], *, with_numbers: bool) -> None:
        self.column = {value: number + 1 for number, value in enumerate(values)}
        self.origins = np.full(zones, np.nan)
        self._sizes = zones, zones if with_numbers else 0
        self.arrays = self._empty(len(values) + 1)

    def _empty(self, columns: int) -> list[np.ndarray]:
        size, numbers = ((zones, columns) for zones in self._sizes)
        extremes = np.empty((*numbers, 2))
        extremes[:] = np.inf, -np.inf
        return [np.zeros(size, np.int64), np.zeros(size), np.zeros((*numbers, 3)), extremes]

    def columns(self, bins: np.ndarray, lowest: int, size: int) -> np.ndarray:
        """The column of each bin of a strip; the last bin is of pixels without a class."""
        present = np.zeros(size, dtype=bool)
        mark_present(bins, present)
        columns = np.zeros(size, dtype=np.int64)
        found = np.flatnonzero(present[:-1])
        new = [value for value in (found + lowest).tolist() if value not in self.column]
        if len(self.column) + len(new) > MOST_CLASSES:
            raise SceneError(
                f"Areas by zone are for maps of at most {MOST_CLASSES} classes, but this one has more. Give a class "
                "map; of a measurement take the mean by zone, --mean (values=)."
            )
        for value in new:
            self.column[value] = len(self.column) + 1
        if new:
            more = self._empty(len(new))
            self.arrays = [np.concatenate(pair, axis=1) for pair in zip(self.arrays, more, strict=True)]
        columns[found] = [self.column[value] for value in (found + lowest).tolist()]
        return columns

    @property
    def sums(self) -> tuple[np.ndarray, ...]:
        return *self.arrays, self.origins

    def finished(self, unit_m2: float) -> Sums:
        values = sorted(self.column)
        order = [*(self.column[value] for value in values), 0]
        units, pixels, moments, extremes = (array[:, order] for array in self.arrays)
        return Sums(values, units * unit_m2, pixels, moments, extremes, self.origins, unit_m2)


def sum_by_zone(
    class_map: xr.DataArray,
    placed: Placed,
    *,
    values: xr.DataArray | None = None,
    threads: int = 1,
    rows: int = 512,
    on_pixels: Callable[[int], None] | None = None,
) -> Sums:
    """Read a map once and add up what each zone has of it.

    Parameters
    ----------
    class_map, values
        On one grid.
    placed
        The zones on that grid.
    threads
        So many zones are summed at the same time. The result is the same to the bit.
    rows
        The highest strip. The result is the same to the bit.
    on_pixels
        Called with the number of pixels done since the last call.
    """
    geobox, nodata = geobox_of(class_map), nodata_of(class_map)
    areas = PixelAreas(geobox)
    profile = RowProfile(areas)
    known = [value for value in class_names(class_map) if value != nodata]
    tally = _Tally(len(placed.spans), known, with_numbers=values is not None)
    with ThreadPoolExecutor(threads, thread_name_prefix="zones") as pool:
        for row0, strip, numbers in _strips(class_map, values, rows):
            active = np.flatnonzero((placed.spans[:, 0] < row0 + len(strip)) & (placed.spans[:, 1] > row0))
            if len(active):
                bins, lowest, size = as_bins(strip, nodata)
                strip_of = row0, bins, tally.columns(bins, lowest, size), numbers
                grid = *profile.rows(row0, row0 + len(strip)), areas.unit_m2
                sums = tally.sums

                def add(zones: np.ndarray, strip_of=strip_of, grid=grid, sums=sums) -> None:  # type: ignore[no-untyped-def]
                    add_zones(zones, placed.shapes, strip_of, grid, sums)

                list(pool.map(add, [np.ascontiguousarray(active[start::threads]) for start in range(threads)]))
            if on_pixels is not None:
                on_pixels(strip.size)
    return tally.finished(areas.unit_m2)


def check_same_grid(class_map: xr.DataArray, values: xr.DataArray) -> None:
    """Refuse values that lie on another grid than the map.

    Raises
    ------
    MismatchError
        They differ in size, CRS or place.
    """
    one, other = geobox_of(class_map), geobox_of(values)
    corners = np.array([[0, 0], [one.shape[1], 0], [0, one.shape[0]]], dtype=float)
    apart = max(float(np.hypot(*np.subtract(at, ~one.transform * (other.transform * at)))) for at in corners)
    first, second = (pyproj.CRS.from_user_input(grid.crs.to_wkt()) for grid in (one, other))  # type: ignore[union-attr]
    same_crs = first.equals(second, ignore_axis_order=True)
    if one.shape != other.shape or not same_crs or not apart <= _SAME_PX:
        raise MismatchError(
            "Values are summed pixel by pixel on the grid of the map, but the map has "
            f"{one.shape[0]} × {one.shape[1]} pixels in {first.name}, and they have {other.shape[0]} × "
            f"{other.shape[1]} in {second.name}, up to {apart:.3g} pixels apart. Warp one onto the other first, say "
            "with gdalwarp."
        )


def _strips(
    class_map: xr.DataArray, values: xr.DataArray | None, rows: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The first row, the classes and the values (row, col) of each strip; (0, 0) without values."""
    none = np.empty((0, 0), np.float32)
    fewer = rows if class_map.dtype == np.uint8 else max(rows // 8, 1)  # wider types are copied as int64
    for row0, strip in iter_strips(class_map, rows=fewer):
        if values is None:
            yield row0, strip, none
        else:
            yield row0, strip, _with_nan(np.asarray(values.data[row0 : row0 + len(strip)]), values)


def _with_nan(numbers: np.ndarray, values: xr.DataArray) -> np.ndarray:
    """The numbers with NaN for those that mean no data."""
    wide = numbers.dtype.itemsize > (2 if numbers.dtype.kind in "iu" else 4)
    result = np.array(numbers, dtype=np.float64 if wide else np.float32, order="C")
    for where in (values.attrs, values.encoding):
        for key in ("_FillValue", "nodata", "missing_value"):
            if where.get(key) is not None:
                result[numbers == where[key]] = np.nan
    result[~np.isfinite(result)] = np.nan
    return result
