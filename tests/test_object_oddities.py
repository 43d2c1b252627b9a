"""What models do wrong, and scenes have: duplicates, nodata, masks beyond their box, no numbers, nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from test_detect import SPEC

import geoseg
from geoseg.errors import GeosegError
from geoseg.objects import Instances
from geoseg.objects.decode import decode_maskrcnn, decode_yolo_seg
from geoseg.objects.duplicates import without_duplicates
from geoseg.tiling import Tile

Find = Callable[[Tile, np.ndarray], Instances]
SHAPE = (300, 420)


class Told:
    """A model that finds what a function says."""

    spec, in_flight = SPEC, 1

    def __init__(self, find: Find) -> None:
        self._find = find
        self.tiles = 0

    def find(self, tiles: Iterable[tuple[Any, np.ndarray, np.ndarray]]) -> Iterator[tuple[Any, Instances]]:
        for tile, _, valid in tiles:
            self.tiles += 1
            yield tile, self._find(tile, valid)


def write_scene(path: Path, invalid: tuple[slice, slice] | None = None) -> Path:
    values = np.ones(SHAPE, np.uint16)
    if invalid:
        values[invalid] = 0
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=from_origin(5e5, 5e6, 1, 1)) as file:
        file.write(values, 1)
        file.set_band_description(1, "number")
    return path


def ids_of(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "objects.tif") as file:
        return file.read(1)


def seen(tile: Tile, masks: list[np.ndarray], score: list[float]) -> Instances:
    """Masks of the scene, as a tile sees them: it is mirrored at the scene's edges, which nobody looks at here."""
    out = np.zeros((len(masks), 256, 256), bool)
    for one, mask in zip(out, masks, strict=True):
        rows, cols = np.nonzero(mask)
        rows, cols = rows - tile.top_px, cols - tile.left_px
        inside = (rows >= 0) & (rows < 256) & (cols >= 0) & (cols < 256)
        one[rows[inside], cols[inside]] = True
    there = out.any((1, 2))
    return Instances.from_masks(out[there], channel=[0] * there.sum(), score=np.array(score)[there])  # type: ignore[arg-type]


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


