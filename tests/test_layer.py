"""Layers: streamed to files, sieved, simplified, squared, cut; from the library, the command line and `map_scene`."""

from __future__ import annotations

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from maps import LEGEND, UTM, grid, patchy, write_raster
from packages import write_package
from test_pipeline import write_scene
from test_polygons import make_map

import geoseg
from geoseg.areas import class_areas
from geoseg.classmap import class_map, only_classes, open_class_map
from geoseg.cli import main
from geoseg.errors import OptionError
from geoseg.layer import Cuts, iter_layer, write_layer

SHAPE = (96, 128)


@pytest.fixture
def cover():
    values = patchy(SHAPE, seed=3)
    values[::7, ::5] = 3  # specks
    return class_map(values, grid(SHAPE), LEGEND)


@pytest.fixture
def aoi(tmp_path):
    left, top = UTM.c, UTM.f
    area = shapely.Polygon([(left + 105, top - 205), (left + 900, top - 100), (left + 700, top - 800)])
    path = tmp_path / "aoi.gpkg"
    gpd.GeoDataFrame({"name": ["wood"]}, geometry=[area], crs="EPSG:32632").to_file(path)
    return path


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb"])
@pytest.mark.parametrize("options", [{}, {"min_area": "9px", "simplify": "1px"}, {"smooth": True, "connectivity": 8}])
def test_a_file_holds_what_the_frame_has(cover, tmp_path, suffix, options):
    path = geoseg.vectorize(cover, to=tmp_path / f"layer.{suffix}", **options)
    frame = geoseg.vectorize(cover, **options)
    found = gpd.read_parquet(path) if suffix == "parquet" else gpd.read_file(path, layer=0)
    found = found.sort_values("object_id", ignore_index=True)
    assert shapely.equals(found.geometry.to_numpy(), frame.geometry.to_numpy()).all()
    for name in frame.columns.drop(["geometry", "confidence"]):
        assert found[name].tolist() == frame[name].tolist(), name


def test_table_raster_and_polygons_agree_after_sieving(cover, tmp_path):
    path = geoseg.vectorize(cover, to=tmp_path / "layer.gpkg", min_area="1000m2")
    table = pyogrio.read_dataframe(path, layer="class_areas")
    expected = geoseg.areas.with_no_data_row(class_areas(geoseg.sieve(cover, min_area="1000m2")))
    assert table["class"].tolist() == expected["class"].tolist()
    assert table["pixels"].tolist() == expected["pixels"].tolist()
    np.testing.assert_allclose(table["area_m2"], expected["area_m2"], rtol=1e-12)
    by_class = gpd.read_file(path, layer="polygons").groupby("class")["pixels"].sum()
    counted = expected.set_index("class")["pixels"].drop(255)
    assert by_class.to_dict() == counted[counted > 0].to_dict()


def test_what_was_done_is_said(cover, tmp_path):
    layer = write_layer(cover, tmp_path / "layer.parquet", simplify="1.5px", smooth=True)
    assert layer.polygons == len(gpd.read_parquet(layer.path))
    assert layer.largest_shift.value == 3
    frame = geoseg.vectorize(cover, simplify="1.5px", smooth=True)
    drawn = (frame["area_m2"] * (1 + frame["area_change"])).groupby(frame["class_name"]).sum()
    exact = frame["area_m2"].groupby(frame["class_name"]).sum()
    assert layer.area_changes == pytest.approx((drawn / exact - 1).to_dict())
    assert layer.describe()[0].startswith(
        "No border moved by more than 3 px; the area of no class changed by more than"
    )
    assert len(write_layer(cover, tmp_path / "exact.parquet").describe()) == 1


