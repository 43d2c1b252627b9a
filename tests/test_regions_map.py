"""From a scene to objects out of its map: `detect` and `map_objects` with models of boundaries and of land cover."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import geopandas as gpd
import numpy as np
import pytest
import rasterio
from packages import TINY, write_package
from rasterio.features import shapes
from rasterio.transform import from_origin
from scipy.ndimage import label, uniform_filter
from test_detect import KilledError, Killer, folder_bytes
from test_regions import discs, random_classes

import geoseg
from geoseg.classes import NODATA, ClassInfo
from geoseg.cli import main
from geoseg.errors import GeosegError, MismatchError, OptionError
from geoseg.model import ModelSpec, NumpyModel
from geoseg.objects.regions import label_regions
from geoseg.region import plan_regions

SIDE = 150
SPEC = ModelSpec(
    "fields",
    bands=("kind",),
    mean=(0,),
    std=(1,),
    classes=(ClassInfo(10, "ground"), ClassInfo(20, "field"), ClassInfo(30, "edge")),
    resolution_m=1,
    resolution_range_m=(0.5, 2),
    tile_px=64,
    overlap_px=16,
    margin_px=2,
    activation="none",
    decoding="boundary",
    grow_px=2,
)
COVER = replace(SPEC, name="cover", decoding="classes")


def model_of(spec: ModelSpec = SPEC) -> NumpyModel:
    """Sees the kind of ground that each pixel has, blurred as a network sees it: otherwise at a tile's border."""

    def predict(scaled: np.ndarray) -> np.ndarray:
        each = (scaled == np.arange(3).reshape(1, 3, 1, 1)).astype(np.float32)
        blurred = uniform_filter(each, (0, 0, 3, 3), mode="nearest")
        return (2 * each + blurred) / 3

    return NumpyModel(spec, predict)


def write_scene(path: Path, kinds: np.ndarray, *, hole: tuple[slice, slice] | None = None) -> Path:
    values = kinds.astype(np.uint8)
    if hole is not None:
        values[hole] = 9
    profile = {"driver": "GTiff", "height": len(kinds), "width": kinds.shape[1], "count": 1, "dtype": "uint8"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_000_000, 1, 1), "nodata": 9}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(values, 1)
    return path


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kinds = random_classes(5, (SIDE, SIDE + 20), 2.5)
    kinds[40:43] = kinds[:, 100] = 1  # over many tiles and blocks
    return write_scene(tmp_path_factory.mktemp("fields") / "scene.tif", kinds, hole=(slice(60, 90), slice(20, 70)))


def opened(path: Path) -> Any:
    return geoseg.open_scene(path, bands="kind=1")


def expected(path: Path, spec: ModelSpec = SPEC, **rules: Any) -> np.ndarray:
    cover = geoseg.classify(opened(path), model_of(spec))["class"].to_numpy()
    return label_regions(cover, interior=20, boundary=30, **{"grow_px": 2, **rules})


@pytest.mark.parametrize("block_px", [37, 64, 4096])
@pytest.mark.parametrize(
    ("change", "split"), [({}, None), ({"borders": "gap", "grow_px": 3}, None), ({"grow_px": 1}, "2px")]
)
def test_objects_of_the_whole_map_whatever_the_blocks(
    fields: Path, change: dict[str, Any], split: str | None, block_px: int
) -> None:
    model = model_of(replace(SPEC, **change))
    found = geoseg.detect(opened(fields), model, block_px=block_px, split=split)
    objects, table = dask.compute(found.map["object"], found.table)
    whole = expected(fields, split_px=None if split is None else 2, **change)
    assert np.array_equal(objects, whole)
    assert objects.dtype == np.uint32
    assert whole.max() == len(table) > 20
    assert table["pixels"].tolist() == np.bincount(whole.ravel())[1:].tolist()
    assert set(table["class"]) == {20}
    assert set(table["class_name"]) == {"field"}
    at_edge = np.unique(np.concatenate([whole[0], whole[-1], whole[:, 0], whole[:, -1]]))
    assert table["object_id"][table["edge"]].tolist() == at_edge[at_edge > 0].tolist()


