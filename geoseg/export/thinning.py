"""Scenes and class maps as small pictures, read window by window; so memory does not grow with the scene."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.classmap import iter_strips
from geoseg.export.drawing import NODATA_COLOR, rgb, steps_m

if TYPE_CHECKING:
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["centers", "thin_map", "thin_scene", "zoomed"]

_WINDOW_VALUES = 24_000_000  # of the file, that one read may touch
_SHOWN = ("red", "green", "blue")


def zoomed(grid: GeoBox, rows: int, cols: int) -> GeoBox:
    """The same ground in this many pixels."""
    affine = grid.transform * Affine.scale(grid.shape[1] / cols, grid.shape[0] / rows)
    return GeoBox((rows, cols), affine, grid.crs)


def thin_map(class_map: xr.DataArray, coarse: GeoBox) -> tuple[np.ndarray, dict[int, int]]:
    """The nearest class value at each pixel of the coarse grid, and how many pixels of the map have each."""
    rows = centers(class_map.shape[0], coarse.shape[0])
    cols = centers(class_map.shape[1], coarse.shape[1])
    values = np.empty(coarse.shape, class_map.dtype)
    counts: dict[int, int] = {}
    for row0, strip in iter_strips(class_map):
        inside = slice(*np.searchsorted(rows, (row0, row0 + len(strip))))
        values[inside] = strip[rows[inside] - row0][:, cols]
        if strip.dtype == np.uint8:
            found = np.bincount(strip.ravel(), minlength=256)
            pairs = [(int(value), int(found[value])) for value in np.flatnonzero(found)]
        else:
            finite = strip[np.isfinite(strip)]
            pairs = [
                (int(value), int(number)) for value, number in zip(*np.unique(finite, return_counts=True), strict=True)
            ]
        for value, number in pairs:
            counts[value] = counts.get(value, 0) + number
    return values, counts


def centers(fine: int, coarse: int) -> np.ndarray:
    """The fine pixel under the centre of each coarse one."""
    return np.minimum(((np.arange(coarse) + 0.5) * fine / coarse).astype(np.int64), fine - 1)


def thin_scene(scene: Scene, coarse: GeoBox) -> np.ndarray:
    """The scene on the coarse grid as uint8 (row, col, RGB), nodata in its colour."""
    names = _SHOWN if set(_SHOWN) <= set(scene.bands) else scene.bands[: 3 if len(scene.bands) >= 3 else 1]
    source = scene.select(tuple(names)) if tuple(names) != tuple(scene.bands) else scene
    ratio = math.sqrt(math.prod(steps_m(coarse))) / scene.resolution_m
    if ratio > 1.5:
        source = source.on_grid(ratio * scene.resolution_m)  # averages, and uses overviews where there are any
    values, valid = _sample(source, coarse, side=_side(len(names), ratio))
    if not (values.dtype == np.uint8 and tuple(names) == _SHOWN):
        values = _stretched(values, valid)
    picture = np.empty((*coarse.shape, 3), np.uint8)
    picture[:] = np.moveaxis(values, 0, -1)
    picture[~valid] = rgb(NODATA_COLOR)
    return picture


def _side(bands: int, ratio: float) -> int:
    """Side of the windows to read, in pixels that are `ratio` times as large as those of the file."""
    return max(1, math.isqrt(int(_WINDOW_VALUES / (bands * max(ratio, 1.0) ** 2))))


def _sample(source: Scene, coarse: GeoBox, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest pixels of the source on the coarse grid: values (band, row, col), valid (row, col)."""
    height, width = source.geobox.shape
    rows, cols = _pixel_places(coarse, source.geobox)
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    values = np.zeros((len(source.bands), *coarse.shape), source.dtype)
    valid = np.zeros(coarse.shape, bool)
    windows = rows // side * (width // side + 1) + cols // side
    places = np.flatnonzero(inside)
    places = places[np.argsort(windows.ravel()[places], kind="stable")]
    changes = np.flatnonzero(np.diff(windows.ravel()[places])) + 1
    for here in np.split(places, changes) if len(places) else ():
        r, c = rows.ravel()[here], cols.ravel()[here]
        top, left = int(r.min()), int(c.min())
        pixels = source.read(slice(top, int(r.max()) + 1), slice(left, int(c.max()) + 1))
        at = np.unravel_index(here, coarse.shape)
        values[:, at[0], at[1]] = pixels.values[:, r - top, c - left]
        valid[at] = pixels.valid[r - top, c - left]
    return values, valid


def _pixel_places(coarse: GeoBox, fine: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Row and column, in the fine grid, of each pixel centre of the coarse one; -1 where there is none."""
    col, row = np.meshgrid(np.arange(coarse.shape[1]) + 0.5, np.arange(coarse.shape[0]) + 0.5)
    x, y = _apply(coarse.transform, col, row)
    if coarse.crs != fine.crs:
        transformer = pyproj.Transformer.from_crs(str(coarse.crs), str(fine.crs), always_xy=True)
        x, y = transformer.transform(x, y)
    col, row = _apply(~fine.transform, x, y)
    there = np.isfinite(col) & np.isfinite(row)
    rows, cols = (np.where(there, np.floor(place), -1).astype(np.int64) for place in (row, col))
    return rows, cols


def _apply(affine: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = affine[:6]
    return a * x + b * y + c, d * x + e * y + f


def _stretched(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Each band as uint8, from its 2nd to its 98th percentile over the whole picture."""
    stretched = np.zeros(values.shape, np.uint8)
    for band, result in zip(values.astype(np.float64), stretched, strict=True):
        usable = band[valid & np.isfinite(band)]
        if usable.size:
            low, high = np.percentile(usable, (2, 98))
            scaled = (np.nan_to_num(band) - low) / max(high - low, np.finfo(float).tiny)
            result[:] = np.clip(scaled * 255, 0, 255).round()
    return stretched
