"""A map of known objects, and a model that sees each tile of it perfectly, but cut, jittered or in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from geoseg.objects.instances import Instances
from geoseg.tiling import Block, Tile, Tiling, reflect


def draw_truth(side: int, *, seed: int = 0, want: int = 5000) -> np.ndarray:
    """int32 (row, col): 0 = none, else the number of an object."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((side, side), np.int32)
    number = 0

    def put(mask_rows: slice, mask_cols: slice, mask: np.ndarray | None = None) -> bool:
        nonlocal number
        here = truth[mask_rows, mask_cols]
        shape = np.ones(here.shape, bool) if mask is None else mask[: here.shape[0], : here.shape[1]]
        if not shape.any() or here[shape].any():
            return False
        number += 1
        here[shape] = number
        return True

    unit = side // 20
    # Larger than a tile: an L, a ring with something nested in it, a plain block.
    big = np.zeros((6 * unit, 6 * unit), bool)
    big[:, : unit // 2] = big[-unit // 2 :, :] = True
    put(slice(unit, 7 * unit), slice(unit, 7 * unit), big)
    ring = np.ones((5 * unit, 5 * unit), bool)
    ring[unit:-unit, unit:-unit] = False
    put(slice(9 * unit, 14 * unit), slice(2 * unit, 7 * unit), ring)
    put(slice(11 * unit, 12 * unit), slice(4 * unit, 5 * unit))
    put(slice(12 * unit, 16 * unit), slice(13 * unit, 18 * unit))
    # A comb: arms that only its spine, far away, holds together.
    comb = np.zeros((3 * unit, 4 * unit), bool)
    comb[: unit // 6] = True
    comb[:, ::unit] = True
    comb = ndimage.binary_dilation(comb, iterations=2)
    put(slice(16 * unit, 19 * unit), slice(unit, 5 * unit), comb)
    # Elongated, over many tiles, at a slant.
    for k in range(4):
        rows = np.arange(12 * unit)
        line = np.zeros((12 * unit, 12 * unit), bool)
        cols = (rows * (0.2 + 0.15 * k)).astype(int)
        for width in range(5):
            line[rows, np.minimum(cols + width, 12 * unit - 1)] = True
        put(slice(3 * unit, 15 * unit), slice((7 + k) * unit, (19 + k) * unit), line)
    # Rows of houses, wall to wall.
    while number < want * 0.5:
        row, col = rng.integers(0, side, 2)
        deep = int(rng.integers(6, 30))
        for _ in range(int(rng.integers(2, 9))):
            wide = int(rng.integers(6, 30))
            if put(slice(row, row + deep), slice(col, col + wide)):
                col += wide
            else:
                break
    # Single ones, and tiny ones.
    while number < want * 0.85:
        row, col = rng.integers(0, side, 2)
        put(slice(row, row + int(rng.integers(6, 60))), slice(col, col + int(rng.integers(6, 60))))
    while number < want:
        row, col = rng.integers(0, side, 2)
        put(slice(row, row + int(rng.integers(1, 4))), slice(col, col + int(rng.integers(1, 4))))
    return truth


def see(truth: np.ndarray, tiling: Tiling, tile: Tile, *, how: str) -> Instances:
    """What a perfect model finds in a tile.

    ``cut``: just that. ``jitter``: near the tile's border, where a real model is worst, outlines are off by up to two
    pixels. ``shift``: each object is off by up to one pixel, in every tile another way. ``pieces``: jittered, and what
    hangs together only outside the tile is found as several. Reflected pixels are seen as a model would see them.
    """
    side, (height, width) = tiling.tile_px, truth.shape
    rows, cols = reflect(tile.top_px, side, height), reflect(tile.left_px, side, width)
    window = truth[rows[:, None], cols]
    return instances_in(window, tiling, tile, how=how)


def instances_in(window: np.ndarray, tiling: Tiling, tile: Tile, *, how: str) -> Instances:
    """See `see`: from the part of the truth that lies under a tile."""
    side = tiling.tile_px
    rng = np.random.default_rng([tile.row, tile.col])
    if how in ("jitter", "pieces"):
        down, right = rng.integers(0, 5, 2)
        moved = np.pad(window, 2, mode="edge")[down : down + side, right : right + side]
        window = np.where(_inner(tiling, tile, max(tiling.overlap_px // 4, 2)), window, moved)
    if how == "pieces":
        window = _pieces(window)
    # All runs at once: a run ends where the value changes.
    wide = np.pad(window, [(0, 0), (1, 1)])
    row, start = np.nonzero((wide[:, 1:] != wide[:, :-1]) & (wide[:, 1:] > 0))
    stop = np.nonzero((wide[:, 1:] != wide[:, :-1]) & (wide[:, :-1] > 0))[1]
    order = np.lexsort((start, row, window[row, start]))
    row, start, stop = row[order], start[order], stop[order]
    _, owner = np.unique(window[row, start], return_inverse=True)
    if how == "shift":
        big = np.bincount(owner, stop - start) > 30
        by = rng.integers(-1, 2, (2, len(big))) * big
        row, start, stop = row + by[0][owner], start + by[1][owner], stop + by[1][owner]
        start, stop = np.maximum(start, 0), np.minimum(stop, side)
        inside = (row >= 0) & (row < side) & (start < stop)
        row, start, stop, owner = row[inside], start[inside], stop[inside], owner[inside]
    _, count = np.unique(owner, return_counts=True)
    first = np.concatenate([[0], np.cumsum(count)])
    lines = (values.astype(np.int32) for values in (row, start, stop))
    score = rng.uniform(0.5, 1, len(count)).astype(np.float32)
    return Instances(*lines, first, np.zeros(len(count), np.uint8), score)


def _pieces(window: np.ndarray) -> np.ndarray:
    """The window with a number of its own for everything that hangs together in it."""
    out, free = np.zeros(window.shape, np.int64), 0
    for number, place in enumerate(ndimage.find_objects(window), 1):
        if place is not None:
            labels, count = ndimage.label(window[place] == number)
            out[place] += np.where(labels > 0, labels + free, 0)
            free += count
    return out


def _inner(tiling: Tiling, tile: Tile, zone: int) -> np.ndarray:
    """bool (row, col): False near those borders of a tile beyond which the scene goes on."""
    inside = []
    for at, count in zip((tile.row, tile.col), tiling.lattice, strict=True):
        line = np.ones(tiling.tile_px, bool)
        if at > 0:
            line[:zone] = False
        if at < count - 1:
            line[-zone:] = False
        inside.append(line)
    return np.logical_and.outer(*inside)


def all_tiles(tiling: Tiling) -> Iterator[Tile]:
    """Every tile of the lattice."""
    rows, cols = tiling.lattice
    return (tiling.tile(row, col) for row in range(rows) for col in range(cols))


def quality(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    """How many objects too many there are, and the panoptic quality."""
    span = int(found.max()) + 1
    pairs, shared = np.unique(truth.astype(np.int64) * span + found, return_counts=True)
    t, f = pairs // span, pairs % span
    size_t, size_f = np.bincount(truth.ravel()), np.bincount(found.ravel())
    iou = shared / (size_t[t] + size_f[f] - shared)
    match = (t > 0) & (f > 0) & (iou > 0.5)
    number_t, number_f = (size_t[1:] > 0).sum(), (size_f[1:] > 0).sum()
    return int(number_f - number_t), float(iou[match].sum() / ((number_t + number_f) / 2))


def whole(tiling: Tiling) -> Block:
    """The scene as one block."""
    return Block(0, 0, (0, tiling.shape[0]), (0, tiling.shape[1]))
