"""Resampling whose result does not depend on how a raster is cut into windows.

One rule serves for every case: a target pixel is the mean of the source over a box that is centred on the
target pixel's centre and has the target pixel's size, but is at least one source pixel wide. When the
target is coarser that is the area average; when it is finer it is bilinear interpolation (the mean over a
box of one pixel *is* the bilinear value). Only valid source pixels count. A target pixel is valid if its
centre lies in the source and at least half of its box (the part inside the source) is valid.

GDAL's warper is not used: its result depends on the window asked for (approximated transformer, scale and
overview chosen for each chunk). Here, positions are exact on a lattice of nodes every `step` target pixels
anchored at pixel (0, 0) and interpolated between (an error of a few thousandths of a pixel at most), box
edges are rounded to 2**-16 of a pixel, so weights and their sums are exact, and values are added in the
order of the source's rows and columns.
"""

from __future__ import annotations

import math

import numba
import numpy as np

__all__ = ["box_mean", "source_window"]

_GRAIN = 65536.0


def box_mean(
    values: np.ndarray,
    valid: np.ndarray,
    nodes: np.ndarray,
    *,
    origin: tuple[int, int],
    extent: tuple[int, int],
    rows: slice,
    cols: slice,
    step: int = 16,
    jump: float = np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Means of the source over the boxes of a window of target pixels.

    Parameters
    ----------
    values, valid
        The source, (band, row, col) and (row, col): at least `source_window` of it.
    nodes
        Source positions (x, y) in pixels, float64 (2, node row, node col), at the corners of target pixels
        whose row and column are multiples of `step`, from ``rows.start // step`` and ``cols.start // step`` on.
    origin
        Row and column of ``values[:, 0, 0]`` in the whole source.
    extent
        Rows and columns of the whole source.
    rows, cols
        The window of target pixels.
    step
        Target pixels from one node to the next.
    jump
        Source pixels from one node to the next that are a jump, at the date line: nothing is there.

    Returns
    -------
    values, valid
        (band, row, col) in the source's dtype, 0 where not valid; (row, col) bool.

    Examples
    --------
    Two by two pixels become one; the invalid one does not count.

    >>> values, valid = np.array([[[1, 2], [6, 99]]], "uint8"), np.array([[True, True], [True, False]])
    >>> nodes = np.array([[[0.0, 32.0], [0.0, 32.0]], [[0.0, 0.0], [32.0, 32.0]]])
    >>> one = slice(0, 1)
    >>> box_mean(values, valid, nodes, origin=(0, 0), extent=(2, 2), rows=one, cols=one)
    (array([[[3]]], dtype=uint8), array([[ True]]))
    """
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    out = np.zeros((values.shape[0], *shape), values.dtype)
    out_valid = np.zeros(shape, bool)
    if out.size and values.size:
        _box_mean(
            values, valid, nodes, origin[0], origin[1], extent[0], extent[1], rows.start, cols.start, step, jump,
            values.dtype.kind in "iu",            out, out_valid,
        )  # fmt: skip
    return out, out_valid


def source_window(nodes: np.ndarray, extent: tuple[int, int], step: int = 16) -> tuple[slice, slice]:
    """Rows and columns of the source that the boxes between these nodes may touch, cut at its extent.

    >>> nodes = np.array([[[10.0, 42.0], [10.0, 42.0]], [[0.0, 0.0], [8.0, 8.0]]])
    >>> source_window(nodes, (100, 100))
    (slice(0, 10, None), slice(7, 45, None))
    """
    if not np.isfinite(nodes).any():
        return slice(0, 0), slice(0, 0)
    window = []
    for axis, size in ((1, extent[0]), (0, extent[1])):
        position = nodes[axis]
        with np.errstate(invalid="ignore"):
            steps = [np.abs(np.diff(position, axis=i)).ravel() for i in (0, 1)]
        finite = np.concatenate([step[np.isfinite(step)] for step in steps] or [np.zeros(0)])
        reach = max(1.0, math.sqrt(2.0) * finite.max(initial=0.0) / step) / 2 + 1
        position = position[np.isfinite(position)]
        start = int(min(max(math.floor(position.min() - reach), 0), size))
        stop = int(min(max(math.ceil(position.max() + reach), start), size))
        window.append(slice(start, stop))
    return window[0], window[1]


@numba.njit(nogil=True, cache=True)
def _box_mean(  # pragma: no cover - compiled
    values, valid, nodes, row_origin, col_origin, height, width, row0, col0, step, jump, whole, out, out_valid
):
    bands, rows, cols = out.shape
    total = np.zeros(bands)
    first_i, first_j = row0 // step, col0 // step
    for r in range(rows):
        i = (row0 + r) // step
        down = ((row0 + r) - i * step + 0.5) / step
        i -= first_i
        for j in range(nodes.shape[2] - 1):  # the cell between four nodes; positions are linear in its row
            x00, x01, x10, x11 = nodes[0, i, j], nodes[0, i, j + 1], nodes[0, i + 1, j], nodes[0, i + 1, j + 1]
            y00, y01, y10, y11 = nodes[1, i, j], nodes[1, i, j + 1], nodes[1, i + 1, j], nodes[1, i + 1, j + 1]
            if not max(abs(x01 - x00), abs(x10 - x00), abs(x11 - x10)) <= jump:
                continue
            x_left, x_right = (1 - down) * x00 + down * x10, (1 - down) * x01 + down * x11
            y_left, y_right = (1 - down) * y00 + down * y10, (1 - down) * y01 + down * y11
            # The side of the box: the length of the target pixel's two sides along each source axis.
            half_x = 0.5 * max(1.0, math.hypot(x01 - x00, x10 - x00) / step)
            half_y = 0.5 * max(1.0, math.hypot(y01 - y00, y10 - y00) / step)
            start = (first_j + j) * step - col0
            for c in range(max(start, 0), min(start + step, cols)):
                across = (c - start + 0.5) / step
                x = (1 - across) * x_left + across * x_right
                y = (1 - across) * y_left + across * y_right
                if not (0 <= x < width and 0 <= y < height):  # also where a position is not finite
                    continue
                left = max(math.floor((x - half_x) * _GRAIN + 0.5) / _GRAIN, 0.0)
                right = min(math.floor((x + half_x) * _GRAIN + 0.5) / _GRAIN, float(width))
                top = max(math.floor((y - half_y) * _GRAIN + 0.5) / _GRAIN, 0.0)
                bottom = min(math.floor((y + half_y) * _GRAIN + 0.5) / _GRAIN, float(height))
                if not (left < right and top < bottom):
                    continue
                weight = 0.0
                total[:] = 0.0
                for v in range(math.floor(top), math.ceil(bottom)):
                    high = min(bottom, v + 1.0) - max(top, float(v))
                    for u in range(math.floor(left), math.ceil(right)):
                        if valid[v - row_origin, u - col_origin]:
                            part = high * (min(right, u + 1.0) - max(left, float(u)))
                            weight += part
                            for b in range(bands):
                                total[b] += part * values[b, v - row_origin, u - col_origin]
                if weight > 0.0 and weight >= 0.5 * (right - left) * (bottom - top):
                    out_valid[r, c] = True
                    for b in range(bands):
                        mean = total[b] / weight
                        out[b, r, c] = math.floor(mean + 0.5) if whole else mean
