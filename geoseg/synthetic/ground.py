"""The ground between buildings and trees: roads, water, fields, sand."""

from __future__ import annotations

import numpy as np

from geoseg.synthetic.lots import lot_ground
from geoseg.synthetic.paintbox import blend, car_paint, colour, dim, stripe
from geoseg.synthetic.world import (
    BARE,
    FARM,
    FOREST,
    GREEN,
    HOUSES,
    OPEN,
    PITCH_M,
    ROAD,
    WATER,
    WOODS,
    block_at,
    cleared,
    clip01,
    field,
    helper,
    mix,
    noise,
    part,
    road_at,
    wave,
)


@helper
def road_ground(w, u, v, edge, axis, half, run, line, built):
    """Colour and height on a road."""
    tone = noise(w.k.seed, u / 13.0, v / 13.0, 50)
    age = part(mix(w.k.seed, line, 0, 51), 0)
    base = blend(
        colour(w.palette, 10), colour(w.palette, 11), (0.7 * age if half < 8.0 else 0.2 * age) + 0.25 * (tone - 0.5)
    )
    if half < 3.4 and line != 0 and not built and age > 0.45:
        base = blend(colour(w.palette, 0), colour(w.palette, 12), 0.5)  # a gravel lane
        return dim(base, 0.9 + 0.2 * tone), 0.0
    base = dim(base, 0.95 + 0.1 * noise(w.k.seed, u / 1.5, v / 1.5, 52))
    if abs(axis) > 1e8 or half < 2.6:
        return base, 0.0
    white = 0.0
    gap = abs(axis)
    dash = 1.0 if (run / 9.0 - np.floor(run / 9.0)) < 0.45 else 0.0
    if half >= 8.0:
        if gap < 1.1:
            return blend(colour(w.palette, 12), colour(w.palette, 4), age), 0.2
        lane = 0.5 * (1.1 + half)
        white = max(stripe(edge + 0.6, 0.25, w.k.res), stripe(gap - lane, 0.2, w.k.res) * dash)
        base = dim(base, 0.92 + 0.06 * wave((gap - 1.1) / (lane - 1.1)))
    elif line != 0:
        white = stripe(axis, 0.2, w.k.res) * dash
    base = blend(base, (235.0, 235.0, 228.0), w.k.markings * white)
    # Cars: one cell of road may hold one car.
    long = 13.0
    cell = np.floor(run / long)
    h = mix(w.k.seed, np.int64(cell), line * 4 + (1 if axis > 0 else 0) + np.int64(u / PITCH_M if line == 0 else 0), 53)
    busy = 0.22 if half >= 8.0 else (0.12 if built else 0.03)
    if part(h, 0) < busy:
        lane_d = 0.5 * half if half < 8.0 else 1.1 + (half - 1.1) * (0.27 if part(h, 3) < 0.5 else 0.74)
        if line == 0:
            lane_d = half - 1.2
        s = run - (cell + 0.35 + 0.3 * part(h, 1)) * long
        t = abs(gap - lane_d)
        if abs(s) < 2.2 and t < 0.95:
            paint_c = car_paint(h)
            glass = 0.55 if 0.4 < s < 1.0 else 1.0
            return dim(paint_c, glass), 1.4
    return base, 0.0


@helper
def field_of(w, i, j, a, along):
    """The field of a farm block at position a across its strips: number, distance to its border, hash."""
    h = w.blocks[i, j].code
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


@helper
def open_ground(w, u, v, tone, patch, fine, dry):
    """Bare land: two kinds of sand in large patches, dark crusts; woods where it is not dry."""
    rough = noise(w.k.seed, u / 11.0, v / 11.0, 73)
    if not dry and patch > WOODS:
        return GREEN, dim(colour(w.palette, 9), 0.75 + 0.5 * fine), 0.0
    base = blend(colour(w.palette, 1), colour(w.palette, 2), clip01(3.5 * (tone - 0.42) + 0.5 * (rough - 0.5)))
    base = blend(base, colour(w.palette, 0), clip01(2.5 * (patch - 0.52)))
    if not dry:
        base = blend(base, colour(w.palette, 4), clip01(2.2 * (patch - 0.38)) * 0.6)
    return BARE, dim(base, 0.88 + 0.11 * fine + 0.13 * rough), 0.0


