"""Class maps: the convention, files that show themselves, and block files that are never half there."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine

from geoseg.areas import class_areas, with_no_data_row
from geoseg.classes import ClassInfo
from geoseg.classmap import (
    BlockWriter,
    class_map,
    class_names,
    classes_of,
    geobox_of,
    iter_strips,
    nodata_of,
    open_blocks,
    open_class_map,
    write_block,
    write_class_map,
    write_confidence_map,
)
from geoseg.errors import BlockError, OptionError, OutputError, SceneError

LEGEND = (
    ClassInfo(0, "bare land", "#d2b48c"),
    ClassInfo(1, "water & ice", "#1f6fb4"),
    ClassInfo(3, 'the "old" <wood>', "#228833"),
    ClassInfo(7, "Straße", "#ee3333"),
)
UTM = Affine(10, 0, 5e5, 0, -10, 5e6)
GEOGRAPHIC = Affine(1 / 3000, 0, 85.1234567, 0, -1 / 3000, 27.7)
ROTATED = Affine(10, 2, 5e5, 3, -10, 5e6)


def grid(shape: tuple[int, int], transform: Affine = UTM, crs: Any = "EPSG:32632") -> GeoBox:
    return GeoBox(shape, transform, crs)


def patchy(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Patches of the legend's classes with a hole of nodata."""
    rng = np.random.default_rng(seed)
    small = rng.choice(np.array([0, 1, 3, 7], np.uint8), size=(shape[0] // 16 + 1, shape[1] // 16 + 1))
    values = np.kron(small, np.ones((16, 16), np.uint8))[: shape[0], : shape[1]]
    values[: shape[0] // 4, : shape[1] // 3] = 255
    return values


# --- the convention -----------------------------------------------------------------------------------------------


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


# --- strips -------------------------------------------------------------------------------------------------------


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


# --- class maps on disk -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A map of 1100 × 1300 pixels on disk, with its areas."""
    folder = tmp_path_factory.mktemp("maps")
    values = patchy((1100, 1300))
    cover = class_map(values, grid((1100, 1300), GEOGRAPHIC, "EPSG:4326"), LEGEND)
    table = class_areas(cover)
    path = write_class_map(cover, folder / "classes.tif", areas=table)
    percent = np.where(values == 255, 255, np.arange(1300)[None, :] % 101).astype(np.uint8)
    confidence = write_confidence_map(wrap_xr(percent, cover.odc.geobox, nodata=255), folder / "confidence.tif")
    return {"values": values, "cover": cover, "table": table, "path": path, "percent": percent, "conf": confidence}


def test_a_written_map_is_a_cog_that_reads_back(written: dict[str, Any]) -> None:
    with rasterio.open(written["path"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), written["values"])
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.nodata == 255
        assert dataset.profile["compress"] == "deflate"
        assert dataset.colorinterp[0].name == "palette"
        for info in LEGEND:
            assert dataset.colormap(1)[info.value] == (*info.rgb, 255)
        assert dataset.descriptions == ("class",)
        assert dataset.transform == GEOGRAPHIC
    again = open_class_map(written["path"])
    assert classes_of(again) == LEGEND
    assert geobox_of(again) == geobox_of(written["cover"])
    np.testing.assert_array_equal(again.values, written["values"])
    assert class_areas(again).equals(written["table"])
    assert sorted(item.name for item in written["path"].parent.iterdir()) == [
        "classes.qml", "classes.tif", "classes.tif.aux.xml", "confidence.qml", "confidence.tif",
    ]  # fmt: skip


def test_overviews_hold_classes_never_averages(written: dict[str, Any]) -> None:
    with rasterio.open(written["path"]) as dataset:
        factors = dataset.overviews(1)
        assert factors
    for level, factor in enumerate(factors):
        with rasterio.open(written["path"], overview_level=level) as dataset:
            small = dataset.read(1)
        assert set(np.unique(small)) == {0, 1, 3, 7, 255}
        if factor <= 8:  # patches are 16 pixels wide: a pixel of the overview lies within one patch
            n = 1056 // factor, 1296 // factor
            exact = written["values"][factor // 2 :: factor, factor // 2 :: factor][: n[0], : n[1]]
            assert (small[: n[0], : n[1]] == exact).mean() > 0.9


def test_the_raster_table_agrees_with_the_areas(written: dict[str, Any]) -> None:
    """Promise 4: raster, table and (elsewhere) polygons say the same, to the last digit."""
    root = ElementTree.parse(f"{written['path']}.aux.xml").getroot()
    table = root.find("PAMRasterBand/GDALRasterAttributeTable")
    assert table is not None
    names = [field.findtext("Name") for field in table.findall("FieldDefn")]
    assert names == ["Value", "class_name", "Red", "Green", "Blue", "Count", "area_m2", "area_ha"]
    rows = [[cell.text for cell in row.findall("F")] for row in table.findall("Row")]
    for row, expected in zip(rows, written["table"].itertuples(index=False), strict=True):
        assert (int(row[0]), row[1], int(row[5])) == expected[:3]
        assert (float(row[6]), float(row[7])) == (expected.area_m2, expected.area_ha)
    assert [tuple(map(int, row[2:5])) for row in rows] == [info.rgb for info in LEGEND]


def test_gdal_shows_names_colours_and_table(written: dict[str, Any]) -> None:
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is not installed")
    text = subprocess.run(["gdalinfo", "-json", written["path"]], capture_output=True, check=True, text=True).stdout
    info = json.loads(text)
    band = info["bands"][0]
    assert band["description"] == "class"
    assert band["colorTable"]["entries"][3] == [*LEGEND[2].rgb, 255]
    assert 'the "old" <wood>' in json.dumps(info, ensure_ascii=False).replace('\\"', '"')
    plain = subprocess.run(["gdalinfo", written["path"]], capture_output=True, check=True, text=True).stdout
    assert "1: water & ice" in plain
    assert "7: Straße" in plain
    assert "<Name>area_m2</Name>" in plain


@pytest.mark.qgis
def test_qgis_shows_names_and_colours_at_once(written: dict[str, Any]) -> None:
    script = """
import json, os, sys
from qgis.core import QgsApplication, QgsRasterLayer
app = QgsApplication([], False)
app.initQgis()
palette, ramp = (QgsRasterLayer(path, "layer") for path in sys.argv[1:])
print(json.dumps({
    "palette": [palette.renderer().type(), [[c.value, c.label, c.color.name()] for c in palette.renderer().classes()]],
    "ramp": [ramp.renderer().type(), [item.value for item in
             ramp.renderer().shader().rasterShaderFunction().colorRampItemList()]],
}), flush=True)
os._exit(0)  # tearing QGIS down with layers alive may crash it
"""
    python = "/usr/bin/python3"
    if not Path(python).exists() or subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode:
        pytest.skip("QGIS's Python is not installed")
    command = [python, "-c", script, str(written["path"]), str(written["conf"])]
    env = {"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    output = subprocess.run(command, capture_output=True, check=True, text=True, env=env).stdout
    shown = json.loads(output.strip().splitlines()[-1])
    assert shown["palette"] == ["paletted", [[info.value, info.name, info.color] for info in LEGEND]]
    assert shown["ramp"][0] == "singlebandpseudocolor"
    assert shown["ramp"][1][0] == 0
    assert shown["ramp"][1][-1] == 100


def test_confidence_reads_back_with_averaged_overviews(written: dict[str, Any]) -> None:
    with rasterio.open(written["conf"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), written["percent"])
        assert (dataset.nodata, dataset.units, dataset.descriptions) == (255, ("percent",), ("confidence",))
        assert dataset.overviews(1)
    with rasterio.open(written["conf"], overview_level=0) as dataset:
        small = dataset.read(1)
    inside = small[400:, 5:45]
    expected = written["percent"][800:1100:2, 10:90].reshape(-1, 40, 2).mean(axis=2)
    np.testing.assert_allclose(inside[:150], expected, atol=1)


def test_bytes_do_not_depend_on_chunks(tmp_path: Path) -> None:
    values = patchy((700, 900))
    files = []
    for index, chunks in enumerate([None, (100, 333), (699, 450), (7, 900)]):
        data: Any = values if chunks is None else da.from_array(values, chunks=chunks)
        folder = tmp_path / str(index)
        folder.mkdir()
        cover = class_map(data, grid((700, 900)), LEGEND)
        write_class_map(cover, folder / "classes.tif", areas=class_areas(cover))
        files.append({item.name: item.read_bytes() for item in folder.iterdir()})
    assert all(found == files[0] for found in files)


def test_classes_without_a_legend_are_kept(tmp_path: Path) -> None:
    values = np.array([[0, 9], [255, 200]], np.uint8)
    path = write_class_map(class_map(values, grid((2, 2)), LEGEND[:1]), tmp_path / "classes.tif")
    again = open_class_map(path)
    assert class_names(again) == {0: "bare land", 9: "class 9", 200: "class 200"}
    np.testing.assert_array_equal(again.values, values)


def test_a_copy_without_its_sidecar_keeps_the_legend(written: dict[str, Any], tmp_path: Path) -> None:
    alone = Path(shutil.copy(written["path"], tmp_path / "alone.tif"))
    assert classes_of(open_class_map(alone)) == LEGEND


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (511, 513)])
@pytest.mark.parametrize("transform", [UTM, ROTATED])
def test_any_shape_and_grid(shape: tuple[int, int], transform: Affine, tmp_path: Path) -> None:
    cover = class_map(patchy(shape), grid(shape, transform), LEGEND)
    again = open_class_map(write_class_map(cover, tmp_path / "classes.tif"))
    np.testing.assert_array_equal(again.values, cover.values)
    assert geobox_of(again) == geobox_of(cover)


def test_all_nodata(tmp_path: Path) -> None:
    cover = class_map(np.full((600, 20), 255, np.uint8), grid((600, 20)), LEGEND)
    again = open_class_map(write_class_map(cover, tmp_path / "classes.tif", areas=class_areas(cover)))
    assert (again.values == 255).all()
    assert classes_of(again) == LEGEND


def test_the_table_may_have_its_no_data_row(tmp_path: Path) -> None:
    cover = class_map(patchy((40, 40)), grid((40, 40)), LEGEND)
    table = class_areas(cover)
    texts = []
    for areas in (table, with_no_data_row(table)):
        path = write_class_map(cover, tmp_path / "classes.tif", areas=areas, overwrite=True)
        texts.append(Path(f"{path}.aux.xml").read_text())
    assert texts[0] == texts[1]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    cover = class_map(patchy((20, 20)), grid((20, 20)), LEGEND)
    path.write_text("mine")
    for write in (write_class_map, write_confidence_map):
        with pytest.raises(OutputError, match="--overwrite"):
            write(cover, path)
    assert path.read_text() == "mine"
    write_class_map(cover, path, overwrite=True)
    assert classes_of(open_class_map(path)) == LEGEND


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    cover = class_map(patchy((20, 20)), grid((20, 20)), LEGEND)
    with pytest.raises(OutputError, match="Create the folder"):
        write_class_map(cover, tmp_path / "no" / "classes.tif")
    other = class_areas(class_map(np.zeros((20, 20), np.uint8), grid((20, 20)), LEGEND))
    with pytest.raises(OptionError, match=r"same map.*class 0"):
        write_class_map(cover, tmp_path / "classes.tif", areas=other)
    with pytest.raises(OptionError, match="Renumber"):
        write_class_map(wrap_xr(np.zeros((20, 20), np.int16), grid((20, 20))), tmp_path / "classes.tif")
    with pytest.raises(OptionError, match=r"0\.\.100.*but 101"):
        write_confidence_map(
            wrap_xr(np.full((20, 20), 101, np.uint8), grid((20, 20)), nodata=255), tmp_path / "confidence.tif"
        )

    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("the model broke")

    broken = cover.copy(data=da.from_array(cover.values).map_blocks(fail, dtype=np.uint8, meta=np.empty((0, 0))))
    with pytest.raises(RuntimeError, match="the model broke"):
        write_class_map(broken, tmp_path / "classes.tif")
    assert list(tmp_path.iterdir()) == []


_FULL_DISK = """
import resource, signal, sys
import numpy as np
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine
from geoseg.classmap import class_map, write_block, write_class_map, write_confidence_map
from geoseg.errors import OutputError

grid = GeoBox((2000, 2000), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
noise = np.random.default_rng(0).integers(0, 100, (2000, 2000)).astype(np.uint8)
write_block("warm.tif", np.zeros((2, 1, 1), np.uint8), grid[:1, :1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (300_000, 3_300_000):  # the strips do not fit; the strips fit, but not the map
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for write in (
        lambda: write_class_map(class_map(noise, grid, []), "classes.tif"),
        lambda: write_confidence_map(wrap_xr(noise, grid, nodata=255), "confidence.tif"),
        lambda: write_block("block.tif", np.stack([noise, noise]), grid),
    ):
        try:
            write()
        except OutputError as error:
            print("refused:", error)
        else:
            print("written")
"""


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FULL_DISK], cwd=tmp_path, capture_output=True, text=True, env=_environment()
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.strip().splitlines()
    assert len(lines) == 6
    assert all(line.startswith("refused: Cannot write") for line in lines), lines
    assert [item.name for item in tmp_path.iterdir()] == ["warm.tif"]


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


# --- maps of other people -----------------------------------------------------------------------------------------


def write_raster(path: Path, values: np.ndarray, **options: Any) -> Path:
    bands = values if values.ndim == 3 else values[None]
    mask = options.pop("mask", None)
    profile = {"driver": "GTiff", "crs": "EPSG:32632", "transform": UTM, **options}
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype, **profile
    ) as dataset:
        dataset.write(bands)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def test_nodata_becomes_255_in_uint8(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 0]], np.uint8)
    zero = open_class_map(write_raster(tmp_path / "a.tif", values, nodata=0))
    assert zero.values.tolist() == [[255, 1], [2, 255]]
    assert nodata_of(zero) == 255
    none = open_class_map(write_raster(tmp_path / "b.tif", values))
    assert none.values.tolist() == values.tolist()
    masked = open_class_map(write_raster(tmp_path / "c.tif", values, mask=np.array([[False, True], [True, True]])))
    assert masked.values.tolist() == [[255, 1], [2, 0]]
    alpha = np.stack([values, np.array([[0, 255], [255, 255]], np.uint8)])
    path = write_raster(tmp_path / "d.tif", alpha, photometric="MINISBLACK", alpha="YES")
    assert open_class_map(path).values.tolist() == [[255, 1], [2, 0]]


