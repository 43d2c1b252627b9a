"""Class maps on disk: files that show themselves, and are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from maps import GEOGRAPHIC, LEGEND, ROTATED, UTM, grid, patchy
from odc.geo.xr import wrap_xr
from rasterio import Affine

from geoseg.areas import class_areas, with_no_data_row
from geoseg.classmap import (
    class_map,
    class_names,
    classes_of,
    geobox_of,
    open_class_map,
    write_class_map,
    write_confidence_map,
)
from geoseg.errors import OptionError, OutputError


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
        [sys.executable, "-c", _FULL_DISK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.strip().splitlines()
    assert len(lines) == 6
    assert all(line.startswith("refused: Cannot write") for line in lines), lines
    assert [item.name for item in tmp_path.iterdir()] == ["warm.tif"]


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
        run = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert run.returncode == 0, run.stderr
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 20_000  # KiB; the map grows by 32 MiB
