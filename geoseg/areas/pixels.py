"""How many square metres of the ellipsoid each pixel of a grid covers."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.areas.rows import add_runs, row_area_units
from geoseg.ellipsoid import Panels, has_equal_rows, plain_crs, row_areas, row_panels, row_steps, sample_panels

__all__ = ["PixelAreas"]

_PANEL_TOLERANCE = 1e-9
_PIXEL_TOLERANCE = 5e-8  # relative, of a pixel between two knots (the total between them is exact)
_LENGTH_TOLERANCE = 2e-6
_MAX_LENGTHS = 1024  # places along one axis of the grid of lengths
_WORST_PLACE = (1 - 3**-0.5) / 2  # where a quadratic that keeps both ends and the mean errs most


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
        add_runs(ids, col, *self.table(row, row + len(ids)), self.unit_m2, pixels, units)
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
