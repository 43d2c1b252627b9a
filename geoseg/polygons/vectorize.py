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
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.classmap import class_names, geobox_of, iter_strips, nodata_of
from geoseg.errors import MismatchError, OptionError
from geoseg.polygons.assemble import Finished
from geoseg.polygons.stream import Traced, trace_polygons
from geoseg.polygons.strip import Ground, Strip

__all__ = ["iter_polygons", "vectorize"]

_MOST_THREADS = 4  # unasked: linking strips and building geometries is done in order, by one thread
_BATCH = 20_000  # polygons; fewer, larger frames are faster to build and to write
_LENGTH_TOLERANCE = 2e-6  # relative, of a step's length on the ground
_TABLE_ROWS = 1024  # of areas that are asked for at once
_MOST_CELLS = 4096  # along each axis
_NO_NODATA = np.iinfo(np.int32).min  # stands for nodata in maps that have none

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
        what `class_areas` says.

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
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> values = np.array([[1, 1, 2], [1, 255, 2]], np.uint8)
    >>> cover = class_map(values, grid, [ClassInfo(1, "water"), ClassInfo(2, "forest")])
    >>> vectorize(cover)[["object_id", "class_name", "pixels"]].values.tolist()
    [[1, 'water', 3], [2, 'forest', 2]]
    >>> len(vectorize(class_map(np.full((2, 3), 255, np.uint8), grid, [])))
    0
    """
    built = list(_build(class_map, confidence, connectivity, strip_rows, threads, cluster))
    frames = _Frames(class_map)
    return frames.frame(built)


def iter_polygons(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
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
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 2, 255]], np.uint8), grid, [])
    >>> [len(batch) for batch in iter_polygons(cover)]
    [2]
    """
    frames = _Frames(class_map)
    for built in _build(class_map, confidence, connectivity, strip_rows, threads, cluster):
        yield frames.frame([built])
    if not frames.objects:
        yield frames.frame([])


_Built = tuple[np.ndarray, dict[str, np.ndarray]]  # geometries, columns


