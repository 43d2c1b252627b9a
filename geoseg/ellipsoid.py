"""How pixels lie on the ellipsoid: the area of a pixel and the lengths of its sides, at any place of a grid.

For any projection the area element is ``|∂P/∂x × ∂P/∂y|``, where P(x, y) is the point of the ellipsoid in space
that the inverse projection gives. P is smooth across the poles and the date line, so it can be differentiated
with wide stencils (error about 1e-12), and units, rotation and shear are included. `sample_panels` turns a few
hundred such samples into piecewise Chebyshev polynomials that hold over the whole grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyproj
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError

__all__ = [
    "Panels",
    "ground_frames",
    "ground_steps",
    "has_equal_rows",
    "horizontal_crs",
    "plain_crs",
    "row_areas",
    "row_panels",
    "row_steps",
    "sample_panels",
]

_DEGREE = 12  # of the Chebyshev panels; they are halved until their last coefficients are small enough
_MAX_PANELS = 1024
_WORST_PANEL = 3e-6  # accepted where the projection itself is noisy: at the edge of a global map
_EQUAL_AREA = 2e-9  # when half of the samples agree as well as this, the projection is equal-area
_ROW_PANEL = np.pi / 12  # of latitude: the 13th coefficient is below 1e-16
_STENCIL = ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60))  # central difference of sixth order
_STENCIL_STEP = 2e-3  # of the ellipsoid's radius: truncation 1e-17 and rounding 1e-13
_GAUSS = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))
_ANGLES = np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1)
_TO_COEFFICIENTS = np.cos(np.outer(np.arange(_DEGREE + 1), _ANGLES)) * 2 / (_DEGREE + 1)
_TO_COEFFICIENTS[0] /= 2


def plain_crs(geobox: GeoBox) -> pyproj.CRS:
    """The horizontal CRS of a grid, without its vertical part and its datum shift.

    Raises
    ------
    SceneError
        There is no CRS, or it is not tied to an ellipsoid.

    >>> plain_crs(GeoBox.from_bbox((0, 0, 1, 1), "EPSG:4326", resolution=1)).ellipsoid.name
    'WGS 84'
    """
    if geobox.crs is None:
        raise SceneError("Areas need a CRS, but the raster has none. Give it with --crs (crs=).")
    return horizontal_crs(pyproj.CRS.from_user_input(geobox.crs.to_wkt()))


def horizontal_crs(crs: pyproj.CRS) -> pyproj.CRS:
    """A CRS without its vertical part and its datum shift.

    Raises
    ------
    SceneError
        It is not tied to an ellipsoid.

    >>> horizontal_crs(pyproj.CRS("EPSG:7415")).name
    'Amersfoort / RD New'
    """
    while crs.is_bound or crs.is_compound:
        crs = crs.source_crs if crs.is_bound else crs.sub_crs_list[0]  # type: ignore[assignment]
    if crs.ellipsoid is None or crs.geodetic_crs is None or crs.is_geocentric:
        raise SceneError(
            f"Areas need a CRS that is tied to an ellipsoid, but {crs.name!r} is not. Give one with --crs."
        )
    return crs


def has_equal_rows(geobox: GeoBox, crs: pyproj.CRS) -> bool:
    """Whether the grid is geographic and north-up (or south-up), so that the pixels of a row are equal."""
    return crs.is_geographic and not crs.is_derived and geobox.transform.b == 0 and geobox.transform.d == 0


def row_areas(geobox: GeoBox, crs: pyproj.CRS) -> np.ndarray:
    """The area of one pixel of each row of a geographic north-up grid: float64 (row,), m².

    Closed form (authalic area, Snyder 1987, "Map Projections: A Working Manual", eq. 3-12), as a difference
    in which nothing cancels, however small the pixels are.
    """
    a, e2 = _radii(crs)
    e = np.sqrt(e2)
    unit = crs.axis_info[0].unit_conversion_factor
    step, first = geobox.transform.e * unit, geobox.transform.f * unit
    middle = first + step * (np.arange(geobox.shape[0]) + 0.5)
    half = np.full_like(middle, abs(step) / 2)
    beyond = np.abs(middle) + half > np.pi / 2  # with pixel centres at the poles only the half counts
    south = np.clip(middle[beyond] - half[beyond], -np.pi / 2, np.pi / 2)
    north = np.clip(middle[beyond] + half[beyond], -np.pi / 2, np.pi / 2)
    middle[beyond], half[beyond] = (south + north) / 2, (north - south) / 2
    # q(φ) = sin φ / (1 - e² sin² φ) + artanh(e sin φ) / e: each term as a difference.
    low, high = np.sin(middle - half), np.sin(middle + half)
    rise = 2 * np.cos(middle) * np.sin(half)
    product = e2 * low * high
    rational = rise * (1 + product) / ((1 - e2 * low**2) * (1 - e2 * high**2))
    inner = rise / (1 - product)
    inverse_tanh = np.arctanh(e * inner) / e if e > 0 else inner
    return a**2 * (1 - e2) / 2 * (rational + inverse_tanh) * abs(geobox.transform.a) * unit


def row_steps(geobox: GeoBox, crs: pyproj.CRS, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length of a column step and of a row step at rows of a geographic north-up grid, m."""
    a, e2 = _radii(crs)
    unit = crs.axis_info[0].unit_conversion_factor
    latitude = (geobox.transform.f + geobox.transform.e * rows) * unit
    root = np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    east = a * np.abs(np.cos(latitude)) / root * abs(geobox.transform.a) * unit
    return east, a * (1 - e2) / root**3 * abs(geobox.transform.e) * unit


