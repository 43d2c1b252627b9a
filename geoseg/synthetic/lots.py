"""Lots of built-up blocks: buildings, yards, parking."""

from __future__ import annotations

import numpy as np

from geoseg.synthetic.paintbox import blend, box, car_paint, colour, dim, stripe
from geoseg.synthetic.world import (
    BARE,
    BUILDING,
    DENSE,
    GREEN,
    ROAD,
    WATER,
    clip01,
    helper,
    layout,
    mix,
    noise,
    part,
    road_at,
    water_at,
    wave,
)


@helper
def is_site(w, i, j, q, n):
    """True where a building goes up between the dates; few blocks have most of them."""
    share = w.k.growth * (4.0 if part(mix(w.blocks[i, j].code, 3, 4, 42), 2) < 0.12 else 0.6)
    return part(mix(w.blocks[i, j].code, q, n, 43), 0) < share


@helper
def building_of(w, i, j, q, n):
    """The building of lot n in row q of a block: when, centre, half sizes, wing, height, hash, turned.

    When is 0 for an empty lot, 1 for a building of both dates and 2 for one that stands at date 1 only. A building
    lies inside its lot, off the roads and away from the water, or it is not there.
    """
    turned, along, across, rows, lots = layout(w, i, j)
    h = mix(w.blocks[i, j].code, q, n, 40)
    g = mix(w.blocks[i, j].code, q, n, 41)
    dense = w.blocks[i, j].kind == DENSE
    none = (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, h, turned)
    if part(h, 0) > 0.93:
        return none
    if turned:
        left, right = w.blocks[i, j].half_v, w.blocks[i, j + 1].half_v
        first, last = w.blocks[i, j].half_u, w.blocks[i + 1, j].half_u
    else:
        left, right = w.blocks[i, j].half_u, w.blocks[i + 1, j].half_u
        first, last = w.blocks[i, j].half_v, w.blocks[i, j + 1].half_v
    wide = along / lots
    deep = across / rows
    a0 = max(n * wide, left + 2.5)
    a1 = min((n + 1) * wide, along - right - 2.5)
    street = 3.9 if dense else 3.0
    if q == 0:
        street = first
    elif q == rows - 1:
        street = last
    c = mix(w.blocks[i, j].code, 3, 4, 42)
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
    cu = w.lines[0, i] + (b if turned else a)
    cv = w.lines[1, j] + (a if turned else b)
    hu = half_b if turned else half_a
    hv = half_a if turned else half_b
    for k in range(9):
        pu = cu + (k % 3 - 1) * hu
        pv = cv + (k // 3 - 1) * hv
        if road_at(w, pu, pv, i, j)[0] < 1.2 or water_at(w, pu, pv) < 4.0:
            return none
    return 2 if is_site(w, i, j, q, n) else 1, cu, cv, half_a, half_b, wing, height, float(q % 2), h, turned


@helper
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


@helper
def paint_building(w, i, j, q, n, out):
    """Draws one building into the window."""
    us, vs, z, rgb, cls, ids = out
    when, cu, cv, half_a, half_b, wing, height, behind, h, turned = building_of(w, i, j, q, n)
    if when == 0 or (when == 2 and w.k.date == 0):
        return
    r0, r1, c0, c1 = box(w, cu, cv, np.sqrt(half_a * half_a + half_b * half_b), us.shape)
    if r0 >= r1 or c0 >= c1:
        return
    lots = w.blocks[i, j].lots
    wrapped = ((w.k.bi + i) & 4095) * 4096 + ((w.k.bj + j) & 4095)
    number = wrapped * 256 + q * lots + n + 1
    dense = w.blocks[i, j].kind == DENSE
    g = mix(h, 5, 6, 44)
    c = mix(w.blocks[i, j].code, 3, 4, 42)
    flat = part(g, 0) < (0.75 if dense else w.k.flat_roofs)
    pick = part(g, 1) if part(g, 3) < 0.5 else part(c, 3)
    base = w.palette[(24 if flat else 18) + np.int64(pick * 5.99)]
    light = 0.88 + 0.24 * part(g, 2)
    hip = part(mix(h, 7, 8, 45), 0) < 0.4
    sun_a = w.k.sun_v if turned else w.k.sun_u
    sun_b = w.k.sun_u if turned else w.k.sun_v
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


@helper
def lot_ground(w, u, v, i, j, tone, fine):
    """Class, colour and height inside a built-up block, off the streets."""
    turned, along, across, rows, lots = layout(w, i, j)
    a = v - w.lines[1, j] if turned else u - w.lines[0, i]
    b = u - w.lines[0, i] if turned else v - w.lines[1, j]
    wide = along / lots
    deep = across / rows
    n = min(lots - 1, max(0, np.int64(a / wide)))
    q = min(rows - 1, max(0, np.int64(b / deep)))
    h = mix(w.blocks[i, j].code, q, n, 60)
    a -= n * wide
    b -= q * deep
    if q % 2 == 1:
        b = deep - b  # b is now the distance from the street
    if is_site(w, i, j, q, n):
        # Soil at both dates, so that only the building changes.
        return BARE, dim(blend(colour(w.palette, 0), colour(w.palette, 1), 0.6 * tone), 0.8 + 0.4 * fine), 0.0
    if w.blocks[i, j].kind == DENSE:
        if part(h, 0) < 0.45:
            base = dim(blend(colour(w.palette, 10), colour(w.palette, 11), part(h, 1)), 0.9 + 0.2 * fine)
            # Parking: bays of 2.5 x 5 m in rows 16 m apart.
            bay = a / 2.5
            side = b / 8.0
            white = stripe((bay - np.floor(bay + 0.5)) * 2.5, 0.15, w.k.res)
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
            return BARE, dim(colour(w.palette, 12), grid * (0.88 + 0.2 * fine)), 0.0
        return GREEN, dim(blend(colour(w.palette, 3), colour(w.palette, 4), tone), 0.85 + 0.3 * fine), 0.0
    if part(h, 1) < w.k.pools:
        pa = abs(a - wide * (0.3 + 0.4 * part(h, 2)))
        pb = abs(b - deep + 5.0)
        if pa < 4.4 and pb < 2.4:
            return (
                (WATER if pa < 3.8 and pb < 1.8 else BARE),
                colour(w.palette, 31 if pa < 3.8 and pb < 1.8 else 12),
                0.0,
            )
    fence = min(min(a, wide - a), deep - b)
    if part(h, 0) < w.k.lawn:
        if fence < 0.5 and part(h, 3) < 0.5:
            return GREEN, dim(colour(w.palette, 15), 0.8 + 0.5 * fine), 1.3
        base = blend(colour(w.palette, 3), colour(w.palette, 4), clip01(0.9 * tone + 0.5 * (part(h, 2) - 0.5)))
        return GREEN, dim(base, 0.82 + 0.36 * fine), 0.0
    if fence < 0.35 and part(h, 3) < 0.6:
        return BARE, dim(colour(w.palette, 12), 1.05), 1.5
    base = blend(colour(w.palette, 0), colour(w.palette, 12), part(h, 2) * 0.9)
    return BARE, dim(base, 0.84 + 0.32 * fine), 0.0
