"""One strip of a map → the polygons that lie inside it, and what it leaves open: a pure function of its pixels."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from geoseg.errors import MismatchError
from geoseg.polygons.assemble import Finished, finish
from geoseg.polygons.connect import PIECE, REGION, Open
from geoseg.polygons.rings import follow
from geoseg.polygons.shapes import Rings, Wkb, encode
from geoseg.polygons.trace import CORNER, scan

__all__ = ["FLAT", "Ground", "Job", "Rules", "Strip", "trace_strip"]


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
    flags: np.ndarray | None = None
    """(n,) int64: vertices of simplified borders on the lattice rows above these rows; None = none."""


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
class Rules:
    """What holds for every strip of a map."""

    nodata: int
    """Pixels with this value belong to no polygon."""
    eight: bool
    """Whether pixels are connected across corners, too."""
    ground: Ground = field(default=FLAT)
    """Coordinates and lengths."""
    band_rows: int = 0
    """Height of the bands that borders were simplified in; 0 = they are exact."""
    most_points: int = 0
    """Points that a vertex may become: 0 where borders are exact, 1 where they are simplified, more where smoothed."""
    wkb: Literal["Polygon", "MultiPolygon"] | None = None
    """The type of shapes that leave as WKB; None = they leave as `Rings`."""

    def shapes(self, rings: Rings) -> Rings | Wkb:
        """Finished rings as they leave."""
        return rings if self.wkb is None else encode(rings, multi=self.wkb == "MultiPolygon")


@dataclass(frozen=True)
class Job:
    """All that tracing one strip needs; it can be sent to another process."""

    strip: Strip
    """The rows."""
    above: np.ndarray
    """(col,) the row above them; nodata above the map."""
    row0: int
    """Number of the strip's first row in the map."""
    rules: Rules
    """Of the map."""


class _Scratch(threading.local):
    """Each thread's arrays for what does not outlive a strip: fresh memory for each one costs more than tracing it."""

    def __init__(self) -> None:
        self.corners = np.empty(0, CORNER)
        self.sums = np.empty((0, 2), np.int64)
        self.pool = np.empty(0, np.int64)
        self.pieces = np.empty(0, PIECE)
        self.regions = np.empty(0, REGION)

    def make_room(self, n: int) -> None:
        """At least n rows in each array; what is in them is lost."""
        for name, array in vars(self).items():
            if len(array) < n:
                setattr(self, name, np.empty((n * 3 // 2, *array.shape[1:]), array.dtype))


_scratch = _Scratch()
_NO_CONFIDENCE = np.empty((0, 0), np.uint8)
_NO_FLAGS = np.empty(0, np.int64)


def trace_strip(job: Job) -> tuple[Finished, Rings | Wkb, Open]:
    """Trace one strip, whatever lies above or below.

    Returns
    -------
    finished, shapes
        The polygons whose boundary does not reach the row above the strip or the row below.
    open
        Everything else.

    Raises
    ------
    MismatchError
        A pixel with a value has no confidence.

    Examples
    --------
    >>> strip = Strip(np.array([[1, 2, 2]], np.uint8), np.array([0, 3]), np.zeros((1, 1, 4)))
    >>> finished, _, left = trace_strip(Job(strip, np.full(3, 255, np.uint8), 0, Rules(nodata=255, eight=False)))
    >>> len(finished.values), left.below.tolist()  # three edges: outside | 1 | 2 | outside
    (0, [[0, -1], [1, 0], [-1, 1]])
    """
    strip, rules, ground = job.strip, job.rules, job.rules.ground
    values = own(strip.values)
    _scratch.make_room(2 * values.shape[1] + 3)
    corners, sums, n, front, joins, touches, complete = scan(
        values,
        own(job.above),
        job.row0,
        values.dtype.type(rules.nodata),
        own(strip.knots),
        own(strip.coefs),
        ground.unit_m2,
        _NO_CONFIDENCE if strip.confidence is None else own(strip.confidence),
        _NO_FLAGS if strip.flags is None else own(strip.flags),
        rules.band_rows,
        _scratch.corners,
        _scratch.sums,
        rules.eight,
    )
    if not complete:
        raise MismatchError(
            "Each pixel with a class needs a confidence of 0..100 percent, but some pixels in rows "
            f"{job.row0}..{job.row0 + len(values) - 1} have more or none. "
            "Give the confidence that belongs to this map, or leave it out."
        )
    _scratch.corners, _scratch.sums = corners, sums
    _scratch.make_room(n)
    traced = follow(corners, sums, n, front, joins, touches, _scratch.pool, _scratch.pieces, _scratch.regions)
    finished, rings, left = finish(
        traced, rules.eight, rules.most_points, ground.transform, own(ground.surfaces), own(ground.cells), True
    )
    return finished, rules.shapes(rings), left


def own(array: np.ndarray) -> np.ndarray:
    """The array, or a copy if it is read-only, as what comes from another process is: numba would compile once more."""
    return np.require(array, requirements=["C", "W"])
