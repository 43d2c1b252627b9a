"""geoseg: land-cover maps, polygons and areas that can be trusted, from georeferenced rasters of any size.

The names below are loaded when first used, so that ``import geoseg`` stays fast and loads no torch.

>>> import geoseg
>>> geoseg.__version__
'0.1.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "ClassInfo": "geoseg.classes",
    "GeosegError": "geoseg.errors",
    "ModelSpec": "geoseg.model",
    "PixelAreas": "geoseg.areas",
    "Scene": "geoseg.scene",
    "Tiling": "geoseg.tiling",
    "assess_map": "geoseg.sampling",
    "assess_objects": "geoseg.accuracy",
    "class_areas": "geoseg.areas",
    "class_map": "geoseg.classmap",
    "classify": "geoseg.semantic",
    "detect": "geoseg.finders",
    "draw_sample": "geoseg.sampling",
    "list_models": "geoseg.model",
    "load_model": "geoseg.networks",
    "map_change": "geoseg.change_pipeline",
    "map_objects": "geoseg.object_pipeline",
    "map_scene": "geoseg.pipeline",
    "open_class_map": "geoseg.classmap",
    "open_scene": "geoseg.scene",
    "plan_sample": "geoseg.sampling",
    "regularize": "geoseg.polygons",
    "sieve": "geoseg.polygons",
    "train": "geoseg.training.train",
    "train_few": "geoseg.training.few",
    "vectorize": "geoseg.layer",
    "write_class_map": "geoseg.classmap",
    "zone_areas": "geoseg.zonal",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
