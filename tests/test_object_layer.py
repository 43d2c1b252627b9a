"""Polygons of a map of objects: one row each, whatever the batches that they come in."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.areas import PixelAreas
from geoseg.errors import BlockError
from geoseg.object_layer import Shapes, _inside, iter_objects, large_enough
from geoseg.polygons import batches

GRID = GeoBox.from_bbox((500_000, 5_000_000, 500_060, 5_000_040), "EPSG:32632", resolution=2)


def mapped(ids: np.ndarray) -> tuple[xr.DataArray, pd.DataFrame]:
    """A map and its table; ids are made 1, 2, ..."""
    values, ids = np.unique(np.concatenate([[0], ids.ravel()]), return_inverse=True)
    ids = ids[1:].reshape(GRID.shape).astype(np.uint32)
    areas = PixelAreas(GRID)
    numbers, pixels, units = areas.of_ids(ids, 0, 0)
    assert numbers.tolist() == list(range(1, len(values)))
    table = pd.DataFrame({"object_id": numbers, "class": 3, "pixels": pixels, "area_m2": units * areas.unit_m2})
    return wrap_xr(ids, GRID, nodata=0), table


def joined(frames: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=frames[0].crs)


maps = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 40)).map(
    lambda given: np.random.default_rng(given[0]).integers(0, given[1] + 1, GRID.shape)
)


@given(maps, st.integers(1, 50), st.sampled_from([None, "1px"]))
@settings(max_examples=25, deadline=None)
def test_batches_change_nothing(ids: np.ndarray, size: int, simplify: str | None) -> None:
    """Ids at random: each object is in many pieces all over the map."""
    objects, table = mapped(ids)
    whole = joined(list(iter_objects(objects, table, Shapes(simplify=simplify))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_BATCH", size)
        many = list(iter_objects(objects, table, Shapes(simplify=simplify)))
    pd.testing.assert_frame_equal(pd.DataFrame(joined(many)), pd.DataFrame(whole))
    assert sorted(whole["object_id"]) == table["object_id"].tolist()
    if simplify is None:
        lowest = [np.nonzero(objects.to_numpy() == number)[0].max() for number in whole["object_id"]]
        assert lowest == sorted(lowest)
        for row in whole.itertuples():
            drawn = shapely.union_all([shapely.box(*box) for box in boxes(objects.to_numpy() == row.object_id)])
            assert row.geometry.equals(drawn)


def boxes(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask in the grid's CRS."""
    rows, cols = np.nonzero(mask)
    left, top = 500_000 + 2 * cols, 5_000_040 - 2 * rows
    return np.stack([left, top - 2, left + 2, top], 1).astype(float)


def test_areas_are_those_of_the_map_also_where_outlines_are_simpler() -> None:
    ids = np.zeros(GRID.shape, int)
    ids[2:9, 3:9] = 1
    ids[5, 3] = 0
    objects, table = mapped(ids)
    for shapes in (Shapes(), Shapes(simplify="1px"), Shapes(squared=True)):
        (row,) = joined(list(iter_objects(objects, table, shapes))).itertuples()
        assert row.pixels == 41
        assert row.area_m2 == table["area_m2"][0] == pytest.approx(164, rel=1e-3)
        assert row.area_ha == row.area_m2 / 1e4


def test_an_empty_map_gives_one_empty_batch() -> None:
    (batch,) = iter_objects(*mapped(np.zeros(GRID.shape, int)), Shapes())
    assert len(batch) == 0
    assert {"object_id", "class", "area_m2", "perimeter_m", "orientation_deg", "geometry"} <= set(batch.columns)


def test_a_map_that_is_not_what_was_counted_is_an_error() -> None:
    objects, table = mapped(np.ones(GRID.shape, int))
    with pytest.raises(BlockError, match="1 objects are not what was counted"):
        list(iter_objects(objects, table.assign(pixels=table["pixels"] + 1), Shapes()))


def test_objects_are_left_out_by_area_or_by_pixels() -> None:
    table = pd.DataFrame({"pixels": [4, 5], "area_m2": [16.0, 20.0]})
    assert large_enough(table, "5px", GRID.crs).tolist() == [False, True]
    assert large_enough(table, "16m2", GRID.crs).tolist() == [True, True]
    assert large_enough(table, "0.002ha", GRID.crs).tolist() == [False, True]


def test_squared_outlines_end_where_the_scene_does() -> None:
    scene = shapely.box(0, 0, 10, 10)
    bracket = shapely.Polygon([(8, 1), (12, 1), (12, 9), (8, 9), (8, 7), (11, 7), (11, 3), (8, 3)])  # open to the west
    shapes = [shapely.box(1, 1, 3, 3), bracket]
    regions = gpd.GeoDataFrame({"class": [1, 2], "pixels": [4, 9]}, geometry=shapes, crs="EPSG:32632")
    found = _inside(regions, scene)
    assert found["class"].tolist() == [1, 2, 2]
    assert found["pixels"].tolist() == [4, 9, 0]
    assert found.geometry.area.tolist() == [4, 4, 4]
    assert found.geometry.within(scene).all()
    assert found.geom_type.eq("Polygon").all()
