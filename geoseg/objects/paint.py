"""Painting: from joined parts to the map of objects, and to the table of what each of them is.

A pixel goes to the tile whose core it lies in, and there to the object with the highest score. Where that tile has no
part of an object at all, neighbours that saw it reach in, so nothing is cut along a core's edge because one tile missed
it. What others leave less than half of is a duplicate of them, and is no object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from geoseg.objects.parts import Parts, Runs, Window, core_of, trusted_of
from geoseg.tiling import Block, Tiling

__all__ = ["Found", "describe", "paint"]


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
    score = np.bincount(number, parts.core_px * parts.score, objects) / np.maximum(pixels, 1)
    channels = int(parts.channel.max(initial=0)) + 1
    votes = np.bincount(number * channels + parts.channel, parts.core_px, objects * channels)
    seen = np.unique(np.stack([number, parts.tile], 1), axis=0)[:, 0]
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
        int64 (row, col): numbers of objects, −1 where there is none.
    """
    out = np.full(block.shape, -1, np.int64)
    where = {int(tile): parts.of_tile(int(tile)) for tile in np.unique(parts.tile)}
    # Lowest first, so that the highest are seen. The runs of a part stay together.
    priority = np.where(number >= 0, rank[np.maximum(number, 0)] if len(rank) else -1, -1)
    for row in tiling.tile_rows(block):
        for col in tiling.tile_cols(block):
            window = _common(core_of(tiling, row, col), (block.rows, block.cols))
            if window is not None:
                _paint_core(out, window, tiling, block, (row, col), parts, where, number, priority)
    return out


def _paint_core(
    out: np.ndarray,
    window: Window,
    tiling: Tiling,
    block: Block,
    tile: tuple[int, int],
    parts: Parts,
    where: Mapping[int, tuple[int, int]],
    number: np.ndarray,
    priority: np.ndarray,
) -> None:
    width = tiling.lattice[1]
    own = where.get(tile[0] * width + tile[1], (0, 0))
    (top, bottom), (left, right) = window
    here = out[top - block.rows[0] : bottom - block.rows[0], left - block.cols[0] : right - block.cols[0]]
    _fill(here, window, parts, np.arange(*own), number, priority)
    known = np.unique(number[slice(*own)])
    guests = []
    for row in range(tile[0] - 1, tile[0] + 2):
        for col in range(tile[1] - 1, tile[1] + 2):
            inside = 0 <= row < tiling.lattice[0] and 0 <= col < width and (row, col) != tile
            span = where.get(row * width + col) if inside else None
            if span is not None and _common(trusted_of(tiling, row, col), window) is not None:
                theirs = np.arange(*span)
                guests.append(theirs[~np.isin(number[theirs], known)])
    if guests and sum(map(len, guests)):
        beneath = np.full(here.shape, -1, np.int64)
        _fill(beneath, window, parts, np.concatenate(guests), number, priority)
        np.copyto(here, beneath, where=here < 0)


def _fill(
    here: np.ndarray, window: Window, parts: Parts, which: np.ndarray, number: np.ndarray, priority: np.ndarray
) -> None:
    """Paint some parts into a window, the lowest first: where an index comes twice, the last value stays."""
    which = which[number[which] >= 0]
    which = which[np.argsort(priority[which], kind="stable")]
    count = parts.first[which + 1] - parts.first[which]
    lines = _ranges(parts.first[which], count)
    owner = np.repeat(which, count)
    runs = Runs(owner, parts.rows[lines], parts.starts[lines], parts.stops[lines]).clip(window)
    length = runs.stops - runs.starts
    rows = np.repeat(runs.rows - window[0][0], length)
    here[rows, _ranges(runs.starts - window[1][0], length)] = np.repeat(number[runs.owner], length)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of each stretch, one after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def _common(one: Window, other: Window) -> Window | None:
    rows = max(one[0][0], other[0][0]), min(one[0][1], other[0][1])
    cols = max(one[1][0], other[1][0]), min(one[1][1], other[1][1])
    return (rows, cols) if rows[0] < rows[1] and cols[0] < cols[1] else None
