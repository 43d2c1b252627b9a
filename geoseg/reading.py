"""Reading: the pixels of tiles, in lattice order, so that what two of them share is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.ahead import ahead
from geoseg.tiling import Tile, Tiling, reflect

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["iter_tiles"]

_Read = Callable[[slice, slice], tuple[np.ndarray, np.ndarray]]
"""Pixels (band, row, col) and validity (row, col) of rows and columns of the scene."""


def iter_tiles(
    scene: Scene,
    tiling: Tiling,
    rows: range,
    cols: range,
    *,
    value_range: tuple[float, float] | None = None,
    dtype: str | None = None,
) -> Iterator[tuple[Tile, np.ndarray, np.ndarray]]:
    """The tiles that have a valid pixel, row by row, read ahead by a thread.

    Parameters
    ----------
    scene, tiling
        What to read, and the lattice over it.
    rows, cols
        Lattice rows and columns, neither empty.
    value_range, dtype
        Pixel values that become the lowest and the highest of this data type; by default pixels stay as they are.

    Yields
    ------
    tuple
        The tile, its pixels (band, row, col) and their validity (row, col), reflected beyond the scene.
    """

    def read(rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        pixels = scene.read(rows, cols)
        return _rescale(pixels.values, value_range, dtype), pixels.valid

    for strip in ahead(_strips(read, tiling, rows, cols)):
        for col in cols:
            tile = tiling.tile(strip.lattice_row, col)
            values, valid = strip.cut(tile)
            if valid.any():
                yield tile, values, valid


def _strips(read: _Read, tiling: Tiling, rows: range, cols: range) -> Iterator[_Strip]:
    """The rows of pixels under each row of tiles; the rows that two of them share are read once."""
    height, width = tiling.shape
    left, right = tiling.tile(0, cols[0]).left_px, tiling.tile(0, cols[-1]).left_px + tiling.tile_px
    across = slice(max(left, 0), min(right, width))
    end = min(tiling.tile(rows[-1], 0).top_px + tiling.tile_px, height)
    values, valid = np.empty((0, 0, 0)), np.empty((0, 0), bool)
    top = 0
    for lattice_row in rows:
        first = tiling.tile(lattice_row, 0).top_px
        start, stop = max(first, 0), min(first + tiling.tile_px, end)
        if not len(valid):
            values, valid = read(slice(start, stop), across)
        else:
            values, valid = values[:, start - top :], valid[start - top :]
            if stop > start + len(valid):  # else a margin past the scene's end is all that is new
                more, more_valid = read(slice(start + len(valid), stop), across)
                values, valid = np.concatenate([values, more], axis=1), np.concatenate([valid, more_valid])
        top = start
        yield _Strip(lattice_row, start, across.start, values, valid, tiling)


def _rescale(values: np.ndarray, value_range: tuple[float, float] | None, dtype: str | None) -> np.ndarray:
    if value_range is None or dtype is None:
        return values
    low, high = value_range
    lowest, highest = (0.0, 1.0) if np.dtype(dtype).kind == "f" else (0.0, float(np.iinfo(dtype).max))
    scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * (highest - lowest) + lowest
    scaled = np.nan_to_num(scaled)  # NaN is invalid already; any number will do
    return (np.rint(scaled) if np.dtype(dtype).kind != "f" else scaled).astype(dtype)


@dataclass(frozen=True)
class _Strip:
    """The pixels under one row of tiles."""

    lattice_row: int
    top_px: int
    left_px: int
    values: np.ndarray
    valid: np.ndarray
    tiling: Tiling

    def cut(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """The pixels (band, row, col) and validity of a tile, reflected where it reaches past the scene."""
        side, (height, width) = self.tiling.tile_px, self.tiling.shape
        top, left = tile.top_px - self.top_px, tile.left_px - self.left_px
        if top >= 0 and left >= 0 and tile.top_px + side <= height and tile.left_px + side <= width:
            window: tuple[Any, Any] = slice(top, top + side), slice(left, left + side)
        else:
            rows = reflect(tile.top_px, side, height) - self.top_px
            window = rows[:, None], reflect(tile.left_px, side, width) - self.left_px
        return self.values[:, *window], self.valid[window]
