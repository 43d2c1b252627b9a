"""Painting: from joined parts to the map of objects, and to the table of what each of them is.

A pixel goes to the tile whose core it lies in, and there to the object with the highest score. Where that tile has no
part of an object at all, neighbours that saw it reach in, so nothing is cut along a core's edge because one tile missed
it. What others leave less than half of is a duplicate of them, and is no object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.objects.compiled import entry
from geoseg.objects.parts import Parts, Window, core_of, trusted_of
from geoseg.tiling import Block, Tiling

__all__ = ["Found", "count", "describe", "paint"]


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of each object, by its number."""

    channel: np.ndarray
    """(object,) int64: the class of most of its pixels; of equal ones the first."""
    score: np.ndarray
    """(object,) float64: mean of its parts' scores, weighted by their pixels; 0..1."""
    pixels: np.ndarray
    """(object,) int64: pixels of its parts, before others take any."""
    tiles: np.ndarray
    """(object,) int64: in how many tiles it was seen."""
    edge: np.ndarray
    """(object,) bool: True where it touches the scene's edge."""

    def __len__(self) -> int:
        return len(self.channel)


def describe(parts: Parts, number: np.ndarray) -> Found:
    """What the parts say of their objects.

    Parameters
    ----------
    parts
        Of the whole scene; their runs are not needed.
    number
        (part,) The object of each, from `geoseg.objects.join.join`.
    """
    objects = int(number.max(initial=-1)) + 1
    pixels = np.bincount(number, parts.core_px, objects)
    score = np.bincount(number, parts.core_px * parts.score.astype(np.float64), objects) / np.maximum(pixels, 1)
    channels = int(parts.channel.max(initial=0)) + 1
    votes = np.bincount(number * channels + parts.channel, parts.core_px, objects * channels)
    by_object = np.argsort(number, kind="stable")  # and in each by tile, as parts are
    pairs = np.stack([number[by_object], parts.tile[by_object]])
    seen = pairs[0, np.diff(pairs, axis=1, prepend=-1).any(0)]
    return Found(
        channel=votes.reshape(objects, channels).argmax(1),
        score=score,
        pixels=pixels.astype(np.int64),
        tiles=np.bincount(seen, minlength=objects),
        edge=np.bincount(number, parts.edge, objects) > 0,
    )


def paint(tiling: Tiling, block: Block, parts: Parts, number: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The objects in a block.

    Parameters
    ----------
    tiling, block
        The lattice, and what to paint.
    parts
        Those of all tiles that touch the block, in lattice order.
    number
        (part,) The object of each; below zero for none.
    rank
        (object,) Which is painted over which: the highest lies on top.

    Returns
    -------
    ndarray
        int32 (row, col): numbers of objects, −1 where there is none.
    """
    out = np.full(block.shape, -1, np.int32)
    number = np.asarray(number, np.int32)
    # Lowest first, so that the highest are seen.
    priority = rank[np.maximum(number, 0)] if len(rank) else np.zeros(len(number), np.int64)
    for row in tiling.tile_rows(block):
        for col in tiling.tile_cols(block):
            window = _common(core_of(tiling, row, col), (block.rows, block.cols))
            if window is not None:
                guests, own = _who_paints(tiling, (row, col), window, parts, number)
                for which in (guests, own):  # what the tile itself saw lies on top
                    which = which[np.argsort(priority[which], kind="stable")]
                    _fill(out, block.rows[0], block.cols[0], window, which, number, *parts.lines)
    return out


def _who_paints(
    tiling: Tiling, tile: tuple[int, int], window: Window, parts: Parts, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of neighbours whose objects the tile does not know, and its own parts."""
    width = tiling.lattice[1]
    own = np.arange(*parts.of_tile(tile[0] * width + tile[1]))
    own = own[number[own] >= 0]
    guests = [np.zeros(0, np.int64)]
    for row in range(tile[0] - 1, tile[0] + 2):
        for col in range(tile[1] - 1, tile[1] + 2):
            inside = 0 <= row < tiling.lattice[0] and 0 <= col < width and (row, col) != tile
            if inside and _common(trusted_of(tiling, row, col), window) is not None:
                theirs = np.arange(*parts.of_tile(row * width + col))
                guests.append(theirs[number[theirs] >= 0])
    found = np.concatenate(guests)
    return found[~np.isin(number[found], number[own])], own


@entry
def _fill(
    out: np.ndarray,
    top: int,
    left: int,
    window: Window,
    which: np.ndarray,
    number: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
) -> None:
    """Paint some parts into a window of the scene, one over the other; `out` begins at the scene's (top, left)."""
    (row0, row1), (col0, col1) = window
    for part in which:
        for run in range(first[part], first[part + 1]):
            if row0 <= rows[run] < row1:
                for col in range(max(starts[run], col0), min(stops[run], col1)):
                    out[rows[run] - top, col - left] = number[part]


def count(painted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which objects are seen in what was painted, and how many pixels of each: int64 (object,), rising, and int64.

    >>> [values.tolist() for values in count(np.array([[4, -1, 4], [4, 2, 2]], np.int32))]
    [[2, 4], [2, 3]]
    """
    pixels = _count(painted, np.zeros(int(painted.max(initial=-1)) + 1, np.int64))
    objects = np.flatnonzero(pixels)
    return objects, pixels[objects]


@entry
def _count(painted: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    for row in painted:
        for number in row:
            if number >= 0:
                pixels[number] += 1
    return pixels


def _common(one: Window, other: Window) -> Window | None:
    rows = max(one[0][0], other[0][0]), min(one[0][1], other[0][1])
    cols = max(one[1][0], other[1][0]), min(one[1][1], other[1][1])
    return (rows, cols) if rows[0] < rows[1] and cols[0] < cols[1] else None
