"""Instance segmentation: tiles → instances of each → objects, each once, however many tiles saw it.

`detect` is lazy; an `ObjectPlan` holds what is needed to look for objects in any block, in any process, with one
answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from geoseg.errors import MismatchError
from geoseg.model import InstanceModel
from geoseg.objects.parts import Parts, parts_of
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
)
from geoseg.reading import iter_tiles
from geoseg.semantic import fit_scene, lattice_over
from geoseg.tiling import Block, Tiling

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["ObjectMap", "ObjectPlan", "detect", "plan_objects"]


class ObjectMap(NamedTuple):
    """What `detect` gives."""

    map: xr.Dataset
    """``object``: uint32 (row, col), dask-backed; 0 = none, else the object's id."""
    table: Any
    """A `dask.delayed` table; ``table.compute()`` gives the DataFrame of `geoseg.objects.whole.tabulate`."""


def detect(
    scene: Scene,
    model: InstanceModel,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 4096,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> ObjectMap:
    """Find every object of a scene once, lazily.

    What tiles see of an object is joined by comparing the pixels that two tiles both saw, and what one tile told apart
    stays apart; see `geoseg.objects`. Neither the objects nor their ids depend on blocks or workers.

    Parameters
    ----------
    scene
        From `geoseg.open_scene`, of any size.
    model
        From `geoseg.load_model`, for instance segmentation.
    tile_px, overlap_px, block_px, resolution, value_range
        See `geoseg.classify`. The smallest objects should fit into the overlap; larger ones are joined.

    Returns
    -------
    ObjectMap
        The map and the table. The model runs when either is computed; compute both at once
        (``dask.compute(map, table)``) to have it run once.

    Raises
    ------
    MismatchError
        The scene has not the bands, data type or resolution that the model needs, or the model gives classes.
    OptionError
        The tiling is impossible.
    """
    plan = plan_objects(
        scene,
        model,
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
    )
    return plan.lazy()


@dataclass(frozen=True)
class ObjectPlan:
    """A scene that fits its model, and the lattice over it."""

    scene: Scene
    """The scene on the grid and with the bands that the model sees."""
    model: InstanceModel
    """What finds instances."""
    tiling: Tiling
    """The lattice over the scene's grid."""
    value_range: tuple[float, float] | None = None
    """Pixel values that become the lowest and highest of the model's data type."""

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

    def around_own(self, block: Block) -> list[Block]:
        """The blocks whose parts `link` needs."""
        return self._blocks(needed(self.tiling, *own_tiles(self.tiling, block)))

    def around(self, block: Block) -> list[Block]:
        """The blocks whose parts are needed to paint a block."""
        return self._blocks(needed(self.tiling, self.tiling.tile_rows(block), self.tiling.tile_cols(block)))

    def _blocks(self, places: list[tuple[int, int]]) -> list[Block]:
        (height, width), side = self.tiling.shape, self.tiling.block_px
        return [
            Block(row, col, (row * side, min((row + 1) * side, height)), (col * side, min((col + 1) * side, width)))
            for row, col in places
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
        outlooks = [
            later(partial(_link, self.tiling, block), [parts[one] for one in self.around_own(block)])
            for block in blocks
        ]
        near = {block: [parts[one] for one in self.around(block)] for block in blocks}
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
    """What `detect` will do, with everything checked; see there for the parameters and what is raised."""
    spec = model.spec
    if spec.task != "instance-segmentation":
        raise MismatchError(
            f"Finding objects needs a model for instance-segmentation, but {spec.name} is for {spec.task}. Use "
            "`geoseg map` or classify for it."
        )
    fitted = fit_scene(scene, spec, resolution=resolution, value_range=value_range)
    return ObjectPlan(fitted, model, lattice_over(fitted, spec, tile_px, overlap_px, block_px), value_range)


def _link(tiling: Tiling, block: Block, around: list[Parts]) -> Outlook:
    return link(tiling, block, around)


def _number(outlooks: list[Outlook]) -> Numbers:
    return number(outlooks)


def _count(tiling: Tiling, block: Block, around: list[Parts], numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    return count(paint_block(tiling, block, around, numbers))


def _paint(tiling: Tiling, block: Block, around: list[Parts], numbers: Numbers) -> np.ndarray:
    return (paint_block(tiling, block, around, numbers) + 1).astype(np.uint32)


def _count_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return count(ids.astype(np.int64) - 1)


def _table(classes: Any, numbers: Numbers, counts: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    return tabulate(numbers, counts, classes)
