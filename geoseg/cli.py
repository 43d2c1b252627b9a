"""The command line: parse → one call → exit code (0 done, 1 failed, 2 wrong use)."""

from __future__ import annotations

import shutil
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

import geoseg
from geoseg.cli_areas import areas, print_areas
from geoseg.cli_assess import assess
from geoseg.cli_change import change
from geoseg.cli_models import models_app
from geoseg.cli_objects import block_of_objects, maps_objects, print_objects, refuse_for_objects
from geoseg.cli_options import Debug, debugging
from geoseg.cli_sample import sample
from geoseg.cli_train import train
from geoseg.errors import GeosegError, OptionError, OutputError
from geoseg.progress import make_progress

__all__ = ["app", "main"]

app = typer.Typer(
    name="geoseg",
    help="Land-cover maps, polygons and areas that can be trusted, from georeferenced rasters of any size.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
app.command("train")(train)
app.command("areas")(areas)
app.command("assess")(assess)
app.command("sample")(sample)
app.command("change")(change)
_INTERRUPTED = 130  # what typer makes of Ctrl-C

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Output folder; must not be there yet.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="A model's name, the folder of a package, or torchgeo:NAME.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Connectivity = Annotated[
    int, typer.Option("--connectivity", help="4, or 8: pixels that touch at a corner belong together.")
]
MinArea = Annotated[
    str | None, typer.Option("--min-area", help="Fill smaller regions by their neighbours: 500m2, 0.05ha, 9px.")
]
Simplify = Annotated[
    str | None, typer.Option("--simplify", help="Leave out vertices where borders move by at most this: 1px, 3m.")
]
Smooth = Annotated[bool, typer.Option("--smooth", help="Round the borders, by at most as much again.")]
Crs = Annotated[str | None, typer.Option("--crs", help="The CRS of a raster that has none, or another one to work in.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"geoseg {geoseg.__version__}")
        raise typer.Exit


@app.command("map")
def map_(
    ctx: typer.Context,
    rasters: Annotated[list[str], typer.Argument(help="The raster; several of one CRS make a mosaic. Or a STAC item.")],
    model: ModelName = "landcover-aerial",
    out: Out = Path("out"),
    second: Annotated[
        str | None, typer.Option(help="The same place at a second date, for models that look at two.")
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Which band is which: red=3,green=2,blue=1.")] = None,
    resolution: Annotated[float | None, typer.Option(help="Pixel size to work at, metres.")] = None,
    crs: Crs = None,
    value_range: Annotated[
        str | None, typer.Option(help="Pixel values that become darkest and brightest: 0,3000.")
    ] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the network's tile, pixels.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels that neighbouring tiles share.")] = None,
    block: Annotated[int, typer.Option(help="Side of a block (one task), pixels.")] = 8192,
    batch: Annotated[int | None, typer.Option(help="Tiles in one prediction.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str, typer.Option(help="32; bf16 or fp16 are faster on some GPUs.")] = "32",
    compile: Annotated[bool, typer.Option("--compile", help="Let torch compile the network first.")] = False,
    tta: Annotated[
        str | None, typer.Option(help="d4: average over eight turns of each tile; takes 8 × longer.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Blocks computed at the same time.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://...")] = None,
    objects: Annotated[
        str | None, typer.Option(help="Classes whose regions are to be objects, each with an id: building,water.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split objects of a map where narrower than twice this: 3px, 1.5m.")
    ] = None,
    connectivity: Connectivity = 4,
    min_area: MinArea = None,
    simplify: Simplify = None,
    smooth: Smooth = False,
    regularize: Annotated[bool, typer.Option("--regularize", help="Square outlines; for models of objects.")] = False,
    format: Annotated[
        str, typer.Option("--format", help="Polygon formats: gpkg,parquet,fgb,geojson,shp; of fields also fiboa.")
    ] = "gpkg",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map a raster: its land cover, or, with a model that finds them, its objects; everything in one folder."""
    if maps_objects(model, objects):
        refuse_for_objects(ctx, model)
        with make_progress(quiet=quiet) as progress:
            found = geoseg.map_objects(
                rasters[0] if len(rasters) == 1 else rasters,
                model,
                out,
                objects=None if objects is None else [name.strip() for name in objects.split(",")],
                split=split,
                second=second,
                bands=bands,
                resolution=resolution,
                crs=crs,
                value_range=_two_numbers(value_range),
                tile_px=tile,
                overlap_px=overlap,
                block_px=block_of_objects(ctx, block),
                batch=batch,
                device=device,
                precision=precision,
                compiled=compile,
                tta=tta,
                workers=workers,
                cluster=cluster,
                min_area=min_area,
                simplify=simplify,
                smooth=smooth,
                regularize=regularize,
                formats=format.split(","),
                overwrite=overwrite,
                progress=progress,
            )
        if not quiet:
            print_objects(found.table)
            typer.echo(f"The objects are in {found.folder}: open polygons.gpkg in QGIS, or read report.html.")
        return
    if split is not None:
        raise OptionError(f"--split is for objects, but {model} gives classes. Choose some with --objects.")
    if regularize:
        raise OptionError(
            f"--regularize is for models that find objects, but {model} gives classes. Leave it out, and square the "
            "buildings of the map: geoseg vectorize classes.tif --classes building --regularize."
        )
    with make_progress(quiet=quiet) as progress:
        result = geoseg.map_scene(
            rasters[0] if len(rasters) == 1 else rasters,
            model,
            out,
            second=second,
            bands=bands,
            resolution=resolution,
            crs=crs,
            value_range=_two_numbers(value_range),
            tile_px=tile,
            overlap_px=overlap,
            block_px=block,
            batch=batch,
            device=device,
            precision=precision,
            compiled=compile,
            tta=tta,
            workers=workers,
            cluster=cluster,
            connectivity=connectivity,
            min_area=min_area,
            simplify=simplify,
            smooth=smooth,
            formats=format.split(","),
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        print_areas(result.areas)
        typer.echo(f"The map is in {result.folder}: open polygons.gpkg or classes.tif in QGIS, or read report.html.")


@app.command()
def vectorize(
    raster: Annotated[Path, typer.Argument(help="Any categorical raster.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The layer; its suffix chooses the format.")] = Path(
        "polygons.gpkg"
    ),
    band: Annotated[int | None, typer.Option(help="The band, from 1, where the raster has several.")] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="A raster of the same grid, averaged over each polygon.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Only these: names of the legend or values, building,road.")
    ] = None,
    connectivity: Connectivity = 4,
    min_area: MinArea = None,
    simplify: Simplify = None,
    smooth: Smooth = False,
    regularize: Annotated[
        bool, typer.Option("--regularize", help="Square buildings; choose their class with --classes.")
    ] = False,
    clip: Annotated[Path | None, typer.Option(help="Keep what lies in the polygons of this file.")] = None,
    split: Annotated[str | None, typer.Option(help="grid (tiles of 2048 pixels), or a file of zones.")] = None,
    zone_column: Annotated[str | None, typer.Option(help="The column with the names of zones.")] = None,
    max_vertices: Annotated[int | None, typer.Option(help="Halve polygons that have more vertices.")] = None,
    threads: Annotated[int | None, typer.Option(help="Strips traced at once; by default one for each core.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://...")] = None,
    crs: Crs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn a categorical raster into polygons with class names, areas and a QGIS style."""
    from geoseg.classmap import only_classes, open_class_map
    from geoseg.layer import Cuts, write_layer

    _refuse_existing(out, overwrite)
    cuts = Cuts(clip, split, zone_column, max_vertices)
    cover = open_class_map(raster, band=band, crs=crs)
    percent = None if confidence is None else open_class_map(confidence, crs=crs)
    if classes is not None:
        cover = only_classes(cover, [name.strip() for name in classes.split(",")])
    with make_progress(quiet=quiet) as progress:
        progress.stage("polygons")
        layer = write_layer(
            cover,
            out,
            cuts=cuts,
            squared=regularize,
            confidence=percent,
            connectivity=connectivity,
            min_area=min_area,
            simplify=simplify,
            smooth=smooth,
            threads=threads,
            cluster=cluster,
        )
    if not quiet:
        for line in layer.describe():
            typer.echo(line)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scene and its map.")] = Path("demo"),
    side: Annotated[int, typer.Option(help="Side of the scene, pixels of 0.5 m.")] = 1536,
    seed: Annotated[int, typer.Option(help="Another number, another landscape.")] = 7,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw an aerial scene with known land cover, map it with the built-in model, and compare."""
    from geoseg.demo import run_demo

    if overwrite and (out / "scene.tif").is_file() and (out / "truth.tif").is_file():
        shutil.rmtree(out)
    elif overwrite and out.exists():
        raise OutputError(f"--overwrite replaces only an older demo, but {out} is none. Choose another --out.")
    _refuse_existing(out, overwrite=False)
    with make_progress(quiet=quiet) as progress:
        result, agreement = run_demo(out, side_px=side, seed=seed, progress=progress)
    if not quiet:
        print_areas(result.areas)
        typer.echo(f"Of the pixels, {agreement:.1%} have the class that was drawn.")
        typer.echo(f"Look at {result.folder / 'report.html'}, and open {result.folder / 'polygons.gpkg'} in QGIS.")


def main(arguments: list[str] | None = None) -> None:
    """The entry point of ``geoseg`` and ``python -m geoseg``; always ends with `SystemExit`."""
    debugging.on = False
    try:
        code = app(args=arguments, prog_name="geoseg", standalone_mode=False)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    except typer.Exit as stop:
        code = stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _complain(f"Stopped. {_what_is_kept(sys.argv[1:] if arguments is None else arguments)}")
        code = 1
    except GeosegError as error:
        _complain(f"Error: {error}")
        code = 2 if isinstance(error, OptionError) else 1
    except Exception as error:
        show = getattr(error, "show", None)  # click's own usage errors print themselves
        if callable(show):
            show()
            code = int(getattr(error, "exit_code", 2))
        else:
            hint = "" if debugging.on else " This is a fault of geoseg: run with --debug and report what it prints."
            _complain(f"Error: {type(error).__name__}: {error}.{hint}")
            code = 1
    sys.exit(code or 0)


def _what_is_kept(arguments: list[str]) -> str:
    if arguments[:1] == ["change"]:
        return "Nothing is written."
    if arguments[:1] != ["train"]:
        return "Finished blocks are kept: run the same command again to go on."
    if "--few" in arguments:
        return "Nothing is written."
    return (
        "What was learned up to the last whole epoch is kept beside the package, in its .partial folder: run the same "
        "command again to go on."
    )


def _complain(message: str) -> None:
    if debugging.on and sys.exc_info()[0] is not None:
        traceback.print_exc()
    typer.echo(message, err=True)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OutputError(
            f"Nothing is overwritten unasked, but {path} is there. Choose another --out, or give --overwrite."
        )


def _two_numbers(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"--value-range is two numbers with a comma, like 0,3000, but is {text!r}.") from error
    return low, high


if __name__ == "__main__":
    main()
