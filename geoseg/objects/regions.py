"""Regions: objects out of a map of classes, made of the map as a whole, so there is nothing to join across tiles.

The steps, each of a block with a halo, and each with the same outcome whatever the blocks:

1. `mark`: pixels inside an object hang together by their sides: patches. To split what hangs together by a neck, only
   what lies deep inside makes patches at first (`mark_seeds`), grows back by a bounded number of steps, and takes what
   is left of its ground as a whole.
2. `link`: patches that touch across the border of two blocks.
3. `number`: patches become objects, numbered by their first pixels.
4. `paint`: objects grow into the boundary around them by a bounded number of steps.

What a pixel gets depends on ground no farther than a halo, or on sums over whole patches; and neither on blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geoseg.errors import OptionError
from geoseg.objects.regions_numbers import Lookup, Survey, number, number_seeds
from geoseg.objects.regions_patches import Patches, Runs
from geoseg.objects.regions_pixels import BOUNDARY, contacts, grow, grow_apart, label, measure, seeds
from geoseg.tiling import Block, Tiling

__all__ = [
    "BORDERS",
    "BOUNDARY",
    "Load",
    "Patches",
    "Read",
    "Rules",
    "assemble",
    "block_at",
    "blocks_across",
    "kinds_of",
    "label_regions",
    "mark",
    "mark_seeds",
    "numbers_in",
    "paint",
    "survey_of",
    "window_around",
]

BORDERS = ("shared", "gap")
_LARGEST_PX = 100
_SURE = 1.5
"""Times `split_px`: what lies deeper inside than that is a part of its own, and not just a bulge in a neck."""

Read = Callable[[slice, slice], np.ndarray]
"""Gives the pixels of any window of the scene."""
Load = Callable[[Block], Patches]
"""Gives the patches of any block."""


@dataclass(frozen=True)
class Rules:
    """How a map of classes becomes objects.

    Raises
    ------
    OptionError
        A number is negative or too large, or there is no such kind of border.

    Examples
    --------
    >>> Rules(grow_px=3, borders="gap").paint_halo_px
    4
    """

    grow_px: int = 0
    """How far objects grow into the boundary around them, in steps from pixel to pixel."""
    borders: str = "shared"
    """``shared``: objects grow until they meet. ``gap``: boundary that is as near to a second one stays free."""
    split_px: float | None = None
    """Objects are split where they are narrower than twice this, between parts wider than three times; None = never."""

    def __post_init__(self) -> None:
        rules = {
            f"grow_px must be a whole number from 0 to {_LARGEST_PX}": self.grow_px == int(self.grow_px)
            and 0 <= self.grow_px <= _LARGEST_PX,
            f"borders must be {' or '.join(BORDERS)}": self.borders in BORDERS,
            f"split_px must be from 1 to {_LARGEST_PX}": self.split_px is None or 1 <= self.split_px <= _LARGEST_PX,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise OptionError(
                f"For objects from a map {'; '.join(broken)}. Received grow_px={self.grow_px}, "
                f"borders={self.borders!r}, split_px={self.split_px}. Change that."
            )

    @property
    def paint_halo_px(self) -> int:
        """How far around a block `paint` looks."""
        return self.grow_px + (self.borders == "gap")

    @property
    def seed_halo_px(self) -> int:
        """How far around a block `mark_seeds` looks."""
        return 0 if self.split_px is None else int(_SURE * self.split_px)

    @property
    def back_px(self) -> int:
        """How many steps seeds grow back: a corner of what was thinned out is not farther from what is left of it."""
        return 0 if self.split_px is None else int(np.ceil(2 * self.split_px))

    @property
    def mark_halo_px(self) -> int:
        """How far around a block `mark` looks."""
        return 0 if self.split_px is None else self.back_px + 1


def kinds_of(classes: np.ndarray, inside: Sequence[int], boundary: int | None = None) -> np.ndarray:
    """From class values to kinds: 1, 2, ... for the classes of objects, `BOUNDARY`, 0 for all the rest.

    >>> kinds_of(np.array([0, 1, 2, 255], np.uint8), [1], 2).tolist()
    [0, 1, 255, 0]
    """
    table = np.zeros(256, np.uint8)
    table[list(inside)] = np.arange(1, len(inside) + 1)
    if boundary is not None:
        table[boundary] = BOUNDARY
    return table.take(classes)


def window_around(tiling: Tiling, block: Block, halo: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of a block with a halo, as far as the scene goes; and of the block within them."""
    spans = [
        (slice(max(start - halo, 0), min(stop + halo, side)), start, stop)
        for (start, stop), side in zip((block.rows, block.cols), tiling.shape, strict=True)
    ]
    within = tuple(slice(start - span.start, stop - span.start) for span, start, stop in spans)
    return (spans[0][0], spans[1][0]), (within[0], within[1])


