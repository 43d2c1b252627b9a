"""The demo: a scene with known land cover, mapped with the built-in model and compared with what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoseg.classes import NODATA
from geoseg.classmap import iter_strips, open_class_map
from geoseg.pipeline import MapResult, map_scene
from geoseg.progress import Progress
from geoseg.synthetic import write_scene

__all__ = ["agreement", "run_demo"]


def run_demo(
    out: Path, *, side_px: int = 1536, seed: int = 7, progress: Progress | None = None
) -> tuple[MapResult, float]:
    """Draw a scene of `side_px` pixels a side, map it, and give the result with the share of pixels that agree.

    The folder holds ``scene.tif``, ``truth.tif`` (what was drawn) and ``map/`` (what `map_scene` leaves).
    """
    progress = progress or Progress()
    out.mkdir(parents=True)
    progress.stage("draw")
    truth = out / "truth.tif"
    scene = write_scene(out / "scene.tif", shape=(side_px, side_px), seed=seed, truth_path=truth)
    result = map_scene(scene, "landcover-aerial", out / "map", progress=progress)
    return result, agreement(result.folder / "classes.tif", truth)


def agreement(class_map: Path, truth: Path) -> float:
    """The share of pixels, valid in both maps of one grid, that have the same class."""
    same = seen = 0
    strips = zip(iter_strips(open_class_map(class_map)), iter_strips(open_class_map(truth)), strict=True)
    for (_, mapped), (_, true) in strips:
        both = (mapped != NODATA) & (true != NODATA)
        same += int(np.count_nonzero((mapped == true) & both))
        seen += int(np.count_nonzero(both))
    return same / seen if seen else float("nan")
