"""Small class maps and rasters for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine

from geoseg.classes import ClassInfo

LEGEND = (
    ClassInfo(0, "bare land", "#d2b48c"),
    ClassInfo(1, "water & ice", "#1f6fb4"),
    ClassInfo(3, 'the "old" <wood>', "#228833"),
    ClassInfo(7, "Straße", "#ee3333"),
)
UTM = Affine(10, 0, 5e5, 0, -10, 5e6)
GEOGRAPHIC = Affine(1 / 3000, 0, 85.1234567, 0, -1 / 3000, 27.7)
ROTATED = Affine(10, 2, 5e5, 3, -10, 5e6)


def grid(shape: tuple[int, int], transform: Affine = UTM, crs: Any = "EPSG:32632") -> GeoBox:
    return GeoBox(shape, transform, crs)


def patchy(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Patches of the legend's classes with a hole of nodata."""
    rng = np.random.default_rng(seed)
    small = rng.choice(np.array([0, 1, 3, 7], np.uint8), size=(shape[0] // 16 + 1, shape[1] // 16 + 1))
    values = np.kron(small, np.ones((16, 16), np.uint8))[: shape[0], : shape[1]]
    values[: shape[0] // 4, : shape[1] // 3] = 255
    return values


def write_raster(path: Path, values: np.ndarray, **options: Any) -> Path:
    bands = values if values.ndim == 3 else values[None]
    mask = options.pop("mask", None)
    profile = {"driver": "GTiff", "crs": "EPSG:32632", "transform": UTM, **options}
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype, **profile
    ) as dataset:
        dataset.write(bands)
        if mask is not None:
            dataset.write_mask(mask)
    return path
