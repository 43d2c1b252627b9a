"""Finding objects: what every way of it can do, block by block, and which one is taken for a model.

Instances that a model finds in tiles are joined by comparing tiles (`geoseg.instance`). What comes after, the map of
ids, polygons and tables, is the same for all ways and knows a `Finder` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from geoseg.blocks import BlockStore, Each, Report
from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.instance import ObjectMap, plan_objects
from geoseg.region import plan_regions
from geoseg.tiling import Block, Tiling

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["Finder", "Numbering", "detect", "finder_of"]


class Numbering(Protocol):
    """Which objects there are in the scene. It is sent to workers, so it holds no pixels and can be pickled."""

    def __len__(self) -> int:
        """How many objects."""

    def keep(self, kept: np.ndarray, /) -> Numbering:
        """Only some of the objects, bool (object,), numbered anew in the same order."""


class Finder(Protocol):
    """Finds the objects of a scene in three steps: `find` each block, `number` them all, `paint` each block.

    It can be pickled. No result depends on how the scene is cut into blocks. A function that is given to `Each` must be
    picklable too.
    """

    @property
    def scene(self) -> Scene:
        """The scene on the grid and with the bands that the model sees."""

    @property
    def model(self) -> Any:
        """What looks at tiles: a `Model` or an `InstanceModel`."""

    @property
    def tiling(self) -> Tiling:
        """The lattice over the scene's grid, and its cut into blocks."""

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Pixel values that become the lowest and highest of the model's data type."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes that objects may have."""

    @property
    def suffix(self) -> str:
        """How the names of the files end that `find` leaves."""

    @property
    def block_bytes(self) -> int:
        """Projected peak memory of one block in any of the steps, without the model's weights and activations."""

    def describe(self) -> dict[str, Any]:
        """Its own options, JSON-able, for the record of a run."""

    def find(self, store: BlockStore, block: Block, report: Report) -> None:
        """From pixels to what is known of a block, in its file of the store; only this asks the model."""

    def number(self, store: BlockStore, each: Each) -> Any:
        """The objects of the scene, when all blocks are found: a `Numbering` that this finder understands."""

    def paint(self, store: BlockStore, numbers: Any, block: Block) -> np.ndarray:
        """uint32 (row, col): the ids of a block, 0 = none. The ids of a scene are 1, 2, ... without a gap."""

    def tabulate(self, numbers: Any, pixels: np.ndarray) -> pd.DataFrame:
        """A row for each object, in the order of ids: ``object_id``, ``class``, ``class_name``, ``score``, ``pixels``,
        and what else is known of it. `pixels` is int64 (object,): how many each has in the map."""

    def lazy(self) -> ObjectMap:
        """The map and the table, as Dask tasks."""


def finder_of(
    scene: Scene,
    model: Any,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 4096,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
    objects: str | Sequence[str] | None = None,
    split: str | float | None = None,
) -> Finder:
    """The way to find what a model sees, by its decoding, with everything checked; see `detect` for what is raised."""
    options: dict[str, Any] = {
        "tile_px": tile_px,
        "overlap_px": overlap_px,
        "block_px": block_px,
        "resolution": resolution,
        "value_range": value_range,
    }
    if model.spec.decoding == "boundary" or (objects is not None and not model.spec.finds_objects):
        return plan_regions(scene, model, objects=objects, split=split, **options)
    if objects is not None or split is not None:
        raise OptionError(
            f"Classes to make objects of (--objects) and --split are for maps, but {model.spec.name} finds objects. "
            "Leave them out."
            if model.spec.finds_objects
            else f"--split goes with objects of a class, but none is chosen of {model.spec.name}. Give --objects."
        )
    return plan_objects(scene, model, **options)


def detect(
    scene: Scene,
    model: Any,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 4096,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
    objects: str | Sequence[str] | None = None,
    split: str | float | None = None,
) -> ObjectMap:
    """Find every object of a scene once, lazily.

    Where a model finds instances, what tiles see of an object is joined by comparing the pixels that two tiles both
    saw, and what one tile told apart stays apart; see `geoseg.objects`. Where a model maps objects and their
    boundaries, or land cover, objects are made of the map as a whole; see `geoseg.objects.regions`. Neither the objects
    nor their ids depend on blocks or workers.

    Parameters
    ----------
    scene
        From `geoseg.open_scene`, of any size.
    model
        From `geoseg.load_model`: for instance segmentation, or with the decoding boundary; or, with `objects`, any.
    tile_px, overlap_px, block_px, resolution, value_range
        See `geoseg.classify`. The smallest objects should fit into the overlap; larger ones are joined.
    objects
        Of a model for land cover, the class or classes whose regions are objects: pixels of one class that hang
        together by their sides. Where the model also has a class ``NAME boundary``, the one named class grows into it.
    split
        Of objects that are made of a map: they are split where they are narrower than twice this length (``"3px"``,
        ``"1.5m"``), between parts that are wider than three times this; by default they are not.

    Returns
    -------
    ObjectMap
        The map and the table. The model runs when either is computed; compute both at once
        (``dask.compute(map, table)``) to have it run once.

    Raises
    ------
    MismatchError
        The scene has not the bands, data type or resolution that the model needs, or the model gives classes, of which
        none is chosen.
    OptionError
        The tiling is impossible, there is no such class, or `objects` or `split` do not go with the model.
    """
    finder = finder_of(
        scene,
        model,
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
        objects=objects,
        split=split,
    )
    return finder.lazy()
