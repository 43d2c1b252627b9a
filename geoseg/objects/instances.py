"""Instances: the objects that a model finds in one tile, as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.errors import ModelError

__all__ = ["Instances"]


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects of a tile, in the order in which the model gave them; they may overlap.

    A run is a stretch of pixels in one row. The runs of an object are sorted by row and start, and no two of them
    overlap or touch in a row. An object has at least one run.

    Raises
    ------
    ModelError
        The arrays do not fit together, or a score is not a number.

    Examples
    --------
    >>> masks = np.zeros((2, 3, 4), bool)
    >>> masks[0, :2, 1:3] = masks[1, 2, 0] = True
    >>> found = Instances.from_masks(masks, channel=[0, 0], score=[0.9, 0.5])
    >>> len(found), found.pixels.tolist(), found.rows.tolist(), found.starts.tolist(), found.stops.tolist()
    (2, [4, 1], [0, 1, 2], [1, 1, 0], [3, 3, 1])
    >>> bool((found.masks((3, 4)) == masks).all())
    True
    >>> len(Instances.from_masks(np.zeros((0, 3, 4), bool), channel=[], score=[]))
    0
    """

    rows: np.ndarray
    """(run,) int32: the row, in pixels of the tile."""
    starts: np.ndarray
    """(run,) int32: the first column."""
    stops: np.ndarray
    """(run,) int32: one after the last column."""
    first: np.ndarray
    """(object + 1,) int64: the number of each object's first run; the last is the number of runs."""
    channel: np.ndarray
    """(object,) uint8: index into the model's classes."""
    score: np.ndarray
    """(object,) float32: how sure the model is, 0..1."""

    def __post_init__(self) -> None:
        runs, objects = len(self.rows), len(self.channel)
        rules = {
            "one row, start and stop a run": len(self.starts) == len(self.stops) == runs,
            "one offset and score an object": len(self.first) == objects + 1 and len(self.score) == objects,
            "rising offsets from 0 to the number of runs": self.first[0] == 0
            and self.first[-1] == runs
            and bool((np.diff(self.first) > 0).all()),
            "starts before stops": bool((self.starts < self.stops).all()),
            "scores that are numbers": bool(np.isfinite(self.score).all()),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ModelError(f"The instances of a tile must have {'; '.join(broken)}. The model's output is damaged.")

    def __len__(self) -> int:
        """How many objects."""
        return len(self.channel)

    @property
    def pixels(self) -> np.ndarray:
        """(object,) int64: how many pixels each has."""
        sums = np.concatenate([[0], np.cumsum((self.stops - self.starts).astype(np.int64))])
        return sums[self.first[1:]] - sums[self.first[:-1]]

    @classmethod
    def from_masks(cls, masks: np.ndarray, *, channel: Sequence[int], score: Sequence[float]) -> Instances:
        """From masks (object, row, col) of bool; objects without a pixel are left out."""
        masks = np.asarray(masks, bool)
        wide = np.zeros((*masks.shape[:2], masks.shape[2] + 2), np.int8)
        wide[..., 1:-1] = masks
        change = np.diff(wide, axis=-1)
        number, rows, starts = np.nonzero(change == 1)
        stops = np.nonzero(change == -1)[2]
        count = np.bincount(number, minlength=len(masks))
        there = count > 0
        first = np.concatenate([[0], np.cumsum(count[there])]).astype(np.int64)
        kept = np.asarray(channel, np.uint8)[there], np.asarray(score, np.float32)[there]
        return cls(rows.astype(np.int32), starts.astype(np.int32), stops.astype(np.int32), first, *kept)

    def masks(self, shape: tuple[int, int]) -> np.ndarray:
        """Masks (object, row, col) of bool, in a tile of this shape."""
        out = np.zeros((len(self), *shape), bool)
        number = np.repeat(np.arange(len(self)), np.diff(self.first))
        for i, row, start, stop in zip(number, self.rows, self.starts, self.stops, strict=True):
            out[i, row, start:stop] = True
        return out
