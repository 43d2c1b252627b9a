# %% [markdown]
# # Numbers to publish
#
# A map is not a measurement: where it takes one class for another, its areas are wrong, and counting pixels does not
# say by how much. Here a drawn place is mapped at two dates. Its areas are summed by district, judged by a reference
# sample, and compared. geoseg has drawn the place itself, so we can see whether the intervals hold the truth.

# %%
import tempfile
from pathlib import Path

import geopandas as gpd
import shapely

import geoseg
import geoseg.synthetic
from geoseg.sampling import draw_sample

folder = Path(tempfile.mkdtemp())
names = {info.value: info.name for info in geoseg.synthetic.CLASSES}
maps = []
for date in (0, 1):
    path = geoseg.synthetic.write_scene(
        folder / f"ortho_{date}.tif", shape=(640, 640), seed=7, date=date, truth_path=folder / f"truth_{date}.tif"
    )
    maps.append(geoseg.map_scene(path, "landcover-aerial", folder / f"map_{date}").folder / "classes.tif")
cover = geoseg.open_class_map(maps[0])

# %% [markdown]
# ## By district
#
# Zones may lie in any CRS. A pixel that their border crosses counts with the part that lies in the district.
#
#     geoseg areas classes.tif --zones districts.gpkg --zone-field name --out by_district

# %%
left, bottom, right, top = cover.odc.geobox.extent.boundingbox.bbox
middle = (left + right) / 2 + 3.21
districts = gpd.GeoDataFrame(
    {"name": ["west", "east"]},
    geometry=[shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)],
    crs=cover.odc.geobox.crs.to_wkt(),
).to_crs("EPSG:4326")
by_district = geoseg.zone_areas(cover, districts, zone_field="name")
print(by_district.table[["zone", "class_name", "area_ha", "share"]].round(3).to_string(index=False))

# %% [markdown]
# ## With confidence intervals
#
#     geoseg sample classes.tif --n 400 --at-least 40 --out sample.gpkg
#
# gives a layer with an empty column and a drop-down of the classes: somebody looks at each place on better imagery,
# without seeing what the map says there. Here the truth does it.
#
#     geoseg assess classes.tif sample.gpkg --out accuracy
#
# Of intervals of 95 %, one in twenty misses the truth; more of them where errors are rare, as in water.

# %%
sample = draw_sample(cover, 400, at_least=40)
truth = geoseg.open_class_map(folder / "truth_0.tif")
places = [~truth.odc.geobox.transform * (point.x, point.y) for point in sample.units.geometry]
seen = [names[int(truth.values[int(row), int(col)])] for col, row in places]
found = geoseg.assess_map(cover, sample.units.assign(reference=seen), design=sample.design)

true_ha = geoseg.class_areas(truth).set_index("class")["area_ha"].rename(names)
table = found.areas.set_index("class_name")[["mapped_ha", "area_ha", "lower_ha", "upper_ha"]]
table["true_ha"] = true_ha
print(table.round(2).to_string())
print(found.methods.split("\n")[0])

inside = (table["lower_ha"] <= table["true_ha"]) & (table["true_ha"] <= table["upper_ha"])
nearer = (table["area_ha"] - table["true_ha"]).abs().sum() < (table["mapped_ha"] - table["true_ha"]).abs().sum()
print(f"{inside.sum()} of {len(inside)} intervals hold the truth")
assert inside.sum() >= 3
assert nearer  # than counting pixels

# %% [markdown]
# ## Change
#
#     geoseg change before.tif after.tif --dates 2018,2024 --min-area 20m2 --gain building --out change
#
# Most of what two maps show as change is the errors of both. That is why areas of change need a sample of the map of
# change, too: `geoseg sample change/change.tif`, then `geoseg change ... --reference sample.gpkg`.

# %%
change = geoseg.map_change(maps, folder / "change", dates=(2018, 2024), gain="building", min_area="20m2")
print(change.patches[["class_name", "patches", "area_ha", "largest_ha"]].round(3).to_string(index=False))
print(sorted(path.name for path in change.folder.iterdir()))
