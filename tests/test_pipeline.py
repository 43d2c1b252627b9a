"""From a raster to the output folder: one answer however it is computed, nothing lost when it breaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.features
import shapely
from packages import write_package
from rasterio.transform import from_origin

import geoseg
from geoseg.blocks import BlockStore, check_memory, run_blocks
from geoseg.errors import BlockError, GeosegError, OptionError, OutputError
from geoseg.tiling import Block, Tiling

RESULTS = ("classes.tif", "confidence.tif", "polygons.gpkg", "areas.csv", "preview.png")
SHAPE = (1100, 1300)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_package(tmp_path_factory.mktemp("models") / "tiny")


def write_scene(path: Path, shape=SHAPE, seed=0, crs="EPSG:32633", resolution=0.5) -> Path:
    """Blobs of colour with two holes of nodata: enough structure for every class of a random network."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, shape[0] // 25 + 2, shape[1] // 25 + 2))
    values = np.repeat(np.repeat(coarse, 25, 1), 25, 2)[:, : shape[0], : shape[1]]
    values = np.clip(values + rng.integers(-4, 5, values.shape), 1, 255).astype(np.uint8)
    values[:, shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 3] = 0
    values[:, :, -3:] = 0
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "nodata": 0, "crs": crs, "tiled": True}
    transform = from_origin(500_000, 5_400_000, resolution, resolution)
    with rasterio.open(path, "w", height=shape[0], width=shape[1], transform=transform, **profile) as target:
        target.write(values)
        target.descriptions = ("red", "green", "blue")
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "scene.tif")


@pytest.fixture(scope="module")
def reference(scene, package, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "out"
    return geoseg.map_scene(scene, package, out, device="cpu").folder


def assert_same(folder: Path, reference: Path) -> None:
    for name in RESULTS:
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), f"{name} differs"


@pytest.mark.parametrize(
    "options", [{"block_px": 512}, {"block_px": 1000, "workers": 2}, {"block_px": 300, "workers": 4}]
)
def test_blocks_and_workers_change_no_byte(options, scene, package, reference, tmp_path) -> None:
    assert_same(geoseg.map_scene(scene, package, tmp_path / "out", device="cpu", **options).folder, reference)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_models_threads_change_no_byte(threads, scene, package, reference, tmp_path) -> None:
    model = geoseg.load_model(package, device="cpu", threads=threads)
    assert_same(geoseg.map_scene(scene, model, tmp_path / "out", block_px=700).folder, reference)


def test_a_cluster_changes_no_byte(scene, package, reference, tmp_path) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        by_address = geoseg.map_scene(
            scene, package, tmp_path / "a", device="cpu", block_px=512, cluster=cluster.scheduler_address
        )
        assert_same(by_address.folder, reference)
        with Client(cluster):  # an active client is used without being named
            active = geoseg.map_scene(scene, package, tmp_path / "b", device="cpu", block_px=512)
        assert_same(active.folder, reference)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(scene, package, reference, tmp_path) -> None:
    out, blocks = tmp_path / "out", tmp_path / "out.partial" / "blocks"
    command = [sys.executable, "-m", "geoseg", "map", str(scene), "--model", str(package), "--out", str(out)]
    command += ["--block", "200", "--device", "cpu", "--quiet"]
    run = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(blocks.glob("r*.tif"))) < 5:
        assert time.monotonic() < deadline, "no block was finished in two minutes"
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in blocks.glob("r*.tif")}
    assert 5 <= len(kept) < len(Tiling(SHAPE, block_px=200).blocks())
    seen = []

    class Watch(geoseg.progress.Progress):
        def stage(self, name: str, total: int | None = None) -> None:
            if name == "areas":  # all blocks are there now, and the ones that were kept are the old ones
                seen.extend(path.stat().st_mtime_ns == when for path, when in kept.items())

    result = geoseg.map_scene(scene, package, out, device="cpu", block_px=200, progress=Watch())
    assert len(seen) == len(kept)
    assert all(seen)
    assert_same(result.folder, reference)
    assert not (tmp_path / "out.partial").exists()


