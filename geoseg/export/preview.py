"""A picture of a run: the scene beside its map, to see at a glance whether the map can be right.

Both are brought onto one coarse grid, that of the map with larger pixels, window by window; so memory does
not grow with the scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.classes import ClassInfo
from geoseg.classmap import class_names, classes_of, geobox_of, iter_strips, nodata_of
from geoseg.errors import OptionError
from geoseg.export.drawing import DPI, NODATA_COLOR, Entry, Layout, draw, rgb, steps_m
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pandas as pd
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["write_preview"]

_WINDOW_VALUES = 24_000_000  # of the file, that one read may touch
_SHOWN = ("red", "green", "blue")


def write_preview(
    path: str | os.PathLike[str],
    scene: Scene,
    class_map: xr.DataArray,
    *,
    title: str | None = None,
    areas: pd.DataFrame | None = None,
    width_px: int = 1600,
) -> Path:
    """Draw the scene beside its class map, with legend, scale bar and north arrow, as a PNG.

    The scene's red, green and blue bands are shown, or else its first three, or its first; uint8 RGB as it
    is, everything else stretched from the 2nd to the 98th percentile of the picture. Pixels without data are
    light grey in both. Large maps are thinned by taking the nearest pixel: class values are never averaged.

    Parameters
    ----------
    path
        The file, ``.png``; replaced when it is there.
    scene
        The scene; its grid need not be the map's.
    class_map
        A categorical (row, col) array with a grid.
    title
        The line above; the scene's name when left out.
    areas
        The table of `geoseg.areas.class_areas`: the legend then has shares of the true area. Without it the
        shares are those of the pixels.
    width_px
        Width of the picture, pixels, at least 600.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        `width_px` is too small, or the suffix is not ``.png``.
    SceneError
        The map has no grid, or the scene cannot be read.
    OutputError
        The file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"A preview is a PNG file, but its name is {target.name!r}. Let it end in .png.")
    if width_px < 600:
        raise OptionError(f"A preview is at least 600 pixels wide, but width_px={width_px}.")
    grid = geobox_of(class_map)
    layout = Layout.of(grid, width_px)
    coarse = _zoomed(grid, *layout.panel_shape)
    values, counts = _thin_map(class_map, coarse)
    picture = _thin_scene(scene, coarse)
    legend = _legend(class_map, counts, areas)
    figure = draw(layout, picture, _colored(values, legend), legend, title=title or scene.name, grid=coarse)
    with replacing(target) as beside:
        # No software name and no date in the file: equal input, equal bytes.
        figure.savefig(beside, dpi=DPI, metadata={"Software": None})
    return target


def _zoomed(grid: GeoBox, rows: int, cols: int) -> GeoBox:
    """The same ground in this many pixels."""
    affine = grid.transform * Affine.scale(grid.shape[1] / cols, grid.shape[0] / rows)
    return GeoBox((rows, cols), affine, grid.crs)


def _thin_map(class_map: xr.DataArray, coarse: GeoBox) -> tuple[np.ndarray, dict[int, int]]:
    """The nearest class value at each pixel of the coarse grid, and how many pixels of the map have each."""
    rows = _centers(class_map.shape[0], coarse.shape[0])
    cols = _centers(class_map.shape[1], coarse.shape[1])
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


def _centers(fine: int, coarse: int) -> np.ndarray:
    """The fine pixel under the centre of each coarse one."""
    return np.minimum(((np.arange(coarse) + 0.5) * fine / coarse).astype(np.int64), fine - 1)


def _thin_scene(scene: Scene, coarse: GeoBox) -> np.ndarray:
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


def _legend(class_map: xr.DataArray, counts: dict[int, int], areas: pd.DataFrame | None) -> list[Entry]:
    nodata = nodata_of(class_map)
    known = {info.value: info for info in classes_of(class_map, values=counts)}
    names = class_names(class_map)
    counts = {value: number for value, number in counts.items() if value != nodata}
    total = sum(counts.values())
    shares = {value: number / total for value, number in counts.items()}
    if areas is not None:
        by_class = areas[areas["class"].isin(list({*known, *counts}))]
        area = by_class["area_m2"].sum()
        shares = {int(v): a / area for v, a in zip(by_class["class"], by_class["area_m2"], strict=True) if area}
    entries = []
    for value in sorted({*known, *counts}):
        color = known[value].color if value in known else ClassInfo(value % 255, "any").color
        entries.append(Entry(value, names.get(value, f"class {value}"), color, shares.get(value, 0.0)))
    return entries


def _colored(values: np.ndarray, legend: Sequence[Entry]) -> np.ndarray:
    picture = np.empty((*values.shape, 3), np.uint8)
    picture[:] = rgb(NODATA_COLOR)
    for entry in legend:
        picture[values == entry.value] = rgb(entry.color)
    return picture