stacks = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(stacks)
@settings(max_examples=80, deadline=None)
def test_duplicates_are_those_of_the_plain_way(rng: np.random.Generator) -> None:
    masks = np.repeat(rng.random((4, 5, 6)) < 0.5, 3, axis=0) ^ (rng.random((12, 5, 6)) < 0.15)
    masks = masks[masks.any((1, 2))]
    score = rng.integers(1, 5, len(masks)) / 8  # many are equal
    stays: list[int] = []
    for one in np.argsort(-score, kind="stable"):
        same = [(masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum() for other in stays]
        if max(same, default=0) <= 0.5:
            stays.append(one)
    found = Instances.from_masks(masks, channel=[0] * len(masks), score=score)  # type: ignore[arg-type]
    assert np.flatnonzero(without_duplicates(found)).tolist() == sorted(stays)


def test_a_thousand_times_the_same_is_one() -> None:
    masks = np.zeros((1000, 64, 64), bool)
    masks[:, 8:50, 8:50] = True
    found = Instances.from_masks(masks, channel=[0] * 1000, score=np.linspace(0.1, 0.9, 1000))  # type: ignore[arg-type]
    assert np.flatnonzero(without_duplicates(found)).tolist() == [999]


@pytest.mark.parametrize("scores", [(0.9, 0.6), (0.6, 0.9)])
def test_what_one_tile_found_twice_is_one_object_over_all_tiles(tmp_path: Path, scores: tuple[float, float]) -> None:
    """Only the first tile of a row doubles it, and may be surer of the one that has no partner in the next tile."""
    house, again = box(100, 150, 140, 330), box(101, 151, 141, 330)

    def find(tile: Tile, valid: np.ndarray) -> Instances:
        first = tile.col == 0
        return seen(tile, [house, again][: 1 + first], [scores[0], scores[1]][: 1 + first])

    result = geoseg.map_objects(write_scene(tmp_path / "scene.tif"), Told(find), tmp_path / "out", bands="number=1")
    assert result.table["objects"].tolist() == [1]
    ids = ids_of(result.folder) > 0
    assert (ids & house).sum() / (ids | house).sum() > 0.95


def test_nothing_is_found(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif")
    model = Told(lambda tile, valid: seen(tile, [], []))
    options: dict[str, Any] = {"bands": "number=1", "min_area": "3px", "simplify": "1px", "regularize": True}
    result = geoseg.map_objects(scene, model, tmp_path / "out", formats=("gpkg", "parquet"), **options)
    assert model.tiles == 4
    assert result.table["objects"].tolist() == [0]
    assert result.table["share"].tolist() == [0]
    assert not ids_of(result.folder).any()
    for name in ("polygons.gpkg", "polygons.parquet"):
        path = result.folder / name
        layer = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, layer="polygons")
        assert len(layer) == 0
        assert {"object_id", "class_name", "score", "tiles", "edge", "compactness"} <= set(layer.columns)


def test_objects_of_one_pixel(tmp_path: Path) -> None:
    """Anywhere: alone, at the scene's corners, and where four tiles meet."""
    places = [(0, 0), (299, 419), (0, 419), (120, 60), (191, 191), (192, 192), (223, 224), (224, 223), (240, 240)]
    masks = [box(row, col, row + 1, col + 1) for row, col in places]

    def find(tile: Tile, valid: np.ndarray) -> Instances:
        return seen(tile, masks, [0.9] * len(masks))

    result = geoseg.map_objects(write_scene(tmp_path / "scene.tif"), Told(find), tmp_path / "out", bands="number=1")
    ids = ids_of(result.folder)
    assert (ids > 0).sum() == len(places) == ids.max()
    assert len({int(ids[place]) for place in places}) == len(places)
    polygons = gpd.read_file(result.folder / "polygons.gpkg", layer="polygons")
    assert set(polygons["pixels"]) == {1}
    assert polygons["perimeter_m"].to_numpy() == pytest.approx(4, rel=1e-2)


def test_no_object_lies_over_nodata(tmp_path: Path) -> None:
    """The network sees houses everywhere: half on nodata, and wholly."""
    invalid = slice(60, 200), slice(100, 300)

    def find(tile: Tile, valid: np.ndarray) -> Instances:
        top, left = -tile.top_px, -tile.left_px
        boxes = np.array([[80, 40, 120, 90], [150, 100, 190, 140], [310, 100, 340, 140]], np.float32)
        boxes += np.array([left, top, left, top], np.float32)
        inside = (boxes[:, 2] > 0) & (boxes[:, 0] < 256) & (boxes[:, 3] > 0) & (boxes[:, 1] < 256)
        count = int(inside.sum())
        masks = np.ones((count, 1, 28, 28), np.float32)
        return decode_maskrcnn(boxes[inside], np.ones(count, int), np.full(count, 0.9, np.float32), masks, valid)

    scene = write_scene(tmp_path / "scene.tif", invalid)
    result = geoseg.map_objects(scene, Told(find), tmp_path / "out", bands="number=1")
    ids = ids_of(result.folder)
    assert not ids[invalid].any()
    assert ids.max() == 2  # the one that is wholly on nodata is none
    assert (ids[40:60, 80:120] > 0).mean() > 0.95
    polygons = gpd.read_file(result.folder / "polygons.gpkg", layer="polygons")
    assert not polygons.intersects(gpd.GeoSeries.from_xy([5e5 + 200.5], [5e6 - 130.5])[0]).any()


def test_a_mask_ends_where_its_box_does() -> None:
    everywhere = np.full((1, 16, 16), 9, np.float32)
    candidate = np.array([[30], [20], [10], [6], [0.9], [1]], np.float32)
    found = decode_yolo_seg(candidate, everywhere, np.ones((64, 64), bool), classes=1)
    rows, cols = np.nonzero(found.masks((64, 64))[0])
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (17, 22, 25, 34)


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_a_score_that_is_no_number_stops_the_run(tmp_path: Path, what: float) -> None:
    model = Told(lambda tile, valid: seen(tile, [box(100, 100, 120, 120)], [what]))
    with pytest.raises(GeosegError, match=r"scores that are numbers.*model's output is damaged"):
        geoseg.map_objects(write_scene(tmp_path / "scene.tif"), model, tmp_path / "out", bands="number=1")
    assert not (tmp_path / "out").exists()