def block_at(tiling: Tiling, row: int, col: int) -> Block:
    """The block in this row and column of blocks."""
    (height, width), side = tiling.shape, tiling.block_px
    rows, cols = (row * side, min((row + 1) * side, height)), (col * side, min((col + 1) * side, width))
    return Block(row, col, rows, cols)


def mark_seeds(rules: Rules, tiling: Tiling, block: Block, kinds: Read) -> Patches:
    """Patches of what lies deep inside, for splitting, before it grows back; what lies even deeper has percents."""
    window, within = window_around(tiling, block, rules.seed_halo_px)
    ground, depth = kinds(*window), float(rules.split_px or 0)
    deep, deeper = (np.ascontiguousarray(seeds(ground, times * depth)[within]) for times in (1, _SURE))
    return _patches(tiling, block, label(deep), deep, (deeper > 0).astype(np.uint8))


def mark(rules: Rules, tiling: Tiling, block: Block, kinds: Read, percent: np.ndarray, deep: Read | None) -> Patches:
    """Patches of a block.

    Parameters
    ----------
    rules, tiling, block
        What decides.
    kinds
        Reads kinds of ground.
    percent
        Confidence of the block's pixels, uint8.
    deep
        For splitting: reads numbers of seeds (of the whole scene, from 1 on), uint32, 0 = none.
    """
    window, within = window_around(tiling, block, rules.mark_halo_px)
    ground = np.ascontiguousarray(kinds(*window))
    if deep is None:
        return _patches(tiling, block, label(ground), ground, percent)
    runs = Runs.of(deep(*window))
    names, which = np.unique(np.append(np.uint32(0), runs.values), return_inverse=True)
    grown = replace(runs, values=which[1:].astype(np.uint32)).array()
    grow(grown, ground, rules.back_px, False)
    own, labels = np.ascontiguousarray(ground[within]), grown[within]
    pieces, count = label(np.where(labels == 0, own, np.uint8(0)))
    pairs = contacts(pieces, grown, within[0].start, within[1].start)
    touching, sides = (found.astype(np.int64) for found in np.unique(pairs, axis=0, return_counts=True))
    seeded = len(names) - 1
    np.add(pieces, np.uint32(seeded), out=labels, where=pieces > 0)
    del pieces
    marked = _patches(tiling, block, (np.ascontiguousarray(labels), seeded + count), own, percent)
    seed = np.concatenate([names[1:].astype(np.int64) - 1, np.full(count, -1)])
    touching[:, 0] += seeded - 1
    touching[:, 1] = names[touching[:, 1]].astype(np.int64) - 1
    return replace(marked, seed=seed, touching=touching, sides=sides).without_empty()


def _patches(
    tiling: Tiling, block: Block, labelled: tuple[np.ndarray, int], kinds: np.ndarray, percent: np.ndarray
) -> Patches:
    labels, count = labelled
    kind, first, pixels, total = measure(labels, kinds, np.ascontiguousarray(percent), count)
    row, col = np.divmod(first, labels.shape[1])
    place = (row + block.rows[0]) * tiling.shape[1] + col + block.cols[0]
    none = np.zeros((0, 2), np.int64)
    seed, sides = np.full(count, -1, np.int64), np.zeros(0, np.int64)
    return Patches(Runs.of(labels), kind, place, pixels, total, seed, none, sides)


def survey_of(tiling: Tiling, block: Block, load: Load) -> Survey:
    """What numbering needs of a block, given what loads its patches and those of the blocks to the right and below."""
    patches, none = load(block), np.zeros((0, 2), np.int64)
    right = below = none
    if block.cols[1] < tiling.shape[1]:
        right = patches.right_edge().links(load(block_at(tiling, block.row, block.col + 1)).left_edge())
    if block.rows[1] < tiling.shape[0]:
        below = patches.bottom_edge().links(load(block_at(tiling, block.row + 1, block.col)).top_edge())
    return Survey(patches.without_labels(), right, below)


def assemble(tiling: Tiling, of_block: Callable[[Block, slice, slice], np.ndarray], dtype: type) -> Read:
    """Reads windows of the whole scene, given what reads those of a block, each as an array of its own."""

    def read(rows: slice, cols: slice) -> np.ndarray:
        parts = list(_parts(tiling, rows, cols))
        if len(parts) == 1:  # not twice in memory: one block may be the whole scene
            [(block, _, there)] = parts
            return of_block(block, *there)
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), dtype)
        for block, here, there in parts:
            out[here] = of_block(block, *there)
        return out

    return read


