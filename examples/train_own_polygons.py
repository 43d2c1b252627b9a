"""Teach a network classes of your own from drawn polygons, then map with it: python examples/train_own_polygons.py

Draws a scene, "draws" squares on it (pieces of the known land cover, as a person would), trains for less than a minute,
maps the scene, and compares with the truth wherever nobody has drawn. Runs in under two minutes on a processor.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np

import geoseg
import geoseg.synthetic

SIDE, SQUARE = 640, 16
MINUTES = 0.8
CLASSES = {0: "built", 1: "built", 2: "open", 3: "water", 4: "open"}
"""Our own classes, of the values of the truth: other ones than those of the model that we start from."""


def draw_polygons(truth: np.ndarray, scene: geoseg.Scene, count: int = 30) -> gpd.GeoDataFrame:
    """Squares of 8 m in which there is one class only, at most so many of each value of the truth."""
    rng = np.random.default_rng(1)
    names, shapes = [], []
    drawn = dict.fromkeys(CLASSES, 0)
    for row, col in rng.integers(0, SIDE - SQUARE, (20_000, 2)):
        window = np.s_[row : row + SQUARE, col : col + SQUARE]
        value = int(truth[window][0, 0])
        if (truth[window] == value).all() and drawn[value] < count:
            drawn[value] += 1
            names.append(CLASSES[value])
            shapes.append(scene.geobox[window].extent.geom)
    return gpd.GeoDataFrame({"class": names}, geometry=shapes, crs=str(scene.geobox.crs))


def main() -> None:
    """Draw, train, map, compare."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    picture = geoseg.synthetic.write_scene(
        folder / "scene.tif", shape=(SIDE, SIDE), seed=3, truth_path=folder / "truth.tif"
    )
    scene, truth = geoseg.open_scene(picture), np.asarray(geoseg.open_class_map(folder / "truth.tif"))
    labels = draw_polygons(truth, scene)
    labels.to_file(folder / "labels.gpkg")
    print(f"{len(labels)} polygons: {labels['class'].value_counts().to_dict()}")

    result = geoseg.train(
        picture, folder / "labels.gpkg", folder / "model", start="landcover-aerial", minutes=MINUTES, tile_px=64
    )
    print(f"mean IoU {result.miou:.3f} on blocks that were not learned from: {result.folder / 'report.html'}")

    cover = geoseg.classify(scene, geoseg.load_model(result.folder))["class"]
    mapped = np.array([info.name for info in result.spec.classes])[cover.values]
    right = mapped == np.vectorize(CLASSES.get)(truth)
    print(f"{right.mean():.1%} of all pixels are right; {labels.area.sum() / right.size * 4:.1%} were labelled")


if __name__ == "__main__":
    main()
