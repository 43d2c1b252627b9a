"""The verb ``geoseg sample`` and the files that it writes; `geoseg.cli` adds it to the others."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.cli_options import Debug
from geoseg.errors import OptionError, OutputError
from geoseg.files import replacing

__all__ = ["design_of", "read_strata", "sample", "write_sample"]


def sample(
    raster: Annotated[Path, typer.Argument(help="The class map.")],
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many units in all.")] = None,
    target_se: Annotated[
        str | None,
        typer.Option(help="Instead of --n: the standard error wanted; 0.01 of overall accuracy, 200ha of a class."),
    ] = None,
    target_class: Annotated[str | None, typer.Option(help="The class whose area the sample is for.")] = None,
    design: Annotated[str, typer.Option(help="stratified, simple, or systematic (a grid).")] = "stratified",
    allocation: Annotated[
        str, typer.Option(help="How units are spread: proportional, equal, neyman.")
    ] = "proportional",
    at_least: Annotated[int, typer.Option(help="So many in each stratum; 50 is good for rare classes.")] = 2,
    expected_accuracy: Annotated[
        str, typer.Option(help="A guess of how much of each class is right: 0.85, or forest=0.9,water=0.97.")
    ] = "0.85",
    class_share: Annotated[
        str | None, typer.Option(help="A guess of how much of each stratum is of --target-class: loss=0.8,other=0.01.")
    ] = None,
    strata: Annotated[
        Path | None, typer.Option(help="Another class raster, or polygons, whose parts are the strata.")
    ] = None,
    strata_field: Annotated[str | None, typer.Option(help="The column with the names of the polygons.")] = None,
    units: Annotated[str, typer.Option(help="points (centres of pixels) or squares (outlines of pixels).")] = "points",
    seed: Annotated[int, typer.Option(help="Another number, another sample.")] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Only tell how many units are needed where; draw none.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The layer to interpret.")] = Path("sample.gpkg"),
    crs: Annotated[str | None, typer.Option("--crs", help="The CRS of a raster that has none.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")] = False,
    debug: Debug = False,
) -> None:
    """Draw a reference sample of a class map, to be interpreted in QGIS: a layer with a drop-down of the classes."""
    from geoseg.classmap import open_class_map

    if out.suffix.lower() != ".gpkg":
        raise OptionError(f"A sample is written as a GeoPackage, but --out is {out}. Name it {out.stem}.gpkg.")
    if not plan:
        _refuse_existing(out, overwrite)
    cover = open_class_map(raster, crs=crs)
    options: dict[str, Any] = {
        "design": design,
        "allocation": allocation,
        "at_least": at_least,
        "target_se": _target(target_se, target_class),
        "target_class": target_class,
        "expected_accuracy": _numbers(expected_accuracy, "--expected-accuracy"),
        "class_shares": None if class_share is None else _numbers(class_share, "--class-share"),
        "strata": None if strata is None else read_strata(strata),
        "strata_field": strata_field,
    }
    if isinstance(options["class_shares"], float):
        raise OptionError(f"--class-share names strata, forest=0.1,field=0.02, but is {class_share!r}.")
    if plan:
        found = geoseg.plan_sample(cover, n, **options)
        if not quiet:
            _print(found)
        return
    drawn = geoseg.draw_sample(cover, n, **options, units=units, seed=seed)
    write_sample(drawn, out, inputs={"map": raster, "strata": strata})
    if not quiet:
        _print(drawn.design)
        places = _files(out)[2]
        typer.echo(f"Open {out} in QGIS and fill in `reference`; {places.name} has the places for other tools.")
        typer.echo(f"Then: geoseg assess {raster} {out} --out accuracy")


def write_sample(drawn: Any, path: Path, *, inputs: dict[str, Path | None]) -> None:
    """Write the layer (GeoPackage), the design (JSON) and the places (CSV): all of them or none.

    Parameters
    ----------
    drawn
        What `geoseg.draw_sample` gives.
    path
        The layer; the others stand beside it.
    inputs
        The names of the files that the sample was drawn from, for the record.
    """
    from geoseg import export

    layer, design, places = _files(path)
    record = {**drawn.design.to_record(), "inputs": inputs, "versions": export.versions()}
    with ExitStack() as files:  # each takes its place when all are whole
        gpkg, json, csv = (files.enter_context(replacing(name)) for name in (layer, design, places))
        export.write_sample_layer(drawn.units, gpkg, classes=drawn.classes)
        export.write_record(json, record)
        export.write_areas_csv(export.sample_places(drawn.units), csv)


def read_strata(path: Path) -> Any:
    """A class raster, or polygons, by the file's suffix."""
    from geoseg import export
    from geoseg.classmap import open_class_map
    from geoseg.cli_options import is_raster

    return open_class_map(path) if is_raster(path) else export.read_areas(path)


def design_of(path: Path) -> Path:
    """The file with the design of a sample: it stands beside the layer."""
    return path.with_name(f"{path.stem}_design.json")


def _files(path: Path) -> tuple[Path, Path, Path]:
    return path, design_of(path), path.with_name(f"{path.stem}_places.csv")


def _refuse_existing(path: Path, overwrite: bool) -> None:
    there = [str(name) for name in _files(path) if name.exists()]
    if there and not overwrite:
        raise OutputError(
            f"Nothing is overwritten unasked, but {', '.join(there)} is there. An interpreted sample would be lost: "
            "choose another --out, or give --overwrite."
        )


def _target(text: str | None, target_class: str | None) -> float | None:
    """A standard error: 0..1, or m² where it is that of a class's area."""
    from geoseg.units import parse_area

    if text is None:
        return None
    if target_class is not None:
        area = parse_area(text, option="--target-se")
        if area.unit != "m2":
            raise OptionError(f"--target-se of a class's area is written with its unit, like 200ha, but is {text!r}.")
        return area.value
    try:
        return float(text)
    except ValueError as error:
        raise OptionError(
            f"--target-se of overall accuracy is a number like 0.01, but is {text!r}. For an area, name the class: "
            "--target-class."
        ) from error


def _numbers(text: str, option: str) -> float | dict[str, float]:
    """One number, or one for each name."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.rsplit("=", 1) for part in text.split(",")]
        return {name.strip(): float(number) for name, number in pairs}
    except ValueError as error:
        raise OptionError(f"{option} is a number, or forest=0.9,water=0.97, but is {text!r}.") from error


def _print(design: Any) -> None:
    shown = Table("stratum", "hectares", "share", "units", "right (guess)", "± 95 %", box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify = "right"
    whole = design.strata["area_m2"].sum()
    for row in design.strata.to_dict(orient="records"):
        shown.add_row(
            row["stratum"],
            f"{row['area_m2'] / 1e4:,.2f}",
            f"{row['area_m2'] / whole:.1%}",
            f"{row['units']:,}",
            _percent(row["expected_accuracy"]),
            _percent(1.96 * row["expected_se"]),
        )
    Console().print(shown)
    typer.echo(f"{design.strata['units'].sum():,} units. If the guess is right, intervals will be about:")
    for row in design.expected.to_dict(orient="records"):
        if row["measure"] == "overall":
            typer.echo(f"  overall accuracy {_percent(row['expected'])} ± {_percent(1.96 * row['se'])}")
        elif not pd.isna(row["se"]):
            typer.echo(f"  {row['class']} {row['expected'] / 1e4:,.2f} ± {1.96 * row['se'] / 1e4:,.2f} ha")


def _percent(share: float) -> str:
    return "" if share != share else f"{share:.1%}".replace("%", " %")
