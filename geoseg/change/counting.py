"""What became what, counted: how many pixels, and how much true area, have each row of values in a stack of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.areas import PixelAreas
from geoseg.areas.rows import add_runs
from geoseg.change.pairing import Stack, valid_in_all
from geoseg.errors import SceneError

__all__ = ["Counted", "count"]

_STRIP_ROWS = 64  # pairs take four bytes a pixel
_MOST_VALUES = 1 << 11  # of one map in a strip
_MOST_BINS = 1 << 22  # that are counted without looking which of them occur
_MOST_ROWS = 1 << 18  # different trajectories: about 64 MB

OnStrip = Callable[[int, list[np.ndarray]], object]


@dataclass(frozen=True)
class Counted:
    """How often each row of values occurs where all maps have a class."""

    pixels: dict[tuple[int, ...], int]
    """By the values of all maps, in order of the maps."""
    units: dict[tuple[int, ...], int]
    """The same as area, in integers of `unit_m2`, so that no sum depends on an order."""
    unit_m2: float
    """See `PixelAreas`."""
    no_data: tuple[int, int]
    """Pixels and units of what is left of the common grid."""


def count(stack: Stack, *, on_strip: OnStrip | None = None) -> Counted:
    """Read the maps once, strip by strip, and count; ``on_strip`` gets the first row and the maps' pixels of each.

    Memory holds a strip of each map, and what was counted: at most 262 144 different rows.

    Raises
    ------
    SceneError
        More than that, or a map has too many values for a class map.
    """
    areas = PixelAreas(stack.geobox)
    pixels: dict[tuple[int, ...], int] = {}
    units: dict[tuple[int, ...], int] = {}
    nothing = np.zeros(2, np.int64)
    for row0, maps in stack.strips(_STRIP_ROWS):
        bins, rows = _numbered(maps, stack.no_data)
        parts = np.zeros((2, len(rows) + 1), np.int64)
        add_runs(bins, 0, *areas.table(row0, row0 + len(bins)), areas.unit_m2, *parts)
        for index in np.flatnonzero(parts[0, :-1]).tolist():
            values = rows[index]
            pixels[values] = pixels.get(values, 0) + int(parts[0, index])
            units[values] = units.get(values, 0) + int(parts[1, index])
        nothing += parts[:, -1]
        if len(pixels) > _MOST_ROWS:
            raise SceneError(
                f"At most {_MOST_ROWS:,} different trajectories are counted, but these {len(stack.maps)} maps have "
                "more. Merge classes with a crosswalk, or give fewer dates."
            )
        if on_strip is not None:
            on_strip(row0, maps)
    return Counted(pixels, units, areas.unit_m2, (int(nothing[0]), int(nothing[1])))


class _Rows:
    """The rows of values by number, made when they are asked for: most never occur."""

    def __init__(self, values: list[np.ndarray], numbers: np.ndarray | None) -> None:
        self.values, self.numbers = values, numbers
        self.shape = tuple(len(part) for part in values)

    def __len__(self) -> int:
        return math.prod(self.shape) if self.numbers is None else len(self.numbers)

    def __getitem__(self, index: int) -> tuple[int, ...]:
        number = index if self.numbers is None else self.numbers[index]
        places = np.unravel_index(number, self.shape)
        return tuple(int(part[place]) for part, place in zip(self.values, places, strict=True))


def _numbered(parts: Sequence[np.ndarray], no_data: Sequence[int]) -> tuple[np.ndarray, _Rows]:
    """The number of each pixel's row of values, the last one where a map has no data; those rows."""
    found = [_values(part) for part in parts]
    if max(map(len, found)) > _MOST_VALUES:
        raise SceneError(
            f"A class map has few different values, but a strip of one has {max(map(len, found)):,}. Give class maps, "
            "not measurements or maps of object ids."
        )
    rows, many = _Rows(found, None), math.prod(map(len, found))
    bins: np.ndarray = np.zeros(parts[0].shape, np.int32 if many <= _MOST_BINS else np.int64)
    for part, values in zip(parts, found, strict=True):
        bins *= bins.dtype.type(len(values))
        bins += _index(part, values).astype(bins.dtype)
    if many > _MOST_BINS:
        numbers, bins = np.unique(bins, return_inverse=True)
        rows, bins = _Rows(found, numbers), bins.reshape(parts[0].shape).astype(np.int32)
    bins[~valid_in_all(parts, no_data)] = len(rows)
    return bins, rows


def _values(strip: np.ndarray) -> np.ndarray:
    """The values that occur, rising."""
    if strip.dtype != np.uint8:
        return np.unique(strip)
    there = np.zeros(256, bool)
    for row in strip:  # an index takes eight bytes a pixel: row by row
        there[row] = True
    return np.flatnonzero(there)


def _index(strip: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The place of each pixel among the values."""
    if strip.dtype != np.uint8:
        return np.searchsorted(values, strip)
    table = np.zeros(256, np.uint8)
    table[values] = np.arange(len(values))
    return table[strip]
