"""Instance segmentation: tiles → instances of each → objects, each once, however many tiles saw it.

An `ObjectPlan` holds what is needed to look for objects in any block, in any process, with one answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from geoseg.blocks import BlockStore, Each, Report
from geoseg.classes import ClassInfo
from geoseg.errors import MismatchError
from geoseg.model import InstanceModel
from geoseg.objects.parts import Parts, parts_of
from geoseg.objects.store import load_parts, save_parts
from geoseg.objects.whole import (
    Numbers,
    Outlook,
    count,
    finish,
    link,
    needed,
    number,
    own_tiles,
    paint_block,
    tabulate,
    total,
    widened,
)
from geoseg.reading import iter_tiles
from geoseg.semantic import fit_scene, lattice_over
from geoseg.tiling import Block, Tiling

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["ObjectMap", "ObjectPlan", "linked", "plan_objects"]

_CANVAS_BYTES_PX = 4
_PARTS_BYTES_PX = 6
"""For each pixel where objects of 8 × 8 pixels lie wall to wall: their parts, as they come and put in order. In a town
it is less than one."""


class ObjectMap(NamedTuple):
    """What `geoseg.detect` gives."""

    map: xr.Dataset
    """``object``: uint32 (row, col), dask-backed; 0 = none, else the object's id."""
    table: Any
    """A `dask.delayed` table; ``table.compute()`` gives the DataFrame of `geoseg.objects.whole.tabulate`."""


@dataclass(frozen=True)
class ObjectPlan:
    """A scene that fits its model, and the lattice over it: a `Finder`, see `geoseg.finders`."""

    scene: Scene
    """The scene on the grid and with the bands that the model sees."""
    model: InstanceModel
    """What finds instances."""
    tiling: Tiling
    """The lattice over the scene's grid."""
    value_range: tuple[float, float] | None = None
    """Pixel values that become the lowest and highest of the model's data type."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """See `Finder.classes`."""
        return self.model.spec.classes

    @property
    def suffix(self) -> str:
        """See `Finder.suffix`."""
        return ".npz"

    @property
    def block_bytes(self) -> int:
        """See `Finder.block_bytes`."""
        return self.joining_bytes + self.tiling.block_bytes(
            bands=len(self.scene.bands),
            itemsize=np.dtype(self.scene.dtype).itemsize,
            classes=1,
            in_flight=self.model.in_flight,
        )

    @property
    def joining_bytes(self) -> int:
        """Projected peak memory of a block when its pixels are no longer needed: what it paints, and parts of it and of
        the tiles around."""
        rows, cols = (min(self.tiling.block_px, side) for side in self.tiling.shape)
        high, wide = (min(self.tiling.block_px + 3 * self.tiling.tile_px, side) for side in self.tiling.shape)
        return _CANVAS_BYTES_PX * rows * cols + _PARTS_BYTES_PX * high * wide

    def describe(self) -> dict[str, Any]:
        """See `Finder.describe`: there are none."""
        return {}

    def find(self, store: BlockStore, block: Block, report: Report) -> None:
        """See `Finder.find`: the parts of the block's own tiles."""
        found, pixels = [], block.pixels
        for parts in self.iter_parts(block):
            found.append(parts)
            step = min(self.tiling.stride_px**2, pixels)
            pixels -= step
            report(step)
        save_parts(Parts.concatenate(found), store.path(block))
        report(pixels)

    def number(self, store: BlockStore, each: Each) -> Numbers:
        """See `Finder.number`: parts of all blocks are linked, numbered, and what lies under others is left out."""
        first = number(list(each(partial(linked, self, store))))
        return finish(first, each(partial(_counted, self, store, first)))

    def paint(self, store: BlockStore, numbers: Numbers, block: Block) -> np.ndarray:
        """See `Finder.paint`."""
        return _paint(self.tiling, block, _load(self, store, *_touching(self.tiling, block)), numbers)

    def tabulate(self, numbers: Numbers, pixels: np.ndarray) -> pd.DataFrame:
        """See `Finder.tabulate`; with ``tiles`` and ``edge``."""
        return tabulate(numbers, pixels, self.model.spec.classes)

    def parts(self, block: Block) -> Parts:
        """What the block's own tiles see of objects."""
        return Parts.concatenate(list(self.iter_parts(block)))

    def iter_parts(self, block: Block) -> Iterator[Parts]:
        """The same, tile by tile."""
        rows, cols = own_tiles(self.tiling, block)
        if not rows or not cols:
            return
        tiles = iter_tiles(
            self.scene, self.tiling, rows, cols, value_range=self.value_range, dtype=self.model.spec.dtype
        )
        for tile, found in self.model.find(tiles):
            yield parts_of(self.tiling, tile, found)

    def blocks_of(self, rows: range, cols: range) -> list[Block]:
        """The blocks that hold the parts of these tiles, or of those around them."""
        (height, width), side = self.tiling.shape, self.tiling.block_px
        return [
            Block(row, col, (row * side, min((row + 1) * side, height)), (col * side, min((col + 1) * side, width)))
            for row, col in needed(self.tiling, rows, cols)
        ]

    def lazy(self) -> ObjectMap:
        """The map and the table, of one Dask task a block and step."""
        import dask
        import dask.array as da
        from odc.geo.xr import wrap_xr

        def later(function: Any, *args: Any) -> Any:
            return dask.delayed(function, pure=False)(*args)

        blocks = self.tiling.blocks()
        # A partial is opaque to Dask, which would take the dataclasses apart to look for its own collections.
        parts = {block: later(partial(self.parts, block)) for block in blocks}
        around = {block: self.blocks_of(*own_tiles(self.tiling, block)) for block in blocks}
        outlooks = [
            later(partial(_link, self.tiling, block), [parts[one] for one in around[block]]) for block in blocks
        ]
        near = {block: [parts[one] for one in self.blocks_of(*_touching(self.tiling, block))] for block in blocks}
        first = later(_number, outlooks)
        counts = [later(partial(_count, self.tiling, block), near[block], first) for block in blocks]
        numbers = later(finish, first, counts)
        grid: dict[int, list[Any]] = {}
        painted = []
        for block in blocks:
            ids = later(partial(_paint, self.tiling, block), near[block], numbers)
            painted.append(later(_count_ids, ids))
            grid.setdefault(block.row, []).append(da.from_delayed(ids, shape=block.shape, dtype=np.uint32))
        ids = da.concatenate([da.concatenate(row, axis=1) for row in grid.values()], axis=0)
        objects = wrap_xr(ids, self.scene.geobox, nodata=0)
        table = later(partial(_table, self.model.spec.classes), numbers, painted)
        return ObjectMap(xr.Dataset({"object": objects}), table)


