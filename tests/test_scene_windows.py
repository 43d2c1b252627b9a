"""Reading is independent of how a scene is cut into windows, and resampling does what it says."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.warp import reproject

from geoseg.scene import Scene, nodes, open_scene
from geoseg.scene.resampling import box_mean

UTM = Affine(10, 0, 500_000, 0, -10, 5_600_000)


def write(path: Path, values: np.ndarray, transform: Affine | None = UTM, *, crs="EPSG:32631", **more) -> Path:
    """A GeoTIFF of (band, row, col) values."""
    overviews, gcps = more.pop("overviews", ()), more.pop("gcps", None)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    if gcps is None:
        profile |= {"crs": crs, "transform": transform}
    with rasterio.open(path, "w", **profile, tiled=True, blockxsize=64, blockysize=64, **more) as file:
        file.write(values)
        if gcps is not None:
            file.gcps = gcps, rasterio.CRS.from_user_input(crs)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(list(overviews), Resampling.average)
    return path


def picture(shape=(3, 217, 301), dtype="uint8", seed=1) -> np.ndarray:
    """Noise on waves, 1..255, with a hole of zeros."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[: shape[1], : shape[2]]
    waves = np.sin(row / 9.0) + np.cos(col / 13.0 + row / 40.0)
    values = 120 + 40 * waves + rng.normal(0, 20, shape)
    values = np.clip(values, 1, 255)
    values[:, 60:90, 100:140] = 0
    values[:, (row + col) % 37 == 0] = 0
    return values.astype(dtype)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, Scene]:
    """The same picture as scenes of every kind."""
    folder = tmp_path_factory.mktemp("scenes")
    values = picture()
    plain = write(folder / "plain.tif", values, nodata=0, overviews=(2, 4))
    flat = write(folder / "flat.tif", picture(dtype="float32"), nodata=0)
    degrees = Affine(1.4e-4, 0, 3.0, 0, -0.9e-4, 50.5)
    lonlat = write(folder / "lonlat.tif", values, degrees, crs="EPSG:4326", nodata=0, overviews=(2,))
    turn = Affine.translation(5e5, 5.6e6) * Affine.rotation(30) * Affine.scale(10, -10)
    rotated = write(folder / "rotated.tif", values, turn, nodata=0)
    south = write(folder / "south.tif", values[:, ::-1], Affine(10, 0, 5e5, 0, 10, 5.6e6 - 2170), nodata=0)
    corners = [(0, 0), (0, 301), (217, 0), (217, 301), (100, 150)]
    points = [GroundControlPoint(r, c, *(turn * (c, r))) for r, c in corners]
    gcps = write(folder / "gcps.tif", values, None, gcps=points, nodata=0)
    parts = []
    for i, (r, c) in enumerate([(0, 0), (0, 140), (100, 0), (90, 140)]):
        part = values[:, r : r + 128, c : c + 192]
        parts.append(write(folder / f"part{i}.tif", part, UTM * Affine.translation(c, r), nodata=0))
    shifted = write(folder / "off.tif", values[:, :99], UTM * Affine.translation(33.3, 70.6), nodata=0)
    mixed = {"red": folder / "one.tif", "nir": folder / "coarse.tif"}
    write(mixed["red"], values[:1], nodata=0)
    write(mixed["nir"], values[:1, :109, :151], UTM * Affine.scale(2), nodata=0)
    tiles = []
    for i, (r, c) in enumerate([(0, 0), (0, 128), (64, 0), (64, 128)]):
        part = values[:, r : r + 64, c : c + 128]
        place = UTM * Affine.translation(c, r)
        tiles.append(write(folder / f"tile{i}.tif", part, place, nodata=0, overviews=(2, 4)))
    place = Affine(360 / 301, 0, -180, 0, -180 / 217, 90)
    world = write(folder / "world.tif", values, place, crs="EPSG:4326", nodata=0)
    mosaic = open_scene(parts)
    return {
        "native": open_scene(plain),
        "coarser": open_scene(plain, resolution=27.3),
        "coarser_overview": open_scene(plain, resolution=93.0),
        "finer": open_scene(plain, resolution=3.7),
        "float": open_scene(flat, resolution=26.0),
        "lonlat": open_scene(lonlat, resolution=10.0),
        "lonlat_coarser": open_scene(lonlat, resolution=31.0),
        "rotated": open_scene(rotated),
        "rotated_finer": open_scene(rotated, resolution=7.0),
        "south_up": open_scene(south, resolution=25.0),
        "gcps": open_scene(gcps),
        "gcps_coarser": open_scene(gcps, resolution=21.0),
        "mosaic": mosaic,
        "mosaic_coarser": mosaic.on_grid(33.0),
        "tiles_overview": open_scene(tiles, resolution=57.0),
        "mosaic_shifted": open_scene([parts[0], shifted]),
        "other_crs": open_scene(plain, crs="EPSG:3857"),
        "stack": open_scene(mixed),
        "world": open_scene(world, crs="EPSG:6933", resolution=90_000),
        "stack_coarser": open_scene(mixed, resolution=45.0),
    }


