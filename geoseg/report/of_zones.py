"""The report on areas by zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from geoseg.classmap import geobox_of
from geoseg.export.drawing import NODATA_COLOR
from geoseg.report.charts import shares
from geoseg.report.figures import Outline, class_figure, legend
from geoseg.report.made import caveats, how_made, subtitle
from geoseg.report.numbers import Digits, percent
from geoseg.report.of_areas import MAP_ERRORS
from geoseg.report.page import Html, keys, page, paragraph, section, table

if TYPE_CHECKING:
    import xarray as xr

    from geoseg.zonal import ZoneAreas

__all__ = ["report_zones"]

_BARS, _CLASSES, _LABELS = 60, 12, 99
_CAVEATS = (
    MAP_ERRORS,
    "Zones and map each have a border of their own precision. A small zone, or one that is narrow for the size of a "
    "pixel, has areas that depend on both; the parts of pixels along its border are counted exactly, but the class in "
    "them is that of the whole pixel.",
)
_RULES = (
    "A pixel that a border crosses counts with the part that lies in the zone, with that part's area on the ellipsoid.",
    "Shares of classes are of the part of the zone that has a class.",
    "Zones may overlap: what lies in two of them counts in both, so their sum may be more than the map.",
)


def report_zones(found: ZoneAreas, class_map: xr.DataArray, *, title: str, record: Mapping[str, Any]) -> Html:
    """The page of `geoseg areas --zones`.

    Parameters
    ----------
    found
        Of `geoseg.zone_areas`.
    class_map
        The map.
    title
        Its name.
    record
        How it was made, see `geoseg.report.how_made`.
    """
    zones = found.zones
    parts = [
        section("Map", class_figure(class_map, caption=_caption(zones), outlines=_outlines(found, class_map))),
        section("Zones", _keys(zones), *_bars(found), _zone_table(found)),
        section("Areas", _class_table(found)),
        caveats(_CAVEATS),
        how_made(record, rules=_RULES),
    ]
    return page(title, parts, subtitle=subtitle("Areas by zone"))


def _caption(zones: pd.DataFrame) -> str:
    return "The class map and the zones" + (", by their numbers below." if len(zones) <= _LABELS else ".")


def _outlines(found: ZoneAreas, class_map: xr.DataArray) -> list[Outline]:
    shapes = found.geometry.geometry.to_crs(geobox_of(class_map).crs.to_wkt())  # type: ignore[union-attr]
    numbered = len(shapes) <= _LABELS
    return [
        Outline(str(name), shape, str(number) if numbered else "")
        for number, name, shape in zip(found.zones["zone_id"], found.zones["zone"], shapes, strict=True)
        if shape is not None and not shape.is_empty
    ]


def _keys(zones: pd.DataFrame) -> Html:
    total, mapped, empty = (zones[name].sum() for name in ("area_m2", "mapped_m2", "no_data_m2"))
    beyond = int((zones["place"] != "inside").sum())
    return keys(
        {
            "zones": f"{len(zones):,}",
            "ha have a class": Digits([mapped / 1e4])(mapped / 1e4),
            "of the zones' area without data": percent(empty / total if total else float("nan")),
            "zones reach beyond the map": f"{beyond:,}",
        }
    )


def _name(row: Mapping[Any, Any]) -> str:
    return f"{row['zone_id']} {row['zone']}" if str(row["zone"]) != str(row["zone_id"]) else str(row["zone"])


def _bars(found: ZoneAreas) -> Sequence[Html]:
    colors = {info.value: info.color for info in found.classes}
    of_zone = dict(list(found.table.groupby("zone_id")))
    rows = []
    for zone in found.zones.head(_BARS).to_dict(orient="records"):
        parts = [
            (row["class_name"], colors.get(row["class"], "#8fa3b8"), row["share_of_zone"])
            for row in of_zone[zone["zone_id"]].to_dict(orient="records")
        ]
        parts.append(("no data", NODATA_COLOR, zone["no_data_share"]))
        text = f"{zone['class_name']} {percent(zone['class_share'], 0)}" if zone["mapped_m2"] > 0 else "not mapped"
        rows.append((_name(zone), parts, text))
    names = found.table.drop_duplicates("class")
    entries = [
        (str(name), colors.get(value, "#8fa3b8"))
        for value, name in zip(names["class"], names["class_name"], strict=True)
        if found.table.loc[found.table["class"] == value, "area_m2"].sum() > 0
    ]
    left = len(found.zones) - len(rows)
    said = [paragraph(f"The first {_BARS} of {len(found.zones):,} zones.", note=True)] if left > 0 else []
    caption = "What each zone is made of, and its largest class; white: outside of the map"
    if found.zones["no_data_m2"].any():
        entries.append(("no data", NODATA_COLOR))
    return [legend(entries), shares(rows, caption=caption), *said]


def _zone_table(found: ZoneAreas) -> Html:
    zones = found.zones
    digits = Digits(zones["area_ha"])
    measured = [str(name) for name in zones if str(name).endswith("_mean")]
    means = {name: Digits(zones[name]) for name in measured}
    rows = [
        [
            _name(row),
            digits(row["area_ha"]),
            *(percent(row[f"{name}_share"]) for name in ("mapped", "no_data", "outside")),
            *(means[name](row[name]) for name in measured),
        ]
        for row in zones.to_dict(orient="records")
    ]
    titles = ["zone", "ha", "with a class", "no data", "outside", *(f"mean {name[:-5]}" for name in measured)]
    return table(titles, rows, caption="The zones, their areas on the ellipsoid, and what the map covers of them",
                 rest="in zones.csv")  # fmt: skip


def _class_table(found: ZoneAreas) -> Html:
    sums = found.table.groupby("class")["area_m2"].sum().sort_values(ascending=False, kind="stable")
    shown = list(sums[sums > 0].index[:_CLASSES])
    names = dict(zip(found.table["class"], found.table["class_name"], strict=True))
    wide = found.table.pivot(index="zone_id", columns="class", values="area_ha").loc[found.zones["zone_id"], shown]
    digits = Digits(wide.to_numpy().ravel())
    rows = [
        [_name(zone), *(digits(value) for value in numbers)]
        for zone, numbers in zip(found.zones.to_dict(orient="records"), wide.to_numpy(), strict=True)
    ]
    left = int((sums > 0).sum()) - len(shown)
    cut = f"; the {left} smallest classes are in the tables only" if left > 0 else ""
    return table(["zone", *(str(names[value]) for value in shown)], rows,
                 caption=f"Area of each class in each zone, ha{cut}", rest="in zones.csv")  # fmt: skip