def test_raster_polygons_and_tables_agree(reference, scene) -> None:
    with rasterio.open(reference / "classes.tif") as raster:
        classes = raster.read(1)
        assert raster.nodata == 255
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(scene) as source:
        np.testing.assert_array_equal(classes != 255, source.dataset_mask() > 0)
    polygons = gpd.read_file(reference / "polygons.gpkg", layer="polygons")
    table = pd.read_csv(reference / "areas.csv")
    table = table[table["class"] != 255].set_index("class")
    stored = gpd.read_file(reference / "polygons.gpkg", layer="class_areas").set_index("class")
    for value, row in table.iterrows():
        mine = polygons[polygons["class"] == value]
        assert mine.pixels.sum() == row.pixels == np.count_nonzero(classes == value) == stored.pixels[value]
        assert mine.area_m2.sum() == pytest.approx(row.area_m2, rel=1e-12)
        assert stored.area_m2[value] == row.area_m2
        assert mine.geometry.area.sum() == row.pixels * 0.25
    with rasterio.open(reference / "confidence.tif") as raster:
        percent = raster.read(1)
    for row in polygons.nlargest(3, "pixels").itertuples():
        inside = rasterio.features.geometry_mask([row.geometry], classes.shape, raster.transform, invert=True)
        assert inside.sum() == row.pixels
        assert percent[inside].mean() == pytest.approx(row.confidence)


def test_the_record_tells_how_the_map_was_made(reference, package) -> None:
    record = json.loads((reference / "run.json").read_text())
    assert record["model"]["sha256"] == geoseg.model.read_spec(package).sha256
    assert record["grid"]["rows"] == SHAPE[0]
    assert record["options"]["tile_px"] == 128
    assert {"open", "classify", "areas", "rasters", "polygons", "preview"} <= set(record["seconds"])
    assert record["peak_memory_bytes"] > 0
    assert not (reference / "blocks").exists()


