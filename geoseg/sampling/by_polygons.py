"""A map against polygons that were looked up as a whole: clusters of pixels."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import xarray as xr

from geoseg.errors import OptionError
from geoseg.estimates import estimate_from_clusters
from geoseg.sampling.by_points import labelled
from geoseg.sampling.found import Found
from geoseg.sampling.lookup import NO_CLASS, class_parts
from geoseg.sampling.naming import Naming
from geoseg.zones import check_areas

__all__ = ["assess_polygons"]


def assess_polygons(
    class_map: xr.DataArray,
    reference: gpd.GeoDataFrame,
    *,
    column: str,
    naming: Naming,
    counted: pd.DataFrame,
    confidence: float,
) -> Found:
    """See `geoseg.assess_map`."""
    filled, left_out = labelled(reference, column)
    check_areas(filled, name="the reference")
    parts = class_parts(class_map, filled)
    no_class = parts["value"] == NO_CLASS
    parts, without = parts[~no_class], int(parts["pixels"][no_class].sum())
    if not len(parts):
        raise OptionError(
            f"Map and reference overlap, but none of {len(filled)} polygons holds the centre of a pixel with a class. "
            "Check that both are of one place, and their CRS."
        )
    left_out["without_a_pixel_of_the_map"] = len(filled) - parts["cluster"].nunique()
    left_out["pixels_where_the_map_has_no_data"] = without
    reference_names = [naming.of_reference(value) for value in filled[column]]
    parts = parts.assign(
        map=[naming.of_map(value) for value in parts["value"]],
        reference=[reference_names[at] for at in parts["cluster"]],
    )
    names = [naming.of_map(value) for value in counted["class"]]
    sizes = counted.set_axis(names)["area_m2"].groupby(level=0, sort=False).sum()
    there = set(names) | set(reference_names)
    classes = [name for name in naming.known if name in there] + sorted(there - set(naming.known))
    accuracy = estimate_from_clusters(parts, sizes, classes=classes, confidence=confidence)
    held = parts.groupby("map")["cluster"].nunique()
    pixels = counted.set_axis(names)["pixels"].groupby(level=0, sort=False).sum()
    strata = pd.DataFrame(
        {
            "stratum": sizes.index,
            "area_m2": sizes.to_numpy(),
            "pixels": pixels.to_numpy(),
            "units": held.reindex(sizes.index).to_numpy(),
        }
    )
    effect = accuracy.design_effect
    facts = {
        "design": "given",
        "strata": "map classes",
        "units": int(parts["cluster"].nunique()),
        "pixels": int(parts["pixels"].sum()),
        "area_m2": float(parts["area"].sum()),
        "design_effect": effect,
    }
    notes = [
        "Polygons are clusters: the figures hold if they were drawn at random among polygons, not where they were "
        "chosen because they are easy to tell."
    ]
    if effect == effect and effect is not None:
        notes.append(
            f"The variance of overall accuracy is {effect:.1f} times that of as many pixels drawn one by one (design "
            "effect)."
        )
    return Found(accuracy, strata, left_out, facts, None, notes)
