"""From patches of blocks to objects of the scene: what all blocks must agree on, and it is small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.objects.regions_patches import Patches, Runs

__all__ = ["Found", "Lookup", "Survey", "number", "number_seeds"]


@dataclass(frozen=True, eq=False)
class Survey:
    """What numbering needs of a block: its patches, which need no labels, and what touches across its borders."""

    patches: Patches
    """Of the block."""
    right: np.ndarray
    """(pair, 2) int64: a patch of the block and the one that it goes on in, in the block to the right; from 0 on."""
    below: np.ndarray
    """The same for the block below."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """Numbers of patches."""

    first: np.ndarray
    """(block + 1,) int64: where the patches of each block begin."""
    number: np.ndarray
    """(patch,) uint32: from 1 on, 0 = none."""

    def of(self, block: int, labels: Runs) -> Runs:
        """Numbers instead of the labels of a block."""
        own = self.number[self.first[block] : self.first[block + 1]]
        return replace(labels, values=np.concatenate([np.zeros(1, np.uint32), own])[labels.values])


@dataclass(frozen=True, eq=False)
class Found:
    """The objects of the scene, in the order of their first pixels; before they grow into boundary."""

    kind: np.ndarray
    """(object,) uint8."""
    pixels: np.ndarray
    """(object,) int64."""
    percent: np.ndarray
    """(object,) int64: the sum of their confidence."""

    def __len__(self) -> int:
        """How many objects."""
        return len(self.kind)


def number_seeds(surveys: Sequence[Survey], blocks_across: int) -> Lookup:
    """Number the seeds of the whole scene: those that touch across borders are one; 0 for those without percents.

    Parameters
    ----------
    surveys
        Of all blocks, row by row.
    blocks_across
        How many blocks there are in a row.
    """
    first = _offsets(surveys)
    group = _groups(int(first[-1]), _links(surveys, first, blocks_across))
    sure = np.bincount(group, _joined(surveys, "percent"))[group] > 0
    numbers = np.zeros(len(group), np.uint32)
    numbers[sure] = _in_order(group[sure], _joined(surveys, "first")[sure])[0]
    return Lookup(first, numbers)


def number(surveys: Sequence[Survey], blocks_across: int) -> tuple[Lookup, Found]:
    """Objects of the whole scene, from what all blocks found; see `number_seeds`.

    A patch that grew from a seed belongs to the seed's object. What is left hangs together in pieces, and goes as a
    whole to the seed that it has the longest border with, of several to the first; or it is an object of its own.
    """
    first = _offsets(surveys)
    seed = _joined(surveys, "seed")
    group = _groups(len(seed), _links(surveys, first, blocks_across))
    seeds = int(seed.max(initial=-1)) + 1
    owner = np.arange(seeds, seeds + group.max(initial=-1) + 1)  # of each group of pieces: itself, or a seed
    patch = np.concatenate([one.patches.touching[:, 0] + at for one, at in zip(surveys, first, strict=False)])
    other = np.concatenate([one.patches.touching[:, 1] for one in surveys])
    if len(patch):
        pairs, which = np.unique(np.stack([group[patch], other], axis=1), axis=0, return_inverse=True)
        sides = np.bincount(which.ravel(), _joined(surveys, "sides", int))
        order = np.lexsort((pairs[:, 1], -sides, pairs[:, 0]))
        best = order[np.flatnonzero(np.diff(pairs[order, 0], prepend=-1))]
        owner[pairs[best, 0]] = pairs[best, 1]
    object_ = np.where(seed >= 0, seed, owner[group]) if len(seed) else seed
    numbers, count = _in_order(object_, _joined(surveys, "first"))
    index = numbers.astype(np.int64) - 1
    kind = np.zeros(count, np.uint8)
    kind[index] = _joined(surveys, "kind")
    sums = [np.zeros(count, np.int64) for _ in range(2)]
    for total, name in zip(sums, ("pixels", "percent"), strict=True):
        np.add.at(total, index, _joined(surveys, name))
    return Lookup(first, numbers), Found(kind, *sums)


def _offsets(surveys: Sequence[Survey]) -> np.ndarray:
    return np.cumsum([0, *(len(one.patches.kind) for one in surveys)], dtype=np.int64)


def _joined(surveys: Sequence[Survey], name: str, dtype: type = np.int64) -> np.ndarray:
    return np.concatenate([getattr(one.patches, name) for one in surveys]).astype(dtype)


def _links(surveys: Sequence[Survey], first: np.ndarray, blocks_across: int) -> np.ndarray:
    """(pair, 2): patches of the scene that touch across the border of two blocks."""
    pairs = [np.zeros((0, 2), np.int64)]
    for block, one in enumerate(surveys):
        for found, to in ((one.right, block + 1), (one.below, block + blocks_across)):
            if len(found):
                pairs.append(found + first[[block, to]])
    return np.concatenate(pairs)


def _groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """(patch,) int64: a number for what hangs together by pairs."""
    if not count:
        return np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _in_order(group: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, int]:
    """(patch,) uint32: groups numbered from 1 on in the order of their first pixels; and how many there are."""
    names, which = np.unique(group, return_inverse=True)
    earliest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(earliest, which, first)
    rank = np.empty(len(names), np.uint32)
    rank[np.argsort(earliest)] = np.arange(1, len(names) + 1)
    return rank[which], len(names)