def row_panels(geobox: GeoBox, crs: pyproj.CRS) -> tuple[np.ndarray, np.ndarray]:
    """The pixel area at any row coordinate of a geographic north-up grid, as Chebyshev polynomials, m².

    Returns
    -------
    row_edges, coefs
        float64 (panel + 1,) and (panel, order). Panels end at the poles; beyond a pole there is no area.
    """
    unit = crs.axis_info[0].unit_conversion_factor
    height, affine = geobox.shape[0], geobox.transform
    count = int(np.ceil(height * abs(affine.e) * unit / _ROW_PANEL)) + 1
    poles = (np.array([-np.pi / 2, np.pi / 2]) / unit - affine.f) / affine.e
    inside = poles[(poles > 0) & (poles < height)]
    edges = np.unique(np.concatenate([np.linspace(0, height, count), inside]))
    areas = np.prod(row_steps(geobox, crs, _nodes(edges)), axis=0).reshape(-1, _DEGREE + 1)
    middle = (affine.f + affine.e * (edges[1:] + edges[:-1]) / 2) * unit
    areas[np.abs(middle) > np.pi / 2] = 0
    return edges, areas @ _TO_COEFFICIENTS.T


def ground_steps(
    geobox: GeoBox, crs: pyproj.CRS, *, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixel area (m²), lengths of a column and a row step (m) and the cosine of the angle between them.

    At pixel coordinates; not finite off the Earth.
    """
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    affine = geobox.transform
    x = affine.a * cols.ravel() + affine.b * rows.ravel() + affine.c
    y = affine.d * cols.ravel() + affine.e * rows.ravel() + affine.f
    radius = _radii(crs)[0] if crs.is_projected else 1.0
    step = radius / crs.axis_info[0].unit_conversion_factor * _STENCIL_STEP
    with np.errstate(invalid="ignore"):
        by_x, by_y = _derivatives(crs, inverse, x, y, step)
        lost = ~np.isfinite(by_x + by_y).all(axis=0)
        if lost.any():  # a smaller stencil reaches closer to the edge of the projection
            by_x[:, lost], by_y[:, lost] = _derivatives(crs, inverse, x[lost], y[lost], step / 100)
        area = np.linalg.norm(np.cross(by_x, by_y, axis=0), axis=0) * abs(affine.determinant)
        east = np.linalg.norm(affine.a * by_x + affine.d * by_y, axis=0)
        south = np.linalg.norm(affine.b * by_x + affine.e * by_y, axis=0)
        product = ((affine.a * by_x + affine.d * by_y) * (affine.b * by_x + affine.e * by_y)).sum(axis=0)
        results = area, east, south, product / (east * south)
    return tuple(values.reshape(cols.shape) for values in results)  # type: ignore[return-value]


def ground_frames(crs: pyproj.CRS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Matrices that turn small steps in a CRS into metres on the ground: float64 (place, 2, 2).

    Not finite off the Earth. A step (dx, dy) near a place is as long as ``frame @ (dx, dy)``, and angles are true;
    the first axis stays where it is (the Cholesky factor of the metric).

    >>> ground_frames(pyproj.CRS("EPSG:4326"), np.array([10.0]), np.array([60.0]))[0].diagonal().round(1).tolist()
    [55800.0, 111412.3]
    """
    crs = horizontal_crs(crs)
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    radius = _radii(crs)[0] if crs.is_projected else 1.0
    step = radius / crs.axis_info[0].unit_conversion_factor * _STENCIL_STEP / 100
    frames = np.zeros((len(x), 2, 2))
    with np.errstate(invalid="ignore"):
        by_x, by_y = _derivatives(crs, inverse, x, y, step)
        frames[:, 0, 0] = np.linalg.norm(by_x, axis=0)
        frames[:, 0, 1] = (by_x * by_y).sum(axis=0) / frames[:, 0, 0]
        frames[:, 1, 1] = np.linalg.norm(np.cross(by_x, by_y, axis=0), axis=0) / frames[:, 0, 0]
    return frames


def _radii(crs: pyproj.CRS) -> tuple[float, float]:
    """Semi-major axis (m) and squared eccentricity of the ellipsoid."""
    a, b = crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre  # type: ignore[union-attr]
    return a, 1 - (b / a) ** 2


def _derivatives(
    crs: pyproj.CRS, inverse: pyproj.Transformer, x: np.ndarray, y: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """∂P/∂x and ∂P/∂y (3, n), in m per unit of the CRS."""
    a, e2 = _radii(crs)
    radian = crs.geodetic_crs.axis_info[0].unit_conversion_factor  # type: ignore[union-attr]

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        longitude, latitude = inverse.transform(x, y)
        longitude, latitude = np.asarray(longitude) * radian, np.asarray(latitude) * radian
        n = a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
        ring = n * np.cos(latitude)
        return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), n * (1 - e2) * np.sin(latitude)])

    by_x: Any = sum(c * (place(x + k * step, y) - place(x - k * step, y)) for k, c in _STENCIL)
    by_y: Any = sum(c * (place(x, y + k * step) - place(x, y - k * step)) for k, c in _STENCIL)
    return by_x / step, by_y / step


