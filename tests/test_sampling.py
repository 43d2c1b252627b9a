"""Reference samples: drawn in proportion to true area, the same whatever the blocks, and blind."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import dask.array
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from dask.array.core import normalize_chunks
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import GEOGRAPHIC, LEGEND, ROTATED, UTM, grid, patchy, write_raster
from odc.geo.geobox import GeoBox
from test_cli import fails, run
from test_export_qgis import PYTHON, why_not

import geoseg
from geoseg.areas import PixelAreas
from geoseg.classmap import class_map, geobox_of, write_class_map
from geoseg.errors import OptionError, SceneError
from geoseg.estimates import sample_size_for_accuracy, sample_size_for_area
from geoseg.sampling import SampleDesign, draw_sample, frame_of, plan_sample, read_design
from geoseg.sampling.lookup import pixels_at, values_at
from geoseg.sampling.pick import pick_random, pick_systematic

TALL = GeoBox.from_bbox((0, 0, 20, 78), "EPSG:4326", shape=(78, 20))  # pixels of 1°: the lowest are 5 × the highest


def cover_of(values, transform=UTM, crs="EPSG:32632"):
    return class_map(values, grid(values.shape, transform, crs), LEGEND)


@pytest.fixture(scope="module")
def cover():
    return cover_of(patchy((150, 210)))


def strata_at(sample, cover) -> list[str]:
    """The class of the map under each unit, by its geometry."""
    places = gpd.GeoSeries(shapely.centroid(sample.units.geometry), crs=sample.units.crs)
    values, valid = values_at(cover, *pixels_at(places, cover))
    assert valid.all()
    return [{info.value: info.name for info in LEGEND}[value] for value in values]


# ---- what is drawn ----


@pytest.mark.parametrize("placing", [(UTM, "EPSG:32632"), (GEOGRAPHIC, "EPSG:4326"), (ROTATED, "EPSG:32632")])
def test_units_are_in_their_strata_and_each_is_there_once(placing) -> None:
    cover = cover_of(patchy((150, 210)), *placing)
    sample = draw_sample(cover, 300, at_least=40, seed=5)
    assert sample.units["id"].tolist() == list(range(1, 301))
    assert sample.design.units["id"].tolist() == list(range(1, 301))
    assert strata_at(sample, cover) == sample.design.units["stratum"].tolist()
    rows, cols = pixels_at(sample.units.geometry, cover)
    assert len(set(zip(rows.tolist(), cols.tolist(), strict=True))) == 300
    counted = geoseg.class_areas(cover).set_index("class_name")
    for row in sample.design.strata.to_dict(orient="records"):
        assert row["area_m2"] == counted.loc[row["stratum"], "area_m2"]
        assert row["pixels"] == counted.loc[row["stratum"], "pixels"]
        assert row["units"] == (sample.design.units["stratum"] == row["stratum"]).sum() >= 40
    centres = ~geobox_of(cover).transform * (sample.units.geometry.x, sample.units.geometry.y)
    assert np.allclose(np.mod(centres, 1), 0.5)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.sampled_from(["stratified", "simple", "systematic"]), st.integers())
def test_one_sample_whatever_the_blocks(rows, cols, design, seed) -> None:
    whole = cover_of(patchy((90, 110)))
    cut = whole.chunk({whole.dims[0]: rows, whole.dims[1]: cols})
    first, second = (draw_sample(da, 60, design=design, seed=seed) for da in (whole, cut))
    pd.testing.assert_frame_equal(pd.DataFrame(first.units), pd.DataFrame(second.units))
    pd.testing.assert_frame_equal(first.design.units, second.design.units)


def test_another_seed_is_another_sample(cover) -> None:
    places = [set(draw_sample(cover, 200, seed=seed).units.geometry.to_wkb()) for seed in (0, 1, 2)]
    assert all(len(a & b) < 10 for a, b in ((places[0], places[1]), (places[1], places[2])))


def test_the_order_tells_nothing_and_the_class_is_not_there(cover) -> None:
    sample = draw_sample(cover, 400)
    assert list(sample.units.columns) == ["id", "reference", "confidence", "comment", "geometry"]
    assert sample.units[["reference", "confidence", "comment"]].isna().all(axis=None)
    north = sample.units.geometry.y.rank().corr(sample.units["id"])
    assert abs(north) < 0.15
    of_first = [part == "Straße" for part in sample.design.units["stratum"]]
    assert abs(pd.Series(of_first, dtype=float).corr(sample.units["id"])) < 0.15


def test_every_pixel_of_a_stratum_can_be_drawn_as_a_whole(cover) -> None:
    small = cover_of(patchy((40, 40)))
    pixels = geoseg.class_areas(small)["pixels"]
    sample = draw_sample(small, int(pixels.sum()))
    assert len(set(sample.units.geometry.to_wkb())) == pixels.sum()
    rare = np.zeros((60, 60), np.uint8)
    rare[3, 3:6] = 1
    sample = draw_sample(cover_of(rare), 100, at_least=30)
    assert sample.design.strata["units"].tolist() == [97, 3]


def inclusion(draw: Any, draws: int, shape: tuple[int, int]) -> np.ndarray:
    """How often each pixel is drawn, (row, col)."""
    times = np.zeros(shape)
    for seed in range(draws):
        drawn = draw(seed)
        times[drawn["row"], drawn["col"]] += 1
    return times


@pytest.mark.parametrize("design", ["random", "systematic"])
def test_a_pixel_is_drawn_in_proportion_to_its_true_area(design) -> None:
    frame = frame_of(class_map(np.ones(TALL.shape, np.uint8), TALL, [])).whole()
    pick = (lambda seed: pick_random(frame, np.array([120]), seed)) if design == "random" else None
    times = inclusion(pick or (lambda seed: pick_systematic(frame, 120, seed)), 250, TALL.shape)
    areas = PixelAreas(TALL).of(slice(0, 78), slice(0, 20))
    expected = 250 * 120 * areas / areas.sum()
    assert times.sum() == pytest.approx(250 * 120, rel=0 if design == "random" else 0.01)
    bands, wanted = (part.reshape(13, 6, 20).sum(axis=(1, 2)) for part in (times, expected))
    np.testing.assert_allclose(bands, wanted, rtol=0.08)  # of the highest band there are 650 ± 25
    if design == "random":
        columns, wanted = times.sum(axis=0), expected.sum(axis=0)
        np.testing.assert_allclose(columns, wanted, rtol=0.1)


def test_where_pixels_are_alike_it_is_a_simple_random_sample() -> None:
    frame = frame_of(class_map(np.ones((8, 9), np.uint8), grid((8, 9)), [])).whole()
    times = inclusion(lambda seed: pick_random(frame, np.array([18]), seed), 300, (8, 9))
    assert times.sum() == 300 * 18
    chi2 = ((times - 75) ** 2 / (75 * 0.75)).sum()  # 72 pixels, one of them tied: mean 71, standard deviation 12
    assert 35 < chi2 < 115


def test_a_grid_is_about_square_on_the_ground() -> None:
    cover = class_map(np.ones((160, 90), np.uint8), GeoBox.from_bbox((0, 0, 45, 80), "EPSG:4326", shape=(160, 90)), [])
    sample = draw_sample(cover, 250, design="systematic", seed=3)
    assert 200 < len(sample.units) < 300
    assert sample.design.strata["units"].sum() == len(sample.units)
    lat = sample.units.geometry.y.round(6)
    lines = lat.drop_duplicates().sort_values()
    apart = np.diff(lines)
    assert np.allclose(apart, apart[0])
    number = lat.value_counts().sort_index()
    along = 45 * np.cos(np.radians(number.index)) / number  # degrees of a great circle between the units of a line
    assert along.iloc[:-2].between(0.7 * apart[0], 1.4 * apart[0]).all()


def test_squares_are_the_outlines_of_pixels(cover) -> None:
    points, squares = (draw_sample(cover, 50, units=units, seed=4).units for units in ("points", "squares"))
    assert (squares.geom_type == "Polygon").all()
    assert np.allclose(squares.area, 100)
    assert squares.geometry.contains(points.geometry).all()


# ---- strata that are not the map's classes ----


def test_another_map_as_strata(cover) -> None:
    old = np.full((160, 200), 3, np.uint8)
    old[:, 90:] = 7
    strata = cover_of(old)
    sample = draw_sample(cover, 120, strata=strata, allocation="equal")
    assert sample.design.strata["units"].tolist() == [60, 60]
    assert sample.classes == ("bare land", "water & ice", 'the "old" <wood>', "Straße")
    _, cols = pixels_at(sample.units.geometry, cover)
    assert [("Straße" if col >= 90 else 'the "old" <wood>') for col in cols] == list(sample.design.units["stratum"])
    both = (cover.values[:, :200] != 255).sum()
    assert sample.design.strata["pixels"].sum() == both  # ten columns of the map have no stratum
    assert sample.design.settings["outside_strata_m2"] == pytest.approx(150 * 10 * 100, rel=0.01)


def zones(cover, crs="EPSG:32632") -> gpd.GeoDataFrame:
    left, bottom, right, top = geobox_of(cover).extent.boundingbox.bbox
    middle = left + 1004  # between two columns of pixel centres
    shapes = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
    return gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=shapes, crs="EPSG:32632").to_crs(crs)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_polygons_as_strata_in_any_crs(cover, crs) -> None:
    sample = draw_sample(cover, 80, strata=zones(cover, crs), strata_field="name", at_least=30)
    assert sample.design.strata["stratum"].tolist() == ["east", "west"]
    _, cols = pixels_at(sample.units.geometry, cover)
    assert [("west" if col < 100 else "east") for col in cols] == list(sample.design.units["stratum"])
    assert sample.design.strata["pixels"].sum() == (cover.values != 255).sum()


def test_a_class_of_the_map_in_strata_that_are_others(cover) -> None:
    parts = {"strata": zones(cover), "strata_field": "name", "target_class": "Straße", "target_se": 5e4}
    with pytest.raises(OptionError, match="needs a guess of its share of each stratum"):
        draw_sample(cover, **parts)
    plan = draw_sample(cover, **parts, class_shares={"west": 0.2, "east": 0.3}).design
    row = plan.expected[plan.expected["class"] == "Straße"].iloc[0]
    assert row["se"] == pytest.approx(5e4, rel=0.02)


def test_strata_at_fault(cover) -> None:
    parts = zones(cover)
    with pytest.raises(OptionError, match="the columns name, but not 'district'"):
        draw_sample(cover, 50, strata=parts, strata_field="district")
    with pytest.raises(OptionError, match="some polygons overlap"):
        draw_sample(cover, 50, strata=parts.assign(geometry=parts.buffer(100)), strata_field="name")
    with pytest.raises(OptionError, match="has none in 'name'"):
        draw_sample(cover, 50, strata=parts.assign(name=["west", None]), strata_field="name")
    with pytest.raises(OptionError, match="needs a CRS"):
        draw_sample(cover, 50, strata=parts.set_crs(None, allow_override=True))
    with pytest.raises(SceneError, match="strata cannot be laid over the map"):
        draw_sample(cover, 50, strata=cover_of(patchy((20, 20)), GEOGRAPHIC, "EPSG:4326"))
    with pytest.raises(OptionError, match="there is none"):
        draw_sample(cover, 50, strata=parts.assign(geometry=parts.translate(1e5)))
    with pytest.raises(OptionError, match="is given without polygons"):
        draw_sample(cover, 50, strata_field="name")
    with pytest.raises(OptionError, match="Leave --strata out"):
        draw_sample(cover, 50, strata=parts, design="simple")


# ---- how many ----


def test_the_size_for_a_wanted_standard_error(cover) -> None:
    counted = geoseg.class_areas(cover).set_index("class_name")
    sizes, names = counted["area_m2"], list(counted.index)
    guess = dict(zip(names, [0.9, 0.95, 0.8, 0.7], strict=True))
    plan = plan_sample(cover, target_se=0.02, allocation="neyman", expected_accuracy=guess)
    assert plan.strata["units"].sum() == sample_size_for_accuracy(sizes, guess, target_se=0.02)
    assert plan.expected["se"].iloc[0] == pytest.approx(0.02, rel=0.02)
    simple = plan_sample(cover, target_se=0.02, design="simple", expected_accuracy=0.9)
    assert simple.strata["units"].tolist() == [225]

    shares = dict(zip(names, [0.02, 0.1, 0.05, 0.7], strict=True))
    wanted = 0.01 * sizes.sum()
    area = plan_sample(cover, target_se=wanted, target_class="Straße", class_shares=shares, allocation="neyman")
    assert area.strata["units"].sum() == sample_size_for_area(sizes, shares, target_se=wanted)
    row = area.expected[area.expected["class"] == "Straße"].iloc[0]
    assert row["se"] == pytest.approx(wanted, rel=0.02)
    assert row["expected"] == pytest.approx((sizes * pd.Series(shares)).sum())


def test_plans_and_samples_agree(cover) -> None:
    plan, sample = plan_sample(cover, 200, at_least=45), draw_sample(cover, 200, at_least=45)
    pd.testing.assert_frame_equal(plan.strata, sample.design.strata, check_dtype=False)
    assert len(plan.units) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither is given"),
        ({"n": 50, "target_se": 0.01}, "both are given"),
        ({"n": 1}, "two units or more"),
        ({"n": 50, "design": "random"}, "--design is 'random'"),
        ({"n": 50, "allocation": "fair"}, "not 'fair'"),
        ({"n": 50, "at_least": 20}, "at least 20 units each"),
        ({"n": 10**6}, "are to be drawn"),
        ({"n": 50, "units": "hexagons"}, "--units is 'hexagons'"),
        ({"n": 50, "expected_accuracy": 85}, "Give 0.9 for 90 %"),
        ({"n": 50, "expected_accuracy": {"bare land": 0.9}}, "has none. Give all"),
        ({"n": 50, "expected_accuracy": {"bare lnd": 0.9}}, "'bare lnd' is none"),
        ({"n": 50, "class_shares": {"Straße": 0.9}}, "none is named"),
        ({"n": 50, "target_class": "road"}, "'road' is none"),
        ({"n": 50, "target_class": "Straße", "class_shares": {"Straße": 0.9}}, "'bare land' has none"),
        ({"target_se": 1e5}, "between 0 and 1"),
    ],
)
def test_wrong_options_are_said(cover, options, said) -> None:
    with pytest.raises(OptionError, match=said):
        draw_sample(cover, **options)


def test_maps_that_cannot_be_sampled() -> None:
    with pytest.raises(OptionError, match="there is none"):
        draw_sample(cover_of(np.full((9, 9), 255, np.uint8)), 5)
    with pytest.raises(SceneError, match="needs a regular grid"):
        draw_sample(xr.DataArray(np.zeros((9, 9), np.uint8), dims=("y", "x")), 50)
    tall = class_map(np.ones(TALL.shape, np.uint8), TALL, [])
    with pytest.raises(OptionError, match=r"be drawn more than once\. Take at most"):
        draw_sample(tall, 1400)
    with pytest.raises(OptionError, match="are too many"):
        draw_sample(tall, 1400, design="systematic")


# ---- files ----


@pytest.fixture
def raster(tmp_path) -> Path:
    path = tmp_path / "classes.tif"
    write_class_map(cover_of(patchy((80, 90))), path)
    return path


def test_sample_writes_a_blind_layer_and_the_design_beside(raster, tmp_path, capsys) -> None:
    out = tmp_path / "sample.gpkg"
    assert run("sample", raster, "--n", 120, "--at-least", 20, "--seed", 9, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "120 units" in printed
    assert "overall accuracy 85.0 % ±" in printed
    layer = gpd.read_file(out, layer="sample")
    assert list(layer.columns) == ["id", "reference", "confidence", "comment", "geometry"]
    assert layer.crs == "EPSG:32632"
    drawn = draw_sample(geoseg.open_class_map(raster), 120, at_least=20, seed=9)
    assert layer.geometry.geom_equals_exact(drawn.units.geometry, 1e-6).all()

    design = read_design(tmp_path / "sample_design.json")
    pd.testing.assert_frame_equal(design.units, drawn.design.units, check_dtype=False)
    pd.testing.assert_series_equal(design.sizes, drawn.design.sizes, check_dtype=False)
    record = json.loads((tmp_path / "sample_design.json").read_text())
    assert record["settings"]["seed"] == 9
    assert record["inputs"]["map"] == str(raster)
    places = pd.read_csv(tmp_path / "sample_places.csv")
    assert list(places.columns) == ["id", "lon", "lat"]
    moved = layer.to_crs("EPSG:4326").geometry
    np.testing.assert_allclose(places["lon"], moved.x, atol=1e-6)

    first = out.read_bytes()
    assert "would be lost" in fails(capsys, "sample", raster, "--n", 120, "--out", out)
    assert run("sample", raster, "--n", 120, "--at-least", 20, "--seed", 9, "--out", out, "--overwrite", "-q") == 0
    assert out.read_bytes() == first
    assert capsys.readouterr().out == ""


def test_nothing_in_the_layer_tells_what_the_map_says(raster, tmp_path) -> None:
    out = tmp_path / "sample.gpkg"
    assert run("sample", raster, "--n", 60, "--out", out, "-q") == 0
    with closing(sqlite3.connect(out)) as database:
        tables = {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}
        assert tables == {"sample", "layer_styles"}
        columns = [row[1] for row in database.execute("PRAGMA table_info(sample)")]
        assert columns == ["fid", "geom", "id", "reference", "confidence", "comment"]
        filled = "SELECT count(reference) + count(confidence) + count(comment) FROM sample"
        assert database.execute(filled).fetchone() == (0,)


def test_sample_plans_without_drawing(raster, tmp_path, capsys) -> None:
    before = sorted(tmp_path.iterdir())
    assert run("sample", raster, "--plan", "--target-se", "0.02", "--expected-accuracy", "0.9") == 0
    assert "225 units" in capsys.readouterr().out
    assert run("sample", raster, "--plan", "--target-se", "0.5ha", "--target-class", "Straße") == 0
    assert sorted(tmp_path.iterdir()) == before


def test_sample_says_what_is_wrong(raster, tmp_path, capsys) -> None:
    for options, said in (
        (("--n", 50, "--out", tmp_path / "sample.shp"), "Name it sample.gpkg"),
        (("--target-se", "few", "--plan"), "a number like 0.01, but is 'few'"),
        (("--target-se", "9px", "--target-class", "Straße", "--plan"), "like 200ha, but is '9px'"),
        (("--n", 50, "--expected-accuracy", "a=b"), "--expected-accuracy is a number"),
        (("--n", 50, "--target-class", "Straße", "--class-share", "0.5"), "--class-share names strata"),
        (("--n", 50, "--strata", tmp_path / "none.gpkg"), "is not there"),
        (("--n", 50, "--design", "clever"), "--design is 'clever'"),
    ):
        assert said in fails(capsys, "sample", raster, *options, code=2)
    nowhere = write_raster(tmp_path / "nowhere.tif", np.ones((9, 9), np.uint8), crs=None)
    assert "needs a CRS" in fails(capsys, "sample", nowhere, "--n", 50, "--out", tmp_path / "sample.gpkg")
    assert not (tmp_path / "sample.gpkg").exists()
    with pytest.raises(OptionError, match="cannot be read"):
        read_design(raster)
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(OptionError, match="this is none"):
        read_design(tmp_path / "other.json")


def test_a_sample_is_written_as_a_whole_or_not_at_all(raster, tmp_path, capsys, monkeypatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(geoseg.export, "write_record", broken)
    before = sorted(tmp_path.iterdir())
    assert "No space left" in fails(capsys, "sample", raster, "--n", 50, "--out", tmp_path / "sample.gpkg")
    assert sorted(tmp_path.iterdir()) == before


def test_a_design_comes_back_from_its_record(cover) -> None:
    design = draw_sample(cover, 90, design="simple").design
    again = SampleDesign.from_record(json.loads(json.dumps(design.to_record(), default=int)))
    pd.testing.assert_frame_equal(again.units, design.units, check_dtype=False)
    assert again.settings["design"] == "simple"
    assert again.sizes.tolist() == design.sizes.tolist()


QGIS = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
app = QgsApplication([], False)
app.initQgis()
layer = QgsVectorLayer(sys.argv[1] + "|layername=sample", "s", "ogr")
report = {"valid": layer.isValid(), "fields": [field.name() for field in layer.fields()]}
for name in ("reference", "confidence"):
    setup = layer.editorWidgetSetup(layer.fields().indexOf(name))
    report[name] = [setup.type(), [list(item.items())[0] for item in setup.config().get("map", [])]]
report["legend"] = [item.label() for item in layer.renderer().categories()]
form = layer.editFormConfig()
report["locked"] = form.readOnly(layer.fields().indexOf("id"))
layer.startEditing()
first = next(layer.getFeatures())
layer.changeAttributeValue(first.id(), layer.fields().indexOf("reference"), sys.argv[2])
report["saved"] = layer.commitChanges()
print("REPORT" + json.dumps(report))
"""