def test_a_class_255_is_never_taken_for_nodata_silently(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[0, 255]], np.uint8), nodata=0)
    with pytest.raises(SceneError, match=r"also uses it for a class.*Renumber"):
        open_class_map(path).compute()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32])
def test_wider_types_keep_their_values(dtype: type, tmp_path: Path) -> None:
    values = np.array([[7, 300], [2000, 7]], dtype)
    plain = open_class_map(write_raster(tmp_path / "a.tif", values, nodata=7))
    assert plain.dtype == dtype
    assert plain.values.tolist() == values.tolist()
    assert nodata_of(plain) == 7
    masked = open_class_map(write_raster(tmp_path / "b.tif", values, mask=np.array([[True, False], [True, True]])))
    assert masked.values.tolist() == [[7, np.iinfo(dtype).max], [2000, 7]]
    assert class_areas(masked)["pixels"].tolist() == [2, 1]


def test_floats_with_whole_values(tmp_path: Path) -> None:
    values = np.array([[1, np.nan, -3.4e38], [3, 300, 3]], np.float32)
    cover = open_class_map(write_raster(tmp_path / "a.tif", values, nodata=-3.4e38))
    assert cover.dtype == np.int32
    table = class_areas(cover)
    assert table["class"].tolist() == [1, 3, 300]
    assert table.attrs["invalid_pixels"] == 2
    with pytest.raises(SceneError, match="not a measurement"):
        open_class_map(write_raster(tmp_path / "b.tif", np.array([[0.5]], np.float32))).compute()
    with pytest.raises(SceneError, match="complex64"):
        open_class_map(write_raster(tmp_path / "c.tif", np.array([[1]], np.complex64)))


