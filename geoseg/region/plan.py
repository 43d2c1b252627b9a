"""Objects out of a map: tiles → blended classes → objects, of a map of boundaries or of chosen classes.

A `RegionPlan` makes the class map block by block as `geoseg.classify` does, and objects of the map as a whole, so there
is nothing to join across tiles. See `geoseg.objects.regions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geoseg.blocks import BlockStore, Each, Report
from geoseg.classes import ClassInfo
from geoseg.classmap import read_block
from geoseg.errors import OptionError
from geoseg.instance import ObjectMap
from geoseg.model import Model, ModelSpec
from geoseg.objects.regions import (
    Load,
    Read,
    Rules,
    assemble,
    blocks_across,
    kinds_of,
    mark,
    mark_seeds,
    numbers_in,
    paint,
    survey_of,
)
from geoseg.objects.regions_numbers import Found, Lookup, Survey, number, number_seeds
from geoseg.objects.regions_patches import load_patches, save_patches
from geoseg.semantic import Plan, make_plan
from geoseg.tiling import Block, Tiling
from geoseg.units import parse_length, with_unit

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["RegionNumbers", "RegionPlan", "plan_regions"]

_BYTES_PX = 48
"""Of memory for each pixel of a block with its halo, in any step after the map: numbers twice, ground, a queue."""


@dataclass(frozen=True, eq=False)
class RegionNumbers:
    """Which object each patch of the scene belongs to, and which objects are kept."""

    lookup: Lookup
    """Objects of patches, from 1 on."""
    found: Found
    """What is known of all objects, also of those that are not kept."""
    edge: np.ndarray
    """(object,) bool: True where it touches the scene's edge."""
    ids: np.ndarray
    """(object + 1,) uint32: the id of each, 0 where it is not kept; the first is for where there is no object."""

    def __len__(self) -> int:
        """How many objects are kept."""
        return int(self.ids.max())

    def keep(self, kept: np.ndarray) -> RegionNumbers:
        """See `geoseg.finders.Numbering.keep`; what is left out leaves all others as they are."""
        fresh = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.uint32)
        return replace(self, ids=fresh[self.ids])