KINDS = [
    "native", "coarser", "coarser_overview", "finer", "float", "lonlat", "lonlat_coarser", "rotated", "rotated_finer",
    "south_up", "gcps", "gcps_coarser", "mosaic", "mosaic_coarser", "tiles_overview", "mosaic_shifted", "other_crs",
    "stack", "stack_coarser", "world",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_has_the_same_bits_as_the_whole(scenes, kind):
    scene = scenes[kind]
    height, width = scene.geobox.shape
    whole = scene.read(slice(None), slice(None))
    assert 0.2 < whole.valid.mean() < 1, "the picture and its holes must be seen"
    assert not whole.values[:, ~whole.valid].any()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        top = data.draw(st.integers(0, height))
        bottom = data.draw(st.integers(top, height))
        left = data.draw(st.integers(0, width))
        right = data.draw(st.integers(left, width))
        part = scene.read(slice(top, bottom), slice(left, right))
        np.testing.assert_array_equal(part.values, whole.values[:, top:bottom, left:right])
        np.testing.assert_array_equal(part.valid, whole.valid[top:bottom, left:right])
        assert tuple(part.geobox.shape) == part.valid.shape
        if part.valid.size:
            assert part.geobox.affine.almost_equals(scene.geobox.affine * Affine.translation(left, top), precision=1e-9)

    check()


@pytest.mark.parametrize("kind", ["coarser", "lonlat_coarser", "mosaic_coarser"])
def test_reading_in_pieces_gives_the_same_bits(scenes, kind, monkeypatch):
    whole = scenes[kind].read(slice(None), slice(None))
    monkeypatch.setattr(nodes, "PIECE_BYTES", 2000)
    pieces = scenes[kind].read(slice(None), slice(None))
    np.testing.assert_array_equal(pieces.values, whole.values)
    np.testing.assert_array_equal(pieces.valid, whole.valid)


def test_bands_one_by_one_have_the_same_values(scenes):
    for kind in ("native", "coarser", "lonlat", "stack_coarser"):
        scene = scenes[kind]
        whole = scene.read(slice(None), slice(None))
        for i, band in enumerate(scene.bands):
            one = scene.select([band]).read(slice(None), slice(None))
            both = one.valid & whole.valid
            np.testing.assert_array_equal(one.values[0][both], whole.values[i][both])
            assert not (whole.valid & ~one.valid).any()


def _sum(scene: Scene, row: int) -> tuple[int, int]:
    pixels = scene.read(slice(row, row + 20), slice(None))
    return int(pixels.values.sum()), int(pixels.valid.sum())


def test_a_scene_is_read_the_same_from_threads_and_other_processes(scenes):
    scene = scenes["lonlat"]
    rows = list(range(0, scene.geobox.shape[0] - 20, 20))
    here = [_sum(scene, row) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_sum, [scene] * len(rows), rows)) == here
    for how in ("spawn", "fork"):  # a forked child must not use the handles of its parent
        with ProcessPoolExecutor(1, mp_context=get_context(how)) as pool:
            assert pool.submit(_sum, scene, rows[1]).result() == here[1]


def test_a_scene_is_small_and_equal_when_pickled(scenes):
    for scene in scenes.values():
        data = pickle.dumps(scene)
        assert len(data) < 8000
        again = pickle.loads(data)
        assert again == scene
        assert again.fingerprint() == scene.fingerprint()