def test_several_bands_need_a_choice(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    with pytest.raises(SceneError, match=r"has 3\. Choose one with --band"):
        open_class_map(path)
    assert open_class_map(path, band=3).values.tolist() == [[8, 9], [10, 11]]
    with pytest.raises(OptionError, match=r"bands 1\.\.3, but --band is 4"):
        open_class_map(path, band=4)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_place_on_the_earth_is_needed(tmp_path: Path) -> None:
    values = np.zeros((2, 2), np.uint8)
    path = write_raster(tmp_path / "a.tif", values, crs=None)
    with pytest.raises(SceneError, match="--crs"):
        open_class_map(path)
    assert geobox_of(open_class_map(path, crs="EPSG:32633")).crs.epsg == 32633
    with pytest.raises(SceneError, match="neither origin nor pixel size"):
        open_class_map(write_raster(tmp_path / "b.tif", values, crs=None, transform=None), crs="EPSG:32632")
    points = [rasterio.control.GroundControlPoint(row, col, col, -row) for row in (0, 2) for col in (0, 2)]
    with rasterio.open(tmp_path / "c.tif", "w", driver="GTiff", count=1, height=2, width=2, dtype="uint8") as dataset:
        dataset.write(values, 1)
        dataset.gcps = (points, rasterio.CRS.from_epsg(4326))
    with pytest.raises(SceneError, match="gdalwarp"):
        open_class_map(tmp_path / "c.tif")


def test_what_is_no_raster_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no raster")
    for path in (tmp_path / "a.tif", tmp_path / "missing.tif", tmp_path):
        with pytest.raises(SceneError, match="raster that GDAL can open"):
            open_class_map(path)


def test_a_truncated_file_is_an_error(written: dict[str, Any], tmp_path: Path) -> None:
    whole = written["path"].read_bytes()
    for part in (0.3, 0.6, 0.9):
        path = tmp_path / "cut.tif"
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(SceneError, match=r"damaged|can open"):
            open_class_map(path).compute()


_TABLE = """<GDALRasterAttributeTable {attributes}>
  {value}<FieldDefn index="1"><Name>Histogram</Name><Type>1</Type><Usage>1</Usage></FieldDefn>
  <FieldDefn index="2"><Name>Red</Name><Type>0</Type><Usage>6</Usage></FieldDefn>
  <FieldDefn index="3"><Name>Green</Name><Type>0</Type><Usage>7</Usage></FieldDefn>
  <FieldDefn index="4"><Name>Blue</Name><Type>0</Type><Usage>8</Usage></FieldDefn>
  <FieldDefn index="5"><Name>Land Cover</Name><Type>2</Type><Usage>0</Usage></FieldDefn>
  {rows}
</GDALRasterAttributeTable>"""


def _beside(path: Path, band: str) -> None:
    Path(f"{path}.aux.xml").write_text(f'<PAMDataset><PAMRasterBand band="1">{band}</PAMRasterBand></PAMDataset>')


def test_legends_from_attribute_tables(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[11, 21], [11, 12]], np.uint8))
    value = '<FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>'
    rows = (
        '<Row index="0"><F>11</F><F>2</F><F>70</F><F>107</F><F>159</F><F>Open Water</F></Row>'
        '<Row index="1"><F>12</F><F>1</F><F>209</F><F>222</F><F>248</F><F/></Row>'
        '<Row index="2"><F>21</F><F>1</F><F>222</F><F>197</F><F>197</F><F>Open Water</F></Row>'
    )
    _beside(path, _TABLE.format(attributes="", value=value, rows=rows))
    assert classes_of(open_class_map(path)) == (
        ClassInfo(11, "Open Water (11)", "#466b9f"),
        ClassInfo(21, "Open Water (21)", "#dec5c5"),
    )
    # As Erdas Imagine has it: the row is the value.
    rows = "".join(
        f'<Row index="{i}"><F>9</F><F>128</F><F>255</F><F>0</F><F>{name}</F></Row>'
        for i, name in enumerate(["a", "", "c"])
    )
    _beside(path, _TABLE.format(attributes='Row0Min="10" BinSize="1"', value="", rows=rows))
    assert classes_of(open_class_map(path)) == (ClassInfo(10, "a", "#80ff00"), ClassInfo(12, "c", "#80ff00"))


