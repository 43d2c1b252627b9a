"""Where the pixels of one grid lie in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError

__all__ = ["Places", "no_overlap"]

_NUDGE = 1e-6  # pixels: a centre that lies on an edge, give or take rounding, belongs to the pixel right of it or below
_SIDE = 64  # steps along the side of a grid whose outline is moved to another CRS


@dataclass(frozen=True)
class Places:
    """Where the pixel centres of one grid lie in another. It can be pickled."""

    source: GeoBox
    """The grid that is looked into."""
    target: GeoBox
    """The grid whose pixels ask."""

    @property
    def is_upright(self) -> bool:
        """Whether the rows of one grid are those of the other, so that rows and columns can be found apart."""
        if self.source.crs != self.target.crs:
            return False
        move = ~self.source.transform * self.target.transform
        return bool(abs(move.b) * self.target.shape[0] < _NUDGE and abs(move.d) * self.target.shape[1] < _NUDGE)

    def find(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of `source` in which the centres of pixels of `target` lie: int64 rows and columns of the same
        shape; outside the source they are outside its shape."""
        x, y = _apply(self.target.transform, cols + 0.5, rows + 0.5)
        if self.source.crs != self.target.crs:
            x, y = _transformer(self.target.crs.to_wkt(), self.source.crs.to_wkt()).transform(x, y)  # type: ignore[union-attr]
        found_cols, found_rows = _apply(~self.source.transform, x, y)
        return _floor(found_rows, self.source.shape[0]), _floor(found_cols, self.source.shape[1])

    def window(self) -> tuple[slice, slice]:
        """The rows and columns of `target` that hold all pixels whose centres lie in `source`.

        It is the smallest such window for upright grids. Otherwise it may be a little larger, and where the outline of
        the source cannot be drawn in the target's CRS (over a pole or the date line), it is all of the target.

        Raises
        ------
        SceneError
            There is no such pixel.
        """
        spans = self._upright_spans() if self.is_upright else self._outline_spans()
        if spans is None or any(stop <= start for start, stop in spans):
            raise no_overlap([self.source, self.target])
        return slice(*spans[0]), slice(*spans[1])

    def _upright_spans(self) -> list[tuple[int, int]] | None:
        height, width = self.target.shape
        rows = self.find(np.arange(height), np.zeros(height))[0]
        cols = self.find(np.zeros(width), np.arange(width))[1]
        spans = []
        for found, size in ((rows, self.source.shape[0]), (cols, self.source.shape[1])):
            inside = np.flatnonzero((found >= 0) & (found < size))
            if not len(inside):
                return None
            spans.append((int(inside[0]), int(inside[-1]) + 1))
        return spans

    def _outline_spans(self) -> list[tuple[int, int]] | None:
        height, width = self.target.shape
        steps = np.linspace(0, 1, _SIDE + 1)
        x, y = self._back(*np.meshgrid(steps, steps))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return [(0, height), (0, width)]
        ring = np.r_[0 : _SIDE + 1], np.full(_SIDE, _SIDE), np.r_[_SIDE - 1 : -1 : -1], np.zeros(_SIDE, int)
        around = np.concatenate(ring), np.concatenate([ring[3], ring[0], ring[1], ring[2]])
        outline = shapely.Polygon(np.column_stack([x[around], y[around]]))
        margin = 2 + max(np.ptp(x), np.ptp(y)) / 1000  # an arc leaves its chord by less
        if not outline.is_valid or not shapely.contains_xy(outline.buffer(margin), x, y).all():
            return [(0, height), (0, width)]
        common = outline.intersection(shapely.box(0, 0, width, height))
        if common.is_empty:
            return None
        left, top, right, bottom = common.bounds
        return [
            (max(0, int(low - margin)), min(size, int(np.ceil(high + margin))))
            for low, high, size in ((top, bottom, height), (left, right, width))
        ]

    def _back(self, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of the source, given as shares 0..1 of its sides, in pixels of the target."""
        height, width = self.source.shape
        x, y = _apply(self.source.transform, across * width, down * height)
        if self.source.crs != self.target.crs:
            x, y = _transformer(self.source.crs.to_wkt(), self.target.crs.to_wkt()).transform(x, y)  # type: ignore[union-attr]
        return _apply(~self.target.transform, x, y)


def no_overlap(grids: Sequence[GeoBox]) -> SceneError:
    """The error that grids have no part in common."""
    extents = "; ".join(_extent(grid) for grid in grids)
    return SceneError(
        f"Change is found where all maps overlap, but these do not: {extents}. Give maps of one place, and check "
        "their CRS."
    )


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def _apply(move: Any, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """An affine transform of arrays; places that a projection lacks are infinite, and stay so or become NaN."""
    with np.errstate(invalid="ignore"):
        return move.a * x + move.b * y + move.c, move.d * x + move.e * y + move.f


def _floor(places: np.ndarray, size: int) -> np.ndarray:
    inside = np.isfinite(places) & (places + _NUDGE >= 0) & (places + _NUDGE < size)
    return np.where(inside, np.floor(np.where(inside, places, 0) + _NUDGE), -1).astype(np.int64)


def _extent(grid: GeoBox) -> str:
    left, bottom, right, top = grid.extent.boundingbox.bbox
    return f"{left:.8g}, {bottom:.8g} to {right:.8g}, {top:.8g} in {grid.crs.proj.name}"  # type: ignore[union-attr]