def _build(
    class_map: xr.DataArray,
    confidence: xr.DataArray | None,
    connectivity: int,
    strip_rows: int,
    threads: int | None,
    cluster: str | None,
) -> Iterator[_Built]:
    """Trace, and build geometries and number columns in batches."""
    if connectivity not in (4, 8):
        raise OptionError(f"Pixels are connected by 4 or 8 neighbours, but connectivity={connectivity!r}.")
    threads = min(os.cpu_count() or 1, _MOST_THREADS) if threads is None else threads
    if threads < 1 or strip_rows < 1:
        raise OptionError(f"Give 1 or more threads and strip_rows, not {threads} and {strip_rows}.")
    geobox = geobox_of(class_map)
    areas = PixelAreas(geobox)
    integers = _Integers(class_map.dtype, nodata_of(class_map))
    traced = trace_polygons(
        _strips(class_map, confidence, strip_rows, integers, areas),
        geobox.shape[1],
        dtype=integers.dtype,
        nodata=integers.nodata,
        connectivity=connectivity,
        ground=_ground(geobox, areas),
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
def _batch(waiting: deque[Traced], integers: _Integers, unit_m2: float, with_confidence: bool) -> _Built:
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

    def __init__(self, class_map: xr.DataArray) -> None:
        self.crs = geobox_of(class_map).crs.proj  # type: ignore[union-attr]
        self.names = class_names(class_map)
        self.objects = 0

    def frame(self, built: list[_Built]) -> gpd.GeoDataFrame:
        columns: dict[str, Any] = {}
        for name, dtype in _DTYPES.items():
            parts = [part[name] for _, part in built if name in part]
            columns[name] = np.concatenate(parts) if parts else np.empty(0, dtype)
        n = len(columns["class"])
        columns["object_id"] = np.arange(self.objects + 1, self.objects + n + 1)
        columns["class_name"] = self._class_names(columns["class"])
        self.objects += n
        geometry = np.concatenate([part for part, _ in built]) if built else np.empty(0, object)
        frame = pd.DataFrame(columns, columns=list(_DTYPES))
        return gpd.GeoDataFrame(frame, geometry=gpd.array.GeometryArray(geometry, crs=self.crs))

    def _class_names(self, classes: np.ndarray) -> pd.Series:
        values, places = np.unique(classes, return_inverse=True)
        names = [self.names.get(int(value), f"class {value}") for value in values]
        return pd.Series(np.array(names, dtype=object)[places], dtype=object)


class _Integers:
    """Any integer map as uint8 or int32, the two types that tracing is compiled for."""

    def __init__(self, dtype: np.dtype, nodata: int | None) -> None:
        if dtype.kind not in "iub":
            raise OptionError(
                f"Polygons are traced from whole numbers, but the map is {dtype}. Convert it first, and say in "
                "its _FillValue which number is nodata: da.fillna(255).astype('uint8')."
            )
        in_range = nodata is not None and (dtype.kind == "b" or np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max)
        small = dtype.itemsize == 1 and dtype.kind in "ub" and in_range
        self.wide = dtype.itemsize == 8
        self.unsigned = dtype == np.uint32
        self.dtype = np.dtype(np.uint8 if small else np.int32)
        self.has_nodata = in_range
        self.nodata = _NO_NODATA
        if in_range:
            self.nodata = int(np.array(nodata).astype(np.uint32).view(np.int32)) if self.unsigned else int(nodata)  # type: ignore[arg-type]

    def convert(self, values: np.ndarray) -> np.ndarray:
        if self.wide and values.size:
            lowest, highest = int(values.min()), int(values.max())
            if lowest < np.iinfo(np.int32).min or highest > np.iinfo(np.int32).max:
                raise OptionError(
                    f"Values of a 64-bit map must fit into 32 bits, but they go from {lowest} to {highest}. "
                    "Renumber the objects from 1."
                )
        converted = values.view(np.int32) if self.unsigned else values.astype(self.dtype, copy=False)
        if not self.has_nodata and values.dtype.itemsize >= 4 and (converted == _NO_NODATA).any():
            raise OptionError(
                f"The value {self.restore(converted.min())} stands for nodata in maps that have none. Say in "
                "_FillValue which value is nodata, or renumber."
            )
        return np.ascontiguousarray(converted)

    def restore(self, values: np.ndarray) -> np.ndarray:
        return (values.view(np.uint32) if self.unsigned else values).astype(np.int64)


def _strips(
    class_map: xr.DataArray,
    confidence: xr.DataArray | None,
    strip_rows: int,
    integers: _Integers,
    areas: PixelAreas,
) -> Iterator[Strip]:
    height = class_map.shape[0]
    start = stop = 0
    for row0, values, percent in _read(class_map, confidence, strip_rows):
        end = row0 + len(values)
        if end > stop:  # a table's rows do not depend on where it is cut; a long one costs less per row
            start, stop = row0, min(max(end, row0 + _TABLE_ROWS), height)
            knots, coefs = areas.table(start, stop)
        yield Strip(integers.convert(values), knots, coefs[row0 - start : end - start], percent)


def _read(
    class_map: xr.DataArray, confidence: xr.DataArray | None, strip_rows: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Strips of both maps."""
    if confidence is None:
        for row0, values in iter_strips(class_map, rows=strip_rows):
            yield row0, values, None
        return
    _check_confidence(class_map, confidence)
    if class_map.chunks is None and confidence.chunks is None:
        for (row0, values), (_, percent) in zip(
            iter_strips(class_map, rows=strip_rows), iter_strips(confidence, rows=strip_rows), strict=True
        ):
            yield row0, values, percent
        return
    # Lazy maps of one source (class and confidence of one model run) must be computed together, or the
    # source is computed twice: they travel as one array of larger integers.
    wide = np.uint16 if class_map.dtype == np.uint8 else np.int64
    packed = class_map.data.astype(wide) << 8 | confidence.data.astype(wide)
    for row0, both in iter_strips(class_map.copy(data=packed), rows=strip_rows):
        yield row0, (both >> 8).astype(class_map.dtype), (both & 255).astype(np.uint8)


def _check_confidence(class_map: xr.DataArray, confidence: xr.DataArray) -> None:
    if confidence.dtype != np.uint8:
        raise OptionError(
            f"Confidence is uint8 percent, but this one is {confidence.dtype}. Convert it: "
            "(100 * probability).round().astype('uint8')."
        )
    if confidence.shape != class_map.shape or geobox_of(confidence) != geobox_of(class_map):
        raise MismatchError(
            f"Confidence lies on the grid of the class map, but they are {confidence.shape} and "
            f"{class_map.shape} pixels, or lie elsewhere. Resample one of them."
        )


def _ground(geobox: GeoBox, areas: PixelAreas) -> Ground:
    """Ground lengths as bilinear surfaces over a few cells: halved until the middles of cells are met."""
    counts = [1, 1]
    while True:
        rows, cols = (np.linspace(0.0, n, 2 * k + 1) for n, k in zip(geobox.shape, counts, strict=True))
        at_cols, at_rows = np.meshgrid(cols, rows)
        lengths = np.stack(areas.edge_lengths(at_cols.ravel(), at_rows.ravel()), axis=-1)
        lengths = lengths.reshape(len(rows), len(cols), 2)
        errors = [
            np.max(abs(v[:-2:2] + v[2::2] - 2 * v[1::2]) / np.maximum(v[:-2:2] + v[2::2], 1e-300))
            for v in (lengths, lengths.swapaxes(0, 1))
        ]
        more = [
            error > _LENGTH_TOLERANCE and k < min(n, _MOST_CELLS)
            for error, k, n in zip(errors, counts, geobox.shape, strict=True)
        ]
        if not any(more):
            break
        counts = [2 * k if halve else k for k, halve in zip(counts, more, strict=True)]
    nodes = lengths[::2, ::2]
    rows, cols = rows[::2, None, None], cols[::2, None]
    height, width = rows[1] - rows[0], cols[1] - cols[0]
    north, south = nodes[:-1], nodes[1:]
    by_col = np.diff(north, axis=1) / width
    by_row = (south - north)[:, :-1] / height
    by_both = (np.diff(south, axis=1) / width - by_col) / height
    row, col = rows[:-1], cols[:-1]  # of each cell's first corner, from where the surface is moved to the map's
    surfaces = np.stack(
        [
            north[:, :-1] - by_col * col - by_row * row + by_both * row * col,
            by_col - by_both * row,
            by_row - by_both * col,
            by_both,
        ],
        axis=-1,
    )
    cells = np.array(counts) / geobox.shape
    return Ground(tuple(geobox.transform)[:6], areas.unit_m2, np.ascontiguousarray(surfaces), cells)
