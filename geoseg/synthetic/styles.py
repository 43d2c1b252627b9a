"""How a synthetic world looks: palettes, shares and light of each style, varied by the seed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["STYLES", "Look", "look_of"]


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
        *("a08a6c", "b9a888", "8f7d62", "7d9658", "a3a06c", "5f8546", "86a25a", "c2ae6e", "8a735a"),
        *("4c5a38", "6a6a6c", "8a8884", "b4b0a8", "3d5150", "5d6d5c", "46663a", "5c7a40", "a08a48"),
        *("a4573f", "8c4a3a", "6d5a50", "5c5e64", "7e7f82", "96684c"),
        *("b8b6b2", "8e8e8e", "d6d4d0", "75706c", "a7a9ae", "c2bcae", "32474a", "4fa8b8"),
    ),
    "farmland": _rgb(
        *("a58e6a", "bba987", "98835f", "789a52", "aaa566", "56883f", "8cab54", "d0b668", "876b4c"),
        *("475834", "707070", "9a958a", "bab4a8", "465a52", "6a745c", "3d5f34", "587840", "8f8444"),
        *("9d5340", "84503c", "6a6058", "666a70", "8d8d8c", "a0705a"),
        *("c2c2c2", "9a9c9e", "dcdcd8", "6f7476", "8e9aa4", "b0a898", "3a4f4c", "4fa8b8"),
    ),
    "arid": _rgb(
        *("c4b8a6", "d9d3cb", "b9b4b4", "7c8c5c", "a49c74", "5c7a48", "76884e", "b8a878", "a69680"),
        *("6a6a4c", "4c484a", "6c6868", "c0bab2", "1c2a28", "39504a", "3c4a34", "4c5a3c", "6c6c44"),
        *("b5654a", "c9b9a4", "d8d0c4", "a8998a", "b8785c", "8e7f74"),
        *("f0ede8", "dcd4c8", "c9c0b2", "a9a29a", "e4e4e6", "8d8680", "1d4a34", "49b4c4"),
    ),
    "tropical": _rgb(
        *("a8714c", "c0a078", "96623e", "6f9a4c", "9ca45c", "4c8a3c", "74a048", "b8ac5c", "8c5a3a"),
        *("3a5230", "706c68", "938a80", "b8aea0", "7a6a4c", "8c7c58", "305c2c", "467838", "6c8c40"),
        *("a4604a", "8e8c8a", "b4b8bc", "7c5448", "5a7ca0", "9c7a5a"),
        *("c8c8c8", "a0a0a0", "e0e0de", "80786e", "6890b8", "b4543c", "42583a", "4fb0b8"),
    ),
}

_LOOKS = {
    "temperate": Look(
        *(0.52, 0.22, 0.34, 0.40, 0.10, 0.45, 10.0, 0.70, 0.72, 0.04, 0.11, 0.12),
        *(0.12, 0.3, 0.0, 0.2, 0.18, 0.01, 0.30, 0.12, 0.75),
    ),
    "farmland": Look(
        *(0.20, 0.15, 0.66, 0.24, 0.05, 0.50, 9.0, 0.74, 0.75, 0.02, 0.10, 0.05),
        *(0.10, 0.35, 0.0, 0.3, 0.25, 0.01, 0.30, 0.14, 0.6),
    ),
    "arid": Look(
        *(0.55, 0.30, 0.12, 0.08, 0.70, 0.40, 9.0, 0.71, 0.22, 0.18, 0.07, 0.85),
        *(0.05, 0.0, 0.55, 0.45, 0.1, 0.05, 0.30, 0.16, 0.9),
    ),
    "tropical": Look(
        *(0.40, 0.15, 0.28, 0.52, 0.10, 0.40, 15.0, 0.72, 0.50, 0.03, 0.16, 0.15),
        *(0.04, 0.05, 0.0, 0.3, 0.08, 0.04, 0.45, 0.14, 0.4),
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
    rng = np.random.Generator(np.random.PCG64([seed, STYLES.index(style), 7]))
    look = _LOOKS[style]
    look = look._replace(
        urban=look.urban * rng.uniform(0.85, 1.15),
        lawn=min(1.0, look.lawn * rng.uniform(0.8, 1.2)),
        autumn=min(0.6, look.autumn * rng.choice([0.3, 1.0, 1.0, 4.0])),
        conifers=look.conifers * rng.uniform(0.3, 1.7),
        garden_trees=look.garden_trees * rng.uniform(0.6, 1.4),
    )
    palette = np.array(_PALETTES[style], dtype=np.float64)
    season = np.array([rng.uniform(0.92, 1.12), 1.0, rng.uniform(0.9, 1.1)])
    palette[[3, 4, 5, 6, 9, 15, 16, 17]] *= season * rng.uniform(0.85, 1.15)
    palette[[0, 1, 2, 8]] *= rng.uniform(0.94, 1.06, 3) * rng.uniform(0.9, 1.08)
    palette[[10, 11]] *= rng.uniform(0.8, 1.15)
    palette[[13, 14, 30]] *= rng.uniform(0.8, 1.25, 3)
    azimuth = rng.uniform(0.0, 2.0 * math.pi)

    flight = np.random.Generator(np.random.PCG64([seed, date, 11]))
    azimuth += flight.uniform(-0.25, 0.25)
    deep = flight.uniform(0.36, 0.52)
    haze = flight.uniform(0.0, 20.0)
    # Rounded, so that a last bit of the mathematics library cannot reach the pixels.
    light = Light(
        east=round(math.cos(azimuth), 6),
        north=round(math.sin(azimuth), 6),
        slope=round(float(flight.uniform(0.8, 1.5)), 6),
        shade=(deep, deep * 1.05, deep * 1.16),
        gain=tuple(flight.uniform(0.94, 1.06, 3)),
        haze=(haze * 0.8, haze * 0.95, haze * 1.15),
        contrast=float(flight.uniform(0.92, 1.15)),
        noise=float(flight.uniform(1.5, 4.0)),
        blur=float(flight.uniform(0.06, 0.15)),
    )
    return look, palette, light
