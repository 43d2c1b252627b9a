"""How a synthetic world looks: palettes, shares and light of each style, varied by the seed."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

import numpy as np

__all__ = ["STYLES", "Light", "Look", "look_of"]


class Look(NamedTuple):
    """The numbers that the kernels read; every share is 0..1."""

    urban: float
    """Share of city blocks that are built up."""
    dense: float
    """Share of the built-up blocks with large buildings."""
    farm: float
    """Of the blocks that are not built up: share of farmland; the next two likewise, the rest are parks."""
    forest: float
    bare: float
    lanes: float
    """Share of road segments between two blocks in the open country that exist."""
    river_m: float
    """Half the width of a river."""
    lakes: float
    """Level above which the lake noise is water: lower means more lakes."""
    lawn: float
    """Share of house lots with grass."""
    pools: float
    """Share of house lots with a pool."""
    garden_trees: float
    """Chance of a tree on a lattice point in a house lot."""
    flat_roofs: float
    """Share of houses with a flat roof."""
    autumn: float
    """Share of trees in the third tree colour."""
    conifers: float
    """Share of the forest with narrow, dark crowns."""
    pivots: float
    """Share of farm blocks watered by a pivot: one round field in bare land."""
    ploughed: float
    """Share of fields that are bare soil."""
    ripe: float
    """Share of fields with ripe, yellow crop."""
    scrub: float
    """Chance of a bush on a lattice point of bare land."""
    clearing: float
    """Chance of a clearing, at date 1, in each 150 m cell of forest."""
    growth: float
    """Share of lots that are built on at date 1 only."""
    markings: float
    """Contrast of the paint on roads."""


def _rgb(*colors: str) -> list[tuple[int, int, int]]:
    return [(int(c[0:2], 16), int(c[2:4], 16), int(c[4:6], 16)) for c in colors]


# Rows: 0 soil, 1 sand, 2 other sand, 3 grass, 4 dry grass, 5 crop, 6 other crop, 7 ripe crop, 8 ploughed,
# 9 forest floor, 10 asphalt, 11 old asphalt, 12 concrete, 13 river, 14 shallow water, 15-17 trees,
# 18-23 pitched roofs, 24-29 flat roofs, 30 lake, 31 pool.
_PALETTES = {
    "temperate": _rgb(
        *("a08a6c", "b9a888", "8f7d62", "76865c", "9a9870", "62784e", "7f9062", "bcab74", "857059"),
        *("46503a", "66676a", "88868a", "b4b0a8", "3d4a48", "5d665a", "465a3c", "5d6c4a", "8f7c4c"),
        *("9a5644", "804a3e", "665850", "56585e", "7c7d80", "8c644c"),
        *("b4b2ae", "8a8a8a", "d2d0cc", "706c68", "a2a4a8", "bab4a8", "36464a", "57a0b0"),
    ),
    "farmland": _rgb(
        *("a38d6c", "b9a680", "96825f", "74885a", "a39e70", "5c7a48", "879c5e", "c8b276", "80684e"),
        *("434f37", "6c6c6e", "96928a", "bab4a8", "46564e", "68705c", "3f5638", "58704a", "857a48"),
        *("935444", "7c5040", "66605a", "62656a", "8a8a8a", "96705c"),
        *("bebebe", "96989a", "d8d8d4", "6c7074", "8a949c", "aca498", "3c4c4a", "57a0b0"),
    ),
    "arid": _rgb(
        *("b8aa96", "cec6bc", "a9a4a4", "76825c", "98926e", "5a724a", "70805a", "b0a278", "9c8c78"),
        *("66664c", "4c484a", "686466", "b8b2aa", "1e2c2a", "3c5048", "3c4836", "4e5a40", "6a6846"),
        *("ab664c", "bfb09c", "cec6ba", "a09284", "ac745c", "887a70"),
        *("e6e2dc", "d2cabe", "c0b8ac", "a09a92", "dadadc", "888078", "24483a", "52a8b6"),
    ),
    "tropical": _rgb(
        *("98745a", "b0987c", "86664e", "70904f", "969a60", "54843f", "769850", "b0a460", "856044"),
        *("3c4e32", "6c6866", "8e8680", "b4ac9e", "75694e", "867a5c", "365a30", "4c703c", "6a8444"),
        *("9a604c", "8a8886", "acb0b4", "765248", "5e789a", "94765a"),
        *("c2c2c0", "9a9a9a", "d8d8d6", "7a746a", "6c8aae", "aa5844", "44564a", "57a0b0"),
    ),
}

_LOOKS = {
    "temperate": Look(
        urban=0.52,
        dense=0.22,
        farm=0.36,
        forest=0.4,
        bare=0.12,
        lanes=0.45,
        river_m=9.0,
        lakes=0.8,
        lawn=0.72,
        pools=0.04,
        garden_trees=0.11,
        flat_roofs=0.12,
        autumn=0.12,
        conifers=0.3,
        pivots=0.0,
        ploughed=0.25,
        ripe=0.18,
        scrub=0.01,
        clearing=0.3,
        growth=0.12,
        markings=0.75,
    ),
    "farmland": Look(
        urban=0.2,
        dense=0.15,
        farm=0.66,
        forest=0.22,
        bare=0.06,
        lanes=0.5,
        river_m=8.0,
        lakes=0.82,
        lawn=0.75,
        pools=0.02,
        garden_trees=0.1,
        flat_roofs=0.05,
        autumn=0.1,
        conifers=0.35,
        pivots=0.0,
        ploughed=0.35,
        ripe=0.25,
        scrub=0.01,
        clearing=0.3,
        growth=0.14,
        markings=0.6,
    ),
    "arid": Look(
        urban=0.55,
        dense=0.3,
        farm=0.12,
        forest=0.08,
        bare=0.7,
        lanes=0.4,
        river_m=7.0,
        lakes=0.79,
        lawn=0.22,
        pools=0.16,
        garden_trees=0.07,
        flat_roofs=0.85,
        autumn=0.05,
        conifers=0.0,
        pivots=0.55,
        ploughed=0.45,
        ripe=0.1,
        scrub=0.05,
        clearing=0.3,
        growth=0.16,
        markings=0.9,
    ),
    "tropical": Look(
        urban=0.4,
        dense=0.15,
        farm=0.28,
        forest=0.52,
        bare=0.1,
        lanes=0.4,
        river_m=13.0,
        lakes=0.81,
        lawn=0.5,
        pools=0.03,
        garden_trees=0.16,
        flat_roofs=0.15,
        autumn=0.04,
        conifers=0.05,
        pivots=0.0,
        ploughed=0.3,
        ripe=0.08,
        scrub=0.04,
        clearing=0.45,
        growth=0.14,
        markings=0.4,
    ),
}

STYLES = tuple(_LOOKS)
"""The styles: ``temperate``, ``farmland``, ``arid`` and ``tropical``."""


class Light(NamedTuple):
    """Sun, air and sensor of one flight."""

    east: float
    """Unit vector on the ground towards the sun."""
    north: float
    slope: float
    """Tangent of the sun's elevation."""
    shade: tuple[float, float, float]
    """What a shadow leaves of red, green and blue."""
    gain: tuple[float, float, float]
    """Colour cast."""
    haze: tuple[float, float, float]
    """Light that the air adds, 0..255."""
    contrast: float
    noise: float
    """Standard deviation of the sensor's noise, 0..255."""
    blur: float
    """Weight of each direct neighbour in the blur, 0..0.25."""


