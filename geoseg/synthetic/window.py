"""A window of the world, drawn and lit."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from numba import njit

from geoseg.synthetic.ground import ground
from geoseg.synthetic.lots import paint_building
from geoseg.synthetic.trees import TREE_M, paint_tree
from geoseg.synthetic.world import HOUSES, bend, block_at, helper, layout, mix, part


@helper
def draw_world(w, z, rgb, cls, ids):
    """Draws ground, buildings and trees of a window: heights (m), colours, classes and building numbers."""
    us = np.empty(z.shape)
    vs = np.empty(z.shape)
    for r in range(z.shape[0]):
        y = w.k.north - (w.k.row0 + r + 0.5) * w.k.res
        for k in range(z.shape[1]):
            u, v = bend(w, w.k.east + (w.k.col0 + k + 0.5) * w.k.res, y)
            us[r, k] = u
            vs[r, k] = v
            what, c, top = ground(w, u, v)
            z[r, k] = top
            cls[r, k] = what
            ids[r, k] = 0
            rgb[0, r, k] = c[0]
            rgb[1, r, k] = c[1]
            rgb[2, r, k] = c[2]
    u0, u1, v0, v1 = us.min(), us.max(), vs.min(), vs.max()
    out = (us, vs, z, rgb, cls, ids)
    i0, j0 = block_at(w, u0, v0)
    i1, j1 = block_at(w, u1, v1)
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            if w.blocks[i, j].kind > HOUSES:
                continue
            turned, along, across, rows, lots = layout(w, i, j)
            low_a = w.lines[1, j] if turned else w.lines[0, i]
            low_b = w.lines[0, i] if turned else w.lines[1, j]
            a0, a1 = (v0, v1) if turned else (u0, u1)
            b0, b1 = (u0, u1) if turned else (v0, v1)
            for q in range(rows):
                if low_b + (q + 1) * across / rows < b0 or low_b + q * across / rows > b1:
                    continue
                for n in range(lots):
                    if low_a + (n + 1) * along / lots < a0 or low_a + n * along / lots > a1:
                        continue
                    paint_building(w, i, j, q, n, out)
    reach = 6.0
    for a in range(np.int64(np.floor((u0 - reach) / TREE_M)), np.int64(np.floor((u1 + reach) / TREE_M)) + 1):
        for b in range(np.int64(np.floor((v0 - reach) / TREE_M)), np.int64(np.floor((v1 + reach) / TREE_M)) + 1):
            paint_tree(w, a, b, out)


@helper
def light_up(w, z, rgb, steps, light, halo, out):
    """Sun, shadows, air, blur and noise: from heights and colours to the picture of the window without its halo.

    `steps` (n, 2) are the pixels, in rows and columns, passed on the way to the sun. `light` holds shade, gain and
    haze (3 each), contrast, noise, blur, and the tangent of the sun's elevation.
    """
    rows, cols = z.shape
    near = halo - 1
    lit = np.empty((3, rows - 2 * near, cols - 2 * near), dtype=np.float32)
    over = np.empty(cols - 2 * near, dtype=np.float32)
    for r in range(lit.shape[1]):
        over[:] = 0.0
        for n in range(steps.shape[0]):
            dr = steps[n, 0]
            dc = steps[n, 1]
            rise = np.float32(np.sqrt(float(dr * dr + dc * dc)) * w.k.res * light[12])
            for k in range(over.size):
                over[k] = max(over[k], z[r + near + dr, k + near + dc] - rise - z[r + near, k + near])
        for m in range(3):
            for k in range(over.size):
                dark = min(np.float32(1.0), over[k] * np.float32(1.4))
                lit[m, r, k] = rgb[m, r + near, k + near] * (np.float32(1.0) - dark * np.float32(1.0 - light[m]))
    side = light[11]
    for r in range(out.shape[1]):
        for k in range(out.shape[2]):
            h = mix(w.k.seed, w.k.row0 + halo + r, w.k.col0 + halo + k, 90 + w.k.date)
            g = mix(h, 1, 2, 91)
            grey = part(h, 0) + part(h, 1) + part(h, 2) + part(h, 3) - 2.0
            for m in range(3):
                a = lit[m, r + 1, k + 1]
                near_sum = lit[m, r, k + 1] + lit[m, r + 2, k + 1] + lit[m, r + 1, k] + lit[m, r + 1, k + 2]
                value = a * (1.0 - 4.0 * side) + side * near_sum
                value = (value * light[3 + m] - 110.0) * light[9] + 110.0
                value += light[6 + m] + light[10] * (1.2 * grey + 1.5 * (part(g, m) - 0.5))
                out[m, r, k] = np.uint8(min(255.0, max(0.0, value + 0.5)))


def _cached(sources: str) -> tuple[Callable[..., None], Callable[..., None]]:
    """The two functions that numba keeps on disk.

    numba's cache compares the file of a function, not the files of what it calls, but it does compare the variables
    that a function closes over: so a hash of this room's files makes sure that no stale code is run.
    """

    @njit(cache=True, nogil=True, error_model="numpy")
    def paint(w, z, rgb, cls, ids):
        if sources:
            draw_world(w, z, rgb, cls, ids)

    @njit(cache=True, nogil=True, error_model="numpy")
    def shade(w, z, rgb, steps, light, halo, out):
        if sources:
            light_up(w, z, rgb, steps, light, halo, out)

    return paint, shade


_files = sorted(Path(__file__).parent.glob("*.py"))
paint, shade = _cached(sha256(b"".join(path.read_bytes() for path in _files)).hexdigest())
