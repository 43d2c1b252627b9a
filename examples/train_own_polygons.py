# %% [markdown]
# # Teach a network classes of your own from drawn polygons
#
# The scene is drawn by geoseg itself, so the truth is known. The "drawn" polygons are squares of 8 m in which there is
# one class only. Our own classes are others than those of the model that we start from.

# %%
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np

import geoseg
import geoseg.synthetic

SIDE, SQUARE, EACH = 640, 16, 30
CLASSES = {0: "built", 1: "built", 2: "open", 3: "water", 4: "open"}

folder = Path(tempfile.mkdtemp())
picture = geoseg.synthetic.write_scene(
    folder / "scene.tif", shape=(SIDE, SIDE), seed=3, truth_path=folder / "truth.tif"
)
scene, truth = geoseg.open_scene(picture), np.asarray(geoseg.open_class_map(folder / "truth.tif"))

# %%
names, shapes = [], []
drawn = dict.fromkeys(CLASSES, 0)
for row, col in np.random.default_rng(1).integers(0, SIDE - SQUARE, (20_000, 2)):
    window = np.s_[row : row + SQUARE, col : col + SQUARE]
    value = int(truth[window][0, 0])
    if (truth[window] == value).all() and drawn[value] < EACH:
        drawn[value] += 1
        names.append(CLASSES[value])
        shapes.append(scene.geobox[window].extent.geom)
labels = gpd.GeoDataFrame({"class": names}, geometry=shapes, crs=str(scene.geobox.crs))
labels.to_file(folder / "labels.gpkg")
print(f"{len(labels)} polygons: {labels['class'].value_counts().to_dict()}")

# %% [markdown]
# On the command line: `geoseg train scene.tif --labels labels.gpkg --start landcover-aerial --out model`. Here it stops
# after less than a minute; without `minutes` it goes on until the blocks that are kept apart are learnt no better.

# %%
result = geoseg.train(
    picture, folder / "labels.gpkg", folder / "model", start="landcover-aerial", minutes=0.8, tile_px=64
)
print(f"mean IoU {result.miou:.3f} on blocks that were not learnt from: {result.folder / 'report.html'}")

# %%
cover = geoseg.classify(scene, geoseg.load_model(result.folder))["class"]
mapped = np.array([info.name for info in result.spec.classes])[cover.values]
right = (mapped == np.vectorize(CLASSES.get)(truth)).mean()
print(f"{right:.1%} of all pixels are right; {labels.area.sum() / truth.size * 4:.1%} were labelled")