@helper
def farm_ground(w, u, v, i, j, tone, patch, fine):
    """Fields: rows, tramlines, hues, and now and then a pivot."""
    code = mix(w.blocks[i, j].code, 8, 9, 64)
    turned = part(code, 0) < 0.5
    wide = w.lines[0, i + 1] - w.lines[0, i]
    high = w.lines[1, j + 1] - w.lines[1, j]
    a = v - w.lines[1, j] if turned else u - w.lines[0, i]
    along = high if turned else wide
    if part(code, 1) < w.k.pivots:
        pu = u - w.lines[0, i] - 0.5 * wide
        pv = v - w.lines[1, j] - 0.5 * high
        d = np.sqrt(pu * pu + pv * pv)
        radius = 0.5 * min(wide, high) - 8.0
        if d > radius:
            return open_ground(w, u, v, tone, patch, fine, True)
        border, h = radius - d, code
        a = d
    else:
        border, h = field_of(w, i, j, a, along)
    if border < 1.2:
        return GREEN, dim(blend(colour(w.palette, 4), colour(w.palette, 3), tone), 0.75 + 0.4 * fine), 0.0
    what = part(h, 0)
    hue = part(h, 1)
    period = 1.4 + 3.5 * part(h, 2)
    depth = (0.02 + 0.06 * part(h, 3)) * min(1.0, period / (2.0 * w.k.res))
    if period < 2.0 * w.k.res:
        depth = 0.0
    rows = depth * wave((a + 0.6 * (patch - 0.5)) / period)
    tram = a / 22.0
    track = (tram - np.floor(tram)) * 22.0
    if abs(track - 10.0) < 0.35 or abs(track - 12.0) < 0.35:
        rows -= 0.10 * min(1.0, 0.7 / w.k.res)
    soft = 0.78 + 0.28 * tone + 0.16 * fine
    if what < w.k.ploughed:
        damp = clip01(1.6 * (tone - 0.35))
        base = dim(blend(colour(w.palette, 8), colour(w.palette, 0), clip01(0.8 * hue + 0.3 * damp)), soft + 1.3 * rows)
        return BARE, base, 0.0
    what = (what - w.k.ploughed) / (1.0 - w.k.ploughed)
    if what < w.k.ripe:
        base = blend(colour(w.palette, 7), colour(w.palette, 4), 0.6 * hue)
    elif what < 0.75:
        base = blend(colour(w.palette, 5), colour(w.palette, 6), hue)
        base = blend(base, colour(w.palette, 8), 0.35 * clip01(2.5 * (patch - 0.62)))
    else:
        base = blend(colour(w.palette, 3), colour(w.palette, 4), 0.7 * hue + 0.5 * (tone - 0.5))
        rows *= 0.3
    return GREEN, dim(base, soft + rows), 0.25


@helper
def ground(w, u, v):
    """Class, colour and height of the ground."""
    i, j = block_at(w, u, v)
    kind = w.blocks[i, j].kind
    river = field(w, u, v, 0)
    lake = field(w, u, v, 1)
    edge, axis, half, run, line = road_at(w, u, v, i, j)
    built = kind <= HOUSES
    fine = 0.6 * noise(w.k.seed, u / 3.1, v / 3.1, 70) + 0.4 * noise(w.k.seed, u / 0.9, v / 0.9, 71)
    water = min(river, lake)
    if edge < 0.0 and (water > 0.0 or (line != 0 and (lake > 0.0 or half > 8.0))):
        c, z = road_ground(w, u, v, edge, axis, half, run, line, built)
        return ROAD, c, z + (0.6 if water < 0.0 else 0.0)
    tone = field(w, u, v, 2)
    patch = field(w, u, v, 3)
    if water < 6.0:
        shore = water + 1.6 * (noise(w.k.seed, u / 5.0, v / 5.0, 72) - 0.5)
        if shore < 0.0:
            c = blend(colour(w.palette, 14), colour(w.palette, 13 if river < lake else 30), clip01(-shore / 9.0 + 0.2))
            return WATER, dim(c, 0.93 + 0.08 * fine + 0.06 * tone), 0.0
        beach = 1.0 + 4.0 * patch
        if shore < beach:
            c = blend(colour(w.palette, 0), colour(w.palette, 1), clip01(shore / beach))
            return BARE, dim(c, 0.8 + 0.35 * fine), 0.0
    if edge < 1.6 and built and line != 0:
        return BARE, dim(colour(w.palette, 12), 0.92 + 0.12 * fine), 0.1
    if edge < 2.2 + 1.5 * fine and not built and half > 0.0 and kind != OPEN:
        return GREEN, dim(blend(colour(w.palette, 3), colour(w.palette, 4), tone), 0.8 + 0.4 * fine), 0.0
    if built:
        return lot_ground(w, u, v, i, j, tone, fine)
    if kind == FARM:
        return farm_ground(w, u, v, i, j, tone, patch, fine)
    if kind == FOREST:
        if w.k.date == 1 and cleared(w, u, v):
            c = blend(colour(w.palette, 0), colour(w.palette, 8), clip01(2.0 * (tone - 0.2)))
            return BARE, dim(c, 0.78 + 0.45 * fine + 0.05 * wave(u / 6.0 + patch)), 0.0
        return GREEN, dim(colour(w.palette, 9), 0.75 + 0.5 * fine), 0.0
    if kind == OPEN:
        return open_ground(w, u, v, tone, patch, fine, w.k.scrub > 0.02)
    c = blend(colour(w.palette, 3), colour(w.palette, 4), clip01(1.5 * (patch - 0.25)))
    return GREEN, dim(c, 0.8 + 0.2 * tone + 0.25 * fine), 0.0
