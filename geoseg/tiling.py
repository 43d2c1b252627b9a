r"""The lattice: where tiles lie, how their overlaps blend, which tiles a block needs, and what that costs.

Tiles lie on one lattice anchored at the scene's pixel (0, 0), so what a tile sees never depends on how the scene
is cut into blocks. Along one axis, with tile side ``T``, overlap ``O``, margin ``M`` and stride ``S = T - O``, tile
``i`` sees ``[i S - M, i S - M + T)`` and is used from ``i S`` on. Its weights are a partition of unity::

    tile i     . 1 1 1 1 1 1 \ . .            margin: zero, the pixels that saw the tile's border
    tile i+1             . . / 1 1 1 1 1 1 .   ramp:   the two tiles' weights sum to one
                         | O |                 O = 2 margins + ramp

At the scene's border there is no neighbour and the weight is one; what a tile sees beyond it is reflected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.errors import OptionError

__all__ = ["Block", "Tile", "Tiling", "reflect"]


@dataclass(frozen=True)
class Tile:
    """One tile of the lattice: a square window that may reach past the scene's border."""

    row: int
    """Lattice row, 0 at the top."""
    col: int
    """Lattice column, 0 at the left."""
    top_px: int
    """Scene row of the tile's first row; negative by up to the margin."""
    left_px: int
    """Scene column of the tile's first column; negative by up to the margin."""


@dataclass(frozen=True)
class Block:
    """A window of the scene that is computed as one task."""

    row: int
    """Which row of blocks, 0 at the top."""
    col: int
    """Which column of blocks, 0 at the left."""
    rows: tuple[int, int]
    """First scene row, and the one past the last."""
    cols: tuple[int, int]
    """First scene column, and the one past the last."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in pixels."""
        return self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]

    @property
    def pixels(self) -> int:
        """Pixels in the block."""
        return self.shape[0] * self.shape[1]

    @property
    def name(self) -> str:
        """A name that sorts by position, as used for files.

        >>> Block(0, 2, (0, 10), (20, 30)).name
        'r0000_c0002'
        """
        return f"r{self.row:04d}_c{self.col:04d}"


