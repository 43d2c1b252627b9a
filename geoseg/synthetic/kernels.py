"""The world, pixel by pixel: ground, water, roads, lots, buildings and trees as functions of the position.

Everything is decided by hashes of lattice cells (seed, cell, purpose), so a pixel never needs to know which window it
is drawn in. Positions are metres: x east, y north on the ground; u, v are the same plane rotated and gently
bent, so that streets curve. Lines, blocks and lots are straight in u, v. Only + - * / sqrt floor are used: these give
the same bits everywhere. All compiled code lives in this one file because numba's cache only watches the
file of the function that it compiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from geoseg.synthetic.styles import Look

__all__ = ["NODE_M", "PITCH_M", "World", "fill_blocks", "fill_fields", "fill_warp", "paint", "shade"]

PITCH_M = 230.0
"""Mean distance of the lines that bound city blocks."""
NODE_M = 8.0
"""Spacing of the nodes on which the slow fields (warp, water, tone) are tabulated."""
BUILDING, ROAD, GREEN, WATER, BARE = 0, 1, 2, 3, 4
DENSE, HOUSES, FARM, FOREST, OPEN, PARK = 0, 1, 2, 3, 4, 5


class World(NamedTuple):
    """What one window needs: constants of the world and tables of the slow fields around the window."""

    seed: int
    date: int
    res: float
    """Metres per pixel."""
    east: float
    """Position of the outer corner of pixel (0, 0) of the scene."""
    north: float
    row0: int
    """Number of the window's first row and column."""
    col0: int
    cos: float
    """Rotation of the street grid."""
    sin: float
    sun_u: float
    sun_v: float
    look: Look
    palette: np.ndarray
    wx: int
    """Node number of the first column and row of `warp` (2, row, col), on the ground."""
    wy: int
    warp: np.ndarray
    fu: int
    """Node number of the first column and row of `fields` (row, col, 4) in u, v: river, lake, tone, patch."""
    fv: int
    fields: np.ndarray
    bi: int
    """Number of the first line in u and v of the tables of lines and blocks."""
    bj: int
    line_u: np.ndarray
    line_v: np.ndarray
    half_u: np.ndarray
    """Half width of the road on line i beside block row j; 0 where there is none."""
    half_v: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    """Hash of each block."""


# ---- chance and noise --------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def mix(seed, a, b, salt):
    """A hash of 64 bits (finaliser of MurmurHash3; the shifts are arithmetic, which does no harm)."""
    h = a * 0x1B873593CC9E2D51 + b * 0x2545F4914F6CDD1D + (seed * 0x632BE5AB + salt) * 0x5851F42D4C957F2D
    h ^= h >> 33
    h *= 0x7F51AFD7ED558CCD
    h ^= h >> 31
    h *= 0x44CEB9FE1A85EC53
    return h ^ (h >> 33)


@njit(cache=True, nogil=True)
def part(h, k):
    """The k-th (0..3) independent number 0..1 of a hash."""
    return ((h >> (16 * k)) & 0xFFFF) * (1.0 / 65536.0)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def wave(x):
    """A triangle wave, -1..1, of period 1."""
    return 4.0 * abs(x - np.floor(x + 0.5)) - 1.0


@njit(cache=True, nogil=True)
def clip01(x):
    return min(1.0, max(0.0, x))


# ---- tables of the slow fields ----------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def fill_warp(seed, wx, wy, warp):
    """How far (metres) the street grid is bent at each node on the ground."""
    for r in range(warp.shape[1]):
        for c in range(warp.shape[2]):
            x = (wx + c) * NODE_M / 1700.0
            y = (wy + r) * NODE_M / 1700.0
            warp[0, r, c] = 150.0 * (noise(seed, x, y, 1) - 0.5) + 24.0 * (noise(seed, 3.1 * x, 3.1 * y, 3) - 0.5)
            warp[1, r, c] = 150.0 * (noise(seed, x, y, 2) - 0.5) + 24.0 * (noise(seed, 3.1 * x, 3.1 * y, 4) - 0.5)


@njit(cache=True, nogil=True)
def river_level(seed, u, v):
    a = 0.8 * u + 0.6 * v
    b = 0.8 * v - 0.6 * u
    return (
        noise(seed, a / 1300.0, b / 1300.0, 5)
        + 0.35 * noise(seed, a / 420.0, b / 420.0, 6)
        + 0.06 * noise(seed, a / 90.0, b / 90.0, 7)
        - 0.705
    )


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def fill_blocks(seed, look, bi, bj, line_u, line_v, half_u, half_v, kind, code):
    """Lines, roads on them, and what each block is."""
    for i in range(line_u.size):
        line_u[i] = (bi + i + 0.44 * (part(mix(seed, bi + i, 0, 20), 1) - 0.5)) * PITCH_M
    for j in range(line_v.size):
        line_v[j] = (bj + j + 0.44 * (part(mix(seed, bj + j, 0, 21), 1) - 0.5)) * PITCH_M
    for i in range(kind.shape[0]):
        for j in range(kind.shape[1]):
            h = mix(seed, bi + i, bj + j, 22)
            town = noise(seed, (bi + i) / 5.0, (bj + j) / 5.0, 23) + 0.55 * (part(h, 0) - 0.5)
            code[i, j] = h
            if town > 1.0 - look.urban:
                kind[i, j] = DENSE if part(h, 1) < look.dense else HOUSES
                continue
            p = part(h, 2)
            if p < look.farm:
                kind[i, j] = FARM
            elif p < look.farm + look.forest:
                kind[i, j] = FOREST
            elif p < look.farm + look.forest + look.bare:
                kind[i, j] = OPEN
            else:
                kind[i, j] = PARK
    for axis in range(2):
        half = half_u if axis == 0 else half_v
        for i in range(kind.shape[0]):
            for j in range(kind.shape[1]):
                line = bi + i if axis == 0 else bj + j
                h = mix(seed, line, axis, 24)
                if (line + axis + seed) % 5 == 0:
                    half[i, j] = 8.5 + 5.0 * part(h, 0)
                    continue
                other = kind[i - 1, j] if axis == 0 else kind[i, j - 1]
                if i == 0 or j == 0:
                    other = kind[i, j]  # the rim of the tables lies outside every window
                built = kind[i, j] <= HOUSES or other <= HOUSES
                lane = part(mix(seed, bi + i, bj + j, 25 + axis), 0) < look.lanes
                half[i, j] = 3.6 + 2.0 * part(h, 1) if built else (2.0 + 1.4 * part(h, 2) if lane else 0.0)


