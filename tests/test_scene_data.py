"""Scenes from real files, common ones and odd ones."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geoseg.errors import SceneError
from geoseg.scene import open_scene

pytestmark = pytest.mark.data
ALL = slice(None)
COLORADO = "201404_13SED190110_201404_0x1500m_CL_1"


def same_in_windows(scene) -> None:
    """A few windows have the bits of the whole."""
    height, width = scene.geobox.shape
    rng = np.random.default_rng(5)
    top, left = (int(rng.integers(0, max(n - 300, 1))) for n in (height, width))
    rows, cols = slice(top, min(top + 300, height)), slice(left, min(left + 300, width))
    whole = scene.read(rows, cols)
    for _ in range(4):
        r = sorted(rng.integers(rows.start, rows.stop + 1, 2))
        c = sorted(rng.integers(cols.start, cols.stop + 1, 2))
        part = scene.read(slice(*r), slice(*c))
        cut = np.s_[r[0] - top : r[1] - top, c[0] - left : c[1] - left]
        np.testing.assert_array_equal(part.values, whole.values[(ALL, *cut)])
        np.testing.assert_array_equal(part.valid, whole.valid[cut])


def test_one_ortho_five_ways(data_dir):
    scenes = {
        kind: open_scene(data_dir / "scenes/colorado" / f"{COLORADO}{kind}.tif")
        for kind in ("", "_nodata", "_alpha", "_mask", "_extmask")
    }
    assert {scene.bands for scene in scenes.values()} == {("red", "green", "blue")}
    pixels = {kind: scene.read(ALL, ALL) for kind, scene in scenes.items()}
    plain = pixels[""]
    assert plain.valid.all()
    for kind in ("_mask", "_extmask"):  # these three say the same
        np.testing.assert_array_equal(pixels[kind].valid, pixels["_nodata"].valid)
        np.testing.assert_array_equal(pixels[kind].values, pixels["_nodata"].values)
    assert 0.9 < pixels["_nodata"].valid.mean() < 1
    for kind in ("_nodata", "_alpha"):
        valid = pixels[kind].valid
        assert 0.8 < valid.mean() < 1
        np.testing.assert_array_equal(pixels[kind].values[:, valid], plain.values[:, valid])


def test_banepa_tiles_make_one_mosaic_in_metres(data_dir):
    tiles = sorted((data_dir / "banepa/tiles").glob("*.tif"))
    scene = open_scene(tiles)
    assert tuple(scene.geobox.shape) == (3072, 3072)
    assert 0.12 < scene.resolution_m < 0.14
    with rasterio.open(tiles[7]) as source:
        col, row = (round(n) for n in ~scene.geobox.affine * (source.transform.c, source.transform.f))
        part = scene.read(slice(row, row + 512), slice(col, col + 512))
        np.testing.assert_array_equal(part.values, source.read())
    assert part.valid.all()
    metric = scene.on_grid(0.3)
    assert str(metric.geobox.crs) == "EPSG:32645"
    middle = metric.read(slice(200, 1100), slice(200, 1100))
    assert middle.valid.all(), "no gap between the tiles"
    same_in_windows(metric)


def test_landsat_bands_from_files(data_dir):
    folder = data_dir / "scenes/landsat5_para"
    files = {f"b{i}": folder / f"LT52240631988227CUB02_B{i}.TIF" for i in (5, 4, 3)}
    scene = open_scene(files)
    assert scene.bands == ("b5", "b4", "b3")
    pixels = scene.read(ALL, ALL)
    for i, path in enumerate(files.values()):
        with rasterio.open(path) as source:
            np.testing.assert_array_equal(pixels.values[i], source.read(1))
    same_in_windows(scene.on_grid(45))


@pytest.mark.parametrize(
    ("file", "bands", "resolution", "crs"),
    [
        ("odd/RGB.byte.gcp.vrt", 3, 10, "EPSG:32610"),
        ("odd/cog_gcps.tif", 1, 500, "EPSG:32643"),
        ("odd/inverted_lat.tif", 1, None, "EPSG:4326"),
        ("odd/cog_nodata_nan.tif", 1, 450, "EPSG:32610"),
        ("odd/cog_int16.tif", 1, 450, "EPSG:32621"),
        ("odd/RGBA.uint16.tif", 3, 1, "EPSG:32612"),
        ("odd/RGB2.byte.tif", 3, 700, None),
        ("odd/cog_scale.tif", 2, 300, None),
        ("odd/cog_hirise_mars.tif", 3, 12, None),
        ("odd/all-nodata.tif", 4, 10, "EPSG:32628"),
        ("../sen1floods11/Spain_7370579_S2Hand.tif", 13, 10, "EPSG:32630"),
        ("../sen1floods11/Spain_7370579_S1Hand.tif", 2, 10, "EPSG:32630"),
        ("../landsat_pair/LE70220491999322EDC01_stack.gtif", 8, 30, "EPSG:32615"),
        ("../atlanta/sample_geotiff_custom_proj.tif", 3, 50, None),
    ],
)
def test_odd_files_open_and_do_not_depend_on_windows(data_dir, file, bands, resolution, crs):
    scene = open_scene(data_dir / "scenes" / file, resolution=resolution)
    assert len(scene.bands) == bands
    if crs:
        assert str(scene.geobox.crs) == crs
    height, width = scene.geobox.shape
    pixels = scene.read(slice(height // 3, height // 3 + 300), slice(width // 3, width // 3 + 300)) if min(
        height, width
    ) > 700 else scene.read(ALL, ALL)  # fmt: skip
    empty = "all-nodata" in file or "inverted" in file
    assert (pixels.valid.mean() == 0) if empty else (pixels.valid.mean() > 0.3)
    assert np.isfinite(pixels.values).all()
    same_in_windows(scene)


def test_overlapping_parts_of_a_mosaic_on_different_lattices(data_dir):
    parts = [data_dir / "scenes/odd" / f"mosaic_cog{i}.tif" for i in (1, 2)]
    scene = open_scene(parts)
    first, whole = open_scene(parts[0]), scene.read(ALL, ALL)
    col, row = (round(n) for n in ~scene.geobox.affine * (first.geobox.affine.c, first.geobox.affine.f))
    alone = first.read(ALL, ALL)
    height, width = alone.valid.shape
    inside = whole.values[:, row : row + height, col : col + width]
    np.testing.assert_array_equal(inside[:, alone.valid], alone.values[:, alone.valid])
    assert whole.valid.sum() > alone.valid.sum()
    same_in_windows(scene)
    same_in_windows(scene.on_grid(777))


@pytest.mark.parametrize("file", ["no_geo.jpg", "rotated.tif", "float_nan.tif"])
def test_files_without_a_georeference_or_crs_say_so(data_dir, file):
    with pytest.raises(SceneError, match=r"has (none\. .*--crs|no transform)"):
        open_scene(data_dir / "scenes/odd" / file)


def test_a_rotated_file_with_a_crs(data_dir):
    scene = open_scene(data_dir / "scenes/odd/rotated.tif", crs="EPSG:32631")
    with rasterio.open(data_dir / "scenes/odd/rotated.tif") as source:
        np.testing.assert_array_equal(scene.read(ALL, ALL).values, source.read())
    same_in_windows(scene.on_grid(5))


def test_the_corrupt_file_opens_and_fails_where_it_is_damaged(data_dir):
    scene = open_scene(data_dir / "scenes/odd/corrupt.tif")
    with pytest.raises(SceneError, match=r"corrupt\.tif, rows 0:1024, columns 0:1024 cannot be read"):
        scene.read(ALL, ALL)


def test_a_world_file_is_too_wide_for_one_local_grid(data_dir):
    with pytest.raises(SceneError, match="too wide"):
        open_scene(data_dir / "scenes/odd/inverted_lat.tif", resolution=50_000)
