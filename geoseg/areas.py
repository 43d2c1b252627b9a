"""True areas: how many square metres of the ellipsoid each pixel covers, and each class of a map.

A pixel of EPSG:4326 shrinks towards the poles, one of EPSG:3857 covers a quarter of its nominal area at 60°
north, and a UTM pixel is off by up to 0.2 %. `PixelAreas` knows the area of every pixel of any grid, and
`class_areas` sums them by class. Areas are summed as integers, so a sum never depends on the order or on
the chunks.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import xarray as xr
from numba import njit
from odc.geo.geobox import GeoBox

from geoseg.classmap import class_names, geobox_of, iter_strips, nodata_of
from geoseg.errors import SceneError

__all__ = ["PixelAreas", "class_areas", "column_area_units", "row_area_units", "with_no_data_row"]

_DEGREE = (
    12  # of the Chebyshev panels; a panel is halved until its last coefficients are below _PANEL_TOLERANCE
)
_PANEL_TOLERANCE = 1e-9
_WORST_PANEL = 3e-6  # accepted where the projection itself is noisy: at the edge of a global map
_MAX_PANELS = 1024
_EQUAL_AREA = 2e-9  # when half of the samples agree as well as this, the projection is equal-area
_PIXEL_TOLERANCE = 5e-8  # relative, of a pixel inside a column segment (totals are far better)
_WORST_PLACE = (1 - 3**-0.5) / 2  # between two knots, beside the middle; see _build_panels
_LENGTH_TOLERANCE = 2e-6
_STENCIL = ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60))  # central difference of sixth order
_STENCIL_STEP = 2e-3  # of the ellipsoid's radius: truncation 1e-17 and rounding 1e-13
_GAUSS = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))
_MAX_CLASS_RANGE = 1 << 20


class PixelAreas:
    """The true area of every pixel of a grid, on the ellipsoid of its CRS.

    Note for callers of `table`: there are FOUR coefficients (cubic). Call `column_area_units(x, knots, coefs[r],
    unit_m2)` inside numba code (or `row_area_units`) rather than evaluating them by hand.

    A geographic north-up grid has a closed form by row (authalic area, Snyder 1987, eq. 3-12, written as a
    difference so that nothing cancels for small pixels). On any other grid the area element is
    ``|∂P/∂x × ∂P/∂y|``, where P(x, y) is the point of the ellipsoid in space that the inverse projection
    gives: smooth across the poles and the date line, with units, rotation and shear included. It is sampled
    on a few panels of Chebyshev nodes and, by row, turned into a cumulative area that is cubic between
    column knots. Any pixel's error is below 1e-7 of its area (totals: about 1e-9) or 2**-61 of the grid's,
    whichever is larger (the second matters only for the pixels that touch a pole in a global grid).

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
        self._crs = _plain_crs(geobox)
        height, width = geobox.shape
        self._row_areas: np.ndarray | None = None  # (row,), m² of a pixel; None where pixels of a row differ
        if self._crs.is_geographic and not self._crs.is_derived and _is_north_up(geobox):
            self._row_areas = _geographic_row_areas(geobox, self._crs)
            self._knots = np.array([0, width], dtype=np.int64)
            largest = float(self._row_areas.max())
        else:
            largest = self._build_panels()
        self.unit_m2 = 2.0 ** (np.ceil(np.log2(max(largest, 1e-300) * height * width)) - 62)

    def _build_panels(self) -> float:
        """Choose panels and column knots; returns the largest pixel area met, m²."""
        rows, cols, (area, _, _) = self._sample_panels()
        self._row_edges = rows
        width = self.geobox.shape[1]
        pieces = 1
        while True:
            knots = np.unique(np.round(np.linspace(0, width, pieces + 1)).astype(np.int64))
            density = _evaluate(area, cols, knots.astype(float))
            total = np.diff(_integrate(area, cols, knots.astype(float)), axis=-1)
            # The error of a quadratic that keeps both ends and the mean is largest at 0.21 and 0.79.
            length, first, last = np.diff(knots), density[..., :-1], density[..., 1:]
            bend = 6 * ((first + last) / 2 - total / length)
            guess = first + _WORST_PLACE * (last - first - bend * (1 - _WORST_PLACE))
            error = abs(guess - _evaluate(area, cols, knots[:-1] + _WORST_PLACE * length)).sum(axis=1)
            if length.max() == 1 or (error <= _PIXEL_TOLERANCE * total[:, 0] / length).all():
                break
            pieces *= 2
        self._knots, self._total, self._density = knots, total, density
        return float(np.abs(density).sum(axis=1).max())

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
        panels = np.searchsorted(self._row_edges, rows, side="right") - 1
        length = np.diff(self._knots).astype(float)
        for panel in np.unique(panels):
            inside = panels == panel
            start, stop = self._row_edges[panel : panel + 2]
            weights: Any = sum(
                weight * _chebyshev(2 * (rows[inside] + place - start) / (stop - start) - 1)
                for place, weight in _GAUSS
            )
            # Sums in a fixed order, element by element: the same bits for whichever rows are asked for.
            total: Any = sum(w[:, None] * c for w, c in zip(weights, self._total[panel], strict=True))
            density: Any = sum(w[:, None] * c for w, c in zip(weights, self._density[panel], strict=True))
            first, last = density[:, :-1], density[:, 1:]
            bend = 6 * ((first + last) / 2 - total / length)
            coefs[inside, 1:, 0] = np.cumsum(total, axis=1)[:, :-1]
            coefs[inside, :, 1] = first
            coefs[inside, :, 2] = (last - first - bend) / (2 * length)
            coefs[inside, :, 3] = bend / (3 * length**2)
        return self._knots, coefs

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
            return _geographic_steps(self.geobox, self._crs, rows)
        col_knots, row_knots, east, south = self._lengths
        return (
            _bilinear(cols, rows, col_knots, row_knots, east),
            _bilinear(cols, rows, col_knots, row_knots, south),
        )

    @cached_property
    def _lengths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rows, cols, (_, east, south) = self._sample_panels()
        height, width = self.geobox.shape
        counts = [1, 1]
        while True:
            v, u = np.linspace(0, height, counts[0] + 1), np.linspace(0, width, counts[1] + 1)
            errors = [0.0, 0.0]
            grids = []
            for values in (east, south):
                fine = _evaluate_both(values, rows, cols, _with_middles(v), _with_middles(u))
                grids.append(fine[::2, ::2])
                for axis, across in ((0, fine), (1, fine.T)):
                    off = abs((across[:-2:2] + across[2::2]) / 2 - across[1::2]) / fine.max()
                    scale = np.maximum(across[1::2] / fine.max(), 1e-6)
                    errors[axis] = max(errors[axis], float((off / scale).max()))
            wanted = [error > _LENGTH_TOLERANCE and n < 4096 for error, n in zip(errors, counts, strict=True)]
            if not any(wanted):
                return u, v, grids[0], grids[1]
            counts = [n * 2 if more else n for n, more in zip(counts, wanted, strict=True)]

    def _sample_panels(self) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Panels fine enough for area, east and south steps.

        Returns the integer row edges, the float column edges and, for each of the three, the Chebyshev
        coefficients (row panel, row order, col panel, col order).
        """
        height, width = self.geobox.shape
        inverse = _inverse_projection(self._crs)
        counts = [1, 1]
        best: tuple[float, Any] = (np.inf, None)
        while counts[0] * counts[1] <= _MAX_PANELS:
            rows = np.unique(np.round(np.linspace(0, height, counts[0] + 1)).astype(np.int64))
            cols = np.linspace(0, width, counts[1] + 1)
            grid = np.meshgrid(_panel_nodes(cols), _panel_nodes(rows))
            samples = _ground_steps(self.geobox, self._crs, inverse, *grid)
            if not np.isfinite(samples[0]).any():
                raise SceneError(
                    f"Areas need pixels that lie on the Earth, but no pixel of this grid ({self._crs.name}) "
                    "lies inside its projection. Check the georeference, or give the right one with --crs."
                )
            coefs = [_to_coefficients(_fill(values), len(rows) - 1, len(cols) - 1) for values in samples]
            size = abs(coefs[0])
            tails = [(tail / size[:, :1, :, :1]).max() for tail in (size[:, -2:], size[..., -2:])]
            best = min(best, (max(tails), (rows, cols, coefs)), key=lambda item: item[0])
            fine = [tail <= _PANEL_TOLERANCE for tail in tails]
            fine[0] |= len(rows) > height
            if all(fine):
                break
            counts = [n if good else n * 2 for n, good in zip(counts, fine, strict=True)]
        if best[0] > _WORST_PANEL:
            raise SceneError(
                f"Areas need a projection that is smooth over the whole grid, but {self._crs.name} "
                "breaks inside it (or the grid reaches beyond its edge). Cut the raster to where the "
                "projection is defined, or reproject it."
            )
        return best[1]


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
def _add_runs(strip, lowest, knots, coefs, unit_m2, pixels, units):  # type: ignore[no-untyped-def]
    """Add the pixels and the integer area of each run of equal values to ``pixels`` and ``units``."""
    height, width = strip.shape
    for row in range(height):
        start = 0
        before = np.int64(0)
        while start < width:
            value = strip[row, start]
            stop = start + 1
            while stop < width and strip[row, stop] == value:
                stop += 1
            after = column_area_units(stop, knots, coefs[row], unit_m2)
            pixels[value - lowest] += stop - start
            units[value - lowest] += after - before
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
    for row0, strip in iter_strips(class_map):
        strip, lowest, size = _as_integers(strip, nodata)
        counts, sums = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        knots, coefs = areas.table(row0, row0 + len(strip))
        _add_runs(strip, lowest, knots, coefs, areas.unit_m2, counts, sums)
        for index in np.flatnonzero(counts):
            value = int(index) + lowest
            pixels[value] = pixels.get(value, 0) + int(counts[index])
            units[value] = units.get(value, 0) + int(sums[index])
    invalid_pixels = pixels.pop(nodata, 0) if nodata is not None else 0
    invalid_units = units.pop(nodata, 0) if nodata is not None else 0
    valid_units = sum(units.values())
    rows = []
    for value in sorted((set(names) - {nodata}) | set(pixels)):
        area_m2 = units.get(value, 0) * areas.unit_m2
        share = units.get(value, 0) / valid_units if valid_units else 0.0
        name = names.get(value, f"class {value}")
        rows.append((value, name, pixels.get(value, 0), area_m2, area_m2 / 1e4, share))
    table = pd.DataFrame(rows, columns=["class", "class_name", "pixels", "area_m2", "area_ha", "share"])
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


def _as_integers(strip: np.ndarray, nodata: int | None) -> tuple[np.ndarray, int, int]:
    """The strip as integers, its lowest value and the number of bins from there."""
    if strip.dtype == np.uint8:
        return strip, 0, 256
    if strip.dtype.kind == "f":
        missing = np.isnan(strip)
        whole = np.where(missing, 0 if nodata is None else nodata, strip)
        if (whole != np.rint(whole)).any() or (missing.any() and nodata is None):
            raise SceneError(
                "Areas by class need whole numbers, but the map holds fractions. Give a class map, not a "
                "measurement."
            )
        strip = whole.astype(np.int64)
    lowest, highest = int(strip.min()), int(strip.max())
    if highest - lowest >= _MAX_CLASS_RANGE:
        raise SceneError(
            f"A class map has few different values, but this one goes from {lowest} to {highest}. "
            "Give a class map, not a measurement or a map of object ids."
        )
    if strip.dtype.kind in "ub":
        strip = strip.astype(np.int64)
    return strip, lowest, highest - lowest + 1


def _plain_crs(geobox: GeoBox) -> pyproj.CRS:
    """The horizontal CRS of a grid, without its vertical part and its datum shift."""
    if geobox.crs is None:
        raise SceneError("Areas need a CRS, but the raster has none. Give it with --crs (crs=).")
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    while crs.is_bound or crs.is_compound:
        crs = crs.source_crs if crs.is_bound else crs.sub_crs_list[0]  # type: ignore[assignment]
    if crs.ellipsoid is None or crs.geodetic_crs is None or crs.is_geocentric:
        raise SceneError(
            f"Areas need a CRS that is tied to an ellipsoid, but {crs.name!r} is not. Give one with --crs."
        )
    return crs


def _is_north_up(geobox: GeoBox) -> bool:
    return geobox.transform.b == 0 and geobox.transform.d == 0


def _radii(crs: pyproj.CRS) -> tuple[float, float]:
    """Semi-major axis (m) and squared eccentricity of the ellipsoid."""
    a, b = crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre  # type: ignore[union-attr]
    return a, 1 - (b / a) ** 2


def _geographic_row_areas(geobox: GeoBox, crs: pyproj.CRS) -> np.ndarray:
    """The area of one pixel of each row of a north-up geographic grid, m² (row,)."""
    a, e2 = _radii(crs)
    e = np.sqrt(e2)
    unit = crs.axis_info[0].unit_conversion_factor
    step, first = geobox.transform.e * unit, geobox.transform.f * unit
    middle = first + step * (np.arange(geobox.shape[0]) + 0.5)
    half = np.full_like(middle, abs(step) / 2)
    beyond = np.abs(middle) + half > np.pi / 2  # grids with pixel centres at the poles: only the half counts
    south = np.clip(middle[beyond] - half[beyond], -np.pi / 2, np.pi / 2)
    north = np.clip(middle[beyond] + half[beyond], -np.pi / 2, np.pi / 2)
    middle[beyond], half[beyond] = (south + north) / 2, (north - south) / 2
    # Differences of sin φ and of q(φ) = sin φ / (1 - e² sin² φ) + artanh(e sin φ) / e without cancellation.
    low, high = np.sin(middle - half), np.sin(middle + half)
    rise = 2 * np.cos(middle) * np.sin(half)
    product = e2 * low * high
    first_term = rise * (1 + product) / ((1 - e2 * low**2) * (1 - e2 * high**2))
    inner = rise / (1 - product)
    second_term = np.arctanh(e * inner) / e if e > 0 else inner
    width = abs(geobox.transform.a) * unit
    return a**2 * (1 - e2) / 2 * (first_term + second_term) * width


def _geographic_steps(geobox: GeoBox, crs: pyproj.CRS, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, e2 = _radii(crs)
    unit = crs.axis_info[0].unit_conversion_factor
    latitude = (geobox.transform.f + geobox.transform.e * rows) * unit
    root = np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    east = a * np.abs(np.cos(latitude)) / root * abs(geobox.transform.a) * unit
    return east, a * (1 - e2) / root**3 * abs(geobox.transform.e) * unit


def _inverse_projection(crs: pyproj.CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)


def _ground_steps(
    geobox: GeoBox, crs: pyproj.CRS, inverse: pyproj.Transformer, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel area (m²), column step and row step (m) at pixel coordinates; not finite off the Earth."""
    affine = geobox.transform
    x = affine.a * cols.ravel() + affine.b * rows.ravel() + affine.c
    y = affine.d * cols.ravel() + affine.e * rows.ravel() + affine.f
    a, _ = _radii(crs)
    radius = (
        a / crs.axis_info[0].unit_conversion_factor
        if crs.is_projected
        else (1 / crs.axis_info[0].unit_conversion_factor)
    )
    by_x, by_y = _derivatives(crs, inverse, x, y, radius * _STENCIL_STEP)
    lost = ~np.isfinite(by_x + by_y).all(axis=0)
    if lost.any():  # a smaller stencil reaches closer to the edge of the projection
        by_x[:, lost], by_y[:, lost] = _derivatives(
            crs, inverse, x[lost], y[lost], radius * _STENCIL_STEP / 100
        )
    area = np.linalg.norm(np.cross(by_x, by_y, axis=0), axis=0) * abs(affine.determinant)
    east = np.linalg.norm(affine.a * by_x + affine.d * by_y, axis=0)
    south = np.linalg.norm(affine.b * by_x + affine.e * by_y, axis=0)
    return area.reshape(cols.shape), east.reshape(cols.shape), south.reshape(cols.shape)


