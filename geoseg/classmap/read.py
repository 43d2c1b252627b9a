"""Class maps from disk: any raster of whole numbers, with the names and colours that it carries."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from geoseg.classes import NODATA
from geoseg.classmap.convention import flag_attrs
from geoseg.classmap.lazy import lazy_array
from geoseg.errors import OptionError, SceneError

__all__ = ["choose_band", "grid_of", "open_class_map"]

_CHUNK_ROWS = 512
_NAME_COLUMNS = (
    "class_name",
    "class name",
    "classname",
    "class_names",
    "class",
    "name",
    "category",
    "label",
    "land cover",
)


def open_class_map(path: str | os.PathLike[str], *, band: int | None = None, crs: Any = None) -> xr.DataArray:
    """Open a categorical raster, lazily, with its legend.

    Names and colours come from what geoseg wrote into the file, or else from the raster attribute table, the
    category names and the colour table that GDAL finds in or beside it. Without names the values are called
    "class N".

    Nodata becomes 255 in a uint8 map. A wider map keeps its values and its nodata value (``_FillValue``; where
    the file has a mask but no nodata value, the highest value of the type). Floats with whole values become
    int32, and NaN the lowest int32.

    Parameters
    ----------
    path
        A raster that GDAL can open.
    band
        The band, from 1; needed where there are several.
    crs
        The CRS, where the file has none (or a wrong one: this one wins).

    Returns
    -------
    DataArray
        (row, col), backed by Dask with full-width chunks; nothing is read yet but the legend.

    Raises
    ------
    SceneError
        Not a raster, damaged, no CRS, several bands and none chosen, no whole numbers. Damage and fractions may
        show only when pixels are read; so does a class 255 in a uint8 map with another nodata value.
    OptionError
        The file has no such band.

    Examples
    --------
    >>> open_class_map("missing.tif")
    Traceback (most recent call last):
    geoseg.errors.SceneError: A class map is a raster that GDAL can open, but ...
    """
    path = str(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # grid_of says it
            opened = rasterio.open(path)
        with opened as dataset:
            number = choose_band(dataset, band, path)
            geobox = grid_of(dataset, crs, path)
            entries, colors = _legend(dataset, number)
            reader = _reader(dataset, number, path)
            block_rows = dataset.block_shapes[number - 1][0]
    except rasterio.errors.RasterioIOError as error:
        raise SceneError(
            f"A class map is a raster that GDAL can open, but {path} is not ({error}). Check the path and the file."
        ) from error
    rows = max(block_rows, _CHUNK_ROWS // block_rows * block_rows)
    result = wrap_xr(lazy_array(reader, min(rows, geobox.shape[0])), geobox).rename("class")
    result.attrs = {"long_name": "class"}
    if reader.nodata is not None:
        result.attrs["_FillValue"] = reader.nodata
    if entries:
        result.attrs.update(flag_attrs(entries, reader.dtype))
    elif colors:
        result.attrs["color_table"] = colors
    return result


def choose_band(dataset: Any, band: int | None, path: str) -> int:
    bands = [index for index, kind in zip(dataset.indexes, dataset.colorinterp, strict=True) if kind.name != "alpha"]
    if band is None and len(bands) != 1:
        raise SceneError(f"A class map has one band, but {path} has {dataset.count}. Choose one with --band (band=).")
    number = bands[0] if band is None else band
    if number not in dataset.indexes:
        raise OptionError(f"{path} has the bands 1..{dataset.count}, but --band is {number}.")
    return number


def grid_of(dataset: Any, crs: Any, path: str) -> GeoBox:
    if crs is None and dataset.crs is None:
        why = "only ground control points: warp it first (gdalwarp)" if dataset.gcps[0] else "none: give it with --crs"
        raise SceneError(f"A class map needs a CRS, but {path} has {why}.")
    if dataset.transform.is_identity:
        raise SceneError(
            f"A class map needs a place, but {path} has neither origin nor pixel size. Give them with gdal_edit.py "
            "or gdal_translate -a_ullr."
        )
    return GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt() if crs is None else crs)


@dataclass(frozen=True)
class _FileRows:
    """Reads rows of a band as integers, with nodata in one value."""

    path: str
    band: int
    shape: tuple[int, int]
    dtype: np.dtype
    nodata: int | None
    """The value of invalid pixels in what is read."""
    masked: bool
    """Whether the file says which pixels are invalid."""

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        window = ((start, stop), (0, self.shape[1]))
        try:
            with rasterio.open(self.path) as dataset:
                values = dataset.read(self.band, window=window)
                valid = dataset.read_masks(self.band, window=window) != 0 if self.masked else None
        except rasterio.errors.RasterioError as error:
            raise SceneError(f"{self.path} cannot be read ({error}): the file is damaged. Get it again.") from error
        return self._as_integers(values, valid)

    def _as_integers(self, values: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        if values.dtype.kind == "f":
            missing = np.isnan(values) if valid is None else np.isnan(values) | ~valid
            values = np.where(missing, float(self.nodata or 0), values)
            limits = np.iinfo(self.dtype)
            if ((values != np.rint(values)) | (values < limits.min) | (values > limits.max)).any():
                raise SceneError(
                    f"A class map holds whole numbers, but {self.path} holds others. Give a class map, not a "
                    "measurement."
                )
            return values.astype(self.dtype)
        if valid is None or valid.all():
            return values
        if (values[valid] == self.nodata).any():
            raise SceneError(
                f"The value {self.nodata} means nodata in a {self.dtype} class map, but {self.path} also uses it for "
                "a class (its own nodata is another one). Renumber that class, for example with gdal_calc.py."
            )
        return np.where(valid, values, np.array(self.nodata, self.dtype))


def _reader(dataset: Any, number: int, path: str) -> _FileRows:
    dtype = np.dtype(dataset.dtypes[number - 1])
    flags = dataset.mask_flag_enums[number - 1]
    masked = MaskFlags.all_valid not in flags
    shape = (int(dataset.height), int(dataset.width))
    if dtype.kind == "f":
        return _FileRows(path, number, shape, np.dtype(np.int32), int(np.iinfo(np.int32).min), masked)
    if dtype.kind not in "iu":
        raise SceneError(f"A class map holds whole numbers, but {path} holds {dtype}. Give a class map.")
    if dtype == np.uint8:
        nodata: int | None = NODATA
    elif MaskFlags.nodata in flags:
        nodata = int(dataset.nodatavals[number - 1])
    else:
        nodata = int(np.iinfo(dtype).max) if masked else None
    # Its own nodata value needs no mask: what is read says it already.
    return _FileRows(path, number, shape, dtype, nodata, masked and dataset.nodatavals[number - 1] != nodata)


def _legend(dataset: Any, number: int) -> tuple[list[tuple[int, str, str]], dict[int, str]]:
    """(value, name, colour) where there are names, and the colour of each value where there is a colour table."""
    try:
        own = json.loads(dataset.tags(number)["classes"])
        return [(int(value), str(name), str(color)) for value, name, color in own], {}
    except (KeyError, ValueError, TypeError):
        pass  # not written by geoseg
    # GDAL's VRT driver writes down what it knows in any format, also what rasterio has no function for.
    with tempfile.TemporaryDirectory() as folder:
        vrt = Path(folder) / "legend.vrt"
        rasterio.shutil.copy(dataset, vrt, driver="VRT")
        root = ElementTree.parse(vrt).getroot()
    band = root.findall("VRTRasterBand")[number - 1]
    colors = {
        value: "#{:02x}{:02x}{:02x}".format(*(int(entry.get(key, 0)) for key in ("c1", "c2", "c3")))
        for value, entry in enumerate(band.findall("ColorTable/Entry"))
    }
    table = band.find("GDALRasterAttributeTable")
    entries = [] if table is None else _from_table(table, colors)
    if not entries:
        names = [category.text or "" for category in band.findall("CategoryNames/Category")]
        entries = [(value, name, colors.get(value, "")) for value, name in enumerate(names) if name.strip()]
    return _distinct(entries), colors


def _from_table(table: ElementTree.Element, colors: dict[int, str]) -> list[tuple[int, str, str]]:
    """The legend of a raster attribute table: columns are known by their usage, then by their name."""
    fields = [
        (
            (field.findtext("Name") or "").strip().lower(),
            int(field.findtext("Type") or 0),
            int(field.findtext("Usage") or 0),
        )
        for field in table.findall("FieldDefn")
    ]

    def column(usage: int, *names: str) -> int | None:
        by_usage = [index for index, field in enumerate(fields) if field[2] == usage]
        by_name = [index for name in names for index, field in enumerate(fields) if field[0] == name]
        return next(iter(by_usage + by_name), None)

    value_at, name_at = column(5, "value"), column(2, *_NAME_COLUMNS)
    if name_at is None:
        name_at = next((index for index, field in enumerate(fields) if field[1] == 2), None)
    if name_at is None:
        return []
    rgb_at = [column(6, "red"), column(7, "green"), column(8, "blue")]
    start, step = float(table.get("Row0Min", 0)), float(table.get("BinSize", 1))
    entries = []
    for index, row in enumerate(table.findall("Row")):
        cells = [cell.text or "" for cell in row.findall("F")]
        value = round(start + index * step if value_at is None else float(cells[value_at]))
        if not cells[name_at].strip():
            continue
        color = colors.get(value, "")
        if None not in rgb_at:
            rgb = (round(float(cells[at])) for at in rgb_at if at is not None)
            color = "#{:02x}{:02x}{:02x}".format(*(min(255, max(0, part)) for part in rgb))
        entries.append((value, cells[name_at].strip(), color))
    return entries


def _distinct(entries: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """Each value once, and each name once: a name that several values share gets the value added."""
    by_value = {entry[0]: entry for entry in reversed(entries)}
    names = [name for _, name, _ in by_value.values()]
    return sorted(
        (value, name if names.count(name) == 1 else f"{name} ({value})", color)
        for value, name, color in by_value.values()
    )