@dataclass(frozen=True)
class RegionPlan:
    """A map that can be made, and how objects are made of it: a `Finder`, see `geoseg.finders`."""

    cover: Plan
    """What makes the map."""
    classes: tuple[ClassInfo, ...]
    """The classes of objects."""
    boundary: int | None = None
    """The value of boundary in the map; None = there is none."""
    rules: Rules = field(default_factory=Rules)
    """How objects are made."""
    min_score: float = 0.0
    """Lowest score of an object, 0..1."""

    @property
    def scene(self) -> Scene:
        """See `geoseg.finders.Finder.scene`."""
        return self.cover.scene

    @property
    def model(self) -> Model:
        """See `geoseg.finders.Finder.model`."""
        return self.cover.model

    @property
    def tiling(self) -> Tiling:
        """See `geoseg.finders.Finder.tiling`."""
        return self.cover.tiling

    @property
    def value_range(self) -> tuple[float, float] | None:
        """See `geoseg.finders.Finder.value_range`."""
        return self.cover.value_range

    @property
    def suffix(self) -> str:
        """See `geoseg.finders.Finder.suffix`."""
        return ".tif"

    @property
    def block_bytes(self) -> int:
        """See `geoseg.finders.Finder.block_bytes`."""
        halo = max(self.rules.paint_halo_px, self.rules.mark_halo_px, self.rules.seed_halo_px)
        rows, cols = (min(self.tiling.block_px + 2 * halo, side) for side in self.tiling.shape)
        return max(self.cover.bytes(), _BYTES_PX * rows * cols)

    def describe(self) -> dict[str, Any]:
        """See `geoseg.finders.Finder.describe`."""
        chosen = {"objects": [info.name for info in self.classes], "boundary": self.boundary}
        return {**chosen, **asdict(self.rules), "min_score": self.min_score}

    def find(self, store: BlockStore, block: Block, report: Report) -> None:
        """See `geoseg.finders.Finder.find`: the class map of the block, as `geoseg.map_scene` keeps it."""
        self.cover.write(store, block, report)

    def number(self, store: BlockStore, each: Each) -> RegionNumbers:
        """See `geoseg.finders.Finder.number`; patches are kept beside the class maps of blocks."""
        deep, across = None, blocks_across(self.tiling)
        if self.rules.split_px is not None:
            for _ in each(partial(_store_seeds, self, store)):
                pass
            deep = number_seeds(list(each(partial(_survey_stored, self, store, "seeds"))), across)
        for _ in each(partial(_store_patches, self, store, deep)):
            pass
        surveys = list(each(partial(_survey_stored, self, store, "patches")))
        numbers = self.first_numbers(number(surveys, across))
        for some in each(partial(_edge_stored, self, store, numbers)):
            numbers.edge[some - 1] = True
        return self.choose(numbers)

    def paint(self, store: BlockStore, numbers: RegionNumbers, block: Block) -> np.ndarray:
        """See `geoseg.finders.Finder.paint`."""
        return self.paint_with(numbers, block, _stored_kinds(self, store), _stored(store, "patches"))

    def tabulate(self, numbers: RegionNumbers, pixels: np.ndarray) -> pd.DataFrame:
        """See `geoseg.finders.Finder.tabulate`; with ``edge``. The score is the mean confidence inside, 0..1."""
        kept, found = numbers.ids[1:] > 0, numbers.found
        index = found.kind[kept].astype(np.int64) - 1
        return pd.DataFrame(
            {
                "object_id": np.arange(1, len(numbers) + 1),
                "class": np.array([info.value for info in self.classes], np.int64)[index],
                "class_name": np.array([info.name for info in self.classes], object)[index],
                "score": _scores(found)[kept].astype(np.float32),
                "pixels": pixels,
                "edge": numbers.edge[kept],
            }
        )

    def lazy(self) -> ObjectMap:
        """See `geoseg.finders.Finder.lazy`."""
        from geoseg.region.tasks import lazy_map

        return lazy_map(self)

    def kinds(self, classes: np.ndarray) -> np.ndarray:
        """Kinds of ground, of class values; see `geoseg.objects.regions.kinds_of`."""
        return kinds_of(classes, [info.value for info in self.classes], self.boundary)

    def first_numbers(self, found: tuple[Lookup, Found]) -> RegionNumbers:
        """All objects, before any is left out; where they touch the scene's edge is not known yet."""
        lookup, objects = found
        ids = np.arange(len(objects) + 1, dtype=np.uint32)
        return RegionNumbers(lookup, objects, np.zeros(len(objects), bool), ids)

    def choose(self, numbers: RegionNumbers) -> RegionNumbers:
        """Those that are sure enough."""
        return numbers.keep(_scores(numbers.found) >= self.min_score)

    def paint_with(self, numbers: RegionNumbers, block: Block, kinds: Read, load: Load) -> np.ndarray:
        """The ids of a block, given what reads ground and what loads patches."""
        objects = numbers_in(self.tiling, numbers.lookup, load)
        painted = paint(self.rules, self.tiling, block, kinds, objects)
        return painted if len(numbers) == len(numbers.found) else numbers.ids[painted]


