"""Maps in a report: a picture, its legend, a scale bar and an arrow to the north."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw

from geoseg.classes import default_color
from geoseg.classmap import class_names, classes_of, geobox_of, nodata_of
from geoseg.export import drawing, thinning
from geoseg.report.page import Html, escaped, named
from geoseg.report.style import BACKGROUND, INK

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["Outline", "class_figure", "legend", "map_figure", "maps", "polygon_figure", "scene_figure"]

_SIDE_PX = 900  # the longer side of a picture: as many pixels as a phone or a printed column can show
_OUTLINES = 2_000


@dataclass(frozen=True)
class Outline:
    """An outline on a map."""

    name: str
    """What it is of, shown where the pointer rests."""
    geometry: Any
    """A shapely geometry in the CRS of the map."""
    label: str = ""
    """A few letters, written in its middle."""


def maps(*figures: str) -> Html:
    """Maps beside each other where there is room."""
    return Html(f'<div class="maps">{"".join(figures)}</div>')


def class_figure(
    class_map: xr.DataArray,
    *,
    caption: str,
    colors: Mapping[int, str] | None = None,
    names: Mapping[int, str] | None = None,
    outlines: Iterable[Outline] = (),
    with_legend: bool = True,
) -> Html:
    """A class map, thinned to the nearest pixels, with a legend of the classes that are seen.

    Parameters
    ----------
    class_map
        (row, col) classes with a grid and a legend, of any size.
    caption
        What it shows.
    colors, names
        Instead of those of the map's legend.
    outlines
        Drawn over it.
    with_legend
        Name the colours below.
    """
    grid = _coarse(geobox_of(class_map))
    values, _ = thinning.thin_map(class_map, grid)
    nodata = nodata_of(class_map)
    seen = [int(value) for value in np.unique(values[np.isfinite(values)]) if value != nodata]
    infos = {info.value: info for info in classes_of(class_map, values=[value for value in seen if 0 <= value < 255])}
    own = class_names(class_map)
    legend_of = {
        value: (
            (names or {}).get(value) or own.get(value, f"class {value}"),
            (colors or {}).get(value) or (infos[value].color if value in infos else default_color(value)),
        )
        for value in seen
    }
    picture = np.empty((*values.shape, 3), np.uint8)
    picture[:] = drawing.rgb(drawing.NODATA_COLOR)
    for value, (_, color) in legend_of.items():
        picture[values == value] = drawing.rgb(color)
    below = ""
    if with_legend:
        empty = not np.isin(values, seen).all()
        below = legend([*dict.fromkeys(legend_of.values()), *([("no data", drawing.NODATA_COLOR)] if empty else [])])
    return map_figure(picture, grid, caption=caption, outlines=outlines, below=below)


def scene_figure(scene: Scene, grid: GeoBox, *, caption: str) -> Html:
    """The scene on the ground that a grid covers, in its own colours or stretched."""
    coarse = _coarse(grid)
    return map_figure(thinning.thin_scene(scene, coarse), coarse, caption=caption, photo=True)


def polygon_figure(polygons: gpd.GeoDataFrame, colors: Mapping[str, str], *, column: str, caption: str) -> Html:
    """Polygons or points in the colour of what a column says, in their own CRS.

    Parameters
    ----------
    polygons
        At least one, with a CRS.
    colors
        ``#rrggbb`` of each value of the column, in the order of the legend; what is first is drawn first.
    column
        A column of text.
    caption
        What is shown.
    """
    left, bottom, right, top = polygons.total_bounds
    margin = 0.02 * max(right - left, top - bottom) or 1e-4
    frame = (left - margin, bottom - margin, right + margin, top + margin)
    grid = _coarse(GeoBox.from_bbox(frame, polygons.crs.to_wkt(), shape=(10_000, 10_000), tight=True))
    image = Image.new("RGB", grid.shape[::-1], BACKGROUND)
    pen, back = ImageDraw.Draw(image), ~grid.transform
    there = [value for value in colors if (polygons[column] == value).any()]
    for value in there:
        for shape in shapely.get_parts(polygons.geometry[polygons[column] == value].to_numpy()):
            _fill(pen, shape, back, colors[value])
    below = legend([(value, colors[value]) for value in there])
    return map_figure(np.asarray(image), grid, caption=caption, below=below)


def map_figure(
    picture: np.ndarray,
    grid: GeoBox,
    *,
    caption: str,
    outlines: Iterable[Outline] = (),
    below: str = "",
    photo: bool = False,
) -> Html:
    """A picture on a grid, with scale bar and north arrow.

    Parameters
    ----------
    picture
        uint8 (row, col, RGB).
    grid
        Where its pixels lie.
    caption
        What it shows.
    outlines
        Drawn over it, at most 2000 of them.
    below
        HTML between the map and its caption.
    photo
        Pack it as a photograph (JPEG).
    """
    height, width = picture.shape[:2]
    lines = _lines(list(outlines), grid)
    image = f'<img alt="{escaped(caption)}" width="{width}" height="{height}" src="{_packed(picture, photo)}">'
    under = f'<div class="under">{_scale(grid)}{_north(grid)}</div>'
    return Html(
        f'<figure style="--a:{width / height:.4f}"><div class="frame">{image}{lines}</div>{under}{below}'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """Names and colours.

    >>> legend([("water", "#1f6fb4")])
    '<ul class="legend"><li><span class="nw"><span class="sw" style="background:#1f6fb4"></span>water</span></li></ul>'
    """
    return Html('<ul class="legend">' + "".join(f"<li>{named(*entry)}</li>" for entry in entries) + "</ul>")


def _coarse(grid: GeoBox) -> GeoBox:
    """The same ground in a picture whose pixels are about square on the ground."""
    across, down = drawing.steps_m(grid)
    wide, high = grid.shape[1] * across, grid.shape[0] * down
    scale = min(_SIDE_PX / max(wide, high), 1 / min(across, down))
    if max(grid.shape) < _SIDE_PX / 4:  # few pixels: larger ones, or the picture is a stamp
        scale = _SIDE_PX / 4 / max(wide, high)
    return thinning.zoomed(grid, max(round(high * scale), 1), max(round(wide * scale), 1))


def _fill(pen: ImageDraw.ImageDraw, shape: Any, back: Affine, color: str) -> None:
    if shape.is_empty:
        return
    if shape.geom_type == "Point":
        x, y = back * (shape.x, shape.y)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color, outline=INK)
        return
    rings = shape.exterior, *shape.interiors
    for ring, fill in zip(rings, (color, *[BACKGROUND] * len(shape.interiors)), strict=True):
        xy = shapely.get_coordinates(ring)
        pen.polygon([(float(x), float(y)) for x, y in _moved(back, xy)], fill=fill, outline=color)


def _moved(affine: Affine, xy: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = affine[:6]
    return np.column_stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f])


def _packed(picture: np.ndarray, photo: bool) -> str:
    image, file = Image.fromarray(picture), io.BytesIO()
    if photo:
        image.save(file, "JPEG", quality=82)
    elif image.getcolors(256):
        image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    else:
        image.save(file, "PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _lines(outlines: list[Outline], grid: GeoBox) -> str:
    if not outlines:
        return ""
    height, width = grid.shape
    back = ~grid.transform
    frame = shapely.box(-1, -1, width + 1, height + 1)
    size = max(width, height) / 32
    paths, labels = [], []
    for outline in outlines[:_OUTLINES]:
        shape = shapely.transform(outline.geometry, lambda xy: _moved(back, xy))
        edge = shapely.intersection(shapely.boundary(shapely.simplify(shape, 0.5)), frame)
        path = "".join(
            "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shapely.get_coordinates(part))
            for part in shapely.get_parts(edge)
        )
        if path:
            title = f"<title>{escaped(outline.name)}</title>"
            fixed = f'<path d="{path}" vector-effect="non-scaling-stroke"'  # as wide on a phone as on a screen
            paths.append(f'{fixed} stroke="{BACKGROUND}" stroke-width="3.5"/>')
            paths.append(f'{fixed} stroke="{INK}" stroke-width="1.5">{title}</path>')
        seen = shapely.intersection(shape, shapely.box(0, 0, width, height))
        if outline.label and not seen.is_empty:
            middle = seen.representative_point()
            halo = f'stroke="{BACKGROUND}" stroke-width="{size / 5:.1f}" paint-order="stroke" stroke-linejoin="round"'
            place = f'x="{middle.x:.1f}" y="{middle.y + size / 3:.1f}" text-anchor="middle" font-size="{size:.0f}"'
            labels.append(f'<text {place} fill="{INK}" {halo} font-weight="700">{escaped(outline.label)}</text>')
    head = f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" fill="none">'
    return f"{head}{''.join(paths)}{''.join(labels)}</svg>"


def _scale(grid: GeoBox) -> str:
    wide = drawing.steps_m(grid)[0] * grid.shape[1]
    length = drawing.round_length(wide * 0.4)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return f'<div class="scale"><i style="width:{100 * length / wide:.2f}%"></i>{text}</div>'


def _north(grid: GeoBox) -> str:
    turn = -drawing.up_azimuth(grid)
    arrow = f'<g transform="rotate({turn:.1f} 16 18)"><path d="M16 4 22 32 16 27 10 32Z" fill="{INK}"/></g>'
    degrees = math.remainder(turn, 360)
    side = (
        "at the top"
        if abs(degrees) < 1
        else f"{abs(degrees):.0f}° to the {'right' if degrees > 0 else 'left'} of the top"
    )
    label = f"North is {side}"
    return f'<div class="north"><svg viewBox="0 0 32 36" role="img" aria-label="{label}">{arrow}</svg></div>'
