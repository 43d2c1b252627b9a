"""Small soft masks, enlarged bilinearly inside their windows and turned into run lengths; no full-size mask is made.

Positions are those of `torch.nn.functional.interpolate` with ``align_corners=False``: the centre of pixel p lies at
(p + 0.5) * scale - 0.5 of the small mask, and beyond the outermost centres the values go on unchanged.
"""

from __future__ import annotations

import numpy as np

from geoseg.objects.compiled import entry, inner

__all__ = ["paste_masks", "paste_sums"]

_HALF, _ZERO = np.float32(0.5), np.float32(0)


@entry
def paste_masks(
    masks: np.ndarray, windows: np.ndarray, level: float, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge each mask to its own window.

    Parameters
    ----------
    masks
        (object, row, col) float32.
    windows
        (object, 4) int64: first row, first column, rows, columns; they may lie outside the tile in part or whole.
    level
        An object has the valid pixels whose value is above this.
    valid
        (row, col) bool, True = usable; its shape is the tile's.

    Returns
    -------
    runs
        (run, 3) int32: row, start, stop.
    first
        (object + 1,) int64: number of each object's first run.
    """
    height, width = valid.shape
    runs, used = np.empty((1024, 3), np.int32), 0
    first = np.zeros(len(masks) + 1, np.int64)
    across, down = _places(width), _places(height)
    for i in range(len(masks)):
        top, left, rows, cols = windows[i]
        span = (max(top, 0), min(top + rows, height), max(left, 0), min(left + cols, width))
        _locate(down, span[0], span[1], top, rows, masks.shape[1])
        _locate(across, span[2], span[3], left, cols, masks.shape[2])
        runs, used = _scan(masks[i], span, down, across, level, valid, runs, used)
        first[i + 1] = used
    return runs[:used].copy(), first


@entry
def paste_sums(
    weights: np.ndarray, layers: np.ndarray, spans: np.ndarray, level: float, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add up layers with each object's own weights, enlarge the sum to the tile, and keep what is in its span.

    Parameters
    ----------
    weights
        (object, layer) float32.
    layers
        (layer, row, col) float32, of the whole tile.
    spans
        (object, 4) int64: first and end row, first and end column, inside the tile.
    level, valid
        As in `paste_masks`.

    Returns
    -------
    runs, first
        As in `paste_masks`.
    """
    height, width = valid.shape
    count, rows, cols = layers.shape
    runs, used = np.empty((1024, 3), np.int32), 0
    first = np.zeros(len(weights) + 1, np.int64)
    across, down = _places(width), _places(height)
    _locate(down, 0, height, 0, height, rows)
    _locate(across, 0, width, 0, width, cols)
    total = np.empty((rows, cols), np.float32)
    for i in range(len(weights)):
        y0, y1, x0, x1 = spans[i]
        if y0 < y1 and x0 < x1:
            left, right = across[0][x0], across[1][x1 - 1] + 1
            for row in range(down[0][y0], down[1][y1 - 1] + 1):
                for col in range(left, right):
                    total[row, col] = _ZERO
                for k in range(count):  # always in this order: sums of floats depend on it
                    for col in range(left, right):
                        total[row, col] += weights[i, k] * layers[k, row, col]
            runs, used = _scan(total, (y0, y1, x0, x1), down, across, level, valid, runs, used)
        first[i + 1] = used
    return runs[:used].copy(), first


@inner
def _places(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel along a side of the tile: the two cells of the small mask it lies between, and how far along."""
    return np.zeros(side, np.int64), np.zeros(side, np.int64), np.zeros(side, np.float32)


@inner
def _locate(
    places: tuple[np.ndarray, np.ndarray, np.ndarray], lo: int, hi: int, origin: int, enlarged: int, cells: int
) -> None:
    near, far, share = places
    scale = np.float32(cells) / np.float32(enlarged)
    for p in range(lo, hi):
        source = max(scale * (np.float32(p - origin) + _HALF) - _HALF, _ZERO)
        near[p] = min(np.int64(source), cells - 1)
        far[p] = min(near[p] + 1, cells - 1)
        share[p] = source - np.float32(near[p])


@inner
def _scan(
    mask: np.ndarray,
    span: tuple[int, int, int, int],
    down: tuple[np.ndarray, np.ndarray, np.ndarray],
    across: tuple[np.ndarray, np.ndarray, np.ndarray],
    level: float,
    valid: np.ndarray,
    runs: np.ndarray,
    used: int,
) -> tuple[np.ndarray, int]:
    """Append the runs of one object; gives the runs, which may have moved to a larger array, and how many there are."""
    y0, y1, x0, x1 = span
    if x0 >= x1:
        return runs, used
    line = np.empty(mask.shape[1], np.float32)
    for y in range(y0, y1):
        if used + (x1 - x0) > len(runs):
            more = np.empty((2 * len(runs) + (x1 - x0), 3), np.int32)
            more[:used] = runs[:used]
            runs = more
        near, far, share = down[0][y], down[1][y], down[2][y]
        for c in range(across[0][x0], across[1][x1 - 1] + 1):
            line[c] = (np.float32(1) - share) * mask[near, c] + share * mask[far, c]
        start = -1
        for x in range(x0, x1):
            share = across[2][x]
            value = (np.float32(1) - share) * line[across[0][x]] + share * line[across[1][x]]
            if value > level and valid[y, x]:
                if start < 0:
                    start = x
            elif start >= 0:
                runs[used, 0], runs[used, 1], runs[used, 2] = y, start, x
                used, start = used + 1, -1
        if start >= 0:
            runs[used, 0], runs[used, 1], runs[used, 2] = y, start, x1
            used += 1
    return runs, used
