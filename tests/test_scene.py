"""Scenes: what can be opened, how bands are named, what is valid, on which grid, and what is refused."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from geoseg.errors import OptionError, SceneError
from geoseg.scene import Scene, open_scene

ALL = slice(None)
UTM = Affine(10, 0, 500_000, 0, -10, 5_600_000)
BASE = np.arange(1, 25, dtype="uint8").reshape(2, 3, 4)


def write(path: Path, values: np.ndarray, **more) -> Path:
    """A small GeoTIFF of (band, row, col) values in UTM 31N."""
    names, mask = more.pop("names", None), more.pop("mask", None)
    profile = {"driver": "GTiff", "crs": "EPSG:32631", "transform": UTM, "dtype": values.dtype}
    profile |= dict(zip(("count", "height", "width"), values.shape, strict=True)) | more
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(values)
        if names:
            file.descriptions = names
        if mask is not None:
            file.write_mask(mask)
    return path


def values(scene: Scene) -> np.ndarray:
    """All pixels."""
    return scene.read(ALL, ALL).values


def valid(scene: Scene) -> list[list[bool]]:
    """Validity of all pixels."""
    return scene.read(ALL, ALL).valid.tolist()


# Bands


def test_bands_are_named_by_description_then_colour_then_number(tmp_path):
    four = np.ones((4, 2, 2), "int16")
    described = write(tmp_path / "a.tif", four, names=("B02", "B03", "B04", "B08"))
    assert open_scene(described).bands == ("B02", "B03", "B04", "B08")
    assert open_scene(write(tmp_path / "b.tif", four)).bands == ("band1", "band2", "band3", "band4")
    colours = write(tmp_path / "c.tif", four.astype("uint8"), photometric="rgb", alpha="unspecified")
    assert open_scene(colours).bands == ("red", "green", "blue", "band4")
    assert open_scene(write(tmp_path / "d.tif", four, names=("x", "x", "y", ""))).bands == (
        "band1", "band2", "y", "band4",
    )  # fmt: skip
    assert open_scene(write(tmp_path / "e.tif", four[:1])).bands == ("gray",)


def test_alpha_is_never_a_band(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((4, 2, 2), "uint8"), photometric="rgb", alpha="yes")
    assert open_scene(path).bands == ("red", "green", "blue")
    assert open_scene([path, path]).bands == ("red", "green", "blue")


def test_a_fourth_band_that_gdal_takes_for_alpha_can_be_near_infrared(tmp_path):
    four = np.arange(16, dtype="uint8").reshape(4, 2, 2)
    path = write(tmp_path / "a.tif", four)
    assert open_scene(path).bands == ("red", "green", "blue")
    scene = open_scene(path, bands="nir=4,red=1")
    np.testing.assert_array_equal(values(scene), four[[3, 0]])
    assert np.all(valid(scene))
    described = open_scene(write(tmp_path / "b.tif", four, names=("red", "green", "blue", "nir")))
    np.testing.assert_array_equal(values(described.select(["nir"])), four[3:])


@pytest.mark.parametrize("bands", ["nir=2,red=1", {"nir": 2, "red": "1"}, "nir=band2, red=band1"])
def test_bands_can_be_given_by_number(tmp_path, bands):
    scene = open_scene(write(tmp_path / "a.tif", BASE), bands=bands)
    assert scene.bands == ("nir", "red")
    np.testing.assert_array_equal(values(scene), BASE[::-1])


@pytest.mark.parametrize("bands", ["BAND2", ["band2"], ("Band2",)])
def test_bands_can_be_selected_by_name(tmp_path, bands):
    scene = open_scene(write(tmp_path / "a.tif", BASE), bands=bands)
    assert scene.bands == ("band2",)
    np.testing.assert_array_equal(values(scene), BASE[1:])


def test_select_keeps_the_order_asked_for_and_repeats(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", BASE))
    np.testing.assert_array_equal(values(scene.select(["band2", "band1", "band2"])), BASE[[1, 0, 1]])
    assert scene.select(scene.bands) is scene


def test_a_band_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = write(tmp_path / "a.tif", BASE)
    with pytest.raises(SceneError, match=r"no nir in a: it has band1, band2\. .*--bands"):
        open_scene(path).select(["band1", "nir"])
    for bands in ("nir=3", "nir=0", "nir=-1", {"nir": "blue"}):
        with pytest.raises(SceneError, match=r"one of 1, 2 in a \(band1, band2\).*--bands"):
            open_scene(path, bands=bands)


@pytest.mark.parametrize("bands", ["", "red=1,green", "=1", "red=", {}, [], "red,red", "red=1,red=2"])
def test_bands_that_say_nothing_are_refused(tmp_path, bands):
    with pytest.raises(OptionError, match=r"ands|Each band"):
        open_scene(write(tmp_path / "a.tif", BASE), bands=bands)


# Validity


def test_a_pixel_is_invalid_where_any_selected_band_is_nodata(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", BASE, nodata=3))
    assert valid(scene) == [[True, True, False, True], [True] * 4, [True] * 4]
    assert valid(scene.select(["band2"])) == [[True] * 4] * 3
    assert values(scene)[:, 0, 2].tolist() == [0, 0]


def test_nan_and_infinity_are_invalid_with_any_nodata(tmp_path):
    image = np.array([[[1, np.nan, np.inf], [-np.inf, -9999, 0]]], "float32")
    for nodata, expected in ((None, [1, 0, 0, 0, 1, 1]), (-9999, [1, 0, 0, 0, 0, 1]), (np.nan, [1, 0, 0, 0, 1, 1])):
        scene = open_scene(write(tmp_path / "a.tif", image, nodata=nodata))
        assert np.ravel(valid(scene)).astype(int).tolist() == expected
        assert np.isfinite(values(scene)).all()


def test_a_nodata_value_is_compared_as_the_type_holds_it(tmp_path):
    lowest = np.finfo("float32").min
    scene = open_scene(write(tmp_path / "a.tif", np.array([[[lowest, 1]]], "float32"), nodata=float(lowest)))
    assert valid(scene) == [[False, True]]


def test_mask_band_and_alpha(tmp_path):
    mask = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
    scene = open_scene(write(tmp_path / "a.tif", BASE, mask=mask))
    assert valid(scene) == mask.tolist()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(write(tmp_path / "b.tif", BASE), "r+") as file:
        file.write_mask(mask)
    assert (tmp_path / "b.tif.msk").exists()
    assert valid(open_scene(tmp_path / "b.tif")) == mask.tolist()
    rgba = np.concatenate([BASE, BASE[:1], mask[None].astype("uint8") * 9])
    path = write(tmp_path / "c.tif", rgba, photometric="rgb", alpha="yes")
    assert valid(open_scene(path)) == mask.tolist()
    assert valid(open_scene(path, bands="red")) == mask.tolist()


def test_alpha_may_be_the_first_band(tmp_path):
    path = write(tmp_path / "a.tif", BASE)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.alpha, ColorInterp.gray]
    scene = open_scene(path)
    assert len(scene.bands) == 1
    np.testing.assert_array_equal(values(scene), BASE[1:])


# Several files


def test_in_a_mosaic_the_first_valid_pixel_wins(tmp_path):
    one = write(tmp_path / "a.tif", np.array([[[1, 0, 3]]], "uint8"), nodata=0)
    two = write(
        tmp_path / "b.tif", np.array([[[7, 8, 9]]], "uint8"), nodata=0, transform=UTM * Affine.translation(1, 0)
    )
    assert values(open_scene([one, two])).tolist() == [[[1, 7, 3, 9]]]
    assert values(open_scene([two, one])).tolist() == [[[1, 7, 8, 9]]]
    far = write(tmp_path / "c.tif", np.array([[[5]]], "uint8"), nodata=0, transform=UTM * Affine.translation(-2, 1))
    scene = open_scene([one, far])
    assert values(scene).tolist() == [[[0, 0, 1, 0, 3], [5, 0, 0, 0, 0]]]
    assert scene.geobox.affine * (2, 0) == UTM * (0, 0)


def test_files_that_do_not_go_together_are_refused(tmp_path):
    one = write(tmp_path / "a.tif", BASE)
    for what, other in (
        ("band count", write(tmp_path / "b.tif", BASE[:1])),
        ("data type", write(tmp_path / "c.tif", BASE.astype("uint16"))),
        ("CRS", write(tmp_path / "d.tif", BASE, crs="EPSG:32632")),
    ):
        with pytest.raises(SceneError, match=f"same {what}.*a.tif.*{other.name}.*gdal"):
            open_scene([one, other])
    with pytest.raises(SceneError, match="one band must have one band"):
        open_scene({"red": one})
    with pytest.raises(SceneError, match="same CRS"):
        open_scene({"red": tmp_path / "b.tif", "nir": write(tmp_path / "e.tif", BASE[:1], crs="EPSG:32632")})


def test_a_mapping_stacks_files_on_the_finest_grid(tmp_path):
    fine = write(tmp_path / "a.tif", np.full((1, 6, 8), 50, "uint8"))
    coarse = np.array([[[10, 30], [0, 70]]], "uint8")
    coarse = write(tmp_path / "b.tif", coarse, nodata=0, transform=UTM * Affine.scale(4, 3))
    scene = open_scene({"nir": coarse, "red": fine})
    assert scene.bands == ("nir", "red")
    assert scene.geobox.affine == UTM
    pixels = scene.read(ALL, ALL)
    assert pixels.values.dtype == np.uint8
    assert pixels.values[0, 0].tolist() == [10, 10, 13, 18, 23, 28, 30, 30]  # bilinear between the centres
    assert not pixels.valid[3:, :3].any()
    np.testing.assert_array_equal(values(scene.select(["red", "nir"]))[::-1], pixels.values * (1))


def test_a_stack_has_the_type_that_holds_all(tmp_path):
    a, b = write(tmp_path / "a.tif", BASE[:1]), write(tmp_path / "b.tif", BASE[:1].astype("int16") - 300)
    scene = open_scene({"a": a, "b": b})
    assert scene.dtype == np.int16
    np.testing.assert_array_equal(values(scene), np.stack([BASE[0], BASE[0].astype("int16") - 300]))


def test_a_vrt_opens_like_a_file(tmp_path):
    path = write(tmp_path / "a.tif", BASE, nodata=3)
    vrt = tmp_path / "a.vrt"
    with rasterio.open(path) as source:
        from rasterio.shutil import copy

        copy(source, vrt, driver="VRT")
    one, other = open_scene(path), open_scene(vrt)
    np.testing.assert_array_equal(values(one), values(other))
    assert valid(one) == valid(other)
    assert len({Path(item[0]).name for item in next(other.node.files()).stamp}) == 2


# STAC


def item(tmp_path: Path, *, new: bool) -> Path:
    """A STAC item: two single-band assets, a true-colour composite, a thumbnail and metadata."""
    key = "bands" if new else "eo:bands"
    common = "eo:common_name" if new else "common_name"
    tiff, assets = "image/tiff; application=geotiff", {}
    for name, colour, number in (("B04", "red", 0), ("B08", "nir", 1)):
        path = write(tmp_path / f"{name}.tif", BASE[number : number + 1])
        assets[name] = {"href": path.name, "type": tiff, key: [{"name": name, common: colour}]}
    write(tmp_path / "visual.tif", np.concatenate([BASE, BASE[:1]]) + 100)
    three = [{"name": f"V{i}", common: colour} for i, colour in enumerate(("red", "green", "blue"))]
    assets["visual"] = {"href": "visual.tif", "type": tiff, key: three}
    assets["thumbnail"] = {"href": "t.tif", "type": tiff, "roles": ["thumbnail"]}
    assets["metadata"] = {"href": "m.xml", "type": "application/xml"}
    path = tmp_path / "item.json"
    text = {
        "type": "Feature", "stac_version": "1.1.0" if new else "1.0.0", "id": "S2A_x", "geometry": None, "links": [],
        "properties": {"datetime": "2023-05-01T00:00:00Z"}, "assets": assets, "stac_extensions": [],
    }  # fmt: skip
    path.write_text(json.dumps(text))
    return path


@pytest.mark.parametrize("new", [True, False])
def test_a_stac_item_opens_by_common_name_own_name_or_asset(tmp_path, new):
    path = item(tmp_path, new=new)
    for bands, expected in (
        (["red", "nir"], BASE), ("B08,B04", BASE[::-1]), ("a=B04,b=red,c=V1", [*BASE[[0, 0]], BASE[1] + 100]),
    ):  # fmt: skip
        np.testing.assert_array_equal(values(open_scene(path, bands=bands)), expected)
    scene = open_scene(path)
    assert scene.name == "S2A_x"
    assert scene.bands == ("red", "nir", "green", "blue")
    read = pystac.Item.from_file(str(path))
    assert open_scene(read).fingerprint() == scene.fingerprint()
    with pytest.raises(SceneError, match=r"no swir16 in S2A_x: it has red, B04, nir.*--bands red=B04"):
        open_scene(path, bands="swir16")
    with pytest.raises(SceneError, match="named by asset"):
        open_scene(path, bands="red=1")


def test_what_is_no_stac_item_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(SceneError, match=r"must be a STAC item"):
        open_scene(tmp_path / "a.json")
    with pytest.raises(SceneError, match=r"no .*b\.json"):
        open_scene(tmp_path / "b.json")
    path = item(tmp_path, new=True)
    bare = json.loads(path.read_text())
    bare["assets"] = {"metadata": bare["assets"]["metadata"]}
    with pytest.raises(SceneError, match=r"asset that is a raster.*S2A_x has metadata"):
        open_scene(bare)


# Grids


def test_on_grid_keeps_a_metric_crs_and_snaps(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", BASE))
    assert scene.resolution_m == 10
    assert scene.on_grid(10) is scene
    assert scene.on_grid(10 * (1 + 1e-7)) is scene
    grid = scene.on_grid(7).geobox
    assert str(grid.crs) == "EPSG:32631"
    assert grid.affine == Affine(7, 0, 71428 * 7, 0, -7, 800000 * 7)
    assert scene.on_grid(7).on_grid(10).geobox == scene.geobox
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(OptionError, match="above 0"):
            scene.on_grid(wrong)


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [(3, 50, 32631), (-0.001, -33, 32730), (179.95, 1, 32660), (-179.99, 1, 32601), (10, 85, 5041), (10, -81, 5042)],
)
def test_a_geographic_scene_is_worked_on_in_its_local_zone(tmp_path, lon, lat, expected):
    step = 1e-4
    place = Affine(step, 0, lon - 50 * step, 0, -step, lat + 50 * step)
    image = np.full((1, 100, 100), 8, "uint8")
    scene = open_scene(write(tmp_path / "a.tif", image, crs="EPSG:4326", transform=place))
    geod = pyproj.Geod(ellps="WGS84")
    area = abs(
        geod.polygon_area_perimeter(
            *zip(*((place * c) for c in ((0, 0), (100, 0), (100, 100), (0, 100))), strict=True)
        )[0]
    )
    assert scene.resolution_m == pytest.approx(math.sqrt(area) / 100, rel=1e-4)
    metric = scene.on_grid(12.5)
    assert str(metric.geobox.crs) == f"EPSG:{expected}"
    assert metric.resolution_m == 12.5
    assert (metric.geobox.affine.c / 12.5) % 1 == 0
    pixels = metric.read(ALL, ALL)
    assert pixels.valid.sum() * 12.5**2 == pytest.approx(area, rel=0.03)
    assert set(np.unique(pixels.values[0][pixels.valid])) == {8}


def test_a_distorting_crs_is_left_unless_asked_for(tmp_path):
    place = Affine(20, 0, 1_000_000, 0, -20, 8_400_000)  # 60° north: lengths doubled
    path = write(tmp_path / "a.tif", np.full((1, 90, 90), 8, "uint8"), crs="EPSG:3857", transform=place)
    scene = open_scene(path)
    assert scene.resolution_m == pytest.approx(10, rel=0.01)
    assert str(scene.on_grid(10).geobox.crs) == "EPSG:32632"
    kept = open_scene(path, crs="EPSG:3857", resolution=5)
    assert str(kept.geobox.crs) == "EPSG:3857"
    assert kept.resolution_m == pytest.approx(5, rel=1e-4)


def test_feet_are_not_metres(tmp_path):
    place = Affine(5, 0, 984_000, 0, -5, 210_000)
    scene = open_scene(write(tmp_path / "a.tif", BASE, crs="EPSG:2263", transform=place))
    assert scene.resolution_m == pytest.approx(5 * 1200 / 3937)
    assert scene.on_grid(3).geobox.affine.a == pytest.approx(3 * 3937 / 1200)


def test_a_scene_across_the_date_line(tmp_path):
    place = Affine(0.001, 0, 179.95, 0, -0.001, 10.05)
    scene = open_scene(write(tmp_path / "a.tif", np.full((1, 100, 100), 8, "uint8"), crs="EPSG:4326", transform=place))
    pixels = scene.on_grid(150).read(ALL, ALL)
    assert pixels.valid.mean() > 0.95  # the zone's grid is turned a little


def test_a_scene_too_wide_for_a_local_grid_is_refused(tmp_path):
    world = Affine(1, 0, -180, 0, -1, 90)
    path = write(tmp_path / "a.tif", np.full((1, 180, 360), 8, "uint8"), crs="EPSG:4326", transform=world)
    with pytest.raises(SceneError, match=r"too wide for EPSG:32631.*--crs"):
        open_scene(path, resolution=50_000)
    scene = open_scene(path, crs="EPSG:6933", resolution=100_000)
    assert scene.read(ALL, ALL).valid.mean() > 0.95


def test_rotated_and_south_up_grids_are_kept_or_made_north_up(tmp_path):
    turned = Affine.translation(5e5, 5.6e6) * Affine.rotation(25) * Affine.scale(10, -10)
    south = Affine(10, 0, 5e5, 0, 10, 5.6e6)
    for place in (turned, south):
        scene = open_scene(write(tmp_path / "a.tif", BASE, transform=place))
        assert scene.resolution_m == pytest.approx(10)
        assert scene.on_grid(10) is scene
        np.testing.assert_array_equal(values(scene), BASE)
        north = scene.on_grid(2).geobox.affine
        assert (north.a, north.b, north.d, north.e) == (2, 0, 0, -2)
    pixels = scene.on_grid(2).read(ALL, ALL)  # south up: the first row comes last
    np.testing.assert_array_equal(pixels.values[:, ::-1][:, 2::5, 2::5], BASE)


def test_a_crs_that_the_file_lacks_must_be_given(tmp_path):
    path = write(tmp_path / "a.tif", BASE, crs=None)
    with pytest.raises(SceneError, match=r"coordinate reference system, but .*a\.tif has none\. .*--crs EPSG"):
        open_scene(path)
    assert str(open_scene(path, crs="epsg:32631").geobox.crs) == "EPSG:32631"
    with pytest.raises(OptionError, match="--crs"):
        open_scene(path, crs="EPSG:99999999")


def test_another_crs_is_worked_in(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", np.full((1, 50, 50), 8, "uint8")), crs="EPSG:32632")
    assert str(scene.geobox.crs) == "EPSG:32632"
    assert scene.resolution_m == pytest.approx(10, rel=0.01)
    assert set(np.unique(values(scene))) == {0, 8}


# Windows, identity


def test_windows_outside_are_refused_and_empty_ones_are_not(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", BASE))
    for rows in (slice(0, 4), slice(-1, 2), slice(2, 1), slice(0, 3, 2)):
        with pytest.raises(OptionError, match="inside the scene"):
            scene.read(rows, ALL)
    for grid in (scene, scene.on_grid(4)):
        pixels = grid.read(slice(1, 1), slice(0, 2))
        assert (pixels.values.shape, pixels.valid.shape) == ((2, 0, 2), (0, 2))


def test_one_pixel_is_a_scene(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", BASE[:, :1, :1]))
    assert values(scene).tolist() == [[[1]], [[13]]]
    assert values(scene.on_grid(5)).tolist() == [[[1, 1], [1, 1]], [[13, 13], [13, 13]]]
    assert values(scene.on_grid(30)).max() in (0, 13)


def test_the_fingerprint_follows_file_grid_and_bands(tmp_path):
    path = write(tmp_path / "a.tif", BASE)
    scene = open_scene(path)
    seen = {scene.fingerprint(), scene.on_grid(5).fingerprint(), scene.select(["band2"]).fingerprint()}
    assert open_scene(path).fingerprint() in seen
    os.utime(path, ns=(1, 1))
    seen.add(open_scene(path).fingerprint())
    assert len(seen) == 4


def test_a_rewritten_file_is_not_read_through_an_old_handle(tmp_path):
    path = write(tmp_path / "a.tif", BASE)
    np.testing.assert_array_equal(values(open_scene(path)), BASE)
    os.remove(path)
    write(path, BASE + 1)
    np.testing.assert_array_equal(values(open_scene(path)), BASE + 1)


def test_open_handles_say_nothing_at_exit(tmp_path):
    """Where something outlives geoseg's modules (as under pytest), rasterio 1.5 would find the handle still open."""
    script = "import sys; from geoseg.scene import files; sys.kept = files._handle(sys.argv[1], None)"
    path = write(tmp_path / "a.tif", BASE)
    ended = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_describe_is_json(tmp_path):
    described = json.loads(json.dumps(open_scene(write(tmp_path / "a.tif", BASE), resolution=5).describe()))
    assert described["bands"] == ["band1", "band2"]
    assert described["crs"] == "EPSG:32631"
    assert (described["height_px"], described["width_px"], described["resolution_m"]) == (6, 8, 5)
    assert described["resampled"] is True


