"""The verb ``geoseg areas`` and the files that it writes; `geoseg.cli` adds it to the others."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.cli_options import Debug, refuse_existing
from geoseg.errors import OptionError, OutputError
from geoseg.progress import make_progress

__all__ = ["areas", "print_areas", "write_areas", "write_zone_areas"]

FILES = ("areas.csv", "areas.json", "report.html")
ZONE_FILES = ("zone_areas.csv", "zones.csv", "zones.gpkg", "zone_areas.json", "report.html")
_STYLE = {"outline": "#4a4a4a", "label": "zone", "other": "no class"}
_SHOWN = 20  # zones in the summary


def areas(
    raster: Annotated[Path, typer.Argument(help="Any categorical raster with one band.")],
    zones: Annotated[Path | None, typer.Option(help="Polygons: the areas in each of them, in any CRS.")] = None,
    zone_field: Annotated[str | None, typer.Option(help="The field with the names of zones; else numbered.")] = None,
    zones_layer: Annotated[str | None, typer.Option(help="The zones' layer, where their file has several.")] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="The map's confidence on the same grid: its mean and so on for each zone.")
    ] = None,
    mean: Annotated[Path | None, typer.Option(help="Any other numbers on the same grid, likewise.")] = None,
    threads: Annotated[int | None, typer.Option(help="Zones summed at once; by default one for each core.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the tables; or a CSV, for one table alone.")
    ] = None,
    crs: Annotated[str | None, typer.Option("--crs", help="The CRS of a raster that has none, or a wrong one.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    debug: Debug = False,
) -> None:
    """The true area of every class of a categorical raster, on the ellipsoid; with --zones, in each of them."""
    given = {"--zone-field": zone_field, "--zones-layer": zones_layer, "--confidence": confidence, "--mean": mean}
    lonely = [option for option, value in given.items() if value is not None]
    if zones is None and lonely:
        raise OptionError(f"{lonely[0]} is for areas by zone, but there are no zones. Give --zones, or leave it out.")
    if confidence is not None and mean is not None:
        raise OptionError("Values come from one raster, but both --confidence and --mean are given. Run it twice.")
    if out is not None:
        _refuse_existing(out, FILES if zones is None else ZONE_FILES, overwrite)
    if zones is None:
        _areas_of_map(raster, out, crs, quiet=quiet)
        return
    inputs = {"map": raster, "zones": zones, "confidence": confidence, "mean": mean}
    cover, found = _areas_by_zone(inputs, zone_field, zones_layer, threads, crs, quiet=quiet)
    if out is not None and _is_folder(out):
        write_zone_areas(found, out, class_map=cover, inputs=inputs)
    elif out is not None:
        from geoseg import export

        export.write_areas_csv(found.long(), out)
    if not quiet:
        _print_zones(found)
        if out is not None and _is_folder(out):
            typer.echo(f"The report is {out / 'report.html'}; open {out / 'zones.gpkg'} in QGIS.")


def _areas_of_map(raster: Path, out: Path | None, crs: str | None, *, quiet: bool) -> None:
    from geoseg import export
    from geoseg.areas import with_no_data_row
    from geoseg.classmap import open_class_map

    cover = open_class_map(raster, crs=crs)
    found = geoseg.class_areas(cover)
    table = with_no_data_row(found)
    if out is not None and _is_folder(out):
        write_areas(found, out, class_map=cover, inputs={"map": raster})
    elif out is not None:
        export.write_areas_csv(table, out)
    if not quiet:
        print_areas(table)
        if out is not None and _is_folder(out):
            typer.echo(f"The report is {out / 'report.html'}.")


def _areas_by_zone(
    inputs: dict[str, Path | None],
    field: str | None,
    layer: str | None,
    threads: int | None,
    crs: str | None,
    *,
    quiet: bool,
) -> tuple[Any, Any]:
    from geoseg import export
    from geoseg.classmap import open_class_map, open_value_map

    cover = open_class_map(inputs["map"], crs=crs)  # type: ignore[arg-type]
    values = inputs["confidence"] or inputs["mean"]
    with make_progress(quiet=quiet) as progress:
        progress.stage("zones", cover.size)
        return cover, geoseg.zone_areas(
            cover,
            export.read_objects(inputs["zones"], layer=layer, what="Zones"),  # type: ignore[arg-type]
            zone_field=field,
            values=None if values is None else open_value_map(values, crs=crs),
            values_name="value" if inputs["confidence"] is None else "confidence",
            threads=threads,
            on_pixels=progress.advance,
        )


def write_areas(found: Any, folder: Path, *, class_map: Any, inputs: dict[str, Path | None]) -> None:
    """Write the areas of a map's classes (CSV), the record (JSON) and the report: all of them or none.

    Parameters
    ----------
    found
        What `geoseg.class_areas` gives.
    folder
        Made where it is missing; files of these names in it are replaced.
    class_map
        The map.
    inputs
        The names of the files, for the record; that of the map is called ``map``.
    """
    from geoseg import export
    from geoseg.areas import with_no_data_row
    from geoseg.files import check_folder, replacing
    from geoseg.report import report_areas, write_page

    check_folder(folder, create=True)
    table = with_no_data_row(found)
    record = {"inputs": inputs, "areas": table.to_dict(orient="records"), "versions": export.versions()}
    with ExitStack() as files:  # each takes its place when all are whole
        csv, json, html = (files.enter_context(replacing(folder / name)) for name in FILES)
        export.write_areas_csv(table, csv)
        export.write_record(json, record)
        write_page(report_areas(class_map, found, title=_title(inputs), record=record), html)


def write_zone_areas(found: Any, folder: Path, *, class_map: Any, inputs: dict[str, Path | None]) -> None:
    """Write areas by zone: a long and a wide table (CSV), a layer of the zones, record and report; all or none.

    Parameters
    ----------
    found
        What `geoseg.zone_areas` gives.
    folder
        Made where it is missing; files of these names in it are replaced.
    class_map
        The map.
    inputs
        The names of the files, for the record; that of the map is called ``map``.
    """
    from geoseg import export
    from geoseg.files import check_folder, replacing
    from geoseg.report import report_zones, write_page

    check_folder(folder, create=True)
    table = found.long()
    record = {
        "inputs": inputs,
        "settings": found.settings,
        "zones": {"count": len(found.zones), "places": found.zones["place"].value_counts().to_dict()},
        "names_twice": sorted(_twice(found)),
        "classes": found.classes,
        "versions": export.versions(),
    }
    with ExitStack() as files:  # each takes its place when all are whole
        long, wide, gpkg, json, html = (files.enter_context(replacing(folder / name)) for name in ZONE_FILES)
        export.write_areas_csv(table, long)
        export.write_areas_csv(found.wide(), wide)
        export.write_polygons(
            [found.layer()], gpkg, classes=found.classes, areas=table, layer="zones", multi=True, style=_STYLE
        )
        export.write_record(json, record)
        write_page(report_zones(found, class_map, title=_title(inputs), record=record), html)


def _title(inputs: dict[str, Path | None]) -> str:
    return "Areas" if inputs.get("map") is None else Path(str(inputs["map"])).name


def print_areas(table: Any) -> None:
    """Print the areas of classes."""
    shown = _table("class", "pixels", "hectares", "share")
    for row in table.itertuples():
        share = "" if row.share != row.share else f"{row.share:.1%}"
        shown.add_row(row.class_name, f"{row.pixels:,}", f"{row.area_ha:,.2f}", share)
    Console().print(shown)


def _print_zones(found: Any) -> None:
    values = next((name for name in found.zones.columns if name.endswith("_mean")), None)
    shown = _table(
        "zone", "hectares", "mostly", "share", "no data", "outside", *([values.split("_")[0]] if values else [])
    )
    digits = 2 if found.zones["area_ha"].max() >= 1 else 4
    for row in found.zones.head(_SHOWN).to_dict(orient="records"):
        cells = [f"{row['area_ha']:,.{digits}f}", row["class_name"]]
        cells += [_percent(row[name]) for name in ("class_share", "no_data_share", "outside_share")]
        if values:
            cells.append("" if row[values] != row[values] else f"{row[values]:.4g}")
        shown.add_row(row["zone"], *cells)
    Console().print(shown)
    if len(found.zones) > _SHOWN:
        typer.echo(f"... and {len(found.zones) - _SHOWN:,} more zones.")
    outside = int((found.zones["place"] == "outside").sum())
    if outside:
        typer.echo(f"{outside:,} of {len(found.zones):,} zones lie wholly outside of the map.")
    twice = _twice(found)
    if twice:
        typer.echo(f"{len(twice):,} names stand more than once, {min(twice)!r} among them: each feature is a zone.")


def _twice(found: Any) -> set[str]:
    names = found.zones["zone"]
    return set(names[names.duplicated()])


def _percent(share: float) -> str:
    return "" if share != share else f"{share:.1%}"


def _table(*titles: str) -> Table:
    shown = Table(*titles, box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify = "right"
    return shown


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _refuse_existing(out: Path, names: tuple[str, ...], overwrite: bool) -> None:
    if _is_folder(out):
        refuse_existing(out, names, overwrite)
    elif out.exists() and not overwrite:
        raise OutputError(
            f"Nothing is overwritten unasked, but {out} is there. Choose another --out, or give --overwrite."
        )