def test_legends_from_category_names_and_colour_tables(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[1, 2]], np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {1: (1, 2, 3, 255), 2: (255, 0, 0, 255)})
    colours_only = open_class_map(path)
    assert classes_of(colours_only) == ()
    assert classes_of(colours_only, values=[2]) == (ClassInfo(2, "class 2", "#ff0000"),)
    _beside(path, "<CategoryNames><Category/><Category>sea</Category><Category>ice</Category></CategoryNames>")
    assert classes_of(open_class_map(path)) == (ClassInfo(1, "sea", "#010203"), ClassInfo(2, "ice", "#ff0000"))
    vrt = tmp_path / "a.vrt"
    rasterio.shutil.copy(path, vrt, driver="VRT")
    assert class_names(open_class_map(vrt)) == {1: "sea", 2: "ice"}


def test_a_map_whose_nodata_stands_beside_it_is_copied_right(tmp_path: Path) -> None:
    """PNG keeps nodata and origin in ``.aux.xml``, which must be read while something else is written."""
    values = patchy((40, 40)) % 8  # 255 becomes 7, the nodata value here
    path = write_raster(tmp_path / "a.png", values, driver="PNG", nodata=7)
    cover = open_class_map(path)
    copy = open_class_map(write_class_map(cover, tmp_path / "classes.tif", areas=class_areas(cover)))
    np.testing.assert_array_equal(copy.values, np.where(values == 7, 255, values))
    assert (copy.values == 255).any()