# ---- where a position is ----------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def bend(w, x, y):
    """u, v of a position on the ground."""
    fx = np.floor(x / NODE_M)
    fy = np.floor(y / NODE_M)
    s = x / NODE_M - fx
    t = y / NODE_M - fy
    p = w.warp
    # Far outside the window (only while `box` searches) the nearest node will do.
    c = min(max(np.int64(fx) - w.wx, 0), p.shape[2] - 2)
    r = min(max(np.int64(fy) - w.wy, 0), p.shape[1] - 2)
    a = p[0, r, c] + (p[0, r, c + 1] - p[0, r, c]) * s
    b = p[0, r + 1, c] + (p[0, r + 1, c + 1] - p[0, r + 1, c]) * s
    d = p[1, r, c] + (p[1, r, c + 1] - p[1, r, c]) * s
    e = p[1, r + 1, c] + (p[1, r + 1, c + 1] - p[1, r + 1, c]) * s
    return w.cos * x + w.sin * y + a + (b - a) * t, w.cos * y - w.sin * x + d + (e - d) * t


@njit(cache=True, nogil=True)
def field(w, u, v, k):
    """Field k at u, v, interpolated between nodes."""
    fx = np.floor(u / NODE_M)
    fy = np.floor(v / NODE_M)
    s = u / NODE_M - fx
    t = v / NODE_M - fy
    f = w.fields
    c = np.int64(fx) - w.fu
    r = np.int64(fy) - w.fv
    a = f[r, c, k] + (f[r, c + 1, k] - f[r, c, k]) * s
    b = f[r + 1, c, k] + (f[r + 1, c + 1, k] - f[r + 1, c, k]) * s
    return a + (b - a) * t


@njit(cache=True, nogil=True)
def block_at(w, u, v):
    """Row and column of a block in the tables."""
    i = np.int64(np.floor(u / PITCH_M)) - w.bi
    j = np.int64(np.floor(v / PITCH_M)) - w.bj
    if u < w.line_u[i]:
        i -= 1
    elif u >= w.line_u[i + 1]:
        i += 1
    if v < w.line_v[j]:
        j -= 1
    elif v >= w.line_v[j + 1]:
        j += 1
    return i, j


@njit(cache=True, nogil=True)
def layout(w, i, j):
    """How a block is cut: orientation, sides along and across its streets, rows of lots, lots in a row."""
    h = mix(w.code[i, j], 1, 2, 30)
    turned = part(h, 0) < 0.5
    along = w.line_u[i + 1] - w.line_u[i]
    across = w.line_v[j + 1] - w.line_v[j]
    if turned:
        along, across = across, along
    dense = w.kind[i, j] == DENSE
    deep = 46.0 + 14.0 * part(h, 1) if dense else 25.0 + 8.0 * part(h, 1)
    wide = 36.0 + 40.0 * part(h, 2) if dense else 16.0 + 12.0 * part(h, 2) * part(h, 3)
    rows = min(12, max(2, 2 * np.int64(across / (2.0 * deep) + 0.5)))
    return turned, along, across, rows, min(20, max(1, np.int64(along / wide)))


@njit(cache=True, nogil=True)
def road_at(w, u, v, i, j):
    """The nearest road: distance to its edge (negative on it), to its axis, half width, length along it, line.

    Line is the hash key of the road; a local street has the key 0. Markings vanish on crossings: there the distance
    to the axis is 1e9.
    """
    du = u - w.line_u[i]
    iu = i
    if w.line_u[i + 1] - u < du:
        iu = i + 1
        du = u - w.line_u[iu]
    dv = v - w.line_v[j]
    jv = j
    if w.line_v[j + 1] - v < dv:
        jv = j + 1
        dv = v - w.line_v[jv]
    hu = w.half_u[iu, j]
    hv = w.half_v[i, jv]
    eu = abs(du) - hu if hu > 0.0 else 1e9
    ev = abs(dv) - hv if hv > 0.0 else 1e9
    if eu < ev:
        best, axis, half, run, line = eu, du, hu, v, 2 * (iu + w.bi) + 1
    else:
        best, axis, half, run, line = ev, dv, hv, u, 2 * (jv + w.bj) + 2000001
    if eu < 0.0 and ev < 0.0:
        axis = 1e9
    if w.kind[i, j] <= HOUSES:
        turned, along, across, rows, lots = layout(w, i, j)
        b = u - w.line_u[i] if turned else v - w.line_v[j]
        pitch = 2.0 * across / rows
        k = np.floor(b / pitch + 0.5)
        if k >= 1.0 and k <= rows // 2 - 1:
            half_l = 3.9 if w.kind[i, j] == DENSE else 3.0
            el = abs(b - k * pitch) - half_l
            if el < 0.0 and best < 0.0:
                axis = 1e9
            elif el < best:
                best, axis, half, run, line = el, b - k * pitch, half_l, v if turned else u, 0
    return best, axis, half, run, line


