"""The report on how good a class map is, and how large its classes are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from geoseg.classmap import classes_of
from geoseg.estimates import MapAccuracy
from geoseg.report.charts import Bar, bars, matrix
from geoseg.report.figures import class_figure
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import Digits, count, percent, signed
from geoseg.report.page import Html, keys, named, page, paragraph, section, table

if TYPE_CHECKING:
    import xarray as xr

    from geoseg.sampling import MapAssessment

__all__ = ["accuracy_parts", "area_estimates", "report_assessment"]

_CAVEATS = (
    "An interval holds the error of sampling only. What the interpreters of the reference saw wrongly is in none of "
    "these numbers: let two people look at a part of the sample, and say how often they agree.",
    "They hold for this map and this area. For a part of it, or for another year, another sample is needed.",
    "Intervals are for one class at a time. Of twenty true intervals of 95 %, one misses on average.",
)

_OF_CENSUS = (
    "The reference counts as the truth. Where it is wrong or older, its errors count as errors of the map.",
    "They hold for this map and for what the reference covers of it.",
)
_KAPPA = (
    "It is given because people ask for it. It compares with a map drawn at random, which nobody makes, and falls for "
    "rare classes however good the map is: use the figures above."
)


def report_assessment(
    found: MapAssessment, class_map: xr.DataArray, *, title: str, unit: str, record: Mapping[str, Any]
) -> Html:
    """The page of `geoseg assess` for class maps.

    Parameters
    ----------
    found
        Of `geoseg.assess_map`.
    class_map
        The map that was judged.
    title
        Its name.
    unit
        What is counted: sample units, or pixels.
    record
        How it was made, see `geoseg.report.how_made`.
    """
    colors = {info.name: info.color for info in classes_of(class_map)}
    parts = [
        *accuracy_parts(found.accuracy, found.areas, colors=colors, unit=unit),
        section("Map", class_figure(class_map, caption="The map that was judged.")),
        section("Strata", _strata(found)) if len(found.strata) else "",
        section("Methods, for a paper", *(paragraph(text) for text in found.methods.splitlines() if text.strip())),
        caveats([*found.notes, *_left_out(found), *(_OF_CENSUS if found.kind == "census" else _CAVEATS)]),
        how_made(record),
    ]
    return page(title, parts, subtitle=subtitle("Accuracy and areas"))


def accuracy_parts(
    accuracy: MapAccuracy, areas: pd.DataFrame, *, colors: Mapping[str, str], unit: str = "sample units"
) -> Sequence[Html]:
    """The sections on areas, accuracy and the confusion matrix.

    Parameters
    ----------
    accuracy
        Of `geoseg.assess_map`.
    areas
        Its table of areas: ``class_name, mapped_ha, area_ha, lower_ha, upper_ha``.
    colors
        ``#rrggbb`` of each class.
    unit
        What is counted.
    """
    level = f"{100 * accuracy.confidence:g} %"
    whole = accuracy.overall
    off = [percent(part) for part in (accuracy.quantity_disagreement, accuracy.allocation_disagreement)]
    interval = (
        f" ({level} interval {percent(whole['lower'])} to {percent(whole['upper'])})" if _has_error(whole) else ""
    )
    return [
        section("Areas", *area_estimates(areas, level=level, colors=colors)),
        section(
            "Accuracy",
            keys(
                {
                    f"overall accuracy{interval}": percent(whole["estimate"]),
                    f"{unit} of the reference": count(accuracy.counts.to_numpy().sum()),
                }
            ),
            _by_class(accuracy, colors, level),
            paragraph(
                f"{off[0]} of the area is wrong because the map has too much or too little of a class (quantity "
                f"disagreement), {off[1]} only because it is at the wrong place (allocation disagreement)."
            ),
            paragraph(f"Kappa: {_plain(accuracy.kappa)}. {_KAPPA}", note=True),
        ),
        section("Confusion matrix", *_matrices(accuracy, unit)),
    ]


def area_estimates(areas: pd.DataFrame, *, level: str, colors: Mapping[str, str]) -> Sequence[Html]:
    """Bars with intervals, and a table: the area of each class by the map and by the reference."""
    digits = Digits([*areas["area_ha"], *areas["upper_ha"]])
    drawn, rows = [], []
    for row in areas.to_dict(orient="records"):
        name, mapped, estimate, lower, upper = (
            row[key] for key in ("class_name", "mapped_ha", "area_ha", "lower_ha", "upper_ha")
        )
        sure = not lower < upper
        text = f"{digits(estimate)} ha" if sure else f"{digits(lower)} to {digits(upper)} ha"
        ends = (math.nan, math.nan) if sure else (lower, upper)
        color = colors.get(name, "#8fa3b8")
        drawn.append(Bar(name, estimate, text, color, lower=ends[0], upper=ends[1], mark=mapped))
        off = mapped / estimate - 1 if estimate > 0 else math.nan
        numbers = [digits(mapped), digits(estimate), *(("–", "–") if sure else (digits(lower), digits(upper)))]
        rows.append([named(name, colors.get(name)), *numbers, signed(off, 0)])
    return [
        bars(
            drawn,
            caption=f"Area of each class, estimated from the reference, with its {level} interval; the dotted line is "
            "the area in the map",
        ),
        table(
            ["class", "in the map, ha", "estimated, ha", f"from ({level})", "to", "map is off by"],
            rows,
            caption="Areas in the map, and as estimated from the reference",
            rest="in areas.csv",
        ),
    ]


def _strata(found: MapAssessment) -> Html:
    digits = Digits(found.strata["area_m2"] / 1e4)
    rows = [
        (str(row["stratum"]), digits(row["area_m2"] / 1e4), count(row["units"]))
        for row in found.strata.to_dict(orient="records")
    ]
    return table(["stratum", "ha", "units"], rows, caption="What the sample was drawn from, and how many units count")


def _left_out(found: MapAssessment) -> list[str]:
    said = [f"{count(number)} {reason.replace('_', ' ')}" for reason, number in found.left_out.items() if number]
    return [f"Left out of the reference: {', '.join(said)}."] if said else []


def _has_error(row: Any) -> bool:
    return bool(row["lower"] < row["upper"])


def _by_class(accuracy: MapAccuracy, colors: Mapping[str, str], level: str) -> Html:
    measures = {"users": "user's", "producers": "producer's", "f1": "F1", "iou": "IoU"}
    tables = {measure: accuracy.of(measure) for measure in measures}
    rows = [
        [
            named(str(name), colors.get(str(name))),
            *(_with_interval(tables[measure].loc[name]) for measure in measures),
        ]
        for name in accuracy.counts.index
    ]
    return table(
        ["class", *measures.values()],
        rows,
        caption=f"Accuracy of each class, with its {level} interval. User's accuracy: how much of what the map calls "
        "so is so. Producer's accuracy: how much of what is so the map calls so",
        rest="in accuracy.csv",
    )


def _matrices(accuracy: MapAccuracy, unit: str) -> Sequence[Html]:
    shares, counts = accuracy.proportions.to_numpy(), accuracy.counts.to_numpy()
    names = [str(name) for name in accuracy.counts.index]
    corner = "map \\ reference"
    return [
        matrix(
            names,
            names,
            shares,
            texts=[[percent(value, 2) for value in row] for row in shares],
            corner=corner,
            caption="Parts of the area: rows are classes of the map, columns those of the reference; each row is "
            "shaded by itself",
        ),
        matrix(
            names,
            names,
            counts.astype(float),
            texts=[[count(value) for value in row] for row in counts],
            corner=corner,
            caption=f"The same as numbers of {unit}. Where strata were sampled at different rates, only the "
            "parts of the area above can be compared across rows",
        ),
    ]


def _with_interval(row: Any) -> str:
    if not _has_error(row):
        return _plain(row["estimate"])
    return f"{_plain(row['estimate'])} ({_plain(row['lower'])}–{_plain(row['upper'])})"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
