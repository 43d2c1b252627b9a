"""True areas: how many square metres of the ellipsoid each pixel covers, and each class of a map.

A pixel of EPSG:4326 shrinks towards the poles, one of EPSG:3857 covers a quarter of its nominal area at 60°
north, and a UTM pixel is off by up to 0.2 %. `PixelAreas` knows the area of every pixel of any grid, and
`class_areas` sums them by class. Areas are summed as integers, so a sum never depends on the order or on
the chunks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numba import njit
from odc.geo.geobox import GeoBox

from geoseg.classes import NODATA
from geoseg.classmap import class_names, geobox_of, iter_strips, nodata_of
from geoseg.ellipsoid import Panels, has_equal_rows, plain_crs, row_areas, row_panels, row_steps, sample_panels
from geoseg.errors import SceneError

__all__ = ["PixelAreas", "class_areas", "column_area_units", "row_area_units", "with_no_data_row"]

_PANEL_TOLERANCE = 1e-9
_PIXEL_TOLERANCE = 5e-8  # relative, of a pixel between two knots (the total between them is exact)
_LENGTH_TOLERANCE = 2e-6
_MAX_LENGTHS = 1024  # places along one axis of the grid of lengths
_WORST_PLACE = (1 - 3**-0.5) / 2  # where a quadratic that keeps both ends and the mean errs most
_MAX_CLASS_RANGE = 1 << 20


class PixelAreas:
    """The true area of every pixel of a grid, on the ellipsoid of its CRS.

    A geographic north-up grid has a closed form by row. On any other grid the area element is sampled on a
    few panels of Chebyshev nodes (see `geoseg.ellipsoid`) and, by row, turned into a cumulative area that is
    cubic between column knots. Any pixel's error is below 1e-7 of its area (totals: about 1e-9) or 2**-61 of
    the grid's, whichever is larger (the second matters only for pixels that touch a pole in a global grid).

    A pixel beyond the edge of the projection (a corner of a global Mollweide grid) has no place on the
    Earth: it gets the area of the nearest pixel in its row that has one, and is expected to be nodata.

    Parameters
    ----------
    geobox
        The grid: any CRS with an ellipsoid, any affine transform (rotated, sheared, south-up).

    Raises
    ------
    SceneError
        The grid has no CRS, its CRS has no ellipsoid, or no pixel lies inside the projection's domain.

    Examples
    --------
    >>> world = PixelAreas(GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", shape=(180, 360)))
    >>> f"{world.of(slice(0, 180), slice(0, 360)).sum() / 1e6:.1f} km²"
    '510065621.7 km²'
    """

    geobox: GeoBox
    """The grid."""
    unit_m2: float
    """Areas are summed as integers of this unit, a power of two in m²; the whole grid stays below 2**62."""

    def __init__(self, geobox: GeoBox) -> None:
        self.geobox = geobox
        self._crs = plain_crs(geobox)
        height, width = geobox.shape
        self._row_areas = row_areas(geobox, self._crs) if has_equal_rows(geobox, self._crs) else None
        if self._row_areas is not None:
            self._knots = np.array([0, width], dtype=np.int64)
            largest = float(self._row_areas.max())
        else:
            self._panels = sample_panels(geobox, self._crs, of="area", tolerance=_PANEL_TOLERANCE)
            self._knots, self._density, self._total = _choose_knots(self._panels, width)
            largest = float(np.abs(self._density).sum(axis=1).max())
        self.unit_m2 = 2.0 ** (math.ceil(math.log2(max(largest, 1e-300) * height * width)) - 62)

    def table(self, row0: int, row1: int) -> tuple[np.ndarray, np.ndarray]:
        """Cumulative area along the rows ``row0..row1-1``.

        ``C(r, x) = c0 + t * (c1 + t * (c2 + t * c3))`` with ``t = x - knots[j]`` is the area in m² of row r
        from column 0 to lattice column x, where j is the last knot with ``knots[j] <= x`` (the last piece
        for ``x = width``). The integer area of the columns [x0, x1) is ``rint(C(r, x1) / unit_m2) - rint(C(r,
        x0) / unit_m2)``: `column_area_units` computes it, and everybody uses that one definition.

        Returns
        -------
        knots, coefs
            int64 (piece + 1,) and float64 (row, piece, 4). A row's numbers do not depend on row0 and row1.
        """
        coefs = np.zeros((row1 - row0, len(self._knots) - 1, 4))
        if self._row_areas is not None:
            coefs[:, 0, 1] = self._row_areas[row0:row1]
            return self._knots, coefs
        rows = np.arange(row0, row1)
        panels = np.searchsorted(self._panels.row_edges, rows, side="right") - 1
        length = np.diff(self._knots).astype(float)
        for panel in np.unique(panels):
            inside = panels == panel
            weights = self._panels.row_weights(panel, rows[inside])
            # Sums in a fixed order, element by element: the same bits for whichever rows are asked for.
            total: Any = sum(w[:, None] * c for w, c in zip(weights, self._total[panel], strict=True))
            density: Any = sum(w[:, None] * c for w, c in zip(weights, self._density[panel], strict=True))
            coefs[inside] = _cubics(density, total, length)
        return self._knots, coefs

    def surface(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cumulative area at any place, for polygons whose edges are not those of pixels.

        ``C(y, x) = Σ_k T_k(s) (c0 + t * (c1 + t * (c2 + t * c3)))`` is the area in m² per row, at the row
        coordinate y, from column 0 to x: t and the piece are those of `table`, T_k is the Chebyshev polynomial of
        order k, and s goes from -1 to 1 between two row edges. Its mean over a row of pixels is what `table` gives.

        Returns
        -------
        row_edges, knots, coefs
            float64 (panel + 1,), int64 (piece + 1,) and float64 (panel, order, piece, 4).
        """
        if self._row_areas is not None:
            edges, densities = row_panels(self.geobox, self._crs)
            coefs = np.zeros((*densities.shape, 1, 4))
            coefs[:, :, 0, 1] = densities
            return edges, self._knots, coefs
        length = np.diff(self._knots).astype(float)
        return self._panels.row_edges.astype(float), self._knots, _cubics(self._density, self._total, length)

    def of(self, rows: slice, cols: slice) -> np.ndarray:
        """The areas of a window's pixels: float64 (row, col), m²; whole multiples of `unit_m2`.

        >>> grid = GeoBox.from_bbox((0, 0, 2, 2), "EPSG:4326", resolution=1)
        >>> PixelAreas(grid).of(slice(0, 1), slice(0, 2)).round(-6).tolist()
        [[12305000000.0, 12305000000.0]]
        """
        row0, row1, _ = rows.indices(self.geobox.shape[0])
        col0, col1, _ = cols.indices(self.geobox.shape[1])
        knots, coefs = self.table(row0, row1)
        columns = np.arange(col0, col1 + 1)
        units = np.empty((row1 - row0, len(columns)), dtype=np.int64)
        for row in range(row1 - row0):
            units[row] = row_area_units(columns, knots, coefs[row], self.unit_m2)
        return np.diff(units, axis=1) * self.unit_m2

    def of_ids(self, ids: np.ndarray, row: int, col: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How large each object of a window is.

        Parameters
        ----------
        ids
            uint32 (row, col), 0 = none.
        row, col
            Where the window begins in the grid.

        Returns
        -------
        ids, pixels, units
            int64 (object,): those that are there, rising; their pixels; and their areas in integers of `unit_m2`, so
            that the areas of windows sum to those of the grid.

        Examples
        --------
        >>> areas = PixelAreas(GeoBox.from_bbox((0, 0, 2, 2), "EPSG:4326", resolution=1))
        >>> ids, pixels, units = areas.of_ids(np.array([[7, 0]], np.uint32), 0, 0)
        >>> ids, pixels, (units * areas.unit_m2).round(-6)
        (array([7]), array([1]), array([1.2305e+10]))
        """
        pixels, units = np.zeros((2, int(ids.max(initial=0)) + 1), np.int64)
        _add_runs(ids, col, *self.table(row, row + len(ids)), self.unit_m2, pixels, units)
        found = np.flatnonzero(pixels[1:]) + 1
        return found, pixels[found], units[found]

    def edge_lengths(self, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The length on the ground of one step along a row and along a column, at places of the lattice.

        Parameters
        ----------
        cols, rows
            float64 (n,): pixel coordinates; (0, 0) is the corner of the first pixel.

        Returns
        -------
        east_m, south_m
            float64 (n,): metres per column step and per row step; relative error below 1e-5.
        """
        cols, rows = np.asarray(cols, dtype=float), np.asarray(rows, dtype=float)
        if self._row_areas is not None:
            return row_steps(self.geobox, self._crs, rows)
        col_knots, row_knots, east, south = self._lengths
        return (
            _bilinear(cols, rows, col_knots, row_knots, east),
            _bilinear(cols, rows, col_knots, row_knots, south),
        )

    @cached_property
    def _lengths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Even lattices of columns and rows, and both lengths on them, fine enough to be interpolated."""
        panels = sample_panels(self.geobox, self._crs, of="steps", tolerance=_LENGTH_TOLERANCE)
        height, width = self.geobox.shape
        counts = [1, 1]
        while True:
            rows, cols = (np.linspace(0, end, 2 * n + 1) for end, n in zip((height, width), counts, strict=True))
            lengths = panels.lattice(rows, cols)
            floor = 1e-6 * lengths.max()
            errors = [
                (abs((at[:, :-2:2] + at[:, 2::2]) / 2 - at[:, 1::2]) / np.maximum(at[:, 1::2], floor)).max()
                for at in (lengths, lengths.transpose(0, 2, 1))
            ]
            more = [e > _LENGTH_TOLERANCE and n < _MAX_LENGTHS for e, n in zip(errors, counts, strict=True)]
            if not any(more):
                return cols, rows, lengths[0], lengths[1]
            counts = [n * 2 if again else n for n, again in zip(counts, more, strict=True)]


def _cubics(density: np.ndarray, total: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Cumulative cubics between knots, (..., piece, 4), from the density at the knots and the total between them."""
    first, last = density[..., :-1], density[..., 1:]
    bend = 6 * ((first + last) / 2 - total / length)
    before = np.zeros_like(total)
    before[..., 1:] = np.cumsum(total, axis=-1)[..., :-1]
    return np.stack([before, first, (last - first - bend) / (2 * length), bend / (3 * length**2)], axis=-1)


def _choose_knots(panels: Panels, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column knots so close that a quadratic follows the density between them.

    Returns the knots, the density at them and the total between them, both (row panel, row order, ...).
    """
    pieces = 1
    while True:
        knots = np.unique(np.round(np.linspace(0, width, pieces + 1)).astype(np.int64))
        length = np.diff(knots)
        density = panels.along_columns(knots.astype(float))[0]
        total = np.diff(panels.integrals(knots.astype(float))[0], axis=-1)
        first, last = density[..., :-1], density[..., 1:]
        bend = 6 * ((first + last) / 2 - total / length)
        guess = first + _WORST_PLACE * (last - first - bend * (1 - _WORST_PLACE))
        error = abs(guess - panels.along_columns(knots[:-1] + _WORST_PLACE * length)[0]).sum(axis=1)
        if length.max() == 1 or (error <= _PIXEL_TOLERANCE * total[:, 0] / length).all():
            return knots, density, total
        pieces *= 2


@njit(nogil=True, cache=True)
def column_area_units(column, knots, row_coefs, unit_m2):  # type: ignore[no-untyped-def]
    """The area of a row from column 0 to the lattice column ``column``, in integers of ``unit_m2``.

    ``knots`` and ``row_coefs = coefs[r]`` come from `PixelAreas.table`.
    """
    piece = len(knots) - 2
    if knots[piece] > column:  # binary search for the last knot at or before the column
        low = 0
        while piece - low > 1:
            middle = (low + piece) // 2
            if knots[middle] <= column:
                low = middle
            else:
                piece = middle
        piece = low
    t = float(column - knots[piece])
    c = row_coefs[piece]
    area = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
    return np.int64(np.rint(area / unit_m2))


@njit(nogil=True, cache=True)
def row_area_units(columns, knots, row_coefs, unit_m2):  # type: ignore[no-untyped-def]
    """`column_area_units` for an array of lattice columns: int64, the same shape (n,)."""
    units = np.empty(len(columns), dtype=np.int64)
    for index in range(len(columns)):
        units[index] = column_area_units(columns[index], knots, row_coefs, unit_m2)
    return units


@njit(nogil=True, cache=True)
def _add_runs(bins, left, knots, coefs, unit_m2, pixels, units):  # type: ignore[no-untyped-def]
    """Add the pixels and the integer area of each run of equal bins, which begin at the grid's column ``left``, to
    ``pixels`` and ``units``."""
    height, width = bins.shape
    for row in range(height):
        start = 0
        before = column_area_units(left, knots, coefs[row], unit_m2)
        while start < width:
            value = bins[row, start]
            stop = start + 1
            while stop < width and bins[row, stop] == value:
                stop += 1
            after = column_area_units(left + stop, knots, coefs[row], unit_m2)
            pixels[value] += stop - start
            units[value] += after - before
            start, before = stop, after


def class_areas(class_map: xr.DataArray) -> pd.DataFrame:
    """The pixels and the true area of each class of a map.

    Parameters
    ----------
    class_map
        Any categorical map with a grid: (row, col) integers, or floats with whole values and NaN; numpy or
        Dask. It is read once, strip by strip.

    Returns
    -------
    DataFrame
        ``class, class_name, pixels, area_m2, area_ha, share`` in order of class; share is of the valid area,
        0..1. Every class of the legend has a row, also without a pixel; a value that the legend lacks is
        called "class N". Pixels without a class stand apart: ``table.attrs["invalid_pixels"]`` and
        ``table.attrs["invalid_area_m2"]`` (`with_no_data_row` puts them into a last row, for files).

    Raises
    ------
    SceneError
        No CRS or grid, fractions instead of classes, or more than a million different values.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:4326", resolution=1)
    >>> legend = [ClassInfo(0, "land"), ClassInfo(1, "water")]
    >>> table = class_areas(class_map(np.array([[1, 255]], np.uint8), grid, legend))
    >>> table[["class_name", "pixels", "share"]].values.tolist()
    [['land', 0, 0.0], ['water', 1, 1.0]]
    >>> table.attrs["invalid_pixels"]
    1
    """
    areas = PixelAreas(geobox_of(class_map))
    names = class_names(class_map)
    nodata = nodata_of(class_map)
    pixels: dict[int, int] = {}
    units: dict[int, int] = {}
    invalid_pixels = invalid_units = 0
    rows = 512 if class_map.dtype == np.uint8 else 64  # wider types are copied as int64
    for row0, strip in iter_strips(class_map, rows=rows):
        bins, lowest, size = _as_bins(strip, nodata)
        counts, sums = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        knots, coefs = areas.table(row0, row0 + len(strip))
        _add_runs(bins, 0, knots, coefs, areas.unit_m2, counts, sums)
        invalid_pixels += int(counts[-1])
        invalid_units += int(sums[-1])
        for index in np.flatnonzero(counts[:-1]):
            value = int(index) + lowest
            pixels[value] = pixels.get(value, 0) + int(counts[index])
            units[value] = units.get(value, 0) + int(sums[index])
    valid_units = sum(units.values())
    records = []
    for value in sorted((set(names) - {nodata}) | set(pixels)):
        area_m2 = units.get(value, 0) * areas.unit_m2
        share = units.get(value, 0) / valid_units if valid_units else 0.0
        name = names.get(value, f"class {value}")
        records.append((value, name, pixels.get(value, 0), area_m2, area_m2 / 1e4, share))
    table = pd.DataFrame(records, columns=["class", "class_name", "pixels", "area_m2", "area_ha", "share"])
    table = table.astype(
        {"class": "int64", "pixels": "int64", "area_m2": "float64", "area_ha": "float64", "share": "float64"}
    )
    table.attrs["invalid_pixels"] = invalid_pixels
    table.attrs["invalid_area_m2"] = invalid_units * areas.unit_m2
    return table


def with_no_data_row(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `class_areas` with the invalid pixels as a last row, as it is written to files.

    That row has class 255, the name "(no data)" and no share, and is there also when it counts 0 pixels.

    >>> table = pd.DataFrame({"class": [1], "class_name": ["water"], "pixels": [3], "area_m2": [30.0],
    ...                       "area_ha": [0.003], "share": [1.0]})
    >>> table.attrs.update(invalid_pixels=2, invalid_area_m2=20.0)
    >>> with_no_data_row(table)[["class", "class_name", "pixels"]].values.tolist()
    [[1, 'water', 3], [255, '(no data)', 2]]
    """
    area_m2 = table.attrs["invalid_area_m2"]
    result = table.copy()
    result.loc[len(result)] = [
        255,
        "(no data)",
        table.attrs["invalid_pixels"],
        area_m2,
        area_m2 / 1e4,
        np.nan,
    ]
    return result


def _as_bins(strip: np.ndarray, nodata: int | None) -> tuple[np.ndarray, int, int]:
    """The strip with its lowest value as bin 0 and nodata as the last bin; that value; the number of bins."""
    if strip.dtype == np.uint8 and nodata == NODATA:
        return strip, 0, 256
    valid = np.isfinite(strip) if nodata is None else np.isfinite(strip) & (strip != nodata)
    if not valid.any():
        return np.zeros(strip.shape, dtype=np.int64), 0, 1
    if strip.dtype.kind == "f" and (strip[valid] != np.rint(strip[valid])).any():
        raise SceneError(
            "Areas by class need whole numbers, but the map holds fractions. Give a class map, not a measurement."
        )
    lowest, highest = (int(edge) for edge in (strip[valid].min(), strip[valid].max()))
    if highest - lowest >= _MAX_CLASS_RANGE:
        raise SceneError(
            f"A class map has few different values, but this one goes from {lowest} to {highest}. "
            "Give a class map, not a measurement or a map of object ids."
        )
    bins = np.where(valid, strip, lowest).astype(np.int64) - lowest
    bins[~valid] = highest - lowest + 1
    return bins, lowest, highest - lowest + 2


def _bilinear(
    cols: np.ndarray, rows: np.ndarray, col_knots: np.ndarray, row_knots: np.ndarray, values: np.ndarray
) -> np.ndarray:
    def locate(places: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = (places - knots[0]) * ((len(knots) - 1) / (knots[-1] - knots[0]))
        cell = np.clip(scaled.astype(np.int64), 0, len(knots) - 2)
        return cell, scaled - cell

    (i, t), (j, s) = locate(rows, row_knots), locate(cols, col_knots)
    north = values[i, j] * (1 - s) + values[i, j + 1] * s
    return north * (1 - t) + (values[i + 1, j] * (1 - s) + values[i + 1, j + 1] * s) * t
