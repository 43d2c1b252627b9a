"""The verb ``geoseg change``; `geoseg.cli` adds it to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.cli_options import Debug
from geoseg.progress import make_progress

__all__ = ["change"]

_MOST_SHOWN = 10


def change(
    maps: Annotated[list[Path], typer.Argument(help="Class maps of one place, in order of time: two or more.")],
    dates: Annotated[
        str | None, typer.Option(help="One for each map, for annual rates: 2018-06-01,2024-06-01 or 2018,2024.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder; must not be there yet.")] = Path("change"),
    crosswalk: Annotated[
        Path | None, typer.Option(help="A CSV with the columns from, to and, if need be, date: where classes differ.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="Only changes from these classes: forest,mangrove.")] = None,
    gain: Annotated[str | None, typer.Option(help="Only changes to these classes: building.")] = None,
    min_area: Annotated[
        str | None, typer.Option(help="Leave out smaller patches of change: 0.5ha, 500m2, 9px.")
    ] = None,
    connectivity: Annotated[int, typer.Option(help="4, or 8: pixels that touch at a corner belong together.")] = 4,
    confidence: Annotated[
        str | None, typer.Option(help="Confidence of the first and of the last map: a.tif,b.tif.")
    ] = None,
    zones: Annotated[Path | None, typer.Option(help="Polygons: what became what in each.")] = None,
    zone_field: Annotated[str | None, typer.Option(help="The column with the names of zones.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A reference sample of the map of change: areas of change with intervals.")
    ] = None,
    design: Annotated[
        Path | None, typer.Option(help="How the sample was drawn; a SAMPLE_design.json beside it is found.")
    ] = None,
    band: Annotated[int | None, typer.Option(help="The band, from 1, where the maps have several.")] = None,
    crs: Annotated[str | None, typer.Option(help="The CRS of maps that have none.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    debug: Debug = False,
) -> None:
    """Compare class maps of two or more dates: what became what, where, and how fast; everything in one folder."""
    with make_progress(quiet=quiet) as progress:
        result = geoseg.map_change(
            maps,
            out,
            dates=_parts(dates),
            crosswalk=crosswalk,
            loss=_parts(loss),
            gain=_parts(gain),
            min_area=min_area,
            connectivity=connectivity,
            confidence=_parts(confidence),
            zones=zones,
            zone_field=zone_field,
            reference=reference,
            design=design,
            band=band,
            crs=crs,
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        _print(result, dated=dates is not None)


def _parts(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _print(result: Any, *, dated: bool) -> None:
    shown = Table("class", "before ha", "after ha", "gain ha", "loss ha", box=None, header_style="bold")
    if dated:
        shown.add_column("a year")
    for column in shown.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in result.classes.to_dict(orient="records"):
        cells = [_ha(row[f"{name}_ha"]) for name in ("before", "after", "gain", "loss")]
        if dated:
            cells.append("" if pd.isna(row["annual_rate"]) else f"{row['annual_rate']:+.2%}")
        shown.add_row(row["class_name"], *cells)
    Console().print(shown)
    _print_patches(result.patches)
    if "mapped_ha" in result.matrix:
        moved = result.matrix["from"] != result.matrix["to"]
        kept, mapped = (result.matrix.loc[moved, name].sum() for name in ("area_ha", "mapped_ha"))
        typer.echo(f"Of {_ha(mapped)} ha of change, {_ha(mapped - kept)} ha lie in smaller patches and were left out.")
    if not dated:
        typer.echo("No annual rates: they need --dates.")
    typer.echo("These are areas as mapped: the errors of both maps add up in them.")
    folder = result.folder
    typer.echo(
        f"The report is {folder / 'report.html'}; open {folder / 'change.gpkg'} and {folder / 'change.tif'} in QGIS."
    )


def _print_patches(patches: pd.DataFrame) -> None:
    if not len(patches):
        typer.echo("Nothing has changed.")
        return
    shown = Table("change", "patches", "ha", "largest ha", box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in patches.head(_MOST_SHOWN).to_dict(orient="records"):
        shown.add_row(row["class_name"], f"{row['patches']:,}", _ha(row["area_ha"]), _ha(row["largest_ha"]))
    Console().print(shown)
    if len(patches) > _MOST_SHOWN:
        typer.echo(f"And {len(patches) - _MOST_SHOWN} more changes, in patches.csv.")


def _ha(area: float) -> str:
    return f"{area:,.0f}" if area >= 1000 else f"{area:,.2f}" if area >= 1 or not area else f"{area:.2g}"
