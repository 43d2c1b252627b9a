"""What a network learns from: windows of scenes over labelled ground, and the split into training and validation.

Neighbouring pixels are alike, so a validation on pixels drawn at random would praise any network. Here validation is
done on whole blocks of the scene. A training window that touches a validation block is left out, so no pixel is ever
seen from both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.scene import Scene
from geoseg.tiling import reflect
from geoseg.training.labels import UNLABELLED, ElsewhereError, Labels, natural, read_any

__all__ = ["Ground", "Split", "Window", "all_classes", "read_each", "split_ground"]

_BLOCK_TILES = (4, 3, 2, 1)
"""Sides of a block in tiles: the first is taken that every class allows and that gives blocks enough."""
_ENOUGH_BLOCKS = 8
_TRIES = 200


def all_classes(labels: Sequence[Labels]) -> tuple[ClassInfo, ...]:
    """The classes of several labels, each name once (capital letters do not matter), numbered anew."""
    found: dict[str, ClassInfo] = {}
    for info in (info for one in labels for info in one.classes):
        found.setdefault(info.name.casefold(), info)
    ordered = sorted(found.values(), key=lambda info: natural(info.name))
    return tuple(ClassInfo(i, info.name, info.color) for i, info in enumerate(ordered))


def read_each(
    sources: Sequence[Any], scenes: Sequence[Scene], *, column: str | None = None, single: str | None = None
) -> list[Labels | None]:
    """The labels of several scenes; None where one source is for all, and nothing of it is on a scene.

    Parameters
    ----------
    sources
        One for each scene.
    scenes
        On the grids to learn on.
    column, single
        See `geoseg.training.labels.read_any`.

    Raises
    ------
    OptionError
        Labels are at fault, or lie on no scene, or not on the one that they were given for.
    """
    common = len(scenes) > 1 and all(source is sources[0] for source in sources)
    out: list[Labels | None] = []
    missed: ElsewhereError | None = None
    for source, scene in zip(sources, scenes, strict=True):
        try:
            out.append(read_any(source, scene, column=column, single=single))
        except ElsewhereError as error:
            if not common:
                raise
            missed = missed or error
            out.append(None)
    if missed is not None and not any(out):
        raise missed
    return out


@dataclass(frozen=True, order=True)
class Window:
    """A square of a scene, in pixels from its upper left corner; it may reach past the scene's lower right."""

    scene: int
    """Number of the scene."""
    row: int
    """First row."""
    col: int
    """First column."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Scenes on their grids, with their labels."""

    scenes: tuple[Scene, ...]
    """The scenes, all with the same bands."""
    labels: tuple[Labels, ...]
    """The labels of each."""
    lookup: tuple[np.ndarray, ...]
    """For each scene 256 uint8: the network's channel of each label value, 255 = unlabelled."""
    names: tuple[str, ...]
    """The name of each channel's class."""

    def read(
        self, window: Window, side_px: int, *, numbered: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels (band, row, col), validity (row, col) and channels (row, col; 255 = not to be learned) of a window.

        What lies past the scene is reflected, as in mapping, and never has a label; nor have invalid pixels. With
        `numbered` objects are told apart: see `number`.
        """
        scene = self.scenes[window.scene]
        height, width = (int(side) for side in scene.geobox.shape)
        rows, cols = reflect(window.row, side_px, height), reflect(window.col, side_px, width)
        pixels = scene.read(slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
        at = rows[:, None] - rows.min(), cols - cols.min()
        values, valid = pixels.values[:, *at], pixels.valid[at]
        truth = (self.number if numbered else self.burn)(window, side_px)
        truth[~valid] = UNLABELLED
        return values, valid, truth

    def burn(self, window: Window, side_px: int) -> np.ndarray:
        """The channels (row, col) of a window, 255 = unlabelled or past the scene."""
        burnt = self.labels[window.scene].burn(self._grid(window, side_px))
        return _enlarged(self.lookup[window.scene][burnt], side_px)

    def number(self, window: Window, side_px: int) -> np.ndarray:
        """Objects (row, col; int32) of a window: 0 = background, 255 = unlabelled or past the scene.

        Others are 256 + i n + c, for object i of channel c, where n is the number of channels. The labels must be
        `geoseg.training.objects.ObjectLabels`.
        """
        labels: Any = self.labels[window.scene]
        numbers, values = labels.number(self._grid(window, side_px))
        channels = self.lookup[window.scene][values].astype(np.int32)
        each = UNLABELLED + 1 + np.arange(len(values), dtype=np.int32) * len(self.names) + channels
        table = np.concatenate([np.arange(UNLABELLED + 1, dtype=np.int32), each])
        return _enlarged(table[numbers], side_px)

    def _grid(self, window: Window, side_px: int) -> GeoBox:
        """Where a window lies, cut by the scene's edge."""
        geobox = self.scenes[window.scene].geobox
        last = [min(at + side_px, int(side)) for at, side in zip((window.row, window.col), geobox.shape, strict=True)]
        return geobox[window.row : last[0], window.col : last[1]]

    def windows(self, side_px: int, step_px: int) -> Iterator[Window]:
        """The windows of a lattice that may hold labels."""
        for number, (scene, labels) in enumerate(zip(self.scenes, self.labels, strict=True)):
            height, width = (int(side) for side in scene.geobox.shape)
            lattice = [len(range(0, max(side - side_px + step_px, 1), step_px)) for side in (height, width)]
            near = np.zeros(lattice, dtype=bool)
            for top, left, bottom, right in _boxes(scene, labels):
                first = [max(0, (low - side_px) // step_px) for low in (top, left)]
                near[first[0] : bottom // step_px + 1, first[1] : right // step_px + 1] = True
            for row, col in np.argwhere(near):
                yield Window(number, int(row) * step_px, int(col) * step_px)

    def counts(self, window: Window, side_px: int) -> np.ndarray:
        """Labelled pixels of each class in a window."""
        return np.bincount(self.burn(window, side_px).ravel(), minlength=256)[: len(self.names)]


def _enlarged(values: np.ndarray, side_px: int) -> np.ndarray:
    out = np.full((side_px, side_px), UNLABELLED, dtype=values.dtype)
    out[: values.shape[0], : values.shape[1]] = values
    return out


def _boxes(scene: Scene, labels: Labels) -> list[tuple[int, int, int, int]]:
    """Where labels may lie: first row and column, last row and column, in pixels."""
    height, width = (int(side) for side in scene.geobox.shape)
    if labels.reach is None:
        return [(0, 0, height, width)]
    inverse = ~scene.geobox.affine
    found = []
    for west, south, east, north in labels.reach.geometry.bounds.to_numpy():
        corners = np.array(
            [inverse * corner for corner in ((west, south), (west, north), (east, south), (east, north))]
        )
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        col, row = np.clip(low, 0, (width, height)).astype(int)
        last_col, last_row = np.clip(high, 0, (width, height)).astype(int)
        found.append((int(row), int(col), int(last_row), int(last_col)))
    return found


@dataclass(frozen=True, eq=False)
class Split:
    """Which windows are learned from, and which are only looked at to measure."""

    training: tuple[Window, ...]
    """Overlapping windows (by half) with labels; none touches a validation block."""
    validation: tuple[Window, ...]
    """Windows side by side that fill the validation blocks, where there are labels."""
    side_px: int
    """Side of a window."""
    block_px: int
    """Side of a block."""
    training_px: np.ndarray
    """Labelled pixels of each class in the training windows (in an overlap they count more than once)."""
    validation_px: np.ndarray
    """Labelled pixels of each class in the validation blocks."""


def split_ground(ground: Ground, *, side_px: int, share: float = 0.2, seed: int = 0) -> Split:
    """Choose validation blocks so that every class is labelled on both sides, if it can be.

    Parameters
    ----------
    ground
        Scenes with labels.
    side_px
        Side of a window, pixels.
    share
        About which share of the labelled pixels is for validation.
    seed
        Another number, another choice.

    Raises
    ------
    OptionError
        Too little is labelled: a class would have nothing to learn from, or nothing would be left to measure.
    """
    cells = list(ground.windows(side_px, side_px))
    windows = list(ground.windows(side_px, max(side_px // 2, 1)))
    in_cells = np.array([ground.counts(cell, side_px) for cell in cells]).reshape(len(cells), len(ground.names))
    in_windows = np.array([ground.counts(window, side_px) for window in windows]).reshape(-1, len(ground.names))
    # Seen before the split, so that the message is about the labels and not about the split.
    known = in_windows.sum(axis=0) + in_cells.sum(axis=0) > 0
    best: tuple[tuple[float, ...], Split] | None = None
    for tiles in _BLOCK_TILES:
        found = _best_split(cells, windows, in_cells, in_windows, tiles, side_px, share, seed)
        if found is not None and (best is None or found[0][:3] > best[0][:3]):
            best = found
        if best is not None and best[0][:3] == (known.sum(), known.sum(), _ENOUGH_BLOCKS):
            break
    if best is None:
        raise OptionError(
            f"Training and validation need places that lie apart, but all labels lie within {side_px} pixels or so. "
            "Label other parts of the image as well, or choose a smaller --tile."
        )
    _check(best[1], ground.names, known, share)
    return best[1]


def _best_split(
    cells: Sequence[Window],
    windows: Sequence[Window],
    in_cells: np.ndarray,
    in_windows: np.ndarray,
    tiles: int,
    side_px: int,
    share: float,
    seed: int,
) -> tuple[tuple[float, ...], Split] | None:
    """The best of some hundred random choices of blocks, with its merits; None where nothing can be split."""
    block_px = tiles * side_px
    blocks = sorted({(c.scene, c.row // block_px, c.col // block_px) for c in cells})
    number = {block: i for i, block in enumerate(blocks)}
    home = np.array([number[c.scene, c.row // block_px, c.col // block_px] for c in cells], dtype=int)
    in_blocks = np.zeros((len(blocks), in_cells.shape[1]), dtype=np.int64)
    np.add.at(in_blocks, home, in_cells)
    labelled = np.flatnonzero(in_blocks.sum(axis=1))
    usable = np.flatnonzero(in_windows.sum(axis=1))
    # The up to four blocks under each window; the extra, last block is never chosen.
    touched = np.full((len(windows), 4), len(blocks))
    for i, window in enumerate(windows):
        ends = [(at // block_px, (at + side_px - 1) // block_px) for at in (window.row, window.col)]
        for j, (row, col) in enumerate((r, c) for r in ends[0] for c in ends[1]):
            touched[i, j] = number.get((window.scene, row, col), len(blocks))
    total = in_blocks.sum(axis=0)
    rng = np.random.default_rng([seed, tiles])
    best: tuple[tuple[float, ...], np.ndarray, np.ndarray] | None = None
    enough = float(min(len(labelled), _ENOUGH_BLOCKS))
    for _ in range(_TRIES if len(labelled) > 1 else 0):
        order = rng.permutation(labelled)
        reached = np.cumsum(in_blocks[order].sum(axis=1)) >= share * total.sum()
        chosen = np.zeros(len(blocks) + 1, dtype=bool)
        chosen[order[: min(int(np.argmax(reached)) + 1, len(order) - 1)]] = True
        kept = usable[~chosen[touched[usable]].any(axis=1)]
        left, out = in_windows[kept].sum(axis=0), in_blocks[chosen[:-1]].sum(axis=0)
        if not left.any():
            continue
        uneven = np.abs(out / np.maximum(total, 1) - share)[total > 0].mean()
        lost = 1 - len(kept) / len(usable)
        merit = (float((left > 0).sum()), float((out > 0).sum()), enough, -float(uneven + 0.5 * lost))
        if best is None or merit > best[0]:
            best = merit, chosen, kept
    if best is None:
        return None
    _, chosen, kept = best
    validation = [int(i) for i in np.flatnonzero(chosen[home]) if in_cells[i].any()]
    split = Split(
        tuple(windows[i] for i in kept),
        tuple(cells[i] for i in validation),
        side_px,
        block_px,
        in_windows[kept].sum(axis=0),
        in_cells[validation].sum(axis=0),
    )
    return best[0], split


def _check(split: Split, names: Sequence[str], known: np.ndarray, share: float) -> None:
    unlearned = [name for name, n, k in zip(names, split.training_px, known, strict=True) if k and not n]
    if unlearned:
        raise OptionError(
            f"Each class must be labelled at places that lie apart, to be learned and to be measured, but "
            f"{', '.join(unlearned)} is in one place only. Label it at {split.side_px} pixels or more from there as "
            "well, or choose a smaller --tile."
        )
    if (split.validation_px > 0).sum() < 2:
        raise OptionError(
            "Validation needs two classes at least, but no choice of blocks leaves more than "
            f"{', '.join(n for n, px in zip(names, split.validation_px, strict=True) if px) or 'none'} for it "
            f"(--validation {share:g}). Label more places, or choose a smaller --tile."
        )