def test_the_score_is_the_mean_confidence_inside(fields: Path) -> None:
    cover = geoseg.classify(opened(fields), model_of())
    inside = cover["class"].to_numpy() == 20
    whole = expected(fields)
    sums = np.bincount(whole[inside], cover["confidence"].to_numpy()[inside])[1:]
    scores = sums / np.bincount(whole[inside])[1:] / 100
    table = geoseg.detect(opened(fields), model_of(), block_px=50).table.compute()
    assert table["score"].to_numpy() == pytest.approx(scores, abs=1e-6)
    least = float(np.quantile(scores, 0.3))
    sure = geoseg.detect(opened(fields), model_of(replace(SPEC, min_score=least)), block_px=50)
    objects, table = dask.compute(sure.map["object"], sure.table)
    kept = np.flatnonzero(scores >= least) + 1
    assert 10 < len(kept) < len(scores) - 5
    # What is left out leaves the others as they are.
    assert np.array_equal(objects.to_numpy() > 0, np.isin(whole, kept))
    assert table["object_id"].tolist() == list(range(1, len(kept) + 1))
    assert table["pixels"].tolist() == np.bincount(whole.ravel())[kept].tolist()


def test_nodata_is_no_object_and_divides(tmp_path: Path) -> None:
    kinds = np.ones((40, 90), np.uint8)
    path = write_scene(tmp_path / "scene.tif", kinds, hole=(slice(0, 40), slice(30, 33)))
    found = geoseg.detect(opened(path), model_of(), block_px=32)
    ids = found.map["object"].to_numpy()
    assert (ids[:, 30:33] == 0).all()
    assert (ids[:, :30] == 1).all()
    assert (ids[:, 33:] == 2).all()


@pytest.mark.parametrize("split", [None, "2px"])
def test_a_folder_of_fields_whatever_the_blocks_workers_and_kills(
    fields: Path, tmp_path: Path, split: str | None
) -> None:
    options: dict[str, Any] = {"bands": "kind=1", "split": split}
    result = geoseg.map_objects(fields, model_of(), tmp_path / "whole", **options)
    assert sorted(folder_bytes(result.folder)) == [
        "objects.csv",
        "objects.qml",
        "objects.tif",
        "polygons.gpkg",
        "preview.png",
    ]
    whole = expected(fields, split_px=None if split is None else 2)
    with rasterio.open(result.folder / "objects.tif") as file:
        assert np.array_equal(file.read(1), whole)
    polygons = gpd.read_file(result.folder / "polygons.gpkg", layer="polygons").sort_values("object_id")
    assert polygons["object_id"].tolist() == list(range(1, whole.max() + 1))
    assert np.allclose(polygons.area, np.bincount(whole.ravel())[1:])
    assert {len(shape.geoms) for shape in polygons.geometry} == {1}  # each hangs together by the sides of pixels
    assert result.table["class_name"].tolist() == ["field"]
    assert result.table["objects"].tolist() == [whole.max()]

    cut = {**options, "block_px": 50}
    with pytest.raises((GeosegError, KilledError)):
        geoseg.map_objects(fields, model_of(), tmp_path / "killed", progress=Killer(5), **cut)
    assert not (tmp_path / "killed").exists()
    assert list((tmp_path / "killed.partial" / "blocks").glob("*.tif"))
    resumed = geoseg.map_objects(fields, model_of(), tmp_path / "killed", workers=2, **cut)
    assert folder_bytes(resumed.folder) == folder_bytes(result.folder)


