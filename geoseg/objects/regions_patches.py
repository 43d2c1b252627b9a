"""What a block has of objects that are made of a map of classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Edge", "Patches"]


@dataclass(frozen=True, eq=False)
class Patches:
    """What a block has of objects, in patches that hang together within it."""

    labels: np.ndarray
    """(row, col) uint32: number of the patch from 1 on, 0 = none."""
    kind: np.ndarray
    """(patch,) uint8."""
    first: np.ndarray
    """(patch,) int64: row · columns of the scene + column, of the first pixel."""
    pixels: np.ndarray
    """(patch,) int64: how many it has."""
    percent: np.ndarray
    """(patch,) int64: the sum of their confidence."""
    seed: np.ndarray
    """(patch,) int64: the number of the seed that it grew from, from 0 on; −1 = none."""
    touching: np.ndarray
    """(contact, 2) int64: a patch without seed, and a seed that it touches; both from 0 on."""
    sides: np.ndarray
    """(contact,) int64: along how many sides of pixels."""

    def __len__(self) -> int:
        """How many patches."""
        return len(self.kind)

    def without_labels(self) -> Patches:
        """The same without its pixels, which is small."""
        return replace(self, labels=np.zeros((0, 0), np.uint32))

    def left_edge(self) -> Edge:
        """The first column."""
        return self._edge(self.labels[:, 0])

    def top_edge(self) -> Edge:
        """The first row."""
        return self._edge(self.labels[0])

    def _edge(self, labels: np.ndarray) -> Edge:
        return Edge(labels, np.where(self.seed < 0, self.kind, np.uint8(0)))


@dataclass(frozen=True, eq=False)
class Edge:
    """A line of pixels of a block, to be linked with the line beside it."""

    labels: np.ndarray
    """(pixel,) uint32: number of the patch from 1 on, 0 = none."""
    free: np.ndarray
    """(patch,) uint8: the kind of those that may be linked: that grew from no seed; 0 = the others."""
