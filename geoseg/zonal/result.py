"""Areas by zone and class as tables and as a layer of the zones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg.classes import NODATA, ClassInfo
from geoseg.zonal.counting import Sums

__all__ = ["ZoneAreas", "class_table", "statistics", "zone_table"]

NO_CLASS, NO_MAP = "(no data)", "(outside)"
_TYPED = {"object_id": "iu", "pixels": "iu", "perimeter_m": "iuf", "confidence": "iuf"}
"""Names that have a type of their own in every layer that geoseg writes, and numpy's kinds that become it."""

_MEASURES = ("mean", "min", "max", "std")


@dataclass(frozen=True)
class ZoneAreas:
    """The true area of each class in each zone.

    Areas are on the ellipsoid. A zone's area is what is mapped in it, what has no data, and what lies outside of the
    map: ``area_m2 = mapped_m2 + no_data_m2 + outside_m2``.
    """

    table: pd.DataFrame
    """A row for each zone and class (long): ``zone_id, zone, class, class_name, pixels`` (parts of pixels are
    fractions), ``area_m2, area_ha, share`` (0..1, of the zone's mapped area; NaN where nothing is mapped),
    ``share_of_zone`` (of the zone's whole area), and with values their ``_mean, _min, _max, _std``. Every class of the
    legend, and every other that occurs in one of the zones, has a row in every zone."""
    zones: pd.DataFrame
    """A row for each zone, in the order given: ``zone_id`` (1, 2, ...), ``zone`` (its name), ``place`` (inside, partly
    outside, or outside of the map; or no polygon), ``area_m2, area_ha, mapped_m2, mapped_share, no_data_m2,
    no_data_share, no_data_pixels, outside_m2, outside_share``, and ``class, class_name, class_share``: the class with
    the largest area in it (255, "(no data)" or "(outside)" where there is none). With values also their ``_mean, _min,
    _max, _std`` and ``_area_m2``, the area that has one."""
    geometry: gpd.GeoDataFrame
    """The zones as they were given, with all their columns."""
    classes: tuple[ClassInfo, ...]
    """The legend: names and colours. Values that cannot be a `ClassInfo` (above 254) are not among them."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was asked for, for records."""

    def long(self) -> pd.DataFrame:
        """`table` with what has no data as a last row of each zone, as it is written to files: class 255, "(no data)",
        and no share."""
        empty = self.zones[["zone_id", "zone", "no_data_pixels", "no_data_m2", "no_data_share"]]
        empty = empty.set_axis(["zone_id", "zone", "pixels", "area_m2", "share_of_zone"], axis=1)
        empty = empty.assign(area_ha=empty["area_m2"] / 1e4, class_name=NO_CLASS, **{"class": NODATA})
        both = pd.concat([self.table, empty.reindex(columns=self.table.columns)], ignore_index=True)
        return both.sort_values("zone_id", kind="stable", ignore_index=True)

    def wide(self) -> pd.DataFrame:
        """`zones` with three columns for each class: ``water_m2, water_ha, water_share`` for a class "water"."""
        names = self.column_names()
        parts: list[pd.DataFrame] = [self.zones]
        for column, ending in (("area_m2", "m2"), ("area_ha", "ha"), ("share", "share")):
            pivot = self.table.pivot(index="zone_id", columns="class", values=column)
            parts.append(pivot.set_axis([f"{name}_{ending}" for name in names.values()], axis=1).reset_index(drop=True))
        joined = pd.concat(parts, axis=1)
        by_class = [f"{name}_{ending}" for name in names.values() for ending in ("m2", "ha", "share")]
        return joined[[*self.zones.columns, *by_class]]

    def layer(self) -> gpd.GeoDataFrame:
        """The zones as polygons with `wide` joined: first ours, then the columns that they had.

        A column that they had with the name of one of ours has ``_given`` behind it.
        """
        ours = self.wide()
        taken = {str(name).casefold() for name in ours} | {"fid", "geom", "geometry"}
        given = {}
        for name, column in self.geometry.drop(columns=self.geometry.geometry.name).items():
            if column.dtype.kind not in _TYPED.get(str(name), column.dtype.kind):
                taken.add(str(name))
            key = _free(str(name), taken, "_given")
            given[key] = _plain(column).reset_index(drop=True)
        frame = pd.concat([ours, pd.DataFrame(given, index=ours.index)], axis=1)
        shapes = self.geometry.geometry.force_2d().reset_index(drop=True)
        there = ~(shapes.isna() | shapes.is_empty)
        return gpd.GeoDataFrame(frame, geometry=shapes, crs=self.geometry.crs)[there].reset_index(drop=True)

    def column_names(self) -> dict[int, str]:
        """What the columns of each class begin with in `wide`: its name, spaces and the like as underscores."""
        ends = (re.fullmatch(r"(.+)_(m2|ha|share)", str(name)) for name in self.zones)
        taken = {end[1] for end in ends if end}  # "mapped", say
        pairs = self.table.drop_duplicates("class")[["class", "class_name"]].itertuples(index=False)
        return {int(value): _free(_slug(name), taken, f"_{value}") for value, name in pairs}


