"""Parts: what one tile saw of objects, in pixels of the scene, and which of it the tile answers for.

Along each axis a tile is trusted but for its margin, and half of every overlap is its own: its *core*. The cores of
all tiles fill the scene like floor tiles, each pixel in one. A part without a pixel in the core of its tile is left
out: the tile that owns those pixels saw them with more around, and answers for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from geoseg.objects.duplicates import without_duplicates
from geoseg.objects.instances import Instances
from geoseg.tiling import Tile, Tiling

__all__ = ["Parts", "Runs", "core_of", "parts_of", "trusted_of"]

_NEAR_PX = 4
"""A part that comes so near to the border of what its tile is trusted with may go on beyond: outlines end early
there."""

Window = tuple[tuple[int, int], tuple[int, int]]
"""First row and one past the last, first column and one past the last."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Stretches of pixels in a row, each of an owner."""

    owner: np.ndarray
    """(run,) int64: whose it is."""
    rows: np.ndarray
    """(run,) int64."""
    starts: np.ndarray
    """(run,) int64: the first column."""
    stops: np.ndarray
    """(run,) int64: one after the last column."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: np.ndarray) -> Runs:
        return Runs(*(getattr(self, field.name)[which] for field in fields(self)))

    def clip(self, window: Window) -> Runs:
        """What lies in a window.

        >>> runs = Runs(*(np.array(values) for values in ([0, 1], [5, 9], [2, 0], [8, 3])))
        >>> clipped = runs.clip(((0, 6), (4, 100)))
        >>> clipped.owner.tolist(), clipped.starts.tolist(), clipped.stops.tolist()
        ([0], [4], [8])
        """
        (top, bottom), (left, right) = window
        starts, stops = np.maximum(self.starts, left), np.minimum(self.stops, right)
        inside = (self.rows >= top) & (self.rows < bottom) & (starts < stops)
        return Runs(self.owner[inside], self.rows[inside], starts[inside], stops[inside])

    def pixels(self, owners: int) -> np.ndarray:
        """(owner,) int64: how many pixels each has."""
        return np.bincount(self.owner, self.stops - self.starts, owners).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of one tile, or of many in lattice order."""

    tile: np.ndarray
    """(part,) int32: number of the tile, row by row over the lattice."""
    index: np.ndarray
    """(part,) int32: which of the tile's instances it was."""
    channel: np.ndarray
    """(part,) uint8: index into the model's classes."""
    score: np.ndarray
    """(part,) float32, 0..1."""
    core_px: np.ndarray
    """(part,) int32: pixels in the core of its tile; never zero."""
    cut: np.ndarray
    """(part,) bool: True where it reaches the border of what its tile is trusted with, and may go on beyond."""
    edge: np.ndarray
    """(part,) bool: True where it touches the scene's edge."""
    first: np.ndarray
    """(part + 1,) int64: offsets of its runs."""
    rows: np.ndarray
    """(run,) int32: scene row; so are columns."""
    starts: np.ndarray
    """(run,) int32: the first column."""
    stops: np.ndarray
    """(run,) int32: one after the last column."""
    neighbours: np.ndarray
    """(pair, 2) int64: parts of one tile, both cut, that touch: surely two objects."""

    def __len__(self) -> int:
        return len(self.tile)

    @property
    def runs(self) -> Runs:
        """All runs; the owner is the number of the part."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.first))
        return Runs(owner, self.rows.astype(np.int64), self.starts.astype(np.int64), self.stops.astype(np.int64))

    @property
    def lines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Offsets, rows, starts and stops, as they are."""
        return self.first, self.rows, self.starts, self.stops

    def of_tile(self, tile: int) -> tuple[int, int]:
        """First part of a tile, and one past the last."""
        this = np.array(tile, self.tile.dtype)  # of the same type, or numpy would copy all tiles to compare them
        return int(np.searchsorted(self.tile, this, "left")), int(np.searchsorted(self.tile, this, "right"))

    def select(self, first: int, stop: int) -> Parts:
        """The parts from `first` to `stop`, numbered anew."""
        here, runs = slice(first, stop), slice(self.first[first], self.first[stop])
        inside = (self.neighbours >= first).all(1) & (self.neighbours < stop).all(1)
        values = {name: getattr(self, name)[here] for name in _PER_PART}
        lines = {name: getattr(self, name)[runs] for name in _PER_RUN}
        offsets = self.first[first : stop + 1] - self.first[first]
        return Parts(**values, first=offsets, **lines, neighbours=self.neighbours[inside] - first)

    def take(self, which: np.ndarray, *, runs: bool = True) -> Parts:
        """Some of the parts, numbered anew; without their pixels where nothing but numbers is needed of them.

        Parameters
        ----------
        which
            (part,) int64, rising.
        runs
            Whether they keep their runs.
        """
        new = np.full(len(self), -1)
        new[which] = np.arange(len(which))
        pairs = new[self.neighbours]
        count = np.diff(self.first)[which] * runs
        first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        at = np.arange(first[-1]) + np.repeat(self.first[which] - first[:-1], count)
        values = {name: getattr(self, name)[which] for name in _PER_PART}
        lines = {name: getattr(self, name)[at] for name in _PER_RUN}
        return Parts(**values, **lines, first=first, neighbours=pairs[(pairs >= 0).all(1)].reshape(-1, 2))

    def of_tiles(self, rows: range, cols: range, width: int) -> Parts:
        """The parts of the tiles in these rows and columns of a lattice with `width` columns."""
        row, col = np.divmod(self.tile, width)
        inside = (row >= rows.start) & (row < rows.stop) & (col >= cols.start) & (col < cols.stop)
        return self if inside.all() else self.take(np.flatnonzero(inside))

    @classmethod
    def in_order(cls, many: Sequence[Parts]) -> Parts:
        """The parts of several, in lattice order."""
        pieces = [(int(tile), one.select(*one.of_tile(int(tile)))) for one in many for tile in np.unique(one.tile)]
        return cls.concatenate([part for _, part in sorted(pieces, key=lambda piece: piece[0])])

    @classmethod
    def concatenate(cls, many: Sequence[Parts]) -> Parts:
        """The parts of several, one after the other.

        >>> len(Parts.concatenate([]))
        0
        """
        if not many:
            empty: dict[str, Any] = {name: np.zeros(0, kind) for name, kind in {**_PER_PART, **_PER_RUN}.items()}
            return cls(**empty, first=np.zeros(1, np.int64), neighbours=np.zeros((0, 2), np.int64))
        joined = {name: np.concatenate([getattr(one, name) for one in many]) for name in (*_PER_PART, *_PER_RUN)}
        parts = np.cumsum([0, *(len(one) for one in many)])
        runs = np.cumsum([0, *(len(one.rows) for one in many)])
        first = np.concatenate([[0], *(one.first[1:] + start for one, start in zip(many, runs[:-1], strict=True))])
        pairs = np.concatenate([one.neighbours + start for one, start in zip(many, parts[:-1], strict=True)])
        return cls(**joined, first=first, neighbours=pairs)