@njit(cache=True, nogil=True)
def water_at(w, u, v):
    return min(field(w, u, v, 0), field(w, u, v, 1))


@njit(cache=True, nogil=True)
def cleared(w, u, v):
    """True inside a clearing of date 1 (whatever the date of the scene)."""
    i = np.floor(u / 150.0)
    j = np.floor(v / 150.0)
    h = mix(w.seed, np.int64(i), np.int64(j), 31)
    if part(h, 0) >= w.look.clearing:
        return False
    a = abs(u - (i + 0.5 + 0.12 * (part(h, 1) - 0.5)) * 150.0)
    b = abs(v - (j + 0.5 + 0.12 * (part(h, 2) - 0.5)) * 150.0)
    reach = 36.0 + 24.0 * part(h, 3) + 10.0 * (noise(w.seed, u / 14.0, v / 14.0, 32) - 0.5)
    return max(max(a, b), 0.75 * (a + b)) < reach


# ---- lots and buildings -----------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def is_site(w, i, j, q, n):
    """True where a building goes up between the dates; few blocks have most of them."""
    share = w.look.growth * (4.0 if part(mix(w.code[i, j], 3, 4, 42), 2) < 0.12 else 0.6)
    return part(mix(w.code[i, j], q, n, 43), 0) < share


