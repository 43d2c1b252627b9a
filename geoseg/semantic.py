"""Semantic segmentation: tiles → blended probabilities → classes with their confidence.

`classify` is lazy; a `Plan` holds what is needed to compute any block of the map, in any process, with one answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoseg.allocator import release_memory
from geoseg.blocks import BlockStore, Report
from geoseg.classes import NODATA
from geoseg.errors import MismatchError, OptionError, SceneError
from geoseg.model import Model, ModelSpec
from geoseg.reading import iter_tiles
from geoseg.tiling import Block, Tile, Tiling

if TYPE_CHECKING:
    from geoseg.scene import Scene

__all__ = ["Plan", "classify", "fit_scene", "lattice_over", "make_plan"]

_DECIDED_ROWS = 64  # at once: deciding takes some twenty bytes a pixel


def classify(
    scene: Scene,
    model: Model,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 8192,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Classify every valid pixel of a scene, lazily.

    Parameters
    ----------
    scene
        From `geoseg.open_scene`, of any size.
    model
        From `geoseg.load_model`.
    tile_px, overlap_px
        Side of the network's tile and pixels shared by neighbours; by default what the model recommends.
    block_px
        Side of a Dask chunk in pixels. The result does not depend on it.
    resolution
        Ground size of a pixel in metres to work at, where the model's own range is not wanted.
    value_range
        Pixel values (low, high) that become the lowest and the highest value of the model's data type, where the
        scene's data type is another one.

    Returns
    -------
    xarray.Dataset
        ``class`` (uint8 class values, 255 = nodata) and ``confidence`` (uint8 percent of the winning class,
        255 = nodata), both (row, col), dask-backed; nothing is computed yet.

    Raises
    ------
    MismatchError
        The scene has not the bands, data type or resolution that the model needs.
    OptionError
        The tiling is impossible.

    Examples
    --------
    >>> import geoseg, geoseg.synthetic, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> path = geoseg.synthetic.write_scene(folder / "scene.tif", shape=(256, 256))
    >>> cover = geoseg.classify(geoseg.open_scene(path), geoseg.load_model("landcover-aerial"))
    >>> cover["class"].dtype, cover["class"].shape
    (dtype('uint8'), (256, 256))
    """
    plan = make_plan(
        scene,
        model,
        tile_px=tile_px,
        overlap_px=overlap_px,
        block_px=block_px,
        resolution=resolution,
        value_range=value_range,
    )
    return plan.dataset()