def _parts(
    tiling: Tiling, rows: slice, cols: slice
) -> Iterator[tuple[Block, tuple[slice, slice], tuple[slice, slice]]]:
    """The blocks in a window, and where each part lies in the window and in its block."""
    side = tiling.block_px
    for row in range(rows.start // side, (rows.stop - 1) // side + 1):
        for col in range(cols.start // side, (cols.stop - 1) // side + 1):
            block = block_at(tiling, row, col)
            here, there = [], []
            for span, edge in ((rows, block.rows), (cols, block.cols)):
                start, stop = max(span.start, edge[0]), min(span.stop, edge[1])
                here.append(slice(start - span.start, stop - span.start))
                there.append(slice(start - edge[0], stop - edge[0]))
            yield block, (here[0], here[1]), (there[0], there[1])


def numbers_in(tiling: Tiling, lookup: Lookup, load: Load) -> Read:
    """Reads numbers instead of labels, uint32, given what loads the patches of a block."""
    across = blocks_across(tiling)

    def of_block(block: Block, rows: slice, cols: slice) -> np.ndarray:
        return lookup.of(block.row * across + block.col, load(block).labels).window(rows, cols)

    return assemble(tiling, of_block, np.uint32)


def blocks_across(tiling: Tiling) -> int:
    """How many blocks there are in a row."""
    return -(-tiling.shape[1] // tiling.block_px)


def paint(rules: Rules, tiling: Tiling, block: Block, kinds: Read, objects: Read) -> np.ndarray:
    """uint32 (row, col): number of the object at each pixel of a block, from 1 on, 0 = none.

    `objects` reads those numbers of what is inside objects, as an array that may be changed, and `kinds` the ground.
    """
    window, within = window_around(tiling, block, rules.paint_halo_px)
    numbers = objects(*window)
    if rules.grow_px:
        ground = np.ascontiguousarray(kinds(*window))
        if rules.borders == "gap":
            grow_apart(numbers, ground, rules.grow_px)
        else:
            grow(numbers, ground, rules.grow_px, True)
    return numbers[within]


def label_regions(
    classes: np.ndarray,
    *,
    interior: int = 1,
    boundary: int | None = 2,
    grow_px: int = 2,
    borders: str = "shared",
    split_px: float | None = None,
    block_px: int | None = None,
) -> np.ndarray:
    """Objects of a map in memory, numbered in the order of their first pixels inside.

    Parameters
    ----------
    classes
        (row, col) uint8.
    interior
        The value inside objects.
    boundary
        The value between them and around them; None = there is none.
    grow_px, borders, split_px
        See `Rules`.
    block_px
        Side of the blocks to work in; the result does not depend on it. By default all at once.

    Returns
    -------
    ndarray
        (row, col) uint32, 0 = no object.

    Raises
    ------
    OptionError
        See `Rules`.

    Examples
    --------
    >>> classes = np.array([[2, 2, 2, 2, 2, 2], [2, 1, 2, 2, 1, 0]], np.uint8)
    >>> label_regions(classes)
    array([[1, 1, 1, 2, 2, 2],
           [1, 1, 1, 2, 2, 0]], dtype=uint32)
    >>> label_regions(classes, borders="gap", grow_px=1)
    array([[0, 1, 0, 0, 2, 0],
           [1, 1, 0, 0, 2, 0]], dtype=uint32)
    >>> label_regions(classes[:, :0])
    array([], shape=(2, 0), dtype=uint32)
    """
    rules = Rules(grow_px, borders, split_px)
    if not classes.size:
        return np.zeros(classes.shape, np.uint32)
    ground = kinds_of(classes, [interior], boundary)
    tiling = Tiling((classes.shape[0], classes.shape[1]), block_px=block_px or max(classes.shape))
    blocks = tiling.blocks()

    def kinds(rows: slice, cols: slice) -> np.ndarray:
        return ground[rows, cols]

    deep, across = None, blocks_across(tiling)
    if split_px is not None:
        seeds_of = {block: mark_seeds(rules, tiling, block, kinds) for block in blocks}.__getitem__
        deep = numbers_in(tiling, number_seeds([survey_of(tiling, b, seeds_of) for b in blocks], across), seeds_of)
    percent = np.zeros(classes.shape, np.uint8)
    patches_of = {
        block: mark(rules, tiling, block, kinds, percent[slice(*block.rows), slice(*block.cols)], deep)
        for block in blocks
    }.__getitem__
    lookup, _ = number([survey_of(tiling, block, patches_of) for block in blocks], across)
    objects = numbers_in(tiling, lookup, patches_of)

    def painted(block: Block, rows: slice, cols: slice) -> np.ndarray:
        return paint(rules, tiling, block, kinds, objects)[rows, cols]

    return assemble(tiling, painted, np.uint32)(slice(0, classes.shape[0]), slice(0, classes.shape[1]))
