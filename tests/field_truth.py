"""Parcels that are known, and the map of classes that a network would make of them, errors included.

Pixels are 10 m. The land is cut into blocks (cells around scattered points); a block is divided into strips across
one direction, and strips into parcels, from half a hectare to thirty. Neighbours share their border. Some blocks are
woods, roads run between blocks. All is a function of place and seed, drawn at once for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage

BACKGROUND, INTERIOR, BOUNDARY = 0, 1, 2
LEAST_PX, MOST_PX = 50, 3000  # half a hectare, thirty
_BLOCK_PX = 96  # between the points of blocks, on average
_WOODS = 0.18  # of the blocks


@dataclass(frozen=True)
class Errors:
    """What a network gets wrong; all 0 is a perfect map."""

    gaps: float = 0.02
    """Of the boundary's length, in runs of a few pixels: read as interior."""
    speckle: float = 0.002
    """Of the pixels of fields: read as one of the other two classes, in spots of one to a few pixels."""
    missed: float = 0.03
    """Of the fields: read as background."""
    thin: float = 0.3
    """Of the fields narrower than five pixels: read as boundary as a whole."""
    false: float = 0.0004
    """Of the pixels of woods: the middle of a spot read as interior."""
    shift_px: float = 0.7
    """Standard deviation of the place of a border."""


