"""Class maps: an `xarray.DataArray` whose pixels are class values, with the legend in its attributes.

The convention is CF's flag variables: ``flag_values``, ``flag_meanings`` (names with underscores),
``flag_names`` (the names as people read them), ``flag_colors`` and ``_FillValue`` (255 in every map that
geoseg makes). The grid and its CRS are odc-geo's. A categorical map that geoseg did not make is welcome
everywhere: without a legend its values are called "class N".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine

from geoseg.classes import NODATA, ClassInfo, check_classes
from geoseg.errors import OptionError, SceneError

__all__ = ["class_map", "class_names", "classes_of", "geobox_of", "iter_strips", "nodata_of"]


def class_map(values: Any, geobox: GeoBox, classes: Iterable[ClassInfo], *, name: str = "class") -> xr.DataArray:
    """A class map from an array of class values.

    Parameters
    ----------
    values
        uint8 (row, col), numpy or Dask; 255 is nodata.
    geobox
        The grid, of the same shape.
    classes
        The legend; values of the array that it lacks stay as they are.
    name
        The name of the array.

    Returns
    -------
    DataArray
        With odc-geo's coordinates and the legend in its attributes.

    Raises
    ------
    OptionError
        Not uint8, not of the grid's shape, or a class value or name stands twice.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:32632", resolution=1)
    >>> cover = class_map(np.array([[1, 255]], np.uint8), grid, [ClassInfo(1, "open water", "#1f6fb4")])
    >>> cover.attrs["flag_meanings"], cover.dtype.name
    ('open_water', 'uint8')
    """
    if values.dtype != np.uint8 or tuple(values.shape) != tuple(geobox.shape):
        raise OptionError(
            f"A class map is uint8 and as large as its grid ({geobox.shape[0]} × {geobox.shape[1]}), but the "
            f"array is {values.dtype} {tuple(values.shape)}. Convert it, or give the grid that it lies on."
        )
    entries = [(info.value, info.name, info.color) for info in check_classes(classes)]
    attrs = {"long_name": "class", "_FillValue": NODATA, **flag_attrs(entries, np.uint8)}
    return wrap_xr(values, geobox).rename(name).assign_attrs(attrs)


def flag_attrs(entries: Sequence[tuple[int, str, str]], dtype: Any) -> dict[str, Any]:
    """The attributes that carry a legend of (value, name, colour).

    >>> flag_attrs([(3, "open water", "#1f6fb4")], np.uint8)["flag_meanings"]
    'open_water'
    """
    return {
        "flag_values": np.array([value for value, _, _ in entries], dtype=dtype),
        "flag_meanings": " ".join(re.sub(r"\s+", "_", name.strip()) for _, name, _ in entries),
        "flag_names": [name for _, name, _ in entries],
        "flag_colors": [color for _, _, color in entries],
    }


def _entries(da: xr.DataArray) -> list[tuple[int, str, str]]:
    """The legend as (value, name, colour) in order of value, from geoseg's attributes or any CF flags."""
    if "flag_values" not in da.attrs:
        return []
    values = [int(value) for value in np.atleast_1d(da.attrs["flag_values"])]
    names = da.attrs.get("flag_names")
    if names is None:
        names = [name.replace("_", " ") for name in str(da.attrs.get("flag_meanings", "")).split()]
    colors = da.attrs.get("flag_colors", [""] * len(values))
    if isinstance(colors, str):  # CF writes lists as one string
        colors = re.split(r"[\s,]+", colors.strip())
    names, colors = list(np.atleast_1d(names)), list(np.atleast_1d(colors))
    if len(names) != len(values):
        raise SceneError(
            f"A legend needs a name for each value, but flag_values has {len(values)} and flag_meanings "
            f"{len(names)}. Mend the attributes, or drop flag_values."
        )
    colors += [""] * (len(values) - len(colors))
    return sorted(
        (value, str(name), str(color) if re.fullmatch(r"#[0-9a-fA-F]{6}", str(color)) else "")
        for value, name, color in zip(values, names, colors, strict=False)
    )


def classes_of(da: xr.DataArray, *, values: Iterable[int] = ()) -> tuple[ClassInfo, ...]:
    """The legend of a map in order of value; empty where the map has none.

    Values outside 0..254, which other people's maps may have, cannot be a `ClassInfo` and are left out:
    `class_names` has them all.

    Parameters
    ----------
    da
        A map.
    values
        Values that occur in it: each that the legend lacks is added as "class N", with its colour from the
        file's colour table where there is one.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((0, 0, 1, 1), "EPSG:32632", resolution=1)
    >>> classes_of(class_map(np.zeros((1, 1), np.uint8), grid, [ClassInfo(0, "land", "#aaaaaa")]))
    (ClassInfo(value=0, name='land', color='#aaaaaa'),)
    >>> classes_of(xr.DataArray(np.zeros((1, 1))))
    ()
    >>> [info.name for info in classes_of(xr.DataArray(np.zeros((1, 1))), values=[7])]
    ['class 7']
    """
    entries = {value: (value, name, color) for value, name, color in _entries(da)}
    colors = da.attrs.get("color_table", {})
    for value in values:
        entries.setdefault(int(value), (int(value), f"class {value}", colors.get(int(value), "")))
    nodata = nodata_of(da)
    return check_classes(
        ClassInfo(*entry) for entry in entries.values() if 0 <= entry[0] < NODATA and entry[0] != nodata
    )


