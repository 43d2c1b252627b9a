"""Files of a comparison of class maps: the crosswalk that goes in; tables, pictures and the record that come out."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array
import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from geoseg import export
from geoseg.change.coded import coded
from geoseg.change.codes import Codes
from geoseg.change.counting import Counted
from geoseg.change.legends import Crosswalk, Legends
from geoseg.change.matrix import square
from geoseg.change.pairing import Stack
from geoseg.classes import NODATA, ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import OptionError
from geoseg.export.thinning import centers, zoomed
from geoseg.outfolder import Clock
from geoseg.report import report_change, write_page
from geoseg.zonal import ZoneAreas

__all__ = [
    "ChangeResult",
    "Compared",
    "Glance",
    "draw_pictures",
    "listed",
    "name_of",
    "read_crosswalk",
    "record_of",
    "write_report",
    "write_tables",
]


@dataclass(frozen=True, eq=False)
class ChangeResult:
    """What `map_change` leaves."""

    folder: Path
    """The output folder."""
    matrix: pd.DataFrame
    """From each class to each class between the first and the last map, as in ``transitions.csv``: the columns of
    `geoseg.change.transition_matrix`; with a minimum area also ``mapped_pixels`` and ``mapped_ha``, as it was before
    small patches were left out."""
    classes: pd.DataFrame
    """Gains, losses and rates by class, of that matrix, as in ``classes.csv``: see `geoseg.change.change_table`."""
    patches: pd.DataFrame
    """The polygons of each change, as in ``patches.csv``: ``class, class_name, from, from_name, to, to_name, patches,
    area_ha, mean_ha, largest_ha``."""
    series: pd.DataFrame
    """The area of each class in each map, see `geoseg.change.class_series`; a file for three maps and more."""
    intervals: pd.DataFrame
    """`geoseg.change.change_table` from each map to the next one; a file for three maps and more."""
    trajectories: pd.DataFrame
    """See `geoseg.change.trajectory_table`; a file for three maps and more."""
    zones: pd.DataFrame | None
    """What became what by zone, as in ``zones.csv``; None without zones."""
    accuracy: Any
    """What `geoseg.assess_map` gives for the map of change; None without a reference."""
    seconds: dict[str, float]
    """Wall time of each stage."""
    zone_classes: pd.DataFrame | None = None
    """Gains, losses and rates of each class in each zone, as in ``zone_classes.csv``; None without zones, or where the
    map of change does not tell all changes apart (loss, gain, or too many classes)."""


@dataclass(frozen=True)
class Compared:
    """What is compared."""

    maps: tuple[xr.DataArray, ...]
    """The class maps, in order of time."""
    names: tuple[str, ...]
    """What they are called."""
    dates: tuple[Any, ...] | None
    """The date of each."""
    years: list[float] | None
    """From each to the next one."""
    stack: Stack
    """Their common part."""
    legends: Legends
    """Their classes."""
    clock: Clock
    """The times of the stages."""


def write_tables(result: ChangeResult, work: Path, *, maps: int) -> None:
    """The tables as CSV, and the text about a reference sample."""
    tables = {
        "transitions": result.matrix,
        "matrix_ha": square(result.matrix, "area_ha"),
        "matrix_pixels": square(result.matrix, "pixels"),
        "classes": result.classes,
        "patches": result.patches,
    }
    if maps > 2:
        tables |= {"series": result.series, "intervals": result.intervals, "trajectories": result.trajectories}
    if result.zones is not None:
        tables["zones"] = result.zones
    if result.zone_classes is not None:
        tables["zone_classes"] = result.zone_classes
    if result.accuracy is not None:
        tables |= {"accuracy": result.accuracy.accuracy.table, "areas": result.accuracy.areas}
        (work / "methods.txt").write_text(result.accuracy.methods, encoding="utf-8")
    for name, table in tables.items():
        export.write_areas_csv(table, work / f"{name}.csv")


def write_zone_layer(found: ZoneAreas, codes: Codes, path: Path) -> None:
    """The zones as polygons: how much changed in each, and which change was the largest, which gives the colour."""
    table = found.table[found.table["class"].isin(codes.changes)]
    zones = found.zones[["zone_id", "zone", "area_m2", "area_ha"]].copy()
    changed_m2 = table.groupby("zone_id")["area_m2"].sum().reindex(zones["zone_id"], fill_value=0.0).to_numpy()
    zones["changed_m2"], zones["changed_ha"] = changed_m2, changed_m2 / 1e4
    zones["changed_share"] = np.divide(
        changed_m2, found.zones["mapped_m2"], out=np.full(len(zones), np.nan), where=found.zones["mapped_m2"] > 0
    )
    largest = table.sort_values("area_m2", kind="stable").groupby("zone_id").tail(1).set_index("zone_id")
    largest = largest[largest["area_m2"] > 0].reindex(zones["zone_id"])
    zones["class"] = largest["class"].fillna(NODATA).astype("int64").to_numpy()
    zones["class_name"] = largest["class_name"].fillna("no change").to_numpy()
    zones["class_ha"] = largest["area_ha"].fillna(0.0).to_numpy()
    shapes = found.geometry.geometry.force_2d().reset_index(drop=True)
    layer = gpd.GeoDataFrame(zones.reset_index(drop=True), geometry=shapes, crs=found.geometry.crs)
    layer = layer[~(shapes.isna() | shapes.is_empty)].reset_index(drop=True)
    there = [info for info in codes.infos if (layer["class"] == info.value).any()]
    style = {"outline": "#4a4a4a", "label": "zone", "other": "no change"}
    export.write_polygons([layer], path, classes=there, layer="zones", multi=True, style=style)


class Glance:
    """The first and the last map at the size of a picture, taken while all maps are read for counting."""

    def __init__(self, stack: Stack, shape: tuple[int, int]) -> None:
        self.stack = stack
        self.rows, self.cols = (centers(many, few) for many, few in zip(stack.geobox.shape, shape, strict=True))
        self.parts = [np.empty(shape, part.dtype) for part in stack.maps]

    def take(self, row0: int, parts: list[np.ndarray]) -> None:
        """See `geoseg.change.counting.count`."""
        inside = slice(*np.searchsorted(self.rows, (row0, row0 + len(parts[0]))))
        for kept, part in zip(self.parts, parts, strict=True):
            kept[inside] = part[self.rows[inside] - row0][:, self.cols]

    def maps(self, legends: Legends) -> tuple[xr.DataArray, xr.DataArray]:
        """Class maps with a legend that both share; without data where one of all maps has none."""
        infos = [ClassInfo(number, name, legends.colors[name]) for number, name in enumerate(legends.values)]
        count = len(infos)
        few = replace(self.stack, maps=tuple(map(dask.array.asarray, self.parts)))
        numbers = np.arange(count * count)
        tables = (np.append(part, NODATA).astype(np.uint8) for part in (numbers // count, numbers % count))
        coarse = zoomed(self.stack.geobox, *self.parts[0].shape)
        early, late = (class_map(coded(few, legends, table).compute(), coarse, infos) for table in tables)
        return early, late


def draw_pictures(
    run: Compared,
    result: ChangeResult,
    glance: Glance,
    change: xr.DataArray,
    codes: Codes,
    areas: pd.DataFrame,
    work: Path,
) -> None:
    """``preview.png`` and, for three maps and more, ``series.png``."""
    before, after = glance.maps(run.legends)
    dates = run.dates
    captions = ("before", "after") if dates is None else (f"before: {dates[0]}", f"after: {dates[-1]}")
    first, last = _short_names(run.names[0], run.names[-1])
    title = f"Change from {first} to {last}"
    export.write_change_preview(
        work / "preview.png",
        before,
        after,
        change,
        changes=codes.changes,
        areas=areas,
        title=title,
        captions=captions,
    )
    if len(run.maps) > 2:
        export.write_series_plot(
            work / "series.png",
            result.series,
            places=np.cumsum([0.0, *(run.years or [1.0] * (len(run.maps) - 1))]).tolist(),
            labels=[str(date) for date in dates or range(1, len(run.maps) + 1)],
            colors=run.legends.colors,
            title=f"Area of each class in {len(run.maps)} maps",
        )


def write_report(
    run: Compared,
    result: ChangeResult,
    glance: Glance,
    change: xr.DataArray,
    codes: Codes,
    record: dict[str, Any],
    work: Path,
) -> None:
    """``report.html``."""
    names = _short_names(run.names[0], run.names[-1])
    dates = ("", "") if run.dates is None else (f", {run.dates[0]}", f", {run.dates[-1]}")
    maps = [
        (f"{when}: {name}{date}.", part)
        for when, name, date, part in zip(("Before", "After"), names, dates, glance.maps(run.legends), strict=True)
    ]
    page = report_change(
        result,
        maps,
        change,
        changes=codes.changes,
        title=f"Change from {names[0]} to {names[1]}",
        record=record,
        years=None if run.years is None else np.cumsum([0.0, *run.years]).tolist(),
    )
    write_page(page, work / "report.html")


def _short_names(first: str, last: str) -> tuple[str, str]:
    """The names of two files, with their folders where they are called alike."""
    one, other = Path(first), Path(last)
    if one.name != other.name or one.parent == other.parent:
        return one.name, other.name
    return f"{one.parent.name}/{one.name}", f"{other.parent.name}/{other.name}"


def record_of(
    run: Compared,
    result: ChangeResult,
    counted: Counted,
    codes: Codes,
    inputs: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What ``run.json`` tells."""
    geobox = run.stack.geobox
    names = list(run.legends.values)
    return {
        "inputs": inputs,
        "settings": settings,
        "years": run.years,
        "classes": [
            {"name": name, "value": value, "color": run.legends.colors[name], "values": _values_of(run.legends, name)}
            for name, value in run.legends.values.items()
        ],
        "codes": [
            {"code": code, "from": names[first], "to": names[second]}
            for code, (first, second) in sorted(codes.pairs.items())
        ],
        "grid": {
            "rows": geobox.shape[0],
            "cols": geobox.shape[1],
            "crs": str(geobox.crs),
            "transform": list(geobox.transform[:6]),
            "compared_pixels": sum(counted.pixels.values()),
            "compared_area_m2": sum(counted.units.values()) * counted.unit_m2,
            "no_data_pixels": counted.no_data[0],
            "no_data_area_m2": counted.no_data[1] * counted.unit_m2,
        },
        "transitions": result.matrix.to_dict(orient="records"),
        "change": result.classes.to_dict(orient="records"),
        "seconds": result.seconds,
        "peak_memory_bytes": export.peak_memory_bytes(),
        "versions": export.versions(),
    }


def _values_of(legends: Legends, name: str) -> list[list[int]]:
    """The values that are called so in each map."""
    return [sorted(value for value, called in part.items() if called == name) for part in legends.names]


def read_crosswalk(crosswalk: Any) -> Crosswalk | None:
    """From a file, where it is one: all as text, for "1" may be a value as well as a name."""
    if not isinstance(crosswalk, str | os.PathLike):
        return crosswalk
    try:
        # No class is lost for being called "NA" or "None".
        return pd.read_csv(crosswalk, dtype=str, keep_default_na=False, na_values=[""], skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' own among them
        raise OptionError(
            f"--crosswalk is a CSV file with the columns from and to, but {crosswalk} cannot be read as one: {error}. "
            "Check the path and the file."
        ) from error


def listed(classes: Any) -> list[str | int] | None:
    """One class or several, as a list."""
    return [classes] if isinstance(classes, str | int) else None if classes is None else list(classes)


def name_of(source: Any) -> Any:
    """What an input is called in the record."""
    if source is None or isinstance(source, str):
        return source
    if isinstance(source, os.PathLike):
        return os.fspath(source)
    if isinstance(source, list | tuple):
        return [name_of(part) for part in source]
    return str(getattr(source, "name", None) or "in memory")
