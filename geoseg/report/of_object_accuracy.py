"""The report on objects compared with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.accuracy import ObjectAccuracy
from geoseg.accuracy.verdicts import VERDICTS
from geoseg.report.charts import Bar, bars
from geoseg.report.figures import maps, polygon_figure
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import count, signed
from geoseg.report.page import Html, keys, page, paragraph, section, table

__all__ = ["report_object_accuracy"]

_CAVEATS = (
    "They hold for the place that the reference covers. Elsewhere, with other roofs, fields, light or seasons, objects "
    "may be found better or worse. There is no interval here: that needs a random sample of places.",
    "The reference counts as the truth. What its author overlooked or drew elsewhere counts as an error of the map.",
    "An object counts as found from one IoU on. Just below and just above it, the outlines are about equally good.",
)
_COLUMNS = {
    "reference": "reference",
    "objects": "objects",
    "found": "found",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "pq": "PQ",
    "boundary_iou": "boundary IoU",
    "polis_m": "PoLiS, m",
}
_COUNTS = ("reference", "objects", "found")


def report_object_accuracy(found: ObjectAccuracy, *, title: str, record: Mapping[str, Any]) -> Html:
    """The page of `geoseg assess` for objects.

    Parameters
    ----------
    found
        Of `geoseg.assess_objects`.
    title
        The name of what was judged.
    record
        How it was made, see `geoseg.report.how_made`.
    """
    whole = found.overall
    colors = {info.name: info.color for info in VERDICTS}
    bounds = [f"{size:g}" for size in found.settings["sizes_m2"]]
    sizes = [f"under {bounds[0]} m²", *(f"from {bound} m² on" for bound in bounds)]
    rows = []
    for number, row in enumerate(found.table.to_dict(orient="records")):
        name = f"{row['name']} ({sizes[number - 1]})" if row["by"] == "size" else row["name"]
        rows.append([name, *(count(row[key]) if key in _COUNTS else _figure(row[key]) for key in _COLUMNS)])
    counted = {name: int(whole[name]) for name in ("found", "missed", "false")}
    shown = (
        maps(polygon_figure(found.matches, colors, column="class_name", caption="What became of each object."))
        if len(found.matches)
        else paragraph("There is no object on either side.")
    )
    parts = [
        section(
            "Objects",
            keys(
                {
                    "F1": _figure(whole["f1"]),
                    "panoptic quality (PQ)": _figure(whole["pq"]),
                    "more or less objects than in the reference": signed(whole["count_error"], 1),
                }
            ),
            bars(
                [Bar(name, number, count(number), colors[name]) for name, number in counted.items()],
                caption=f"Objects found, missed and false, from an IoU of {found.settings['iou']:g} on",
            ),
            table(
                ["", *_COLUMNS.values()],
                rows,
                caption="By size, and by class where there are classes; the sizes are those of the reference",
                rest="in object_accuracy.csv",
            ),
            paragraph(
                f"Of the reference, {count(whole['split'])} are split among several objects, and "
                f"{count(whole['merged'])} share one object with others."
            ),
        ),
        section("Map", shown),
        caveats(_CAVEATS),
        how_made(record),
    ]
    return page(title, parts, subtitle=subtitle("Objects against a reference"))


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