# What resampling means, against oracles.


def test_a_whole_factor_is_the_mean_of_the_valid_pixels_of_each_cell(tmp_path):
    values = picture((2, 120, 180), "float64")
    place = Affine(10, 0, 510_000, 0, -10, 5_610_000)  # on multiples of 30 m
    scene = open_scene(write(tmp_path / "a.tif", values, place, nodata=0), resolution=30)
    pixels = scene.read(slice(None), slice(None))
    cells = values.reshape(2, 40, 3, 60, 3)
    valid = (cells != 0).all(axis=0)
    count = valid.sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid, cells, 0).sum(axis=(2, 4)) / count
    np.testing.assert_array_equal(pixels.valid, count >= 4.5)
    np.testing.assert_allclose(pixels.values[:, pixels.valid], mean[:, pixels.valid], rtol=1e-12)


def test_finer_is_bilinear_interpolation_as_in_gdal(tmp_path):
    values = picture((1, 60, 80), "float32") + 1
    scene = open_scene(write(tmp_path / "a.tif", values), resolution=4)
    pixels = scene.read(slice(None), slice(None))
    assert pixels.valid.all()
    expected = np.zeros_like(pixels.values)
    reproject(
        values, expected, src_transform=UTM, src_crs="EPSG:32631", dst_transform=scene.geobox.affine,
        dst_crs="EPSG:32631", resampling=Resampling.bilinear, tolerance=0,
    )  # fmt: skip
    inside = np.s_[:, 3:-3, 3:-3]  # GDAL has its own rule at the border
    np.testing.assert_allclose(pixels.values[inside], expected[inside], atol=5e-3)  # 2**-16 of a pixel


def test_a_warp_agrees_with_gdals_exact_transformer(tmp_path):
    row, col = np.mgrid[:200, :260]
    values = (100 + 50 * np.sin(row / 25) * np.cos(col / 30))[None].astype("float32")
    transform = Affine(1.4e-4, 0, 14.0, 0, -0.9e-4, 68.5)  # north, near a zone's edge: the grid is turned
    path = write(tmp_path / "a.tif", values, transform, crs="EPSG:4326")
    scene = open_scene(path, resolution=8)
    assert str(scene.geobox.crs) == "EPSG:32633"
    pixels = scene.read(slice(None), slice(None))
    expected = np.full_like(pixels.values, np.nan)
    reproject(
        values, expected, src_transform=transform, src_crs="EPSG:4326", dst_transform=scene.geobox.affine,
        dst_crs="EPSG:32633", resampling=Resampling.bilinear, tolerance=0, dst_nodata=np.nan,
    )  # fmt: skip
    both = pixels.valid & np.isfinite(expected[0])
    assert both.mean() > 0.5
    assert np.abs(pixels.values[0] - expected[0])[both].max() < 0.5


def test_control_points_place_a_raster_like_the_transform_they_follow(scenes):
    one, other = (scenes[kind].on_grid(7.0) for kind in ("gcps", "rotated"))
    assert one.geobox.affine.almost_equals(other.geobox.affine, precision=1e-6)
    rows, cols = slice(20, 300), slice(20, 400)
    one, other = one.read(rows, cols), other.read(rows, cols)
    both = one.valid & other.valid
    assert both.mean() > 0.3
    assert (one.valid != other.valid).mean() < 0.005
    difference = np.abs(one.values[:, both].astype(int) - other.values[:, both])
    assert difference.mean() < 0.05
    assert difference.max() <= 1


def test_an_invalid_pixel_does_not_bleed(tmp_path):
    values = np.full((1, 64, 64), 100, "int16")
    values[0, 10:30, 20:40] = -9999
    path = write(tmp_path / "a.tif", values, nodata=-9999, overviews=(2, 4))
    for resolution in (3, 17, 20, 45):
        pixels = open_scene(path, resolution=resolution).read(slice(None), slice(None))
        assert set(np.unique(pixels.values[0][pixels.valid])) == {100}
        assert not pixels.valid.all()


