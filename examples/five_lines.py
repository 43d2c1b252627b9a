"""The library in five lines, on a scene that geoseg draws itself: lazily from a raster to polygons and areas."""

import tempfile
from pathlib import Path

import geoseg
import geoseg.synthetic

folder = Path(tempfile.mkdtemp())
path = geoseg.synthetic.write_scene(folder / "ortho.tif", shape=(512, 512), seed=3)

scene = geoseg.open_scene(path)
model = geoseg.load_model("landcover-aerial")
cover = geoseg.classify(scene, model)  # xarray.Dataset: class, confidence; nothing is computed yet
parcels = geoseg.vectorize(cover["class"])  # GeoDataFrame
table = geoseg.class_areas(cover["class"])  # DataFrame: class, pixels, area_m2, area_ha, share

print(f"{len(parcels)} polygons in {parcels.crs}")
print(table.to_string(index=False))
assert parcels.pixels.sum() == 512 * 512
