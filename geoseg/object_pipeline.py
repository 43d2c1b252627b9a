"""The story of objects: from a raster to one polygon for each building or field, in a folder that QGIS opens styled.

`map_objects` is the way of `geoseg map` for models that find objects: find → join → paint → polygons → table.
What tiles saw is kept block by block, so a run that was broken off goes on where it stopped and gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg import export
from geoseg.areas import PixelAreas
from geoseg.blocks import BlockStore, Report, check_memory, map_in_order, run_blocks
from geoseg.classes import NODATA, ClassInfo
from geoseg.classmap import class_map, open_object_blocks, write_object_block, write_object_map
from geoseg.files import check_folder
from geoseg.instance import ObjectPlan, plan_objects
from geoseg.model import InstanceModel
from geoseg.objects.parts import Parts
from geoseg.objects.store import load_parts, save_parts
from geoseg.objects.whole import Numbers, Outlook, count, finish, link, number, paint_block, tabulate
from geoseg.outfolder import Clock, check_formats, check_overwrite, prepare_folders, publish, run_key
from geoseg.polygons import polygon_attributes, vectorize
from geoseg.polygons import regularize as square
from geoseg.progress import Progress
from geoseg.scene import open_scene, pair
from geoseg.tiling import Block
from geoseg.units import Area, parse_area, with_unit

__all__ = ["ObjectResult", "map_objects"]

R = TypeVar("R")

_PARTS_BYTES_PX = 4
"""Of memory for each pixel of a block: what linking and painting keep of it and of those around it."""


@dataclass(frozen=True)
class ObjectResult:
    """What `map_objects` leaves."""

    folder: Path
    """The output folder."""
    table: pd.DataFrame
    """Objects and areas by class, as in ``objects.csv``."""
    seconds: dict[str, float]
    """Wall time of each stage."""


@dataclass(frozen=True)
class Shapes:
    """How objects become polygons; see `map_objects`."""

    min_area: str | float | Area | None = None
    simplify: str | float | None = None
    smooth: bool = False
    squared: bool = False


def map_objects(
    source: Any,
    model: InstanceModel | str | Path,
    out: str | Path = "out",
    *,
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
        A loaded model for instance segmentation, or its package.
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
    formats, shapes = check_formats(formats), Shapes(min_area, simplify, smooth, regularize)
    check_overwrite(Path(out), overwrite)
    clock.stage("open")
    if isinstance(model, str | Path):
        from geoseg.networks import load_model

        threads = max(1, (os.cpu_count() or 1) // workers)
        model = load_model(model, device=device, threads=threads, batch=batch, progress=progress)  # type: ignore[assignment]
    scene = open_scene(source, bands=bands, crs=crs) if second is None else pair(source, second, bands=bands, crs=crs)
    plan = plan_objects(
        scene,
        model,  # type: ignore[arg-type]
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
    )
    if min_area is not None:
        with_unit(parse_area(min_area), plan.scene.geobox.crs)  # raises before anything is computed
    final, work = prepare_folders(Path(out), overwrite)
    _check_cost(plan, workers, work)
    run = _Run(plan, BlockStore(work / "blocks", run_key(plan), ".npz"), workers, cluster)

    run.store.open()
    blocks = plan.tiling.blocks()
    clock.stage("find", sum(block.pixels for block in blocks))
    missing = run.store.missing(blocks)
    progress.advance(sum(block.pixels for block in set(blocks) - set(missing)))
    task = partial(_find_into, plan, run.store)
    run_blocks(task, missing, workers=workers, cluster=cluster, on_pixels=progress.advance)
    clock.stage("join")
    numbers = run.numbers()
    clock.stage("paint")
    objects, polygons = run.paint(numbers, shapes)
    if min_area is not None:
        kept = _large_enough(polygons, min_area)
        objects, polygons = (objects, polygons) if kept.all() else run.paint(numbers.keep(kept), shapes)
    clock.stage("rasters")
    write_object_map(objects, work / "objects.tif", overwrite=True)
    clock.stage("polygons")
    classes = plan.model.spec.classes
    for suffix in formats:
        path = work / f"polygons.{suffix}"
        export.write_polygons([polygons], path, classes=classes, crs=crs or scene.geobox.crs, multi=True)
    table = _by_class(polygons, classes)
    table.to_csv(work / "objects.csv", index=False)
    clock.stage("preview")
    export.write_preview(work / "preview.png", plan.scene, _classes_of(objects, polygons, plan), title=scene.name)
    clock.stage("done")
    export.write_record(work / "run.json", _record(source, run, shapes, formats, table, clock))
    publish(work, final, without=("blocks", "painted"))
    return ObjectResult(final, table, clock.seconds)


@dataclass(frozen=True)
class _Run:
    """The steps after finding, each block by block."""

    plan: ObjectPlan
    store: BlockStore
    workers: int
    cluster: str | None

    def each(self, function: Callable[[Block], R]) -> Iterator[R]:
        return map_in_order(function, self.plan.tiling.blocks(), threads=self.workers, cluster=self.cluster)

    def numbers(self) -> Numbers:
        first = number(list(self.each(partial(_link, self.plan, self.store))))
        return finish(first, self.each(partial(_count, self.plan, self.store, first)))

    def paint(self, numbers: Numbers, shapes: Shapes) -> tuple[xr.DataArray, gpd.GeoDataFrame]:
        """The map of objects, from block files, and its polygons."""
        painted = BlockStore(self.store.folder.with_name("painted"), "")
        painted.open()
        counts = list(self.each(partial(_paint, self.plan, self.store, painted, numbers)))
        files = [(painted.path(block), block.rows[0], block.cols[0]) for block in self.plan.tiling.blocks()]
        objects = open_object_blocks(files, self.plan.scene.geobox)
        return objects, _polygons(objects, tabulate(numbers, counts, self.plan.model.spec.classes), shapes)


def _check_cost(plan: ObjectPlan, workers: int, work: Path) -> None:
    needed = plan.tiling.block_bytes(
        bands=len(plan.scene.bands),
        itemsize=np.dtype(plan.scene.dtype).itemsize,
        classes=1,
        in_flight=plan.model.in_flight,
    )
    rows, cols = plan.tiling.shape
    side = min(plan.tiling.block_px, max(rows, cols))
    check_memory(
        (needed + 9 * _PARTS_BYTES_PX * side**2) * workers,
        what=f"The blocks of {workers} worker(s)",
        remedy="Lower --block, --batch or --workers.",
    )
    check_folder(work, needed_bytes=rows * cols)


def _find_into(plan: ObjectPlan, store: BlockStore, block: Block, report: Report) -> None:
    """One block, from pixels to parts on disk; this is what a worker runs."""
    found, pixels = [], block.pixels
    for parts in plan.iter_parts(block):
        found.append(parts)
        step = min(plan.tiling.stride_px**2, pixels)
        pixels -= step
        report(step)
    save_parts(Parts.concatenate(found), store.path(block))
    report(pixels)


def _load(store: BlockStore, blocks: Iterable[Block]) -> list[Parts]:
    return [load_parts(store.path(block)) for block in blocks]


def _link(plan: ObjectPlan, store: BlockStore, block: Block) -> Outlook:
    return link(plan.tiling, block, _load(store, plan.around_own(block)))


def _count(plan: ObjectPlan, store: BlockStore, numbers: Numbers, block: Block) -> tuple[np.ndarray, np.ndarray]:
    return count(paint_block(plan.tiling, block, _load(store, plan.around(block)), numbers))


def _paint(
    plan: ObjectPlan, store: BlockStore, painted: BlockStore, numbers: Numbers, block: Block
) -> tuple[np.ndarray, np.ndarray]:
    ids = paint_block(plan.tiling, block, _load(store, plan.around(block)), numbers)
    window = plan.scene.geobox[slice(*block.rows), slice(*block.cols)]
    write_object_block(painted.path(block), (ids + 1).astype(np.uint32), window)
    return count(ids)


def _polygons(objects: xr.DataArray, table: pd.DataFrame, shapes: Shapes) -> gpd.GeoDataFrame:
    """One row for each object, in the order of their ids: what hangs together only at corners is a MultiPolygon."""
    regions = vectorize(objects, simplify=shapes.simplify, smooth=shapes.smooth).sort_values("class", kind="stable")
    which = np.searchsorted(table["object_id"], regions["class"].to_numpy())
    if shapes.squared:
        regions = square(regions)
    geometry = shapely.multipolygons(regions.geometry.to_numpy(), indices=which)
    frame = gpd.GeoDataFrame(table, geometry=geometry, crs=regions.crs)
    measured = polygon_attributes(frame.geometry, PixelAreas(objects.odc.geobox))
    for name in measured.columns:
        frame[name] = measured[name].to_numpy()
    # Pixels and areas are those of the map, also where outlines are simplified.
    frame["area_m2"] = np.bincount(which, regions["area_m2"], len(frame))
    frame["area_ha"] = frame["area_m2"] / 1e4
    return frame[[*(name for name in frame.columns if name != "geometry"), "geometry"]]


def _large_enough(polygons: gpd.GeoDataFrame, min_area: str | float | Area) -> np.ndarray:
    least = with_unit(parse_area(min_area), polygons.crs)
    pixels = least.unit == "px"
    return polygons["pixels" if pixels else "area_m2"].to_numpy() >= least.value


def _by_class(polygons: gpd.GeoDataFrame, classes: Sequence[ClassInfo]) -> pd.DataFrame:
    """How many objects of each class there are, and how much they cover."""
    rows = []
    for info in classes:
        some = polygons[polygons["class"] == info.value]
        area_m2 = float(some["area_m2"].sum())
        rows.append([info.value, info.name, len(some), int(some["pixels"].sum()), area_m2, area_m2 / 1e4])
    table = pd.DataFrame(rows, columns=["class", "class_name", "objects", "pixels", "area_m2", "area_ha"])
    return table.assign(share=table["area_m2"] / max(table["area_m2"].sum(), 1e-12))


def _classes_of(objects: xr.DataArray, polygons: gpd.GeoDataFrame, plan: ObjectPlan) -> xr.DataArray:
    """The class of each pixel, for the preview: 255 where there is no object."""
    lookup = np.concatenate([[NODATA], polygons["class"].to_numpy()]).astype(np.uint8)
    values = da.map_blocks(lambda ids: lookup[ids], objects.data, dtype=np.uint8)
    return class_map(values, plan.scene.geobox, plan.model.spec.classes)


def _record(
    source: Any, run: _Run, shapes: Shapes, formats: Sequence[str], table: pd.DataFrame, clock: Clock
) -> dict[str, Any]:
    plan = run.plan
    spec, tiling = plan.model.spec, plan.tiling
    drawn = {name: None if value is None else str(value) for name, value in asdict(shapes).items()}
    sides = {"tile_px": tiling.tile_px, "overlap_px": tiling.overlap_px, "block_px": tiling.block_px}
    return {
        "input": {"source": str(source), **plan.scene.describe()},
        "model": {"name": spec.name, "sha256": spec.sha256, "license": spec.license, "description": spec.description},
        "options": {
            **sides,
            "value_range": plan.value_range,
            **drawn,
            "formats": list(formats),
            "workers": run.workers,
        },
        "objects": table.to_dict(orient="records"),
        "seconds": clock.seconds,
        "peak_memory_bytes": export.peak_memory_bytes(),
        "versions": export.versions(),
    }