@pytest.mark.data
def test_real_maps_of_other_people(data_dir: Path, tmp_path: Path) -> None:
    nlcd = open_class_map(data_dir / "classmaps" / "nlcd_zion.tif")
    table = class_areas(nlcd)
    with rasterio.open(data_dir / "classmaps" / "nlcd_zion.tif") as dataset:
        expected, colors = dataset.read(1), dataset.colormap(1)
    np.testing.assert_array_equal(nlcd.values, expected)
    assert table["pixels"].tolist() == np.bincount(expected.ravel())[1:].tolist()
    path = write_class_map(nlcd, tmp_path / "nlcd.tif", areas=table)
    for info in classes_of(open_class_map(path)):
        assert info.rgb == colors[info.value][:3]
    prodes = open_class_map(next((data_dir / "prodes").glob("*.tif")))
    assert class_areas(prodes)["class"].tolist() == [1, 11, 16, 17, 27, 29, 32, 33]


# --- block files --------------------------------------------------------------------------------------------------


def write_blocks(folder: Path, classes: np.ndarray, confidence: np.ndarray, rows: list, cols: list) -> list:
    whole, blocks = grid(classes.shape), []
    for row0, row1 in zip(rows, [*rows[1:], classes.shape[0]], strict=True):
        for col0, col1 in zip(cols, [*cols[1:], classes.shape[1]], strict=True):
            window = slice(row0, row1), slice(col0, col1)
            path = folder / f"{row0}_{col0}.tif"
            write_block(path, np.stack([classes[window], confidence[window]]), whole[window])
            blocks.append((path, row0, col0))
    return blocks


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_blocks_make_up_the_map(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 700), st.integers(1, 60)))
    rows, cols = (sorted({0, *data.draw(st.lists(st.integers(0, size - 1), max_size=3))}) for size in shape)
    rng = np.random.default_rng(0)
    classes, confidence = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    blocks = write_blocks(tmp_path_factory.mktemp("blocks"), classes, confidence, rows, cols)
    cover = open_blocks(data.draw(st.permutations(blocks)), grid(shape), LEGEND)
    np.testing.assert_array_equal(cover["class"].values, classes)
    np.testing.assert_array_equal(cover["confidence"].values, confidence)
    assert geobox_of(cover["class"]) == geobox_of(cover["confidence"]) == grid(shape)
    assert classes_of(cover["class"]) == LEGEND
    assert cover["class"].data.chunks[1] == (shape[1],)


