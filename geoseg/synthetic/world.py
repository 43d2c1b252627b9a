"""The world: chance, the slow fields, and what lies where.

Everything is decided by hashes of lattice cells (seed, cell, purpose), so a pixel never needs to know in which window
it is drawn. Positions are metres: x east, y north on the ground; u, v are the same plane rotated and gently bent, so
that streets curve. Lines, blocks and lots are straight in u, v. Only + - * / sqrt floor are used: these give the same
bits everywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from geoseg.synthetic.styles import Look

__all__ = ["BLOCK_DTYPE", "NODE_M", "NUMBERS_DTYPE", "PITCH_M", "World", "fill_blocks", "fill_fields", "fill_warp"]

PITCH_M = 230.0
"""Mean distance of the lines that bound city blocks."""
NODE_M = 8.0
"""Spacing of the nodes on which the slow fields (warp, water, tone) are tabulated."""
BUILDING, ROAD, GREEN, WATER, BARE = 0, 1, 2, 3, 4
WOODS = 0.56
"""Where `patch` is higher, open land of the green styles is wooded."""
DENSE, HOUSES, FARM, FOREST, OPEN, PARK = 0, 1, 2, 3, 4, 5

NUMBERS_DTYPE = np.dtype(
    [(name, np.int64) for name in ("seed", "date", "row0", "col0", "wx", "wy", "fu", "fv", "bi", "bj")]
    + [(name, np.float64) for name in ("res", "east", "north", "cos", "sin", "sun_u", "sun_v", *Look._fields)]
)
"""Constants of a window: the number of its first row and column, and of the first node (wx, wy of `warp`; fu, fv of
`fields`) and line (bi, bj) of its tables; metres per pixel; the outer corner of the scene's pixel (0, 0); the
direction of the streets and of the sun; the `Look`."""

BLOCK_DTYPE = np.dtype(
    [("code", np.int64), ("kind", np.int64), ("turned", np.int64), ("rows", np.int64), ("lots", np.int64)]
    + [(name, np.float64) for name in ("along", "across", "half_u", "half_v")]
)
"""A city block: hash, kind, how it is cut into rows of lots, and half the width of the road at its start in u and v
(0 where there is none)."""


class World(NamedTuple):
    """What one window needs: constants, and tables of the slow fields around the window."""

    k: Any
    """A record of `NUMBERS_DTYPE`."""
    palette: np.ndarray
    """Colours (32, 3)."""
    warp: np.ndarray
    """How far the streets are bent (2, row, col), by nodes on the ground."""
    fields: np.ndarray
    """River, lake, tone, patch (row, col, 4), by nodes in u, v."""
    lines: np.ndarray
    """Positions (2, n) of the lines in u and v."""
    blocks: np.ndarray
    """Records of `BLOCK_DTYPE`: block (i, j) lies behind line i in u and line j in v."""


# numba's cache watches only the file of a compiled function, not the files of what it calls. So helpers are not cached:
# they become part of the few functions that are (see `geoseg.synthetic.window`). What is cached in this file calls
# nothing outside it; signatures keep numba from compiling the smallest ones anew for every literal argument.
helper = njit(nogil=True, error_model="numpy")


# ---- chance and noise --------------------------------------------------------------------------------------


@njit("int64(int64, int64, int64, int64)", cache=True, nogil=True, error_model="numpy")
def mix(seed, a, b, salt):
    """A hash of 64 bits (finaliser of MurmurHash3; the shifts are arithmetic, which does no harm)."""
    h = a * 0x1B873593CC9E2D51 + b * 0x2545F4914F6CDD1D + (seed * 0x632BE5AB + salt) * 0x5851F42D4C957F2D
    h ^= h >> 33
    h *= 0x7F51AFD7ED558CCD
    h ^= h >> 31
    h *= 0x44CEB9FE1A85EC53
    return h ^ (h >> 33)


@njit("float64(int64, int64)", cache=True, nogil=True, error_model="numpy")
def part(h, k):
    """The k-th (0..3) independent number 0..1 of a hash."""
    return ((h >> (16 * k)) & 0xFFFF) * (1.0 / 65536.0)


@njit("float64(int64, float64, float64, int64)", cache=True, nogil=True, error_model="numpy")
def noise(seed, x, y, salt):
    """Value noise, 0..1, one bump per unit of length."""
    fx = np.floor(x)
    fy = np.floor(y)
    i = np.int64(fx)
    j = np.int64(fy)
    s = x - fx
    t = y - fy
    s = s * s * (3.0 - 2.0 * s)
    t = t * t * (3.0 - 2.0 * t)
    a = part(mix(seed, i, j, salt), 1)
    b = part(mix(seed, i + 1, j, salt), 1)
    c = part(mix(seed, i, j + 1, salt), 1)
    d = part(mix(seed, i + 1, j + 1, salt), 1)
    low = a + (b - a) * s
    return low + (c + (d - c) * s - low) * t


@njit("float64(float64)", cache=True, nogil=True, error_model="numpy")
def wave(x):
    """A triangle wave, -1..1, of period 1."""
    return 4.0 * abs(x - np.floor(x + 0.5)) - 1.0


@njit("float64(float64)", cache=True, nogil=True, error_model="numpy")
def clip01(x):
    return min(1.0, max(0.0, x))


# ---- tables of the slow fields ----------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def fill_warp(seed, wx, wy, warp):
    """How far (metres) the street grid is bent at each node on the ground."""
    for r in range(warp.shape[1]):
        for c in range(warp.shape[2]):
            x = (wx + c) * NODE_M / 1700.0
            y = (wy + r) * NODE_M / 1700.0
            warp[0, r, c] = 190.0 * (noise(seed, x, y, 1) - 0.5) + 28.0 * (noise(seed, 3.1 * x, 3.1 * y, 3) - 0.5)
            warp[1, r, c] = 190.0 * (noise(seed, x, y, 2) - 0.5) + 28.0 * (noise(seed, 3.1 * x, 3.1 * y, 4) - 0.5)


@njit("float64(int64, float64, float64)", cache=True, nogil=True, error_model="numpy")
def river_level(seed, u, v):
    a = 0.8 * u + 0.6 * v
    b = 0.8 * v - 0.6 * u
    return (
        noise(seed, a / 1300.0, b / 1300.0, 5)
        + 0.35 * noise(seed, a / 420.0, b / 420.0, 6)
        + 0.06 * noise(seed, a / 90.0, b / 90.0, 7)
        - 0.705
    )


@njit(cache=True, nogil=True, error_model="numpy")
def fill_fields(seed, look, fu, fv, fields):
    """Distance to the river bank and the lake shore (metres, negative in the water), tone and patch (0..1)."""
    for r in range(fields.shape[0]):
        for c in range(fields.shape[1]):
            u = (fu + c) * NODE_M
            v = (fv + r) * NODE_M
            level = river_level(seed, u, v)
            du = (river_level(seed, u + 4.0, v) - level) / 4.0
            dv = (river_level(seed, u, v + 4.0) - level) / 4.0
            width = look.river_m * (0.6 + 0.8 * noise(seed, u / 600.0, v / 600.0, 8))
            fields[r, c, 0] = abs(level) / np.sqrt(du * du + dv * dv + 1.6e-7) - width
            lake = noise(seed, u / 430.0, v / 430.0, 9) + 0.22 * (noise(seed, u / 130.0, v / 130.0, 10) - 0.5)
            fields[r, c, 1] = (look.lakes - lake) * 260.0
            fields[r, c, 2] = (
                0.5 * noise(seed, u / 170.0, v / 170.0, 11)
                + 0.3 * noise(seed, u / 60.0, v / 60.0, 12)
                + 0.2 * noise(seed, u / 26.0, v / 26.0, 13)
            )
            fields[r, c, 3] = 0.6 * noise(seed, u / 110.0, v / 110.0, 14) + 0.4 * noise(seed, u / 38.0, v / 38.0, 15)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_blocks(seed, look, bi, bj, lines, blocks):
    """Lines, what each block is, how it is cut, and the roads on the lines."""
    for n in range(lines.shape[1]):
        lines[0, n] = (bi + n + 0.44 * (part(mix(seed, bi + n, 0, 20), 1) - 0.5)) * PITCH_M
        lines[1, n] = (bj + n + 0.44 * (part(mix(seed, bj + n, 0, 21), 1) - 0.5)) * PITCH_M
    for i in range(blocks.shape[0]):
        for j in range(blocks.shape[1]):
            b = blocks[i, j]
            b.code = mix(seed, bi + i, bj + j, 22)
            b.kind = block_kind(seed, look, bi + i, bj + j, b.code)
            cut_block(b, lines[0, i + 1] - lines[0, i], lines[1, j + 1] - lines[1, j])
    for i in range(1, blocks.shape[0]):
        for j in range(1, blocks.shape[1]):
            b = blocks[i, j]
            b.half_u = road_half(seed, look, bi + i, bj + j, 0, min(b.kind, blocks[i - 1, j].kind) <= HOUSES)
            b.half_v = road_half(seed, look, bi + i, bj + j, 1, min(b.kind, blocks[i, j - 1].kind) <= HOUSES)


@helper
def block_kind(seed, look, i, j, code):
    """Towns are where a slow noise is high; the rest is open country."""
    town = noise(seed, i / 5.0, j / 5.0, 23) + 0.55 * (part(code, 0) - 0.5)
    if town > 1.0 - look.urban:
        return DENSE if part(code, 1) < look.dense else HOUSES
    p = part(code, 2)
    if p < look.farm:
        return FARM
    if p < look.farm + look.forest:
        return FOREST
    return OPEN if p < look.farm + look.forest + look.bare else PARK


@helper
def cut_block(b, wide, high):
    """Streets run along u or v; lots lie in rows on both sides of them."""
    h = mix(b.code, 1, 2, 30)
    b.turned = 1 if part(h, 0) < 0.5 else 0
    b.along = high if b.turned else wide
    b.across = wide if b.turned else high
    deep = 46.0 + 14.0 * part(h, 1) if b.kind == DENSE else 25.0 + 8.0 * part(h, 1)
    front = 36.0 + 40.0 * part(h, 2) if b.kind == DENSE else 16.0 + 12.0 * part(h, 2) * part(h, 3)
    b.rows = min(12, max(2, 2 * np.int64(b.across / (2.0 * deep) + 0.5)))
    b.lots = min(20, max(1, np.int64(b.along / front)))


@helper
def road_half(seed, look, i, j, axis, built):
    """Half the width of the road on a line of u (axis 0) or v (1) beside a block; every fifth is a main road."""
    line = i if axis == 0 else j
    h = mix(seed, line, axis, 24)
    if (line + axis + seed) % 5 == 0:
        return 8.5 + 5.0 * part(h, 0)
    if built:
        return 3.6 + 2.0 * part(h, 1)
    return 2.0 + 1.4 * part(h, 2) if part(mix(seed, i, j, 25 + axis), 0) < look.lanes else 0.0


# ---- where a position is ----------------------------------------------------------------------------------


@helper
def bend(w, x, y):
    """u, v of a position on the ground."""
    fx = np.floor(x / NODE_M)
    fy = np.floor(y / NODE_M)
    s = x / NODE_M - fx
    t = y / NODE_M - fy
    p = w.warp
    # Far outside the window (only while `box` searches) the nearest node will do.
    c = min(max(np.int64(fx) - w.k.wx, 0), p.shape[2] - 2)
    r = min(max(np.int64(fy) - w.k.wy, 0), p.shape[1] - 2)
    a = p[0, r, c] + (p[0, r, c + 1] - p[0, r, c]) * s
    b = p[0, r + 1, c] + (p[0, r + 1, c + 1] - p[0, r + 1, c]) * s
    d = p[1, r, c] + (p[1, r, c + 1] - p[1, r, c]) * s
    e = p[1, r + 1, c] + (p[1, r + 1, c + 1] - p[1, r + 1, c]) * s
    return w.k.cos * x + w.k.sin * y + a + (b - a) * t, w.k.cos * y - w.k.sin * x + d + (e - d) * t


@helper
def field(w, u, v, k):
    """Field k at u, v, interpolated between nodes."""
    fx = np.floor(u / NODE_M)
    fy = np.floor(v / NODE_M)
    s = u / NODE_M - fx
    t = v / NODE_M - fy
    f = w.fields
    c = np.int64(fx) - w.k.fu
    r = np.int64(fy) - w.k.fv
    a = f[r, c, k] + (f[r, c + 1, k] - f[r, c, k]) * s
    b = f[r + 1, c, k] + (f[r + 1, c + 1, k] - f[r + 1, c, k]) * s
    return a + (b - a) * t


@helper
def block_at(w, u, v):
    """Row and column of a block in the tables."""
    i = np.int64(np.floor(u / PITCH_M)) - w.k.bi
    j = np.int64(np.floor(v / PITCH_M)) - w.k.bj
    if u < w.lines[0, i]:
        i -= 1
    elif u >= w.lines[0, i + 1]:
        i += 1
    if v < w.lines[1, j]:
        j -= 1
    elif v >= w.lines[1, j + 1]:
        j += 1
    return i, j


@helper
def layout(w, i, j):
    """How a block is cut: orientation, sides along and across its streets, rows of lots, lots in a row."""
    b = w.blocks[i, j]
    return b.turned == 1, b.along, b.across, b.rows, b.lots


@helper
def road_at(w, u, v, i, j):
    """The nearest road: distance to its edge (negative on it), to its axis, half width, length along it, line.

    Line is the hash key of the road; a local street has the key 0. Markings vanish on crossings: there the distance
    to the axis is 1e9.
    """
    du = u - w.lines[0, i]
    iu = i
    if w.lines[0, i + 1] - u < du:
        iu = i + 1
        du = u - w.lines[0, iu]
    dv = v - w.lines[1, j]
    jv = j
    if w.lines[1, j + 1] - v < dv:
        jv = j + 1
        dv = v - w.lines[1, jv]
    hu = w.blocks[iu, j].half_u
    hv = w.blocks[i, jv].half_v
    eu = abs(du) - hu if hu > 0.0 else 1e9
    ev = abs(dv) - hv if hv > 0.0 else 1e9
    if eu < ev:
        best, axis, half, run, line = eu, du, hu, v, 2 * (iu + w.k.bi) + 1
    else:
        best, axis, half, run, line = ev, dv, hv, u, 2 * (jv + w.k.bj) + 2000001
    if eu < 0.0 and ev < 0.0:
        axis = 1e9
    if w.blocks[i, j].kind <= HOUSES:
        turned, _, across, rows, _ = layout(w, i, j)
        b = u - w.lines[0, i] if turned else v - w.lines[1, j]
        pitch = 2.0 * across / rows
        k = np.floor(b / pitch + 0.5)
        if k >= 1.0 and k <= rows // 2 - 1:
            half_l = 3.9 if w.blocks[i, j].kind == DENSE else 3.0
            el = abs(b - k * pitch) - half_l
            if el < 0.0 and best < 0.0:
                axis = 1e9
            elif el < best:
                best, axis, half, run, line = el, b - k * pitch, half_l, v if turned else u, 0
    return best, axis, half, run, line


@helper
def water_at(w, u, v):
    return min(field(w, u, v, 0), field(w, u, v, 1))


@helper
def cleared(w, u, v):
    """True inside a clearing of date 1 (whatever the date of the scene)."""
    i = np.floor(u / 150.0)
    j = np.floor(v / 150.0)
    h = mix(w.k.seed, np.int64(i), np.int64(j), 31)
    if part(h, 0) >= w.k.clearing:
        return False
    a = abs(u - (i + 0.5 + 0.12 * (part(h, 1) - 0.5)) * 150.0)
    b = abs(v - (j + 0.5 + 0.12 * (part(h, 2) - 0.5)) * 150.0)
    reach = 36.0 + 24.0 * part(h, 3) + 10.0 * (noise(w.k.seed, u / 14.0, v / 14.0, 32) - 0.5)
    return max(max(a, b), 0.75 * (a + b)) < reach