def class_names(da: xr.DataArray) -> dict[int, str]:
    """The name of each value of the legend, nodata left out; a value that is not there is called "class N".

    >>> class_names(xr.DataArray(np.zeros((1, 1)), attrs={"flag_values": [7], "flag_meanings": "open_water"}))
    {7: 'open water'}
    """
    nodata = nodata_of(da)
    return {value: name for value, name, _ in _entries(da) if value != nodata}


def nodata_of(da: xr.DataArray) -> int | None:
    """The value of pixels without a class; 255 for uint8 where the map does not say, otherwise None.

    >>> nodata_of(xr.DataArray(np.zeros((1, 1), np.uint8))), nodata_of(xr.DataArray(np.zeros((1, 1))))
    (255, None)
    """
    for where in (da.attrs, da.encoding):
        for key in ("_FillValue", "nodata", "missing_value"):
            value = where.get(key)
            if value is not None and np.isfinite(value):
                return int(value)
    return NODATA if da.dtype == np.uint8 else None


def geobox_of(da: xr.DataArray) -> GeoBox:
    """The grid of a map.

    Raises
    ------
    SceneError
        The array is not (row, col), or has no regular grid or no CRS.

    >>> grid = GeoBox.from_bbox((0, 0, 1, 1), "EPSG:32632", resolution=1)
    >>> geobox_of(class_map(np.zeros((1, 1), np.uint8), grid, [])) == grid
    True
    """
    if da.ndim != 2:
        raise SceneError(
            f"A class map has two dimensions (row, col), but this one has {da.ndim}: {tuple(da.dims)}. "
            "Choose one band or date (isel) or drop dimensions of length one (squeeze)."
        )
    grid = _rotated_line(da) if 1 in da.shape else None
    grid = da.odc.geobox if grid is None else grid
    if not isinstance(grid, GeoBox):
        raise SceneError(
            "A class map needs a regular grid, but this one has none (no coordinates, or uneven ones). "
            "Make it with class_map(values, geobox, classes)."
        )
    if grid.crs is None:
        raise SceneError(
            "A class map needs a CRS, but this one has none. Give it with --crs (in Python: da.odc.assign_crs)."
        )
    return grid


def _rotated_line(da: xr.DataArray) -> GeoBox | None:
    """The grid of a rotated map of one row or column, whose pixel coordinates odc-geo takes for map units."""
    wkt = da.odc.crs and da.odc.crs.to_wkt()
    numbers = next((c.attrs["GeoTransform"] for c in da.coords.values() if "GeoTransform" in c.attrs), None)
    if wkt is None or numbers is None or any(dim not in da.coords for dim in da.dims):
        return None
    whole = Affine.from_gdal(*(float(number) for number in str(numbers).split()))
    if whole.b == 0 and whole.d == 0:
        return None
    row, col = (float(da.coords[dim][0]) - 0.5 for dim in da.dims)
    return GeoBox((da.shape[0], da.shape[1]), whole * Affine.translation(col, row), wkt)


def iter_strips(da: xr.DataArray, *, rows: int = 512) -> Iterator[tuple[int, np.ndarray]]:
    """The pixels from top to bottom in full-width strips of at most ``rows`` rows.

    Each row of Dask chunks is computed once, the next one in a thread while this one is used; so at most
    two chunk rows are in memory (more where a chunk has fewer than ``rows`` rows).

    Parameters
    ----------
    da
        A (row, col) array, numpy or Dask with any chunks.
    rows
        The highest strip. Strips are shorter at the end, and where a row of chunks ends.

    Yields
    ------
    row0, values
        The strip's first row and its pixels (n, width), C-contiguous.

    Examples
    --------
    >>> [(row0, strip.shape) for row0, strip in iter_strips(xr.DataArray(np.zeros((5, 3))), rows=2)]
    [(0, (2, 3)), (2, (2, 3)), (4, (1, 3))]
    """
    if rows < 1:
        raise OptionError(f"A strip has at least one row, but rows={rows}. Give 1 or more.")
    if da.chunks is None:
        for row0 in range(0, da.shape[0], rows):
            yield row0, np.ascontiguousarray(da.data[row0 : row0 + rows])
        return
    spans = list(_chunk_spans(da.chunks[0], rows))
    with ThreadPoolExecutor(1, thread_name_prefix="strips") as reader:

        def compute(span: tuple[int, int]) -> np.ndarray:
            return np.ascontiguousarray(da.data[span[0] : span[1]].compute())

        following = reader.submit(compute, spans[0]) if spans else None
        for index, (start, _) in enumerate(spans):
            values = following.result()  # type: ignore[union-attr]
            following = reader.submit(compute, spans[index + 1]) if index + 1 < len(spans) else None
            for offset in range(0, len(values), rows):
                yield start + offset, values[offset : offset + rows]
            del values


def _chunk_spans(heights: Iterable[int], rows: int) -> Iterator[tuple[int, int]]:
    """Whole rows of chunks (first row, last row + 1), joined while they are lower than a strip together."""
    start = stop = 0
    for height in heights:
        if stop > start and stop + height - start > rows:
            yield start, stop
            start = stop
        stop += height
    if stop > start:
        yield start, stop
