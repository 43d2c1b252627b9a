"""Which pixels are drawn: at random within strata, or on a grid; each in proportion to its true area.

A random sample needs no list of pixels: each pixel has a number of its own, made of the seed and its place in the grid,
and those with the smallest numbers are drawn. So it does not depend on the order in which, or the blocks by which, the
map is read, and only the candidates are kept.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numba import njit

from geoseg.areas import PixelAreas, column_area_units, row_area_units
from geoseg.classmap import geobox_of, iter_strips
from geoseg.errors import OptionError
from geoseg.sampling.frame import Frame

__all__ = ["pick_random", "pick_systematic"]

_ROWS = 256
_CERTAIN = 1.01  # a pixel may be so much larger than its share of the sample; the estimates then are off by at most 1 %


def pick_random(frame: Frame, units: np.ndarray, seed: int) -> pd.DataFrame:
    """Draw pixels at random within strata, without replacement, in proportion to their true area.

    This is Pareto sampling (Rosén 1997, "On sampling with probability proportional to size", Journal of Statistical
    Planning and Inference 62): a pixel with the wanted probability λ = n × area / stratum's area and the random number
    u has the rank u (1 − λ) / ((1 − u) λ), and the n smallest are drawn. Where pixels are of one size, it is a simple
    random sample in each stratum.

    Parameters
    ----------
    frame
        What is drawn from.
    units
        int64 (stratum,) How many pixels of each stratum, in the order of ``frame.table``.
    seed
        Another number, another sample.

    Returns
    -------
    DataFrame
        ``row, col, stratum`` (its number), in order of row and column.

    Raises
    ------
    OptionError
        A pixel would be drawn with certainty: the stratum's pixels differ so much in area that fewer can be drawn.
    """
    slack = 1 + (8 * np.sqrt(units) + 32) / np.maximum(units, 1)
    while True:
        found = _candidates(frame, units, np.uint64(seed % 2**64), slack)
        parts = [part.sort_values(["rank", "row", "col"]) for _, part in found.groupby("stratum")]
        numbers = {int(part["stratum"].iloc[0]): len(part) for part in parts}
        short = [number for number, wanted in enumerate(units) if numbers.get(number, 0) < wanted]
        if not short:
            break
        slack[short] *= 4  # next to never, but in strata of which most is drawn
    chosen = pd.concat([part.head(int(units[part["stratum"].iloc[0]])) for part in parts])
    return chosen.sort_values(["row", "col"])[["row", "col", "stratum"]].reset_index(drop=True)


def pick_systematic(frame: Frame, n: int, seed: int) -> pd.DataFrame:
    """Draw pixels on a grid with a random start, about `n`, in proportion to their true area.

    Every k-th row is a line of the grid; along it, a pixel is taken after each equal step of true area, from the
    row's first column on. The grid's meshes are about square on the ground at every latitude. Which row and which place
    in the first step it starts from is random, so each pixel is drawn with a probability in proportion to its true
    area; how many pixels with a class the grid meets is random, too.

    Parameters
    ----------
    frame
        What is drawn from; its strata are kept in the result.
    n
        How many pixels are wanted.
    seed
        Another number, another start.

    Returns
    -------
    DataFrame
        ``row, col, stratum`` (its number), in order of row and column.

    Raises
    ------
    OptionError
        So many pixels that some would be drawn twice; or a grid that meets fewer than two.
    """
    grid = geobox_of(frame.strata)
    areas = PixelAreas(grid)
    height, width = grid.shape
    area_m2 = float(frame.table["area_m2"].sum())
    _, south_m = areas.edge_lengths(np.array([width / 2]), np.array([height / 2]))
    every = min(max(1, round(math.sqrt(area_m2 / n) / float(south_m[0]))), height)
    step = area_m2 / (n * every) / areas.unit_m2
    random = np.random.default_rng([seed % 2**64, 2])
    first, start = int(random.integers(every)), float(random.random()) * step
    columns = np.arange(width + 1)
    parts = []
    for row0, strip in iter_strips(frame.strata, rows=_ROWS):
        for row in range(row0 + (first - row0) % every, row0 + len(strip), every):
            knots, coefs = areas.table(row, row + 1)
            edges = row_area_units(columns, knots, coefs[0], areas.unit_m2)
            if np.diff(edges).max() > step:
                raise OptionError(
                    f"On a grid each pixel is drawn once, but {n} are too many for {frame.table['pixels'].sum():,} "
                    "pixels. Take fewer."
                )
            places = np.arange(start, float(edges[-1]), step)
            cols = np.searchsorted(edges, places, side="right") - 1
            strata = frame.numbered(strip[row - row0])[cols]
            there = strata >= 0
            parts.append(np.stack([np.full(there.sum(), row), cols[there], strata[there]]))
    chosen = pd.DataFrame(np.concatenate(parts, axis=1).T, columns=["row", "col", "stratum"])
    if len(chosen) < 2:
        raise OptionError(f"A sample has two units or more, but a grid for {n} meets {len(chosen)}. Take more.")
    return chosen


def _candidates(frame: Frame, units: np.ndarray, seed: np.uint64, slack: np.ndarray) -> pd.DataFrame:
    """Pixels with a rank below `slack`: ``row, col, stratum, rank``."""
    grid = geobox_of(frame.strata)
    areas = PixelAreas(grid)
    shares = units / (frame.table["area_m2"].to_numpy() / areas.unit_m2)  # λ of one unit of area
    largest = np.zeros(len(units), np.int64)
    parts, room = [], 4096
    for row0, strip in iter_strips(frame.strata, rows=_ROWS):
        bins = frame.numbered(strip)
        table = areas.table(row0, row0 + len(strip))
        while True:
            places, ranks = np.empty((3, room), np.int64), np.empty(room)
            number = _pick(bins, row0, *table, areas.unit_m2, seed, shares, slack, largest, places, ranks)
            if number <= room:
                break
            room = 2 * number
        parts.append((places[:, :number].copy(), ranks[:number].copy()))
    certain = largest * shares
    if (certain > _CERTAIN).any():
        at = int(np.argmax(certain))
        name, wanted = frame.table["stratum"][at], int(units[at])
        raise OptionError(
            f"Pixels are drawn in proportion to their area, but with {wanted} units the largest pixel of {name!r} "
            f"would be drawn more than once. Take at most {int(wanted / certain[at])} there."
        )
    found = np.concatenate([part for part, _ in parts], axis=1)
    listed = pd.DataFrame(found.T, columns=["row", "col", "stratum"])
    return listed.assign(rank=np.concatenate([part for _, part in parts]))


@njit(nogil=True, cache=True)
def _uniform(seed, place):  # type: ignore[no-untyped-def]
    """A number in 0..1 (neither end) for each place: SplitMix64 (Steele, Lea and Flood 2014)."""
    z = seed + (np.uint64(place) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):  # once more, so that seeds that are neighbours have nothing in common
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        z = z + seed
    return (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(nogil=True, cache=True)
def _pick(bins, row0, knots, coefs, unit_m2, seed, shares, slack, largest, places, ranks):  # type: ignore[no-untyped-def]
    """Fill in the candidates, as many as there is room for; returns how many there are."""
    height, width = bins.shape
    room = len(ranks)
    number = 0
    for row in range(height):
        before = column_area_units(0, knots, coefs[row], unit_m2)
        for col in range(width):
            after = column_area_units(col + 1, knots, coefs[row], unit_m2)
            area = after - before
            before = after
            stratum = bins[row, col]
            if stratum < 0:
                continue
            largest[stratum] = max(largest[stratum], area)
            share = shares[stratum] * area
            u = _uniform(seed, (row0 + row) * width + col)
            if u * (1 - share) < slack[stratum] * (1 - u) * share:
                if number < room:
                    places[0, number], places[1, number], places[2, number] = row0 + row, col, stratum
                    ranks[number] = u * (1 - share) / ((1 - u) * share)
                number += 1
    return number
