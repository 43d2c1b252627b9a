"""The reports on objects: how many there are and how large, and how they compare with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from geoseg.classes import ClassInfo
from geoseg.classmap import geobox_of
from geoseg.report.charts import Bar, bars
from geoseg.report.figures import class_figure, maps, scene_figure
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import Digits, count
from geoseg.report.page import Html, keys, named, page, paragraph, section, table

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from geoseg.scene import Scene

__all__ = ["report_objects"]

_CAVEATS = (
    "They are the objects that the model found, not those that are there: some are missed, some are none, some are two "
    "in one. How many: geoseg assess polygons.gpkg REFERENCE, with outlines that somebody drew in a part of the scene.",
    "A score is the model's own opinion of an object. It says where to look, not how often the model is right.",
    "An object has the area of its pixels. What is not much larger than a pixel has an area that is not much better "
    "than a guess, and the sum over many small objects can be off to one side.",
)
_EDGES_M2 = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000)


def report_objects(
    shown: xr.DataArray,
    by_class: pd.DataFrame,
    areas_m2: np.ndarray,
    *,
    classes: tuple[ClassInfo, ...],
    title: str,
    record: Mapping[str, Any],
    scene: Scene,
) -> Html:
    """The page of `geoseg map` with a model of objects.

    Parameters
    ----------
    shown
        The class of each pixel, with one for what is no object.
    by_class
        Of `geoseg.object_layer.areas_by_class`.
    areas_m2
        float64 (object,): how large each is.
    classes
        What objects can be.
    title
        The name of the scene.
    record
        How it was made, see `geoseg.report.how_made`.
    scene
        Shown beside.
    """
    colors = {info.value: info.color for info in classes}
    digits = Digits(by_class["area_ha"])
    rows = [
        (
            named(row["class_name"], colors.get(row["class"])),
            count(row["objects"]),
            digits(row["area_ha"]),
            _mean(row["area_m2"], row["objects"]),
        )
        for row in by_class.to_dict(orient="records")
    ]
    total = by_class[["objects", "area_m2", "area_ha"]].sum()
    parts = [
        section(
            "Map",
            maps(
                scene_figure(scene, geobox_of(shown), caption="The scene."),
                class_figure(shown, caption="The objects, in the colour of their class."),
            ),
        ),
        section(
            "Objects",
            keys({"objects": count(total["objects"]), "ha in all": Digits([total["area_ha"]])(total["area_ha"])}),
            table(
                ["class", "objects", "ha", "mean m²"],
                rows,
                caption="Objects of each class, and their areas on the ellipsoid",
                rest="in objects.csv",
            ),
            _sizes(areas_m2),
        ),
        caveats(_CAVEATS),
        how_made(record),
    ]
    return page(title, parts, subtitle=subtitle("Objects"))


def _mean(area_m2: float, objects: float) -> str:
    mean = area_m2 / objects if objects else float("nan")
    return Digits([mean])(mean)


def _sizes(areas_m2: np.ndarray) -> Html:
    """How many objects there are of each size."""
    if not len(areas_m2):
        return paragraph("No object was found.")
    bounds = [0, *_EDGES_M2, float("inf")]
    numbers = [int(((areas_m2 >= low) & (areas_m2 < high)).sum()) for low, high in pairwise(bounds)]
    there = [index for index, number in enumerate(numbers) if number]
    rows = []
    for index in range(there[0], there[-1] + 1):
        low, high = bounds[index], bounds[index + 1]
        name = (
            f"under {high:,} m²"
            if low == 0
            else f"{low:,} m² and more"
            if high == float("inf")
            else f"{low:,} to {high:,} m²"
        )
        rows.append(Bar(name, numbers[index], count(numbers[index])))
    return bars(rows, caption="Objects by size")
