"""A map → its polygons in batches: columns of numbers, and shapes that are still flat arrays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.classmap import geobox_of, nodata_of
from geoseg.errors import OptionError
from geoseg.polygons.ground import ground_of
from geoseg.polygons.integers import Integers
from geoseg.polygons.outline import MOST_POINTS
from geoseg.polygons.simplify import BAND_ROWS
from geoseg.polygons.source import Outlines, strips_of
from geoseg.polygons.stream import Traced, trace_polygons

__all__ = ["Batch", "iter_batches", "names_of"]

_MOST_THREADS = 4  # unasked: linking strips and building geometries is done in order, by one thread
_STRIP_PIXELS, _LEAST_ROWS, _MOST_ROWS = 1 << 20, 64, 256  # higher strips have fewer seams, but take more memory
_BATCH = 5_000  # polygons; fewer, larger batches are faster to build and to write


@dataclass(frozen=True)
class Batch:
    """Some polygons of a map."""

    columns: dict[str, np.ndarray]
    """``object_id``, ``class``, ``pixels``, ``area_m2``, ``area_ha``, ``perimeter_m``, ``confidence`` (NaN without
    one), and ``area_change`` where borders are not exact; see `vectorize`."""
    parts: deque[Traced]
    """The same polygons as they were traced."""

    def take_parts(self) -> Iterator[Traced]:
        """Each part, which is then forgotten: its arrays can go as soon as they have become something else."""
        while self.parts:
            yield self.parts.popleft()


def iter_batches(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None,
    outlines: Outlines,
    strip_rows: int | None,
    threads: int | None,
    cluster: str | None,
    wkb: Literal["Polygon", "MultiPolygon"] | None = None,
) -> Iterator[Batch]:
    """Trace a map.

    Parameters
    ----------
    class_map, confidence, strip_rows, threads, cluster
        See `vectorize`.
    outlines
        How borders are drawn.
    wkb
        The type of shapes that are made WKB; None = they stay `Rings`.

    Yields
    ------
    Batch
        At least one, which is empty if the map is.
    """
    geobox = geobox_of(class_map)
    if strip_rows is None:
        strip_rows = min(max(_STRIP_PIXELS // max(geobox.shape[1], 1), _LEAST_ROWS), _MOST_ROWS)
    threads = min(os.cpu_count() or 1, _MOST_THREADS) if threads is None else threads
    if threads < 1 or strip_rows < 1:
        raise OptionError(f"Give 1 or more threads and strip_rows, not {threads} and {strip_rows}.")
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
        wkb=wkb,
        threads=threads,
        cluster=cluster,
    )
    waiting: deque[Traced] = deque()
    objects = count = 0

    def batch() -> Batch:
        columns = _columns(waiting, objects, integers, areas.unit_m2, confidence is not None)
        if exact:
            del columns["area_change"]
        return Batch(columns, deque(waiting))

    for part in traced:
        waiting.append(part)
        count += len(part.values)
        if count >= _BATCH:
            yield batch()
            waiting.clear()
            objects, count = objects + count, 0
    if count or not objects:
        yield batch()


def _columns(
    parts: deque[Traced], objects: int, integers: Integers, unit_m2: float, with_confidence: bool
) -> dict[str, np.ndarray]:
    values, pixels, areas, perimeters, confidences, drawn = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("values", "pixels", "areas", "perimeters", "confidences", "drawn")
    )
    area_m2 = areas * unit_m2
    return {
        "object_id": np.arange(objects + 1, objects + len(values) + 1),
        "class": integers.restore(values),
        "pixels": pixels,
        "area_m2": area_m2,
        "area_ha": area_m2 / 1e4,
        "perimeter_m": perimeters,
        "confidence": confidences / pixels if with_confidence else np.full(len(area_m2), np.nan),
        "area_change": drawn / pixels - 1,
    }


def names_of(classes: np.ndarray, known: dict[int, str]) -> tuple[list[str], np.ndarray]:
    """Names, and for each class its place among them.

    >>> names_of(np.array([3, 7, 3]), {3: "water"})
    (['water', 'class 7'], array([0, 1, 0]))
    """
    values, places = np.unique(classes, return_inverse=True)
    return [known.get(int(value), f"class {value}") for value in values], places
