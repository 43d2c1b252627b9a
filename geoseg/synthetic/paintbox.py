"""Small helpers of the drawing kernels: colours, and where a thing lies in the window."""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.synthetic.world import bend, clip01, helper, part


@helper
def blend(a, b, t):
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


@njit("UniTuple(float64, 3)(float64[:, ::1], int64)", cache=True, nogil=True, error_model="numpy")
def colour(palette, k):
    return (palette[k, 0], palette[k, 1], palette[k, 2])


@helper
def dim(c, f):
    return (c[0] * f, c[1] * f, c[2] * f)


@helper
def car_paint(h):
    """The colour of a car: mostly white, grey or black."""
    p = part(h, 2)
    if p < 0.35:
        return (232.0, 232.0, 228.0)
    if p < 0.6:
        return (130.0, 132.0, 136.0)
    if p < 0.8:
        return (44.0, 44.0, 48.0)
    return (170.0, 48.0, 40.0) if p < 0.9 else (52.0, 82.0, 150.0)


@helper
def stripe(d, width, res):
    """How much of a pixel at distance d from its axis a painted line of this width covers."""
    return clip01((0.5 * (width + res) - abs(d)) / res) * min(1.0, width / res)


@helper
def box(w, u, v, reach, shape):
    """Rows and columns of the window that may lie within `reach` of u, v (too many rather than too few)."""
    x = w.k.cos * u - w.k.sin * v
    y = w.k.sin * u + w.k.cos * v
    for _ in range(6):
        pu, pv = bend(w, x, y)
        x += w.k.cos * (u - pu) - w.k.sin * (v - pv)
        y += w.k.sin * (u - pu) + w.k.cos * (v - pv)
    reach = 1.45 * reach + 1.2
    c0 = np.int64(np.floor((x - reach - w.k.east) / w.k.res)) - w.k.col0
    c1 = np.int64(np.floor((x + reach - w.k.east) / w.k.res)) + 1 - w.k.col0
    r0 = np.int64(np.floor((w.k.north - y - reach) / w.k.res)) - w.k.row0
    r1 = np.int64(np.floor((w.k.north - y + reach) / w.k.res)) + 1 - w.k.row0
    return max(r0, 0), min(r1, shape[0]), max(c0, 0), min(c1, shape[1])
