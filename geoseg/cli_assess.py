"""The verb ``geoseg assess``; `geoseg.cli` adds it to the others.

Objects are judged here, with the files that are written of them; class maps in `geoseg.cli_assess_map`. Which it is
goes by the first file.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.cli_assess_map import assess_raster
from geoseg.cli_options import Debug, is_raster, refuse_existing
from geoseg.errors import OptionError

__all__ = ["assess"]

FILES = ("object_accuracy.csv", "object_accuracy.json", "matches.gpkg", "report.html")
_OF_OBJECTS = ("layer", "within", "class_column", "reference_class_column", "score_column", "iou", "boundary", "sizes")
_OF_MAPS = (
    "reference_column",
    "design",
    "strata",
    "strata_field",
    "post_stratify",
    "merge_strata",
    "crosswalk",
    "confidence",
    "crs",
)
_SHOWN = {
    "found": ("found", ","),
    "missed": ("missed", ","),
    "false": ("false", ","),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "f1": ("F1", ".3f"),
    "pq": ("PQ", ".3f"),
}


def assess(
    ctx: typer.Context,
    judged: Annotated[Path, typer.Argument(help="What is judged: a class map (raster), or polygons of objects.")],
    reference: Annotated[
        Path, typer.Argument(help="What is right. For a class map: points, polygons or a raster; otherwise polygons.")
    ],
    reference_column: Annotated[str, typer.Option(help="Of a map: the column with the reference class.")] = "reference",
    design: Annotated[
        Path | None, typer.Option(help="Of a map: how the sample was drawn. By default, the _design.json beside it.")
    ] = None,
    strata: Annotated[
        Path | None, typer.Option(help="Of a map: the raster or polygons whose parts were the strata.")
    ] = None,
    strata_field: Annotated[str | None, typer.Option(help="The column with the names of these polygons.")] = None,
    post_stratify: Annotated[
        bool, typer.Option("--post-stratify", help="Of a map: strata for a simple or systematic sample, afterwards.")
    ] = False,
    merge_strata: Annotated[
        str | None, typer.Option(help="Of a map: strata with too few units, added to others: road=built,path=built.")
    ] = None,
    crosswalk: Annotated[
        Path | None, typer.Option(help="Of a map: a CSV, from and to, with the classes' common names.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of a map: that of the intervals.")] = 0.95,
    crs: Annotated[str | None, typer.Option("--crs", help="Of a map: the CRS of a raster that has none.")] = None,
    layer: Annotated[str | None, typer.Option(help="The layer to judge, where its file has several.")] = None,
    reference_layer: Annotated[str | None, typer.Option(help="The reference's layer, likewise.")] = None,
    within: Annotated[Path | None, typer.Option(help="Compare only what lies in the polygons of this file.")] = None,
    class_column: Annotated[str | None, typer.Option(help="The column with the class.")] = None,
    reference_class_column: Annotated[
        str | None, typer.Option(help="The reference's, where it has another name.")
    ] = None,
    score_column: Annotated[str | None, typer.Option(help="How sure each object is; for average precision.")] = None,
    iou: Annotated[float, typer.Option(help="From which IoU on an object is found.")] = 0.5,
    boundary: Annotated[float, typer.Option(help="Width of the band of the boundary IoU, metres.")] = 1.0,
    sizes: Annotated[
        str, typer.Option(help="Where small, medium and large objects begin, square metres.")
    ] = "50,200,1000",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables and the matches.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")] = False,
    debug: Debug = False,
) -> None:
    """Judge a class map (accuracy and areas with intervals) or polygons (found, missed, false) by a reference."""
    from geoseg import export

    if is_raster(judged):
        _refuse(ctx, _OF_OBJECTS, f"for polygons of objects, but {judged} is a class map")
        if is_raster(reference):
            _refuse(
                ctx, ("reference_column", "reference_layer"), f"for points and polygons, but {reference} is a raster"
            )
        assess_raster(
            judged,
            reference,
            out=out,
            overwrite=overwrite,
            quiet=quiet,
            reference_layer=reference_layer,
            reference_column=reference_column,
            design=design,
            strata=strata,
            strata_field=strata_field,
            post_stratify=post_stratify,
            merge_strata=merge_strata,
            crosswalk=crosswalk,
            confidence=confidence,
            crs=crs,
        )
        return
    _refuse(ctx, _OF_MAPS, f"for class maps, but {judged} is no raster")
    if out is not None:
        refuse_existing(out, FILES, overwrite)
    accuracy = geoseg.assess_objects(
        export.read_objects(judged, layer=layer),
        export.read_objects(_vector(reference), layer=reference_layer),
        within=None if within is None else export.read_areas(within),
        class_column=class_column,
        reference_class_column=reference_class_column,
        score_column=score_column,
        iou=iou,
        boundary_m=boundary,
        sizes_m2=_numbers(sizes),
    )
    if out is not None:
        write_assessment(accuracy, out, inputs={"objects": judged, "reference": reference, "within": within})
    if not quiet:
        _print(accuracy)
        if out is not None:
            typer.echo(f"The report is {out / 'report.html'}; open {out / 'matches.gpkg'} in QGIS.")


def write_assessment(accuracy: Any, folder: Path, *, inputs: dict[str, Path | None]) -> None:
    """Write the table (CSV), the record (JSON), the layer of matches and the report: all of them or none.

    Parameters
    ----------
    accuracy
        What `geoseg.assess_objects` gives.
    folder
        Made where it is missing; files of these names in it are replaced.
    inputs
        The names of the files compared, for the record.
    """
    from geoseg import export
    from geoseg.accuracy.verdicts import VERDICTS
    from geoseg.files import check_folder, replacing
    from geoseg.report import report_object_accuracy, write_page

    check_folder(folder, create=True)
    title = next((path.name for path in inputs.values() if path is not None), "objects")
    table = accuracy.table
    record = {
        "inputs": inputs,
        "settings": accuracy.settings,
        "left_out": accuracy.left_out,
        "accuracy": table.to_dict(orient="records"),
        "versions": export.versions(),
    }
    with ExitStack() as files:  # each takes its place when all are whole
        csv, json, gpkg, html = (files.enter_context(replacing(folder / name)) for name in FILES)
        export.write_areas_csv(table, csv)
        export.write_record(json, record)
        export.write_polygons([accuracy.matches], gpkg, classes=VERDICTS, layer="matches", multi=True)
        write_page(report_object_accuracy(accuracy, title=title, record=record), html)


def _vector(path: Path) -> Path:
    if is_raster(path):
        raise OptionError(
            f"Polygons are compared with polygons, but {path} is a raster. Make polygons of it first: "
            f"geoseg vectorize {path}."
        )
    return path


def _refuse(ctx: typer.Context, options: tuple[str, ...], told: str) -> None:
    """No option is ignored in silence."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in options
        if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise OptionError(f"{', '.join(given)}: {told}. Leave it out.")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"--sizes is three numbers with commas, like 50,200,1000, but is {text!r}.") from error


