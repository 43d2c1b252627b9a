"""A scene in memory, and a model with a known receptive field, for tests that need neither a file nor a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from odc.geo.geobox import GeoBox
from scipy.ndimage import convolve1d

from geoseg.classes import ClassInfo
from geoseg.model import ModelSpec, NumpyModel

CLASSES = (ClassInfo(0, "dark", "#202020"), ClassInfo(3, "bright", "#f0f0f0"))


@dataclass(frozen=True, eq=False)
class MemoryScene:
    """What `classify` needs of a scene, over an array."""

    values: np.ndarray
    valid: np.ndarray
    bands: tuple[str, ...] = ("gray",)
    name: str = "memory"
    resolution_m: float = 1.0

    @property
    def geobox(self) -> GeoBox:
        rows, cols = self.valid.shape
        return GeoBox.from_bbox((500_000, 0, 500_000 + cols, rows), "EPSG:32633", resolution=1)

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def read(self, rows: slice, cols: slice) -> SimpleNamespace:
        assert 0 <= rows.start < rows.stop <= self.valid.shape[0]
        assert 0 <= cols.start < cols.stop <= self.valid.shape[1]
        return SimpleNamespace(values=self.values[:, rows, cols], valid=self.valid[rows, cols])

    def select(self, bands: tuple[str, ...]) -> MemoryScene:
        return replace(self, bands=tuple(bands))

    def on_grid(self, resolution_m: float) -> MemoryScene:
        return replace(self, resolution_m=resolution_m)


def random_scene(seed: int, shape: tuple[int, int], holes: float = 0.2) -> MemoryScene:
    """Smooth blobs (so that classes have some size) with rectangular holes of invalid pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (shape[0] // 7 + 2, shape[1] // 7 + 2))
    values = np.repeat(np.repeat(coarse, 7, 0), 7, 1)[: shape[0], : shape[1]]
    values = np.clip(values + rng.integers(-40, 40, shape), 0, 255).astype(np.uint8)
    valid = np.ones(shape, bool)
    if rng.random() < 0.8:
        for _ in range(3):
            top, left = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            tall, wide = (int(side * holes) + 1 for side in shape)
            valid[top : top + tall, left : left + wide] = False
    return MemoryScene(values[None], valid)


def box_model(radius: int, **spec: object) -> NumpyModel:
    """P(bright) is the mean of the (2 radius + 1)² window, zero-padded at the tile's border as a network pads."""
    kernel = np.ones(2 * radius + 1, np.int64)

    def predict(scaled: np.ndarray) -> np.ndarray:
        sums = scaled[:, 0].astype(np.int64)  # integers: the mean of a window does not depend on where the tile lies
        for axis in (1, 2):
            sums = convolve1d(sums, kernel, axis=axis, mode="constant")
        bright = (sums / (255 * kernel.size**2)).astype(np.float32)
        return np.stack([1 - bright, bright], axis=1)

    given = {"bands": ("gray",), "mean": (0.0,), "std": (1.0,), "classes": CLASSES, **spec}
    return NumpyModel(ModelSpec("box", **given), predict)