def test_rows_may_come_in_any_portions(tmp_path: Path) -> None:
    classes, confidence = np.random.default_rng(0).integers(0, 256, (2, 333, 70)).astype(np.uint8)
    with BlockWriter(tmp_path / "a.tif", grid((333, 70))) as writer:
        for start, stop in [(0, 1), (1, 100), (100, 164), (164, 333)]:
            writer.write(start, classes[start:stop], confidence[start:stop])
            assert not (tmp_path / "a.tif").exists()
    cover = open_blocks([(tmp_path / "a.tif", 0, 0)], grid((333, 70)), LEGEND)
    np.testing.assert_array_equal(cover["class"].values, classes)
    np.testing.assert_array_equal(cover["confidence"].values, confidence)


def test_a_block_is_never_half_there(tmp_path: Path) -> None:
    row = np.zeros((1, 5), np.uint8)
    path = tmp_path / "a.tif"
    with pytest.raises(BlockError, match="has 1 of 3 rows"), BlockWriter(path, grid((3, 5))) as writer:
        writer.write(0, row, row)
    with pytest.raises(ZeroDivisionError), BlockWriter(path, grid((3, 5))) as writer:
        writer.write(1 // 0, row, row)
    for offset, classes in [(1, row), (0, row[:, :4]), (0, row.astype(np.int16)), (0, np.zeros((4, 5), np.uint8))]:
        with pytest.raises(BlockError, match="top to bottom"), BlockWriter(path, grid((3, 5))) as writer:
            writer.write(offset, classes, classes)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="Create the folder"):
        write_block(tmp_path / "no" / "a.tif", np.zeros((2, 1, 5), np.uint8), grid((1, 5)))


