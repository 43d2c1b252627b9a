"""`detect`: a scene and a model → each object once, lazily."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dask
import geopandas as gpd
import numpy as np
import pytest
import rasterio
from fakes import MemoryScene
from objects_truth import draw_truth, instances_in, quality
from rasterio.transform import from_origin

import geoseg
from geoseg.blocks import BlockStore
from geoseg.classes import ClassInfo
from geoseg.errors import GeosegError, MismatchError, OutputError
from geoseg.instance import ObjectPlan, linked
from geoseg.model import InstanceModel, ModelSpec, read_spec
from geoseg.objects import Instances
from geoseg.progress import Progress
from geoseg.tiling import Tiling

SPEC = ModelSpec(
    "perfect",
    bands=("number",),
    mean=(0,),
    std=(1,),
    classes=(ClassInfo(3, "building", "#c0392b"),),
    dtype="uint16",
    resolution_m=1,
    resolution_range_m=(0.5, 2),
    tile_px=256,
    overlap_px=64,
    margin_px=8,
    task="instance-segmentation",
    decoding="maskrcnn",
)


class Perfect:
    """Sees the objects that are drawn into the pixels, in pieces."""

    in_flight = 1

    def __init__(self, tiling: Tiling, spec: ModelSpec = SPEC, how: str = "pieces") -> None:
        self.spec, self.tiling, self.how = spec, tiling, how
        self.tiles = 0

    def find(self, tiles: Iterable[tuple[Any, np.ndarray, np.ndarray]]) -> Iterator[tuple[Any, Instances]]:
        for tile, pixels, _ in tiles:
            self.tiles += 1
            yield tile, instances_in(pixels[0].astype(np.int32), self.tiling, tile, how=self.how)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    truth = draw_truth(800, want=250)
    path = tmp_path_factory.mktemp("detect") / "truth.tif"
    profile = {"driver": "GTiff", "height": 800, "width": 800, "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **profile, transform=from_origin(500_000, 5_000_000, 1, 1)) as file:
        file.write(truth.astype(np.uint16), 1)
        file.set_band_description(1, "number")
    return path, truth


def perfect(shape: tuple[int, int] = (800, 800)) -> Perfect:
    return Perfect(Tiling(shape, tile_px=256, overlap_px=64, margin_px=8))


def test_each_object_once_and_blocks_change_nothing(drawn: tuple[Path, np.ndarray]) -> None:
    path, truth = drawn
    scene = geoseg.open_scene(path, bands="number=1")
    model = perfect()
    assert isinstance(model, InstanceModel)
    found = geoseg.detect(scene, model)
    assert model.tiles == 0  # nothing is computed yet
    objects, table = dask.compute(found.map["object"], found.table)
    assert model.tiles == 16  # each tile once
    assert objects.dtype == np.uint32
    assert objects.odc.geobox == scene.geobox
    extra, pq = quality(truth, objects.to_numpy().astype(np.int64))
    assert extra == 0
    assert pq >= 0.99
    assert table["object_id"].tolist() == list(range(1, 251))
    assert np.array_equal(table["pixels"], np.bincount(objects.to_numpy().ravel())[1:])
    assert set(table["class_name"]) == {"building"}
    other = geoseg.detect(scene, perfect(), block_px=210)
    others, again = dask.compute(other.map["object"], other.table)
    assert np.array_equal(objects, others)
    assert table.equals(again)


def test_a_model_of_classes_finds_no_objects(drawn: tuple[Path, np.ndarray]) -> None:
    scene = geoseg.open_scene(drawn[0], bands="number=1")
    with pytest.raises(MismatchError, match="instance-segmentation, but landcover-aerial is for semantic"):
        geoseg.detect(scene, Perfect(Tiling((1, 1)), read_spec("landcover-aerial")))
    with pytest.raises(MismatchError, match="perfect"):
        geoseg.classify(scene, perfect())  # type: ignore[arg-type]


def test_a_scene_without_objects(tmp_path: Path) -> None:
    path = tmp_path / "empty.tif"
    profile = {"driver": "GTiff", "height": 50, "width": 70, "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **profile, transform=from_origin(500_000, 5_000_000, 1, 1)) as file:
        file.write(np.zeros((50, 70), np.uint16), 1)
    found = geoseg.detect(geoseg.open_scene(path, bands="number=1"), perfect((50, 70)))
    assert not found.map["object"].to_numpy().any()
    assert list(found.table.compute().columns)[:2] == ["object_id", "class"]
    assert len(found.table.compute()) == 0


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name not in ("run.json", "report.html")
    }


class KilledError(Exception):
    """The run was killed."""


class Killer(Progress):
    """Kills a run after so many reports."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, pixels: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError


