"""A map and its confidence → strips that can be traced: read, sieved, with the vertices that simplification drops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import dask.array
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.blocks import map_in_order
from geoseg.classmap import geobox_of, iter_strips, nodata_of
from geoseg.errors import MismatchError, OptionError
from geoseg.polygons.integers import Integers
from geoseg.polygons.pending import StripRows
from geoseg.polygons.sieve import sieve_strips, smallest_size
from geoseg.polygons.simplify import BAND_ROWS, find_flags
from geoseg.polygons.strip import Strip
from geoseg.units import Area, Length, parse_area, parse_length, with_unit

__all__ = ["Outlines", "iter_sieved", "strips_of"]

_TABLE_ROWS = 1024  # of areas that are asked for at once


@dataclass(frozen=True)
class Outlines:
    """How the outlines of a map are drawn."""

    connectivity: int = 4
    """4 or 8."""
    min_area: str | float | Area | None = None
    """Regions below this are filled by their neighbours; None = none."""
    simplify: str | float | Length | None = None
    """How far a border may move; None = not at all."""
    smooth: bool = False
    """Whether borders are curves; they are simplified by a pixel where `simplify` does not say how far."""

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise OptionError(f"Pixels are connected by 4 or 8 neighbours, but connectivity={self.connectivity!r}.")
        if self.min_area is not None:
            parse_area(self.min_area)
        if self.simplify is not None:
            parse_length(self.simplify)

    def check(self, geobox: GeoBox) -> None:
        """Refuse sizes that mean nothing on a grid, before it is read."""
        if self.min_area is not None:
            with_unit(parse_area(self.min_area), geobox)
        if self.tolerance is not None:
            with_unit(self.tolerance, geobox)

    @property
    def tolerance(self) -> Length | None:
        """How far simplification may move a border; smoothing may move it as far again."""
        length = "1px" if self.smooth and self.simplify is None else self.simplify
        return None if length is None else parse_length(length)

    @property
    def largest_shift(self) -> Length | None:
        """How far a border may move in all."""
        tolerance = self.tolerance
        return None if tolerance is None else replace(tolerance, value=tolerance.value * (2 if self.smooth else 1))


def strips_of(
    class_map: xr.DataArray,
    confidence: xr.DataArray | None,
    outlines: Outlines,
    areas: PixelAreas,
    *,
    strip_rows: int,
    threads: int = 1,
) -> Iterator[Strip]:
    """The strips of a map from top to bottom.

    Parameters
    ----------
    class_map, confidence
        See `vectorize`.
    outlines
        What is done to the map before it is traced.
    areas
        Of the map's grid.
    strip_rows
        The highest strip.
    threads
        Bands whose borders are simplified at the same time.
    """
    integers = Integers(class_map.dtype, nodata_of(class_map))
    rows = iter_sieved(class_map, confidence, outlines, strip_rows=strip_rows)
    flagged: Iterable[tuple[StripRows, np.ndarray | None]] = ((part, None) for part in rows)
    if outlines.tolerance is not None:
        tolerance = with_unit(outlines.tolerance, geobox_of(class_map))
        flag = partial(_flag_band, nodata=integers.nodata, tolerance=tolerance, smooth=outlines.smooth, areas=areas)
        bands = map_in_order(flag, _bands(rows), threads=threads)
        flagged = (part for band in bands for part in band)
    start = stop = 0
    for (row0, values, percent), flags in flagged:
        end = row0 + len(values)
        if end > stop:  # a table's rows do not depend on where it is cut; a long one costs less per row
            start, stop = row0, min(max(end, row0 + _TABLE_ROWS), class_map.shape[0])
            knots, coefs = areas.table(start, stop)
        yield Strip(values, knots, coefs[row0 - start : end - start], percent, flags)


def iter_sieved(
    class_map: xr.DataArray, confidence: xr.DataArray | None, outlines: Outlines, *, strip_rows: int = 64
) -> Iterator[StripRows]:
    """The rows of a map as `Integers` has them, with small regions filled where that is asked for.

    Yields
    ------
    row0, values, confidence
        A strip's first row, its values and its confidence (row, col).
    """
    integers = Integers(class_map.dtype, nodata_of(class_map))
    rows = (
        (row0, integers.convert(values), percent)
        for row0, values, percent in read_rows(class_map, confidence, strip_rows)
    )
    if outlines.min_area is None:
        return rows
    minimum, areas = smallest_size(class_map, outlines.min_area)
    return sieve_strips(
        rows,
        class_map.shape[1],
        dtype=integers.dtype,
        nodata=integers.nodata,
        connectivity=outlines.connectivity,
        minimum=minimum,
        areas=areas,
    )


def _bands(rows: Iterable[StripRows]) -> Iterator[list[StripRows]]:
    """The same rows, in lists that are the bands of simplification."""

    def cut() -> Iterator[StripRows]:
        for row0, values, percent in rows:
            start = 0
            while start < len(values):
                stop = min(len(values), start + BAND_ROWS - (row0 + start) % BAND_ROWS)
                yield row0 + start, values[start:stop], None if percent is None else percent[start:stop]
                start = stop

    for _, band in groupby(cut(), key=lambda part: part[0] // BAND_ROWS):
        yield list(band)


def _flag_band(
    band: list[StripRows], *, nodata: int, tolerance: Length, smooth: bool, areas: PixelAreas
) -> list[tuple[StripRows, np.ndarray | None]]:
    """Each strip of a band with the flags of its vertices."""
    row0 = band[0][0]
    values = np.concatenate([part for _, part, _ in band])
    by_row = by_col = tolerance.value
    if tolerance.unit == "m":
        # By the pixels in the middle of the full band, which is the same however the map is cut.
        middle = np.array([min(row0 + BAND_ROWS / 2, areas.geobox.shape[0])])
        east_m, south_m = areas.edge_lengths(np.array([areas.geobox.shape[1] / 2]), middle)
        by_row, by_col = tolerance.value / float(south_m[0]), tolerance.value / float(east_m[0])
    flags = find_flags(values, row0, nodata=nodata, tolerance=(by_row, by_col), smooth=smooth)
    ends = np.searchsorted(flags, [(start + len(part)) << 32 for start, part, _ in band])
    return list(zip(band, np.split(flags, ends[:-1]), strict=True))


def read_rows(
    class_map: xr.DataArray, confidence: xr.DataArray | None, strip_rows: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Strips of both maps."""
    if confidence is None:
        for row0, values in iter_strips(class_map, rows=strip_rows):
            yield row0, values, None
        return
    _check_confidence(class_map, confidence)
    if class_map.chunks is None and confidence.chunks is None:
        for (row0, values), (_, percent) in zip(
            iter_strips(class_map, rows=strip_rows), iter_strips(confidence, rows=strip_rows), strict=True
        ):
            yield row0, values, percent
        return
    # Lazy maps of one source (class and confidence of one model run) must be computed together, or the
    # source is computed twice: they travel as one array of larger integers.
    classes = dask.array.asarray(class_map.data)
    percents = dask.array.asarray(confidence.data).rechunk(classes.chunks)
    wide = np.uint16 if class_map.dtype == np.uint8 else np.int64
    packed = dask.array.map_blocks(_pack, classes, percents, dtype=wide)
    for row0, both in iter_strips(class_map.copy(data=packed), rows=strip_rows):
        yield row0, (both >> 8).astype(class_map.dtype), (both & 255).astype(np.uint8)


def _pack(classes: np.ndarray, percents: np.ndarray) -> np.ndarray:
    """Both in one number, with no more copies than that."""
    packed = classes.astype(np.uint16 if classes.dtype == np.uint8 else np.int64)
    np.left_shift(packed, 8, out=packed)
    return np.bitwise_or(packed, percents, out=packed)


def _check_confidence(class_map: xr.DataArray, confidence: xr.DataArray) -> None:
    if confidence.dtype != np.uint8:
        raise OptionError(
            f"Confidence is uint8 percent, but this one is {confidence.dtype}. Convert it: "
            "(100 * probability).round().astype('uint8')."
        )
    if confidence.shape != class_map.shape or geobox_of(confidence) != geobox_of(class_map):
        raise MismatchError(
            f"Confidence lies on the grid of the class map, but they are {confidence.shape} and "
            f"{class_map.shape} pixels, or lie elsewhere. Resample one of them."
        )