@dataclass(frozen=True)
class Plan:
    """A scene that fits its model, and the lattice over it: all that decides the map."""

    scene: Scene
    """The scene on the grid and with the bands that the model sees."""
    model: Model
    """What predicts."""
    tiling: Tiling
    """The lattice over the scene's grid."""
    value_range: tuple[float, float] | None = None
    """Pixel values that become the lowest and highest of the model's data type."""

    def rows_of(self, block: Block) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Classify a block from top to bottom: yields (first row in the block, classes, confidence), uint8.

        Memory is that of a few rows of tiles, however tall the block is.
        """
        canvas = _Canvas(self.model, self.tiling, block)
        for tile, valid, probabilities in self.model.predict(self._tiles(block)):
            yield from canvas.take(tile.row)  # no tile from here on touches the rows above it
            canvas.add(tile, valid, probabilities)
        yield from canvas.take(None)

    def block(self, block: Block) -> np.ndarray:
        """Classes and confidence of a block, uint8 (2, row, col)."""
        result = np.empty((2, *block.shape), np.uint8)
        for row, classes, confidence in self.rows_of(block):
            result[0, row : row + len(classes)] = classes
            result[1, row : row + len(classes)] = confidence
        return result

    def write(self, store: BlockStore, block: Block, report: Report) -> None:
        """One block, from pixels to a small GeoTIFF in the store; this is what a worker runs."""
        from geoseg.classmap import BlockWriter

        window = self.scene.geobox[slice(*block.rows), slice(*block.cols)]
        with BlockWriter(store.path(block), window) as writer:
            for row, classes, confidence in self.rows_of(block):
                writer.write(row, classes, confidence)
                report(classes.size)
        release_memory()  # of this block, which would lie under the peak of the next

    def dataset(self) -> xr.Dataset:
        """The whole map, lazily: one Dask task a block."""
        from functools import partial

        import dask
        import dask.array as da
        from odc.geo.xr import wrap_xr

        from geoseg.classmap import class_map

        grid: dict[int, list[Any]] = {}
        for block in self.tiling.blocks():
            # A partial is opaque to Dask, which would take the dataclasses apart to look for its own collections.
            task = dask.delayed(partial(self.block, block), pure=False)()
            values = da.from_delayed(task, shape=(2, *block.shape), dtype=np.uint8)
            grid.setdefault(block.row, []).append(values)
        both = da.concatenate([da.concatenate(row, axis=2) for row in grid.values()], axis=1)
        return xr.Dataset(
            {
                "class": class_map(both[0], self.scene.geobox, self.model.spec.classes),
                "confidence": wrap_xr(both[1], self.scene.geobox, nodata=NODATA, units="percent"),
            }
        )

    def bytes(self) -> int:
        """Projected peak memory of one block, in bytes."""
        return self.tiling.block_bytes(
            bands=len(self.scene.bands),
            itemsize=np.dtype(self.scene.dtype).itemsize,
            classes=len(self.model.spec.classes),
            in_flight=self.model.in_flight,
        )

    def _tiles(self, block: Block) -> Iterator[tuple[Tile, np.ndarray, np.ndarray]]:
        """The tiles of a block that have a valid pixel, in lattice order, with their pixels and validity."""
        rows, cols = self.tiling.tile_rows(block), self.tiling.tile_cols(block)
        return iter_tiles(
            self.scene, self.tiling, rows, cols, value_range=self.value_range, dtype=self.model.spec.dtype
        )


def make_plan(
    scene: Scene,
    model: Model,
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    block_px: int = 8192,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> Plan:
    """What `classify` will do, with everything checked; see there for the parameters and what is raised."""
    spec = model.spec
    if spec.task != "semantic-segmentation":
        raise MismatchError(
            f"A land-cover map needs a model for semantic-segmentation, but {spec.name} is for {spec.task}."
        )
    fitted = fit_scene(scene, spec, resolution=resolution, value_range=value_range)
    return Plan(fitted, model, lattice_over(fitted, spec, tile_px, overlap_px, block_px), value_range)


def lattice_over(scene: Scene, spec: ModelSpec, tile_px: int | None, overlap_px: int | None, block_px: int) -> Tiling:
    """The lattice over a scene that a model recommends, or with another tile side or overlap."""
    tile = spec.tile_px if tile_px is None else tile_px
    if tile % spec.divisor:
        raise OptionError(
            f"{spec.name} needs a tile side that is a multiple of {spec.divisor}, but it is {tile}. Change --tile."
        )
    overlap = min(spec.overlap_px, tile // 2) if overlap_px is None else overlap_px
    margin = min(spec.margin_px, overlap // 2)
    return Tiling((scene.geobox.shape[0], scene.geobox.shape[1]), tile, overlap, margin, block_px)


def fit_scene(
    scene: Scene,
    spec: ModelSpec,
    *,
    resolution: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> Scene:
    """The scene with the model's bands, on a grid that the model can see; see `classify` for what is raised."""
    try:
        fitted = scene.select(spec.bands)
    except SceneError as error:
        raise MismatchError(
            f"The model {spec.name} needs the bands {', '.join(spec.bands)}, but {scene.name} has "
            f"{', '.join(scene.bands)}. {_second_date(scene, spec)}Say which is which with --bands, for example "
            f"--bands {','.join(f'{band}={i}' for i, band in enumerate(spec.bands, 1))}."
        ) from error
    if np.dtype(fitted.dtype) != np.dtype(spec.dtype) and value_range is None:
        range_ = "0,65535 to leave numbers as they are" if spec.dtype == "uint16" else "0,3000"
        raise MismatchError(
            f"The model {spec.name} was made for {spec.dtype} pixels, but {scene.name} has {np.dtype(fitted.dtype)}. "
            f"Give the pixel values that are to become the darkest and the brightest, for example "
            f"--value-range {range_}."
        )
    if value_range is not None and not value_range[0] < value_range[1]:
        raise OptionError(f"--value-range must be two rising numbers, but is {value_range}.")
    if resolution is not None:
        if not resolution > 0:
            raise OptionError(f"The resolution must be a positive number of metres, but is {resolution}.")
        return fitted.on_grid(resolution)
    here, (finest, coarsest) = fitted.resolution_m, spec.resolution_range_m
    if here > coarsest * 1.01:
        raise MismatchError(
            f"The model {spec.name} sees pixels of {finest:g} to {coarsest:g} m, but those of {scene.name} are "
            f"{here:.3g} m. Use a model for that resolution, or give --resolution {coarsest:g} to enlarge them "
            "(expect a poor map)."
        )
    # Within the range the scene's own pixels are used, unless they are not squares on the ground.
    return fitted.on_grid(here if here >= finest * 0.99 else spec.resolution_m)


