"""The lazy way to a map of objects out of a map of classes: one Dask task a block and step, all in memory.

Between steps ground and patches are kept as runs, which take a fraction of a byte for each pixel of most maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoseg.instance import ObjectMap
from geoseg.objects.regions import (
    Load,
    Patches,
    Read,
    assemble,
    block_at,
    blocks_across,
    mark,
    mark_seeds,
    numbers_in,
    survey_of,
    window_around,
)
from geoseg.objects.regions_numbers import Lookup, Survey, number, number_seeds
from geoseg.objects.regions_patches import Runs
from geoseg.tiling import Block, Tiling

if TYPE_CHECKING:
    from geoseg.region.plan import RegionNumbers, RegionPlan

__all__ = ["lazy_map"]

Named = dict[Block, Any]
"""What some blocks have."""


def lazy_map(plan: RegionPlan) -> ObjectMap:
    """The map and the table of a plan, as Dask tasks."""
    import dask
    import dask.array as da
    from odc.geo.xr import wrap_xr

    def later(function: Any, *args: Any, block: Block | None = None) -> Any:
        # A partial is opaque to Dask, which would take the dataclasses apart to look for its own collections.
        known = (plan,) if block is None else (plan, block)
        return dask.delayed(partial(function, *known), pure=False)(*args)

    rules, tiling = plan.rules, plan.tiling
    blocks = tiling.blocks()
    across = blocks_across(tiling)
    cover = {block: dask.delayed(partial(plan.cover.block, block), pure=False)() for block in blocks}
    ground = {block: later(_ground, cover[block]) for block in blocks}

    def near(some: Named, block: Block, halo: int) -> tuple[list[tuple[int, int]], list[Any]]:
        window, _ = window_around(tiling, block, halo)
        found = _blocks_in(tiling, window)
        return [(one.row, one.col) for one in found], [some[one] for one in found]

    def surveys(patches: Named) -> list[Any]:
        return [later(_survey, *near(patches, block, 1), block=block) for block in blocks]

    deep, seeds = None, {}
    if rules.split_px is not None:
        seeds = {block: later(_seeds, *near(ground, block, rules.seed_halo_px), block=block) for block in blocks}
        deep = later(_number_seeds, across, surveys(seeds))
    patches = {
        block: later(
            _patches,
            cover[block],
            *near(ground, block, rules.mark_halo_px),
            deep,
            *(near(seeds, block, rules.mark_halo_px) if seeds else ([], [])),
            block=block,
        )
        for block in blocks
    }
    numbers = later(_number, across, surveys(patches))
    grid: dict[int, list[Any]] = {}
    painted = []
    for block in blocks:
        halo = rules.paint_halo_px
        ids = later(_paint, numbers, *near(ground, block, halo), near(patches, block, halo)[1], block=block)
        painted.append(later(_count, ids, block=block))
        grid.setdefault(block.row, []).append(da.from_delayed(ids, shape=block.shape, dtype=np.uint32))
    ids = da.concatenate([da.concatenate(row, axis=1) for row in grid.values()], axis=0)
    table = later(_table, numbers, painted)
    return ObjectMap(xr.Dataset({"object": wrap_xr(ids, plan.scene.geobox, nodata=0)}), table)


def _blocks_in(tiling: Tiling, window: tuple[slice, slice]) -> list[Block]:
    rows, cols = (range(span.start // tiling.block_px, (span.stop - 1) // tiling.block_px + 1) for span in window)
    return [block_at(tiling, row, col) for row in rows for col in cols]


def _kinds(plan: RegionPlan, places: Sequence[tuple[int, int]], ground: Sequence[Runs]) -> Read:
    known = dict(zip(places, ground, strict=True))
    return assemble(plan.tiling, lambda block, rows, cols: known[block.row, block.col].window(rows, cols), np.uint8)


def _load(places: Sequence[tuple[int, int]], patches: Sequence[Patches]) -> Load:
    known = dict(zip(places, patches, strict=True))
    return lambda block: known[block.row, block.col]


def _ground(plan: RegionPlan, cover: np.ndarray) -> Runs:
    return Runs.of(plan.kinds(cover[0]))


def _seeds(plan: RegionPlan, block: Block, places: Any, ground: Sequence[Runs]) -> Patches:
    return mark_seeds(plan.rules, plan.tiling, block, _kinds(plan, places, ground))


def _survey(plan: RegionPlan, block: Block, places: Any, patches: Sequence[Patches]) -> Survey:
    return survey_of(plan.tiling, block, _load(places, patches))


def _number_seeds(plan: RegionPlan, across: int, surveys: Sequence[Survey]) -> Lookup:
    return number_seeds(surveys, across)


def _patches(
    plan: RegionPlan,
    block: Block,
    cover: np.ndarray,
    places: Any,
    ground: Sequence[Runs],
    deep: Lookup | None,
    seed_places: Any,
    seeds: Sequence[Patches],
) -> Patches:
    reader = None if deep is None else numbers_in(plan.tiling, deep, _load(seed_places, seeds))
    return mark(plan.rules, plan.tiling, block, _kinds(plan, places, ground), cover[1], reader)


def _number(plan: RegionPlan, across: int, surveys: Sequence[Survey]) -> RegionNumbers:
    return plan.choose(plan.first_numbers(number(surveys, across)))


def _paint(
    plan: RegionPlan,
    block: Block,
    numbers: RegionNumbers,
    places: Any,
    ground: Sequence[Runs],
    patches: Sequence[Patches],
) -> np.ndarray:
    return plan.paint_with(numbers, block, _kinds(plan, places, ground), _load(places, patches))


def _count(plan: RegionPlan, block: Block, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids in a block, their pixels, and the ids at the scene's edge."""
    found, pixels = np.unique(ids[ids > 0], return_counts=True)
    (height, width) = plan.tiling.shape
    lines = [ids[:1]] * (block.rows[0] == 0) + [ids[-1:]] * (block.rows[1] == height)
    lines += [ids[:, :1]] * (block.cols[0] == 0) + [ids[:, -1:]] * (block.cols[1] == width)
    edge = np.unique(np.concatenate([np.zeros(1, np.uint32), *(line.ravel() for line in lines)]))
    return found, pixels, edge[edge > 0]


def _table(
    plan: RegionPlan, numbers: RegionNumbers, counts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Any:
    total, edge = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), bool)
    for found, pixels, touching in counts:
        total[found - 1] += pixels
        edge[touching - 1] = True
    table = plan.tabulate(numbers, total)
    return table.assign(edge=edge)