def _print(accuracy: Any) -> None:
    shown = Table("", *(title for title, _ in _SHOWN.values()), box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify = "right"
    bounds = [f"{size:g}" for size in accuracy.settings["sizes_m2"]]
    sizes = [f"< {bounds[0]} m²", *(f"≥ {bound} m²" for bound in bounds)]
    for number, row in enumerate(accuracy.table.to_dict(orient="records")):
        name = f"{row['name']} ({sizes[number - 1]})" if row["by"] == "size" else row["name"]
        values = ("" if row[key] != row[key] else format(row[key], form) for key, (_, form) in _SHOWN.items())
        shown.add_row(name, *values)
    Console().print(shown)
    whole = accuracy.overall
    error = "" if whole["count_error"] != whole["count_error"] else f" ({whole['count_error']:+.1%})"
    typer.echo(f"{whole['objects']:,} objects, {whole['reference']:,} in the reference{error}.")
    if whole["found"]:
        typer.echo(
            f"Outlines of what was found: {whole['polis_m']:.2f} m apart (PoLiS), boundary IoU "
            f"{whole['boundary_iou']:.3f} within {accuracy.settings['boundary_m']:g} m."
        )
    if whole["ap"] == whole["ap"]:
        typer.echo(f"Average precision {whole['ap']:.3f}; {whole['ap50']:.3f} at IoU 0.5, {whole['ap75']:.3f} at 0.75.")
    typer.echo(
        f"Of the reference, {whole['split']} are split among several objects, {whole['merged']} share one object."
    )
    for side, counts in accuracy.left_out.items():
        said = [f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count]
        if said:
            typer.echo(f"Of the {side}: {', '.join(said)}.")
