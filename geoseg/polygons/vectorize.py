"""`vectorize`: a class map or an object map → polygons with areas, as a GeoDataFrame."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from geoseg.classmap import class_names, geobox_of
from geoseg.polygons.batches import Batch, iter_batches, names_of
from geoseg.polygons.shapes import geometries
from geoseg.polygons.source import Outlines
from geoseg.units import Area, Length

__all__ = ["iter_polygons", "vectorize"]


def vectorize(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
    min_area: str | float | Area | None = None,
    simplify: str | float | Length | None = None,
    smooth: bool = False,
    strip_rows: int | None = None,
    threads: int | None = None,
    cluster: str | None = None,
) -> gpd.GeoDataFrame:
    """The polygons of a class map or an object map: exactly its pixels, edge-matched, with true areas.

    Each connected area of one value becomes one polygon that follows the pixels' edges. Neighbours share every
    vertex, so the polygons are a valid coverage: no gap, no overlap. The result depends on the map alone: strip
    height, threads, workers and Dask's chunks change no byte of it.

    Parameters
    ----------
    class_map
        (row, col) integers, numpy or Dask, with a grid and a CRS. Pixels of nodata (255 for uint8, unless the
        map's ``_FillValue`` says otherwise) belong to no polygon.
    confidence
        uint8 percent on the same grid.
    connectivity
        4: pixels belong together across edges. 8: across corners too; what touches only at corners becomes a
        MultiPolygon, because a polygon that touches itself would not be valid.
    min_area
        Regions smaller than this (``"500m2"``, ``"0.05ha"``, ``"9px"``) are filled by their neighbours first, see
        `sieve`.
    simplify
        Leave out vertices where borders move by at most this (``"1.5px"``, ``"3m"``). Neighbours keep sharing their
        borders, see `geoseg.polygons.simplify`; about a pixel takes the staircase away.
    smooth
        Round the borders by at most the same again; simplifies by one pixel where `simplify` is not given.
    strip_rows
        Rows that are traced at once; by default 256, down to 64 for wide maps. It decides about memory and speed only.
    threads
        Strips that are traced at once, ahead of linking them and building geometries; 1 = none ahead. By default one
        for each core, up to four: more would wait for what is done in order.
    cluster
        Address of a Dask scheduler, whose workers then trace the strips. Without it an active
        `dask.distributed.Client` is used, and without that, threads.

    Returns
    -------
    GeoDataFrame
        ``object_id`` (1..n), ``class``, ``class_name``, ``pixels``, ``area_m2``, ``area_ha`` (on the ellipsoid),
        ``perimeter_m`` (on the ground, holes included), ``confidence`` (mean percent, 0..100; NaN where none is
        given), ``geometry``, in order of each polygon's lowest row and first vertex. Σ ``area_m2`` by class is
        what `class_areas` says of the (sieved) map. Pixels and areas are those of the map also where borders are
        simplified; then there is a column ``area_change``, by how much the shape's area differs (0.01 = 1 % larger).

    Raises
    ------
    OptionError
        Values are not integers, an option has a value that it cannot have, or the cluster does not answer.
    MismatchError
        The confidence lies on another grid, or lacks pixels that have a class.
    SceneError
        No grid or CRS.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> values = np.array([[1, 1, 2], [1, 255, 2]], np.uint8)
    >>> cover = class_map(values, grid, [ClassInfo(1, "water"), ClassInfo(2, "forest")])
    >>> vectorize(cover)[["object_id", "class_name", "pixels"]].values.tolist()
    [[1, 'water', 3], [2, 'forest', 2]]
    >>> len(vectorize(class_map(np.full((2, 3), 255, np.uint8), grid, [])))
    0
    """
    options = _options(confidence, connectivity, min_area, simplify, smooth, strip_rows, threads, cluster)
    return _frame([_Built(batch) for batch in iter_batches(class_map, **options)], class_map)


def iter_polygons(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
    min_area: str | float | Area | None = None,
    simplify: str | float | Length | None = None,
    smooth: bool = False,
    strip_rows: int | None = None,
    threads: int | None = None,
    cluster: str | None = None,
) -> Iterator[gpd.GeoDataFrame]:
    """`vectorize` in batches: polygons leave when they are finished, so memory does not grow with the map's height.

    Parameters, errors and order are those of `vectorize`, and the batches together are its result.

    Yields
    ------
    GeoDataFrame
        At least one, which is empty if the map is.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 2, 255]], np.uint8), grid, [])
    >>> [len(batch) for batch in iter_polygons(cover)]
    [2]
    """
    options = _options(confidence, connectivity, min_area, simplify, smooth, strip_rows, threads, cluster)
    for batch in iter_batches(class_map, **options):
        yield _frame([_Built(batch)], class_map)


def _options(
    confidence: xr.DataArray | None,
    connectivity: int,
    min_area: str | float | Area | None,
    simplify: str | float | Length | None,
    smooth: bool,
    strip_rows: int | None,
    threads: int | None,
    cluster: str | None,
) -> dict[str, Any]:
    return {
        "confidence": confidence,
        "outlines": Outlines(connectivity, min_area, simplify, smooth),
        "strip_rows": strip_rows,
        "threads": threads,
        "cluster": cluster,
    }


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's garbage collector rests. While many objects are made it looks through all there are again and again,
    which takes several times as long as building geometries; and those refer to nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Built:
    """A batch whose shapes are geometries, which takes less memory than both."""

    @_without_collector()
    def __init__(self, batch: Batch) -> None:
        self.columns = batch.columns
        parts = [
            np.concatenate([geometries(rings) for rings in part.shapes])[part.order]  # type: ignore[arg-type]
            for part in batch.take_parts()
        ]
        self.geometry = np.concatenate(parts) if parts else np.empty(0, object)


def _frame(built: list[_Built], class_map: xr.DataArray) -> gpd.GeoDataFrame:
    columns: dict[str, Any] = {}
    for name in built[0].columns:
        columns[name] = np.concatenate([part.columns[name] for part in built])
        if name == "class":
            columns["class_name"] = _names(columns["class"], class_names(class_map))
    geometry = np.concatenate([part.geometry for part in built])
    crs = geobox_of(class_map).crs.proj  # type: ignore[union-attr]
    return gpd.GeoDataFrame(pd.DataFrame(columns), geometry=gpd.array.GeometryArray(geometry, crs=crs))


def _names(classes: np.ndarray, known: dict[int, str]) -> pd.Series:
    names, places = names_of(classes, known)
    return pd.Series(np.array(names, dtype=object)[places], dtype=object)
