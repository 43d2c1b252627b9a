"""The story of objects: from a raster to one polygon for each building or field, in a folder that QGIS opens styled.

`map_objects` is the way of `geoseg map` for models that find objects: find → join → paint → polygons → table.
What tiles saw is kept block by block, so a run that was broken off goes on where it stopped and gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from geoseg import export
from geoseg.areas import PixelAreas
from geoseg.blocks import BlockStore, check_memory, map_in_order, run_blocks
from geoseg.classmap import open_object_blocks, write_object_block, write_object_map
from geoseg.files import check_folder
from geoseg.finders import Finder, Numbering, finder_of
from geoseg.model import InstanceModel, Model
from geoseg.object_layer import Shapes, areas_by_class, classes_of_objects, iter_objects, large_enough, write_objects
from geoseg.outfolder import Clock, check_formats, check_overwrite, prepare_folders, publish, run_key
from geoseg.progress import Progress
from geoseg.report import report_objects, write_page
from geoseg.scene import open_scene, pair
from geoseg.tiling import Block
from geoseg.units import parse_area, with_unit

__all__ = ["ObjectResult", "map_objects"]

R = TypeVar("R")

_GDAL_CACHE_MB = "64"


@dataclass(frozen=True)
class ObjectResult:
    """What `map_objects` leaves."""

    folder: Path
    """The output folder."""
    table: pd.DataFrame
    """Objects and areas by class, as in ``objects.csv``."""
    seconds: dict[str, float]
    """Wall time of each stage."""


def map_objects(
    source: Any,
    model: InstanceModel | Model | str | Path,
    out: str | Path = "out",
    *,
    objects: str | Sequence[str] | None = None,
    split: str | float | None = None,
    second: Any = None,
    bands: Any = None,
    resolution: float | None = None,
    crs: str | None = None,
    value_range: tuple[float, float] | None = None,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 4096,
    batch: int | None = None,
    device: str | None = None,
    precision: str = "32",
    compiled: bool = False,
    tta: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    min_area: str | float | None = None,
    simplify: str | float | None = None,
    smooth: bool = False,
    regularize: bool = False,
    formats: Sequence[str] = ("gpkg",),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ObjectResult:
    """Find the objects of a scene: a map of ids, one polygon each, a table and a preview in one folder.

    Parameters
    ----------
    source, out, second, bands, resolution, crs, value_range, tile_px, overlap_px, block_px
        See `geoseg.map_scene` and `geoseg.detect`.
    model
        A loaded model that finds or maps objects, or its package; or, with `objects`, one for land cover.
    objects, split
        See `geoseg.detect`.
    precision, compiled, tta
        For models that map objects; see `geoseg.map_scene`.
    batch, device, workers, cluster, formats, overwrite, progress
        See `geoseg.map_scene`.
    min_area
        Objects smaller than this (``"20m2"``, ``"9px"``) are left out, in the map and in all that is made of it.
    simplify, smooth
        How the polygons are drawn; see `geoseg.vectorize`.
    regularize
        Whether outlines get right angles; for buildings. See `geoseg.regularize`.

    Returns
    -------
    ObjectResult
        The folder, with ``objects.tif`` (uint32 ids, 0 = none), ``polygons.gpkg``, ``objects.csv``, ``preview.png`` and
        ``run.json``; and the table ``class, class_name, objects, pixels, area_m2, area_ha, share`` (of the area of all
        objects).

    Raises
    ------
    GeosegError
        The input, the model, the options or the output folder are at fault, or a block failed.
    """
    progress = progress or Progress()
    clock = Clock(progress)
    formats, shapes = check_formats(formats, objects=True), Shapes(min_area, simplify, smooth, regularize)
    check_overwrite(Path(out), overwrite)
    clock.stage("open")
    if isinstance(model, str | Path):
        threads = max(1, (os.cpu_count() or 1) // workers)
        how = {"device": device, "batch": batch, "precision": precision, "compiled": compiled}
        model = _load(model, tta, threads=threads, progress=progress, **how)
    scene = open_scene(source, bands=bands, crs=crs) if second is None else pair(source, second, bands=bands, crs=crs)
    os.environ.setdefault("GDAL_CACHEMAX", _GDAL_CACHE_MB)  # GDAL takes a twentieth of all memory otherwise
    finder = finder_of(
        scene,
        model,
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
        objects=objects,
        split=split,
    )
    if min_area is not None:
        with_unit(parse_area(min_area), finder.scene.geobox.crs)  # raises before anything is computed
    final, work = prepare_folders(Path(out), overwrite)
    _check_cost(finder, workers, work)
    run = _Run(finder, BlockStore(work / "blocks", run_key(finder), finder.suffix), workers, cluster)

    run.store.open()
    blocks = finder.tiling.blocks()
    clock.stage("find", sum(block.pixels for block in blocks))
    missing = run.store.missing(blocks)
    progress.advance(sum(block.pixels for block in set(blocks) - set(missing)))
    task = partial(finder.find, run.store)
    run_blocks(task, missing, workers=workers, cluster=cluster, on_pixels=progress.advance)
    clock.stage("join")
    numbers = finder.number(run.store, run.each)
    clock.stage("paint")
    ids, found = run.paint(numbers)
    if min_area is not None:
        kept = large_enough(found, min_area, finder.scene.geobox.crs)
        ids, found = (ids, found) if kept.all() else run.paint(numbers.keep(kept))
    clock.stage("rasters")
    write_object_map(ids, work / "objects.tif", count=len(found), overwrite=True)
    clock.stage("polygons")
    classes = finder.classes
    for name in formats:
        polygons = iter_objects(ids, found, shapes)
        write_objects(polygons, work, name, finder=finder, crs=crs or scene.geobox.crs)
    table = areas_by_class(found, classes)
    table.to_csv(work / "objects.csv", index=False)
    clock.stage("preview")
    shown = classes_of_objects(ids, found, classes)
    export.write_preview(work / "preview.png", finder.scene, shown, title=scene.name)
    clock.stage("done")
    record = _record(source, run, shapes, formats, table, clock)
    export.write_record(work / "run.json", record)
    areas_m2 = found["area_m2"].to_numpy()
    page = report_objects(shown, table, areas_m2, classes=classes, title=scene.name, record=record, scene=finder.scene)
    write_page(page, work / "report.html")
    publish(work, final, without=("blocks", "painted"))
    return ObjectResult(final, table, clock.seconds)


def _load(model: str | Path, tta: str | None, **how: Any) -> Any:
    from geoseg.networks import load_model, load_together

    alone = tta is None and (Path(model).exists() or "," not in str(model))
    return load_model(model, **how) if alone else load_together(model, tta=tta, **how)


@dataclass(frozen=True)
class _Run:
    """The steps after finding, each block by block."""

    finder: Finder
    store: BlockStore
    workers: int
    cluster: str | None

    def each(self, function: Callable[[Block], R]) -> Iterator[R]:
        return map_in_order(function, self.finder.tiling.blocks(), threads=self.workers, cluster=self.cluster)

    def paint(self, numbers: Numbering) -> tuple[xr.DataArray, pd.DataFrame]:
        """The map of objects, from block files, and their table with the areas that they have in it."""
        painted = BlockStore(self.store.folder.with_name("painted"), "")
        painted.open()
        areas = PixelAreas(self.finder.scene.geobox)
        pixels, units = np.zeros((2, len(numbers)), np.int64)
        for ids, *counted in self.each(partial(_paint, self.finder, self.store, painted, numbers, areas)):
            pixels[ids - 1] += counted[0]
            units[ids - 1] += counted[1]
        files = [(painted.path(block), block.rows[0], block.cols[0]) for block in self.finder.tiling.blocks()]
        objects = open_object_blocks(files, self.finder.scene.geobox)
        return objects, self.finder.tabulate(numbers, pixels).assign(area_m2=units * areas.unit_m2)


def _check_cost(finder: Finder, workers: int, work: Path) -> None:
    rows, cols = finder.tiling.shape
    check_memory(
        finder.block_bytes * workers,
        what=f"The blocks of {workers} worker(s)",
        remedy="Lower --block, --batch or --workers.",
    )
    check_folder(work, needed_bytes=rows * cols)


def _paint(
    finder: Finder, store: BlockStore, painted: BlockStore, numbers: Numbering, areas: PixelAreas, block: Block
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One block of the map, in its file; and the ids in it with their pixels and areas."""
    ids = finder.paint(store, numbers, block)
    window = finder.scene.geobox[slice(*block.rows), slice(*block.cols)]
    write_object_block(painted.path(block), ids, window)
    return areas.of_ids(ids, block.rows[0], block.cols[0])


def _record(
    source: Any, run: _Run, shapes: Shapes, formats: Sequence[str], table: pd.DataFrame, clock: Clock
) -> dict[str, Any]:
    finder = run.finder
    spec, tiling = finder.model.spec, finder.tiling
    drawn = {
        name: value if value is None or isinstance(value, bool) else str(value)
        for name, value in asdict(shapes).items()
    }
    sides = {"tile_px": tiling.tile_px, "overlap_px": tiling.overlap_px, "block_px": tiling.block_px}
    return {
        "input": {"source": str(source), **finder.scene.describe()},
        "model": {"name": spec.name, "sha256": spec.sha256, "license": spec.license, "description": spec.description},
        "options": {
            **sides,
            "value_range": finder.value_range,
            **finder.describe(),
            **drawn,
            "formats": list(formats),
            "workers": run.workers,
        },
        "objects": table.to_dict(orient="records"),
        "seconds": clock.seconds,
        "peak_memory_bytes": export.peak_memory_bytes(),
        "versions": export.versions(),
    }
