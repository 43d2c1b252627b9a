"""`geoseg change`: one folder of tables, raster, polygons and pictures that agree; and what bad input leads to."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import scipy.ndimage as ndi
import shapely
from maps import GEOGRAPHIC, grid, write_raster
from matplotlib.image import imread
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine
from test_cli import fails, run

import geoseg
from geoseg.areas import PixelAreas
from geoseg.change_pipeline import map_change
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, classes_of, open_class_map, write_class_map
from geoseg.classmap.write import write_confidence_map
from geoseg.errors import GeosegError, OptionError
from geoseg.export import write_record
from geoseg.synthetic import CLASSES, write_scene

LEGEND = (ClassInfo(1, "forest"), ClassInfo(2, "field"), ClassInfo(3, "building"))
FILES = {
    "change.tif", "change.tif.aux.xml", "change.qml", "change.gpkg", "transitions.csv", "matrix_ha.csv",
    "matrix_pixels.csv", "classes.csv", "patches.csv", "preview.png", "report.html", "run.json",
}  # fmt: skip
SERIES = {"series.csv", "series.png", "intervals.csv", "trajectories.csv"}


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, float_precision="round_trip")


def written(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def cover(values: np.ndarray, on: GeoBox | None = None, legend=LEGEND):
    return class_map(values, grid(values.shape) if on is None else on, legend)


def scenario(shape=(60, 80)) -> list[np.ndarray]:
    """Three dates of one place: a clearing that is built on, a small one, a hole of nodata at the last date."""
    first = np.ones(shape, np.uint8)
    first[40:] = 2
    second = first.copy()
    second[10:20, 10:30] = 2
    second[30, 50] = 2
    third = second.copy()
    third[12:16, 12:18] = 3
    third[45:50, 40:50] = 3
    third[:5, 70:] = 255
    return [first, second, third]


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [write_class_map(cover(values), tmp_path / f"{2000 + 8 * n}.tif") for n, values in enumerate(scenario())]


# ---- scenes whose change is known, from the command line ----------------------------------------------------


def test_drawn_scenes_give_each_known_clearing_and_building_as_one_polygon(tmp_path, capsys) -> None:
    truths = []
    for date in (0, 1):
        path = tmp_path / f"{date}.tif"
        write_scene(
            tmp_path / "rgb.tif", shape=(400, 400), resolution_m=2, seed=1, date=date, truth_path=path, overwrite=True
        )
        with rasterio.open(path) as source:
            truths.append(source.read(1))
    names = tmp_path / "names.csv"
    names.write_text("from,to\n" + "".join(f"{info.value},{info.name}\n" for info in CLASSES), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["change", tmp_path / "0.tif", tmp_path / "1.tif", "--crosswalk", names, "--out", out]
    assert run(*arguments, "--dates", "2018-06-01,2024-06-01") == 0
    assert "vegetation → bare land" in capsys.readouterr().out
    assert written(out) == FILES

    matrix = table(out / "transitions.csv")
    assert matrix["pixels"].sum() == truths[0].size
    on = open_class_map(out / "change.tif").odc.geobox
    size = PixelAreas(on).of(slice(0, 400), slice(0, 400))
    assert matrix["area_m2"].sum() == pytest.approx(size.sum(), rel=1e-12)

    layer = gpd.read_file(out / "change.gpkg", layer="change")
    for first, second in ((2, 4), (4, 0)):
        known, count = ndi.label((truths[0] == first) & (truths[1] == second))
        assert count > 5
        mine = layer[(layer["from"] == first) & (layer["to"] == second)]
        pixels = ndi.sum_labels(np.ones_like(known), known, range(1, count + 1))
        areas = ndi.sum_labels(size, known, range(1, count + 1))
        assert len(mine) == count
        assert sorted(mine["pixels"]) == sorted(pixels.astype(int).tolist())
        assert sorted(mine["area_m2"]) == pytest.approx(sorted(areas.tolist()), rel=1e-9)
        places = [~on.transform * (point.x, point.y) for point in mine.geometry.representative_point()]
        numbers = [known[int(row), int(col)] for col, row in places]
        assert sorted(numbers) == list(range(1, count + 1))  # each polygon lies in a clearing of its own
        assert mine.geometry.area.to_numpy() == pytest.approx(pixels[np.array(numbers) - 1] * 4)
    assert set(layer["class_name"]) >= {"vegetation → bare land", "bare land → building"}
    changed = truths[0] != truths[1]
    assert layer["pixels"].sum() == changed.sum()


def test_the_tables_the_raster_and_the_layer_agree(files, tmp_path) -> None:
    result = map_change(files[::2], tmp_path / "out", dates=(2000, "2016"))
    early, _, late = scenario()
    change = open_class_map(tmp_path / "out/change.tif")
    valid = late != 255
    assert (change.values == np.where(valid, (early - 1) * 3 + late - 1, 255)).all()
    assert [info.name for info in classes_of(change)] == [
        "forest (unchanged)", "forest → field", "forest → building", "field (unchanged)", "field → building",
    ]  # fmt: skip
    areas = geoseg.class_areas(change)
    assert areas.attrs["invalid_pixels"] == 50
    matrix = result.matrix[result.matrix["pixels"] > 0]
    assert areas["pixels"].tolist() == matrix["pixels"].tolist()
    assert areas["area_m2"].tolist() == matrix["area_m2"].tolist()  # to the last bit
    layer = gpd.read_file(tmp_path / "out/change.gpkg", layer="change")
    moved = matrix[matrix["from"] != matrix["to"]].set_index(["from_name", "to_name"])
    by_pair = layer.groupby(["from_name", "to_name"])[["pixels", "area_m2", "area_ha"]].sum()
    pd.testing.assert_frame_equal(by_pair.sort_index(), moved[by_pair.columns].sort_index(), check_dtype=False)
    patches = result.patches.set_index("class_name")
    assert patches["patches"].to_dict() == {"forest → field": 2, "field → building": 1, "forest → building": 1}
    assert patches["largest_ha"]["forest → field"] == layer["area_ha"].max()
    assert patches["area_ha"].is_monotonic_decreasing
    with sqlite3.connect(tmp_path / "out/change.gpkg") as database:
        inside = pd.read_sql("SELECT * FROM class_areas", database).set_index("class_name")
        (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    assert inside["pixels"]["(no data)"] == 50
    assert inside["pixels"]["forest (unchanged)"] == areas.set_index("class_name")["pixels"]["forest (unchanged)"]
    assert "forest → building" in style
    assert "unchanged" not in style
    square = table(tmp_path / "out/matrix_pixels.csv").set_index("from \\ to")
    assert square.loc["forest"].to_dict() == {"forest": 2949, "field": 177, "building": 24, "total": 3150}
    assert square.loc["total", "total"] == 60 * 80 - 50
    classes = table(tmp_path / "out/classes.csv").set_index("class_name")
    assert classes["annual_rate"]["forest"] == pytest.approx(np.log(2949 / 3150) / 16, rel=1e-4)
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["inputs"]["maps"] == [str(path) for path in files[::2]]
    assert record["settings"]["dates"] == ["2000", "2016"]
    assert record["years"] == [16.0]
    assert record["grid"]["no_data_pixels"] == 50
    assert record["grid"]["compared_area_m2"] == pytest.approx(areas["area_m2"].sum())
    assert {"code": 1, "from": "forest", "to": "field"} in record["codes"]


def test_without_dates_there_is_no_rate_and_it_is_said(files, tmp_path, capsys) -> None:
    assert run("change", *files[:2], "--out", tmp_path / "out") == 0
    assert "No annual rates: they need --dates." in capsys.readouterr().out
    assert "annual_rate" not in table(tmp_path / "out/classes.csv")


# ---- small patches -------------------------------------------------------------------------------------------


def test_small_patches_are_left_out_of_all_and_the_tables_say_how_much(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("change", files[0], files[2], "--min-area", "0.3ha", "--out", out) == 0
    assert "were left out" in capsys.readouterr().out
    early, _, late = scenario()
    late[12:16, 12:18] = 1  # 24 pixels of 0.01 ha: too small, and forest before, though a clearing lies around them
    late[30, 50] = 1
    valid = late != 255
    change = open_class_map(out / "change.tif")
    assert (change.values == np.where(valid, (early - 1) * 3 + late - 1, 255)).all()
    layer = gpd.read_file(out / "change.gpkg", layer="change")
    assert sorted(zip(layer["class_name"], layer["pixels"], strict=True)) == [
        ("field → building", 50),
        ("forest → field", 176),
    ]
    matrix = table(out / "transitions.csv").set_index(["from_name", "to_name"])
    assert matrix["pixels"].to_dict() == {
        ("forest", "forest"): 2974,
        ("forest", "field"): 176,
        ("forest", "building"): 0,
        ("field", "field"): 1550,
        ("field", "building"): 50,
        ("building", "building"): 0,
    }
    assert matrix["mapped_pixels"]["forest", "building"] == 24
    assert matrix["mapped_pixels"].sum() == matrix["pixels"].sum() == valid.sum() == 4750
    assert matrix["mapped_ha"].sum() == pytest.approx(matrix["area_ha"].sum())
    classes = table(out / "classes.csv").set_index("class_name")
    assert classes["gain_ha"]["building"] == pytest.approx(matrix["area_ha"]["field", "building"])


def test_patches_that_touch_at_corners(tmp_path) -> None:
    late = np.ones((6, 6), np.uint8)
    late[0, 0] = late[1, 1] = late[2, 2] = 2
    maps = [cover(np.ones((6, 6), np.uint8)), cover(late)]
    assert not len(map_change(maps, tmp_path / "4", min_area="3px").patches)
    found = map_change(maps, tmp_path / "8", min_area="3px", connectivity=8)
    assert found.patches["patches"].tolist() == [1]
    layer = gpd.read_file(tmp_path / "8/change.gpkg", layer="change")
    assert layer.geometry.geom_type.tolist() == ["MultiPolygon"]
    assert layer["pixels"].tolist() == [3]


def test_the_smallest_patch_is_measured_on_the_ground(tmp_path) -> None:
    """In EPSG:4326 a pixel shrinks towards the pole: of two equal patches the northern one is too small."""
    on = GeoBox((400, 20), Affine(0.1, 0, 0, 0, -0.1, 80), "EPSG:4326")
    late = np.ones(on.shape, np.uint8)
    late[10:14, 5:9] = late[390:394, 5:9] = 2
    size = PixelAreas(on).of(slice(0, 400), slice(0, 20))
    small, large = size[10:14, 5:9].sum(), size[390:394, 5:9].sum()
    assert small < large
    found = map_change(
        [cover(late * 0 + 1, on), cover(late, on)], tmp_path / "out", min_area=f"{(small + large) / 2}m2"
    )
    assert found.patches["patches"].tolist() == [1]
    assert found.patches["largest_ha"][0] == pytest.approx(large / 1e4)


# ---- loss and gain -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changes", "others"),
    [
        (["--loss", "forest"], {"forest → field", "forest → building"}, {"forest (unchanged)"}),
        (["--gain", "building"], {"forest → building", "field → building"}, set()),  # no building stood before
        (["--loss", "field", "--gain", "building"], {"field → building"}, {"field (unchanged)"}),
        (["--loss", "forest,field"], {"forest → field", "forest → building", "field → building"},
         {"forest (unchanged)", "field (unchanged)"}),
    ],
)  # fmt: skip
def test_loss_and_gain(files, tmp_path, options, changes, others) -> None:
    out = tmp_path / "out"
    assert run("change", files[0], files[2], *options, "--out", out, "--quiet") == 0
    assert set(gpd.read_file(out / "change.gpkg", layer="change")["class_name"]) == changes
    legend = {info.name for info in classes_of(open_class_map(out / "change.tif"))}
    rest = set() if len(others) == 2 else {"other"}
    assert legend == changes | others | rest
    areas = geoseg.class_areas(open_class_map(out / "change.tif"))
    assert areas["pixels"].sum() == 60 * 80 - 50  # nothing becomes nodata: strata and shares stay whole
    assert table(out / "transitions.csv")["pixels"].sum() == 60 * 80 - 50


# ---- confidence ----------------------------------------------------------------------------------------------


def test_patches_have_the_mean_product_of_both_confidences(files, tmp_path) -> None:
    rng = np.random.default_rng(2)
    percents = [rng.integers(30, 101, size=(60, 80), dtype=np.uint8) for _ in "12"]
    paths = [
        write_confidence_map(wrap_xr(part, grid(part.shape), nodata=255), tmp_path / f"conf{n}.tif")
        for n, part in enumerate(percents)
    ]
    out = tmp_path / "out"
    assert run("change", *files[::2], "--confidence", ",".join(map(str, paths)), "--out", out, "--quiet") == 0
    layer = gpd.read_file(out / "change.gpkg", layer="change").set_index("class_name")
    joint = np.floor(percents[0].astype(float) * percents[1] / 100 + 0.5)
    assert layer["confidence"]["field → building"] == pytest.approx(joint[45:50, 40:50].mean())
    assert layer["confidence"]["forest → building"] == pytest.approx(joint[12:16, 12:18].mean())


def test_confidence_follows_its_map_to_the_common_grid(tmp_path) -> None:
    """The earlier map and its confidence are twice as coarse, and begin elsewhere."""
    coarse = GeoBox((4, 5), grid((1, 1)).transform * Affine.translation(-2, -2) * Affine.scale(2), "EPSG:32632")
    percent = np.arange(20, dtype=np.uint8).reshape(4, 5) + 60
    early = cover(np.ones((4, 5), np.uint8), coarse)
    late = cover(np.full((6, 8), 2, np.uint8))
    full = wrap_xr(np.full((6, 8), 100, np.uint8), late.odc.geobox, nodata=255)
    first = wrap_xr(percent, coarse, nodata=255)
    map_change([early, late], tmp_path / "out", confidence=[first, full])
    layer = gpd.read_file(tmp_path / "out/change.gpkg", layer="change")
    assert layer["confidence"].tolist() == [pytest.approx(percent[1:, 1:].mean())]
    with pytest.raises(GeosegError, match=r"that of the first map has 6 × 8 pixels"):
        map_change([early, late], tmp_path / "no", confidence=[full, first])
    with pytest.raises(OptionError, match="two maps"):
        map_change([early, late], tmp_path / "no", confidence=[first])
    with pytest.raises(OptionError, match="200 occurs"):
        map_change([early, late], tmp_path / "no", confidence=[first, full.copy(data=np.full((6, 8), 200, np.uint8))])
    gap = full.copy(data=np.where(np.eye(6, 8) > 0, 255, 100).astype(np.uint8))
    with pytest.raises(GeosegError, match="have more or none"):
        map_change([early, late], tmp_path / "no", confidence=[first, gap])
    assert written(tmp_path) == {"out"}


# ---- three dates ---------------------------------------------------------------------------------------------


def test_three_dates(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("change", *files, "--dates", "2000,2008,2016", "--out", out) == 0
    assert written(out) == FILES | SERIES
    ways = table(out / "trajectories.csv").set_index("trajectory")
    assert ways["pixels"].to_dict() == {
        "forest → forest → forest": 2949,
        "field → field → field": 1550,
        "forest → field → field": 177,
        "field → field → building": 50,
        "forest → field → building": 24,
    }
    assert ways["changes"].tolist() == [0, 0, 1, 1, 2]
    series = table(out / "series.csv").set_index(["date", "class_name"])
    assert series["pixels"][2008, "field"] == 1600 + 201
    assert series["share"].groupby("date").sum().to_numpy() == pytest.approx(1)
    intervals = table(out / "intervals.csv").set_index(["from_map", "class_name"])
    assert intervals["annual_rate"][1, "forest"] == pytest.approx(np.log(2949 / 3150) / 8, rel=1e-4)
    assert intervals["loss_ha"][2, "forest"] == 0
    assert intervals["to_date"].unique().tolist() == [2008, 2016]
    # The raster, the matrix and the polygons compare the first map with the last one.
    whole = table(out / "transitions.csv").set_index(["from_name", "to_name"])
    assert whole["pixels"]["forest", "building"] == 24
    assert imread(out / "series.png").shape[:2] == (540, 960)


def test_what_one_map_lacks_is_lacking_in_all_tables(tmp_path) -> None:
    maps = scenario()
    maps[1][:40, :20] = 255
    found = map_change([cover(values) for values in maps], tmp_path / "out")
    rest = 60 * 80 - 50 - 800
    assert found.matrix["pixels"].sum() == found.trajectories["pixels"].sum() == rest
    assert found.series.groupby("map")["pixels"].sum().tolist() == [rest] * 3


# ---- any values, any classes --------------------------------------------------------------------------------


def test_maps_without_names_are_compared_by_their_values(tmp_path, capsys) -> None:
    paths = []
    for name, row in (("a", [7, 7, 300]), ("b", [7, 300, 12])):
        paths.append(tmp_path / f"{name}.tif")
        with rasterio.open(
            paths[-1], "w", driver="GTiff", height=1, width=3, count=1, dtype="uint16", crs="EPSG:32632",
            transform=grid((1, 3)).transform,
        ) as target:  # fmt: skip
            target.write(np.array([[row]], np.uint16)[0], 1)
    assert run("change", *paths, "--out", tmp_path / "out") == 0
    assert "class 7 → class 300" in capsys.readouterr().out
    assert gpd.read_file(tmp_path / "out/change.gpkg", layer="change")["to"].tolist() == [300, 12]
    assert run("change", *paths, "--loss", "300", "--out", tmp_path / "lost", "--quiet") == 0
    assert table(tmp_path / "lost/patches.csv")["class_name"].tolist() == ["class 300 → class 12"]


def test_values_without_a_name_keep_the_colours_of_the_file(tmp_path) -> None:
    paths = []
    for name, row in (("a", [7, 7, 9]), ("b", [7, 9, 9])):
        paths.append(write_raster(tmp_path / f"{name}.tif", np.array([row], np.uint8), nodata=0))
        with rasterio.open(paths[-1], "r+") as target:
            target.write_colormap(1, {7: (0, 100, 0), 9: (250, 200, 0)})
    map_change(paths, tmp_path / "out")
    colors = {info.name: info.color for info in classes_of(open_class_map(tmp_path / "out/change.tif"))}
    assert colors["class 7 → class 9"] == "#afaa00"  # 70 % of what came, 30 % of what was there


def test_polygons_of_changes_that_were_put_together_have_no_from_and_to(tmp_path) -> None:
    many = tuple(ClassInfo(value, f"c{value}") for value in range(40))
    rng = np.random.default_rng(1)
    early, late = (rng.integers(0, 40, size=(50, 50), dtype=np.uint8) for _ in "12")
    found = map_change([cover(part, legend=many) for part in (early, late)], tmp_path / "out")
    layer = gpd.read_file(tmp_path / "out/change.gpkg", layer="change")
    pooled = layer["class_name"] == "other change"
    assert pooled.any()
    assert layer.loc[pooled, ["from", "from_name", "to", "to_name"]].isna().all(axis=None)
    assert not layer.loc[~pooled, ["from", "from_name", "to", "to_name"]].isna().any(axis=None)
    assert layer["pixels"].sum() == (early != late).sum()
    assert found.matrix["pixels"].sum() == 2500  # tables know all of them


# ---- by zone, and with a reference sample --------------------------------------------------------------------


def test_change_by_zone(files, tmp_path) -> None:
    on = grid((60, 80))
    corners = [on.transform * place for place in ((0, 0), (40, 60), (80, 60))]
    west, east = (
        shapely.box(*corners[0], *corners[1]),
        shapely.box(corners[1][0], corners[0][1], *corners[2]),
    )
    gpd.GeoDataFrame({"district": ["west", "east"]}, geometry=[west, east], crs=on.crs.to_wkt()).to_file(
        tmp_path / "z.gpkg"
    )
    out = tmp_path / "out"
    arguments = ["change", *files[::2], "--dates", "2000,2016", "--zones", tmp_path / "z.gpkg", "--zone-field"]
    assert run(*arguments, "district", "--out", out, "--quiet") == 0
    zones = table(out / "zones.csv").set_index(["zone", "class_name"])
    matrix = table(out / "transitions.csv").set_index(["from_name", "to_name"])
    assert zones["area_ha"]["west", "forest → building"] == pytest.approx(
        matrix["area_ha"]["forest", "building"], rel=1e-6
    )
    assert ("west", "field → building") not in zones.index
    assert zones["from_name"]["east", "field → building"] == "field"
    assert zones["area_ha"].sum() == pytest.approx(matrix["area_ha"].sum(), rel=1e-6)
    classes = table(out / "zone_classes.csv").set_index(["zone", "class_name"])
    whole = table(out / "classes.csv").set_index("class_name")
    for column in ("before_ha", "after_ha", "gain_ha", "loss_ha"):
        assert classes[column].groupby("class_name").sum().to_numpy() == pytest.approx(
            whole[column].sort_index().to_numpy(), rel=1e-6
        )
    assert classes["annual_rate"]["west", "forest"] < 0
    layer = gpd.read_file(out / "zones.gpkg", layer="zones").set_index("zone")
    changes = zones[zones["from_name"] != zones["to_name"]]
    for name in ("west", "east"):
        assert layer["changed_ha"][name] == pytest.approx(changes.loc[name, "area_ha"].sum(), rel=1e-9)
        assert layer["class_name"][name] == changes.loc[name, "area_ha"].idxmax()
        assert layer["class_ha"][name] == changes.loc[name, "area_ha"].max()
    assert run(*arguments, "district", "--loss", "forest", "--out", tmp_path / "lost", "--quiet") == 0
    assert "zone_classes.csv" not in written(tmp_path / "lost")
    assert table(tmp_path / "lost/zones.csv")["class_name"].eq("other").any()


def test_a_zone_field_that_is_not_there(files, tmp_path, capsys) -> None:
    zone = gpd.GeoDataFrame({"district": ["all"]}, geometry=[shapely.box(5e5, 4.9e6, 5.1e5, 5e6)], crs="EPSG:32632")
    zone.to_file(tmp_path / "z.gpkg")
    arguments = [
        "change",
        *files[:2],
        "--zones",
        tmp_path / "z.gpkg",
        "--zone-field",
        "name",
        "--out",
        tmp_path / "out",
    ]
    assert "district" in fails(capsys, *arguments, code=2)
    assert not (tmp_path / "out").exists()


def test_areas_of_change_with_intervals(files, tmp_path) -> None:
    map_change(files[::2], tmp_path / "first", loss="forest")
    change = open_class_map(tmp_path / "first/change.tif")
    sample = geoseg.draw_sample(change, 120, allocation="equal")
    on, values = change.odc.geobox, change.values
    names = {info.value: info.name for info in classes_of(change)}
    places = [~on.transform * (point.x, point.y) for point in sample.units.to_crs(on.crs.to_wkt()).geometry]
    truth = [names[int(values[int(row), int(col)])] for col, row in places]
    truth[truth.index("forest → field")] = "forest (unchanged)"  # one mistake of the map
    sample.units.assign(reference=truth).to_file(tmp_path / "sample.gpkg")
    write_record(tmp_path / "sample_design.json", sample.design.to_record())
    out = tmp_path / "out"
    arguments = ["change", *files[::2], "--loss", "forest", "--reference", tmp_path / "sample.gpkg", "--out", out]
    assert run(*arguments, "--quiet") == 0
    areas = table(out / "areas.csv").set_index("class_name")
    mapped = areas["mapped_ha"]
    # Of the units in "forest → field", all but one are right: its area shrinks by that share.
    units = (sample.design.units["stratum"] == "forest → field").sum()
    field = areas.loc["forest → field"]
    assert field["area_ha"] == pytest.approx(field["mapped_ha"] * (units - 1) / units)
    assert field["lower_ha"] < field["area_ha"] < field["upper_ha"]
    assert areas["area_ha"].sum() == pytest.approx(mapped.sum())
    accuracy = table(out / "accuracy.csv")
    assert accuracy.loc[accuracy["measure"] == "overall", "estimate"].between(0.9, 1, inclusive="neither").all()
    assert (out / "methods.txt").read_text(encoding="utf-8").strip()
    assert json.loads((out / "run.json").read_text())["inputs"]["design"].endswith("sample_design.json")


# ---- what cannot be done ---------------------------------------------------------------------------------------


def test_clear_refusals(files, tmp_path, capsys) -> None:
    out = ("--out", tmp_path / "out")
    other = write_class_map(cover(scenario()[1], legend=(ClassInfo(1, "wood"), *LEGEND[1:])), tmp_path / "wood.tif")
    far = write_class_map(cover(scenario()[1], GeoBox((60, 80), GEOGRAPHIC, "EPSG:4326")), tmp_path / "far.tif")
    empty = write_class_map(cover(np.full((60, 80), 255, np.uint8)), tmp_path / "empty.tif")
    bad = tmp_path / "bad.csv"
    bad.write_text("old,new\nwood,forest\n")
    two = files[:2]
    cases = [
        ([files[0], other], "only before: forest; only after: wood.*crosswalk", 2),
        ([files[0], other, "--crosswalk", bad], "columns from and to.*old, new", 2),
        ([files[0], other, "--crosswalk", tmp_path / "none.csv"], "none.csv cannot be read", 2),
        ([files[0], far], "all maps overlap, but these do not", 1),
        ([files[0], empty], "there is no such pixel", 1),
        ([files[0]], "two or more class maps, but 1", 2),
        ([files[0], tmp_path / "gone.tif"], "gone.tif is not", 1),
        ([*two, "--dates", "2018"], "one date for each of the 2 maps", 2),
        ([*two, "--dates", "2024,2018"], "later than the first, but 2024 and 2018", 2),
        ([*files, "--dates", "2000,2010,2005"], "2010 and 2005", 2),
        ([*two, "--dates", "2018,soon"], "'soon'", 2),
        ([*two, "--loss", "wood"], "--loss takes classes of the maps, but 'wood' is none; they are forest", 2),
        ([*two, "--gain", "field,9"], "--gain takes .*'9' is none", 2),
        ([*two, "--min-area", "5 acres"], "--min-area is an area", 2),
        ([*two, "--connectivity", "6"], "--connectivity is 6", 2),
        ([*two, "--confidence", f"{far},{far}"], "Confidence lies on the grid of its class map", 1),
        ([*two, "--confidence", files[0]], "is two maps", 2),
        ([*two, "--zone-field", "name"], "Give --zones", 2),
        ([*two, "--design", tmp_path / "none.json"], "Give --reference", 2),
        ([*two, "--zones", tmp_path / "none.gpkg"], "none.gpkg is not there", 2),
        ([*two, "--reference", tmp_path / "none.gpkg"], "none.gpkg is not there", 2),
    ]
    before = written(tmp_path)
    for arguments, says, code in cases:
        message = fails(capsys, "change", *arguments, *out, code=code)
        assert pd.Series([message]).str.contains(says, regex=True).all(), (says, message)
        assert written(tmp_path) == before  # nothing is left, not even a folder beside
    assert run("change", files[0], other, "--crosswalk", crosswalk(tmp_path), *out, "--quiet") == 0


def crosswalk(folder: Path) -> Path:
    path = folder / "crosswalk.csv"
    path.write_text("from,to\nwood,forest\n")
    return path


def test_nothing_is_overwritten_unasked(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("work")
    assert "must not be there" in fails(capsys, "change", *files[:2], "--out", out)
    assert "has no run.json" in fails(capsys, "change", *files[:2], "--out", out, "--overwrite")
    assert (out / "mine.txt").read_text() == "work"
    (out / "mine.txt").unlink()
    assert run("change", *files, "--out", out, "--overwrite", "--quiet") == 0
    assert run("change", *files[:2], "--out", out, "--overwrite", "--quiet") == 0
    assert written(out) == FILES  # and nothing of the older one


def test_a_run_that_fails_leaves_the_older_folder(files, tmp_path, monkeypatch) -> None:
    map_change(files[:2], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoseg.export.write_change_preview", full)
    with pytest.raises(OSError, match="No space"):
        map_change(files, tmp_path / "out", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert len(written(tmp_path)) == 3 * 3 + 1


def test_the_same_input_gives_the_same_bytes(files, tmp_path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, chunk in zip(folders, (512, 7), strict=True):
        maps = [open_class_map(path).chunk(chunk) for path in files]
        map_change(maps, folder, min_area="2px")
    for name in (FILES | SERIES) - {"run.json"}:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


# ---- real maps -------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_deforestation_by_year(data_dir, tmp_path) -> None:
    """INPE's years of deforestation, cut into maps of four dates: nothing grows back, and each year comes out whole."""
    codes = {11: 2012, 16: 2017, 17: 2018, 27: 2019, 29: 2020, 33: 2021}
    (path,) = (data_dir / "prodes").glob("*.tif")
    source = open_class_map(path)
    values, on = source.values, source.odc.geobox
    legend = [ClassInfo(1, "forest"), ClassInfo(2, "deforested")]
    years = (2016, 2018, 2020, 2021)
    maps = []
    for year in years:
        part = np.where(values == 1, np.uint8(1), np.uint8(255))
        for code, cleared in codes.items():
            part[values == code] = 2 if cleared <= year else 1
        maps.append(class_map(part, on, legend))
    found = map_change(maps, tmp_path / "out", dates=years, loss="forest", min_area="1ha")
    pixels = found.trajectories.set_index("trajectory")["pixels"]
    d, f = "deforested", "forest"
    assert pixels[" → ".join([f, d, d, d])] == np.isin(values, [16, 17]).sum()
    assert pixels[" → ".join([f, f, d, d])] == np.isin(values, [27, 29]).sum()
    assert pixels[" → ".join([f, f, f, d])] == (values == 33).sum()
    assert len(pixels) == 5  # no way leads back to forest
    size = PixelAreas(on).of(*(slice(0, side) for side in on.shape))
    regions, count = ndi.label(np.isin(values, [16, 17, 27, 29, 33]))
    areas = ndi.sum_labels(size, regions, range(1, count + 1))
    kept = areas[areas >= 1e4]
    assert len(kept) < count
    layer = gpd.read_file(tmp_path / "out/change.gpkg", layer="change")
    assert sorted(layer["area_m2"]) == pytest.approx(sorted(kept.tolist()))
    assert found.matrix.set_index(["from_name", "to_name"])["area_m2"][f, d] == pytest.approx(kept.sum())
    assert (found.intervals.set_index("class_name").loc[f, "annual_rate"] < 0).all()
