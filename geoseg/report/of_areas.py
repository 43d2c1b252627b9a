"""The report on the areas of a map's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from geoseg.classmap import classes_of, geobox_of
from geoseg.report.charts import Bar, bars
from geoseg.report.figures import class_figure, maps, scene_figure
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import Digits, count, percent
from geoseg.report.page import Html, keys, named, page, paragraph, section, table

if TYPE_CHECKING:
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["MAP_ERRORS", "area_parts", "report_areas"]

MAP_ERRORS = (
    "They are the areas of the map, not of the ground: where the map takes one class for another, its areas are wrong "
    "by as much, and by more than its accuracy suggests. Areas with confidence intervals need a reference sample: "
    "geoseg sample, then geoseg assess."
)
_CONFIDENCE = "The model's confidence is its own opinion. It says where to look, not how often the map is right."
_PIXEL = (
    "A pixel has one class. What is smaller than a pixel, or lies along borders, goes wholly to one side; so the areas "
    "of narrow and scattered classes are the least certain."
)
_RULE = "Areas are those of the ellipsoid, pixel by pixel, in whatever CRS the map is."


def report_areas(
    class_map: xr.DataArray,
    areas: pd.DataFrame,
    *,
    title: str,
    record: Mapping[str, Any],
    scene: Scene | None = None,
    predicted: bool = False,
) -> Html:
    """The page of `geoseg areas` and `geoseg map`.

    Parameters
    ----------
    class_map
        The map.
    areas
        Of `geoseg.class_areas`, with the pixels without data in its ``attrs``.
    title
        The name of the map.
    record
        How it was made, see `geoseg.report.how_made`.
    scene
        Shown beside the map.
    predicted
        A model made the map: say what its confidence is.
    """
    figures = [class_figure(class_map, caption="The class map.")]
    if scene is not None:
        figures.insert(0, scene_figure(scene, geobox_of(class_map), caption="The scene."))
    texts = [MAP_ERRORS, *([_CONFIDENCE] if predicted else []), _PIXEL]
    parts = [
        section("Map", maps(*figures)),
        section("Areas", *area_parts(areas, class_map)),
        caveats(texts),
        how_made(record, rules=[_RULE]),
    ]
    return page(title, parts, subtitle=subtitle("Areas by class"))


def area_parts(areas: pd.DataFrame, class_map: xr.DataArray) -> Sequence[Html]:
    """The key numbers, bars and table of class areas."""
    infos = classes_of(class_map, values=[value for value in areas["class"].tolist() if 0 <= value < 255])
    colors = {info.value: info.color for info in infos}
    digits = Digits(areas["area_ha"])
    total, invalid_m2 = areas["area_ha"].sum(), areas.attrs["invalid_area_m2"]
    whole = Digits([total])
    rows = [
        (
            named(row["class_name"], colors.get(row["class"])),
            count(row["pixels"]),
            digits(row["area_ha"]),
            percent(row["share"]),
        )
        for row in areas.to_dict(orient="records")
    ]
    largest = areas.sort_values("area_ha", ascending=False, kind="stable")
    drawn = [
        Bar(row["class_name"], row["area_ha"], f"{digits(row['area_ha'])} ha", colors.get(row["class"], "#8fa3b8"))
        for row in largest[largest["area_ha"] > 0].head(30).to_dict(orient="records")
    ]
    no_data = invalid_m2 / max(invalid_m2 + areas["area_m2"].sum(), 1e-300)
    parts = [
        keys({"ha have a class": whole(total), "of the area of the raster have no data": percent(no_data)}),
        bars(drawn, caption="Area of each class, ha"),
        table(
            ["class", "pixels", "ha", "share"],
            rows,
            caption="Areas on the ellipsoid; shares are of the area that has a class",
            total=("all classes", count(areas["pixels"].sum()), digits(total), percent(1.0 if total else 0.0)),
            rest="in areas.csv",
        ),
    ]
    return [*parts, *([] if total else [paragraph("No pixel has a class.")])]
