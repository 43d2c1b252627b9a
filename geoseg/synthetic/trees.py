"""Trees: where they stand and how a crown looks from above."""

from __future__ import annotations

import numpy as np

from geoseg.synthetic.lots import building_of
from geoseg.synthetic.paintbox import blend, box, colour, dim
from geoseg.synthetic.world import (
    FARM,
    FOREST,
    GREEN,
    HOUSES,
    OPEN,
    PARK,
    WOODS,
    block_at,
    cleared,
    clip01,
    field,
    helper,
    layout,
    mix,
    noise,
    part,
    road_at,
    water_at,
)

TREE_M = 4.6
"""Spacing of the lattice on which trees stand."""


@helper
def tree_of(w, a, b):
    """The tree of lattice cell a, b: what, centre, radius, height, hash. What: 0 none, 1 round, 2 narrow, 3 palm."""
    h = mix(w.k.seed, a, b, 80)
    none = (0, 0.0, 0.0, 0.0, 0.0, h)
    u = (a + 0.5 + 0.9 * (part(h, 0) - 0.5)) * TREE_M
    v = (b + 0.5 + 0.9 * (part(h, 1) - 0.5)) * TREE_M
    i, j = block_at(w, u, v)
    kind = w.blocks[i, j].kind
    look = w.k
    chance = part(h, 2)
    wood = False
    if kind == FOREST:
        share = 0.95
    elif kind == PARK:
        share = 0.03 + 0.6 * clip01(6.0 * (field(w, u, v, 3) - 0.55))
    elif kind == OPEN:
        wood = look.scrub <= 0.02 and field(w, u, v, 3) > WOODS
        share = 0.95 if wood else look.scrub * (0.2 + 2.5 * field(w, u, v, 2) ** 2)
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
        rim = min(min(u - w.lines[0, i], w.lines[0, i + 1] - u), min(v - w.lines[1, j], w.lines[1, j + 1] - v))
        code = w.blocks[i, j].code
        orchard = part(code, 0) < 0.1 and rim > 14.0
        hedge = part(code, 1) < 0.5 * (1.0 - look.pivots) and 4.0 < rim < 11.0
        if not (orchard or hedge):
            return none
    g = mix(w.k.seed, a, b, 81)
    radius = 1.7 + 2.2 * part(g, 0)
    height = 5.0 + 3.0 * radius * part(g, 1)
    what = 1
    if wood or kind in (FOREST, PARK):
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
        pa = v - w.lines[1, j] if turned else u - w.lines[0, i]
        pb = u - w.lines[0, i] if turned else v - w.lines[1, j]
        n = min(lots - 1, max(0, np.int64(pa * lots / along)))
        q = min(rows - 1, max(0, np.int64(pb * rows / across)))
        when, cu, cv, half_a, half_b = building_of(w, i, j, q, n)[:5]
        hu = half_b if turned else half_a
        hv = half_a if turned else half_b
        if when > 0 and abs(u - cu) < hu + 0.5 * radius and abs(v - cv) < hv + 0.5 * radius:
            return none
    # A crown that hangs over a road, a bank or the next block stays, so that a clearing shows soil and nothing else.
    inside = min(min(u - w.lines[0, i], w.lines[0, i + 1] - u), min(v - w.lines[1, j], w.lines[1, j + 1] - v))
    clear = edge > radius + 3.0 and wet > radius + 7.0 and inside > radius
    if w.k.date == 1 and kind == FOREST and clear and cleared(w, u, v):
        return none
    return what, u, v, radius, height, g


@helper
def paint_tree(w, a, b, out):
    """Draws the crown of one tree."""
    us, vs, z, rgb, cls, ids = out
    what, cu, cv, radius, height, h = tree_of(w, a, b)
    if what == 0:
        return
    r0, r1, c0, c1 = box(w, cu, cv, radius, us.shape)
    p = part(h, 3)
    base = blend(colour(w.palette, 15), colour(w.palette, 16), p)
    if what == 2:
        base = dim(colour(w.palette, 15), 0.62 + 0.2 * p)
    elif part(mix(h, 1, 1, 82), 0) < w.k.autumn:
        base = blend(base, colour(w.palette, 17), 0.35 + 0.65 * p)
    base = dim(base, 0.8 + 0.4 * part(h, 2))
    inverse = 1.0 / radius
    for r in range(r0, r1):
        for k in range(c0, c1):
            p = (us[r, k] - cu) * inverse
            q = (vs[r, k] - cv) * inverse
            d = p * p + q * q
            if d > 1.0:
                continue
            grain = noise(w.k.seed, us[r, k] / 0.85, vs[r, k] / 0.85, 83)
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
                shine = 0.78 + 0.30 * (p * w.k.sun_u + q * w.k.sun_v) + 0.5 * (grain - 0.4) - 0.16 * d
                for m in range(3):
                    rgb[m, r, k] = base[m] * shine