_PER_PART: dict[str, type] = {
    "tile": np.int32,
    "index": np.int32,
    "channel": np.uint8,
    "score": np.float32,
    "core_px": np.int32,
    "cut": np.bool_,
    "edge": np.bool_,
}
_PER_RUN: dict[str, type] = {"rows": np.int32, "starts": np.int32, "stops": np.int32}


def core_of(tiling: Tiling, row: int, col: int) -> Window:
    """The pixels of the scene that a tile answers for.

    >>> tiling = Tiling((100, 300), tile_px=100, overlap_px=20)
    >>> core_of(tiling, 0, 0), core_of(tiling, 0, 1), core_of(tiling, 0, 3)
    (((0, 100), (0, 90)), ((0, 100), (90, 170)), ((0, 100), (250, 300)))
    """
    half = tiling.overlap_px // 2 - tiling.margin_px
    return _window(tiling, row, col, half, half)


def trusted_of(tiling: Tiling, row: int, col: int) -> Window:
    """The pixels of the scene that a tile sees and that are not in its margin.

    >>> trusted_of(Tiling((90, 300), tile_px=100, overlap_px=20, margin_px=4), 0, 1)
    ((0, 90), (80, 172))
    """
    return _window(tiling, row, col, 0, tiling.overlap_px - 2 * tiling.margin_px)


