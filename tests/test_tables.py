"""Arrow tables of polygons: the same rows, bytes and files as frames."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import LEGEND, grid, patchy
from test_polygons import make_map, rasters

from geoseg.classmap import class_map
from geoseg.errors import OutputError
from geoseg.export import write_polygons
from geoseg.polygons import iter_polygons, iter_tables

OPTIONS = [{}, {"min_area": "4px", "simplify": "1px"}, {"smooth": True}, {"connectivity": 8}]


@settings(max_examples=60, deadline=None)
@given(rasters(), st.sampled_from(OPTIONS), st.sampled_from([3, 64, None]), st.booleans())
def test_tables_hold_what_frames_hold(values, options, strip_rows, with_confidence):
    cover = make_map(values)
    options = {**options, "confidence": make_map((values // 3).astype(np.uint8)) if with_confidence else None}
    multi = options.get("connectivity") == 8
    table = pa.concat_tables(iter_tables(cover, multi=multi, strip_rows=strip_rows, **options))
    frame = gpd.pd.concat(iter_polygons(cover, **options), ignore_index=True)
    shapes = frame.geometry.to_numpy()
    if multi:
        shapes = np.array([shape if shape.geom_type[0] == "M" else shapely.MultiPolygon([shape]) for shape in shapes])
    assert table["geometry"].to_pylist() == [shapely.to_wkb(shape, byte_order=1) for shape in shapes]
    boxes = [[box[side] for side in ("xmin", "ymin", "xmax", "ymax")] for box in table["bbox"].to_pylist()]
    np.testing.assert_array_equal(np.array(boxes).reshape(-1, 4), shapely.bounds(shapes).reshape(-1, 4))
    back = gpd.GeoDataFrame.from_arrow(table.drop_columns("bbox"))  # as any reader of GeoArrow takes them
    assert back.crs == frame.crs
    assert list(back.columns) == list(frame.columns)
    for name in frame.columns.drop("geometry"):
        np.testing.assert_array_equal(back[name], frame[name].astype(back[name].dtype), err_msg=name)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["p.gpkg", "p.parquet", "p.geojson", "p.fgb"])
@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_files_have_the_same_bytes(tmp_path, options, name, crs):
    cover = class_map(patchy((150, 90), seed=4), grid((150, 90)), LEGEND)
    multi = options.get("connectivity") == 8
    first = write_polygons(iter_polygons(cover, **options), tmp_path / name, classes=LEGEND, crs=crs, multi=multi)
    by_frames = first.read_bytes()
    tables = iter_tables(cover, multi=multi, strip_rows=11, **options)
    assert write_polygons(tables, first, classes=LEGEND, crs=crs, multi=multi).read_bytes() == by_frames


def test_a_map_without_a_class_makes_an_empty_layer(tmp_path):
    cover = make_map(np.full((5, 4), 255, np.uint8))
    (table,) = iter_tables(cover)
    assert table.num_rows == 0
    file = write_polygons([table], tmp_path / "none.gpkg", classes=LEGEND)
    found = gpd.read_file(file, layer="polygons")
    assert len(found) == 0
    assert found.crs == "EPSG:32633"


def test_a_crs_that_has_no_place_for_the_map(tmp_path):
    cover = make_map(np.ones((5, 4), np.uint8))
    with pytest.raises(OutputError, match="no place"):
        write_polygons(
            iter_tables(cover), tmp_path / "p.gpkg", classes=LEGEND, crs="+proj=gnom +lat_0=-60 +lon_0=-170 +type=crs"
        )
    assert not list(tmp_path.iterdir())
