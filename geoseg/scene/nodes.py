"""Rasters made of files: resampled onto a grid, laid side by side, put band over band.

Each is a frozen, picklable node with the same few members as `File`; `read` of any of them is independent
of how it is cut into windows, because that of its parts is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.scene.files import File, Read
from geoseg.scene.grids import Gcps, half_turn, node_step, positions, same_grid

__all__ = ["Mosaic", "Node", "Stack", "Warp", "onto"]

PIECE_BYTES = 64 << 20
"""Bytes of source pixels held at once when resampling; a window that needs more is read in pieces."""

ON_LATTICE_PX = 0.1
"""A part of a mosaic that lies this close to the mosaic's lattice takes its place on it unresampled."""


@dataclass(frozen=True)
class Warp:
    """A raster resampled onto a grid (see `geoseg.scene.resampling`)."""

    source: Node
    """What is resampled."""
    place: GeoBox
    """The grid."""
    step: int
    """Pixels of the grid between two nodes at which positions are computed (see `node_step`)."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every band."""
        return self.source.names

    @property
    def dtype(self) -> np.dtype:
        """The data type of all bands."""
        return self.source.dtype

    def pick(self, positions: tuple[int, ...]) -> Warp:
        """The same with fewer bands, or in another order."""
        return replace(self, source=self.source.pick(positions))

    def files(self) -> Iterator[File]:
        """Every file behind it."""
        return self.source.files()

    def coarser(self, factor: float) -> Warp:
        """Itself: a resampled raster has no overviews."""
        return self

    def nodes(self, rows: slice, cols: slice) -> np.ndarray:
        """Source positions at the lattice of nodes around a window: (x and y, node row, node col)."""
        step = self.step
        down = np.arange(rows.start // step, (rows.stop - 1) // step + 2) * float(step)
        across = np.arange(cols.start // step, (cols.stop - 1) // step + 2) * float(step)
        grid_cols, grid_rows = np.meshgrid(across, down)
        found = np.stack(positions(self.source.place, self.place, grid_cols, grid_rows))
        found[:, ~np.isfinite(found).all(axis=0)] = np.nan
        return found

    def read(self, rows: slice, cols: slice) -> Read:
        """A window; one that needs much of the source is read in halves."""
        from geoseg.scene.resampling import box_mean, source_window

        shape = (rows.stop - rows.start, cols.stop - cols.start)
        values = np.zeros((len(self.names), *shape), self.dtype)
        valid = np.zeros(shape, bool)
        if not valid.size:
            return values, valid
        extent = (int(self.source.place.shape[0]), int(self.source.place.shape[1]))
        nodes = self.nodes(rows, cols)
        from_rows, from_cols = source_window(nodes, extent, self.step)
        needed = (from_rows.stop - from_rows.start) * (from_cols.stop - from_cols.start)
        if needed * len(self.names) * self.dtype.itemsize > PIECE_BYTES and max(shape) > self.step:
            cut = [(rows, part) for part in _halves(cols)] if shape[1] >= shape[0] else None
            for part_rows, part_cols in cut or [(part, cols) for part in _halves(rows)]:
                inside = (
                    slice(part_rows.start - rows.start, part_rows.stop - rows.start),
                    slice(part_cols.start - cols.start, part_cols.stop - cols.start),
                )
                values[:, inside[0], inside[1]], valid[inside] = self.read(part_rows, part_cols)
            return values, valid
        if not needed:
            return values, valid
        found, found_valid = self.source.read(from_rows, from_cols)
        if not found_valid.any():
            return values, valid
        return box_mean(
            found,
            found_valid,
            nodes,
            origin=(from_rows.start, from_cols.start),
            extent=extent,
            rows=rows,
            cols=cols,
            step=self.step,
            jump=half_turn(self.source.place),
        )


@dataclass(frozen=True)
class Mosaic:
    """Rasters side by side on one grid; where they overlap, the first valid pixel in their order wins."""

    parts: tuple[Node, ...]
    """The rasters, all with the same bands and data type."""
    corners: tuple[tuple[int, int], ...]
    """Row and column of each part's first pixel."""
    place: GeoBox
    """The grid of the whole."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every band."""
        return self.parts[0].names

    @property
    def dtype(self) -> np.dtype:
        """The data type of all bands."""
        return self.parts[0].dtype

    def pick(self, positions: tuple[int, ...]) -> Mosaic:
        """The same with fewer bands, or in another order."""
        return replace(self, parts=tuple(part.pick(positions) for part in self.parts))

    def files(self) -> Iterator[File]:
        """Every file behind it, in order."""
        return itertools.chain.from_iterable(part.files() for part in self.parts)

    def coarser(self, factor: float) -> Mosaic:
        """The mosaic of overviews, the largest that all parts have and on whose lattice all lie; else itself."""
        sizes = {size for part in self.parts if isinstance(part, File) for size in part.overviews}
        if not all(isinstance(part, File) for part in self.parts):
            return self
        for size in sorted((size for size in sizes if 1 < size <= factor + 1e-6), reverse=True):
            whole = all(
                size in getattr(part, "overviews", ())
                and not any(number % size for number in (*corner, *part.place.shape))
                for part, corner in zip(self.parts, self.corners, strict=True)
            )
            if whole:
                parts = tuple(part.coarser(size) for part in self.parts)
                if all(
                    tuple(new.place.shape) == (old.place.shape[0] // size, old.place.shape[1] // size)
                    for new, old in zip(parts, self.parts, strict=True)
                ):
                    corners = tuple((row // size, col // size) for row, col in self.corners)
                    return Mosaic(parts, corners, self.place.zoom_out(size))
        return self

    @cached_property
    def _spans(self) -> np.ndarray:
        """First row and column of each part, and those after its last: (part, 4)."""
        shapes = np.array([tuple(part.place.shape) for part in self.parts])
        return np.hstack([self.corners, np.array(self.corners) + shapes])

    def read(self, rows: slice, cols: slice) -> Read:
        """A window; parts are read only where no earlier part is valid."""
        values = np.zeros((len(self.names), rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        valid = np.zeros(values.shape[1:], bool)
        tops, lefts, bottoms, rights = self._spans.T
        meets = (tops < rows.stop) & (rows.start < bottoms) & (lefts < cols.stop) & (cols.start < rights)
        for i in np.flatnonzero(meets):
            part, (row0, col0, row1, col1) = self.parts[i], self._spans[i].tolist()
            top, bottom = max(rows.start, row0), min(rows.stop, row1)
            left, right = max(cols.start, col0), min(cols.stop, col1)
            inside = (
                slice(top - rows.start, bottom - rows.start),
                slice(left - cols.start, right - cols.start),
            )
            before = valid[inside]
            if before.all():
                continue
            found, found_valid = part.read(slice(top - row0, bottom - row0), slice(left - col0, right - col0))
            if not before.any():
                values[:, inside[0], inside[1]] = found
            else:
                new = found_valid & ~before
                values[:, inside[0], inside[1]][:, new] = found[:, new]
            valid[inside] |= found_valid
        return values, valid


@dataclass(frozen=True)
class Stack:
    """Rasters on one grid, band over band; a pixel is valid where it is valid in all of them."""

    parts: tuple[Node, ...]
    """The rasters, all with the same grid."""
    place: GeoBox
    """Their grid."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every band."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def dtype(self) -> np.dtype:
        """The data type that holds all bands."""
        return np.result_type(*(part.dtype for part in self.parts))

    def pick(self, positions: tuple[int, ...]) -> Stack:
        """The same with fewer bands, or in another order."""
        homes = [(part, i) for part in self.parts for i in range(len(part.names))]
        runs = itertools.groupby((homes[i] for i in positions), key=lambda home: id(home[0]))
        picked = [list(run) for _, run in runs]
        return replace(self, parts=tuple(run[0][0].pick(tuple(i for _, i in run)) for run in picked))

    def files(self) -> Iterator[File]:
        """Every file behind it, in order."""
        return itertools.chain.from_iterable(part.files() for part in self.parts)

    def coarser(self, factor: float) -> Stack:
        """Itself; `onto` resamples each part by its own overviews."""
        return self

    def read(self, rows: slice, cols: slice) -> Read:
        """A window."""
        found = [part.read(rows, cols) for part in self.parts]
        valid = np.logical_and.reduce([item for _, item in found])
        values = np.concatenate([item for item, _ in found], dtype=self.dtype)
        if not valid.all():
            values[:, ~valid] = 0
        return values, valid


Node = File | Warp | Mosaic | Stack


def onto(node: Node, place: GeoBox) -> Node:
    """The raster on another grid: itself if it is there already, else resampled once from its files."""
    if isinstance(node.place, GeoBox) and same_grid(node.place, place):
        return node
    if isinstance(node, Warp):
        return onto(node.source, place)
    if isinstance(node, Stack):
        return Stack(tuple(onto(part, place) for part in node.parts), place)
    # An overview at least twice as fine as the target: its own averaging then hardly shows, however it was made.
    return Warp(node.coarser(_ratio(node.place, place) / 2), place, node_step(place))


def _ratio(source: GeoBox | Gcps, target: GeoBox) -> float:
    """Source pixels along the shorter side of a target pixel, at the target's centre (1 where unknown)."""
    row, col = target.shape[0] / 2, target.shape[1] / 2
    cols, rows = np.array([col - 0.5, col + 0.5, col, col]), np.array([row, row, row - 0.5, row + 0.5])
    u, v = positions(source, target, cols, rows)
    along = math.hypot(u[1] - u[0], u[3] - u[2]), math.hypot(v[1] - v[0], v[3] - v[2])
    ratio = min(along)
    return ratio if math.isfinite(ratio) else 1.0


def mosaic_of(parts: Sequence[Node]) -> Node:
    """One raster of several: on the first one's lattice, extended to hold all."""
    first = parts[0].place
    assert isinstance(first, GeoBox)
    inverse = ~first.affine
    boxes, aligned = [], []
    for part in parts:
        assert isinstance(part.place, GeoBox)
        step = inverse * part.place.affine
        height, width = part.place.shape
        ends = [step * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
        col, row = round(ends[0][0]), round(ends[0][1])
        wanted = ((col, row), (col + width, row), (col, row + height), (col + width, row + height))
        off = max(abs(a - b) for end, want in zip(ends, wanted, strict=True) for a, b in zip(end, want, strict=True))
        aligned.append(off <= ON_LATTICE_PX)
        if aligned[-1]:
            boxes.append((col, row, col + width, row + height))
        else:
            xs, ys = [end[0] for end in ends], [end[1] for end in ends]
            boxes.append((math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))))
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    lattice = first.affine
    place = GeoBox((bottom - top, right - left), lattice * lattice.translation(left, top), first.crs)
    laid: list[Node] = []
    for part, box, here in zip(parts, boxes, aligned, strict=True):
        grid = GeoBox((box[3] - box[1], box[2] - box[0]), lattice * lattice.translation(box[0], box[1]), first.crs)
        laid.append(part if here else Warp(part, grid, node_step(grid)))
    return Mosaic(tuple(laid), tuple((box[1] - top, box[0] - left) for box in boxes), place)


def _halves(part: slice) -> tuple[slice, slice]:
    middle = (part.start + part.stop) // 2
    return slice(part.start, middle), slice(middle, part.stop)