def test_clip_and_split(cover, aoi, tmp_path):
    whole = geoseg.vectorize(cover)
    clipped = geoseg.vectorize(cover, clip=aoi)
    area = gpd.read_file(aoi).geometry[0]
    assert clipped.area.sum() == pytest.approx(whole.clip(area).area.sum(), rel=1e-9)
    assert shapely.coverage_is_valid(clipped.geometry.to_numpy())
    tiles = geoseg.vectorize(cover, split="grid", clip=aoi)
    assert tiles["area_m2"].sum() == pytest.approx(clipped["area_m2"].sum(), rel=1e-9)
    zones = geoseg.vectorize(cover, split=aoi)
    inside = zones[zones["zone"] == "wood"]
    assert inside["area_m2"].sum() == pytest.approx(clipped["area_m2"].sum(), rel=1e-9)
    assert zones["area_m2"].sum() == pytest.approx(whole["area_m2"].sum(), rel=1e-9)
    small = geoseg.vectorize(cover, max_vertices=16)
    assert shapely.get_num_coordinates(small.geometry.to_numpy()).max() <= 16
    path = geoseg.vectorize(cover, to=tmp_path / "cut.gpkg", clip=aoi, simplify="1px")
    cut = gpd.read_file(path, layer="polygons")
    true_m2 = geoseg.polygons.polygon_areas(cut.geometry, cover.odc.geobox)
    np.testing.assert_allclose(cut["area_m2"], true_m2, rtol=1e-9)
    table = pyogrio.read_dataframe(path, layer="class_areas").set_index("class")
    assert "pixels" not in table
    by_class = cut.groupby("class")["area_m2"].sum()
    np.testing.assert_allclose(table["area_m2"][by_class.index], by_class, rtol=1e-12)
    assert table["area_m2"].sum() == pytest.approx(cut["area_m2"].sum(), rel=1e-12)
    assert table["share"].sum() == pytest.approx(1)


def test_regularized_buildings(tmp_path):
    values = np.full((60, 60), 255, np.uint8)
    rows, cols = np.indices(values.shape)
    across, along = 0.8 * cols + 0.6 * rows, -0.6 * cols + 0.8 * rows
    values[(across > 25) & (across < 50) & (along > -5) & (along < 15)] = 7
    values[5:10, 40:55] = 1
    cover = class_map(values, grid((60, 60)), LEGEND)
    houses = geoseg.vectorize(only_classes(cover, ["Straße"]), regularize=True)
    assert houses["class"].tolist() == [7]
    assert houses["regularized"].all()
    assert len(houses.geometry[0].exterior.coords) == 5
    path = geoseg.vectorize(cover, to=tmp_path / "houses.gpkg", regularize=True)
    assert {"shift_m", "regularized", "area_change"} <= set(pyogrio.read_info(path, layer="polygons")["fields"])


def test_classes_are_chosen_by_name_or_value(cover):
    chosen = only_classes(cover, ["water & ice", 7])
    assert set(np.unique(chosen.values)) == {1, 7, 255}
    lazy = only_classes(cover.chunk({"y": 10}), ["water & ice", "7"])
    assert lazy.chunks is not None
    assert (lazy.values == chosen.values).all()
    with pytest.raises(OptionError, match=r"'sea' is neither; the names are bare land, water & ice"):
        only_classes(cover, ["sea"])


