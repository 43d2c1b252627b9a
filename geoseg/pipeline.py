"""The story: from a raster to a folder that QGIS opens styled. (With a model of objects see `object_pipeline`.)

`map_scene` is the way of `geoseg map`: open → classify → areas → class map → polygons → preview. Everything is made in
``<out>.partial`` beside the output folder, which takes its name when all is there. Finished blocks are kept in it, so
a run that was broken off goes on where it stopped and gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from geoseg import export
from geoseg.areas import class_areas, with_no_data_row
from geoseg.blocks import BlockStore, check_memory, run_blocks
from geoseg.classmap import BlockWriter, open_blocks, write_class_map, write_confidence_map
from geoseg.errors import OptionError
from geoseg.files import check_folder
from geoseg.layer import write_layer
from geoseg.model import Model
from geoseg.outfolder import Clock, check_formats, check_overwrite, prepare_folders, publish, run_key
from geoseg.polygons import Outlines, iter_sieved
from geoseg.progress import Progress
from geoseg.report import report_areas, write_page
from geoseg.scene import open_scene, pair
from geoseg.semantic import Plan, make_plan
from geoseg.tiling import Block

__all__ = ["MapResult", "map_scene"]

_GDAL_CACHE_MB = "64"


@dataclass(frozen=True)
class MapResult:
    """What `map_scene` leaves."""

    folder: Path
    """The output folder."""
    areas: pd.DataFrame
    """The table of class areas, as in ``areas.csv``."""
    seconds: dict[str, float]
    """Wall time of each stage."""


def map_scene(
    source: Any,
    model: Model | str | Path = "landcover-aerial",
    out: str | Path = "out",
    *,
    second: Any = None,
    bands: Any = None,
    resolution: float | None = None,
    crs: str | None = None,
    value_range: tuple[float, float] | None = None,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 8192,
    batch: int | None = None,
    device: str | None = None,
    precision: str = "32",
    compiled: bool = False,
    tta: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    connectivity: int = 4,
    min_area: str | float | None = None,
    simplify: str | float | None = None,
    smooth: bool = False,
    formats: Sequence[str] = ("gpkg",),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MapResult:
    """Map the land cover of a scene: rasters, polygons, areas, a preview and a report in one folder.

    Parameters
    ----------
    source
        What `geoseg.open_scene` takes: a path, several paths, a STAC item.
    model
        A loaded model, the name of a shipped one, a package folder, or published weights (``torchgeo:...``); several
        with commas are an ensemble, whose probabilities are averaged.
    out
        The output folder. It must not be there, unless `overwrite` is set; ``<out>.partial`` of a run that was
        broken off is taken up.
    second
        The same place at a second date, for models that look at two; see `geoseg.scene.pair`.
    bands, crs
        See `geoseg.open_scene`. Polygons are written in the scene's CRS, or in `crs`.
    resolution, value_range, tile_px, overlap_px, block_px
        See `geoseg.classify`.
    device, batch, precision, compiled
        Where and how the model runs; see `geoseg.load_model`.
    tta
        ``"d4"``: each tile is predicted in its eight turns and mirror images, and averaged.
    workers
        Blocks computed at the same time by threads of this process; the processor's threads are shared among them.
    cluster
        Address of a Dask scheduler; without it an active `dask.distributed.Client` is used, or threads.
    connectivity
        4 or 8: whether pixels that touch at a corner only belong to one polygon.
    min_area
        Regions smaller than this (``"500m2"``, ``"0.05ha"``, ``"9px"``) are filled by their neighbours, in the class
        map and so in everything made of it; see `geoseg.sieve`. Confidence stays as it was.
    simplify, smooth
        How the polygons are drawn; see `geoseg.vectorize`.
    formats
        Formats of the polygon layer: gpkg, parquet, fgb, geojson, shp.
    overwrite
        Replace the output folder, and discard what a broken-off run left.

    Returns
    -------
    MapResult
        The folder, the table of areas and the times.

    Raises
    ------
    GeosegError
        The input, the model, the options or the output folder are at fault, or a block failed; the message says
        which and what to do.

    Examples
    --------
    >>> import geoseg, geoseg.synthetic, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = geoseg.synthetic.write_scene(folder / "scene.tif", shape=(256, 256))
    >>> result = geoseg.map_scene(path, "landcover-aerial", folder / "out")
    >>> sorted(file.name for file in result.folder.iterdir() if file.suffix in (".tif", ".gpkg", ".csv"))
    ['areas.csv', 'classes.tif', 'confidence.tif', 'polygons.gpkg']
    """
    # GDAL's block cache is 5 % of the machine by default, and would grow with the scene up to there.
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)
    progress = progress or Progress()
    clock = Clock(progress)
    formats = check_formats(formats)
    outlines = Outlines(connectivity, min_area, simplify, smooth)
    check_overwrite(Path(out), overwrite)

    clock.stage("open")
    how = {"device": device, "batch": batch, "precision": precision, "compiled": compiled}
    model = _load(model, workers, tta, progress, how)
    if second is None:
        scene = open_scene(source, bands=bands, crs=crs)
    else:
        scene = pair(source, second, bands=bands, crs=crs)
    plan = make_plan(
        scene,
        model,
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
    )
    outlines.check(plan.scene.geobox)
    final, work = prepare_folders(Path(out), overwrite)
    _check_cost(plan, workers, work)

    blocks = plan.tiling.blocks()
    store = BlockStore(work / "blocks", run_key(plan))
    store.open()
    clock.stage("classify", sum(block.pixels for block in blocks))
    missing = store.missing(blocks)
    progress.advance(sum(block.pixels for block in set(blocks) - set(missing)))
    task = partial(plan.write, store)
    run_blocks(task, missing, workers=workers, cluster=cluster, on_pixels=progress.advance)

    cover = open_blocks(
        [(store.path(block), block.rows[0], block.cols[0]) for block in blocks],
        plan.scene.geobox,
        model.spec.classes,
    )
    if min_area is not None:
        clock.stage("sieve")
        cover = _sieved(cover, work / "sieved.tif", outlines)
    clock.stage("areas")
    areas = class_areas(cover["class"])
    table = with_no_data_row(areas)
    export.write_areas_csv(table, work / "areas.csv")
    clock.stage("rasters")
    write_class_map(cover["class"], work / "classes.tif", areas=areas, overwrite=True)
    write_confidence_map(cover["confidence"], work / "confidence.tif", overwrite=True)
    clock.stage("polygons")
    for suffix in formats:
        write_layer(
            cover["class"],
            work / f"polygons.{suffix}",
            areas=areas,
            crs=scene.geobox.crs,
            confidence=cover["confidence"],
            connectivity=connectivity,
            simplify=simplify,
            smooth=smooth,
        )
    clock.stage("preview")
    export.write_preview(work / "preview.png", plan.scene, cover["class"], title=scene.name, areas=areas)

    record = _record(source, plan, areas, clock, blocks, formats, outlines, workers, cluster)
    export.write_record(work / "run.json", record)
    page = report_areas(cover["class"], areas, title=scene.name, record=record, scene=plan.scene, predicted=True)
    write_page(page, work / "report.html")
    publish(work, final, without=("blocks", "sieved.tif"))
    return MapResult(final, areas, clock.seconds)


def _sieved(cover: xr.Dataset, path: Path, outlines: Outlines) -> xr.Dataset:
    """The map with its small regions filled, through a file as large as it."""
    from geoseg.classmap import classes_of, geobox_of

    geobox = geobox_of(cover["class"])
    path.unlink(missing_ok=True)  # of a run that was broken off
    with BlockWriter(path, geobox) as writer:
        for row0, values, confidence in iter_sieved(cover["class"], cover["confidence"], outlines):
            assert confidence is not None  # it was given
            writer.write(row0, values, confidence)
    return open_blocks([(path, 0, 0)], geobox, classes_of(cover["class"]))


def _load(model: Model | str | Path, workers: int, tta: str | None, progress: Progress, how: dict[str, Any]) -> Model:
    if not isinstance(model, str | Path):
        if tta is not None:
            raise OptionError(
                "tta is for models by name, but this one is loaded. Wrap it: geoseg.networks.Turned(model)."
            )
        return model
    from geoseg.networks import load_together

    # Workers times threads beyond the number of cores is far slower than one worker.
    threads = max(1, (os.cpu_count() or 1) // workers)
    return load_together(model, tta=tta, threads=threads, progress=progress, **how)


def _check_cost(plan: Plan, workers: int, work: Path) -> None:
    check_memory(
        plan.bytes() * workers,
        what=f"The blocks of {workers} worker(s)",
        remedy="Lower --block, --batch or --workers.",
    )
    rows, cols = plan.tiling.shape
    # Class and confidence compress to well under a byte a pixel each, blocks and final rasters together.
    check_folder(work, needed_bytes=rows * cols // 2)


def _record(
    source: Any,
    plan: Plan,
    areas: pd.DataFrame,
    clock: Clock,
    blocks: Sequence[Block],
    formats: Sequence[str],
    outlines: Outlines,
    workers: int,
    cluster: str | None,
) -> dict[str, Any]:
    spec, tiling = plan.model.spec, plan.tiling
    clock.stage("done")
    return {
        "input": {"source": str(source), **plan.scene.describe()},
        "model": {"name": spec.name, "sha256": spec.sha256, "license": spec.license, "description": spec.description},
        "options": {
            "tile_px": tiling.tile_px,
            "overlap_px": tiling.overlap_px,
            "margin_px": tiling.margin_px,
            "block_px": tiling.block_px,
            "value_range": plan.value_range,
            "precision": getattr(plan.model, "precision", "32"),
            **{
                name: str(value) if name in ("min_area", "simplify") and value is not None else value
                for name, value in asdict(outlines).items()
            },
            "formats": list(formats),
            "workers": workers,
            "cluster": cluster,
        },
        "grid": {
            "rows": tiling.shape[0],
            "cols": tiling.shape[1],
            "crs": str(plan.scene.geobox.crs),
            "resolution_m": plan.scene.resolution_m,
            "blocks": len(blocks),
        },
        "areas": areas.to_dict(orient="records"),
        "seconds": clock.seconds,
        "peak_memory_bytes": export.peak_memory_bytes(),
        "versions": export.versions(),
    }
