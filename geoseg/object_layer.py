"""From a map of objects to what people look at: one polygon each with its attributes, a table, classes to preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg import __version__, export
from geoseg.areas import PixelAreas
from geoseg.classes import NODATA, ClassInfo
from geoseg.classmap import class_map, geobox_of
from geoseg.packages import ModelSpec
from geoseg.polygons import polygon_areas, polygon_attributes, vectorize
from geoseg.polygons import regularize as square
from geoseg.scene import Scene
from geoseg.units import Area, parse_area, with_unit

__all__ = ["Shapes", "areas_by_class", "classes_of_objects", "large_enough", "polygons_of", "write_objects"]


@dataclass(frozen=True)
class Shapes:
    """How objects become polygons; see `geoseg.map_objects`."""

    min_area: str | float | Area | None = None
    simplify: str | float | None = None
    smooth: bool = False
    squared: bool = False


def polygons_of(objects: xr.DataArray, table: pd.DataFrame, shapes: Shapes) -> gpd.GeoDataFrame:
    """One row for each object, in the order of their ids: what hangs together only at corners is a MultiPolygon."""
    regions = vectorize(objects, simplify=shapes.simplify, smooth=shapes.smooth).sort_values("class", kind="stable")
    which = np.searchsorted(table["object_id"], regions["class"].to_numpy())
    if shapes.squared:
        regions = square(regions)
    geometry = shapely.multipolygons(regions.geometry.to_numpy(), indices=which)
    frame = gpd.GeoDataFrame(table, geometry=geometry, crs=regions.crs)
    measured = polygon_attributes(frame.geometry, PixelAreas(objects.odc.geobox))
    for name in measured.columns:
        frame[name] = measured[name].to_numpy()
    # Pixels and areas are those of the map, also where outlines are simplified.
    frame["area_m2"] = np.bincount(which, regions["area_m2"], len(frame))
    frame["area_ha"] = frame["area_m2"] / 1e4
    return frame[[*(name for name in frame.columns if name != "geometry"), "geometry"]]


def large_enough(polygons: gpd.GeoDataFrame, min_area: str | float | Area) -> np.ndarray:
    """bool (object,): which objects have this size at least."""
    least = with_unit(parse_area(min_area), polygons.crs)
    pixels = least.unit == "px"
    return polygons["pixels" if pixels else "area_m2"].to_numpy() >= least.value


def areas_by_class(polygons: gpd.GeoDataFrame, classes: Sequence[ClassInfo]) -> pd.DataFrame:
    """How many objects of each class there are, and how much they cover."""
    rows = []
    for info in classes:
        some = polygons[polygons["class"] == info.value]
        area_m2 = float(some["area_m2"].sum())
        rows.append([info.value, info.name, len(some), int(some["pixels"].sum()), area_m2, area_m2 / 1e4])
    table = pd.DataFrame(rows, columns=["class", "class_name", "objects", "pixels", "area_m2", "area_ha"])
    return table.assign(share=table["area_m2"] / max(table["area_m2"].sum(), 1e-12))


def classes_of_objects(objects: xr.DataArray, polygons: gpd.GeoDataFrame, classes: Sequence[ClassInfo]) -> xr.DataArray:
    """The class of each pixel, for the preview: 255 where there is no object."""
    lookup = np.concatenate([[NODATA], polygons["class"].to_numpy()]).astype(np.uint8)
    values = da.map_blocks(lambda ids: lookup[ids], objects.data, dtype=np.uint8)
    return class_map(values, geobox_of(objects), classes)


def write_objects(
    polygons: gpd.GeoDataFrame, folder: Path, name: str, *, scene: Scene, spec: ModelSpec, crs: Any
) -> Path:
    """The layer of objects in one format: ``fiboa``, or a suffix of `export.write_polygons`.

    Parameters
    ----------
    polygons
        What `polygons_of` gave.
    folder
        The file is ``polygons.*`` in it.
    scene, spec
        Where they were found, on the grid of the map, and by which model.
    crs
        See `geoseg.export.write_polygons`.
    """
    if name != "fiboa":
        return export.write_polygons([polygons], folder / f"polygons.{name}", classes=spec.classes, crs=crs, multi=True)
    return export.write_fiboa(
        [polygons.assign(area_m2=polygon_areas(polygons.geometry, scene.geobox))],  # of the shapes, not of their pixels
        folder / f"polygons{export.FIBOA_SUFFIX}",
        collection=scene.name,
        crs=crs,
        details=f"Found by the model {spec.name} with geoseg {__version__}.",
    )