def test_a_mosaic_of_tiles_is_read_through_their_overviews(scenes):
    assert {file.level for file in scenes["tiles_overview"].node.files()} == {0}
    assert {file.level for file in scenes["mosaic_coarser"].node.files()} == {None}


@pytest.mark.parametrize("overview_file", [False, True])
@pytest.mark.parametrize("mask", ["nodata", "internal", "external", "alpha"])
def test_overviews_keep_every_kind_of_validity(tmp_path, mask, overview_file):
    values = np.full((3, 512, 512), 100, "uint8")
    valid = np.ones((512, 512), bool)
    valid[100:201, 100:301] = False
    values[:, ~valid] = 7
    profile = {"driver": "GTiff", "width": 512, "height": 512, "dtype": "uint8", "crs": "EPSG:32631"}
    profile |= {"count": 3, "transform": UTM} | ({"nodata": 7} if mask == "nodata" else {})
    if mask == "alpha":
        profile |= {"count": 4, "photometric": "rgb", "alpha": "yes"}
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask == "internal"), rasterio.open(path, "w", **profile) as file:
        file.write(values, [1, 2, 3])
        if mask == "alpha":
            file.write(valid.astype("uint8") * 255, 4)
        elif mask != "nodata":
            file.write_mask(valid)
    whole = open_scene(path, resolution=85).read(slice(None), slice(None))
    with rasterio.Env(TIFF_USE_OVR=overview_file), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    scene = open_scene(path, resolution=85)
    assert (next(scene.node.files()).level is not None) == (mask != "internal" or not overview_file)
    pixels = scene.read(slice(None), slice(None))
    assert set(np.unique(pixels.values[:, pixels.valid])) == {100}
    assert (pixels.valid != whole.valid).mean() < 0.01


def test_overviews_are_used_and_give_nearly_the_same_pixels(tmp_path):
    values = picture((1, 512, 512), "float32")
    with_them = open_scene(write(tmp_path / "a.tif", values, overviews=(2, 4, 8)), resolution=95)
    without = open_scene(write(tmp_path / "b.tif", values), resolution=95)
    assert next(with_them.node.files()).level == 1, "4, which leaves 2.4 pixels to average"
    assert next(without.node.files()).level is None
    one, other = (scene.read(slice(None), slice(None)) for scene in (with_them, without))
    np.testing.assert_array_equal(one.valid, other.valid)
    assert np.abs(one.values - other.values)[:, one.valid].max() < 10
    assert abs(one.values[:, one.valid].mean() - other.values[:, other.valid].mean()) < 0.1


def test_a_target_pixel_needs_half_of_its_box():
    """3 by 3 by hand: one target pixel over four source pixels, two of them valid, is just valid."""
    values = np.array([[[10, 20, 0], [0, 0, 0], [0, 0, 0]]], "uint8")
    nodes_xy = np.array([[[0.0, 32.0], [0.0, 32.0]], [[0.0, 0.0], [32.0, 32.0]]])  # two source pixels a pixel

    def cell(*valid):
        mask = np.zeros((3, 3), bool)
        mask.flat[list(valid)] = True
        one = slice(0, 1)
        out = box_mean(values, mask, nodes_xy, origin=(0, 0), extent=(3, 3), rows=one, cols=one)
        return int(out[0][0, 0, 0]), bool(out[1][0, 0])

    assert cell(0, 1, 3, 4) == (8, True)  # 30 / 4 = 7.5, up
    assert cell(0, 1) == (15, True)
    assert cell(0) == (0, False)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.2, 6),
    st.floats(-1, 1),
    st.integers(0, 2**32 - 1),
)
def test_a_constant_stays_and_a_mean_lies_between(step, shift, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 255, (2, 40, 40)).astype("uint8")
    values[1] = 77
    valid = rng.random((40, 40)) < 0.7
    at = np.arange(4) * 16 * step + shift
    grid = np.stack(np.meshgrid(at, at))
    window = slice(3, 40)
    out, ok = box_mean(values, valid, grid, origin=(0, 0), extent=(40, 40), rows=window, cols=window)
    assert (out[1][ok] == 77).all()
    if valid.any():
        assert out[0][ok].min(initial=255) >= values[0][valid].min()
        assert out[0][ok].max(initial=0) <= values[0][valid].max()