def test_map_scene_sieves_raster_table_and_polygons(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", shape=(300, 260))
    package = write_package(tmp_path / "tiny")
    plain = geoseg.map_scene(scene, package, tmp_path / "plain")
    sieved = geoseg.map_scene(
        scene, package, tmp_path / "sieved", block_px=150, min_area="12px", simplify="1px", formats=("gpkg", "fgb")
    )
    before, after = (open_class_map(result.folder / "classes.tif") for result in (plain, sieved))
    assert (after.values == geoseg.sieve(before, min_area="12px").values).all()
    assert (after.values != before.values).any()
    assert class_areas(after)["pixels"].tolist() == sieved.areas["pixels"].tolist()
    parcels = gpd.read_file(sieved.folder / "polygons.gpkg", layer="polygons")
    counted = sieved.areas[sieved.areas["pixels"] > 0].set_index("class")["pixels"]
    assert parcels.groupby("class")["pixels"].sum().to_dict() == counted.to_dict()
    assert "area_change" in parcels
    record = json.loads((sieved.folder / "run.json").read_text())
    assert (record["options"]["min_area"], record["options"]["simplify"]) == ("12px", "1px")
    assert not (sieved.folder / "sieved.tif").exists()
    confidence = [(result.folder / "confidence.tif").read_bytes() for result in (plain, sieved)]
    assert confidence[0] == confidence[1]


def test_the_command(cover, aoi, tmp_path, capsys):
    raster = geoseg.write_class_map(cover, tmp_path / "cover.tif")
    out = tmp_path / "layer.gpkg"
    options = [
        "--min-area",
        "500m2",
        "--simplify",
        "1px",
        "--smooth",
        "--clip",
        aoi,
        "--split",
        "grid",
        "--threads",
        "2",
    ]
    assert run("vectorize", raster, "--out", out, *options) == 0
    said = capsys.readouterr().out
    assert "No border moved by more than 2 px" in said
    expected = geoseg.vectorize(cover, min_area="500m2", simplify="1px", smooth=True, clip=aoi, split="grid")
    found = gpd.read_file(out, layer="polygons")
    assert f"{len(found):,} polygons are in" in said
    assert len(found) == len(expected)
    assert found["area_m2"].sum() == pytest.approx(expected["area_m2"].sum(), rel=1e-9)
    styles = pyogrio.read_dataframe(out, layer="layer_styles")
    assert "Straße" in styles["styleQML"][0]
    assert run("vectorize", raster, "--out", tmp_path / "roads.fgb", "--classes", "Straße", "--regularize") == 0
    assert set(gpd.read_file(tmp_path / "roads.fgb")["class"]) == {7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-area", "5 acres"], "--min-area is an area above 0 such as 500m2"),
        (["--simplify", "-1px"], "--simplify is a length above 0"),
        (["--min-area", "0px"], "finite number above 0"),
        (["--connectivity", "6"], "4 or 8"),
        (["--clip", "missing.gpkg"], "missing.gpkg is not there"),
        (["--split", "grid", "--zone-column", "name"], "--zone-column names a column of zones"),
        (["--max-vertices", "3"], "16"),
        (["--classes", "sea"], "'sea' is neither"),
        (["--band", "2"], "--band is 2"),
        (["--cluster", "tcp://127.0.0.1:1"], "does not answer"),
    ],
)
def test_wrong_options_leave_nothing(cover, tmp_path, capsys, options, message):
    raster = geoseg.write_class_map(cover, tmp_path / "cover.tif")
    before = sorted(tmp_path.iterdir())
    assert run("vectorize", raster, "--out", tmp_path / "layer.gpkg", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_a_bare_number_is_refused_on_a_geographic_grid(tmp_path, capsys):
    path = write_raster(
        tmp_path / "cover.tif", patchy(SHAPE), crs="EPSG:4326", transform=rasterio.Affine(1e-4, 0, 7, 0, -1e-4, 51)
    )
    assert run("vectorize", path, "--out", tmp_path / "layer.gpkg", "--min-area", "500") == 2
    assert "Write 500m2 or 9px" in capsys.readouterr().err
    assert run("vectorize", path, "--out", tmp_path / "layer.gpkg", "--min-area", "500m2") == 0


def test_bad_areas_to_cut_by(cover, aoi, tmp_path, capsys):
    raster = geoseg.write_class_map(cover, tmp_path / "cover.tif")
    left, top = UTM.c, UTM.f
    bow = shapely.Polygon([(left, top), (left + 500, top - 500), (left + 500, top), (left, top - 500)])
    gpd.GeoDataFrame(geometry=[bow], crs="EPSG:32632").to_file(tmp_path / "bow.gpkg")
    gpd.GeoDataFrame(geometry=[shapely.Point(left, top)], crs="EPSG:32632").to_file(tmp_path / "points.gpkg")
    two = gpd.GeoDataFrame(
        {"a": ["x", "y"], "b": ["x", "y"]},
        geometry=[shapely.box(left, top - 300, left + 300, top)] * 2,
        crs="EPSG:32632",
    )
    two.to_file(tmp_path / "two.gpkg")
    for options, message in (
        (["--clip", tmp_path / "bow.gpkg"], "Self-intersection"),
        (["--clip", tmp_path / "points.gpkg"], "Point"),
        (["--clip", raster], "vector file"),
        (["--split", tmp_path / "two.gpkg"], "--zone-column"),
        (["--split", tmp_path / "two.gpkg", "--zone-column", "a"], "overlap"),
    ):
        assert run("vectorize", raster, "--out", tmp_path / "layer.gpkg", *options) == 2, options
        assert message in capsys.readouterr().err
        assert not (tmp_path / "layer.gpkg").exists()
    # An area in another CRS is moved, not refused.
    gpd.read_file(aoi).to_crs("EPSG:4326").to_file(tmp_path / "geographic.gpkg")
    one, other = (geoseg.vectorize(cover, clip=path)["area_m2"].sum() for path in (aoi, tmp_path / "geographic.gpkg"))
    assert one == pytest.approx(other, rel=1e-4)


def test_rasters_that_are_no_class_map(tmp_path, capsys):
    measured = write_raster(tmp_path / "float.tif", np.array([[0.5, 1.0]], np.float32))
    assert run("vectorize", measured, "--out", tmp_path / "layer.gpkg") == 1
    assert "whole numbers" in capsys.readouterr().err
    many = write_raster(tmp_path / "many.tif", np.arange(600, dtype=np.uint16).reshape(20, 30))
    assert (
        run("vectorize", many, "--out", tmp_path / "many.gpkg", "--min-area", "2px") == 0
    )  # more than 255 values are objects
    nothing = write_raster(tmp_path / "nothing.tif", np.full((9, 9), 255, np.uint8), nodata=255)
    assert run("vectorize", nothing, "--out", tmp_path / "nothing.gpkg", "--simplify", "1px", "--min-area", "9px") == 0
    assert len(gpd.read_file(tmp_path / "nothing.gpkg", layer="polygons")) == 0
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_nothing(cover, tmp_path):
    """The system refuses more than a few kilobytes, as a full disk does; in a process of its own."""
    raster = geoseg.write_class_map(cover, tmp_path / "cover.tif")
    before = sorted(tmp_path.iterdir())
    code = (
        "import resource, signal, sys; from geoseg.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)); main(sys.argv[1:])"
    )
    arguments = ["vectorize", str(raster), "--out", str(tmp_path / "layer.parquet"), "--smooth", "--quiet"]
    # Compiled code is there already (or is compiled in memory: nothing may be written).
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_batches_go_through_every_step(cover, aoi, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["geoseg.polygons.batches"], "_BATCH", 5)
    cuts = Cuts(clip=aoi, split="grid", max_vertices=50)
    batches = list(iter_layer(cover, cuts=cuts, simplify="1px", min_area="3px"))
    assert len(batches) > 1
    whole = geoseg.vectorize(cover, clip=aoi, split="grid", max_vertices=50, simplify="1px", min_area="3px")
    joined = pd.concat(batches, ignore_index=True)
    assert len(joined) == len(whole)
    assert joined["area_m2"].sum() == pytest.approx(whole["area_m2"].sum(), rel=1e-12)


def test_the_frame_is_empty_where_the_map_is():
    frame = geoseg.vectorize(make_map(np.full((3, 4), 255, np.uint8)), clip=_box_frame(), split="grid", regularize=True)
    assert len(frame) == 0


def _box_frame() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=[shapely.box(400_000, 5_700_000, 400_100, 5_800_000)], crs="EPSG:32633")