def test_damaged_blocks_are_errors_never_zeros(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    classes, confidence = rng.integers(0, 8, (2, 300, 200)).astype(np.uint8)
    blocks = write_blocks(tmp_path, classes, confidence, [0, 150], [0])
    path = Path(blocks[1][0])
    whole = path.read_bytes()

    def read() -> None:
        for name in ("class", "confidence"):
            open_blocks(blocks, grid((300, 200)), LEGEND)[name].compute()

    read()
    for size in [0, 1, 100, *range(500, len(whole), len(whole) // 12), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(SceneError, match=r"150_0.tif cannot be read.*run again"):
            read()
    path.write_bytes(whole[:2000] + bytes(len(whole) - 4000) + whole[-2000:])  # as a crash of the machine leaves it
    with pytest.raises(SceneError, match="cannot be read"):
        read()
    write_block(path, np.zeros((2, 150, 199), np.uint8), grid((150, 199)))
    with pytest.raises(SceneError, match="150 × 200 pixels, but has 150 × 199"):
        read()
    cover = open_blocks(blocks, grid((300, 200)), LEGEND)
    path.unlink()
    with pytest.raises(SceneError, match="cannot be read"):
        cover["class"].compute()
    with pytest.raises(SceneError, match="1 are not"):
        open_blocks(blocks, grid((300, 200)), LEGEND)


def test_blocks_must_cover_the_map(tmp_path: Path) -> None:
    classes = np.zeros((30, 20), np.uint8)
    blocks = write_blocks(tmp_path, classes, classes, [0, 10], [0, 7])
    for wrong in (blocks[:3], blocks[2:], []):
        with pytest.raises(OptionError, match="cover the whole map"):
            open_blocks(wrong, grid((30, 20)), LEGEND)
    with pytest.raises(SceneError, match="30 × 20 pixels, but has 10 × 7"):
        open_blocks(blocks[:1], grid((30, 20)), LEGEND)["class"].compute()


def test_other_processes_can_read(tmp_path: Path) -> None:
    classes = patchy((600, 50))
    blocks = write_blocks(tmp_path, classes, classes, [0, 250], [0, 20])
    cover = open_blocks(blocks, grid((600, 50)), LEGEND)["class"]
    file = open_class_map(write_class_map(cover, tmp_path / "classes.tif"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for lazy in (cover, file):
            assert len(pickle.dumps(lazy.data)) < 20_000
            sums = pool.map(_sum, [pickle.dumps(lazy.data)])
            assert sums == [int(classes.sum(dtype=np.int64))]


def _sum(pickled: bytes) -> int:
    return int(pickle.loads(pickled).sum(dtype=np.int64).compute(scheduler="synchronous"))


_PEAK = """
import resource, sys
import dask.array as da
from odc.geo.geobox import GeoBox
from rasterio import Affine
from geoseg.areas import class_areas, with_no_data_row
from geoseg.classmap import class_map, write_class_map
import numpy as np

rows = int(sys.argv[1])
def stripes(block_info=None):
    (start, stop), _ = block_info[None]["array-location"]
    return np.repeat((np.arange(start, stop) // 7 % 5).astype(np.uint8)[:, None], 4096, axis=1)
data = da.map_blocks(stripes, chunks=((512,) * (rows // 512), (4096,)), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
cover = class_map(data, GeoBox((rows, 4096), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632"), [])
write_class_map(cover, "classes.tif", areas=class_areas(cover), overwrite=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_flat(tmp_path: Path) -> None:
    peaks = []
    for rows in (8192, 16384):
        command = [sys.executable, "-c", _PEAK, str(rows)]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=_environment())
        assert run.returncode == 0, run.stderr
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 20_000  # KiB; the map grows by 32 MiB
