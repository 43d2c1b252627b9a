"""What a block has of objects that are made of a map of classes: in memory, and on disk as the hand-over of workers."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from geoseg.errors import BlockError
from geoseg.files import replacing

__all__ = ["Edge", "Patches", "Runs", "load_patches", "save_patches"]


@dataclass(frozen=True, eq=False)
class Runs:
    """An array (row, col) as runs of equal values, row after row, out of which any window can be had.

    Examples
    --------
    >>> runs = Runs.of(np.array([[0, 0, 7], [7, 7, 7], [7, 0, 0]], np.uint32))
    >>> runs.starts.tolist(), runs.values.tolist()
    ([0, 2, 7], [0, 7, 0])
    >>> runs.window(slice(1, 3), slice(0, 2)).tolist()
    [[7, 7], [7, 0]]
    """

    shape: tuple[int, int]
    """Rows and columns."""
    starts: np.ndarray
    """(run,) int64: the flat index of the first pixel."""
    values: np.ndarray
    """(run,): the value."""

    @classmethod
    def of(cls, array: np.ndarray) -> Runs:
        """From an array."""
        flat = array.ravel()
        begins = np.ones(flat.size, bool)
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        starts = np.flatnonzero(begins).astype(np.int64, copy=False)
        return cls((array.shape[0], array.shape[1]), starts, flat[starts])

    def window(self, rows: slice, cols: slice) -> np.ndarray:
        """The values of a window, (row, col)."""
        from geoseg.objects.regions_pixels import unroll

        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), self.values.dtype)
        unroll(self.starts, self.values, self.shape[1], rows.start, cols.start, out)
        return out

    def array(self) -> np.ndarray:
        """All of it."""
        return self.window(slice(0, self.shape[0]), slice(0, self.shape[1]))


@dataclass(frozen=True, eq=False)
class Patches:
    """What a block has of objects, in patches that hang together within it."""

    labels: Runs
    """uint32: number of the patch from 1 on, 0 = none."""
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

    def without_labels(self) -> Patches:
        """The same without its pixels, which is small."""
        return replace(self, labels=Runs.of(np.zeros((0, 0), np.uint32)))

    def without_empty(self) -> Patches:
        """The same without the patches that have no pixel, numbered anew; none of these may touch anything."""
        kept = self.pixels > 0
        fresh = np.cumsum(kept)
        values = np.concatenate([[0], np.where(kept, fresh, 0)])[self.labels.values].astype(np.uint32)
        touching = self.touching.copy()
        touching[:, 0] = fresh[touching[:, 0]] - 1
        of_patches = ("kind", "first", "pixels", "percent", "seed")
        rest = {name: getattr(self, name)[kept] for name in of_patches}
        return replace(self, labels=replace(self.labels, values=values), touching=touching, **rest)

    def left_edge(self) -> Edge:
        """The first column."""
        return self._edge(slice(0, self.labels.shape[0]), slice(0, 1))

    def right_edge(self) -> Edge:
        """The last column."""
        return self._edge(slice(0, self.labels.shape[0]), slice(self.labels.shape[1] - 1, self.labels.shape[1]))

    def top_edge(self) -> Edge:
        """The first row."""
        return self._edge(slice(0, 1), slice(0, self.labels.shape[1]))

    def bottom_edge(self) -> Edge:
        """The last row."""
        return self._edge(slice(self.labels.shape[0] - 1, self.labels.shape[0]), slice(0, self.labels.shape[1]))

    def _edge(self, rows: slice, cols: slice) -> Edge:
        return Edge(self.labels.window(rows, cols).ravel(), np.where(self.seed < 0, self.kind, np.uint8(0)))


@dataclass(frozen=True, eq=False)
class Edge:
    """A line of pixels of a block, to be linked with the line beside it."""

    labels: np.ndarray
    """(pixel,) uint32: number of the patch from 1 on, 0 = none."""
    free: np.ndarray
    """(patch,) uint8: the kind of those that may be linked, that grew from no seed; 0 = the others."""

    def links(self, other: Edge) -> np.ndarray:
        """Which patches of one kind lie side by side: (pair, 2) int64, from 0 on, each pair once."""
        both = (self.labels > 0) & (other.labels > 0)
        pairs = np.stack([self.labels[both], other.labels[both]], axis=1).astype(np.int64) - 1
        kind = self.free[pairs[:, 0]]
        return np.unique(pairs[(kind > 0) & (kind == other.free[pairs[:, 1]])], axis=0)


def save_patches(patches: Patches, path: Path) -> None:
    """Write the patches of a block; the file is there whole or not at all."""
    rest = {field.name: getattr(patches, field.name) for field in fields(Patches) if field.name != "labels"}
    labels = patches.labels
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **rest, shape=labels.shape, starts=labels.starts, values=labels.values)


def load_patches(path: Path) -> Patches:
    """Read the patches of a block; raises `BlockError` where the file is damaged or gone."""
    try:
        with np.load(path, allow_pickle=False) as file:
            rest = {field.name: file[field.name] for field in fields(Patches) if field.name != "labels"}
            rows, cols = file["shape"].tolist()
            return Patches(Runs((rows, cols), file["starts"], file["values"]), **rest)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BlockError(
            f"The block {path} cannot be read ({error}). It is damaged or gone: remove it and run again."
        ) from error