@pytest.mark.parametrize("units", ["points", "squares"])
def test_qgis_offers_the_classes_as_a_drop_down(raster, tmp_path, units) -> None:
    if why_not():
        pytest.skip(why_not())
    out = tmp_path / "sample.gpkg"
    assert run("sample", raster, "--n", 60, "--units", units, "--out", out, "-q") == 0
    env = {"PATH": os.environ.get("PATH", ""), "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    command = [PYTHON, "-c", QGIS, str(out), "Straße"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT")]
    assert lines, done.stderr
    report = json.loads(lines[0].removeprefix("REPORT"))
    assert report["valid"]
    assert report["fields"] == ["fid", "id", "reference", "confidence", "comment"]  # what the map says is nowhere
    kind, offered = report["reference"]
    assert kind == "ValueMap"
    assert offered[1:] == [[info.name, info.name] for info in LEGEND]
    assert report["confidence"][1][1:] == [["high", "high"], ["medium", "medium"], ["low", "low"]]
    assert report["legend"] == ["to interpret", "done"]
    assert report["locked"]
    assert report["saved"]
    assert gpd.read_file(out, layer="sample")["reference"].dropna().tolist() == ["Straße"]


def test_classes_without_a_legend_have_names(tmp_path) -> None:
    cover = class_map(np.tile(np.array([4, 9], np.uint8), (10, 5)), grid((10, 10)), [])
    assert draw_sample(cover, 10).classes == ("class 4", "class 9")


def test_memory_does_not_grow_with_the_height_of_the_map() -> None:
    def peak(height: int) -> int:
        chunks = (normalize_chunks(250, (height,))[0], (400,))
        values = dask.array.map_blocks(striped, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
        cover = class_map(values, grid((height, 400)), LEGEND)
        tracemalloc.start()
        try:
            draw_sample(cover, 200)
            draw_sample(cover, 200, design="systematic")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(500)  # what is made once
    assert peak(3_000) - peak(600) < 0.3 * 2_400 * 400  # bytes: what the map itself keeps of its rows and chunks


def striped(block_info=None) -> np.ndarray:
    (top, bottom), _ = block_info[None]["array-location"]
    lines = np.array([0, 1, 3, 7], np.uint8)[np.arange(top, bottom)[:, None] // 9 % 4]
    return np.broadcast_to(lines, (bottom - top, 400))
