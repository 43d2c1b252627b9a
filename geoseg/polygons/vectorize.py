"""`vectorize`: a class map or an object map → polygons with areas, as a GeoDataFrame."""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.classmap import class_names, geobox_of, nodata_of
from geoseg.errors import OptionError
from geoseg.polygons.assemble import Finished
from geoseg.polygons.ground import ground_of
from geoseg.polygons.integers import Integers
from geoseg.polygons.outline import MOST_POINTS
from geoseg.polygons.simplify import BAND_ROWS
from geoseg.polygons.source import Outlines, strips_of
from geoseg.polygons.stream import Traced, trace_polygons
from geoseg.units import Area, Length

__all__ = ["iter_polygons", "vectorize"]

_MOST_THREADS = 4  # unasked: linking strips and building geometries is done in order, by one thread
_BATCH = 5_000  # polygons; fewer, larger frames are faster to build and to write

_DTYPES = {
    "object_id": "int64",
    "class": "int64",
    "class_name": "object",
    "pixels": "int64",
    "area_m2": "float64",
    "area_ha": "float64",
    "perimeter_m": "float64",
    "confidence": "float64",
}


def vectorize(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
    min_area: str | float | Area | None = None,
    simplify: str | float | Length | None = None,
    smooth: bool = False,
    strip_rows: int = 64,
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
        Rows that are traced at once. It decides about memory and speed only.
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
    outlines = Outlines(connectivity, min_area, simplify, smooth)
    built = list(_build(class_map, confidence, outlines, strip_rows, threads, cluster))
    return _Frames(class_map, outlines).frame(built)


def iter_polygons(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
    min_area: str | float | Area | None = None,
    simplify: str | float | Length | None = None,
    smooth: bool = False,
    strip_rows: int = 64,
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
    outlines = Outlines(connectivity, min_area, simplify, smooth)
    frames = _Frames(class_map, outlines)
    for built in _build(class_map, confidence, outlines, strip_rows, threads, cluster):
        yield frames.frame([built])
    if not frames.objects:
        yield frames.frame([])


_Built = tuple[np.ndarray, dict[str, np.ndarray]]  # geometries, columns


def _build(
    class_map: xr.DataArray,
    confidence: xr.DataArray | None,
    outlines: Outlines,
    strip_rows: int,
    threads: int | None,
    cluster: str | None,
) -> Iterator[_Built]:
    """Trace, and build geometries and number columns in batches."""
    threads = min(os.cpu_count() or 1, _MOST_THREADS) if threads is None else threads
    if threads < 1 or strip_rows < 1:
        raise OptionError(f"Give 1 or more threads and strip_rows, not {threads} and {strip_rows}.")
    geobox = geobox_of(class_map)
    areas = PixelAreas(geobox)
    integers = Integers(class_map.dtype, nodata_of(class_map))
    exact = outlines.tolerance is None
    traced = trace_polygons(
        strips_of(class_map, confidence, outlines, areas, strip_rows=strip_rows, threads=threads),
        geobox.shape[1],
        dtype=integers.dtype,
        nodata=integers.nodata,
        connectivity=outlines.connectivity,
        ground=ground_of(geobox, areas),
        band_rows=0 if exact else BAND_ROWS,
        most_points=0 if exact else MOST_POINTS if outlines.smooth else 1,
        threads=threads,
        cluster=cluster,
    )
    waiting: deque[Traced] = deque()
    count = 0
    for part in traced:
        waiting.append(part)
        count += len(part.values)
        if count >= _BATCH:
            yield _batch(waiting, integers, areas.unit_m2, confidence is not None)
            count = 0
    if count:
        yield _batch(waiting, integers, areas.unit_m2, confidence is not None)


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


@_without_collector()
def _batch(waiting: deque[Traced], integers: Integers, unit_m2: float, with_confidence: bool) -> _Built:
    """Geometries and number columns of all that waits; coordinates are dropped as soon as they are built."""
    geometries = []
    columns: dict[str, list[np.ndarray]] = {}
    while waiting:
        part = waiting.popleft()
        geometries.append(np.concatenate([_geometries(shapes) for shapes in part.shapes])[part.order])
        area_m2 = part.areas * unit_m2
        for name, column in {
            "class": integers.restore(part.values),
            "pixels": part.pixels,
            "area_m2": area_m2,
            "area_ha": area_m2 / 1e4,
            "perimeter_m": part.perimeters,
            "confidence": part.confidences / part.pixels if with_confidence else np.full(len(area_m2), np.nan),
            "area_change": part.drawn / part.pixels - 1,
        }.items():
            columns.setdefault(name, []).append(column)
    return np.concatenate(geometries), {name: np.concatenate(parts) for name, parts in columns.items()}


def _geometries(part: Finished) -> np.ndarray:
    """Polygons, and MultiPolygons where a feature has several parts."""
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, part.coords, (part.ring_offsets, part.part_offsets)
    )
    counts = np.diff(part.feature_offsets)
    if (counts == 1).all():
        return polygons
    geometries = polygons[part.feature_offsets[:-1]]
    several = np.flatnonzero(counts > 1)
    feature_of_part = np.repeat(np.arange(len(counts)), counts)
    chosen = counts[feature_of_part] > 1
    place = np.searchsorted(several, feature_of_part[chosen])
    geometries[several] = shapely.multipolygons(polygons[chosen], indices=place)
    return geometries


class _Frames:
    """Makes frames whose object ids go on from one to the next."""

    def __init__(self, class_map: xr.DataArray, outlines: Outlines) -> None:
        self.crs = geobox_of(class_map).crs.proj  # type: ignore[union-attr]
        self.names = class_names(class_map)
        self.dtypes = dict(_DTYPES)
        if outlines.tolerance is not None:
            self.dtypes["area_change"] = "float64"
        self.objects = 0

    def frame(self, built: list[_Built]) -> gpd.GeoDataFrame:
        columns: dict[str, Any] = {}
        for name, dtype in self.dtypes.items():
            parts = [part[name] for _, part in built if name in part]
            columns[name] = np.concatenate(parts) if parts else np.empty(0, dtype)
        n = len(columns["class"])
        columns["object_id"] = np.arange(self.objects + 1, self.objects + n + 1)
        columns["class_name"] = self._class_names(columns["class"])
        self.objects += n
        geometry = np.concatenate([part for part, _ in built]) if built else np.empty(0, object)
        frame = pd.DataFrame(columns, columns=list(self.dtypes))
        return gpd.GeoDataFrame(frame, geometry=gpd.array.GeometryArray(geometry, crs=self.crs))

    def _class_names(self, classes: np.ndarray) -> pd.Series:
        values, places = np.unique(classes, return_inverse=True)
        names = [self.names.get(int(value), f"class {value}") for value in values]
        return pd.Series(np.array(names, dtype=object)[places], dtype=object)
