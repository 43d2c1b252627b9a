"""The verb ``geoseg train``; `geoseg.cli` adds it to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import geoseg
from geoseg.cli_options import Debug
from geoseg.errors import OptionError
from geoseg.progress import make_progress

__all__ = ["train"]


def train(
    ctx: typer.Context,
    images: Annotated[
        list[str], typer.Argument(help="The images with labels on them: rasters, folders of rasters, STAC items.")
    ],
    labels: Annotated[
        list[Path],
        typer.Option("--labels", "-l", help="Polygons with a class, or a label raster; one, or one an image."),
    ],
    class_column: Annotated[str | None, typer.Option(help="The column with the class.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The package's folder; must not be there yet.")] = Path(
        "model"
    ),
    few: Annotated[
        bool,
        typer.Option("--few", help="Fit a small model on a few polygons, in seconds; measured by holding some back."),
    ] = False,
    features: Annotated[str, typer.Option(help="With --few: bands, imagenet (RGB only) or auto.")] = "bands",
    objects: Annotated[
        str | None, typer.Option(help="Each polygon is an object: learn them as boundary, or by maskrcnn.")
    ] = None,
    labelled: Annotated[
        list[Path] | None,
        typer.Option(help="Polygons of where all objects were drawn; one file, or one an image. Else everywhere."),
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="With --objects: what they are called.")] = None,
    boundary_width: Annotated[float, typer.Option(help="With --objects boundary: how wide it is, pixels.")] = 1.5,
    start: Annotated[
        str | None, typer.Option(help="Teach this model on (a name or a folder), or begin with imagenet.")
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="Unet, FPN, DeepLabV3Plus, ...")] = None,
    encoder: Annotated[str | None, typer.Option(help="An encoder of segmentation_models_pytorch.")] = None,
    bands: Annotated[str | None, typer.Option(help="Which band is which: red=3,green=2,blue=1.")] = None,
    resolution: Annotated[float | None, typer.Option(help="Pixel size to learn at, metres.")] = None,
    epochs: Annotated[int, typer.Option(help="At most so many rounds.")] = 60,
    minutes: Annotated[float | None, typer.Option(help="At most so long.")] = None,
    tile: Annotated[int, typer.Option(help="Side of a window, pixels.")] = 256,
    batch: Annotated[int, typer.Option(help="Windows in a step.")] = 8,
    rate: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None,
    loss: Annotated[str, typer.Option(help="ce, focal, dice, ce+dice.")] = "ce",
    balance: Annotated[float, typer.Option(help="How much more rare classes count, 0 to 1.")] = 0.5,
    vary: Annotated[str, typer.Option(help="light, or strong for maps of other places.")] = "light",
    precision: Annotated[str, typer.Option(help="32, or bf16 or fp16: faster on a GPU.")] = "32",
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    validation: Annotated[float, typer.Option(help="Share of the labels kept apart to measure.")] = 0.2,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read; 0 reads in this one.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    debug: Debug = False,
) -> None:
    """Teach a network the classes of your own polygons, or objects, and write it as a model that `geoseg map` runs."""
    if few:
        _refuse_with_few(ctx)
        chosen = labels[0] if len(labels) == 1 else labels
        found = geoseg.train_few(
            images,
            chosen,
            out,
            bands=bands,
            column=class_column,
            features=features,
            resolution=resolution,
            seed=seed,
            overwrite=overwrite,
        )
        if not quiet:
            typer.echo(found.summary())
        return
    with make_progress(quiet=quiet) as progress:
        result = geoseg.train(
            images,
            labels[0] if len(labels) == 1 else labels,
            out,
            objects=objects,
            labelled=labelled[0] if labelled and len(labelled) == 1 else labelled or None,
            class_name=class_name,
            boundary_px=boundary_width,
            precision=precision,
            column=class_column,
            architecture=architecture,
            encoder=encoder,
            start=start,
            bands=bands,
            resolution=resolution,
            epochs=epochs,
            minutes=minutes,
            tile_px=tile,
            batch=batch,
            rate=rate,
            loss=loss,
            balance=balance,
            vary=vary,
            seed=seed,
            validation=validation,
            device=device,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        _print(result)


def _refuse_with_few(ctx: typer.Context) -> None:
    """No option is ignored in silence."""
    taken = ("images", "labels", "class_column", "out", "few", "features", "bands", "resolution", "seed")
    others = [
        f"--{name.replace('_', '-')}"
        for name in ctx.params
        if name not in (*taken, "overwrite", "quiet", "debug")
        and getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if others:
        raise OptionError(f"With --few there are no rounds and no network to choose: leave out {', '.join(others)}.")


def _print(result: Any) -> None:
    """How good it is by class, and what to do next."""
    columns, rows, told = _objects_told(result) if hasattr(result, "f1") else _classes_told(result)
    table = Table(*columns, box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    for line in told:
        typer.echo(line)
    typer.echo(f"Look at {result.folder / 'report.html'}; map with: geoseg map IMAGE --model {result.folder}")


def _classes_told(result: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    counts = result.confusion.sum(axis=1)
    rows: list[tuple[str, ...]]
    rows = [(name, _three(value), f"{n:,}") for (name, value), n in zip(result.iou.items(), counts, strict=True)]
    found = result.calibration
    told = [
        f"Validation mIoU by epoch: {', '.join(_three(row['miou']) for row in result.history)}",
        f"Mean IoU {result.miou:.3f} on blocks that were not learned from; calibration error "
        f"{found.error_before:.3f}, with temperature {found.error_after:.3f}.",
    ]
    return ("class", "IoU", "validation pixels"), rows, told


def _objects_told(result: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    rows = [
        (name, _three(value), *(f"{n:,}" for n in counts))
        for (name, value), counts in zip(result.class_f1.items(), result.counts, strict=True)
    ]
    told = [
        f"Validation F1 by epoch: {', '.join(_three(row['f1']) for row in result.history)}",
        f"F1 of objects {result.f1:.3f} (at an IoU of 0.5) on blocks that were not learned from.",
    ]
    return ("class", "F1", "found as drawn", "too much", "missed"), rows, told


def _three(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
