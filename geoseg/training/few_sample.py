"""Labelled pixels of scenes of any size, chosen polygon by polygon, with the features that a map would show there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
import torch
from odc.geo.geobox import GeoBox

from geoseg.networks.few_network import FewLabels
from geoseg.scene import Scene
from geoseg.tiling import reflect
from geoseg.training.labels import Labels

__all__ = ["Places", "choose_places", "features_at", "values_at"]

_CELL_PX = 256
_CELLS = 16
"""Cells of one polygon that are looked into: more would only tell the same again."""


@dataclass(frozen=True, eq=False)
class Places:
    """Labelled pixels of one scene."""

    rows: np.ndarray
    """(pixel,) int64 rows of the scene."""
    cols: np.ndarray
    """(pixel,) int64 columns."""
    polygon: np.ndarray
    """(pixel,) int64 rows of the labels' table."""

    def keep(self, chosen: np.ndarray) -> Places:
        """Some of them, by a bool for each."""
        return Places(self.rows[chosen], self.cols[chosen], self.polygon[chosen])


def choose_places(scene: Scene, labels: Labels, limit: int, seed: int = 0) -> Places:
    """Pixels of each polygon, at most `limit`, drawn at random but always the same.

    A pixel belongs to a polygon that its centre lies in and whose class `Labels.burn` gives it. In a polygon that
    covers more than 16 cells of 256 pixels a side, only 16 are looked into, drawn at random.

    Parameters
    ----------
    scene
        Where they lie.
    labels
        Polygons in the scene's CRS.
    limit
        Pixels of a polygon, at most.
    seed
        Of the draws.
    """
    found: list[np.ndarray] = []
    for number, (shape, value) in enumerate(zip(labels.frame.geometry, labels.frame["class"], strict=True)):
        generator = np.random.default_rng([seed, number])
        cells = list(_cells_under(scene, shape))
        if len(cells) > _CELLS:
            cells = [cells[i] for i in sorted(generator.choice(len(cells), _CELLS, replace=False))]
        inside = [_inside(scene, labels, shape, int(value), rows, cols) for rows, cols in cells]
        places = np.concatenate(inside) if inside else np.empty((0, 2), np.int64)
        if len(places) > limit:
            places = places[np.sort(generator.choice(len(places), limit, replace=False))]
        found.append(np.column_stack([places, np.full(len(places), number)]))
    rows, cols, polygon = np.concatenate(found).astype(np.int64).T
    return Places(rows, cols, polygon)


def _cells_under(scene: Scene, shape: shapely.Geometry) -> Iterator[tuple[slice, slice]]:
    """Windows of at most a cell that the polygon touches, row by row."""
    height, width = scene.geobox.shape
    west, south, east, north = shape.bounds
    corners = [~scene.geobox.affine * (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    top, bottom = max(int(min(rows)), 0), min(int(max(rows)) + 1, height)
    left, right = max(int(min(cols)), 0), min(int(max(cols)) + 1, width)
    for row in range(top, bottom, _CELL_PX):
        for col in range(left, right, _CELL_PX):
            window = slice(row, min(row + _CELL_PX, bottom)), slice(col, min(col + _CELL_PX, right))
            if shape.intersects(scene.geobox[window].extent.geom):
                yield window


def _inside(scene: Scene, labels: Labels, shape: shapely.Geometry, value: int, rows: slice, cols: slice) -> np.ndarray:
    """Rows and columns (pixel, 2) of the polygon's valid pixels in a window."""
    geobox = scene.geobox[rows, cols]
    row, col = np.nonzero((labels.burn(geobox) == value) & scene.read(rows, cols).valid)
    mine = shapely.contains_xy(shape, *_ground(geobox, row, col))
    return np.column_stack([row[mine] + rows.start, col[mine] + cols.start])


def _ground(geobox: GeoBox, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of pixel centres."""
    a, b, x, c, d, y = tuple(geobox.affine)[:6]
    return a * (col + 0.5) + b * (row + 0.5) + x, c * (col + 0.5) + d * (row + 0.5) + y


def values_at(scene: Scene, places: Places) -> np.ndarray:
    """The stored pixel values, (pixel, band) in the scene's data type."""

    def read(top: int, left: int) -> np.ndarray:
        height, width = scene.geobox.shape
        rows, cols = slice(top, min(top + _CELL_PX, height)), slice(left, min(left + _CELL_PX, width))
        return scene.read(rows, cols).values

    return _by_cell(places, read)


def features_at(scene: Scene, places: Places, network: FewLabels, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The network's features, (pixel, feature) float32: the same numbers that it computes in any tile of a map.

    `mean` and `std` (band,) scale the stored values as the package's metadata will.
    """
    margin = -(-network.radius // network.divisor) * network.divisor
    side = _CELL_PX + 2 * margin
    height, width = scene.geobox.shape
    center, spread = (np.asarray(given, np.float32)[:, None, None] for given in (mean, std))

    def compute(top: int, left: int) -> np.ndarray:
        rows, cols = reflect(top - margin, side, height), reflect(left - margin, side, width)
        pixels = scene.read(slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
        place = (rows - rows.min())[:, None], cols - cols.min()
        values, valid = pixels.values[:, *place].astype(np.float32), pixels.valid[place]
        scaled = np.where(valid, (values - center) / spread, np.float32(0))
        with torch.inference_mode():
            features = network.features(torch.from_numpy(scaled[None]))[0].numpy()
        return features[:, margin : margin + _CELL_PX, margin : margin + _CELL_PX]

    return _by_cell(places, compute)


def _by_cell(places: Places, compute: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Values (pixel, channel), computed cell by cell as (channel, row, col) from a cell's first row and column."""
    cells = np.column_stack([places.rows, places.cols]) // _CELL_PX
    out: np.ndarray | None = None
    for cell in np.unique(cells, axis=0):
        here = (cells == cell).all(axis=1)
        top, left = (int(number) * _CELL_PX for number in cell)
        values = compute(top, left)[:, places.rows[here] - top, places.cols[here] - left]
        if out is None:
            out = np.empty((len(places.rows), len(values)), values.dtype)
        out[here] = values.T
    assert out is not None
    return out
