"""The report on how good a class map is, and how large its classes are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.estimates import MapAccuracy
from geoseg.report.charts import Bar, bars, matrix
from geoseg.report.numbers import Digits, count, percent, signed
from geoseg.report.page import Html, keys, named, paragraph, section, table

__all__ = ["accuracy_parts", "area_estimates"]

_KAPPA = (
    "It is given because people ask for it. It compares with a map drawn at random, which nobody makes, and falls for "
    "rare classes however good the map is: use the figures above."
)


def accuracy_parts(
    accuracy: MapAccuracy, *, colors: Mapping[str, str], mapped_ha: Mapping[str, float]
) -> Sequence[Html]:
    """The sections on areas, accuracy and the confusion matrix.

    Parameters
    ----------
    accuracy
        Of `geoseg.estimate_accuracy`, with sizes in ha; classes are names.
    colors
        ``#rrggbb`` of each class.
    mapped_ha
        The area of each class in the map.
    """
    level = f"{100 * accuracy.confidence:g} %"
    whole = accuracy.overall
    return [
        section(
            "Areas",
            *area_estimates(accuracy, colors=colors, mapped_ha=mapped_ha),
        ),
        section(
            "Accuracy",
            keys(
                {
                    f"overall accuracy ({_interval(whole, level)})": percent(whole["estimate"]),
                    "reference units": count(accuracy.counts.to_numpy().sum()),
                }
            ),
            _by_class(accuracy, colors, level),
            paragraph(
                f"{percent(accuracy.quantity_disagreement)} of the area is wrong because the map has too much or too "
                f"little of a class (quantity disagreement), {percent(accuracy.allocation_disagreement)} only because "
                "it is at the wrong place (allocation disagreement)."
            ),
            paragraph(f"Kappa: {_plain(accuracy.kappa)}. {_KAPPA}", note=True),
        ),
        section("Confusion matrix", *_matrices(accuracy)),
    ]


def area_estimates(
    accuracy: MapAccuracy, *, colors: Mapping[str, str], mapped_ha: Mapping[str, float]
) -> Sequence[Html]:
    """Bars with intervals, and a table: the area of each class by the map and by the reference sample."""
    level = f"{100 * accuracy.confidence:g} %"
    areas = accuracy.areas
    digits = Digits([*areas["estimate"], *areas["upper"]])
    drawn, rows = [], []
    for name, row in areas.iterrows():
        mapped = mapped_ha.get(str(name), 0.0)
        half = row["se"] * _z(row, accuracy)
        text = f"{digits(row['estimate'])} ± {digits(half)} ha"
        drawn.append(
            Bar(str(name), row["estimate"], text, colors.get(str(name), "#8fa3b8"), row["lower"], row["upper"], mapped)
        )
        shown = (mapped, row["estimate"], half, row["lower"], row["upper"])
        off = mapped / row["estimate"] - 1 if row["estimate"] > 0 else math.nan
        error = signed(off, 0)
        rows.append([named(str(name), colors.get(str(name))), *(digits(value) for value in shown), error])
    return [
        bars(
            drawn,
            caption=f"Area of each class, estimated from the reference sample, with its {level} interval; the dotted "
            "line is the area in the map",
        ),
        table(
            ["class", "in the map, ha", "estimated, ha", f"± ({level})", "from", "to", "map is off by"],
            rows,
            caption="Areas in the map, and as estimated from the reference sample",
            rest="in areas.csv",
        ),
    ]


def _z(row: Any, accuracy: MapAccuracy) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + accuracy.confidence / 2)


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


def _matrices(accuracy: MapAccuracy) -> Sequence[Html]:
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
            caption="The same as numbers of reference units. Where strata were sampled at different rates, only the "
            "parts of the area above can be compared across rows",
        ),
    ]


def _interval(row: Any, level: str) -> str:
    return f"{level} interval {percent(row['lower'])} to {percent(row['upper'])}"


def _with_interval(row: Any) -> str:
    if math.isnan(row["estimate"]):
        return "–"
    return f"{_plain(row['estimate'])} ({_plain(row['lower'])}–{_plain(row['upper'])})"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