def look_of(style: str, seed: int, date: int) -> tuple[Look, np.ndarray, Light]:
    """The shares, the palette (32, 3) and the light of one scene, varied by the seed.

    The seed moves hues and shares; the date moves the light only, as between two flights over the same place.
    """
    rng = Random(f"{style} {seed}")  # Python promises the same numbers in every version
    look = _LOOKS[style]
    look = look._replace(
        urban=look.urban * rng.uniform(0.85, 1.15),
        lawn=min(1.0, look.lawn * rng.uniform(0.8, 1.2)),
        autumn=min(0.6, look.autumn * (0.3, 1.0, 1.0, 4.0)[int(4 * rng.random())]),
        conifers=look.conifers * rng.uniform(0.3, 1.7),
        garden_trees=look.garden_trees * rng.uniform(0.6, 1.4),
    )
    palette = np.array(_PALETTES[style], dtype=np.float64)
    season = np.array([rng.uniform(0.92, 1.12), 1.0, rng.uniform(0.9, 1.1)])
    palette[[3, 4, 5, 6, 9, 15, 16, 17]] *= season * rng.uniform(0.85, 1.15)
    palette[[0, 1, 2, 8]] *= rng.uniform(0.88, 1.08) * np.array([rng.uniform(0.96, 1.04) for _ in range(3)])
    palette[[10, 11]] *= rng.uniform(0.8, 1.15)
    palette[[13, 14, 30]] *= [rng.uniform(0.8, 1.25) for _ in range(3)]
    azimuth = rng.uniform(0.0, 2.0 * math.pi)

    flight = Random(f"flight {seed} {date}")
    azimuth += flight.uniform(-0.25, 0.25)
    deep = flight.uniform(0.36, 0.52)
    haze = flight.uniform(0.0, 20.0)
    # Rounded, so that a last bit of the mathematics library cannot reach the pixels.
    light = Light(
        east=round(math.cos(azimuth), 6),
        north=round(math.sin(azimuth), 6),
        slope=round(flight.uniform(0.8, 1.5), 6),
        shade=(deep, deep * 1.05, deep * 1.16),
        gain=(flight.uniform(0.94, 1.06), flight.uniform(0.94, 1.06), flight.uniform(0.94, 1.06)),
        haze=(haze * 0.8, haze * 0.95, haze * 1.15),
        contrast=flight.uniform(0.92, 1.15),
        noise=flight.uniform(1.5, 4.0),
        blur=flight.uniform(0.06, 0.15),
    )
    return look, palette, light
