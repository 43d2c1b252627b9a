"""From parts to objects over a whole scene, block by block: link, number, count, paint.

Every tile belongs to one block, the one in which its core begins. A step needs the parts of a block and of those around
it, and what all blocks must agree on is small: a few numbers for each part, and none of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from geoseg.classes import ClassInfo
from geoseg.errors import ModelError
from geoseg.objects.join import Nodes, join
from geoseg.objects.match import links_between
from geoseg.objects.paint import Found, count, describe, paint
from geoseg.objects.parts import Parts, core_of
from geoseg.tiling import Block, Tiling

__all__ = [
    "Numbers",
    "Outlook",
    "count",
    "finish",
    "link",
    "needed",
    "number",
    "own_tiles",
    "paint_block",
    "tabulate",
    "total",
    "widened",
]

_INDEX_BITS = 24


@dataclass(frozen=True, eq=False)
class Outlook:
    """What numbering needs of the parts of a block: all but their pixels; and their links."""

    parts: Parts
    """Without runs."""
    a: np.ndarray
    """(link,) int64: key of a part of this block; see `keys_of`."""
    b: np.ndarray
    """(link,) int64: key of a part of this block or of one around it."""
    agreement: np.ndarray
    """(link,) float64."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Which object each part of the scene belongs to."""

    keys: np.ndarray
    """(part,) int64, rising; see `keys_of`."""
    object: np.ndarray
    """(part,) int32 number of its object; −1 where it has none."""
    rank: np.ndarray
    """(object,) int64: which is painted over which, the highest on top."""
    found: Found
    """What is known of the objects."""

    def __len__(self) -> int:
        """How many objects."""
        return len(self.found)

    def of(self, parts: Parts) -> np.ndarray:
        """(part,) int32: the object of each of these."""
        return self.object[np.searchsorted(self.keys, keys_of(parts))]

    def keep(self, kept: np.ndarray) -> Numbers:
        """Only some of the objects, bool (object,), numbered anew in the same order."""
        # The last is for parts that have no object.
        fresh = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        order = np.argsort(self.rank[kept], kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        found = Found(**{field.name: getattr(self.found, field.name)[kept] for field in fields(Found)})
        return Numbers(self.keys, fresh[self.object], rank, found)


def keys_of(parts: Parts) -> np.ndarray:
    """A number for each part that is the same however the scene is cut into blocks; it rises in lattice order."""
    if parts.index.max(initial=0) >= 1 << _INDEX_BITS:
        raise ModelError(f"A tile may have {1 << _INDEX_BITS} objects at most. Raise the model's lowest score.")
    return parts.tile.astype(np.int64) << _INDEX_BITS | parts.index


def own_tiles(tiling: Tiling, block: Block) -> tuple[range, range]:
    """Lattice rows and columns of the tiles that belong to a block: those whose core begins in it. May be empty.

    >>> tiling = Tiling((1000, 1000), tile_px=100, overlap_px=20, block_px=500)
    >>> [own_tiles(tiling, block)[1] for block in tiling.blocks()[:2]]
    [range(0, 7), range(7, 13)]
    """
    spans = []
    for axis, (start, stop) in enumerate((block.rows, block.cols)):
        inside = [
            i
            for i in range(tiling.lattice[axis])
            if start <= core_of(tiling, *((i, 0) if axis == 0 else (0, i)))[axis][0] < stop
        ]
        spans.append(range(inside[0], inside[-1] + 1) if inside else range(0))
    return spans[0], spans[1]


def widened(tiling: Tiling, rows: range, cols: range) -> tuple[range, range]:
    """Lattice rows and columns of these tiles and of those around them; none around none.

    >>> widened(Tiling((1000, 1000), tile_px=100, overlap_px=20), range(0, 2), range(5, 7))
    (range(0, 3), range(4, 8))
    """
    around = (
        range(max(span.start - 1, 0), min(span.stop + 1, count)) if span else span
        for span, count in zip((rows, cols), tiling.lattice, strict=True)
    )
    return next(around), next(around)


def needed(tiling: Tiling, rows: range, cols: range) -> list[tuple[int, int]]:
    """Rows and columns of the blocks that hold these tiles, or those around them.

    >>> tiling = Tiling((1000, 1000), tile_px=100, overlap_px=20, block_px=500)
    >>> needed(tiling, range(0, 2), range(5, 7))
    [(0, 0), (0, 1)]
    """
    found = []
    for axis, tiles in enumerate(widened(tiling, rows, cols)):
        starts = (core_of(tiling, *((i, 0) if axis == 0 else (0, i)))[axis][0] for i in tiles)
        found.append(sorted({start // tiling.block_px for start in starts}))
    return [(row, col) for row in found[0] for col in found[1]]


def link(tiling: Tiling, block: Block, around: Sequence[Parts]) -> Outlook:
    """Links of a block's own tiles with those to the right and below.

    Parameters
    ----------
    tiling, block
        The lattice, and the block.
    around
        The parts of the blocks that `needed` names for the block's own tiles.
    """
    rows, cols = own_tiles(tiling, block)
    parts = Parts.in_order(around)
    keys, width = keys_of(parts), tiling.lattice[1]
    a, b, agreement = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    own = []
    for row in rows:
        for col in cols:
            first, stop = parts.of_tile(row * width + col)
            own.append(np.arange(first, stop))
            if first == stop:
                continue
            here = parts.select(first, stop)
            for to_row, to_col in ((row, col + 1), (row + 1, col - 1), (row + 1, col), (row + 1, col + 1)):
                other = parts.of_tile(to_row * width + to_col) if 0 <= to_col < width else (0, 0)
                if other[0] < other[1]:
                    found = links_between(tiling, here, parts.select(*other))
                    a.append(keys[first + found.a])
                    b.append(keys[other[0] + found.b])
                    agreement.append(found.agreement)
    kept = parts.take(np.concatenate(own) if own else np.zeros(0, np.int64), runs=False)
    return Outlook(kept, np.concatenate(a), np.concatenate(b), np.concatenate(agreement))


def number(outlooks: Sequence[Outlook]) -> Numbers:
    """Objects of the whole scene, from what all blocks found: numbered by the place of their first part."""
    parts = Parts.in_order([one.parts for one in outlooks])
    keys = keys_of(parts)
    a, b = (np.searchsorted(keys, np.concatenate([getattr(one, end) for one in outlooks])) for end in "ab")
    agreement = np.concatenate([one.agreement for one in outlooks])
    objects = join(Nodes(parts.tile, parts.cut, parts.neighbours), a, b, agreement)
    found = describe(parts, objects)
    rank = np.empty(len(found), np.int64)
    rank[np.lexsort((-np.arange(len(found)), -found.pixels, found.score))] = np.arange(len(found))
    return Numbers(keys, objects.astype(np.int32), rank, found)


def paint_block(tiling: Tiling, block: Block, around: Sequence[Parts], numbers: Numbers) -> np.ndarray:
    """int32 (row, col): number of the object, −1 for none. `around` as `needed` names for the tiles that touch it."""
    parts = Parts.in_order(around)
    return paint(tiling, block, parts, numbers.of(parts), numbers.rank)


def finish(numbers: Numbers, counts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Numbers:
    """The objects that are left, numbered anew: those of which others leave at least half to be seen."""
    seen = total(counts, len(numbers.found))
    return numbers.keep((seen > 0) & (2 * seen >= numbers.found.pixels))


def total(counts: Iterable[tuple[np.ndarray, np.ndarray]], objects: int) -> np.ndarray:
    """(object,) int64: pixels of each object in what was painted, from `count` of all blocks.

    >>> total([count(np.array([[1, 1]])), count(np.array([[-1, 1, 0]]))], 3).tolist()
    [1, 3, 0]
    """
    pixels = np.zeros(objects, np.int64)
    for which, some in counts:
        pixels[which] += some
    return pixels


def tabulate(numbers: Numbers, pixels: np.ndarray, classes: Sequence[ClassInfo]) -> pd.DataFrame:
    """The table of objects.

    Parameters
    ----------
    numbers, classes
        The objects, and the model's classes.
    pixels
        (object,) int64: how many each has in the map.

    Returns
    -------
    DataFrame
        ``object_id`` (from 1), ``class`` (value), ``class_name``, ``score`` (0..1), ``pixels``, ``tiles`` (in how many
        it was seen), ``edge`` (whether it touches the scene's edge).
    """
    found = numbers.found
    return pd.DataFrame(
        {
            "object_id": np.arange(1, len(found) + 1),
            "class": np.array([info.value for info in classes], np.int64)[found.channel],
            "class_name": np.array([info.name for info in classes], object)[found.channel],
            "score": found.score,
            "pixels": pixels,
            "tiles": found.tiles,
            "edge": found.edge,
        }
    )
