"""What ``geoseg assess`` does where a class map is judged, and the files that it writes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.errors import OptionError

__all__ = ["FILES", "assess_raster", "write_map_assessment"]

FILES = ("accuracy.csv", "matrix.csv", "areas.csv", "accuracy.json", "matrix.png", "methods.txt", "report.html")
_COLUMNS = {"users": True, "producers": True, "f1": False, "iou": False}  # with its interval, where there is room
_UNITS = {"points": "sample units", "polygons": "pixels", "census": "pixels"}


def assess_raster(
    raster: Path,
    reference: Path,
    *,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    reference_layer: str | None,
    reference_column: str,
    design: Path | None,
    strata: Path | None,
    strata_field: str | None,
    post_stratify: bool,
    merge_strata: str | None,
    crosswalk: Path | None,
    confidence: float,
    crs: str | None,
) -> None:
    """Open, assess, write and print; options are those of the command line."""
    from geoseg import export
    from geoseg.classmap import open_class_map
    from geoseg.cli_options import is_raster, refuse_existing
    from geoseg.cli_sample import design_of, read_strata
    from geoseg.sampling import read_design

    if out is not None:
        refuse_existing(out, FILES, overwrite)
    cover = open_class_map(raster, crs=crs)
    census = is_raster(reference)
    beside = design_of(reference)
    if design is None and strata is None and beside.is_file() and not census:
        design = beside
    found = geoseg.assess_map(
        cover,
        open_class_map(reference) if census else export.read_reference(reference, layer=reference_layer),
        reference_column=reference_column,
        design=None if design is None else read_design(design),
        strata=None if strata is None else read_strata(strata),
        strata_field=strata_field,
        post_stratify=post_stratify,
        merge_strata=_pairs(merge_strata),
        crosswalk=None if crosswalk is None else _read_crosswalk(crosswalk),
        confidence=confidence,
    )
    if out is not None:
        inputs = {"map": raster, "reference": reference, "design": design, "strata": strata, "crosswalk": crosswalk}
        write_map_assessment(found, out, class_map=cover, inputs=inputs)
    if not quiet:
        _print(found)
        if design is not None:
            typer.echo(f"The sample's design is that of {design}.")
        if out is not None:
            typer.echo(f"The report is {out / 'report.html'}; quote {out / 'methods.txt'}.")


def write_map_assessment(found: Any, folder: Path, *, class_map: Any, inputs: dict[str, Path | None]) -> None:
    """Write tables (CSV), record (JSON), the picture of the matrix, the methods' text and the report: all or none.

    Parameters
    ----------
    found
        What `geoseg.assess_map` gives.
    folder
        Made where it is missing; files of these names in it are replaced.
    class_map
        The map.
    inputs
        The names of the files, for the record; that of the map is called ``map``.
    """
    from geoseg import export
    from geoseg.files import check_folder, replacing
    from geoseg.report import report_assessment, write_page

    check_folder(folder, create=True)
    accuracy = found.accuracy
    users, producers = (accuracy.of(measure)["estimate"] for measure in ("users", "producers"))
    with ExitStack() as files:  # each takes its place when all are whole
        table, matrix, areas, record, picture, methods, html = (
            files.enter_context(replacing(folder / name)) for name in FILES
        )
        export.write_areas_csv(accuracy.table, table)
        export.write_areas_csv(_long_matrix(accuracy), matrix)
        export.write_areas_csv(found.areas, areas)
        said = _record(found, inputs)
        export.write_record(record, said)
        export.write_matrix_picture(
            picture,
            accuracy.proportions,
            accuracy.counts,
            users=users.tolist(),
            producers=producers.tolist(),
            overall=float(accuracy.overall["estimate"]),
            title="Map against reference",
            unit=_UNITS[found.kind],
        )
        methods.write_text(found.methods, encoding="utf-8")
        title = "Class map" if inputs.get("map") is None else Path(str(inputs["map"])).name
        page = report_assessment(found, class_map, title=title, unit=_UNITS[found.kind], record=said)
        write_page(page, html)


def _record(found: Any, inputs: dict[str, Path | None]) -> dict[str, Any]:
    from geoseg import export

    accuracy = found.accuracy
    return {
        "inputs": inputs,
        "settings": found.settings,
        "reference": found.kind,
        "left_out": found.left_out,
        "notes": found.notes,
        "strata": found.strata.to_dict(orient="records"),
        "accuracy": accuracy.table.to_dict(orient="records"),
        "areas": found.areas.to_dict(orient="records"),
        "classes": [str(name) for name in accuracy.counts.index],
        "counts": accuracy.counts.to_numpy(),
        "proportions": accuracy.proportions.to_numpy(),
        "quantity_disagreement": accuracy.quantity_disagreement,
        "allocation_disagreement": accuracy.allocation_disagreement,
        "kappa": accuracy.kappa,
        "kappa_caveat": "Only because people ask for it: it compares with a map at random, and depends on how rare "
        "classes are. Use overall, user's and producer's accuracy (Pontius and Millones 2011; Olofsson et al. 2014).",
        "design_effect": accuracy.design_effect,
        "confidence": accuracy.confidence,
        "methods": found.methods,
        "versions": export.versions(),
    }


def _long_matrix(accuracy: Any) -> Any:
    """A row for each pair of classes."""
    long = accuracy.counts.stack().rename("count").reset_index()
    return long.assign(proportion=accuracy.proportions.to_numpy().ravel())


def _pairs(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [part.split("=") for part in text.split(",")]
    if any(len(pair) != 2 or not pair[0].strip() or not pair[1].strip() for pair in pairs):
        raise OptionError(f"--merge-strata is written road=built,path=built, but is {text!r}.")
    return {name.strip(): to.strip() for name, to in pairs}


def _read_crosswalk(path: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"A crosswalk is a CSV file with the columns from and to, but {path} cannot be read: {error}."
        ) from error


def _print(found: Any) -> None:
    accuracy = found.accuracy
    exact = found.kind == "census"
    titles = ("class", "mapped ha", "true ha", "user's %", "producer's %", "F1 %", "IoU %")
    shown = Table(*titles, box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify = "right"
    tables = {measure: accuracy.of(measure) for measure in _COLUMNS}
    half = (found.areas["upper_ha"] - found.areas["lower_ha"]) / 2
    for row, spread in zip(found.areas.to_dict(orient="records"), half, strict=True):
        name = row["class_name"]
        true = f"{row['area_ha']:,.2f}" + ("" if exact else f" ± {spread:,.2f}")
        shown.add_row(
            name,
            f"{row['mapped_ha']:,.2f}",
            true,
            *(_with_half(tables[m].loc[name], exact or not wide) for m, wide in _COLUMNS.items()),
        )
    Console().print(shown)
    whole = accuracy.overall
    typer.echo(
        f"Overall accuracy {_with_half(whole, exact)} %{'' if exact else f' ({accuracy.confidence:.0%} interval)'}."
    )
    typer.echo(
        f"Of the area, {accuracy.quantity_disagreement:.1%} is wrong in quantity and "
        f"{accuracy.allocation_disagreement:.1%} only in place."
    )
    left = [f"{count:,} {reason.replace('_', ' ')}" for reason, count in found.left_out.items() if count]
    if left:
        typer.echo(f"Not counted: {'; '.join(left)}.")
    for note in found.notes:
        typer.echo(note)


def _with_half(row: Any, exact: bool) -> str:
    if row["estimate"] != row["estimate"]:
        return ""
    value = f"{100 * row['estimate']:.1f}"
    return value if exact else f"{value} ± {50 * (row['upper'] - row['lower']):.1f}"
