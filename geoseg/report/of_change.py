"""The report on what changed between class maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geoseg.classmap import classes_of
from geoseg.report.charts import Bar, Series, bars, matrix, series
from geoseg.report.figures import class_figure
from geoseg.report.figures import maps as maps_of
from geoseg.report.flows import Flow, sankey
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import Digits, count, percent, signed
from geoseg.report.of_accuracy import accuracy_parts
from geoseg.report.page import Html, keys, named, page, paragraph, section, table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["change_parts", "report_change", "series_parts"]

_FLOWS, _PATHS = 25, 40
_STABLE_COLOR = "#d3d3cd"
_SHIFT = (
    "Two maps that do not lie exactly on each other show change along every border. Thin patches that follow borders "
    "are likely to be that: leave them out with a minimum area, and look at the largest ones."
)
_CAVEATS = (
    "Each map has errors, and a difference of two maps has those of both: of two maps that are right for 90 % of the "
    "area, up to a fifth can look changed where nothing did. Areas of change with confidence intervals need a "
    "reference sample of the map of change: geoseg sample change.tif, then geoseg assess change.tif.",
    _SHIFT,
)
_SAMPLED = (
    "The tables and flows count pixels of the maps. The areas with intervals, which are estimated from the reference "
    "sample, are the ones to publish.",
    _SHIFT,
)
_RULES = (
    "Maps are compared where all of them have a class, on the grid of the last one; a pixel there takes the class of "
    "the nearest pixel of each other map.",
    "Areas are those of the ellipsoid.",
)


def report_change(
    found: Any,
    maps: Sequence[tuple[str, xr.DataArray]],
    change: xr.DataArray,
    *,
    changes: Sequence[int],
    title: str,
    record: Mapping[str, Any],
    years: Sequence[float] | None = None,
) -> Html:
    """The page of `geoseg change`.

    Parameters
    ----------
    found
        A `geoseg.change_files.ChangeResult`, of `geoseg.map_change`.
    maps
        What is to be written below each class map, and the map, in order of time; with one legend.
    change
        The map of change.
    changes
        The codes in it that are changes; all others are drawn grey.
    title
        What was compared.
    record
        How it was made, see `geoseg.report.how_made`.
    years
        Where the dates lie, in years; None = maps stand one apart.
    """
    colors = {info.name: info.color for _, part in maps for info in classes_of(part)}
    figures = [class_figure(part, caption=text) for text, part in maps]
    stable = [info.value for info in classes_of(change) if info.value not in changes]
    shown = class_figure(
        change,
        caption="What changed.",
        colors=dict.fromkeys(stable, _STABLE_COLOR),
        names=dict.fromkeys(stable, "unchanged, or not asked for"),
    )
    accuracy = found.accuracy
    estimated = [] if accuracy is None else accuracy_parts(accuracy.accuracy, accuracy.areas, colors=_colors_of(change))
    many = found.series["map"].nunique() > 2
    over_time = [_over_time(found, colors, years), _trajectories(found.trajectories)] if many else []
    parts = [
        section("Maps", maps_of(*figures, shown)),
        *change_parts(found.matrix, found.classes, colors=colors),
        *over_time,
        section("Patches of change", _patches(found.patches)),
        *([] if found.zones is None else [section("Change by zone", _zones(found.zones))]),
        *estimated,
        caveats(_SAMPLED if accuracy is not None else _CAVEATS),
        how_made(record, rules=_RULES),
    ]
    return page(title, parts, subtitle=subtitle("Change"))


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
            if value > 0:
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


def _colors_of(class_map: xr.DataArray) -> dict[str, str]:
    return {info.name: info.color for info in classes_of(class_map)}


def _over_time(found: Any, colors: Mapping[str, str], years: Sequence[float] | None) -> Html:
    dates = found.series.drop_duplicates("map")
    wide = found.series.pivot(index="class_name", columns="map", values="area_ha")
    order = list(found.series.drop_duplicates("class_name")["class_name"])
    labels = [
        f"map {number}" if pd.isna(date) else str(date)
        for number, date in zip(dates["map"], dates["date"], strict=True)
    ]
    places = list(range(len(labels))) if years is None else years
    return section(
        "Areas over time",
        *series_parts(wide.loc[order], places=places, labels=labels, colors=colors),
        _rates(found.intervals, order, labels, colors),
    )


def _rates(intervals: pd.DataFrame, order: Sequence[str], labels: Sequence[str], colors: Mapping[str, str]) -> Html:
    """The annual rate of each class from each map to the next one."""
    if "annual_rate" not in intervals:
        return paragraph("There are no annual rates: the dates of the maps were not given.")
    wide = intervals.pivot(index="class_name", columns="from_map", values="annual_rate")
    rows = [
        [named(name, colors.get(name)), *(signed(value) for value in wide.loc[[name]].to_numpy()[0])] for name in order
    ]
    titles = [f"{one} to {other}" for one, other in pairwise(labels)]
    return table(
        ["class", *titles], rows, caption="Change in a year, ln(after / before) / years", rest="in intervals.csv"
    )


def _trajectories(trajectories: pd.DataFrame) -> Html:
    """The ways of what changed, the largest first."""
    moved = trajectories[trajectories["changes"].fillna(1) > 0]
    if moved.empty:
        return section("Trajectories", paragraph("Nothing changed."))
    digits = Digits(moved["area_ha"])
    rows = [
        [row["trajectory"], digits(row["area_ha"]), percent(row["share"])]
        for row in moved.head(_PATHS).to_dict(orient="records")
    ]
    left = len(moved) - len(rows)
    said = [paragraph(f"{left} smaller ones are in trajectories.csv.", note=True)] if left > 0 else []
    caption = "What became of the ground that changed, from map to map"
    return section("Trajectories", table(["trajectory", "ha", "share"], rows, caption=caption), *said)


def _patches(patches: pd.DataFrame) -> Html:
    """How many there are of each change, and how large."""
    if patches.empty:
        return paragraph("There is none.")
    digits = Digits([*patches["area_ha"], *patches["largest_ha"]])
    largest = patches.sort_values("area_ha", ascending=False, kind="stable")
    rows = [
        [row["class_name"], count(row["patches"]), *(digits(row[key]) for key in ("area_ha", "mean_ha", "largest_ha"))]
        for row in largest.to_dict(orient="records")
    ]
    caption = "Patches: pixels of one change that hang together, which are the polygons of change.gpkg"
    return table(["change", "patches", "ha", "mean ha", "largest, ha"], rows, caption=caption, rest="in patches.csv")


def _zones(zones: pd.DataFrame) -> Html:
    """The changes in each zone, the largest first."""
    moved = zones[zones["from_name"].notna() & (zones["from_name"] != zones["to_name"])]
    if moved.empty:
        return paragraph("Nothing changed in the zones.")
    digits = Digits(moved["area_ha"])
    ordered = moved.sort_values(["zone_id", "area_ha"], ascending=[True, False], kind="stable")
    rows = [
        [str(row["zone"]), str(row["class_name"]), digits(row["area_ha"]), percent(row["share"])]
        for row in ordered.to_dict(orient="records")
    ]
    return table(["zone", "change", "ha", "of the zone"], rows, caption="What changed in each zone", text_columns=[1],
                 rest="in zones.csv")  # fmt: skip


def series_parts(
    areas: pd.DataFrame, *, places: Sequence[float], labels: Sequence[str], colors: Mapping[str, str]
) -> Sequence[Html]:
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
    return [
        series(lines, places=places, labels=labels, caption="Area of each class", unit="ha"),
        table(["class", *labels], rows, caption="Area of each class at each date, ha", rest="in series.csv"),
    ]
