"""The true area of each class of a map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from geoseg.areas.pixels import PixelAreas
from geoseg.areas.rows import add_runs
from geoseg.classes import NODATA
from geoseg.classmap import class_names, geobox_of, iter_strips, nodata_of
from geoseg.errors import SceneError

__all__ = ["as_bins", "class_areas", "with_no_data_row"]

_MAX_CLASS_RANGE = 1 << 20


def class_areas(class_map: xr.DataArray) -> pd.DataFrame:
    """The pixels and the true area of each class of a map.

    Parameters
    ----------
    class_map
        Any categorical map with a grid: (row, col) integers, or floats with whole values and NaN; numpy or
        Dask. It is read once, strip by strip.

    Returns
    -------
    DataFrame
        ``class, class_name, pixels, area_m2, area_ha, share`` in order of class; share is of the valid area,
        0..1. Every class of the legend has a row, also without a pixel; a value that the legend lacks is
        called "class N". Pixels without a class stand apart: ``table.attrs["invalid_pixels"]`` and
        ``table.attrs["invalid_area_m2"]`` (`with_no_data_row` puts them into a last row, for files).

    Raises
    ------
    SceneError
        No CRS or grid, fractions instead of classes, or more than a million different values.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:4326", resolution=1)
    >>> legend = [ClassInfo(0, "land"), ClassInfo(1, "water")]
    >>> table = class_areas(class_map(np.array([[1, 255]], np.uint8), grid, legend))
    >>> table[["class_name", "pixels", "share"]].values.tolist()
    [['land', 0, 0.0], ['water', 1, 1.0]]
    >>> table.attrs["invalid_pixels"]
    1
    """
    areas = PixelAreas(geobox_of(class_map))
    names = class_names(class_map)
    nodata = nodata_of(class_map)
    pixels: dict[int, int] = {}
    units: dict[int, int] = {}
    invalid_pixels = invalid_units = 0
    rows = 512 if class_map.dtype == np.uint8 else 64  # wider types are copied as int64
    for row0, strip in iter_strips(class_map, rows=rows):
        bins, lowest, size = as_bins(strip, nodata)
        counts, sums = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        knots, coefs = areas.table(row0, row0 + len(strip))
        add_runs(bins, 0, knots, coefs, areas.unit_m2, counts, sums)
        invalid_pixels += int(counts[-1])
        invalid_units += int(sums[-1])
        for index in np.flatnonzero(counts[:-1]):
            value = int(index) + lowest
            pixels[value] = pixels.get(value, 0) + int(counts[index])
            units[value] = units.get(value, 0) + int(sums[index])
    valid_units = sum(units.values())
    records = []
    for value in sorted((set(names) - {nodata}) | set(pixels)):
        area_m2 = units.get(value, 0) * areas.unit_m2
        share = units.get(value, 0) / valid_units if valid_units else 0.0
        name = names.get(value, f"class {value}")
        records.append((value, name, pixels.get(value, 0), area_m2, area_m2 / 1e4, share))
    table = pd.DataFrame(records, columns=["class", "class_name", "pixels", "area_m2", "area_ha", "share"])
    table = table.astype(
        {"class": "int64", "pixels": "int64", "area_m2": "float64", "area_ha": "float64", "share": "float64"}
    )
    table.attrs["invalid_pixels"] = invalid_pixels
    table.attrs["invalid_area_m2"] = invalid_units * areas.unit_m2
    return table


def with_no_data_row(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `class_areas` with the invalid pixels as a last row, as it is written to files.

    That row has class 255, the name "(no data)" and no share, and is there also when it counts 0 pixels.

    >>> table = pd.DataFrame({"class": [1], "class_name": ["water"], "pixels": [3], "area_m2": [30.0],
    ...                       "area_ha": [0.003], "share": [1.0]})
    >>> table.attrs.update(invalid_pixels=2, invalid_area_m2=20.0)
    >>> with_no_data_row(table)[["class", "class_name", "pixels"]].values.tolist()
    [[1, 'water', 3], [255, '(no data)', 2]]
    """
    area_m2 = table.attrs["invalid_area_m2"]
    result = table.copy()
    result.loc[len(result)] = [
        255,
        "(no data)",
        table.attrs["invalid_pixels"],
        area_m2,
        area_m2 / 1e4,
        np.nan,
    ]
    return result


def as_bins(strip: np.ndarray, nodata: int | None) -> tuple[np.ndarray, int, int]:
    """The strip with its lowest value as bin 0 and nodata as the last bin; that value; the number of bins."""
    if strip.dtype == np.uint8 and nodata == NODATA:
        return strip, 0, 256
    valid = np.isfinite(strip) if nodata is None else np.isfinite(strip) & (strip != nodata)
    if not valid.any():
        return np.zeros(strip.shape, dtype=np.int64), 0, 1
    if strip.dtype.kind == "f" and (strip[valid] != np.rint(strip[valid])).any():
        raise SceneError(
            "Areas by class need whole numbers, but the map holds fractions. Give a class map, not a measurement."
        )
    lowest, highest = (int(edge) for edge in (strip[valid].min(), strip[valid].max()))
    if highest - lowest >= _MAX_CLASS_RANGE:
        raise SceneError(
            f"A class map has few different values, but this one goes from {lowest} to {highest}. "
            "Give a class map, not a measurement or a map of object ids."
        )
    bins = np.where(valid, strip, lowest).astype(np.int64) - lowest
    bins[~valid] = highest - lowest + 1
    return bins, lowest, highest - lowest + 2
