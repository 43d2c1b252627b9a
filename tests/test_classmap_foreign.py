"""Class maps of other people, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from maps import LEGEND, grid, patchy, write_raster

from geoseg.areas import class_areas
from geoseg.classes import ClassInfo
from geoseg.classmap import (
    class_map,
    class_names,
    classes_of,
    geobox_of,
    nodata_of,
    open_class_map,
    write_class_map,
)
from geoseg.errors import OptionError, SceneError


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


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    cover = class_map(patchy((1100, 1300)), grid((1100, 1300)), LEGEND)
    whole = write_class_map(cover, tmp_path / "whole.tif").read_bytes()
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