def _window(tiling: Tiling, row: int, col: int, before: int, after: int) -> Window:
    """From `before` pixels behind a tile's first used one to `after` behind the next tile's; all of it at the edges."""
    spans = []
    for i, count, side in zip((row, col), tiling.lattice, tiling.shape, strict=True):
        start = 0 if i == 0 else i * tiling.stride_px + before
        stop = side if i == count - 1 else (i + 1) * tiling.stride_px + after
        spans.append((min(start, side), min(stop, side)))
    return spans[0], spans[1]


def parts_of(tiling: Tiling, tile: Tile, found: Instances) -> Parts:
    """What a tile's instances mean for the scene.

    Parameters
    ----------
    tiling, tile
        The lattice, and the tile.
    found
        Its instances, in pixels of the tile.

    Returns
    -------
    Parts
        Those with a pixel in the tile's core, clipped to what it is trusted with; of duplicates the surest.
    """
    trusted, core = trusted_of(tiling, tile.row, tile.col), core_of(tiling, tile.row, tile.col)
    owner = np.repeat(np.arange(len(found)), np.diff(found.first))
    rows, starts, stops = (np.asarray(a, np.int64) for a in (found.rows, found.starts, found.stops))
    runs = Runs(owner, rows + tile.top_px, starts + tile.left_px, stops + tile.left_px).clip(trusted)
    core_px = runs.clip(core).pixels(len(found)) * without_duplicates(found)
    kept = np.flatnonzero(core_px)
    runs = runs[core_px[runs.owner] > 0]
    number = np.cumsum(core_px > 0) - 1
    owner, count = number[runs.owner], len(kept)
    (height, width), ((top, bottom), (left, right)) = tiling.shape, trusted
    gap = np.stack([runs.rows - top, bottom - 1 - runs.rows, runs.starts - left, right - runs.stops])
    is_edge = np.array([top == 0, bottom == height, left == 0, right == width])[:, None]
    cut = np.bincount(owner, ((gap < _NEAR_PX) & ~is_edge).any(0), count) > 0
    edge = np.bincount(owner, ((gap == 0) & is_edge).any(0), count) > 0
    renumbered = Runs(owner, runs.rows, runs.starts, runs.stops)
    return Parts(
        tile=np.full(count, tile.row * tiling.lattice[1] + tile.col, np.int32),
        index=kept.astype(np.int32),
        channel=found.channel[kept],
        score=found.score[kept],
        core_px=core_px[kept].astype(np.int32),
        cut=cut,
        edge=edge,
        first=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).astype(np.int64),
        rows=runs.rows.astype(np.int32),
        starts=runs.starts.astype(np.int32),
        stops=runs.stops.astype(np.int32),
        neighbours=_touching(renumbered[cut[owner]]),
    )


def _touching(runs: Runs) -> np.ndarray:
    """Pairs of owners that overlap or share the edge of a pixel."""
    from geoseg.objects.match import overlaps

    if not len(runs):
        return np.zeros((0, 2), np.int64)
    beside = Runs(runs.owner, runs.rows, runs.starts - 1, runs.stops + 1)
    pairs = [np.stack(overlaps(beside, runs)[:2], 1)]
    pairs += [np.stack(overlaps(Runs(runs.owner, runs.rows + 1, runs.starts, runs.stops), runs)[:2], 1)]
    both = np.sort(np.concatenate(pairs), axis=1)
    return np.unique(both[both[:, 0] < both[:, 1]], axis=0).reshape(-1, 2)
