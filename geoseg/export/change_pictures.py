"""Pictures of change: before, after and what changed side by side; the areas of classes over time.

Only matplotlib's objects are used, never pyplot. Maps are thinned by taking the nearest pixel, strip by strip.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from odc.geo.geobox import GeoBox

from geoseg.classmap import class_names, classes_of, geobox_of, iter_strips
from geoseg.errors import OptionError
from geoseg.export.drawing import (
    DPI,
    NODATA_COLOR,
    Layout,
    clipped,
    draw_north,
    draw_patches,
    draw_scale,
    rgb,
    steps_m,
)
from geoseg.export.thinning import centers, zoomed
from geoseg.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["change_panel_shape", "write_change_preview", "write_series_plot"]

_MARGIN_PX, _TITLE_PX, _FOOT_PX, _ROW_PX = 24, 62, 54, 23
_STRIP_ROWS = 64
_STABLE_COLOR = "#d3d3cd"
_MOST_LINES = 10  # of a legend
_MARKERS = "osD^vP*X"
_INK = "#333333"
_Line = tuple[str, str]  # of a legend: colour and text


@dataclass(frozen=True)
class _Three(Layout):
    """Three panels in a row, their legends below."""

    legend_rows: int = 1
    """Lines of the longer legend."""

    @classmethod
    def around(cls, grid: GeoBox, width_px: int, legend_rows: int) -> _Three:
        across_m, down_m = steps_m(grid)
        aspect = grid.shape[0] * down_m / (grid.shape[1] * across_m)
        wide = (width_px - 4 * _MARGIN_PX) // 3
        high = round(wide * aspect)
        if high > width_px:
            wide, high = round(width_px / aspect), width_px
        return cls((max(high, 8), max(wide, 8)), False, width_px, legend_rows)

    @property
    def height_px(self) -> int:
        return _TITLE_PX + self.panel_shape[0] + _MARGIN_PX + self.legend_rows * _ROW_PX + _FOOT_PX

    def boxes(self) -> list[tuple[float, float, float, float]]:
        rows, cols = self.panel_shape
        bottom = self.height_px - _TITLE_PX - rows
        return [self.part(self.left_px(n), bottom, cols, rows) for n in range(3)]

    def left_px(self, number: int) -> int:
        """Where a third of the picture begins."""
        return _MARGIN_PX + number * (self.width_px - _MARGIN_PX) // 3

    def legend_left_px(self) -> int:  # the north arrow stands there
        return self.width_px - _MARGIN_PX - 30


def write_change_preview(
    path: str | os.PathLike[str],
    before: xr.DataArray,
    after: xr.DataArray,
    change: xr.DataArray,
    *,
    changes: Sequence[int],
    areas: pd.DataFrame,
    title: str,
    captions: tuple[str, str] = ("before", "after"),
    width_px: int = 1600,
) -> Path:
    """Draw two class maps and the map of change side by side, with legends, scale bar and north arrow, as a PNG.

    Changes have their colours, all that stayed is grey; pixels without data are lighter.

    Parameters
    ----------
    path
        The file, ``.png``; replaced when it is there.
    before, after, change
        Class maps of one place; the first two with one legend. They may be as coarse as `change_panel_shape`.
    changes
        The codes of `change` that are changes.
    areas
        The table of `geoseg.class_areas` of `change`, for its legend.
    title
        The line above.
    captions
        What stands above the first two panels.
    width_px
        Width of the picture, pixels, at least 900.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        `width_px` is too small, or the suffix is not ``.png``.
    OutputError
        The file cannot be written.
    """
    target = _png(path)
    if width_px < 900:
        raise OptionError(f"A preview of change is at least 900 pixels wide, but width_px={width_px}.")
    grid = geobox_of(change)
    classes = _class_lines(after, with_nodata=areas.attrs.get("invalid_pixels", 0) > 0)
    half = -(-len(classes) // 2)
    legends = classes[:half], classes[half:], _change_lines(change, changes, areas)
    layout = _Three.around(grid, width_px, max(map(len, legends)))
    coarse = zoomed(grid, *layout.panel_shape)
    cover = {info.value: info.color for info in classes_of(after)}
    moved = {info.value: info.color if info.value in changes else _STABLE_COLOR for info in classes_of(change)}
    pictures = [
        _colored(_thinned(da, layout.panel_shape), colors)
        for da, colors in ((before, cover), (after, cover), (change, moved))
    ]
    figure = _draw(layout, pictures, legends, title, (*captions, "change"), coarse)
    with replacing(target) as beside:
        # No software name and no date in the file: equal input, equal bytes.
        figure.savefig(beside, dpi=DPI, metadata={"Software": None})
    return target


def write_series_plot(
    path: str | os.PathLike[str],
    series: pd.DataFrame,
    *,
    places: Sequence[float],
    labels: Sequence[str],
    colors: Mapping[str, str],
    title: str,
) -> Path:
    """Draw the area of each class over time, each line with its name at its end, as a PNG.

    Parameters
    ----------
    path
        The file, ``.png``; replaced when it is there.
    series
        The table of `geoseg.change.class_series`.
    places
        Where each map stands on the time axis: years, or 1, 2, 3.
    labels
        What is written there.
    colors
        ``#rrggbb`` of each class, by name. Lines also differ by their markers.
    title
        The line above.

    Raises
    ------
    OptionError
        The suffix is not ``.png``.
    OutputError
        The file cannot be written.
    """
    target = _png(path)
    figure = Figure(figsize=(9.6, 5.4), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.11, 0.68, 0.77))
    wide = series.pivot(index="map", columns="class_name", values="area_ha")
    wide = wide[[name for name in series["class_name"].unique() if wide[name].max() > 0]]
    factor, unit = (0.01, "km²") if wide.to_numpy().max(initial=0) >= 1e5 else (1.0, "ha")
    ends: dict[str, float] = {}
    for number, name in enumerate(map(str, wide)):
        heights = wide[name].to_numpy() * factor
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot(places, heights, marker=marker, color=colors[name], linewidth=2, markersize=6, clip_on=False)
        ends[name] = float(heights[-1])
    top = float(wide.to_numpy().max(initial=0)) * factor
    axes.set_ylim(0, top * 1.06 or 1)
    axes.set_xticks(list(places), list(labels))
    if sum(map(len, labels)) > 70:
        axes.tick_params(axis="x", labelrotation=30)
    axes.set_xlim(min(places), max(places))
    axes.set_ylabel(f"area where all maps have a class, {unit}", color=_INK)
    axes.set_title(clipped(title, 90), loc="left", fontsize=12, color=_INK, parse_math=False)
    axes.grid(axis="y", color="#e4e4e0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for name, height in _apart(ends, 0.052 * top * 1.06).items():
        marker = _MARKERS[list(wide).index(name) % len(_MARKERS)]
        at = 1.03, height / (top * 1.06 or 1)
        axes.plot(*at, marker=marker, color=colors[name], transform=axes.transAxes, clip_on=False, markersize=6)
        text = f"{clipped(str(name), 22)}  {ends[name]:,.4g} {unit}"
        axes.text(
            at[0] + 0.025, at[1], text, va="center", color=_INK, fontsize=10, transform=axes.transAxes, parse_math=False
        )
    with replacing(target) as beside:
        figure.savefig(beside, dpi=DPI, metadata={"Software": None})
    return target


def _apart(ends: Mapping[str, float], step: float) -> dict[str, float]:
    """Heights of labels that do not cover each other, as near to the ends of their lines as that allows.

    >>> _apart({"a": 10.0, "b": 10.5, "c": 30.0}, 2.0)
    {'a': 9.25, 'b': 11.25, 'c': 30.0}
    """
    groups: list[tuple[list[str], float]] = []  # names from below, middle
    for name, height in sorted(ends.items(), key=lambda item: item[1]):
        names, middle = [name], height
        while groups and groups[-1][1] + (len(groups[-1][0]) + len(names)) / 2 * step > middle:
            below, _ = groups.pop()
            names = below + names
            middle = max(sum(ends[n] for n in names) / len(names), (len(names) - 1) / 2 * step)
        groups.append((names, middle))
    return {
        name: middle + (number - (len(names) - 1) / 2) * step
        for names, middle in groups
        for number, name in enumerate(names)
    }


def _png(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OptionError(f"A picture is a PNG file, but its name is {target.name!r}. Let it end in .png.")
    return target


def change_panel_shape(grid: GeoBox, width_px: int = 1600) -> tuple[int, int]:
    """Rows and columns of each map in a picture of `write_change_preview`."""
    return _Three.around(grid, width_px, 1).panel_shape


def _thinned(da: xr.DataArray, shape: tuple[int, int]) -> np.ndarray:
    """The nearest pixel at each of so many places."""
    rows, cols = (centers(many, few) for few, many in zip(shape, da.shape, strict=True))
    values = np.empty(shape, da.dtype)
    for row0, strip in iter_strips(da, rows=_STRIP_ROWS):
        inside = slice(*np.searchsorted(rows, (row0, row0 + len(strip))))
        values[inside] = strip[rows[inside] - row0][:, cols]
    return values


def _colored(values: np.ndarray, colors: Mapping[int, str]) -> np.ndarray:
    picture = np.empty((*values.shape, 3), np.uint8)
    picture[:] = rgb(NODATA_COLOR)
    for value, color in colors.items():
        picture[values == value] = rgb(color)
    return picture


def _class_lines(da: xr.DataArray, *, with_nodata: bool) -> list[_Line]:
    infos = classes_of(da)
    lines = [(info.color, clipped(info.name, 50)) for info in infos[: 2 * _MOST_LINES]]
    if len(infos) > len(lines):
        lines.append(("#ffffff", f"and {len(infos) - len(lines)} more"))
    return [*lines, (NODATA_COLOR, "no data in one of the maps")] if with_nodata else lines


def _change_lines(change: xr.DataArray, changes: Sequence[int], areas: pd.DataFrame) -> list[_Line]:
    names, colors = class_names(change), {info.value: info.color for info in classes_of(change)}
    shown = areas[areas["class"].isin(list(changes)) & (areas["pixels"] > 0)]
    shown = shown.sort_values("area_m2", ascending=False, kind="stable")
    lines = [
        (colors[row["class"]], f"{clipped(names[row['class']], 40)}   {_ha(row['area_ha'])} ha, {_share(row['share'])}")
        for row in shown.head(_MOST_LINES).to_dict(orient="records")
    ]
    left = shown.iloc[len(lines) :]
    if len(left):
        lines.append(("#ffffff", f"and {len(left)} more   {_ha(left['area_ha'].sum())} ha"))
    return [*lines, (_STABLE_COLOR, "no change" if lines else "no change at all")]


def _ha(area: float) -> str:
    return f"{area:,.0f}" if area >= 100 else f"{area:,.3g}"


def _share(share: float) -> str:
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"


def _draw(
    layout: _Three,
    pictures: Sequence[np.ndarray],
    legends: Sequence[list[_Line]],
    title: str,
    captions: Sequence[str],
    coarse: GeoBox,
) -> Figure:
    figure = Figure(figsize=(layout.width_px / DPI, layout.height_px / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for image, caption, box in zip(pictures, captions, layout.boxes(), strict=True):
        axes = figure.add_axes(box)
        axes.imshow(image, interpolation="none", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(caption, fontsize=10, loc="left", color="#444444", pad=4, parse_math=False)
        for spine in axes.spines.values():
            spine.set(color="#888888", linewidth=0.8)
    top = 1 - 14 / layout.height_px
    text = clipped(title, layout.width_px // 11)
    figure.text(_MARGIN_PX / layout.width_px, top, text, fontsize=14, va="top", parse_math=False)
    for number, lines in enumerate(legends):
        _draw_legend(figure, layout, number, lines)
    draw_scale(figure, layout, coarse)
    draw_north(figure, layout, coarse)
    return figure


def _draw_legend(figure: Figure, layout: _Three, third: int, lines: list[_Line]) -> None:
    if not lines:
        return
    handles = [
        Patch(facecolor=color, edgecolor="#666666" if color != "#ffffff" else "#ffffff", linewidth=0.5, label=text)
        for color, text in lines
    ]
    top = layout.height_px - _TITLE_PX - layout.panel_shape[0] - _MARGIN_PX // 2
    draw_patches(figure, handles, (layout.left_px(third) / layout.width_px, top / layout.height_px))