@dataclass(frozen=True)
class Tiling:
    """The lattice of tiles over a scene, and its cut into blocks.

    Raises
    ------
    OptionError
        A side is not positive, the overlap is over half the tile, or the margins leave no overlap to blend.

    Examples
    --------
    >>> tiling = Tiling(shape=(1000, 300), tile_px=256, overlap_px=64, block_px=512)
    >>> tiling.stride_px, tiling.lattice, len(tiling.blocks())
    (192, (5, 2), 2)
    >>> Tiling(shape=(1, 1), tile_px=256).lattice
    (1, 1)
    """

    shape: tuple[int, int]
    """Rows and columns of the scene, in pixels."""
    tile_px: int = 512
    """Side of a tile (square), in pixels."""
    overlap_px: int = 64
    """Pixels shared by neighbouring tiles, at most half the tile."""
    margin_px: int = 0
    """Pixels at a tile's border that only give context and are never used; at most half the overlap."""
    block_px: int = 8192
    """Side of a block, in pixels; the result does not depend on it."""

    def __post_init__(self) -> None:
        rules = {
            "rows and columns of the scene must be positive": min(self.shape) > 0,
            "the tile side must be positive": self.tile_px > 0,
            "the overlap must be from 0 to half the tile side": 0 <= self.overlap_px <= self.tile_px // 2,
            "the margin must be from 0 to half the overlap": 0 <= self.margin_px <= self.overlap_px // 2,
            "the block side must be positive": self.block_px > 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise OptionError(
                f"In a tiling {'; '.join(broken)}. Received shape={self.shape}, tile {self.tile_px}, overlap "
                f"{self.overlap_px}, margin {self.margin_px}, block {self.block_px} px: "
                "change --tile, --overlap or --block."
            )

    @property
    def stride_px(self) -> int:
        """Distance between the starts of neighbouring tiles, in pixels."""
        return self.tile_px - self.overlap_px

    @property
    def lattice(self) -> tuple[int, int]:
        """How many rows and columns of tiles cover the scene."""
        ramp_px = self.overlap_px - 2 * self.margin_px
        rows, cols = (max(1, -(-(side - ramp_px) // self.stride_px)) for side in self.shape)
        return rows, cols

    def blocks(self) -> tuple[Block, ...]:
        """The blocks, row by row. They touch and do not overlap."""
        height, width = self.shape
        return tuple(
            Block(
                top // self.block_px,
                left // self.block_px,
                (top, min(top + self.block_px, height)),
                (left, min(left + self.block_px, width)),
            )
            for top in range(0, height, self.block_px)
            for left in range(0, width, self.block_px)
        )

    def tile(self, row: int, col: int) -> Tile:
        """The tile in this lattice row and column."""
        return Tile(row, col, row * self.stride_px - self.margin_px, col * self.stride_px - self.margin_px)

    def tile_rows(self, block: Block) -> range:
        """Lattice rows whose tiles contribute to the block."""
        return self._touching(block.rows, self.lattice[0])

    def tile_cols(self, block: Block) -> range:
        """Lattice columns whose tiles contribute to the block."""
        return self._touching(block.cols, self.lattice[1])

    def _touching(self, span: tuple[int, int], count: int) -> range:
        used_px = self.tile_px - 2 * self.margin_px
        first = (span[0] - used_px) // self.stride_px + 1
        last = (span[1] - 1) // self.stride_px
        return range(min(max(first, 0), count - 1), min(max(last, 0), count - 1) + 1)

    def tiles(self, block: Block) -> Iterator[Tile]:
        """The tiles that contribute to the block, in lattice order (row by row)."""
        return (self.tile(row, col) for row in self.tile_rows(block) for col in self.tile_cols(block))

    def window(self, block: Block) -> tuple[slice, slice]:
        """Rows and columns of the scene that the block's tiles see (the block with its halo)."""
        spans = []
        for lattice, side in ((self.tile_rows(block), self.shape[0]), (self.tile_cols(block), self.shape[1])):
            start = lattice[0] * self.stride_px - self.margin_px
            stop = lattice[-1] * self.stride_px - self.margin_px + self.tile_px
            spans.append(slice(max(start, 0), min(stop, side)))
        return spans[0], spans[1]

    def weights(self, index: int, count: int) -> np.ndarray:
        """Blend weights of tile `index` of `count` along one axis, float32 of length `tile_px`.

        The weights of all tiles at a pixel of the scene sum to one, exactly: a ramp and its complement.

        >>> Tiling(shape=(9, 9), tile_px=6, overlap_px=2).weights(0, 2)
        array([1.  , 1.  , 1.  , 1.  , 0.75, 0.25], dtype=float32)
        """
        ramp_px = self.overlap_px - 2 * self.margin_px
        rise = (np.arange(ramp_px, dtype=np.float32) + np.float32(0.5)) / np.float32(max(ramp_px, 1))
        used = np.ones(self.tile_px - 2 * self.margin_px, np.float32)
        if ramp_px and index > 0:
            used[:ramp_px] = rise
        if ramp_px and index < count - 1:
            used[-ramp_px:] = np.float32(1) - rise
        return np.pad(used, self.margin_px)

    def block_bytes(self, *, bands: int, itemsize: int, classes: int, in_flight: int = 1) -> int:
        """Projected peak memory of one block in bytes, without the model's weights and activations.

        Strips of pixels with their validity (one in use, one read ahead, one being joined), the sums under one row of
        tiles, the decided rows, and the pixels and probabilities of the tiles in flight.
        """
        tile, width = self.tile_px, min(self.block_px, self.shape[1]) + self.tile_px
        strips = 3 * tile * width * (bands * itemsize + 1)
        sums = classes * (tile + self.overlap_px) * width * 4 + 6 * tile * width
        tiles = in_flight * tile * tile * (bands * (itemsize + 4) + 1 + 3 * classes * 4)
        return strips + sums + tiles


def reflect(start: int, count: int, side: int) -> np.ndarray:
    """Scene indices of ``start .. start + count``, reflected at the scene's borders 0 and `side`.

    Reflection is inside the part of the window that lies in the scene, as often as needed, so that a tile's content
    depends on the tile alone.

    >>> reflect(-2, 6, 3)
    array([2, 1, 0, 1, 2, 1])
    >>> reflect(7, 3, 8)
    array([7, 7, 7])
    """
    first, last = max(start, 0), min(start + count, side)
    inside = last - first
    places = np.arange(start, start + count)
    if inside == count:
        return places
    if inside == 1:
        return np.full(count, first)
    period = 2 * (inside - 1)
    phase = (places - first) % period
    return first + np.where(phase < inside, phase, period - phase)