def test_a_cluster_changes_no_byte(fields: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    options: dict[str, Any] = {"bands": "kind=1", "split": "2px", "block_px": 90}
    here = geoseg.map_objects(fields, model_of(), tmp_path / "here", **options)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        there = geoseg.map_objects(fields, model_of(), tmp_path / "there", cluster=cluster.scheduler_address, **options)
    assert folder_bytes(there.folder) == folder_bytes(here.folder)


def test_small_objects_are_left_out_and_others_stay(fields: Path, tmp_path: Path) -> None:
    result = geoseg.map_objects(fields, model_of(), tmp_path / "out", bands="kind=1", min_area="40px", block_px=70)
    whole = expected(fields)
    large = np.flatnonzero(np.bincount(whole.ravel())[1:] >= 40) + 1
    assert result.table["objects"].tolist() == [len(large)]
    with rasterio.open(result.folder / "objects.tif") as file:
        assert np.array_equal(file.read(1) > 0, np.isin(whole, large))


@pytest.mark.parametrize("block_px", [40, 4096])
def test_regions_of_a_class_are_as_many_as_other_programs_find(fields: Path, block_px: int) -> None:
    cover = geoseg.classify(opened(fields), model_of(COVER))["class"].to_numpy()
    found = geoseg.detect(opened(fields), model_of(COVER), objects="field", block_px=block_px)
    objects, table = dask.compute(found.map["object"], found.table)
    assert np.array_equal(objects, label(cover == 20)[0])
    assert len(table) == sum(value == 20 for _, value in shapes(cover, connectivity=4))
    both = geoseg.detect(opened(fields), model_of(COVER), objects=["edge", "field"], block_px=block_px)
    objects, table = dask.compute(both.map["object"], both.table)
    assert len(table) == sum(value in (20, 30) for _, value in shapes(cover, connectivity=4))
    assert np.array_equal(objects.to_numpy() > 0, np.isin(cover, (20, 30)))
    for name, value in (("field", 20), ("edge", 30)):
        ids = table["object_id"][table["class_name"] == name]
        assert np.array_equal(np.isin(objects, ids), cover == value)
    assert NODATA in cover


def test_buildings_with_a_neck_are_split_by_metres(tmp_path: Path) -> None:
    kinds = discs((40, 30, 12), (40, 70, 12), shape=(80, 100))
    kinds[37:43, 40:60] = 1
    path = write_scene(tmp_path / "scene.tif", kinds)
    for split, count in ((None, 1), ("4m", 2), ("4px", 2), ("2px", 1)):
        found = geoseg.detect(opened(path), model_of(COVER), objects="field", split=split, block_px=33)
        assert found.map["object"].to_numpy().max() == count


def test_a_class_and_the_boundary_that_is_named_for_it(fields: Path) -> None:
    classes = (*COVER.classes[:2], ClassInfo(30, "field boundary"))
    found = geoseg.detect(opened(fields), model_of(replace(COVER, classes=classes)), objects="field")
    assert np.array_equal(found.map["object"], expected(fields))


def test_a_scene_without_objects(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((50, 70)))
    result = geoseg.map_objects(path, model_of(), tmp_path / "out", bands="kind=1", split="2px")
    assert result.table["objects"].tolist() == [0]
    with rasterio.open(result.folder / "objects.tif") as file:
        assert not file.read(1).any()
    found = geoseg.detect(opened(path), model_of())
    objects, table = dask.compute(found.map["object"], found.table)
    assert not objects.any()
    assert len(table) == 0


def test_what_does_not_go_together(fields: Path) -> None:
    scene = opened(fields)
    with pytest.raises(OptionError, match="Those of cover are ground, field, edge"):
        geoseg.detect(scene, model_of(COVER), objects="house")
    with pytest.raises(OptionError, match="each once"):
        geoseg.detect(scene, model_of(COVER), objects=["field", "field"])
    with pytest.raises(OptionError, match="Give --objects"):
        geoseg.detect(scene, model_of(COVER), split="3px")
    with pytest.raises(OptionError, match="--split is a length"):
        geoseg.detect(scene, model_of(), split="wide")
    with pytest.raises(OptionError, match="split_px must be from 1 to 100"):
        geoseg.detect(scene, model_of(), split="0.2px")
    with pytest.raises(MismatchError, match="--objects building"):
        geoseg.detect(scene, model_of(COVER))


@pytest.mark.parametrize(("name", "tta"), [("tiny × d4", "d4"), ("tiny + other", None), ("tiny + other × d4", "d4")])
def test_turned_models_and_ensembles_of_boundaries(tmp_path: Path, name: str, tta: str | None) -> None:
    """Probabilities are averaged first, and objects are made of that map, by the rules of the first package."""
    import geoseg.synthetic
    from geoseg.networks import load_together

    scene = geoseg.synthetic.write_scene(tmp_path / "scene.tif", shape=(150, 170))
    classes = tuple(ClassInfo(value, name) for value, name in enumerate(("ground", "house", "house boundary")))
    spec = replace(TINY, classes=classes, decoding="boundary", grow_px=1, borders="gap", min_score=0)
    first = write_package(tmp_path / "first", spec, seed=1)
    second = write_package(tmp_path / "second", replace(spec, name="other", grow_px=9, borders="shared"), seed=2)
    packages = f"{first},{second}" if "other" in name else str(first)
    command = ["map", str(scene), "--model", packages, *(["--tta", tta] if tta else []), "--device", "cpu"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--out", str(tmp_path / "out"), "--block", "70"])
    together = load_together(packages, tta=tta, device="cpu")
    cover = geoseg.classify(geoseg.open_scene(scene), together)["class"].to_numpy()
    with rasterio.open(tmp_path / "out/objects.tif") as file:
        ids = file.read(1)
    assert np.array_equal(ids, label_regions(cover, grow_px=1, borders="gap"))
    assert ids.max() == len(gpd.read_file(tmp_path / "out/polygons.gpkg", layer="polygons")) > 5
    alone = geoseg.classify(geoseg.open_scene(scene), geoseg.load_model(first, device="cpu"))["class"].to_numpy()
    assert (cover != alone).mean() > 0.01
    model = json.loads((tmp_path / "out/run.json").read_text())["model"]
    assert (model["name"], model["sha256"]) == (name, together.spec.sha256)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import geoseg.synthetic

    scene = geoseg.synthetic.write_scene(tmp_path / "scene.tif", shape=(200, 230))
    classes = tuple(ClassInfo(value, name) for value, name in enumerate(("ground", "house", "house boundary")))
    of_boundary = replace(TINY, classes=classes, decoding="boundary", grow_px=1, borders="gap")
    package = write_package(tmp_path / "package", of_boundary)
    model = geoseg.load_model(package)
    assert (model.spec.grow_px, model.spec.borders) == (1, "gap")
    plan = plan_regions(geoseg.open_scene(scene), model, split="1px")
    assert pickle.loads(pickle.dumps(plan)).describe() == plan.describe()  # as it goes to a cluster
    command = ["map", str(scene), "--model", str(package), "--device", "cpu"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--out", str(tmp_path / "out"), "--block", "90", "--split", "1px"])
    assert "house" in capsys.readouterr().out
    cover = geoseg.classify(geoseg.open_scene(scene), model)["class"].to_numpy()
    with rasterio.open(tmp_path / "out/objects.tif") as file:
        ids = file.read(1)
    assert np.array_equal(ids, label_regions(cover, grow_px=1, borders="gap", split_px=1))
    assert ids.max() > 5
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--out", str(tmp_path / "no"), "--connectivity", "8"])
    assert "--connectivity" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--out", str(tmp_path / "no"), "--objects", "roof"])
    assert "Those of tiny are ground, house, house boundary" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["map", str(scene), "--split", "3px", "--out", str(tmp_path / "no")])
    assert "Choose some with --objects" in capsys.readouterr().err
