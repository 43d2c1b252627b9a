"""How a preview is laid out and drawn: panels, legend, scale bar, north arrow.

Only matplotlib's objects are used, never pyplot: no state is shared with the program around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from odc.geo.geobox import GeoBox

from geoseg.classes import ClassInfo

__all__ = [
    "DPI",
    "NODATA_COLOR",
    "Entry",
    "Layout",
    "clipped",
    "draw",
    "draw_north",
    "draw_patches",
    "draw_scale",
    "rgb",
    "round_length",
    "steps_m",
    "up_azimuth",
]

DPI = 100
NODATA_COLOR = "#e9e9e6"
_MARGIN_PX = 24
_TITLE_PX = 62
_FOOT_PX = 54
_LEGEND_PX = 300
_ROW_PX = 24


@dataclass(frozen=True)
class Layout:
    """Where things are, in pixels of the picture."""

    panel_shape: tuple[int, int]
    """Rows and columns of either panel."""
    stacked: bool
    """One panel above the other, for scenes much wider than high."""
    width_px: int
    """Width of the whole picture."""

    @classmethod
    def of(cls, grid: GeoBox, width_px: int) -> Layout:
        across_m, down_m = steps_m(grid)
        aspect = (grid.shape[0] * down_m) / (grid.shape[1] * across_m)
        stacked = aspect < 0.45
        room = width_px - _LEGEND_PX - 2 * _MARGIN_PX
        wide = room if stacked else (room - _MARGIN_PX) // 2
        high = round(wide * aspect)
        limit = round(1.5 * width_px)
        if high > limit:
            wide, high = round(limit / aspect), limit
        return cls((max(high, 8), max(wide, 8)), stacked, width_px)

    @property
    def height_px(self) -> int:
        panels = self.panel_shape[0] * (2 if self.stacked else 1) + (_MARGIN_PX * 2 if self.stacked else 0)
        return _TITLE_PX + max(panels, 240) + _FOOT_PX

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Left, bottom, width, height of both panels, as parts of the picture."""
        rows, cols = self.panel_shape
        right, down = (0, rows + 2 * _MARGIN_PX) if self.stacked else (cols + _MARGIN_PX, 0)
        top = self.height_px - _TITLE_PX
        return [self.part(_MARGIN_PX + n * right, top - rows - n * down, cols, rows) for n in (0, 1)]

    def legend_left_px(self) -> int:
        cols = self.panel_shape[1] * (1 if self.stacked else 2) + (0 if self.stacked else _MARGIN_PX)
        return cols + 2 * _MARGIN_PX

    def part(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.width_px, bottom / self.height_px, width / self.width_px, height / self.height_px


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    value: int
    """The class value."""
    name: str
    """The class's name."""
    color: str
    """``#rrggbb``."""
    share: float
    """Part of the valid area, 0–1."""


def rgb(color: str) -> tuple[int, int, int]:
    return ClassInfo(0, "any", color).rgb


def draw(
    layout: Layout,
    picture: np.ndarray,
    cover: np.ndarray,
    legend: Sequence[Entry],
    *,
    title: str,
    grid: GeoBox,
) -> Figure:
    figure = Figure(figsize=(layout.width_px / DPI, layout.height_px / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for image, caption, box in zip((picture, cover), ("scene", "class map"), layout.boxes(), strict=True):
        axes = figure.add_axes(box)
        axes.imshow(image, interpolation="none", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(caption, fontsize=10, loc="left", color="#444444", pad=4)
        for spine in axes.spines.values():
            spine.set(color="#888888", linewidth=0.8)
    figure.text(
        _MARGIN_PX / layout.width_px,
        1 - 14 / layout.height_px,
        clipped(title, max(20, layout.width_px // 11)),
        fontsize=14,
        va="top",
        parse_math=False,
    )
    _draw_legend(figure, layout, legend, has_nodata=bool((cover == rgb(NODATA_COLOR)).all(axis=-1).any()))
    draw_scale(figure, layout, grid)
    draw_north(figure, layout, grid)
    return figure


def _draw_legend(figure: Figure, layout: Layout, legend: Sequence[Entry], *, has_nodata: bool) -> None:
    room = (layout.height_px - _TITLE_PX - 100) // _ROW_PX - has_nodata
    shown = list(legend)
    if len(shown) > room:  # the rarest are left out, the order stays
        kept = sorted(shown, key=lambda entry: -entry.share)[: max(room - 1, 1)]
        shown = [entry for entry in shown if entry in kept]
    handles = [Patch(facecolor=entry.color, edgecolor="#666666", linewidth=0.5, label=_line(entry)) for entry in shown]
    if len(shown) < len(legend):
        handles.append(Patch(alpha=0, label=f"and {len(legend) - len(shown)} more"))
    if has_nodata:
        handles.append(Patch(facecolor=NODATA_COLOR, edgecolor="#666666", linewidth=0.5, label="no data"))
    anchor = layout.legend_left_px() / layout.width_px, 1 - _TITLE_PX / layout.height_px
    draw_patches(figure, handles, anchor)


def draw_patches(figure: Figure, handles: Sequence[Patch], anchor: tuple[float, float]) -> None:
    """Patches with their names, from a place on downwards; a name is text, also where it looks like mathematics."""
    box = figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=anchor,
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        fontsize=10,
        handlelength=1.4,
        handleheight=1.2,
    )
    for text in box.get_texts():
        text.set_parse_math(False)


def _line(entry: Entry) -> str:
    percent = 100 * entry.share
    amount = "0 %" if percent == 0 else "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %"
    return f"{clipped(entry.name, 24)}  {amount}"


def clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def draw_scale(figure: Figure, layout: Layout, grid: GeoBox) -> None:
    length_m = round_length(steps_m(grid)[0] * layout.panel_shape[1] * 0.35)
    length_px = length_m / steps_m(grid)[0]
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    bottom = 26
    for part, color in ((0, "#333333"), (1, "white")):  # half dark, half light: its middle can be read, too
        place = layout.part(_MARGIN_PX + part * length_px / 2, bottom, length_px / 2, 6)
        figure.add_artist(Rectangle(place[:2], *place[2:], facecolor=color, edgecolor="#333333", linewidth=0.8))
    x, y, _, _ = layout.part(_MARGIN_PX + length_px + 8, bottom + 3, 0, 0)
    figure.text(x, y, label, fontsize=10, va="center")


def draw_north(figure: Figure, layout: Layout, grid: GeoBox) -> None:
    azimuth = math.radians(up_azimuth(grid))
    center, reach = (layout.legend_left_px() + 14, 27), 13
    # Up on the picture looks towards `azimuth`; north therefore lies that much to the left of up.
    east, north = -math.sin(azimuth), math.cos(azimuth)
    tail = layout.part(center[0] - reach * east, center[1] - reach * north, 0, 0)[:2]
    head = layout.part(center[0] + reach * east, center[1] + reach * north, 0, 0)[:2]
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    arrow = {
        "arrowstyle": "-|>",
        "color": "#333333",
        "linewidth": 1.5,
        "mutation_scale": 14,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", head, tail, arrowprops=arrow)
    x, y, _, _ = layout.part(center[0] + (reach + 9) * east, center[1] + (reach + 9) * north, 0, 0)
    figure.text(x, y, "N", fontsize=10, va="center", ha="center", color="#333333")


def round_length(at_most: float) -> float:
    """The largest of 1, 2, 5 × 10ⁿ that is not larger.

    >>> round_length(730), round_length(0.3)
    (500.0, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(at_most))
    return next(step * power for step in (5, 2, 1) if step * power <= at_most * (1 + 1e-9))


def steps_m(grid: GeoBox) -> tuple[float, float]:
    """Metres on the ground, across one column and down one row, at the grid's centre."""
    across, _ = _walk(grid, 1, 0)
    down, _ = _walk(grid, 0, 1)
    return across, down


def up_azimuth(grid: GeoBox) -> float:
    """Degrees clockwise from north in which the top of the picture lies, at the grid's centre."""
    return _walk(grid, 0, -1)[1]


def _walk(grid: GeoBox, cols: float, rows: float) -> tuple[float, float]:
    """Metres and azimuth of a short way on the ground from the grid's centre, for one step of this kind."""
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    row, col = grid.shape[0] / 2, grid.shape[1] / 2
    (x0, x1), (y0, y1) = zip(grid.transform * (col, row), grid.transform * (col + cols, row + rows), strict=True)
    geod: Any = crs.get_geod()
    if geod is None or crs.geodetic_crs is None:  # an engineering CRS: plain units
        return math.hypot(x1 - x0, y1 - y0), math.degrees(math.atan2(x1 - x0, y1 - y0))
    to_ground = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    (lon0, lon1), (lat0, lat1) = to_ground.transform([x0, x1], [y0, y1])
    azimuth, _, length = geod.inv(lon0, lat0, lon1, lat1)
    return length, azimuth
