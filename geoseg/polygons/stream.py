"""Strips of a map → finished polygons, strip by strip: the numpy core of `vectorize`, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from geoseg.blocks import map_in_order
from geoseg.polygons.assemble import Finished, finish
from geoseg.polygons.connect import NODE, PIECE, REGION, Open
from geoseg.polygons.link import link
from geoseg.polygons.shapes import Rings, Wkb
from geoseg.polygons.strip import FLAT, Ground, Job, Rules, Strip, own, trace_strip

__all__ = ["Linker", "Traced", "trace_polygons"]


@dataclass(frozen=True)
class Traced:
    """Finished polygons, in order."""

    values: np.ndarray
    """(feature,) int32: the value of the pixels."""
    pixels: np.ndarray
    """(feature,) int64."""
    areas: np.ndarray
    """(feature,) int64, in units of `Ground.unit_m2`."""
    perimeters: np.ndarray
    """(feature,) float64 m, holes included."""
    confidences: np.ndarray
    """(feature,) int64: sum of percent over the pixels (0 without confidence)."""
    drawn: np.ndarray
    """(feature,) float64: area of the shape in pixels; that of its pixels where borders are exact."""
    shapes: tuple[Rings | Wkb, ...]
    """Shapes of the same features, as the strip and the seam finished them."""
    order: np.ndarray
    """(feature,) int64: the place of each feature among those of `shapes`, one after the other."""


def trace_polygons(
    strips: Iterable[Strip],
    width: int,
    *,
    dtype: np.dtype,
    nodata: int,
    connectivity: int,
    ground: Ground = FLAT,
    band_rows: int = 0,
    most_points: int = 0,
    wkb: Literal["Polygon", "MultiPolygon"] | None = None,
    threads: int = 1,
    cluster: str | None = None,
) -> Iterator[Traced]:
    """The polygons of a map, each as soon as the rows that came show that it is finished.

    Parameters
    ----------
    strips
        All rows from top to bottom, cut anywhere: the cuts cannot be seen in the result.
    width
        Columns.
    dtype, nodata
        Of the strips' values: uint8 or int32; pixels with the value nodata belong to no polygon.
    connectivity
        4 (by edges) or 8 (by corners too).
    ground
        Coordinates and lengths.
    band_rows, most_points, wkb
        See `Rules`.
    threads, cluster
        Who traces the strips: see `map_in_order`.

    Yields
    ------
    Traced
        What each strip finished, often nothing, and last what the end of the map finished.

    Raises
    ------
    MismatchError
        A pixel with a value has no confidence.

    Examples
    --------
    >>> values = np.array([[1, 1], [255, 1]], np.uint8)
    >>> strip = Strip(values, np.array([0, 2]), np.tile([0.0, 1.0, 0.0, 0.0], (2, 1, 1)))
    >>> _, traced = trace_polygons([strip], 2, dtype=values.dtype, nodata=255, connectivity=4)
    >>> traced.pixels, traced.areas, traced.perimeters
    (array([3]), array([3]), array([8.]))
    """
    rules = Rules(nodata, connectivity == 8, ground, band_rows, most_points, wkb)
    linker = Linker(rules)
    traced = map_in_order(trace_strip, _jobs(strips, width, np.dtype(dtype), rules), threads=threads, cluster=cluster)
    for finished, shapes, left in traced:
        yield linker.add(finished, shapes, left)


def _jobs(strips: Iterable[Strip], width: int, dtype: np.dtype, rules: Rules) -> Iterator[Job]:
    outside = np.full((1, width), rules.nodata, dtype)
    above, row0 = outside[0], 0
    for strip in strips:
        yield Job(strip, above, row0, rules)
        above = strip.values[-1].copy()
        row0 += len(strip.values)
    # One more row of nodata lets the map's last lattice row be read like any other.
    yield Job(Strip(outside, np.array([0, width]), np.zeros((1, 1, 4))), above, row0, rules)


class Linker:
    """All that is open below the strips that came: its size follows the front, not the map."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        none = np.empty((0, 2), np.int32)
        self.state: Any = Open(
            np.empty(0, np.int64), 0, np.empty(0, PIECE), 0, np.empty(0, REGION), 0, np.empty(0, NODE), none, none, 0, 0
        )

    def add(self, finished: Finished, shapes: Rings | Wkb, left: Open) -> Traced:
        """Put a traced strip below the ones before, and give all that it finished."""
        ground = self.rules.ground
        linked = link(self.state, Open(*(own(part) if isinstance(part, np.ndarray) else part for part in left)))
        rules = self.rules
        by_seam, rings, self.state = finish(
            linked, rules.eight, rules.most_points, ground.transform, ground.surfaces, ground.cells, False
        )
        columns = {
            name: np.concatenate(parts) for name, *parts in zip(Finished._fields, finished, by_seam, strict=True)
        }
        order = np.lexsort((columns.pop("firsts"), columns.pop("bottoms")))
        return Traced(
            **{name: column[order] for name, column in columns.items()},
            shapes=(shapes, rules.shapes(rings)),
            order=order,
        )
