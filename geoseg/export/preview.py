"""A picture of a run: the scene beside its map, to see at a glance whether the map can be right.

Both are brought onto one coarse grid, that of the map with larger pixels, window by window; so memory does
not grow with the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.classes import ClassInfo
from geoseg.classmap import class_names, classes_of, geobox_of, nodata_of
from geoseg.errors import OptionError
from geoseg.export.drawing import DPI, NODATA_COLOR, Entry, Layout, draw, rgb
from geoseg.export.thinning import thin_map, thin_scene, zoomed
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pandas as pd
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["write_preview"]


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
    coarse = zoomed(grid, *layout.panel_shape)
    values, counts = thin_map(class_map, coarse)
    picture = thin_scene(scene, coarse)
    legend = _legend(class_map, counts, areas)
    figure = draw(layout, picture, _colored(values, legend), legend, title=title or scene.name, grid=coarse)
    with replacing(target) as beside:
        # No software name and no date in the file: equal input, equal bytes.
        figure.savefig(beside, dpi=DPI, metadata={"Software": None})
    return target


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