def _derivatives(
    crs: pyproj.CRS, inverse: pyproj.Transformer, x: np.ndarray, y: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """∂P/∂x and ∂P/∂y (3, n) of the point P of the ellipsoid, in m per unit of the CRS."""
    a, e2 = _radii(crs)
    radian = crs.geodetic_crs.axis_info[0].unit_conversion_factor  # type: ignore[union-attr]

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        longitude, latitude = inverse.transform(x, y)
        longitude, latitude = np.asarray(longitude) * radian, np.asarray(latitude) * radian
        with np.errstate(invalid="ignore"):
            n = a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
            ring = n * np.cos(latitude)
            return np.stack(
                [ring * np.cos(longitude), ring * np.sin(longitude), n * (1 - e2) * np.sin(latitude)]
            )

    with np.errstate(invalid="ignore"):
        by_x: Any = sum(c * (place(x + k * step, y) - place(x - k * step, y)) for k, c in _STENCIL)
        by_y: Any = sum(c * (place(x, y + k * step) - place(x, y - k * step)) for k, c in _STENCIL)
    return by_x / step, by_y / step


def _fill(values: np.ndarray) -> np.ndarray:
    """Samples off the Earth get the value of the nearest sample in their row, or of the nearest such row.

    Where most samples agree, all get their value: an equal-area projection is so up to its edge, where its
    derivatives are noise.
    """
    middle = np.nanmedian(values)
    if (abs(values - middle) <= _EQUAL_AREA * middle).mean() > 0.5:
        return np.full_like(values, middle)
    if np.isfinite(values).all():
        return values
    frame = pd.DataFrame(np.where(np.isfinite(values), values, np.nan))
    return frame.ffill(axis=1).bfill(axis=1).ffill(axis=0).bfill(axis=0).to_numpy()


_ANGLES = np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1)
_TO_COEFFICIENTS = np.cos(np.outer(np.arange(_DEGREE + 1), _ANGLES)) * 2 / (_DEGREE + 1)
_TO_COEFFICIENTS[0] /= 2


