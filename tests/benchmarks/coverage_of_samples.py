"""How often 95 % intervals hold the truth, by the whole way: a sample is drawn, interpreted, and assessed.

    python tests/benchmarks/coverage_of_samples.py [samples]

On one map in UTM and one in degrees from the equator to 72° north. Beside, the same with pixels of one probability and
strata sized in pixels, as is often done; the count of pixels; and polygons as clusters.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_assess_map import FAR, LEGEND, NAMES, blocks, clustered, cover_of, interpreted, scene, true_areas

import geoseg
from geoseg.areas import PixelAreas
from geoseg.classmap import class_map, geobox_of
from geoseg.estimates import estimate_accuracy
from geoseg.sampling import assess_map, draw_sample


def of_points(where: str, samples: int) -> None:
    mapped, true = scene(tilt=True)
    cover = cover_of(mapped) if where == "UTM" else class_map(mapped.astype(np.uint8), FAR, LEGEND)
    areas = true_areas(true, cover) / 1e4
    right = PixelAreas(geobox_of(cover)).of(slice(0, 120), slice(0, 150))[mapped == true].sum() / areas.sum() / 1e4
    inside, forest, by_pixels = [], [], []
    for seed in range(samples):
        sample = draw_sample(cover, 300, allocation="equal", seed=seed)
        found = assess_map(cover, interpreted(sample, true, cover), design=sample.design)
        whole = found.accuracy.overall
        low, high = (found.areas.set_index("class_name")[side] for side in ("lower_ha", "upper_ha"))
        inside.append([whole["lower"] <= right <= whole["upper"], *(low <= areas) & (areas <= high)])
        forest.append(found.areas["area_ha"].iloc[0])
        by_pixels.append(with_equal_pixels(mapped, true, seed, areas))
    counted = geoseg.class_areas(cover)["area_ha"].iloc[0]
    print(f"{where}: {samples} samples of 300; forest is {areas['forest']:,.0f} ha, pixels count {counted:,.0f} ha")
    print(f"  mean estimate {np.mean(forest):,.0f} ha")
    print(f"  intervals hold overall accuracy, forest, field, water: {np.mean(inside, axis=0).round(3).tolist()}")
    print(f"  with pixels of one probability, sized in pixels, forest: {np.mean(by_pixels):.3f}")


def with_equal_pixels(mapped: np.ndarray, true: np.ndarray, seed: int, areas: pd.Series) -> bool:
    """Whether the interval of forest holds the truth if every pixel counts as much as any other."""
    rng = np.random.default_rng(seed)
    at = np.concatenate([rng.choice(np.flatnonzero(mapped == value), 100, replace=False) for value in NAMES])
    units = pd.DataFrame({"map": mapped.ravel()[at], "reference": true.ravel()[at]})
    sizes = {value: float((mapped == value).sum()) for value in NAMES}
    row = estimate_accuracy(units, sizes, stratum="map").of("proportion").loc[1]
    return bool(row["lower"] <= areas["forest"] / areas.sum() <= row["upper"])


def of_polygons(samples: int, number: int) -> None:
    mapped, true = clustered()
    cover = cover_of(mapped)
    every = blocks(cover, true)
    every["reference"] = [NAMES[value] for value in true[every["row"], every["col"]].tolist()]
    areas, right = true_areas(true, cover) / 1e4, (mapped == true).mean()
    inside, alone, effects = [], [], []
    for seed in range(samples):
        drawn: gpd.GeoDataFrame = every.sample(number, replace=True, random_state=seed)
        found = assess_map(cover, drawn)
        whole, effect = found.accuracy.overall, found.accuracy.design_effect
        low, high = (found.areas.set_index("class_name")[side] for side in ("lower_ha", "upper_ha"))
        inside.append([whole["lower"] <= right <= whole["upper"], *(low <= areas) & (areas <= high)])
        alone.append(abs(whole["estimate"] - right) <= 1.96 * whole["se"] / np.sqrt(effect))
        effects.append(effect)
    print(f"polygons: {samples} samples of {number} polygons of 25 pixels; mean design effect {np.mean(effects):.1f}")
    print(f"  intervals hold overall accuracy, forest, field, water: {np.mean(inside, axis=0).round(3).tolist()}")
    print(f"  as if pixels had been drawn one by one, overall accuracy: {np.mean(alone):.3f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    of_points("UTM", count)
    of_points("degrees", count)
    of_polygons(count, 90)
    of_polygons(count, 200)
