"""The story of change: from class maps of several dates to a folder of tables, a raster, polygons and pictures.

`map_change` is the way of `geoseg change`: open → count → leave out what is small → raster → polygons → zones and
accuracy → tables and pictures. Everything is made in a folder beside, which takes its name when all is there. The
raster is written first; what comes after is made of it, so tables, raster and polygons agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from geoseg import export
from geoseg.areas import with_no_data_row
from geoseg.change.coded import coded, table_of
from geoseg.change.codes import Codes, check_named, codes_of
from geoseg.change.confidence import joint_confidence
from geoseg.change.counting import Counted, count
from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.matrix import matrix_of, matrix_table, pair_sums
from geoseg.change.pairing import Stack, stack_of
from geoseg.change.small import LargeChanges
from geoseg.change.summary import (
    PAIR,
    areas_by_code,
    beside_mapped,
    dated,
    intervals_of,
    pairs_of,
    patch_table,
    zone_classes,
)
from geoseg.change.table import change_table, years_between
from geoseg.change.trajectories import series_of, trajectories_of
from geoseg.change_files import (
    ChangeResult,
    Compared,
    Glance,
    draw_pictures,
    listed,
    name_of,
    read_crosswalk,
    record_of,
    write_report,
    write_tables,
    write_zone_layer,
)
from geoseg.classes import NODATA
from geoseg.classmap import BlockWriter, class_map, only_classes, open_blocks, open_class_map, write_class_map
from geoseg.errors import OptionError, SceneError
from geoseg.outfolder import Clock, whole_folder
from geoseg.polygons import iter_tables
from geoseg.progress import Progress
from geoseg.sampling import SampleDesign, assess_map, read_design
from geoseg.units import Area, parse_area, with_unit
from geoseg.zonal import ZoneAreas, zone_areas

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

__all__ = ["ChangeResult", "map_change"]

_GDAL_CACHE_MB = "64"
_MOST_TRAJECTORIES = 1000
Source = str | os.PathLike[str] | xr.DataArray


def map_change(
    maps: Sequence[Source],
    out: str | os.PathLike[str] = "change",
    *,
    dates: Sequence[Any] | None = None,
    crosswalk: Crosswalk | str | os.PathLike[str] | None = None,
    loss: str | int | Iterable[str | int] | None = None,
    gain: str | int | Iterable[str | int] | None = None,
    min_area: str | float | None = None,
    connectivity: int = 4,
    confidence: Sequence[Source] | None = None,
    zones: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    zone_field: str | None = None,
    reference: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    design: str | os.PathLike[str] | SampleDesign | None = None,
    band: int | None = None,
    crs: Any = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ChangeResult:
    """Map what became what between two or more class maps: tables, raster, polygons and pictures in one folder.

    Everything is compared on the grid of the last map, where all maps have a class (see `geoseg.change.align`). The
    matrix, the raster and the polygons compare the first map with the last one. With three maps and more there are also
    trajectories, a series of areas, and the gains and losses of each interval.

    Parameters
    ----------
    maps
        Class maps in order of time: files, or what `geoseg.open_class_map` gives.
    out
        The output folder. It must not be there, unless `overwrite` is set.
    dates
        One for each map: "2018-06-01", a date, or a year. Without them there are no annual rates.
    crosswalk
        Where legends differ: see `geoseg.change.transition_matrix`; or a CSV file with the columns from, to and, if
        need be, date.
    loss, gain
        Classes: the raster and the polygons tell only changes from (loss) or to (gain) one of these, with both only
        from the ones to the others; and where these classes stayed. All else is "other" in the raster. Tables stay
        whole.
    min_area
        Patches of change smaller than this (``"0.5ha"``, ``"500m2"``, ``"9px"``) are left out: the ground is taken for
        what it was before, in the raster, the polygons, ``transitions.csv`` and ``classes.csv``. Series, intervals and
        trajectories stay as mapped.
    connectivity
        4 or 8: whether pixels that touch at a corner only belong to one patch.
    confidence
        Two maps of percent, on the grids of the first and of the last class map. A patch gets the mean, over its
        pixels, of the product of the two: the probability that both classes are right, if their errors are independent.
    zones, zone_field
        Polygons, and the column with their names: what became what in each, see `geoseg.zone_areas`.
    reference, design
        A reference sample of the map of change, and how it was drawn (what `geoseg.draw_sample` tells, or its file; one
        that stands beside the file of the sample is found): areas of change with intervals, see `geoseg.assess_map`.
    band, crs
        Of the class maps, see `geoseg.open_class_map`.
    overwrite
        Replace the output folder.

    Returns
    -------
    ChangeResult
        The folder and the tables.

    Raises
    ------
    OptionError
        Fewer than two maps; dates that are too few or not rising; different classes and no crosswalk; a class of loss
        or gain that is not there; an option with a value that it cannot have.
    SceneError
        The maps do not overlap, have no class at one place, or are no class maps.
    MismatchError
        A confidence lies on another grid than its map.
    OutputError
        The folder is there already or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> grid = GeoBox.from_bbox((500000, 0, 500040, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field")]
    >>> early, late = (class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 1, 2], [1, 2, 2, 2]))
    >>> found = map_change([early, late], Path(tempfile.mkdtemp()) / "change", dates=(2000, 2010))
    >>> found.patches[["from_name", "to_name", "patches"]].values.tolist()
    [['forest', 'field', 1]]
    >>> found.classes[["class_name", "annual_rate"]].round(3).values.tolist()
    [['forest', -0.11], ['field', 0.11]]
    """
    # GDAL's block cache is 5 % of the machine by default, and would grow with the maps up to there.
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)
    clock = Clock(progress or Progress())
    clock.stage("open")
    loss, gain = listed(loss), listed(gain)
    settings = {
        "dates": None if dates is None else [str(date) for date in dates],
        "crosswalk": name_of(crosswalk) if isinstance(crosswalk, str | os.PathLike) else None,
        "loss": loss,
        "gain": gain,
        "min_area": None if min_area is None else str(min_area),
        "connectivity": connectivity,
        "zone_field": zone_field,
        "band": band,
        "crs": None if crs is None else str(crs),
    }
    run = _open(maps, dates, crosswalk, band, crs, clock)
    check_named(run.legends, loss=loss, gain=gain)
    size = None if min_area is None else with_unit(parse_area(min_area), run.stack.geobox)
    if connectivity not in (4, 8):
        raise OptionError(f"Pixels are connected by 4 or 8 neighbours, but --connectivity is {connectivity!r}.")
    if zone_field is not None and zones is None:
        raise OptionError(f"--zone-field names a column of zones, but there are none: {zone_field!r}. Give --zones.")
    percent = _joint(confidence, run, crs)
    areas_to_tell = export.read_areas(zones) if isinstance(zones, str | os.PathLike) else zones
    sample = export.read_reference(reference) if isinstance(reference, str | os.PathLike) else reference
    design = _design(reference, design)
    others = {"confidence": confidence, "zones": zones, "reference": reference, "design": design}
    inputs = {"maps": list(run.names)} | {name: name_of(source) for name, source in others.items()}

    with whole_folder(Path(out), overwrite=overwrite) as work:
        counted, glance = _count(run)
        run = replace(run, legends=run.legends.with_values(counted.pixels))
        units = pair_sums(counted, run.legends)[1]
        codes = codes_of(run.legends, loss=loss, gain=gain, whole=True, units=units)
        matrix, areas, change = _write_raster(run, counted, codes, size, connectivity, work)
        clock.stage("polygons")
        patches = _write_layer(run, change, percent, codes, areas, connectivity, work / "change.gpkg")
        clock.stage("tables")
        found = None if areas_to_tell is None else zone_areas(change, areas_to_tell, zone_field=zone_field)
        by_zone = None if found is None else _by_zone(found, codes, run.legends)
        if found is not None:
            write_zone_layer(found, codes, work / "zones.gpkg")
        ends = None if dates is None else (dates[0], dates[-1])
        result = ChangeResult(
            folder=Path(out),
            matrix=matrix,
            classes=change_table(matrix, ends),
            patches=patch_table(patches, areas, codes, run.legends),
            series=dated(series_of(counted, run.legends), dates),
            intervals=intervals_of(counted, run.legends, dates),
            trajectories=trajectories_of(counted, run.legends, _MOST_TRAJECTORIES),
            zones=by_zone,
            accuracy=_assessed(change, sample, design),
            seconds=clock.seconds,
            zone_classes=zone_classes(by_zone, ends),
        )
        write_tables(result, work, maps=len(run.maps))
        clock.stage("pictures")
        draw_pictures(run, result, glance, change, codes, areas, work)
        clock.stage("done")
        record = record_of(run, result, counted, codes, inputs, settings)
        export.write_record(work / "run.json", record)
        write_report(run, result, glance, change, codes, record, work)
    return result


# ---- what goes in --------------------------------------------------------------------------------------------


def _open(maps: Sequence[Source], dates: Any, crosswalk: Any, band: int | None, crs: Any, clock: Clock) -> Compared:
    if isinstance(maps, str | os.PathLike | xr.DataArray):
        maps = [maps]
    opened = tuple(m if isinstance(m, xr.DataArray) else open_class_map(m, band=band, crs=crs) for m in maps)
    stack = stack_of(opened)
    years = years_between(dates, len(opened))
    legends = legends_of(opened, read_crosswalk(crosswalk))
    return Compared(
        opened, tuple(map(name_of, maps)), None if dates is None else tuple(dates), years, stack, legends, clock
    )


def _joint(confidence: Sequence[Source] | None, run: Compared, crs: Any) -> xr.DataArray | None:
    if confidence is None:
        return None
    sources = [confidence] if isinstance(confidence, str | os.PathLike | xr.DataArray) else confidence
    opened = [part if isinstance(part, xr.DataArray) else open_class_map(part, crs=crs) for part in sources]
    return joint_confidence(opened, run.maps, run.stack)


def _design(reference: Any, design: Any) -> Any:
    """The file that stands beside a sample, where no other is given."""
    if design is not None and reference is None:
        raise OptionError(f"--design tells how a reference was drawn, but there is none: {design}. Give --reference.")
    if design is None and isinstance(reference, str | os.PathLike):
        beside = Path(reference).with_name(f"{Path(reference).stem}_design.json")
        return beside if beside.is_file() else None
    return design


# ---- count and raster ----------------------------------------------------------------------------------------


def _count(run: Compared) -> tuple[Counted, Glance]:
    rows, cols = run.stack.geobox.shape
    run.clock.stage("count", rows * cols)
    glance = Glance(run.stack, export.change_panel_shape(run.stack.geobox))

    def on_strip(row0: int, parts: list[np.ndarray]) -> None:
        glance.take(row0, parts)
        run.clock.progress.advance(parts[0].size)

    counted = count(run.stack, on_strip=on_strip)
    if not counted.pixels:
        raise SceneError(
            "Change is found where all maps have a class, but there is no such pixel. Give maps whose valid parts "
            "overlap."
        )
    return counted, glance


def _write_raster(
    run: Compared, counted: Counted, codes: Codes, size: Area | None, connectivity: int, work: Path
) -> tuple[pd.DataFrame, pd.DataFrame, xr.DataArray]:
    """``change.tif``; its transition matrix, its areas by code, and the map of change as it was written."""
    run.clock.stage("raster")
    stack, legends = run.stack, run.legends
    matrix = matrix_of(counted, legends)
    values: Any = coded(stack, legends, table_of(codes))
    large = work / "large.tif"
    if size is not None:
        changes = LargeChanges(stack, legends, min_area=size, connectivity=connectivity)
        values = _stored(changes, codes, stack, large)
        matrix = beside_mapped(matrix_table(changes.pixels, changes.units, counted.unit_m2, legends), matrix)
    areas = areas_by_code(matrix, counted, codes, legends)
    there = set(areas.loc[areas["pixels"] > 0, "class"])
    shown = [info for info in codes.infos if info.value in there]  # no legend of what nowhere happened
    path = write_class_map(class_map(values, stack.geobox, shown), work / "change.tif", areas=areas)
    large.unlink(missing_ok=True)
    return matrix, areas, class_map(open_class_map(path).data, stack.geobox, codes.infos, name="change")


def _stored(changes: LargeChanges, codes: Codes, stack: Stack, path: Path) -> Any:
    """The codes without small patches, through a file as large as the map: they come in order, from top to bottom."""
    lookup = table_of(codes)
    with BlockWriter(path, stack.geobox) as writer:
        for row0, numbers in changes.strips():
            values = lookup[numbers]
            writer.write(row0, values, np.zeros_like(values))
    return open_blocks([(path, 0, 0)], stack.geobox, codes.infos)["class"].data


# ---- polygons, zones and accuracy ----------------------------------------------------------------------------


def _write_layer(
    run: Compared,
    change: xr.DataArray,
    percent: xr.DataArray | None,
    codes: Codes,
    areas: pd.DataFrame,
    connectivity: int,
    path: Path,
) -> dict[int, tuple[int, float]]:
    """``change.gpkg``; how many polygons each change has, and the area of the largest in m²."""
    multi = connectivity == 8
    patches: dict[int, tuple[int, float]] = {}
    tables = iter_tables(
        only_classes(change, codes.changes), confidence=percent, multi=multi, connectivity=connectivity
    )
    there = set(areas.loc[areas["pixels"] > 0, "class"])
    export.write_polygons(
        _with_pairs(_tallied(tables, patches), codes, run.legends),
        path,
        classes=[info for info in codes.infos if info.value in there & set(codes.changes)],
        areas=with_no_data_row(areas),
        layer="change",
        multi=multi,
    )
    return patches


def _tallied(tables: Iterable[pa.Table], patches: dict[int, tuple[int, float]]) -> Iterator[pa.Table]:
    for table in tables:
        classes, area_m2 = (table[name].to_numpy() for name in ("class", "area_m2"))
        for code in np.unique(classes).tolist():
            mine = area_m2[classes == code]
            number, largest = patches.get(code, (0, 0.0))
            patches[code] = number + len(mine), max(largest, float(mine.max()))
        yield table


def _with_pairs(tables: Iterable[pa.Table], codes: Codes, legends: Legends) -> Iterator[pa.Table]:
    """Polygons with the columns from, from_name, to and to_name."""
    import pyarrow as pa

    pairs = pairs_of(range(NODATA), codes, legends)
    columns = {
        name: pa.array(pairs[name].astype(object).where(pairs[name].notna(), None), kind)
        for name, kind in zip(PAIR, (pa.int64(), pa.string()) * 2, strict=True)
    }
    for table in tables:
        place = table.schema.get_field_index("class_name")
        for name, known in reversed(columns.items()):
            table = table.add_column(place + 1, name, known.take(table["class"].combine_chunks()))
        yield table


def _by_zone(found: ZoneAreas, codes: Codes, legends: Legends) -> pd.DataFrame:
    table = found.table[(found.table["area_m2"] > 0) & (found.table["class"] != NODATA)].reset_index(drop=True)
    pairs = pairs_of(table["class"], codes, legends)
    place = list(table.columns).index("class_name") + 1
    return pd.concat([table.iloc[:, :place], pairs, table.iloc[:, place:]], axis=1)


def _assessed(change: xr.DataArray, sample: gpd.GeoDataFrame | None, design: Any) -> Any:
    if sample is None:
        return None
    if isinstance(design, str | os.PathLike):
        design = read_design(Path(design))
    return assess_map(change, sample, design=design)
