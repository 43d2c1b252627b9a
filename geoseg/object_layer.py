"""From a map of objects to what people look at: one polygon each with its attributes, a table, classes to preview."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from geoseg.errors import BlockError
from geoseg.finders import Finder
from geoseg.polygons import iter_polygons, polygon_areas, polygon_attributes
from geoseg.polygons import regularize as square
from geoseg.units import Area, parse_area, with_unit

__all__ = ["Shapes", "areas_by_class", "classes_of_objects", "iter_objects", "large_enough", "write_objects"]

_NO_OBJECT = "#efefea"


@dataclass(frozen=True)
class Shapes:
    """How objects become polygons; see `geoseg.map_objects`."""

    min_area: str | float | Area | None = None
    simplify: str | float | None = None
    smooth: bool = False
    squared: bool = False


def iter_objects(objects: xr.DataArray, table: pd.DataFrame, shapes: Shapes) -> Iterator[gpd.GeoDataFrame]:
    """The polygons of a map of objects, batch by batch.

    An object leaves when all its pixels are in polygons that were traced, so memory holds those objects only of which
    a piece is still open (all of them, where outlines are squared).

    Parameters
    ----------
    objects
        uint32 (row, col), 0 = none, ids 1, 2, ...
    table
        A row for each object in the order of ids, with ``object_id``, ``pixels`` and ``area_m2``.
    shapes
        How they are drawn.

    Yields
    ------
    GeoDataFrame
        The rows of the table with a MultiPolygon and its attributes, in the order of the lowest pixels of objects. At
        least one batch, which is empty if the map is.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from odc.geo.xr import wrap_xr
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> ids = wrap_xr(np.array([[1, 2, 1], [0, 2, 0]], np.uint32), grid, nodata=0)
    >>> table = pd.DataFrame({"object_id": [1, 2], "pixels": [2, 2], "area_m2": [200.0, 200.0]})
    >>> (batch,) = iter_objects(ids, table, Shapes())
    >>> batch["object_id"].tolist(), [len(shape.geoms) for shape in batch.geometry]
    ([1, 2], [2, 1])
    """
    grid = PixelAreas(geobox_of(objects))
    traced = iter_polygons(objects, simplify=shapes.simplify, smooth=shapes.smooth)
    if shapes.squared:
        frames = list(traced)
        squared = square(gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=frames[0].crs))
        traced = iter([_inside(squared, geobox_of(objects).extent.geom)])
    open_px = table["pixels"].to_numpy(np.int64, copy=True)
    held: dict[int, list[Any]] = {}
    for regions in traced:
        which = regions["class"].to_numpy() - 1
        np.subtract.at(open_px, which, regions["pixels"].to_numpy())
        whole, geometry = _whole(which, regions.geometry.to_numpy(), open_px, held)
        yield _with_attributes(table.iloc[whole], geometry, regions.crs, grid)
    if open_px.any():
        raise BlockError(f"{np.count_nonzero(open_px)} objects are not what was counted. Run again with --overwrite.")


def _inside(regions: gpd.GeoDataFrame, scene: Any) -> gpd.GeoDataFrame:
    """Squared outlines end where the scene does: beyond its edge nothing is known."""
    shapes = regions.geometry.to_numpy().copy()
    beyond = ~shapely.covered_by(shapes, scene)
    shapes[beyond] = shapely.intersection(shapes[beyond], scene)
    pieces = regions.set_geometry(gpd.GeoSeries(shapes, index=regions.index, crs=regions.crs)).explode()
    pieces = pieces[pieces.geom_type == "Polygon"]
    pieces.loc[pieces.index.duplicated(), "pixels"] = 0  # counted with the first piece
    return pieces.reset_index(drop=True)


def _whole(
    which: np.ndarray, shapes: np.ndarray, open_px: np.ndarray, held: dict[int, list[Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """The objects that these pieces finish, in the order of their last ones, and their shapes; the rest is held."""
    done = open_px[which] == 0
    for number, shape in zip(which[~done].tolist(), shapes[~done], strict=True):
        held.setdefault(number, []).append(shape)
    which, shapes = which[done], shapes[done]
    numbers, from_end = np.unique(which[::-1], return_index=True)
    whole = numbers[np.argsort(-from_end)]
    earlier = [(number, shape) for number in whole.tolist() if number in held for shape in held.pop(number)]
    if earlier:
        before = np.empty(len(earlier), object)
        before[:] = [shape for _, shape in earlier]
        which = np.concatenate([[number for number, _ in earlier], which])
        shapes = np.concatenate([before, shapes])
    place = np.empty(len(numbers), np.int64)
    place[np.searchsorted(numbers, whole)] = np.arange(len(whole))
    place = place[np.searchsorted(numbers, which)]
    order = np.argsort(place, kind="stable")
    return whole, shapely.multipolygons(shapes[order], indices=place[order])


def _with_attributes(table: pd.DataFrame, geometry: np.ndarray, crs: Any, grid: PixelAreas) -> gpd.GeoDataFrame:
    measured = polygon_attributes(geometry, grid)
    # Pixels and areas are those of the map, also where outlines are simplified.
    measured["area_m2"] = table["area_m2"].to_numpy()
    measured["area_ha"] = measured["area_m2"] / 1e4
    known = table.drop(columns="area_m2").reset_index(drop=True)
    return gpd.GeoDataFrame(pd.concat([known, measured], axis=1), geometry=geometry, crs=crs)


def large_enough(table: pd.DataFrame, min_area: str | float | Area, crs: Any) -> np.ndarray:
    """bool (object,): which objects have this size at least, by their pixels or their area."""
    least = with_unit(parse_area(min_area), crs)
    return table["pixels" if least.unit == "px" else "area_m2"].to_numpy() >= least.value


def areas_by_class(table: pd.DataFrame, classes: Sequence[ClassInfo]) -> pd.DataFrame:
    """How many objects of each class there are, and how much they cover.

    >>> objects = pd.DataFrame({"class": [3, 3], "pixels": [2, 4], "area_m2": [20.0, 40.0]})
    >>> areas_by_class(objects, [ClassInfo(3, "house")]).drop(columns="area_ha").values.tolist()
    [[3, 'house', 2, 6, 60.0, 1.0]]
    """
    rows = []
    for info in classes:
        some = table[table["class"] == info.value]
        area_m2 = float(some["area_m2"].sum())
        rows.append([info.value, info.name, len(some), int(some["pixels"].sum()), area_m2, area_m2 / 1e4])
    found = pd.DataFrame(rows, columns=["class", "class_name", "objects", "pixels", "area_m2", "area_ha"])
    return found.assign(share=found["area_m2"] / max(found["area_m2"].sum(), 1e-12))


def classes_of_objects(objects: xr.DataArray, table: pd.DataFrame, classes: Sequence[ClassInfo]) -> xr.DataArray:
    """The class of each pixel, for the preview; what is no object is a class of its own."""
    free = next(value for value in range(NODATA) if all(info.value != value for info in classes))
    lookup = np.concatenate([[free], table["class"].to_numpy()]).astype(np.uint8)
    values = da.map_blocks(lambda ids: lookup[ids], objects.data, dtype=np.uint8)
    none = ClassInfo(free, "no object", _NO_OBJECT)
    return class_map(values, geobox_of(objects), sorted([*classes, none], key=lambda info: info.value))


def write_objects(batches: Iterable[gpd.GeoDataFrame], folder: Path, name: str, *, finder: Finder, crs: Any) -> Path:
    """The layer of objects in one format: ``fiboa``, or a suffix of `geoseg.export.write_polygons`.

    Parameters
    ----------
    batches
        Polygons, as `iter_objects` makes them.
    folder
        The file is ``polygons.*`` in it.
    finder
        How they were found.
    crs
        See `geoseg.export.write_polygons`.
    """
    if name != "fiboa":
        path = folder / f"polygons.{name}"
        return export.write_polygons(batches, path, classes=finder.classes, crs=crs, multi=True)
    grid = PixelAreas(finder.scene.geobox)
    return export.write_fiboa(
        # The areas of shapes, not of their pixels.
        (batch.assign(area_m2=polygon_areas(batch.geometry, grid)) for batch in batches),
        folder / f"polygons{export.FIBOA_SUFFIX}",
        collection=finder.scene.name,
        crs=crs,
        details=f"Found by the model {finder.model.spec.name} with geoseg {__version__}.",
    )