def plan_objects(
    scene: Scene,
    model: InstanceModel,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 4096,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> ObjectPlan:
    """What `geoseg.detect` will do, with everything checked; see there for the parameters and what is raised."""
    spec = model.spec
    if spec.task != "instance-segmentation":
        raise MismatchError(
            f"Finding objects needs a model for instance-segmentation, but {spec.name} is for {spec.task}. Use "
            'classify for it, or choose classes to make objects of: objects="building", --objects building.'
        )
    fitted = fit_scene(scene, spec, resolution=resolution, value_range=value_range)
    return ObjectPlan(fitted, model, lattice_over(fitted, spec, tile_px, overlap_px, block_px), value_range)


def _touching(tiling: Tiling, block: Block) -> tuple[range, range]:
    return tiling.tile_rows(block), tiling.tile_cols(block)


def _load(plan: ObjectPlan, store: BlockStore, rows: range, cols: range) -> list[Parts]:
    """What these tiles see and those around them; of blocks beside, no more than that stays in memory."""
    wide, width = widened(plan.tiling, rows, cols), plan.tiling.lattice[1]
    blocks = plan.blocks_of(rows, cols)
    return [load_parts(store.path(block)).of_tiles(*wide, width) for block in blocks]


def linked(plan: ObjectPlan, store: BlockStore, block: Block) -> Outlook:
    """The first half of `ObjectPlan.number`, for one block."""
    return link(plan.tiling, block, _load(plan, store, *own_tiles(plan.tiling, block)))


def _counted(plan: ObjectPlan, store: BlockStore, numbers: Numbers, block: Block) -> tuple[np.ndarray, np.ndarray]:
    return _count(plan.tiling, block, _load(plan, store, *_touching(plan.tiling, block)), numbers)


def _link(tiling: Tiling, block: Block, around: list[Parts]) -> Outlook:
    return link(tiling, block, around)


def _number(outlooks: list[Outlook]) -> Numbers:
    return number(outlooks)


def _count(tiling: Tiling, block: Block, around: list[Parts], numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    return count(paint_block(tiling, block, around, numbers))


def _paint(tiling: Tiling, block: Block, around: list[Parts], numbers: Numbers) -> np.ndarray:
    ids = paint_block(tiling, block, around, numbers)
    ids += 1
    return ids.view(np.uint32)


def _count_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return count(ids.view(np.int32) - 1)


def _table(classes: Any, numbers: Numbers, counts: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    return tabulate(numbers, total(counts, len(numbers.found)), classes)
