"""The report on what changed between class maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geoseg.report.charts import Bar, Series, bars, matrix, series
from geoseg.report.flows import Flow, sankey
from geoseg.report.numbers import Digits, percent, signed
from geoseg.report.page import Html, keys, named, paragraph, section, table

__all__ = ["change_parts", "series_part"]

_FLOWS = 25


def change_parts(transitions: pd.DataFrame, classes: pd.DataFrame, *, colors: Mapping[str, str]) -> Sequence[Html]:
    """The sections on what became what, and on gains and losses.

    Parameters
    ----------
    transitions
        Of `geoseg.change.transition_matrix`.
    classes
        Of `geoseg.change.change_table`.
    colors
        ``#rrggbb`` of each class.
    """
    moved = transitions[(transitions["from"] != transitions["to"]) & (transitions["area_ha"] > 0)]
    whole, changed = transitions["area_ha"].sum(), moved["area_ha"].sum()
    digits = Digits([changed])
    years = classes.attrs.get("years")
    named_keys = {
        "ha changed": digits(changed),
        "of the common area": percent(changed / whole if whole else math.nan),
        **({} if years is None else {"years between": f"{years:.1f}"}),
    }
    return [
        section("What became what", keys(named_keys), *_flows(moved, colors), _matrix(transitions)),
        section("Gains and losses", *_gains(classes, colors)),
    ]


def _flows(moved: pd.DataFrame, colors: Mapping[str, str]) -> Sequence[Html]:
    if moved.empty:
        return [paragraph("Nothing changed.")]
    largest = moved.sort_values("area_ha", ascending=False, kind="stable").head(_FLOWS)
    digits = Digits(largest["area_ha"])
    flows = [
        Flow(row["from_name"], row["to_name"], row["area_ha"], f"{digits(row['area_ha'])} ha")
        for row in largest.to_dict(orient="records")
    ]
    texts = tuple(
        {str(name): f"{digits(value)} ha" for name, value in largest.groupby(side)["area_ha"].sum().items()}
        for side in ("from_name", "to_name")
    )
    left = len(moved) - len(largest)
    cut = "" if left == 0 else f" The {_FLOWS} largest changes; {left} smaller ones are in the table only."
    caption = f"What changed, before on the left, after on the right; what stayed is not drawn.{cut}"
    return [sankey(flows, colors=dict(colors), texts=(texts[0], texts[1]), caption=caption)]


def _matrix(transitions: pd.DataFrame) -> Html:
    names = dict(zip(transitions["from"], transitions["from_name"], strict=True))
    names.update(zip(transitions["to"], transitions["to_name"], strict=True))
    order = [names[value] for value in sorted(names)]
    square = transitions.pivot_table(index="from_name", columns="to_name", values="area_ha", aggfunc="sum")
    values = square.reindex(index=order, columns=order).fillna(0.0).to_numpy()
    digits = Digits(values.ravel())
    return matrix(
        order,
        order,
        values,
        texts=[[digits(value) if value else "·" for value in row] for row in values],
        corner="from \\ to",
        caption="Transition matrix, ha: rows are classes before, columns classes after; framed: what stayed. Each row "
        "is shaded by itself",
    )


def _gains(classes: pd.DataFrame, colors: Mapping[str, str]) -> Sequence[Html]:
    shown = ["before_ha", "gain_ha", "loss_ha", "net_ha", "swap_ha", "after_ha"]
    digits = Digits(np.abs(classes[shown].to_numpy()).ravel())
    with_rate = "annual_rate" in classes
    rows = []
    for row in classes.to_dict(orient="records"):
        values = [digits.signed(row[key]) if key == "net_ha" else digits(row[key]) for key in shown]
        rate = [signed(row["annual_rate"])] if with_rate else []
        rows.append([named(row["class_name"], colors.get(row["class_name"])), *values, *rate])
    moving = classes[classes["total_change_ha"] > 0]
    drawn = []
    for row in moving.to_dict(orient="records"):
        for what in ("gain", "loss"):
            value = row[f"{what}_ha"]
            color = colors.get(row["class_name"], "#8fa3b8")
            drawn.append(Bar(f"{row['class_name']}: {what}", value, f"{digits(value)} ha", color))
    rate_rule = (
        "The annual rate is ln(after / before) / years (Puyravaud 2003). "
        if with_rate
        else "There is no annual rate: the dates of the maps were not given. "
    )
    return [
        bars(drawn, caption="Gain and loss of each class, ha") if drawn else Html(""),
        table(
            ["class", "before", "gain", "loss", "net", "swap", "after", *(["a year"] if with_rate else [])],
            rows,
            caption="Gains and losses, ha",
            rest="in classes.csv",
        ),
        paragraph(
            f"{rate_rule}Swap is what a class lost at one place and gained at another (Pontius et al. 2004).", note=True
        ),
    ]


def series_part(
    areas: pd.DataFrame, *, places: Sequence[float], labels: Sequence[str], colors: Mapping[str, str]
) -> Html:
    """The area of each class at each date, as lines and a table.

    Parameters
    ----------
    areas
        float64 ha, (class name, date).
    places, labels
        Where the dates lie (years), and how they are written.
    colors
        ``#rrggbb`` of each class.
    """
    digits = Digits(areas.to_numpy().ravel())
    lines = [
        Series(str(name), tuple(float(v) for v in row), colors.get(str(name), "#8fa3b8"))
        for name, row in zip(areas.index, areas.to_numpy(), strict=True)
    ]
    rows = [[named(line.name, colors.get(line.name)), *(digits(value) for value in line.values)] for line in lines]
    return section(
        "Areas over time",
        series(lines, places=places, labels=labels, caption="Area of each class", unit="ha"),
        table(["class", *labels], rows, caption="Area of each class at each date, ha"),
    )