def test_a_folder_of_objects(drawn: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, truth = drawn
    options: dict[str, Any] = {"bands": "number=1", "block_px": 300}
    result = geoseg.map_objects(path, perfect(), tmp_path / "whole", **options)
    assert sorted(folder_bytes(result.folder)) == [
        "objects.csv",
        "objects.qml",
        "objects.tif",
        "polygons.gpkg",
        "preview.png",
    ]
    assert not (tmp_path / "whole.partial").exists()
    with rasterio.open(result.folder / "objects.tif") as file:
        ids = file.read(1)
        assert (file.dtypes, file.nodata) == (("uint32",), 0)
    extra, pq = quality(truth, ids.astype(np.int64))
    assert extra == 0
    assert pq >= 0.99
    polygons = gpd.read_file(result.folder / "polygons.gpkg", layer="polygons").sort_values("object_id")
    assert polygons["object_id"].tolist() == list(range(1, 251))
    assert np.array_equal(polygons["pixels"], np.bincount(ids.ravel())[1:])
    assert polygons.geometry.is_valid.all()
    assert np.allclose(polygons.area, polygons["pixels"])  # pixels are one metre a side
    assert result.table[["class_name", "objects", "pixels"]].values.tolist() == [["building", 250, (ids > 0).sum()]]
    assert result.table["area_m2"][0] == pytest.approx(polygons["area_m2"].sum())
    assert {"score", "tiles", "edge", "perimeter_m", "compactness", "orientation_deg"} <= set(polygons.columns)

    with pytest.raises(GeosegError):
        geoseg.map_objects(path, perfect(), tmp_path / "killed", progress=Killer(5), **options)
    assert not (tmp_path / "killed").exists()
    model = perfect()
    resumed = geoseg.map_objects(path, model, tmp_path / "killed", workers=2, **options)
    assert model.tiles < 16  # some blocks were there
    other = geoseg.map_objects(path, perfect(), tmp_path / "other", bands="number=1")
    for one in (resumed, other):
        assert folder_bytes(one.folder) == folder_bytes(result.folder)


def test_a_cluster_changes_no_byte(drawn: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    from distributed import LocalCluster

    path, _ = drawn
    options: dict[str, Any] = {"bands": "number=1", "block_px": 300, "min_area": "20px", "simplify": "1px"}
    here = geoseg.map_objects(path, perfect(), tmp_path / "here", **options)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        there = geoseg.map_objects(path, perfect(), tmp_path / "there", cluster=cluster.scheduler_address, **options)
    assert folder_bytes(there.folder) == folder_bytes(here.folder)


@pytest.mark.parametrize("step", ["find", "link", "paint"])
def test_the_memory_of_a_block_is_estimated(step: str, tmp_path: Path) -> None:
    """Objects of 8 × 8 pixels, wall to wall."""
    rows, cols = np.divmod(np.arange(1024 * 1024), 1024)
    truth = (1 + rows // 8 * 128 + cols // 8).reshape(1024, 1024)
    scene = MemoryScene(truth[None].astype(np.uint16), np.ones(truth.shape, bool), bands=("number",))
    tiling = Tiling(truth.shape, tile_px=256, overlap_px=64, margin_px=8, block_px=512)
    plan = ObjectPlan(scene, Perfect(tiling, how="cut"), tiling)  # type: ignore[arg-type]
    store = BlockStore(tmp_path / "blocks", "", plan.suffix)
    store.open()
    block = tiling.blocks()[0]
    plan.find(store, block, lambda pixels: None)  # compiles
    for one in tiling.blocks():
        plan.find(store, one, lambda pixels: None)
    numbers = plan.number(store, lambda function: map(function, tiling.blocks()))
    run = {
        "find": lambda: plan.find(store, block, lambda pixels: None),
        "link": lambda: linked(plan, store, block),
        "paint": lambda: plan.paint(store, numbers, block),
    }[step]
    tracemalloc.start()
    try:
        run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    estimate = plan.block_bytes if step == "find" else plan.joining_bytes
    assert estimate / 8 < peak < estimate


def test_small_objects_are_left_out_and_outlines_squared(drawn: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = drawn
    options: dict[str, Any] = {"bands": "number=1", "min_area": "30m2", "regularize": True, "simplify": "1px"}
    result = geoseg.map_objects(path, perfect(), tmp_path / "out", **options)
    polygons = gpd.read_file(result.folder / "polygons.gpkg", layer="polygons")
    assert polygons["area_m2"].min() >= 30
    assert len(polygons) == result.table["objects"][0] < 250
    with rasterio.open(result.folder / "objects.tif") as file:
        assert file.read(1).max() == len(polygons)
    with pytest.raises(OutputError, match="must not be there"):
        geoseg.map_objects(path, perfect(), tmp_path / "out", **options)