# Remote, missing, damaged


@pytest.fixture
def served(tmp_path):
    """The address of a folder on a local HTTP server (a process of its own: GDAL opens holding the GIL)."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "-d", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        port = re.search(r"port (\d+)", server.stdout.readline())[1]
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def test_files_and_items_are_read_over_http(tmp_path, served):
    item(tmp_path, new=True)
    np.testing.assert_array_equal(values(open_scene(f"{served}/B04.tif")), BASE[:1])
    np.testing.assert_array_equal(values(open_scene(f"{served}/item.json", bands="nir")), BASE[1:])
    with pytest.raises(SceneError, match=r"missing\.tif"):
        open_scene(f"{served}/missing.tif")


def test_what_is_not_there_or_no_raster_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"existing file, but there is no .*a\.tif"):
        open_scene(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_text("hello")
    with pytest.raises(SceneError, match=r"raster that GDAL can open, but .*b\.tif.*not recognized"):
        open_scene(tmp_path / "b.tif")
    with pytest.raises(SceneError, match="raster"):
        open_scene(tmp_path)
    for nothing in ([], {}):
        with pytest.raises(OptionError, match="at least one file"):
            open_scene(nothing)
    with pytest.raises(OptionError, match="opened from a path"):
        open_scene(3)


def test_no_georeference_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", BASE, transform=Affine.identity(), crs=None)
    with pytest.raises(SceneError, match=r"georeference.*gdal_translate"):
        open_scene(path, crs="EPSG:32631")


def test_types_that_are_no_pixels_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", BASE.astype("complex64"))
    with pytest.raises(SceneError, match=r"real data type.*complex64"):
        open_scene(path)


@pytest.mark.parametrize("compress", ["none", "deflate", "jpeg", "lzw"])
@pytest.mark.parametrize("resolution", [None, 23])
def test_a_truncated_file_is_an_error_never_zeros(tmp_path, compress, resolution):
    rng = np.random.default_rng(1)
    image = rng.integers(1, 255, (1, 256, 256), "uint8")
    path = write(tmp_path / "a.tif", image, compress=compress, tiled=True, blockxsize=64, blockysize=64)
    whole = path.read_bytes()
    scene = open_scene(path, resolution=resolution)
    assert values(scene).min() >= 0
    for part in (0.9, 0.6):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(SceneError, match=r"a\.tif, rows \d+:\d+, columns \d+:\d+ cannot be read"):
            values(open_scene(path, resolution=resolution))
