"""Labels: polygons and rasters become class values on a grid, and every way to go wrong has its message."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine

from geoseg.errors import OptionError, SceneError
from geoseg.scene import Scene, open_scene
from geoseg.training.labels import Labels, read_labels

CRS = "EPSG:32632"
X0, Y0, PX = 500_000.0, 5_400_000.0, 0.5
SIDE = 40


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("labels") / "scene.tif"
    like = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "crs": CRS}
    with rasterio.open(path, "w", transform=Affine(PX, 0, X0, 0, -PX, Y0), **like) as file:
        file.write(np.full((1, SIDE, SIDE), 7, np.uint8))
    return open_scene(path)


def box(row0: float, col0: float, row1: float, col1: float) -> shapely.Polygon:
    """A rectangle by pixel edges."""
    return shapely.box(X0 + col0 * PX, Y0 - row1 * PX, X0 + col1 * PX, Y0 - row0 * PX)


def drawn(**shapes: shapely.Geometry | None) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"class": list(shapes)}, geometry=list(shapes.values()), crs=CRS)


TWO = drawn(wood=box(0, 0, 10, 40), meadow=box(20, 0, 40, 20))


def test_pixels_get_the_class_of_their_polygon_and_the_rest_is_unlabelled(scene: Scene) -> None:
    labels = read_labels(TWO, scene)
    assert [(info.value, info.name) for info in labels.classes] == [(0, "meadow"), (1, "wood")]
    expected = np.full((SIDE, SIDE), 255, np.uint8)
    expected[:10], expected[20:, :20] = 1, 0
    burnt = labels.burn(scene.geobox)
    assert burnt.dtype == np.uint8
    np.testing.assert_array_equal(burnt, expected)


def test_only_pixels_whose_centre_lies_inside(scene: Scene) -> None:
    labels = read_labels(drawn(a=box(0, 0, 1.49, 3.51), b=box(5, 5, 6, 6)), scene)
    burnt = labels.burn(scene.geobox)
    assert np.argwhere(burnt == 0).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]  # row 1 has its centre at 1.5


def test_the_smaller_polygon_wins_whatever_the_order(scene: Scene) -> None:
    pond, wood = box(4, 4, 8, 8), box(0, 0, 20, 20)
    for frame in (drawn(pond=pond, wood=wood), drawn(wood=wood, pond=pond)):
        burnt = read_labels(frame, scene).burn(scene.geobox)
        assert (burnt[4:8, 4:8] == 0).all()
        assert (burnt == 1).sum() == 400 - 16


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10))
def test_a_window_is_a_part_of_the_whole(scene: Scene, row: int, col: int, high: int, wide: int) -> None:
    labels = read_labels(drawn(a=shapely.Point(X0 + 8, Y0 - 9).buffer(6), b=box(3, 3, 30, 12.3)), scene)
    window = np.s_[row : row + high, col : col + wide]
    np.testing.assert_array_equal(labels.burn(scene.geobox[window]), labels.burn(scene.geobox)[window])


def test_another_crs_gives_the_same_pixels(scene: Scene) -> None:
    far = gpd.GeoDataFrame({"class": ["x"]}, geometry=[shapely.box(170, -80, 175, -70)], crs="EPSG:4326")
    moved = TWO.to_crs("EPSG:4326")
    moved = gpd.GeoDataFrame(
        {"class": [*moved["class"], *far["class"]]}, geometry=[*moved.geometry, *far.geometry], crs="EPSG:4326"
    )
    labels = read_labels(moved, scene)
    assert labels.frame.crs == CRS
    assert len(labels.classes) == 2  # what lies elsewhere is no class here
    np.testing.assert_array_equal(labels.burn(scene.geobox), read_labels(TWO, scene).burn(scene.geobox))


def test_burning_onto_a_grid_in_another_crs(scene: Scene) -> None:
    other = scene.geobox.to_crs("EPSG:3857")
    burnt = read_labels(TWO, scene).burn(other)
    x, y = other.affine * np.meshgrid(np.arange(other.shape[1]) + 0.5, np.arange(other.shape[0]) + 0.5)
    x, y = pyproj.Transformer.from_crs("EPSG:3857", CRS, always_xy=True).transform(x, y)
    for value, shape in ((1, TWO.geometry[0]), (0, TWO.geometry[1])):
        sure = abs(shapely.distance(shape.exterior, shapely.points(x, y))) > 0.05
        np.testing.assert_array_equal((burnt == value)[sure], shapely.contains_xy(shape, x, y)[sure])
    assert set(np.unique(burnt)) == {0, 1, 255}


def test_a_bow_tie_is_mended_and_what_is_empty_is_counted(scene: Scene) -> None:
    tie = shapely.Polygon([(X0, Y0), (X0 + 4, Y0 - 4), (X0 + 4, Y0), (X0, Y0 - 4)])
    line = shapely.Polygon([(X0, Y0), (X0 + 4, Y0), (X0, Y0)])
    labels = read_labels(drawn(tie=tie, b=box(20, 20, 30, 30), c=None, d=shapely.Polygon(), e=line), scene)
    assert labels.frame.is_valid.all()
    assert labels.dropped == 3
    assert [info.name for info in labels.classes] == ["b", "tie"]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp"])
def test_vector_files(scene: Scene, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    (TWO.to_crs("EPSG:4326") if suffix == ".geojson" else TWO).to_file(path)
    np.testing.assert_array_equal(
        read_labels(path, scene).burn(scene.geobox), read_labels(TWO, scene).burn(scene.geobox)
    )


def write_labels(path: Path, values: np.ndarray, px: float, crs: str = CRS, x0: float = X0) -> Path:
    like = {"driver": "GTiff", "width": values.shape[1], "height": values.shape[0], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, nodata=0, transform=Affine(px, 0, x0, 0, -px, Y0), **like) as file:
        file.write(values[None])
    return path


def test_a_label_raster_is_resampled_by_nearest(scene: Scene, tmp_path: Path) -> None:
    values = np.array([[0, 3], [7, 0]], np.uint8)  # pixels of 10 m: 20 pixels of the scene
    labels = read_labels(write_labels(tmp_path / "truth.tif", values, 10), scene)
    assert [info.name for info in labels.classes] == ["class 3", "class 7"]
    assert labels.frame.empty
    expected = np.kron(np.array([[255, 0], [1, 255]], np.uint8), np.ones((20, 20), np.uint8))
    np.testing.assert_array_equal(labels.burn(scene.geobox), expected)
    np.testing.assert_array_equal(labels.burn(scene.geobox[5:33, 7:30]), expected[5:33, 7:30])


def test_classes_are_chosen_and_ordered_by_name(scene: Scene) -> None:
    frame = drawn(wood=box(0, 0, 10, 40), meadow=box(20, 0, 40, 20), road=box(15, 0, 16, 40))
    labels = read_labels(frame, scene, classes=["wood", "meadow"])
    assert [info.name for info in labels.classes] == ["wood", "meadow"]
    burnt = labels.burn(scene.geobox)
    assert (burnt[:10] == 0).all()
    assert (burnt[15] == 255).all()


def test_colours_come_from_a_column(scene: Scene) -> None:
    labels = read_labels(TWO.assign(color=["#00ff00", None]), scene)
    assert labels.classes[1].color == "#00ff00"
    assert labels.classes[0].color.startswith("#")


def test_numbers_are_classes_too_in_their_order(scene: Scene) -> None:
    frame = gpd.GeoDataFrame({"kind": [10, 9]}, geometry=TWO.geometry.values, crs=CRS)
    assert [info.name for info in read_labels(frame, scene).classes] == ["class 9", "class 10"]


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"class": [1, 2], "class_name": ["a", "b"]}, "class_name"),
        ({"Name": ["a", "b"], "note": ["x", "y"]}, "Name"),
        ({"sort": ["a", "b"], "height": [1.5, 2.5]}, "sort"),
        ({"fid": [1, 2], "sort": ["a", "b"]}, "sort"),
    ],
)
def test_the_column_is_found(scene: Scene, columns: dict, chosen: str) -> None:
    frame = gpd.GeoDataFrame(columns, geometry=TWO.geometry.values, crs=CRS)
    assert {info.name for info in read_labels(frame, scene).classes} == {"a", "b"}
    assert len(read_labels(frame, scene, column=chosen).classes) == 2


def refused(scene: Scene, source: object, message: str, **options: object) -> None:
    with pytest.raises(OptionError, match=message):
        read_labels(source, scene, **options)  # type: ignore[arg-type]


def test_errors_say_what_is_wrong(scene: Scene, tmp_path: Path) -> None:
    two = gpd.GeoDataFrame({"a": ["x", "y"], "b": ["x", "y"], "h": [0.5, 1.5]}, geometry=TWO.geometry.values, crs=CRS)
    refused(scene, TWO, "'kind' is not there in the table: it has class", column="kind")
    refused(scene, two, "has a, b, h and none is called class_name")
    refused(scene, two, "'h' holds fractions", column="h")
    refused(scene, TWO.translate(5000).to_frame("geometry").assign(type=["a", "b"]), "covers x 505000 .* covers x 5000")
    refused(scene, drawn(wood=box(0, 0, 4, 4)), "at least two classes, but the table has only 'wood'")
    refused(scene, drawn(a=None, b=shapely.Polygon()), "none of the 2 features")
    refused(scene, drawn(a=shapely.Point(X0, Y0), b=box(0, 0, 1, 1)), "feature 0 .* is a Point")
    refused(scene, TWO.set_crs(None, allow_override=True), "need a CRS")
    refused(scene, TWO, "'lake' is not in the table: it has meadow, wood", classes=["lake", "wood"])
    refused(scene, tmp_path / "none.gpkg", "is not there")
    blank = write_labels(tmp_path / "blank.tif", np.zeros((4, 4), np.uint8), 5)
    refused(scene, blank, "nodata only")
    refused(scene, write_labels(tmp_path / "far.tif", np.ones((4, 4), np.uint8), 5, x0=X0 + 9e4), "covers x 590000")
    refused(scene, write_labels(tmp_path / "one.tif", np.ones((4, 4), np.uint8), 5), "only 'class 1'")
    text = tmp_path / "notes.txt"
    text.write_text("nothing here")
    with pytest.raises(SceneError, match="neither"):
        read_labels(text, scene)


def test_several_layers_are_refused_by_name(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    TWO.to_file(path, layer="first")
    TWO.to_file(path, layer="second")
    refused(scene, path, "has 2: first, second")


def test_labels_are_of_the_public_kind(scene: Scene) -> None:
    assert isinstance(read_labels(TWO, scene), Labels)
