"""What a sample is drawn from: the pixels of a map, parted into strata, with their true areas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from geoseg.areas import class_areas
from geoseg.change import align
from geoseg.classmap import geobox_of
from geoseg.errors import OptionError, SceneError
from geoseg.sampling.zone_map import zone_map

__all__ = ["WHOLE", "Frame", "frame_of"]

WHOLE = "whole map"
"""The name of the stratum where there is only one."""

Strata: TypeAlias = xr.DataArray | gpd.GeoDataFrame


@dataclass(frozen=True, eq=False)
class Frame:
    """The pixels that can be drawn."""

    classes: xr.DataArray
    """The class map (row, col)."""
    strata: xr.DataArray
    """What parts it, on the same grid; the map itself, if its classes are the strata."""
    values: np.ndarray
    """int64 (value,) The values of `strata` that occur, rising."""
    numbers: np.ndarray
    """int16 (value,) The row of `table` that each belongs to."""
    table: pd.DataFrame
    """A row for each stratum: ``stratum`` (its name), ``pixels``, ``area_m2``."""
    kind: str
    """What the strata are: ``map classes``, ``raster``, ``zones`` or ``whole map``."""
    outside_m2: float = 0.0
    """The area of the map that lies in no stratum, and is left out."""

    @property
    def sizes(self) -> pd.Series:
        """The true area of each stratum, m², by name."""
        return self.table.set_index("stratum")["area_m2"]

    @property
    def pixels(self) -> pd.Series:
        """How many pixels each stratum holds, by name."""
        return self.table.set_index("stratum")["pixels"]

    def whole(self) -> Frame:
        """The same pixels as one stratum."""
        row = {"stratum": WHOLE, "pixels": self.table["pixels"].sum(), "area_m2": self.table["area_m2"].sum()}
        return replace(self, numbers=np.zeros_like(self.numbers), table=pd.DataFrame([row]), kind="whole map")

    def numbered(self, strip: np.ndarray) -> np.ndarray:
        """The number of the stratum of each of these values of `strata`: int16 of the same shape, -1 for nodata."""
        if strip.dtype == np.uint8:
            lookup = np.full(256, -1, np.int16)
            lookup[self.values] = self.numbers
            return lookup[strip]
        if not len(self.values):
            return np.full(strip.shape, -1, np.int16)
        found = np.minimum(np.searchsorted(self.values, strip), len(self.values) - 1)
        return np.where(self.values[found] == strip, self.numbers[found], np.int16(-1))


def frame_of(
    class_map: xr.DataArray,
    strata: Strata | None = None,
    *,
    strata_field: str | None = None,
    counted: pd.DataFrame | None = None,
) -> Frame:
    """The pixels of a map, parted into strata. The map is read once, strip by strip.

    Parameters
    ----------
    class_map
        A class map.
    strata
        Another class map, which is laid over the map as `geoseg.change.align` does it; or polygons, of which a pixel
        belongs to that in which its centre lies. None = the map's own classes.
    strata_field
        The column with the polygons' names; polygons of one name are one stratum. None = each is one, by its number.
    counted
        What `geoseg.class_areas` gives for the map, where it is known already.

    Raises
    ------
    SceneError
        A map without CRS or grid, or not of classes; strata and map do not overlap.
    OptionError
        The map has no pixel with a class; polygons that overlap, are invalid or have no CRS; no such column.
    """
    geobox_of(class_map)
    if strata_field is not None and not isinstance(strata, gpd.GeoDataFrame):
        raise OptionError(
            f"--strata-field names a column of polygons, but {strata_field!r} is given without polygons. Leave it out."
        )
    counted = class_areas(class_map) if counted is None else counted
    if strata is None:
        return _framed(class_map, class_map, counted, kind="map classes")
    kind = "zones" if isinstance(strata, gpd.GeoDataFrame) else "raster"
    over = zone_map(strata, geobox_of(class_map), field=strata_field) if kind == "zones" else strata
    try:
        parts, classes = align(over, class_map)
    except SceneError as error:
        raise SceneError(f"The strata cannot be laid over the map. {error}") from error
    framed = _framed(classes, parts, class_areas(parts), kind=kind)
    return replace(framed, outside_m2=max(0.0, float(counted["area_m2"].sum() - framed.table["area_m2"].sum())))


def _framed(classes: xr.DataArray, strata: xr.DataArray, counted: pd.DataFrame, *, kind: str) -> Frame:
    there = counted[counted["pixels"] > 0].reset_index(drop=True)
    if not len(there):
        raise OptionError(
            "A sample is drawn from pixels with a class and a stratum, but there is none. Give a map that is not all "
            "nodata, and strata that lie over it."
        )
    if len(there) > 1000:
        raise OptionError(
            f"Strata are few, each with a sample of its own, but there are {len(there)}. Give a class map, not a "
            "measurement or a map of objects; or zones that are larger."
        )
    table = there[["class_name", "pixels", "area_m2"]].rename(columns={"class_name": "stratum"})
    values = there["class"].to_numpy(dtype=np.int64)
    return Frame(classes, strata, values, np.arange(len(values), dtype=np.int16), table, kind)
