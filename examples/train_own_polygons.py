"""Teach a network the classes of some drawn polygons, then map with it: python examples/train_own_polygons.py

Draws a scene, "draws" polygons on it (pieces of the known land cover, as a person would), trains for a minute, and maps
a second scene that the network has never seen. Runs in under two minutes on a processor.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

import geoseg
import geoseg.synthetic
from geoseg.synthetic.draw import CLASSES

SIDE = 768
MINUTES = 0.8


def draw_polygons(truth: Path, scene: geoseg.Scene, count: int = 60) -> gpd.GeoDataFrame:
    """Rectangles of 12 m that lie within one class of the truth, about as many of each class."""
    values = np.asarray(geoseg.open_class_map(truth))
    names = {info.value: info.name for info in CLASSES}
    rng = np.random.default_rng(1)
    found: dict[int, list[shapely.Geometry]] = {value: [] for value in names}
    for row, col in rng.integers(0, SIDE - 24, (20_000, 2)):
        window = np.s_[row : row + 24, col : col + 24]
        inside = np.unique(values[window])
        if len(inside) == 1 and len(found.get(int(inside[0]), [()] * count)) < count // len(names):
            found[int(inside[0])].append(scene.geobox[window].extent.geom)
    rows = [(names[value], shape) for value, shapes in found.items() for shape in shapes]
    return gpd.GeoDataFrame({"class": [n for n, _ in rows]}, geometry=[s for _, s in rows], crs=str(scene.geobox.crs))


def main() -> None:
    """Draw, train, map, compare."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        seed: geoseg.synthetic.write_scene(
            folder / f"scene{seed}.tif", shape=(SIDE, SIDE), seed=seed, truth_path=folder / f"truth{seed}.tif"
        )
        for seed in (3, 4)
    }
    labels = draw_polygons(folder / "truth3.tif", geoseg.open_scene(pictures[3]))
    labels.to_file(folder / "labels.gpkg")
    print(f"{len(labels)} polygons: {labels['class'].value_counts().to_dict()}")

    result = geoseg.train(
        pictures[3], folder / "labels.gpkg", folder / "model", start="landcover-aerial", minutes=MINUTES, tile_px=128
    )
    print(f"mean IoU {result.miou:.3f} on blocks that were not learned from: {result.folder / 'report.html'}")

    for name in ("landcover-aerial", result.folder):
        model = geoseg.load_model(name)
        cover = geoseg.classify(geoseg.open_scene(pictures[4]), model)["class"]
        truth = np.asarray(geoseg.open_class_map(folder / "truth4.tif"))
        print(f"{model.spec.name}: {(cover.values == truth).mean():.1%} of the pixels of another scene are right")


if __name__ == "__main__":
    main()
