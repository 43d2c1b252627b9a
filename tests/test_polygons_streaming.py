"""Polygons do not depend on how the map is cut, and what is open is all that is kept."""

from __future__ import annotations

import sys
import time

import dask.array
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from test_polygons import as_set, assert_same, gdal_polygons, make_map, rasters

from geoseg.errors import MismatchError
from geoseg.polygons import iter_polygons, vectorize
from geoseg.polygons.stream import Linker, trace_polygons
from geoseg.polygons.strip import Job, Rules, Strip, trace_strip


def strips(values: np.ndarray, rows: int):
    flat = np.array([0.0, 1.0, 0.0, 0.0])
    for row in range(0, len(values), rows):
        part = np.ascontiguousarray(values[row : row + rows])
        yield Strip(part, np.array([0, values.shape[1]]), np.tile(flat, (len(part), 1, 1)))


@settings(max_examples=60, deadline=None)
@given(rasters(), st.sampled_from([4, 8]))
def test_strip_height_cannot_be_seen(values, connectivity):
    percent = make_map((values // 3).astype(np.uint8))
    whole = vectorize(make_map(values), confidence=percent, connectivity=connectivity, strip_rows=len(values))
    for rows in (1, 2, 7, 64):
        cut = vectorize(make_map(values), confidence=percent, connectivity=connectivity, strip_rows=rows)
        assert_same(cut, whole)


@settings(max_examples=8, deadline=None)
@given(rasters(), st.data())
def test_dask_chunks_and_threads_cannot_be_seen(values, data):
    def chunks():
        rows = data.draw(st.sampled_from([1, 3, 17, 200]), label="rows")
        return rows, data.draw(st.sampled_from([20, 64, 200]), label="columns")

    percent = (values // 3).astype(np.uint8)
    whole = vectorize(make_map(values), confidence=make_map(percent))
    lazy = make_map(values).chunk(dict(zip(("y", "x"), chunks(), strict=True)))
    lazy_percent = make_map(percent).chunk(dict(zip(("y", "x"), chunks(), strict=True)))
    for confidence in (lazy_percent, make_map(percent)):
        assert_same(vectorize(lazy, confidence=confidence, strip_rows=5, threads=2), whole)
    assert_same(vectorize(lazy), vectorize(make_map(values), threads=2))


@settings(max_examples=30, deadline=None)
@given(rasters(), st.sampled_from([4, 8]), st.data())
def test_threads_cannot_be_seen(values, connectivity, data):
    percent = make_map((values // 3).astype(np.uint8))
    whole = vectorize(make_map(values), confidence=percent, connectivity=connectivity, strip_rows=len(values))
    for threads in (1, 2, 3, 4):
        rows = data.draw(st.sampled_from([1, 7, 64, len(values)]), label="strip rows")
        cut = vectorize(
            make_map(values), confidence=percent, connectivity=connectivity, strip_rows=rows, threads=threads
        )
        assert_same(cut, whole)


def test_a_cluster_cannot_be_seen(tmp_path):
    from distributed import Client, LocalCluster

    values = np.random.default_rng(5).integers(1, 4, (90, 200)).astype(np.uint8)
    values[values == 3] = 255
    percent = make_map((values // 3).astype(np.uint8))
    objects = make_map(values.astype(np.int32) * 1000, _FillValue=255_000)
    expected = vectorize(make_map(values), confidence=percent, connectivity=8)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        by_address = vectorize(
            make_map(values), confidence=percent, connectivity=8, strip_rows=7, cluster=cluster.scheduler_address
        )
        assert_same(by_address, expected)
        with Client(cluster):  # an active client is used without being named
            lazy = vectorize(make_map(values).chunk(y=20), confidence=percent, connectivity=8, strip_rows=30)
            ids = pd.concat(iter_polygons(objects, strip_rows=64), ignore_index=True)
            with pytest.raises(MismatchError, match="rows 0\\.\\.6 "):
                vectorize(make_map(np.ones_like(values)), confidence=make_map(values), strip_rows=7)
    assert_same(lazy, expected)
    assert_same(ids, vectorize(objects))


def test_errors_come_from_threads_too():
    values = np.ones((40, 30), np.uint8)
    percent = np.full((40, 30), 90, np.uint8)
    percent[20, 3] = 255
    for threads in (1, 3):
        with pytest.raises(MismatchError, match="rows 20\\.\\.23 "):
            vectorize(make_map(values), confidence=make_map(percent), strip_rows=4, threads=threads)


def test_batches_are_the_whole(monkeypatch):
    monkeypatch.setattr(sys.modules["geoseg.polygons.batches"], "_BATCH", 100)
    values = np.random.default_rng(1).integers(1, 5, (90, 80)).astype(np.uint8)
    batches = list(iter_polygons(make_map(values), strip_rows=4))
    assert len(batches) > 5
    assert_same(pd.concat(batches, ignore_index=True), vectorize(make_map(values)))


def test_lazy_class_and_confidence_of_one_source_are_computed_once():
    computed = []

    def source(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    both = dask.array.random.default_rng(0).integers(1, 4, (2, 40, 30), chunks=(2, 10, 15))
    both = both.map_blocks(source, dtype=both.dtype, meta=np.empty((0, 0, 0), both.dtype)).astype(np.uint8)
    computed.clear()
    cover, percent = (make_map(np.zeros((40, 30), np.uint8)).copy(data=band) for band in both)
    parcels = vectorize(cover, confidence=percent)
    assert sorted(computed) == sorted({(0, i, j) for i in range(4) for j in range(2)})
    assert parcels.pixels.sum() == 40 * 30


def test_a_polygon_leaves_in_the_strip_after_its_last_row():
    values = np.full((40, 8), 255, np.uint8)
    values[3:5, 2:4] = 1
    values[6:30, 5] = 2
    left = [
        traced.values.tolist()
        for traced in trace_polygons(strips(values, 5), 8, dtype=values.dtype, nodata=255, connectivity=4)
    ]
    assert left == [[], [1], [], [], [], [], [2], [], []]


def test_memory_follows_what_is_open():
    """A tall map of closed polygons beside a river that never ends: the pool holds no more than the river."""
    pattern = np.random.default_rng(2).integers(1, 4, (64, 300)).astype(np.uint8)
    pattern[:, 140:150] = 9
    rules = Rules(nodata=255, eight=False)
    linker = Linker(rules)
    above = np.full(300, 255, np.uint8)
    sizes = []
    for row0 in range(0, 120 * 64, 64):
        [strip] = strips(pattern, 64)
        linker.add(*trace_strip(Job(strip, above, row0, rules)))
        above = pattern[-1]
        sizes.append(sum(table.nbytes for table in (linker.state.pool, linker.state.pieces, linker.state.regions)))
    river = 120 * 64 * 2 * 8 * 4
    assert sizes[-1] < max(sizes[:20]) + river
    assert linker.state.n_regions <= 301


def lace(height: int, width: int) -> np.ndarray:
    """One region with a hole in every fourth pixel."""
    values = np.ones((height, width), np.uint8)
    values[1:-1:2, 1:-1:2] = 2
    return values


@pytest.mark.parametrize("connectivity", [4, 8])
def test_one_region_with_very_many_holes(connectivity):
    seconds = []
    for height in (201, 801):
        values = lace(height, 1001)
        start = time.process_time()
        parts = list(
            trace_polygons(strips(values, 16), 1001, dtype=values.dtype, nodata=255, connectivity=connectivity)
        )
        seconds.append(time.process_time() - start)
    last = parts[-1]
    assert last.values.tolist() == [1]
    assert sum(len(shapes.ring_offsets) - 1 for shapes in last.shapes) == 400 * 500 + 1
    assert sum(traced.pixels.sum() for traced in parts) == values.size
    assert seconds[1] < 12 * seconds[0] + 0.5  # four times the holes: four times the work, not sixteen times


def test_a_spiral_that_opens_and_joins_in_every_strip():
    size = 41
    values = np.ones((size, size), np.uint8)
    row, col, step = 1, 0, size - 2
    direction = 0
    while step > 1:
        for _ in range(step):
            values[row, col] = 2
            row += (0, 1, 0, -1)[direction]
            col += (1, 0, -1, 0)[direction]
        direction = (direction + 1) % 4
        step -= 1 + (direction % 2 == 0)
    da = make_map(values)
    whole = vectorize(da, strip_rows=size)
    expected, classes = gdal_polygons(da, 4)
    assert as_set(whole.geometry, whole["class"]) == as_set(expected, classes)
    for rows in (1, 2, 3, 5):
        assert_same(vectorize(da, strip_rows=rows), whole)


def test_the_order_is_that_of_last_row_and_first_vertex():
    values = np.random.default_rng(4).integers(1, 4, (60, 70)).astype(np.uint8)
    parcels = vectorize(make_map(values), strip_rows=3)
    bounds = parcels.bounds
    first = [polygon.exterior.coords[0] for polygon in parcels.geometry]
    keys = [(-low, -y, x) for low, (x, y) in zip(bounds.miny, first, strict=True)]
    assert keys == sorted(keys)
    assert all(y == top for (_, y), top in zip(first, bounds.maxy, strict=True))
    holes = [[ring.coords[0] for ring in polygon.interiors] for polygon in parcels.geometry]
    assert all(starts == sorted(starts, key=lambda at: (-at[1], at[0])) for starts in holes)
    assert shapely.get_num_interior_rings(parcels.geometry.to_numpy()).max() > 1