def draw_parcels(side_px: int, *, seed: int = 0) -> np.ndarray:
    """Numbers of parcels from 1 on, uint32 (side, side); 0 = none."""
    rng = np.random.default_rng(seed)
    cells = -(-side_px // _BLOCK_PX) + 6
    points = (np.mgrid[:cells, :cells].transpose(1, 2, 0) - 3 + rng.random((cells, cells, 2))) * _BLOCK_PX
    angle = rng.random((cells, cells)) * np.pi
    wide = np.exp(rng.uniform(np.log(6), np.log(40), (cells, cells)))  # across a strip
    long = wide * np.exp(rng.uniform(np.log(1.5), np.log(8), (cells, cells)))
    wood = rng.random((cells, cells)) < _WOODS
    road = (rng.random((cells, cells)) < 0.6) * rng.uniform(0.6, 1.4, (cells, cells))  # half the width
    keys = _cut(side_px, points, angle, np.stack([wide, long], -1), wood, road)
    return _numbered(keys)


def draw_classes(parcels: np.ndarray, *, seed: int = 0, errors: Errors | None = None) -> np.ndarray:
    """What a network makes of parcels: uint8 of `BACKGROUND`, `INTERIOR`, `BOUNDARY`; None = a perfect one."""
    rng = np.random.default_rng([seed, 1])
    shape = parcels.shape
    if errors is None:
        errors = Errors(0, 0, 0, 0, 0, 0)
    seen = _shifted(parcels, errors.shift_px, rng) if errors.shift_px else parcels
    line = np.zeros(shape, bool)  # one pixel wide: in the first of two that differ
    line[:-1] |= seen[:-1] != seen[1:]
    line[:, :-1] |= seen[:, :-1] != seen[:, 1:]
    wide = line.copy()  # two
    wide[1:] |= line[:-1]
    wide[:, 1:] |= line[:, :-1]
    classes = np.where(seen > 0, INTERIOR, BACKGROUND).astype(np.uint8)
    classes[np.where(_smooth(shape, 25, rng) > 0, wide, line) & (_near(seen))] = BOUNDARY
    count = int(parcels.max()) + 1
    sizes = np.bincount(seen.ravel(), minlength=count)
    width = 2 * ndimage.maximum(_depth(seen), seen, np.arange(count)) if errors.thin else np.full(count, 99.0)
    lost = rng.random(count) < errors.missed
    full = (rng.random(count) < errors.thin) & (width < 5) & (sizes > 0)
    lost[0] = full[0] = False
    if errors.gaps:
        spots = _smooth(shape, 1.5, rng)
        gap = spots > np.quantile(spots[:: max(shape[0] // 1000, 1)], 1 - errors.gaps)
        classes[(classes == BOUNDARY) & gap & (seen > 0)] = INTERIOR
    classes[full[seen]] = BOUNDARY
    classes[lost[seen] & (classes == INTERIOR)] = BACKGROUND
    if errors.speckle:
        _spots(classes, (seen > 0) & (classes == INTERIOR), errors.speckle / 2, (BACKGROUND, BOUNDARY), rng)
    if errors.false:
        _spots(classes, seen == 0, errors.false, (INTERIOR,), rng)
    return classes


@njit(cache=True)
def _cut(side, points, angle, size, wood, road):
    """A number for each pixel that names block, strip and parcel; -1 = none."""
    keys = np.full((side, side), np.int64(-1))
    for row in range(side):
        for col in range(side):
            near, second, at_i, at_j = 1e18, 1e18, 0, 0
            home_i, home_j = row // _BLOCK_PX + 3, col // _BLOCK_PX + 3
            for i in range(home_i - 2, home_i + 3):
                for j in range(home_j - 2, home_j + 3):
                    away = (points[i, j, 0] - row) ** 2 + (points[i, j, 1] - col) ** 2
                    if away < near:
                        near, second, at_i, at_j = away, near, i, j
                    elif away < second:
                        second = away
            if wood[at_i, at_j] or np.sqrt(second) - np.sqrt(near) < 2 * road[at_i, at_j]:
                continue
            cos, sin = np.cos(angle[at_i, at_j]), np.sin(angle[at_i, at_j])
            y, x = row - points[at_i, at_j, 0], col - points[at_i, at_j, 1]
            strip = np.floor((cos * x + sin * y) / size[at_i, at_j, 0])
            # Parcels of neighbouring strips do not end on one line.
            shift = (strip * 0.6180339887) % 1.0
            parcel = np.floor((cos * y - sin * x) / size[at_i, at_j, 1] + shift)
            block = at_i * points.shape[1] + at_j
            keys[row, col] = (block * 1024 + np.int64(strip) + 512) * 1024 + np.int64(parcel) + 512
    return keys


def _numbered(keys: np.ndarray) -> np.ndarray:
    """What hangs together and has a size that fields have, numbered."""
    _, dense = np.unique(keys, return_inverse=True)
    pieces, count = _pieces(dense.reshape(keys.shape).astype(np.int64), keys >= 0)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    kept = (sizes >= LEAST_PX) & (sizes <= MOST_PX)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[pieces]


@njit(cache=True)
def _pieces(keys, valid):
    """Pixels with one key that hang together by their sides, numbered from 1 on."""
    rows, cols = keys.shape
    found = np.zeros(keys.shape, np.int64)
    stack = np.empty((keys.size, 2), np.int32)
    count = 0
    for row in range(rows):
        for col in range(cols):
            if not valid[row, col] or found[row, col]:
                continue
            count += 1
            found[row, col] = count
            stack[0] = row, col
            left = 1
            while left:
                left -= 1
                i, j = stack[left]
                for step in range(4):
                    y, x = i + (step == 0) - (step == 1), j + (step == 2) - (step == 3)
                    if 0 <= y < rows and 0 <= x < cols and not found[y, x] and keys[y, x] == keys[i, j]:
                        found[y, x] = count
                        stack[left] = y, x
                        left += 1
    return found, count


def _near(seen: np.ndarray) -> np.ndarray:
    """Where a field is, or touches."""
    return ndimage.binary_dilation(seen > 0, np.ones((3, 3)))


def _depth(seen: np.ndarray) -> np.ndarray:
    """Steps from each pixel of a field to the next pixel of something else, float32, as far as three."""
    depth = np.zeros(seen.shape, np.float32)
    inside = seen > 0
    for step in range(1, 4):
        depth[inside] = step
        low, high = (ndimage.grey_erosion(seen, 2 * step + 1), ndimage.grey_dilation(seen, 2 * step + 1))
        inside = (low == high) & (seen > 0)
    return depth


def _smooth(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> np.ndarray:
    """Noise without detail below `size` pixels, of mean 0 and standard deviation 1, float32."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), size)
    return noise / noise.std()


def _shifted(parcels: np.ndarray, shift_px: float, rng: np.random.Generator) -> np.ndarray:
    rows, cols = np.indices(parcels.shape, np.float32)
    at = [
        np.clip(np.rint(places + shift_px * _smooth(parcels.shape, 6, rng)), 0, size - 1).astype(np.int32)
        for places, size in ((rows, parcels.shape[0]), (cols, parcels.shape[1]))
    ]
    return parcels[at[0], at[1]]


def _spots(
    classes: np.ndarray, where: np.ndarray, share: float, values: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Spots of one to a few pixels get other classes."""
    for value in values:
        spot = rng.random(classes.shape, np.float32) < share
        spot |= np.roll(spot & (rng.random(classes.shape, np.float32) < 0.5), 1, axis=1)
        spot |= np.roll(spot & (rng.random(classes.shape, np.float32) < 0.5), 1, axis=0)
        classes[spot & where] = value
