"""The preview: both panels show the same ground, nothing is averaged that must not be, memory is flat."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.classes import ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import OptionError, OutputError
from geoseg.export import preview, thinning, write_preview
from geoseg.export.drawing import NODATA_COLOR, Layout, clipped, rgb, round_length, steps_m, up_azimuth

CLASSES = (ClassInfo(0, "land", "#d8b365"), ClassInfo(3, "water $x_1$", "#1f6fb4"))
GRAY = rgb(NODATA_COLOR)


def grid(rows: int, cols: int, crs: str = "EPSG:32633", resolution: float = 10) -> GeoBox:
    left, top = (15.0, 45.0) if crs == "EPSG:4326" else (500_000, 5_000_000)
    return GeoBox((rows, cols), Affine(resolution, 0, left, 0, -resolution, top), crs)


@dataclass(frozen=True)
class Drawn:
    """A scene whose pixels are worked out from where they are, so that it can be of any size."""

    geobox: GeoBox
    bands: tuple[str, ...] = ("red", "green", "blue")
    dtype: np.dtype = field(default=np.dtype("uint8"))
    name: str = "drawn"
    factor: int = 1
    windows: list[int] = field(default_factory=list)

    @property
    def resolution_m(self) -> float:
        return math.sqrt(math.prod(steps_m(self.geobox)))

    def select(self, bands: tuple[str, ...]) -> Drawn:
        return replace(self, bands=tuple(bands))

    def on_grid(self, resolution_m: float) -> Drawn:
        return replace(self, geobox=self.geobox.zoom_out(resolution_m / self.resolution_m))

    def read(self, rows: slice, cols: slice) -> SimpleNamespace:
        self.windows.append((rows.stop - rows.start) * (cols.stop - cols.start) * len(self.bands))
        height, width = self.geobox.shape
        row, col = np.mgrid[rows, cols].astype(float)
        plane = {
            "red": 255 * (row + 0.5) / height,
            "green": 255 * (col + 0.5) / width,
            "blue": np.full(row.shape, 128.0),
            "nir": 1000 + row,
        }
        values = np.stack([plane[band] for band in self.bands]).astype(self.dtype)
        return SimpleNamespace(values=values, valid=(row >= height / 4) | (col >= width / 4))


def read_png(file: Path) -> np.ndarray:
    with rasterio.open(file) as source:
        return np.moveaxis(source.read((1, 2, 3)), 0, -1).astype(int)


def panels(file: Path, geobox: GeoBox) -> list[np.ndarray]:
    """The two panels, cut out of the picture."""
    picture = read_png(file)
    layout = Layout.of(geobox, picture.shape[1])
    found = []
    for left, bottom, width, height in layout.boxes():
        rows, cols = picture.shape[:2]
        top = rows - round((bottom + height) * rows)
        at = round(left * cols)
        found.append(picture[top : top + round(height * rows), at : at + round(width * cols)])
    return found


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize("shape", [(120, 160), (60, 400), (400, 60), (900, 1100)])
def test_both_panels_show_the_same_ground(tmp_path: Path, shape: tuple[int, int]) -> None:
    scene = Drawn(grid(*shape))
    values = np.zeros(shape, np.uint8)
    values[shape[0] // 2 :, shape[1] // 2 :] = 3
    values[: shape[0] // 4, : shape[1] // 4] = 255
    cover = class_map(values, scene.geobox, CLASSES)
    file = write_preview(tmp_path / "preview.png", scene, cover, width_px=900)
    left, right = panels(file, scene.geobox)
    rows, cols = left.shape[:2]
    places = [(r, c) for r in (0.1, 0.4, 0.7, 0.9) for c in (0.1, 0.4, 0.7, 0.9)]
    for r, c in places:
        at = int(r * rows), int(c * cols)
        empty = r < 0.25 and c < 0.25
        expected = GRAY if empty else (255 * r, 255 * c, 128)
        np.testing.assert_allclose(left[at], expected, atol=0 if empty else 6)
        name = GRAY if empty else CLASSES[r >= 0.5 and c >= 0.5].rgb
        assert tuple(right[at]) == name
    inside = right[3:-3, 3:-3].reshape(-1, 3)
    assert {tuple(color) for color in np.unique(inside, axis=0)} == {GRAY, CLASSES[0].rgb, CLASSES[1].rgb}


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_the_map_is_thinned_by_its_nearest_pixels(rows: int, cols: int, high: int, wide: int, chunk: int) -> None:
    values = np.random.default_rng(rows * cols).choice(np.array([0, 3, 9, 255], np.uint8), (rows, cols))
    fine = grid(rows, cols)
    coarse = thinning.zoomed(fine, high, wide)
    row = [math.floor((i + 0.5) * rows / high) for i in range(high)]
    col = [math.floor((i + 0.5) * cols / wide) for i in range(wide)]
    for array in (values, da.from_array(values, chunks=chunk)):
        thin, counts = thinning.thin_map(class_map(array, fine, CLASSES), coarse)
        assert np.array_equal(thin, values[np.ix_(row, col)])
        assert counts == {value: int((values == value).sum()) for value in np.unique(values)}


def test_memory_does_not_grow_with_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1000, 20_000):
        scene = Drawn(grid(size, size * 3 // 4))
        picture = thinning.thin_scene(scene, thinning.zoomed(scene.geobox, 400, 300))
        assert picture.shape == (400, 300, 3)
        ratio = size / 400
        assert max(scene.windows) * ratio**2 <= thinning._WINDOW_VALUES
    scene = Drawn(grid(300, 200))
    coarse = thinning.zoomed(scene.geobox, 299, 201)
    whole = thinning._sample(scene, coarse, side=1000)
    for side in (7, 150):
        for found, expected in zip(thinning._sample(scene, coarse, side=side), whole, strict=True):
            assert np.array_equal(found, expected)


def test_a_scene_in_another_crs_is_put_on_the_maps_grid(tmp_path: Path) -> None:
    from geoseg.scene import open_scene

    file = tmp_path / "scene.tif"
    rows, cols = np.mgrid[:200, :260]
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        dtype="uint8",
        count=3,
        height=200,
        width=260,
        crs="EPSG:4326",
        transform=Affine(0.001, 0, 15.0, 0, -0.001, 45.0),
        photometric="RGB",
    ) as target:
        target.write(np.stack([rows, np.minimum(cols, 255), rows * 0 + 7]).astype(np.uint8))
    coarse = GeoBox((60, 60), Affine(300, 0, 500_500, 0, -350, 4_983_500), "EPSG:32633")
    picture = thinning.thin_scene(open_scene(file), coarse)
    col, row = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    back = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = back.transform(500_500 + 300 * col, 4_983_500 - 350 * row)
    expected_row, expected_col = (45 - lat) * 1000, (lon - 15) * 1000
    inside = (expected_row > 5) & (expected_row < 195) & (expected_col > 5) & (expected_col < 250)
    assert 500 < inside.sum() < inside.size
    # On its way the scene was averaged to 300 m pixels in its own UTM grid: off by at most one of them.
    assert np.abs(picture[..., 0] - expected_row + 0.5)[inside].max() < 4
    assert np.abs(picture[..., 1] - expected_col + 0.5)[inside].max() < 5
    outside = (expected_row < -5) | (expected_row > 205) | (expected_col < -5) | (expected_col > 265)
    assert (picture[outside] == GRAY).all()


def test_other_bands_are_stretched_over_the_whole_picture() -> None:
    geobox = grid(100, 80)
    coarse = thinning.zoomed(geobox, 100, 80)
    nir = thinning.thin_scene(Drawn(geobox, bands=("nir", "blue"), dtype=np.dtype("uint16")), coarse)
    valid = valid_pixels(geobox)
    assert (nir[..., 0] == nir[..., 2])[valid].all()  # one band is shown gray
    low, high = np.percentile((1000 + np.repeat(np.arange(100), 80))[valid.ravel()], (2, 98))
    expected = np.clip((1000 + np.arange(100) - low) / (high - low) * 255, 0, 255).round()
    assert np.array_equal(nir[:, -1, 0], expected)
    three = thinning.thin_scene(Drawn(geobox, bands=("nir", "red", "green", "blue")), coarse)
    plain = thinning.thin_scene(Drawn(geobox), coarse)
    assert np.array_equal(three, plain)  # red, green and blue are found by name
    constant = thinning._stretched(np.full((1, 2, 2), 7.0), np.ones((2, 2), bool))
    assert constant.max() == 0
    holes = thinning._stretched(np.array([[[np.nan, 0.0, 1.0]]]), np.array([[False, True, True]]))
    assert holes[0, 0, 1:].tolist() == [0, 255]


def valid_pixels(geobox: GeoBox) -> np.ndarray:
    rows, cols = geobox.shape
    return Drawn(geobox).read(slice(0, rows), slice(0, cols)).valid


@pytest.mark.parametrize(
    ("crs", "origin"),
    [
        ("EPSG:32633", (650_000, 6_500_000)),
        ("EPSG:3857", (1e6, 8e6)),
        ("EPSG:3413", (1e6, -2e5)),
        ("EPSG:4326", (10, 60)),
    ],
)
@pytest.mark.parametrize("angle", [0, 30, 180])
def test_scale_and_north_are_those_of_the_ground(crs: str, origin: tuple[float, float], angle: float) -> None:
    size = 1e-4 if crs == "EPSG:4326" else 10
    affine = Affine.translation(*origin) * Affine.rotation(angle) * Affine.scale(size, -size)
    geobox = GeoBox((40, 60), affine, crs)
    to_ground = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    (x0, y0), (x1, y1), (x2, y2) = (affine * place for place in ((30, 20), (130, 20), (30, -80)))
    (lon0, lon1, lon2), (lat0, lat1, lat2) = to_ground.transform([x0, x1, x2], [y0, y1, y2])
    geod = pyproj.Geod(ellps="WGS84")
    assert steps_m(geobox)[0] == pytest.approx(geod.inv(lon0, lat0, lon1, lat1)[2] / 100, rel=1e-3)
    assert steps_m(geobox)[1] == pytest.approx(geod.inv(lon0, lat0, lon2, lat2)[2] / 100, rel=1e-3)
    difference = up_azimuth(geobox) - geod.inv(lon0, lat0, lon2, lat2)[0]
    assert abs((difference + 180) % 360 - 180) < 0.1


def test_the_scale_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    scene = Drawn(grid(300, 400, resolution=10))
    cover = class_map(np.zeros((300, 400), np.uint8), scene.geobox, CLASSES)
    file = write_preview(tmp_path / "preview.png", scene, cover, width_px=1200)
    layout = Layout.of(scene.geobox, 1200)
    pixel_m = 10 * 400 / layout.panel_shape[1] / 0.9996  # UTM's scale on the central meridian
    expected_px = round_length(0.35 * layout.panel_shape[1] * pixel_m) / pixel_m
    foot = read_png(file)[-40:-15, 10 : 10 + layout.panel_shape[1]]
    line = np.flatnonzero((foot.max(axis=-1) < 150).any(axis=0))
    bar = line[: np.argmax(np.diff(line) > 1) + 1] if (np.diff(line) > 1).any() else line
    assert bar[-1] - bar[0] == pytest.approx(expected_px, abs=2)


@given(st.floats(1e-3, 1e8))
def testround_lengths(at_most: float) -> None:
    length = round_length(at_most)
    assert length <= at_most * (1 + 1e-6)
    assert length > at_most / 2.51
    assert f"{length:.0e}"[0] in "125"


def test_shares_come_from_the_areas_when_they_are_given(tmp_path: Path) -> None:
    values = np.array([[0, 0, 3, 255]], np.uint8)
    cover = class_map(values, grid(1, 4), CLASSES)
    _, counts = thinning.thin_map(cover, grid(1, 4))
    by_pixel = preview._legend(cover, counts, None)
    assert [(entry.name, entry.share) for entry in by_pixel] == [("land", 2 / 3), ("water $x_1$", 1 / 3)]
    areas = pd.DataFrame({"class": [0, 3, 255], "area_m2": [1.0, 3.0, 99.0]})
    assert [entry.share for entry in preview._legend(cover, counts, areas)] == [0.25, 0.75]
    unknown = class_map(np.array([[9, 9, 9, 0]], np.uint8), grid(1, 4), CLASSES)
    _, counts = thinning.thin_map(unknown, grid(1, 4))
    assert [(entry.name, entry.share) for entry in preview._legend(unknown, counts, None)] == [
        ("land", 0.25),
        ("water $x_1$", 0.0),
        ("class 9", 0.75),
    ]


@pytest.mark.parametrize("values", [np.zeros((1, 1)), np.full((1, 1), 255), np.full((40, 30), 255)])
def test_the_smallest_and_the_emptiest_map(tmp_path: Path, values: np.ndarray) -> None:
    cover = class_map(values.astype(np.uint8), grid(*values.shape), CLASSES)
    file = write_preview(tmp_path / "preview.png", Drawn(grid(*values.shape)), cover, width_px=700)
    _, right = panels(file, grid(*values.shape))
    expected = GRAY if values.max() == 255 else CLASSES[0].rgb
    assert tuple(right[right.shape[0] // 2, right.shape[1] // 2]) == expected


def test_many_classes_and_odd_titles_give_the_same_bytes_each_time(tmp_path: Path) -> None:
    classes = [ClassInfo(value, f"class $\\frac{value} with a long name {value}") for value in range(60)]
    values = (np.arange(3000).reshape(50, 60) % 60).astype(np.uint8)
    cover = class_map(values, grid(50, 60), classes)
    files = [
        write_preview(tmp_path / f"{n}.png", Drawn(grid(50, 60)), cover, title="a $ title_{ " * 20, width_px=800)
        for n in (1, 2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_png(files[0]).shape[1] == 800
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1.png", "2.png"]


def test_names_are_clipped_not_swallowed() -> None:
    assert clipped("Donaudampfschifffahrtsgesellschaft", 10) == "Donaudamp…"
    assert clipped("short", 10) == "short"


def test_wrong_input_is_named(tmp_path: Path) -> None:
    cover = class_map(np.zeros((4, 4), np.uint8), grid(4, 4), CLASSES)
    scene = Drawn(grid(4, 4))
    with pytest.raises(OptionError, match=r"'p\.jpg'. Let it end in \.png"):
        write_preview(tmp_path / "p.jpg", scene, cover)
    with pytest.raises(OptionError, match="width_px=100"):
        write_preview(tmp_path / "p.png", scene, cover, width_px=100)
    with pytest.raises(OutputError, match="Create the folder first"):
        write_preview(tmp_path / "no" / "p.png", scene, cover)