def plan_regions(
    scene: Scene,
    model: Model,
    *,
    objects: str | Sequence[str] | None = None,
    split: str | float | None = None,
    **options: Any,
) -> RegionPlan:
    """How objects will be made of a model's map, with everything checked.

    Parameters
    ----------
    scene, model, options
        See `geoseg.semantic.make_plan`.
    objects, split
        See `geoseg.detect`.

    Raises
    ------
    MismatchError
        The scene and the model do not fit; see `geoseg.classify`.
    OptionError
        The model has no such class, or the length is none.
    """
    spec = model.spec
    known = {info.name: info for info in spec.classes}
    by_default = spec.classes[1:2] if spec.decoding == "boundary" else ()
    wanted = [objects] if isinstance(objects, str) else list(objects or [info.name for info in by_default])
    if not wanted or len(set(wanted)) < len(wanted) or not known.keys() >= set(wanted):
        raise OptionError(
            f"--objects takes classes of the model, each once, but is {', '.join(wanted) or 'empty'}. Those of "
            f"{spec.name} are {', '.join(known)}."
        )
    cover = make_plan(scene, model, **options)
    split_px = None if split is None else _pixels(split, cover.scene)
    chosen, boundary = tuple(known[name] for name in wanted), _boundary_of(spec, wanted)
    if boundary is None:
        return RegionPlan(cover, chosen, rules=Rules(split_px=split_px))
    return RegionPlan(cover, chosen, boundary.value, Rules(spec.grow_px, spec.borders, split_px), spec.min_score)


def _boundary_of(spec: ModelSpec, wanted: Sequence[str]) -> ClassInfo | None:
    """The class that lies between objects: the decoding says it, or the name of a class, ``field boundary``."""
    if len(wanted) > 1:
        return None
    if spec.decoding == "boundary" and wanted[0] == spec.classes[1].name:
        return spec.classes[2]
    return next((info for info in spec.classes if info.name == f"{wanted[0]} boundary"), None)


def _pixels(split: str | float, scene: Scene) -> float:
    length = with_unit(parse_length(split, option="--split"), scene.geobox.crs, option="--split")
    return length.value if length.unit == "px" else length.value / scene.resolution_m


def _scores(found: Found) -> np.ndarray:
    return found.percent / (100 * found.pixels)


def _file(store: BlockStore, what: str, block: Block) -> Path:
    return store.folder / f"{block.name}.{what}.npz"


def _stored(store: BlockStore, what: str) -> Load:
    return lambda block: load_patches(_file(store, what, block))


def _stored_kinds(plan: RegionPlan, store: BlockStore) -> Read:
    def of_block(block: Block, rows: slice, cols: slice) -> np.ndarray:
        return plan.kinds(read_block(store.path(block), rows, cols))

    return assemble(plan.tiling, of_block, np.uint8)


def _store_seeds(plan: RegionPlan, store: BlockStore, block: Block) -> None:
    seeds = mark_seeds(plan.rules, plan.tiling, block, _stored_kinds(plan, store))
    save_patches(seeds, _file(store, "seeds", block))


def _store_patches(plan: RegionPlan, store: BlockStore, deep: Lookup | None, block: Block) -> None:
    whole = slice(0, block.shape[0]), slice(0, block.shape[1])
    percent = read_block(store.path(block), *whole, band="confidence")
    seeds = None if deep is None else numbers_in(plan.tiling, deep, _stored(store, "seeds"))
    patches = mark(plan.rules, plan.tiling, block, _stored_kinds(plan, store), percent, seeds)
    save_patches(patches, _file(store, "patches", block))


def _survey_stored(plan: RegionPlan, store: BlockStore, what: str, block: Block) -> Survey:
    return survey_of(plan.tiling, block, _stored(store, what))


def _edge_stored(plan: RegionPlan, store: BlockStore, numbers: RegionNumbers, block: Block) -> np.ndarray:
    """Ids of the objects that touch the scene's edge in a block."""
    (height, width), (top, bottom), (left, right) = plan.tiling.shape, block.rows, block.cols
    lines = [
        replace(block, rows=(top, top + 1)) if top == 0 else None,
        replace(block, rows=(bottom - 1, bottom)) if bottom == height else None,
        replace(block, cols=(left, left + 1)) if left == 0 else None,
        replace(block, cols=(right - 1, right)) if right == width else None,
    ]
    found = [np.zeros(0, np.uint32), *(np.unique(plan.paint(store, numbers, line)) for line in lines if line)]
    ids = np.unique(np.concatenate(found))
    return ids[ids > 0]