def _panel_nodes(edges: np.ndarray) -> np.ndarray:
    start, stop = edges[:-1, None], edges[1:, None]
    return (start + (stop - start) * (1 + np.cos(_ANGLES)) / 2).ravel()


def _to_coefficients(samples: np.ndarray, row_panels: int, col_panels: int) -> np.ndarray:
    """Samples at the panels' nodes -> Chebyshev coefficients (row panel, row order, col panel, col order)."""
    n = _DEGREE + 1
    blocks = samples.reshape(row_panels, n, col_panels, n)
    return np.einsum("ai,piqj,bj->paqb", _TO_COEFFICIENTS, blocks, _TO_COEFFICIENTS)


def _chebyshev(s: np.ndarray, count: int = _DEGREE + 1) -> np.ndarray:
    """T_0..T_count-1 at s: (order, place). Sums and products only: the same bits for any number."""
    terms = [np.ones_like(s), s]
    while len(terms) < count:
        terms.append(2 * s * terms[-1] - terms[-2])
    return np.stack(terms[:count])


def _locate(edges: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The panel of each place and its coordinate -1..1 there."""
    panel = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
    return panel, 2 * (places - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1


def _evaluate(coefs: np.ndarray, edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Along the columns, order by order of the rows: (row panel, row order, place)."""
    panel, s = _locate(edges, places)
    return np.einsum("paxb,bx->pax", coefs[:, :, panel], _chebyshev(s))


def _integrate(coefs: np.ndarray, edges: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The integral along the columns from the first edge to each place: (row panel, row order, place)."""
    panel, s = _locate(edges, places)
    half = np.diff(edges) / 2

    def primitive(s: np.ndarray) -> np.ndarray:
        t = _chebyshev(s, _DEGREE + 2)
        order = np.arange(2, _DEGREE + 1)[:, None]
        higher = t[3:] / (2 * (order + 1)) - t[1:-2] / (2 * (order - 1))
        return np.concatenate([t[1:2], t[1:2] ** 2 / 2, higher])

    start = primitive(np.array([-1.0]))
    whole = np.einsum("paqb,b,q->paq", coefs, (primitive(np.array([1.0])) - start)[:, 0], half)
    before = np.concatenate([np.zeros_like(whole[..., :1]), np.cumsum(whole, axis=-1)], axis=-1)
    inside = np.einsum("paxb,bx->pax", coefs[:, :, panel], (primitive(s) - start) * half[panel])
    return before[..., panel] + inside


def _evaluate_both(
    coefs: np.ndarray, row_edges: np.ndarray, col_edges: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """Values on the lattice rows × cols."""
    panel, s = _locate(row_edges, rows)
    along = _evaluate(coefs, col_edges, cols)
    return np.einsum("yax,ay->yx", along[panel], _chebyshev(s))


def _with_middles(knots: np.ndarray) -> np.ndarray:
    return np.linspace(knots[0], knots[-1], 2 * len(knots) - 1)


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