def _second_date(scene: Scene, spec: ModelSpec) -> str:
    """What to do where a model looks at two dates and the scene has one."""
    if not any(band.endswith("_2") for band in spec.bands) or any(band.endswith("_2") for band in scene.bands):
        return ""
    return "It looks at two dates: give the other one with --second second.tif, or stack both in one file. "


class _Canvas:
    """Where tiles are blended: the sums of weighted probabilities under one row of tiles, on the model's device.

    Tiles are added in lattice order, so the sum at a pixel is the same to the bit whichever block computes it.
    """

    def __init__(self, model: Model, tiling: Tiling, block: Block) -> None:
        self.model, self.tiling, self.block = model, tiling, block
        self.height = min(tiling.tile_px, block.shape[0])
        self.top = block.rows[0]  # the scene row of the canvas' first row
        self.sums = model.zeros((len(model.spec.classes), self.height, block.shape[1]))
        self.valid = np.zeros((self.height, block.shape[1]), bool)
        self._weights: dict[tuple[bool, ...], Any] = {}

    def add(self, tile: Tile, valid: np.ndarray, probabilities: Any) -> None:
        """Blend a tile's probabilities (class, row, col) in."""
        side, margin = self.tiling.tile_px, self.tiling.margin_px
        (first_row, last_row), (first_col, last_col) = self.block.rows, self.block.cols
        rows = max(tile.top_px + margin, first_row), min(tile.top_px + side - margin, last_row)
        cols = max(tile.left_px + margin, first_col), min(tile.left_px + side - margin, last_col)
        here = slice(rows[0] - self.top, rows[1] - self.top), slice(cols[0] - first_col, cols[1] - first_col)
        there = (
            slice(rows[0] - tile.top_px, rows[1] - tile.top_px),
            slice(cols[0] - tile.left_px, cols[1] - tile.left_px),
        )
        self.sums[:, *here] += probabilities[:, *there] * self._weight(tile)[there]
        self.valid[here] |= valid[there]

    def _weight(self, tile: Tile) -> Any:
        """Weights (row, col) of a tile: one of at most sixteen, by which scene borders it touches."""
        (rows, cols), weights = self.tiling.lattice, self.tiling.weights
        kind = (tile.row == 0, tile.row == rows - 1, tile.col == 0, tile.col == cols - 1)
        if kind not in self._weights:
            both = np.outer(weights(tile.row, rows), weights(tile.col, cols))
            self._weights[kind] = self.model.asarray(both)
        return self._weights[kind]

    def take(self, lattice_row: int | None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Decide the rows that tiles from `lattice_row` on (None: no more tiles) do not touch, and make room."""
        stop = self.block.rows[1]
        if lattice_row is not None:
            stop = min(stop, lattice_row * self.tiling.stride_px)
        while self.top < stop:
            count = min(stop - self.top, self.height)
            for row in range(0, count, _DECIDED_ROWS):
                rows = slice(row, min(row + _DECIDED_ROWS, count))
                channel, percent = self.model.decide(self.sums[:, rows])
                valid = self.valid[rows]
                classes = np.where(valid, self.model.spec.values[channel], np.uint8(NODATA))
                confidence = np.where(valid, percent, np.uint8(NODATA))
                yield self.top + row - self.block.rows[0], classes, confidence
            rest = self.height - count
            self.sums[:, :rest] = self.sums[:, count:] + 0  # "+ 0" copies, in numpy and torch alike
            self.sums[:, rest:] = 0
            self.valid[:rest] = self.valid[count:].copy()
            self.valid[rest:] = False
            self.top += count