def test_every_format_is_written(scene, package, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", (150, 150))
    formats = ("gpkg", "parquet", "fgb", "geojson", "shp")
    folder = geoseg.map_scene(small, package, tmp_path / "out", device="cpu", formats=formats).folder
    counts = {len(gpd.read_file(folder / f"polygons.{suffix}")) for suffix in formats if suffix != "parquet"}
    assert counts == {len(gpd.read_parquet(folder / "polygons.parquet"))}
    with pytest.raises(OptionError, match=r"formats are gpkg, .*, but --format is gpkg, dwg"):
        geoseg.map_scene(small, package, tmp_path / "b", formats=("gpkg", "dwg"))


def test_8_connected_polygons_are_fewer(scene, package, reference, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", (200, 200))
    four, eight = (
        gpd.read_file(
            geoseg.map_scene(small, package, tmp_path / str(n), device="cpu", connectivity=n).folder / "polygons.gpkg"
        )
        for n in (4, 8)
    )
    assert shapely.coverage_is_valid(four.geometry.values)
    assert len(eight) < len(four)
    assert eight.pixels.sum() == four.pixels.sum()
    assert shapely.is_valid(eight.geometry.values).all()


def test_nothing_is_overwritten_unasked(package, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", (100, 100))
    out = tmp_path / "out"
    first = geoseg.map_scene(small, package, out, device="cpu")
    before = (out / "run.json").read_bytes()
    with pytest.raises(OutputError, match=r"must not be there.*--overwrite"):
        geoseg.map_scene(small, package, out, device="cpu")
    assert (out / "run.json").read_bytes() == before
    again = geoseg.map_scene(small, package, out, device="cpu", overwrite=True)
    assert_same(again.folder, first.folder)
    assert [path.name for path in tmp_path.iterdir() if path.name.lstrip(".").startswith("out")] == ["out"]
    (tmp_path / "out.old").mkdir()
    (tmp_path / "out.old" / "thesis.txt").write_text("mine")
    geoseg.map_scene(small, package, out, device="cpu", overwrite=True)
    assert (tmp_path / "out.old" / "thesis.txt").is_file()
    with pytest.raises(OutputError, match="replaces only what geoseg made"):
        geoseg.map_scene(small, package, tmp_path / "out.old", device="cpu", overwrite=True)
    assert (tmp_path / "out.old" / "thesis.txt").is_file()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        geoseg.map_scene(small, package, tmp_path / "file", device="cpu", overwrite=True)


def test_a_broken_off_run_of_something_else_is_not_taken_up(package, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", (100, 100))
    store = BlockStore(tmp_path / "out.partial" / "blocks", "another key")
    store.open()
    with pytest.raises(OutputError, match=r"another input, model or options.*--overwrite"):
        geoseg.map_scene(small, package, tmp_path / "out", device="cpu")
    assert store.folder.is_dir()
    geoseg.map_scene(small, package, tmp_path / "out", device="cpu", overwrite=True)
    assert not store.folder.exists()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (37, 5)])
def test_scenes_smaller_than_a_tile(shape, package, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", shape)
    with rasterio.open(small, "r+") as target:
        target.nodata = None  # the last columns are nodata otherwise
    result = geoseg.map_scene(small, package, tmp_path / "out", device="cpu")
    assert result.areas.pixels.sum() == shape[0] * shape[1]
    assert gpd.read_file(result.folder / "polygons.gpkg").pixels.sum() == shape[0] * shape[1]


def test_a_scene_of_nothing_but_nodata(package, tmp_path) -> None:
    path = write_scene(tmp_path / "empty.tif", (50, 60))
    with rasterio.open(path, "r+") as target:
        target.write(np.zeros((3, 50, 60), np.uint8))
    folder = geoseg.map_scene(path, package, tmp_path / "out", device="cpu").folder
    assert len(gpd.read_file(folder / "polygons.gpkg")) == 0
    with rasterio.open(folder / "classes.tif") as raster:
        assert (raster.read(1) == 255).all()
    table = pd.read_csv(folder / "areas.csv").set_index("class")
    assert table.pixels.drop(255, errors="ignore").sum() == 0


def test_a_truncated_file_stops_the_run_and_leaves_no_output(scene, package, tmp_path) -> None:
    data = scene.read_bytes()
    broken = tmp_path / "broken.tif"
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(GeosegError, match=r"broken\.tif"):
        geoseg.map_scene(broken, package, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


# --- blocks


BLOCKS = Tiling((40, 30), tile_px=8, overlap_px=0, block_px=10).blocks()


def test_a_failing_block_is_tried_again_and_then_stops_the_run() -> None:
    tries: dict[str, int] = {}

    def once_broken(block: Block, report) -> None:
        tries[block.name] = tries.get(block.name, 0) + 1
        if block.name == "r0001_c0001" and tries[block.name] == 1:
            raise OSError("a hiccup")

    run_blocks(once_broken, BLOCKS)
    assert tries == {block.name: 1 + (block.name == "r0001_c0001") for block in BLOCKS}

    def broken(block: Block, report) -> None:
        if block.name == "r0001_c0001":
            raise OSError("no such luck")

    with pytest.raises(
        BlockError, match=r"r0001_c0001 \(rows 10\.\.20, columns 10\.\.20\).*OSError: no such luck.*kept"
    ):
        run_blocks(broken, BLOCKS, workers=2)


def test_progress_counts_every_pixel_and_its_exception_stops_the_run() -> None:
    counted = []
    run_blocks(lambda block, report: report(block.pixels), BLOCKS, workers=3, on_pixels=counted.append)
    assert sum(counted) == 40 * 30

    def interrupt(pixels: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks(lambda block, report: report(1), BLOCKS, on_pixels=interrupt)


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(OptionError, match="workers=0"):
        run_blocks(print, BLOCKS, workers=0)
    with pytest.raises(OptionError, match="--cluster must be the address"):
        run_blocks(print, BLOCKS, cluster="tcp://127.0.0.1:9")
    with pytest.raises(BlockError, match=r"needs about 3\.00 GB, and 1\.00 GB are free. Lower --block"):
        check_memory(3 * 10**9, what="A block", remedy="Lower --block.", available_bytes=10**9)
