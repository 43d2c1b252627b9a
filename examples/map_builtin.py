# %% [markdown]
# # Map a scene with the built-in model
#
# From a raster to polygons and areas in five lines. The scene is drawn by geoseg itself, so it needs no download and
# the truth is known; put the path of your own orthophoto in its place.

# %%
import tempfile
from pathlib import Path

import geoseg
import geoseg.synthetic

folder = Path(tempfile.mkdtemp())
path = geoseg.synthetic.write_scene(folder / "ortho.tif", shape=(512, 512), seed=3)

# %% [markdown]
# Nothing is computed until it is asked for: `cover` is an xarray Dataset over Dask, with `class` and `confidence`.

# %%
scene = geoseg.open_scene(path)
model = geoseg.load_model("landcover-aerial")
cover = geoseg.classify(scene, model)
parcels = geoseg.vectorize(cover["class"])  # GeoDataFrame
table = geoseg.class_areas(cover["class"])  # DataFrame: class, pixels, area_m2, area_ha, share

print(f"{len(parcels)} polygons in {parcels.crs}")
print(table.to_string(index=False))
assert parcels.pixels.sum() == 512 * 512

# %% [markdown]
# The same as a folder that QGIS opens styled, as `geoseg map ortho.tif --out map` makes it.

# %%
result = geoseg.map_scene(path, "landcover-aerial", folder / "map", min_area="20m2", simplify="1px")
print(*sorted(file.name for file in result.folder.iterdir()), sep="\n")
