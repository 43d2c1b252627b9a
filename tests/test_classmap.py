"""The convention for class maps, and their strips."""

from __future__ import annotations

import threading
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import GEOGRAPHIC, LEGEND, ROTATED, UTM, grid
from rasterio import Affine

from geoseg.classes import ClassInfo
from geoseg.classmap import (
    class_map,
    class_names,
    classes_of,
    geobox_of,
    iter_strips,
    nodata_of,
)
from geoseg.errors import OptionError, SceneError


@pytest.mark.parametrize(
    ("transform", "crs", "dims"),
    [
        (UTM, "EPSG:32632", ("y", "x")),
        (GEOGRAPHIC, "EPSG:4326", ("latitude", "longitude")),
        (ROTATED, "EPSG:32632", ("y", "x")),
        (Affine(10, 0, 5e5, 0, 10, 5e6), "EPSG:32632", ("y", "x")),
    ],
)
@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (1, 1)])
def test_a_map_keeps_its_grid_and_its_legend(transform: Affine, crs: str, dims: tuple, shape: tuple) -> None:
    cover = class_map(np.zeros(shape, np.uint8), grid(shape, transform, crs), LEGEND)
    assert geobox_of(cover) == grid(shape, transform, crs)
    assert cover.dims == dims
    assert classes_of(cover) == LEGEND
    assert class_names(cover)[3] == 'the "old" <wood>'
    assert nodata_of(cover) == 255
    assert cover.attrs["flag_values"].dtype == np.uint8
    assert len(cover.attrs["flag_meanings"].split()) == len(LEGEND)


@pytest.mark.parametrize("transform", [UTM, ROTATED])
def test_cutting_a_map_cuts_its_grid(transform: Affine) -> None:
    whole = grid((40, 50), transform)
    part = class_map(np.zeros((40, 50), np.uint8), whole, LEGEND)[7:20, 11:30]
    np.testing.assert_allclose(geobox_of(part).transform, whole[7:20, 11:30].transform, rtol=1e-12, atol=1e-6)


def test_foreign_legends() -> None:
    def names(**attrs: Any) -> dict[int, str]:
        return class_names(xr.DataArray(np.zeros((2, 2), np.uint8), attrs=attrs))

    assert names() == {}
    assert names(flag_values=[1, 2], flag_meanings="tree_cover built-up") == {1: "tree cover", 2: "built-up"}
    assert names(flag_values=np.uint8(4), flag_meanings="one") == {4: "one"}
    assert names(flag_values=[1, 255], flag_meanings="one none", _FillValue=255) == {1: "one"}
    with pytest.raises(SceneError, match="flag_values has 2 and flag_meanings 1"):
        names(flag_values=[1, 2], flag_meanings="one")
    wide = xr.DataArray(
        np.zeros((2, 2), np.int16),
        attrs={"flag_values": [-1, 10, 2000], "flag_meanings": "cloud a b", "flag_colors": "#000000 #111111 #222222"},
    )
    assert class_names(wide) == {-1: "cloud", 10: "a", 2000: "b"}
    assert classes_of(wide) == (ClassInfo(10, "a", "#111111"),)
    assert [info.name for info in classes_of(wide, values=[10, 12])] == ["a", "class 12"]


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(OptionError, match="uint8 and as large as its grid"):
        class_map(np.zeros((3, 3), np.int16), grid((3, 3)), LEGEND)
    with pytest.raises(OptionError, match=r"4 × 3.*uint8 \(3, 3\)"):
        class_map(np.zeros((3, 3), np.uint8), grid((4, 3)), LEGEND)
    with pytest.raises(OptionError, match="name of its own"):
        class_map(np.zeros((3, 3), np.uint8), grid((3, 3)), [ClassInfo(0, "a"), ClassInfo(1, "a")])
    with pytest.raises(SceneError, match=r"has 3: \('band'.*squeeze"):
        geobox_of(class_map(np.zeros((3, 3), np.uint8), grid((3, 3)), LEGEND).expand_dims("band"))
    with pytest.raises(SceneError, match="regular grid"):
        geobox_of(xr.DataArray(np.zeros((3, 3), np.uint8)))
    with pytest.raises(SceneError, match="--crs"):
        geobox_of(xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]}))


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 20)),
    chunks=st.none() | st.tuples(st.integers(1, 60), st.integers(1, 20)),
    rows=st.integers(1, 70),
)
@settings(max_examples=50, deadline=None)
def test_strips_are_the_map_and_each_chunk_is_computed_once(shape: tuple, chunks: tuple | None, rows: int) -> None:
    values = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    calls: list[int] = []

    def count(block: np.ndarray) -> np.ndarray:
        calls.append(int(block[0, 0]))
        return block

    data: Any = values
    if chunks is not None:
        data = da.from_array(values, chunks=chunks).map_blocks(count, dtype=values.dtype, meta=values[:0, :0])
    strips = list(iter_strips(xr.DataArray(data), rows=rows))
    assert [row0 for row0, _ in strips] == np.cumsum([0] + [len(strip) for _, strip in strips])[:-1].tolist()
    assert all(0 < len(strip) <= rows and strip.flags.c_contiguous for _, strip in strips)
    np.testing.assert_array_equal(np.concatenate([strip for _, strip in strips]), values)
    assert len(calls) == len(set(calls)) == (0 if chunks is None else data.npartitions)


def test_strips_read_one_ahead_and_stop_when_left() -> None:
    running = threading.active_count()
    started: list[int] = []

    def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        started.append(block_info[0]["chunk-location"][0])
        return block

    data = da.zeros((100, 4), chunks=(10, 4), dtype=np.uint8).map_blocks(note, dtype=np.uint8, meta=np.empty((0, 0)))
    strips = iter_strips(xr.DataArray(data), rows=10)
    next(strips)
    next(strips)
    strips.close()
    assert max(started) <= 3
    assert threading.active_count() <= running + dask.system.CPU_COUNT  # Dask's own pool stays


def test_a_chunk_that_fails_stops_the_strips() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("no such luck")

    data = da.zeros((10, 4), chunks=(5, 4)).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(RuntimeError, match="no such luck"):
        list(iter_strips(xr.DataArray(data)))
    with pytest.raises(OptionError, match="at least one row"):
        next(iter_strips(xr.DataArray(np.zeros((2, 2))), rows=0))
