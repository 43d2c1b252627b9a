"""Spatial folds: which labelled polygons are held back together, so that a score is of places never seen.

Pixels of one polygon are alike, and so are polygons that lie side by side. A score from pixels drawn at random
measures how well a model remembers; a score from whole groups of polygons measures how well it maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

__all__ = ["ALWAYS", "group_polygons", "spatial_folds", "split_apart"]

ALWAYS = -1
"""The fold of polygons that are always learnt from and never tested."""


def split_apart(
    shapes: np.ndarray, classes: np.ndarray, *, gap: float, least: float, count: int = 5
) -> tuple[float, np.ndarray, np.ndarray]:
    """Groups and folds with the widest gap, from `gap` down by halves to `least`, that lets the most classes be tested.

    Parameters
    ----------
    shapes, classes
        (polygon,) polygons in one CRS, and their classes.
    gap, least
        The gap that is wanted, and the smallest one to go down to, in units of the CRS.
    count
        The largest number of folds.

    Returns
    -------
    gap, groups, folds
        The gap that was used; see `group_polygons` and `spatial_folds`.

    Examples
    --------
    >>> row = np.array([shapely.box(x, 0, x + 1, 1) for x in (0, 4, 8, 12)])
    >>> split_apart(row, np.array([0, 0, 1, 1]), gap=5, least=1)
    (2.5, array([0, 1, 2, 3]), array([0, 1, 2, 3]))
    """
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    most = -1
    while best is None or gap >= least:
        groups = group_polygons(shapes, gap)
        folds = spatial_folds(groups, classes, count)
        tested = len(np.unique(classes[folds != ALWAYS]))
        if tested > most:
            best, most = (gap, groups, folds), tested
        gap /= 2
    return best


def group_polygons(shapes: Sequence[shapely.Geometry] | np.ndarray, gap: float) -> np.ndarray:
    """Number the groups of polygons that are linked by gaps of at most this length.

    Parameters
    ----------
    shapes
        Polygons in one CRS.
    gap
        In units of the CRS.

    Returns
    -------
    ndarray
        (polygon,) int64 group numbers, counted from 0 in order of their first polygon.

    Examples
    --------
    >>> group_polygons([shapely.box(x, 0, x + 1, 1) for x in (0, 9, 2)], gap=1)
    array([0, 1, 0])
    """
    shapes = np.asarray(shapes, dtype=object)
    group = np.arange(len(shapes))
    near = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=gap)
    for a, b in near.T:
        if group[a] != group[b]:
            group[group == max(group[a], group[b])] = min(group[a], group[b])
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def spatial_folds(groups: np.ndarray, classes: np.ndarray, count: int = 5) -> np.ndarray:
    """Spread groups of polygons over folds, each class as evenly as can be.

    Parameters
    ----------
    groups, classes
        (polygon,) the group and the class of each polygon.
    count
        The largest number of folds.

    Returns
    -------
    ndarray
        (polygon,) int64 fold numbers, or `ALWAYS`. A group is in one fold. Every polygon that is tested has its class
        among the polygons of other folds; a class that lies in one group only can be learnt but not tested.

    Examples
    --------
    >>> spatial_folds(np.array([0, 1, 2, 3, 4]), np.array([0, 0, 1, 1, 2]), count=2)
    array([ 0,  1,  0,  1, -1])
    """
    names, places = np.unique(groups, return_inverse=True)
    kinds, kind = np.unique(classes, return_inverse=True)
    holds = np.zeros((len(names), len(kinds)), bool)
    holds[places, kind] = True
    sizes, spread = np.bincount(places, minlength=len(names)), holds.sum(axis=0)
    # Groups with rare classes choose first: they have the fewest ways to be apart from their like.
    rarity = np.where(holds, spread, len(names) + 1).min(axis=1)
    fold = np.full(len(names), ALWAYS)
    inside = np.zeros((count, len(kinds)))
    polygons = np.zeros(count)
    for group in np.lexsort((np.arange(len(names)), -sizes, rarity)):
        if rarity[group] == 1:  # the only one of a class
            continue
        crowd = (inside[:, holds[group]] / spread[holds[group]]).sum(axis=1)
        chosen = np.lexsort((np.arange(count), polygons, crowd))[0]
        fold[group] = chosen
        inside[chosen, holds[group]] += 1
        polygons[chosen] += sizes[group]
    return _testable(fold, holds)[places]


def _testable(fold: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Groups whose class is in no other fold are never tested; that may leave others alone, so it is repeated."""
    while True:
        tested = fold != ALWAYS
        alone = np.zeros(len(fold), bool)
        for group in np.flatnonzero(tested):
            elsewhere = holds[fold != fold[group]].any(axis=0)
            alone[group] = not elsewhere[holds[group]].all()
        if not alone.any():
            break
        fold = np.where(alone, ALWAYS, fold)
    # Number the folds that are left from 0, in order.
    numbers = np.full(fold.max() + 2, ALWAYS)
    numbers[np.unique(fold[fold != ALWAYS])] = np.arange(len(np.unique(fold[fold != ALWAYS])))
    return np.where(fold == ALWAYS, ALWAYS, numbers[fold]).astype(np.int64)