def zone_table(
    names: list[str], sums: Sums, whole_m2: np.ndarray, class_names: dict[int, str], inside: np.ndarray
) -> pd.DataFrame:
    """`ZoneAreas.zones`, without statistics of values.

    Parameters
    ----------
    whole_m2
        The areas of the zones; those of zones that are inside are not looked at.
    inside
        Whether a zone has no part outside of the map.
    """
    no_data = sums.area_m2[:, -1]
    mapped = sums.area_m2[:, :-1].sum(axis=1)
    outside = np.where(inside, 0.0, np.maximum(whole_m2 - mapped - no_data, 0.0))
    area = mapped + no_data + outside
    place = np.where(inside, "inside", np.where(mapped + no_data > 0, "partly outside", "outside"))
    place[area == 0] = "no polygon"
    largest = sums.area_m2[:, :-1].argmax(axis=1) if sums.values else np.zeros(len(names), int)
    share = _ratio(sums.area_m2[np.arange(len(names)), largest], mapped)
    values = [sums.values[number] if part > 0 else NODATA for number, part in zip(largest, mapped, strict=True)]
    nothing = np.where(no_data > 0, NO_CLASS, np.where(outside > 0, NO_MAP, "(no polygon)"))
    rows = zip(values, mapped, nothing, strict=True)
    labels = [class_names[value] if part > 0 else str(none) for value, part, none in rows]
    return pd.DataFrame(
        {
            "zone_id": np.arange(1, len(names) + 1),
            "zone": names,
            "place": place,
            "area_m2": area,
            "area_ha": area / 1e4,
            "mapped_m2": mapped,
            "mapped_share": _ratio(mapped, area),
            "no_data_m2": no_data,
            "no_data_share": _ratio(no_data, area),
            "no_data_pixels": sums.pixels[:, -1],
            "outside_m2": outside,
            "outside_share": _ratio(outside, area),
            "class": np.array(values, np.int64),
            "class_name": labels,
            "class_share": share,
        }
    )


def class_table(zones: pd.DataFrame, sums: Sums, class_names: dict[int, str]) -> pd.DataFrame:
    """`ZoneAreas.table`, without statistics of values."""
    count, columns = len(zones), len(sums.values)
    area = sums.area_m2[:, :-1].ravel()
    return pd.DataFrame(
        {
            "zone_id": np.repeat(zones["zone_id"].to_numpy(), columns),
            "zone": np.repeat(zones["zone"].to_numpy(dtype=object), columns),
            "class": np.tile(np.array(sums.values, np.int64), count),
            "class_name": np.tile(np.array([class_names[value] for value in sums.values], dtype=object), count),
            "pixels": sums.pixels[:, :-1].ravel(),
            "area_m2": area,
            "area_ha": area / 1e4,
            "share": _ratio(area, np.repeat(zones["mapped_m2"].to_numpy(), columns)),
            "share_of_zone": _ratio(area, np.repeat(zones["area_m2"].to_numpy(), columns)),
        }
    )


def statistics(moments: np.ndarray, extremes: np.ndarray, origins: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Mean, extremes and standard deviation of values, each pixel weighted by its area in the zone.

    Parameters
    ----------
    moments, extremes, origins
        (..., 3), (..., 2) and (...,), as in `Sums`.
    name
        What the columns begin with.
    """
    weight = moments[..., 0]
    mean = _ratio(moments[..., 1], weight)
    variance = np.maximum(_ratio(moments[..., 2], weight) - mean**2, 0)
    there = weight > 0
    low, high = (np.where(there, extremes[..., side], np.nan) for side in (0, 1))
    results = np.clip(origins + mean, low, high), low, high, np.sqrt(variance)  # rounding takes no mean out of bounds
    return {f"{name}_{measure}": result for measure, result in zip(_MEASURES, results, strict=True)}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _slug(name: str) -> str:
    """
    >>> _slug("Open water (lakes)"), _slug("forêt"), _slug("→")
    ('Open_water_lakes', 'forêt', 'class')
    """
    return re.sub(r"\W+", "_", name).strip("_") or "class"


def _free(name: str, taken: set[str], ending: str) -> str:
    """A name that is not among those taken, in any case of letters, which it joins."""
    while name.casefold() in taken:
        name += ending
    taken.add(name.casefold())
    return name


def _plain(column: pd.Series) -> pd.Series:
    """A column of a type that every format has: what is not a number, a date or a truth value becomes text."""
    kinds: Iterable[str] = ("integer", "floating", "boolean", "string", "empty")
    if column.dtype.kind in "iufbM" or pd.api.types.infer_dtype(column, skipna=True) in kinds:
        return column
    return column.map(lambda value: None if value is None or value is pd.NA else str(value))