@dataclass(frozen=True)
class Panels:
    """Smooth functions over a grid, as Chebyshev polynomials on panels of rows × columns."""

    row_edges: np.ndarray
    """int64 (row panel + 1,): whole rows."""
    col_edges: np.ndarray
    """float64 (col panel + 1,)"""
    coefs: np.ndarray
    """float64 (function, row panel, row order, col panel, col order)"""

    def along_columns(self, cols: np.ndarray) -> np.ndarray:
        """Values at columns, still by order along the rows: (function, row panel, row order, col)."""
        panel, s = _locate(self.col_edges, cols)
        return np.einsum("fpaxb,bx->fpax", self.coefs[:, :, :, panel], _chebyshev(s))

    def integrals(self, cols: np.ndarray) -> np.ndarray:
        """Integrals from column 0 to each column, shaped like `along_columns`."""
        panel, s = _locate(self.col_edges, cols)
        half = np.diff(self.col_edges) / 2
        start = _primitives(np.array([-1.0]))
        whole = np.einsum("fpaqb,b,q->fpaq", self.coefs, (_primitives(np.array([1.0])) - start)[:, 0], half)
        before = np.cumsum(whole, axis=-1) - whole
        inside = np.einsum("fpaxb,bx->fpax", self.coefs[:, :, :, panel], (_primitives(s) - start) * half[panel])
        return before[..., panel] + inside

    def lattice(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Values at rows × columns: (function, row, col)."""
        panel, s = _locate(self.row_edges, rows)
        return np.einsum("fyax,ay->fyx", self.along_columns(cols)[:, panel], _chebyshev(s))

    def row_weights(self, panel: int, rows: np.ndarray) -> np.ndarray:
        """What turns orders along the rows into means over each whole row of a panel: (order, row).

        Only sums and products, element by element: a row gets the same bits whichever rows it comes with.
        """
        start, stop = self.row_edges[panel : panel + 2]
        weights: Any = sum(
            weight * _chebyshev(2 * (rows + place - start) / (stop - start) - 1) for place, weight in _GAUSS
        )
        return weights


def sample_panels(geobox: GeoBox, crs: pyproj.CRS, *, of: str, tolerance: float) -> Panels:
    """Panels fine enough for a relative error of about ``tolerance``.

    Parameters
    ----------
    of
        ``"area"``: one function, the pixel area. ``"steps"``: two, the column step and the row step.
    tolerance
        The last coefficients of a panel are at most this part of its first. Beside a singular point of the
        projection (a pole on the edge of a global map) it may not be reached.

    Raises
    ------
    SceneError
        No pixel lies on the Earth, or the projection breaks inside the grid.
    """
    height, width = geobox.shape
    chosen = slice(0, 1) if of == "area" else slice(1, 3)
    counts = [1, 1]
    best, panels = np.inf, None
    while counts[0] * counts[1] <= _MAX_PANELS and (best > tolerance):
        rows = np.unique(np.round(np.linspace(0, height, counts[0] + 1)).astype(np.int64))
        edges = np.linspace(0, width, counts[1] + 1)
        cols_grid, rows_grid = np.meshgrid(_nodes(edges), _nodes(rows))
        samples = ground_steps(geobox, crs, cols=cols_grid, rows=rows_grid)[chosen]
        if not np.isfinite(samples[0]).any():
            raise SceneError(
                f"Areas need pixels that lie on the Earth, but no pixel of this grid ({crs.name}) lies inside "
                "its projection. Check the georeference, or give the right one with --crs."
            )
        blocks = np.stack([_fill(values) for values in samples]).reshape(
            len(samples), len(rows) - 1, _DEGREE + 1, counts[1], _DEGREE + 1
        )
        coefs = np.einsum("ai,fpiqj,bj->fpaqb", _TO_COEFFICIENTS, blocks, _TO_COEFFICIENTS)
        size = abs(coefs)
        tails = [(tail / size[:, :, :1, :, :1]).max() for tail in (size[:, :, -2:], size[..., -2:])]
        if max(tails) < best:
            best, panels = max(tails), Panels(rows, edges, coefs)
        fine = [tails[0] <= tolerance or len(rows) > height, tails[1] <= tolerance]
        if all(fine):
            break
        counts = [n if good else n * 2 for n, good in zip(counts, fine, strict=True)]
    if panels is None or (of == "area" and best > _WORST_PANEL):
        raise SceneError(
            f"Areas need a projection that is smooth over the whole grid, but {crs.name} breaks inside it (or "
            "the grid reaches beyond its edge). Cut the raster to where the projection is defined, or "
            "reproject it."
        )
    return panels


def _fill(values: np.ndarray) -> np.ndarray:
    """Samples off the Earth get the value of the nearest sample in their row, or of the nearest such row.

    Where most samples agree, all get their value: an equal-area projection is so up to its edge, where its
    derivatives are noise.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    middle = np.nanmedian(values)
    if (abs(values - middle) <= _EQUAL_AREA * middle).mean() > 0.5:
        return np.full_like(values, middle)
    if np.isfinite(values).all():
        return values
    return pd.DataFrame(values).ffill(axis=1).bfill(axis=1).ffill(axis=0).bfill(axis=0).to_numpy()


def _nodes(edges: np.ndarray) -> np.ndarray:
    start, stop = edges[:-1, None], edges[1:, None]
    return (start + (stop - start) * (1 + np.cos(_ANGLES)) / 2).ravel()


def _locate(edges: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The panel of each place and its coordinate -1..1 there."""
    panel = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
    return panel, 2 * (places - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1


def _chebyshev(s: np.ndarray, count: int = _DEGREE + 1) -> np.ndarray:
    """T_0 .. T_(count-1) at s: (order, place)."""
    terms = [np.ones_like(s), s]
    while len(terms) < count:
        terms.append(2 * s * terms[-1] - terms[-2])
    return np.stack(terms)


def _primitives(s: np.ndarray) -> np.ndarray:
    """Integrals of T_0 .. T_degree: (order, place)."""
    t = _chebyshev(s, _DEGREE + 2)
    order = np.arange(2, _DEGREE + 1)[:, None]
    higher = t[3:] / (2 * (order + 1)) - t[1:-2] / (2 * (order - 1))
    return np.concatenate([t[1:2], t[1:2] ** 2 / 2, higher])
