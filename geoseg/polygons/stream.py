"""Strips of a map → finished polygons, strip by strip: the numpy core of `vectorize`, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.errors import MismatchError
from geoseg.polygons.assemble import assemble
from geoseg.polygons.connect import REGION, unite_corners
from geoseg.polygons.finish import compact, keep_open, settle
from geoseg.polygons.rings import NODE, PIECE, follow
from geoseg.polygons.trace import CORNER, new_front, scan

__all__ = ["FLAT", "Ground", "Strip", "Traced", "trace_polygons"]

_NO_CONFIDENCE = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Strip:
    """Some full-width rows of a map, and what is needed to sum over them."""

    values: np.ndarray
    """(row, col) uint8 or int32."""
    knots: np.ndarray
    """(k + 1,) int64: see `PixelAreas.table`."""
    coefs: np.ndarray
    """(row, k, c) float64: see `PixelAreas.table`."""
    confidence: np.ndarray | None = None
    """(row, col) uint8 percent; None = none."""


@dataclass(frozen=True)
class Ground:
    """How lattice coordinates become coordinates of the CRS and lengths on the ground."""

    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of the affine transform."""
    unit_m2: float
    """Areas are summed as integers of this unit."""
    surfaces: np.ndarray
    """(row cell, col cell, 2, 4) float64: metres per column step and per row step, bilinear in each cell: s0 + s1 * col
    + row * (s2 + s3 * col)."""
    cells: np.ndarray
    """(2,) float64: cells per lattice row and per column."""


FLAT = Ground((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 1.0, np.array([[[[1.0, 0.0, 0.0, 0.0]] * 2]]), np.zeros(2))
"""Pixels of 1 m × 1 m; coordinates are columns and rows."""


@dataclass(frozen=True)
class Traced:
    """Finished polygons as flat arrays."""

    values: np.ndarray
    """(feature,) int32: the value of the pixels."""
    coords: np.ndarray
    """(vertex, 2) float64; rings are closed."""
    ring_offsets: np.ndarray
    """(ring + 1,) int64 into coords."""
    part_offsets: np.ndarray
    """(part + 1,) int64 into rings; a part's first ring is its exterior."""
    feature_offsets: np.ndarray
    """(feature + 1,) int64 into parts."""
    pixels: np.ndarray
    """(feature,) int64."""
    areas: np.ndarray
    """(feature,) int64, in units of `Ground.unit_m2`."""
    perimeters: np.ndarray
    """(feature,) float64 m, holes included."""
    confidences: np.ndarray
    """(feature,) int64: sum of percent over the pixels (0 without confidence)."""


def trace_polygons(
    strips: Iterable[Strip], width: int, *, dtype: np.dtype, nodata: int, connectivity: int, ground: Ground = FLAT
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
    dtype = np.dtype(dtype)
    tracer = _Tracer(width, dtype, nodata, connectivity == 8, ground)
    for strip in strips:
        yield tracer.add(strip)
    # One more row of nodata lets the map's last lattice row be read like any other.
    below = np.full((1, width), nodata, dtype)
    yield tracer.add(Strip(below, np.array([0, width]), np.zeros((1, 1, 4))))


class _Tracer:
    """All that is open below the rows that came: its size follows the front, not the map."""

    def __init__(self, width: int, dtype: np.dtype, nodata: int, eight: bool, ground: Ground) -> None:
        self.nodata = dtype.type(nodata)
        self.eight = eight
        self.ground = ground
        self.front = new_front(width, dtype, nodata)
        self.rows = 0
        self.corners = np.empty(1 << 12, CORNER)
        self.sums = np.empty((1 << 12, 2), np.int64)
        self.nodes = np.empty(0, NODE)
        self.pool = np.empty(0, np.int64)
        self.pieces = np.empty(0, PIECE)
        self.regions = np.empty(0, REGION)
        self.n_pool = self.n_pieces = self.n_regions = 0
        self.live_pool = self.live_pieces = 0

    def add(self, strip: Strip) -> Traced:
        """Read a strip and give what it finished."""
        n_open = len(self.nodes)
        self.corners[: n_open + 1] = np.zeros((), CORNER)
        self.corners, self.sums, n, joins, touches, complete = scan(
            strip.values,
            self.rows,
            self.nodata,
            self.front,
            strip.knots,
            strip.coefs,
            self.ground.unit_m2,
            _NO_CONFIDENCE if strip.confidence is None else strip.confidence,
            self.corners,
            self.sums,
            n_open + 1,
            self.eight,
        )
        if not complete:
            raise MismatchError(
                "Each pixel with a class needs a confidence of 0..100 percent, but some pixels in rows "
                f"{self.rows}..{self.rows + len(strip.values) - 1} have more or none. "
                "Give the confidence that belongs to this map, or leave it out."
            )
        self.rows += len(strip.values)
        self._make_room(n)
        self.nodes, self.n_pool, self.n_pieces, self.n_regions = follow(
            self.corners,
            self.sums,
            n,
            self.front.head,
            self.front.tail,
            self.nodes,
            self.pool,
            self.n_pool,
            self.pieces,
            self.n_pieces,
            self.regions,
            self.n_regions,
        )
        unite_corners(self.regions["parent"], self.corners, joins)
        if self.eight:
            unite_corners(self.regions["group"], self.corners, touches)
        traced = self._finished()
        self.n_regions = keep_open(self.regions, self.n_regions, self.nodes)
        if self.n_pool > 2 * self.live_pool + (1 << 16) or self.n_pieces > 2 * self.live_pieces + (1 << 14):
            self.pool, self.n_pool, self.pieces, self.n_pieces = compact(
                self.pool, self.pieces, self.nodes, self.regions, self.n_regions
            )
            self.live_pool, self.live_pieces = self.n_pool, self.n_pieces
        return traced

    def _make_room(self, n: int) -> None:
        """At worst all open boundaries close, and so are copied once.

        Each new corner may begin a piece, and of the vertices that close, four may be a ring (cut off at a saddle).
        """
        self.pool = _with_room(self.pool, self.n_pool, 2 * self.n_pool + n)
        self.pieces = _with_room(self.pieces, self.n_pieces, self.n_pieces + n + (self.n_pool + n) // 4)
        self.regions = _with_room(self.regions, self.n_regions, self.n_regions + n)

    def _finished(self) -> Traced:
        done, keys, bottoms, n_parts, n_rings, n_vertices = settle(
            self.regions, self.n_regions, self.nodes, self.pool, self.pieces, self.eight
        )
        order = np.argsort(keys)
        order = order[np.argsort(bottoms[order], kind="stable")]
        done = done[order]
        coords, ring_offsets, part_offsets, feature_offsets, pixels, perimeters = assemble(
            done,
            n_parts,
            n_rings,
            n_vertices,
            self.pool,
            self.pieces,
            self.regions,
            self.ground.transform,
            self.ground.surfaces,
            self.ground.cells,
        )
        return Traced(
            self.regions["value"][done],
            coords,
            ring_offsets,
            part_offsets,
            feature_offsets,
            pixels,
            self.regions["area"][done],
            perimeters,
            self.regions["confidence"][done],
        )


def _with_room(array: np.ndarray, used: int, need: int) -> np.ndarray:
    """The array, or a larger copy of its used part."""
    if need <= len(array):
        return array
    larger = np.empty(max(need, len(array) * 3 // 2), array.dtype)
    larger[:used] = array[:used]
    return larger