@njit(cache=True, nogil=True)
def building_of(w, i, j, q, n):
    """The building of lot n in row q of a block: when, centre, half sizes, wing, height, hash, turned.

    When is 0 for an empty lot, 1 for a building of both dates and 2 for one that stands at date 1 only. A building
    lies inside its lot, off the roads and away from the water, or it is not there.
    """
    turned, along, across, rows, lots = layout(w, i, j)
    h = mix(w.code[i, j], q, n, 40)
    g = mix(w.code[i, j], q, n, 41)
    dense = w.kind[i, j] == DENSE
    none = (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, h, turned)
    if part(h, 0) > 0.93:
        return none
    if turned:
        left, right = w.half_v[i, j], w.half_v[i, j + 1]
        first, last = w.half_u[i, j], w.half_u[i + 1, j]
    else:
        left, right = w.half_u[i, j], w.half_u[i + 1, j]
        first, last = w.half_v[i, j], w.half_v[i, j + 1]
    wide = along / lots
    deep = across / rows
    a0 = max(n * wide, left + 2.5)
    a1 = min((n + 1) * wide, along - right - 2.5)
    street = 3.9 if dense else 3.0
    if q == 0:
        street = first
    elif q == rows - 1:
        street = last
    c = mix(w.code[i, j], 3, 4, 42)
    row_houses = not dense and part(c, 0) < 0.22
    front = street + 3.0 + (4.0 if dense else 5.0) * part(c, 1) + 2.0 * part(h, 1)
    room = deep - front - 2.0
    if dense:
        half_a = 0.5 * (a1 - a0) * (0.62 + 0.26 * part(h, 2))
        half_b = 0.5 * room * (0.6 + 0.4 * part(h, 3))
        height = 5.0 + 17.0 * part(g, 0) * part(g, 0)
    else:
        half_a = 0.5 * (a1 - a0) * (0.98 if row_houses else 0.5 + 0.26 * part(h, 2))
        half_b = min(0.5 * room, 3.8 + 3.0 * part(h, 3))
        height = 4.0 + 3.5 * part(g, 0)
    half_a = min(half_a, 0.5 * (a1 - a0) - (0.1 if row_houses else 1.0))
    if half_a < 2.5 or half_b < 3.0:
        return none
    a = 0.5 * (a0 + a1)
    if not row_houses:
        a += (0.5 * (a1 - a0) - 1.0 - half_a) * 1.6 * (part(g, 1) - 0.5)
    b = front + half_b
    wing = 0.0
    if part(g, 2) < 0.4 and not row_houses:
        # An L: the back half is narrower by this share; the sign says on which side.
        wing = (0.35 + 0.3 * part(g, 3)) * (1.0 if part(h, 1) < 0.5 else -1.0)
    if q % 2 == 1:
        b = deep - b
        wing = -wing
    b += q * deep
    cu = w.line_u[i] + (b if turned else a)
    cv = w.line_v[j] + (a if turned else b)
    hu = half_b if turned else half_a
    hv = half_a if turned else half_b
    for k in range(9):
        pu = cu + (k % 3 - 1) * hu
        pv = cv + (k // 3 - 1) * hv
        if road_at(w, pu, pv, i, j)[0] < 1.2 or water_at(w, pu, pv) < 4.0:
            return none
    return 2 if is_site(w, i, j, q, n) else 1, cu, cv, half_a, half_b, wing, height, float(q % 2), h, turned


@njit(cache=True, nogil=True)
def roof_at(p, q, half_a, half_b, wing, behind):
    """Where p, q (along, across from the centre) lies under the roof: inside, distances to the four edges.

    Returns (inside, to the edges along, to the edges across, side along, side across) of the part that it is in.
    """
    if abs(p) > half_a or abs(q) > half_b:
        return False, 0.0, 0.0, 1.0, 1.0
    if wing != 0.0:
        back = q > 0.0 if behind < 0.5 else q < 0.0
        # The front bar spans the full width, the back part one side of it.
        cut = half_a * (1.0 - 2.0 * abs(wing))
        outside = p > cut if wing > 0.0 else p < -cut
        if back and outside:
            return False, 0.0, 0.0, 1.0, 1.0
        if back:
            centre = 0.5 * (cut - half_a) * (1.0 if wing > 0.0 else -1.0)
            half = 0.5 * (half_a + cut)
            return True, half - abs(p - centre), half_b - abs(q), 1.0 if p > centre else -1.0, 2.0
        middle = -0.5 * half_b if behind < 0.5 else 0.5 * half_b
        return True, half_a - abs(p), 0.5 * half_b - abs(q - middle), 1.0, 1.0 if q > middle else -1.0
    return True, half_a - abs(p), half_b - abs(q), 1.0 if p > 0.0 else -1.0, 1.0 if q > 0.0 else -1.0


@njit(cache=True, nogil=True)
def box(w, u, v, reach, shape):
    """Rows and columns of the window that may lie within `reach` of u, v (too many rather than too few)."""
    x = w.cos * u - w.sin * v
    y = w.sin * u + w.cos * v
    for _ in range(6):
        pu, pv = bend(w, x, y)
        x += w.cos * (u - pu) - w.sin * (v - pv)
        y += w.sin * (u - pu) + w.cos * (v - pv)
    reach = 1.45 * reach + 1.2
    c0 = np.int64(np.floor((x - reach - w.east) / w.res)) - w.col0
    c1 = np.int64(np.floor((x + reach - w.east) / w.res)) + 1 - w.col0
    r0 = np.int64(np.floor((w.north - y - reach) / w.res)) - w.row0
    r1 = np.int64(np.floor((w.north - y + reach) / w.res)) + 1 - w.row0
    return max(r0, 0), min(r1, shape[0]), max(c0, 0), min(c1, shape[1])


@njit(cache=True, nogil=True)
def paint_building(w, i, j, q, n, out):
    """Draws one building into the window."""
    us, vs, z, rgb, cls, ids = out
    when, cu, cv, half_a, half_b, wing, height, behind, h, turned = building_of(w, i, j, q, n)
    if when == 0 or (when == 2 and w.date == 0):
        return
    r0, r1, c0, c1 = box(w, cu, cv, np.sqrt(half_a * half_a + half_b * half_b), us.shape)
    if r0 >= r1 or c0 >= c1:
        return
    rows, lots = layout(w, i, j)[3:5]
    wrapped = ((w.bi + i) & 4095) * 4096 + ((w.bj + j) & 4095)
    number = wrapped * 256 + q * lots + n + 1
    dense = w.kind[i, j] == DENSE
    g = mix(h, 5, 6, 44)
    c = mix(w.code[i, j], 3, 4, 42)
    flat = part(g, 0) < (0.75 if dense else w.look.flat_roofs)
    pick = part(g, 1) if part(g, 3) < 0.5 else part(c, 3)
    base = w.palette[(24 if flat else 18) + np.int64(pick * 5.99)]
    light = 0.88 + 0.24 * part(g, 2)
    hip = part(mix(h, 7, 8, 45), 0) < 0.4
    sun_a = w.sun_v if turned else w.sun_u
    sun_b = w.sun_u if turned else w.sun_v
    key = np.int64(h & 0xFFFFFF)
    for r in range(r0, r1):
        for k in range(c0, c1):
            p = (vs[r, k] - cv) if turned else (us[r, k] - cu)
            t = (us[r, k] - cu) if turned else (vs[r, k] - cv)
            inside, ea, eb, sa, sb = roof_at(p, t, half_a, half_b, wing, behind)
            if not inside:
                continue
            top = height
            shine = light
            if flat:
                edge = min(ea, eb)
                if edge < 0.5 and sb < 1.5:
                    shine *= 1.10
                    top += 0.6
                else:
                    s = mix(key, np.int64(np.floor(p / 2.8)), np.int64(np.floor(t / 2.8)), 46)
                    if part(s, 0) < (0.10 if dense else 0.05) and edge > 1.2:
                        shine *= 0.7 + 0.55 * part(s, 1)
                        top += 1.3
                    shine *= 0.94 + 0.12 * noise(key, p / 4.5, t / 4.5, 47)
            else:
                if sb > 1.5:  # the wing: its ridge runs away from the street
                    top += 0.5 * ea
                    shine *= 1.0 + 0.3 * sa * sun_a
                    edge = ea
                elif hip and ea < eb:
                    top += 0.5 * ea
                    shine *= 1.0 + 0.3 * sa * sun_a
                    edge = eb
                else:
                    top += 0.5 * eb
                    shine *= 1.0 + 0.3 * sb * sun_b
                    edge = eb
                shine *= 0.93 + 0.14 * noise(key, p / 1.3, t / 1.3, 48) + 0.03 * wave(edge / 1.1)
            if top > z[r, k]:
                z[r, k] = top
                cls[r, k] = BUILDING
                ids[r, k] = number
                for m in range(3):
                    rgb[m, r, k] = base[m] * shine


# ---- the ground -------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def blend(a, b, t):
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


@njit(cache=True, nogil=True)
def colour(w, k):
    return (w.palette[k, 0], w.palette[k, 1], w.palette[k, 2])


@njit(cache=True, nogil=True)
def dim(c, f):
    return (c[0] * f, c[1] * f, c[2] * f)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def stripe(d, width, res):
    """How much of a pixel at distance d from its axis a painted line of this width covers."""
    return clip01((0.5 * (width + res) - abs(d)) / res) * min(1.0, width / res)


@njit(cache=True, nogil=True)
def road_ground(w, u, v, edge, axis, half, run, line, built):
    """Colour and height on a road."""
    tone = noise(w.seed, u / 13.0, v / 13.0, 50)
    age = part(mix(w.seed, line, 0, 51), 0)
    base = blend(colour(w, 10), colour(w, 11), (0.7 * age if half < 8.0 else 0.2 * age) + 0.25 * (tone - 0.5))
    if half < 3.4 and line != 0 and not built and age > 0.45:
        base = blend(colour(w, 0), colour(w, 12), 0.5)  # a gravel lane
        return dim(base, 0.9 + 0.2 * tone), 0.0
    base = dim(base, 0.95 + 0.1 * noise(w.seed, u / 1.5, v / 1.5, 52))
    if abs(axis) > 1e8 or half < 2.6:
        return base, 0.0
    white = 0.0
    gap = abs(axis)
    dash = 1.0 if (run / 9.0 - np.floor(run / 9.0)) < 0.45 else 0.0
    if half >= 8.0:
        if gap < 1.1:
            return blend(colour(w, 12), colour(w, 4), age), 0.2
        lane = 0.5 * (1.1 + half)
        white = max(stripe(edge + 0.6, 0.25, w.res), stripe(gap - lane, 0.2, w.res) * dash)
        base = dim(base, 0.92 + 0.06 * wave((gap - 1.1) / (lane - 1.1)))
    elif line != 0:
        white = stripe(axis, 0.2, w.res) * dash
    base = blend(base, (235.0, 235.0, 228.0), w.look.markings * white)
    # Cars: one cell of road may hold one car.
    long = 13.0
    cell = np.floor(run / long)
    h = mix(w.seed, np.int64(cell), line * 4 + (1 if axis > 0 else 0) + np.int64(u / PITCH_M if line == 0 else 0), 53)
    busy = 0.22 if half >= 8.0 else (0.12 if built else 0.03)
    if part(h, 0) < busy:
        lane_d = 0.5 * half if half < 8.0 else 1.1 + (half - 1.1) * (0.27 if part(h, 3) < 0.5 else 0.74)
        if line == 0:
            lane_d = half - 1.2
        s = abs(run - (cell + 0.35 + 0.3 * part(h, 1)) * long)
        t = abs(gap - lane_d)
        if s < 2.2 and t < 0.95:
            paint_c = car_paint(h)
            glass = 0.45 if 0.5 < s < 1.1 else 1.0
            return dim(paint_c, glass), 1.4
    return base, 0.0


@njit(cache=True, nogil=True)
def lot_ground(w, u, v, i, j, tone, fine):
    """Class, colour and height inside a built-up block, off the streets."""
    turned, along, across, rows, lots = layout(w, i, j)
    a = v - w.line_v[j] if turned else u - w.line_u[i]
    b = u - w.line_u[i] if turned else v - w.line_v[j]
    wide = along / lots
    deep = across / rows
    n = min(lots - 1, max(0, np.int64(a / wide)))
    q = min(rows - 1, max(0, np.int64(b / deep)))
    h = mix(w.code[i, j], q, n, 60)
    a -= n * wide
    b -= q * deep
    if q % 2 == 1:
        b = deep - b  # b is now the distance from the street
    if is_site(w, i, j, q, n):
        # Soil at both dates, so that only the building changes.
        return BARE, dim(blend(colour(w, 0), colour(w, 1), 0.6 * tone), 0.8 + 0.4 * fine), 0.0
    if w.kind[i, j] == DENSE:
        if part(h, 0) < 0.45:
            base = dim(blend(colour(w, 10), colour(w, 11), part(h, 1)), 0.9 + 0.2 * fine)
            # Parking: bays of 2.5 x 5 m in rows 16 m apart.
            bay = a / 2.5
            side = b / 8.0
            white = stripe((bay - np.floor(bay + 0.5)) * 2.5, 0.15, w.res)
            s = (side - np.floor(side)) * 8.0
            if s < 5.0:
                base = blend(base, (225.0, 225.0, 220.0), 0.7 * white)
                g = mix(h, np.int64(np.floor(bay)), np.int64(np.floor(side)), 61)
                t = abs(bay - np.floor(bay) - 0.5) * 2.5
                if part(g, 0) < 0.5 and t < 0.9 and 0.4 < s < 4.7:
                    return ROAD, dim(car_paint(g), 0.45 if 1.4 < s < 2.0 else 1.0), 1.4
            return ROAD, base, 0.0
        if part(h, 0) < 0.8:
            grid = 0.97 if (a / 4.0 - np.floor(a / 4.0)) < 0.1 else 1.0
            return BARE, dim(colour(w, 12), grid * (0.88 + 0.2 * fine)), 0.0
        return GREEN, dim(blend(colour(w, 3), colour(w, 4), tone), 0.85 + 0.3 * fine), 0.0
    if part(h, 1) < w.look.pools:
        pa = abs(a - wide * (0.3 + 0.4 * part(h, 2)))
        pb = abs(b - deep + 5.0)
        if pa < 4.4 and pb < 2.4:
            return (WATER if pa < 3.8 and pb < 1.8 else BARE), colour(w, 31 if pa < 3.8 and pb < 1.8 else 12), 0.0
    fence = min(min(a, wide - a), deep - b)
    if part(h, 0) < w.look.lawn:
        if fence < 0.5 and part(h, 3) < 0.5:
            return GREEN, dim(colour(w, 15), 0.8 + 0.5 * fine), 1.3
        base = blend(colour(w, 3), colour(w, 4), clip01(0.9 * tone + 0.5 * (part(h, 2) - 0.5)))
        return GREEN, dim(base, 0.82 + 0.36 * fine), 0.0
    if fence < 0.35 and part(h, 3) < 0.6:
        return BARE, dim(colour(w, 12), 1.05), 1.5
    base = blend(colour(w, 0), colour(w, 12), part(h, 2) * 0.9)
    return BARE, dim(base, 0.84 + 0.32 * fine), 0.0


@njit(cache=True, nogil=True)
def field_of(w, i, j, a, along):
    """The field of a farm block at position a across its strips: number, distance to its border, hash."""
    h = w.code[i, j]
    count = 2 + np.int64(part(h, 3) * 4.0 * along / PITCH_M)
    t = a / along * count
    k = np.floor(t)
    lo = k + 0.5 * (part(mix(h, np.int64(k), 0, 62), 0) - 0.5) if k > 0 else 0.0
    hi = k + 1 + 0.5 * (part(mix(h, np.int64(k) + 1, 0, 62), 0) - 0.5) if k + 1 < count else float(count)
    if t < lo:
        k -= 1.0
        hi = lo
        lo = k + 0.5 * (part(mix(h, np.int64(k), 0, 62), 0) - 0.5) if k > 0 else 0.0
    elif t >= hi:
        k += 1.0
        lo = hi
        hi = k + 1 + 0.5 * (part(mix(h, np.int64(k) + 1, 0, 62), 0) - 0.5) if k + 1 < count else float(count)
    border = min(t - lo, hi - t) * along / count
    return border, mix(h, np.int64(k), 1, 63)


@njit(cache=True, nogil=True)
def open_ground(w, u, v, tone, patch, fine, dry):
    """Bare land: two kinds of sand in large patches, dark crusts, ripples."""
    base = blend(colour(w, 1), colour(w, 2), clip01(3.0 * (tone - 0.38)))
    base = blend(base, colour(w, 0), clip01(2.5 * (patch - 0.55)))
    if dry < 0.5:
        base = blend(base, colour(w, 4), clip01(2.0 * (patch - 0.5)) * 0.6)
    ripple = wave((0.8 * u + 0.6 * v) / 7.0 + 6.0 * patch + 3.0 * tone)
    return BARE, dim(base, 0.84 + 0.28 * fine + 0.035 * ripple), 0.0


@njit(cache=True, nogil=True)
def farm_ground(w, u, v, i, j, tone, patch, fine):
    """Fields: rows, tramlines, hues, and now and then a pivot."""
    code = mix(w.code[i, j], 8, 9, 64)
    turned = part(code, 0) < 0.5
    wide = w.line_u[i + 1] - w.line_u[i]
    high = w.line_v[j + 1] - w.line_v[j]
    a = v - w.line_v[j] if turned else u - w.line_u[i]
    b = u - w.line_u[i] if turned else v - w.line_v[j]
    along = high if turned else wide
    if part(code, 1) < w.look.pivots:
        pu = u - w.line_u[i] - 0.5 * wide
        pv = v - w.line_v[j] - 0.5 * high
        d = np.sqrt(pu * pu + pv * pv)
        radius = 0.5 * min(wide, high) - 8.0
        if d > radius:
            return open_ground(w, u, v, tone, patch, fine, 1.0)
        border, h = radius - d, code
        a = d
    else:
        border, h = field_of(w, i, j, a, along)
    if border < 1.2:
        return GREEN, dim(blend(colour(w, 4), colour(w, 3), tone), 0.75 + 0.4 * fine), 0.0
    what = part(h, 0)
    hue = part(h, 1)
    period = 1.4 + 3.5 * part(h, 2)
    depth = 0.10 * min(1.0, period / (2.0 * w.res))
    if period < 2.0 * w.res:
        depth = 0.0
    rows = depth * wave((a + 0.6 * (patch - 0.5)) / period)
    tram = a / 22.0
    track = (tram - np.floor(tram)) * 22.0
    if abs(track - 10.0) < 0.35 or abs(track - 12.0) < 0.35:
        rows -= 0.12 * min(1.0, 0.7 / w.res)
    soft = 0.86 + 0.14 * tone + 0.14 * fine
    if what < w.look.ploughed:
        damp = clip01(1.6 * (tone - 0.35))
        base = dim(blend(colour(w, 8), colour(w, 0), clip01(0.8 * hue + 0.3 * damp)), soft + 1.3 * rows)
        return BARE, base, 0.0
    what = (what - w.look.ploughed) / (1.0 - w.look.ploughed)
    if what < w.look.ripe:
        base = blend(colour(w, 7), colour(w, 4), 0.6 * hue)
    elif what < 0.75:
        base = blend(colour(w, 5), colour(w, 6), hue)
        base = blend(base, colour(w, 8), 0.35 * clip01(2.5 * (patch - 0.62)))
    else:
        base = blend(colour(w, 3), colour(w, 4), 0.7 * hue + 0.5 * (tone - 0.5))
        rows *= 0.3
    return GREEN, dim(base, soft + rows), 0.25


@njit(cache=True, nogil=True)
def ground(w, u, v):
    """Class, colour and height of the ground."""
    i, j = block_at(w, u, v)
    kind = w.kind[i, j]
    river = field(w, u, v, 0)
    lake = field(w, u, v, 1)
    edge, axis, half, run, line = road_at(w, u, v, i, j)
    built = kind <= HOUSES
    fine = 0.6 * noise(w.seed, u / 3.1, v / 3.1, 70) + 0.4 * noise(w.seed, u / 0.9, v / 0.9, 71)
    water = min(river, lake)
    if edge < 0.0 and (water > 0.0 or (line != 0 and (lake > 0.0 or half > 8.0))):
        c, z = road_ground(w, u, v, edge, axis, half, run, line, built)
        return ROAD, c, z + (0.6 if water < 0.0 else 0.0)
    tone = field(w, u, v, 2)
    patch = field(w, u, v, 3)
    if water < 6.0:
        shore = water + 1.6 * (noise(w.seed, u / 5.0, v / 5.0, 72) - 0.5)
        if shore < 0.0:
            c = blend(colour(w, 14), colour(w, 13 if river < lake else 30), clip01(-shore / 9.0 + 0.2))
            return WATER, dim(c, 0.93 + 0.08 * fine + 0.06 * tone), 0.0
        beach = 1.0 + 4.0 * patch
        if shore < beach:
            c = blend(colour(w, 0), colour(w, 1), clip01(shore / beach))
            return BARE, dim(c, 0.8 + 0.35 * fine), 0.0
    if edge < 1.6 and built and line != 0:
        return BARE, dim(colour(w, 12), 0.92 + 0.12 * fine), 0.1
    if edge < 2.2 + 1.5 * fine and not built and half > 0.0 and kind != OPEN:
        return GREEN, dim(blend(colour(w, 3), colour(w, 4), tone), 0.8 + 0.4 * fine), 0.0
    if built:
        return lot_ground(w, u, v, i, j, tone, fine)
    if kind == FARM:
        return farm_ground(w, u, v, i, j, tone, patch, fine)
    if kind == FOREST:
        if w.date == 1 and cleared(w, u, v):
            c = blend(colour(w, 0), colour(w, 8), clip01(2.0 * (tone - 0.2)))
            return BARE, dim(c, 0.78 + 0.45 * fine + 0.05 * wave(u / 6.0 + patch)), 0.0
        return GREEN, dim(colour(w, 9), 0.75 + 0.5 * fine), 0.0
    if kind == OPEN:
        return open_ground(w, u, v, tone, patch, fine, w.look.scrub * 20.0)
    c = blend(colour(w, 3), colour(w, 4), clip01(1.5 * (patch - 0.25)))
    return GREEN, dim(c, 0.8 + 0.2 * tone + 0.25 * fine), 0.0


# ---- trees ------------------------------------------------------------------------------------------------

TREE_M = 4.6
"""Spacing of the lattice on which trees stand."""


@njit(cache=True, nogil=True)
def tree_of(w, a, b):
    """The tree of lattice cell a, b: what, centre, radius, height, hash. What: 0 none, 1 round, 2 narrow, 3 palm."""
    h = mix(w.seed, a, b, 80)
    none = (0, 0.0, 0.0, 0.0, 0.0, h)
    u = (a + 0.5 + 0.9 * (part(h, 0) - 0.5)) * TREE_M
    v = (b + 0.5 + 0.9 * (part(h, 1) - 0.5)) * TREE_M
    i, j = block_at(w, u, v)
    kind = w.kind[i, j]
    look = w.look
    chance = part(h, 2)
    if kind == FOREST:
        share = 0.95
    elif kind == PARK:
        share = 0.03 + 0.6 * clip01(6.0 * (field(w, u, v, 3) - 0.55))
    elif kind == OPEN:
        share = look.scrub * (0.2 + 2.5 * field(w, u, v, 2) ** 2)
    elif kind == FARM:
        share = 0.75
    else:
        share = look.garden_trees * (1.0 if kind == HOUSES else 0.5)
    wet = water_at(w, u, v)
    bank = 0.5 * (1.0 - look.scrub * 10.0)
    if 3.0 < wet < 12.0:
        share = max(share, bank)
    if chance > share or wet < 3.0:
        return none
    if kind == FARM and not wet < 12.0:
        # Hedges stand along the roads of some blocks, orchards fill some others.
        rim = min(min(u - w.line_u[i], w.line_u[i + 1] - u), min(v - w.line_v[j], w.line_v[j + 1] - v))
        code = w.code[i, j]
        orchard = part(code, 0) < 0.1 and rim > 14.0
        hedge = part(code, 1) < 0.5 * (1.0 - look.pivots) and 4.0 < rim < 11.0
        if not (orchard or hedge):
            return none
    g = mix(w.seed, a, b, 81)
    radius = 1.7 + 2.2 * part(g, 0)
    height = 5.0 + 3.0 * radius * part(g, 1)
    what = 1
    if kind == FOREST or kind == PARK:
        radius += 0.7
        height += 4.0
        if field(w, u, v, 2) * 0.7 + 0.3 * part(g, 2) < look.conifers * 0.9:
            what = 2
            radius *= 0.72
    elif kind == OPEN or (kind == FOREST and chance > 0.9):
        radius = 0.6 + 1.4 * part(g, 0)
        height = 1.0 + radius
    elif kind <= HOUSES and look.scrub >= 0.04 and part(g, 2) < 0.6:
        what = 3
    edge = road_at(w, u, v, i, j)[0]
    if edge < 0.7 * radius:
        return none
    if kind <= HOUSES:
        turned, along, across, rows, lots = layout(w, i, j)
        pa = v - w.line_v[j] if turned else u - w.line_u[i]
        pb = u - w.line_u[i] if turned else v - w.line_v[j]
        n = min(lots - 1, max(0, np.int64(pa * lots / along)))
        q = min(rows - 1, max(0, np.int64(pb * rows / across)))
        when, cu, cv, half_a, half_b = building_of(w, i, j, q, n)[:5]
        hu = half_b if turned else half_a
        hv = half_a if turned else half_b
        if when > 0 and abs(u - cu) < hu + 0.5 * radius and abs(v - cv) < hv + 0.5 * radius:
            return none
    if w.date == 1 and kind == FOREST and cleared(w, u, v) and edge > radius + 3.0 and wet > radius + 7.0:
        return none
    return what, u, v, radius, height, g


@njit(cache=True, nogil=True)
def paint_tree(w, a, b, out):
    """Draws the crown of one tree."""
    us, vs, z, rgb, cls, ids = out
    what, cu, cv, radius, height, h = tree_of(w, a, b)
    if what == 0:
        return
    r0, r1, c0, c1 = box(w, cu, cv, radius, us.shape)
    p = part(h, 3)
    base = blend(colour(w, 15), colour(w, 16), p)
    if what == 2:
        base = dim(colour(w, 15), 0.62 + 0.2 * p)
    elif part(mix(h, 1, 1, 82), 0) < w.look.autumn:
        base = blend(base, colour(w, 17), 0.35 + 0.65 * p)
    base = dim(base, 0.8 + 0.4 * part(h, 2))
    inverse = 1.0 / radius
    for r in range(r0, r1):
        for k in range(c0, c1):
            p = (us[r, k] - cu) * inverse
            q = (vs[r, k] - cv) * inverse
            d = p * p + q * q
            if d > 1.0:
                continue
            grain = noise(w.seed, us[r, k] / 0.85, vs[r, k] / 0.85, 83)
            if what == 3:
                x = p * p / (d + 1e-9)
                petals = 8.0 * x * x - 8.0 * x + 1.0  # the cosine of four times the angle
                d *= 1.5 - petals
            rim = d + 0.7 * (grain - 0.35)
            if rim > 1.0:
                continue
            top = height * (0.62 + 0.38 * (1.0 - d)) if what != 2 else height * (1.25 - d)
            if top > z[r, k]:
                z[r, k] = top
                cls[r, k] = GREEN
                ids[r, k] = 0
                shine = 0.78 + 0.30 * (p * w.sun_u + q * w.sun_v) + 0.5 * (grain - 0.4) - 0.16 * d
                for m in range(3):
                    rgb[m, r, k] = base[m] * shine


# ---- the window -------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def paint(w, z, rgb, cls, ids):
    """Draws ground, buildings and trees of a window: heights (m), colours, classes and building numbers."""
    us = np.empty(z.shape)
    vs = np.empty(z.shape)
    for r in range(z.shape[0]):
        y = w.north - (w.row0 + r + 0.5) * w.res
        for k in range(z.shape[1]):
            u, v = bend(w, w.east + (w.col0 + k + 0.5) * w.res, y)
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
            if w.kind[i, j] > HOUSES:
                continue
            turned, along, across, rows, lots = layout(w, i, j)
            low_a = w.line_v[j] if turned else w.line_u[i]
            low_b = w.line_u[i] if turned else w.line_v[j]
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


@njit(cache=True, nogil=True)
def shade(w, z, rgb, steps, slope, light, halo, out):
    """Sun, shadows, air, blur and noise: from heights and colours to the picture of the window without its halo.

    `steps` (n, 2) are the pixels, in rows and columns, passed on the way to the sun. `light` holds shade, gain and
    haze (3 each), contrast, noise and blur.
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
            rise = np.float32(np.sqrt(float(dr * dr + dc * dc)) * w.res * slope)
            for k in range(over.size):
                over[k] = max(over[k], z[r + near + dr, k + near + dc] - rise - z[r + near, k + near])
        for m in range(3):
            for k in range(over.size):
                dark = min(np.float32(1.0), over[k] * np.float32(1.4))
                lit[m, r, k] = rgb[m, r + near, k + near] * (np.float32(1.0) - dark * np.float32(1.0 - light[m]))
    side = light[11]
    for r in range(out.shape[1]):
        for k in range(out.shape[2]):
            h = mix(w.seed, w.row0 + halo + r, w.col0 + halo + k, 90 + w.date)
            g = mix(h, 1, 2, 91)
            grey = part(h, 0) + part(h, 1) + part(h, 2) + part(h, 3) - 2.0
            for m in range(3):
                a = lit[m, r + 1, k + 1]
                near_sum = lit[m, r, k + 1] + lit[m, r + 2, k + 1] + lit[m, r + 1, k] + lit[m, r + 1, k + 2]
                value = a * (1.0 - 4.0 * side) + side * near_sum
                value = (value * light[3 + m] - 110.0) * light[9] + 110.0
                value += light[6 + m] + light[10] * (1.2 * grey + 1.5 * (part(g, m) - 0.5))
                out[m, r, k] = np.uint8(min(255.0, max(0.0, value + 0.5)))
