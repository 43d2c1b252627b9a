"""A class map against a reference: accuracy, and areas adjusted for the map's errors, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg.areas import class_areas
from geoseg.classmap import geobox_of
from geoseg.errors import OptionError
from geoseg.estimates import MapAccuracy
from geoseg.sampling.by_census import assess_census
from geoseg.sampling.by_points import assess_points
from geoseg.sampling.by_polygons import assess_polygons
from geoseg.sampling.design import SampleDesign
from geoseg.sampling.found import Found
from geoseg.sampling.frame import Strata
from geoseg.sampling.methods import methods_text
from geoseg.sampling.naming import Crosswalk, naming_of

__all__ = ["MapAssessment", "assess_map"]


@dataclass(frozen=True, eq=False)
class MapAssessment:
    """What `assess_map` finds."""

    accuracy: MapAccuracy
    """Matrix and measures; areas in m²."""
    areas: pd.DataFrame
    """A row for each class: ``class_name``, ``mapped_pixels``, ``mapped_ha`` (the count of pixels, in true area),
    ``area_ha`` (the estimate), ``se_ha``, ``lower_ha``, ``upper_ha``, ``mapped_share``, ``share`` (of the whole)."""
    strata: pd.DataFrame
    """A row for each stratum: ``stratum``, ``area_m2``, ``pixels``, ``units`` (in the estimate). Empty for a census."""
    kind: str
    """What the reference is: ``points``, ``polygons`` or ``census`` (a raster)."""
    left_out: dict[str, int]
    """How many features or pixels of the reference do not count, by reason."""
    notes: list[str]
    """What a reader must know."""
    settings: dict[str, Any]
    """The options, and what was found out about the reference."""
    methods: str
    """Text for a paper's methods section, true to what was done."""


def assess_map(
    class_map: xr.DataArray,
    reference: gpd.GeoDataFrame | xr.DataArray,
    *,
    reference_column: str = "reference",
    design: SampleDesign | None = None,
    strata: Strata | None = None,
    strata_field: str | None = None,
    post_stratify: bool = False,
    merge_strata: Mapping[str, str] | None = None,
    crosswalk: Crosswalk | None = None,
    confidence: float = 0.95,
) -> MapAssessment:
    """Hold a class map against a reference.

    **Points** are sample units: the map's class is read in the pixel in which each lies. With the `design` that
    `geoseg.draw_sample` gave, strata and their sizes are those that the units were drawn from. Without, the strata are
    the map's classes or `strata`, and units must have been drawn at random within each (or at random over the whole
    map).

    **Polygons** are clusters of pixels: see `geoseg.estimates.estimate_from_clusters`. They must have been drawn at
    random among polygons. With a `design` (pixel squares), they are units like points.

    **A raster** is a census of the part that it covers: there, everything is exact and has no sampling error.

    Reference values are names of the map's legend, in any case of letters, or its numbers. Another name is a class that
    the map does not have: it is kept, has an area, and a producer's accuracy of 0. Rows without a reference value and
    those outside the map or where it has no data are left out and counted.

    Parameters
    ----------
    class_map
        The map.
    reference
        Points or polygons with a column of classes, in any CRS; or a class map.
    reference_column
        The column.
    design
        How the reference was drawn.
    strata, strata_field
        What parted the map when the units were drawn, or is to part it now; see `geoseg.draw_sample`. Only for points.
    post_stratify
        With the design of a simple or systematic sample: use the map's classes as strata all the same, which makes the
        intervals narrower (poststratification; Card 1982, Olofsson et al. 2014).
    merge_strata
        ``{stratum: other stratum}``: a stratum with too few units is taken for a part of another one that it
        resembles, and one that is not there yet is made.
    crosswalk
        What classes of map and reference are called in common, ``{class: common class}``; strata keep their names.
    confidence
        Of the intervals, 0..1.

    Raises
    ------
    OptionError
        No such column, no reference value or no place at all; map and reference do not overlap; a stratum with too few
        units (it is named); a slip of the pen; options that do not go together.
    SceneError
        A map without CRS or grid, or not of classes.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500400, 100), "EPSG:32632", resolution=100)
    >>> cover = class_map(np.array([[1, 1, 1, 2]], np.uint8), grid, [ClassInfo(1, "land"), ClassInfo(2, "water")])
    >>> at = [500050, 500150, 500250, 500350, 500360]
    >>> points = gpd.GeoDataFrame({"reference": ["land", "land", "water", "water", 2]},
    ...                           geometry=gpd.points_from_xy(at, [50] * 5), crs="EPSG:32632")
    >>> found = assess_map(cover, points)
    >>> found.areas[["class_name", "mapped_ha", "area_ha"]].round(2).values.tolist()
    [['land', 3.0, 2.0], ['water', 1.0, 2.0]]
    """
    if not 0 < confidence < 1:
        raise OptionError(f"A confidence lies between 0 and 1, but it is {confidence}. 0.95 is usual.")
    counted = class_areas(class_map)
    counted = counted[counted["pixels"] > 0]
    if not len(counted):
        raise OptionError("A map that is assessed has pixels with a class, but this one has none. Give another map.")
    naming = naming_of(class_map, counted["class"], crosswalk)
    options = {"design": design, "strata": strata, "post_stratify": post_stratify, "merge_strata": merge_strata}
    kind = _kind_of(reference, design)
    if kind != "points":
        given = [name for name, value in options.items() if value is not None and value is not False]
        if given:
            raise OptionError(
                f"{', '.join(given)}: for a sample of points, but the reference is {_TOLD[kind]}. Leave it out."
            )
    if kind == "census":
        found = assess_census(class_map, reference, naming=naming, confidence=confidence)
    else:
        _check_features(reference, reference_column)
        if kind == "polygons":
            found = assess_polygons(
                class_map, reference, column=reference_column, naming=naming, counted=counted, confidence=confidence
            )
        else:
            found = assess_points(
                class_map,
                reference,
                column=reference_column,
                naming=naming,
                counted=counted,
                design=design,
                strata=strata,
                strata_field=strata_field,
                post_stratify=post_stratify,
                merge_strata=merge_strata or {},
                confidence=confidence,
            )
    settings = {
        "reference_column": None if kind == "census" else reference_column,
        "strata_field": strata_field,
        "post_stratify": post_stratify,
        "merge_strata": dict(merge_strata or {}),
        "crosswalk": naming.rules,
        "confidence": confidence,
        **found.facts,
    }
    areas = _areas(found.mapped if found.mapped is not None else counted, found.accuracy, naming)
    return MapAssessment(
        found.accuracy,
        areas,
        found.strata,
        kind,
        found.left_out,
        _notes(found, areas, naming),
        settings,
        methods_text(found, kind, areas, design=design, crosswalk=naming.rules, grid=geobox_of(class_map)),
    )


_TOLD = {"polygons": "polygons", "census": "a raster"}


def _kind_of(reference: Any, design: SampleDesign | None) -> str:
    if isinstance(reference, xr.DataArray):
        return "census"
    shapes = np.asarray(reference.geometry.values, dtype=object)
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    kinds = {part.replace("Multi", "") for part in {shape.geom_type for shape in shapes}}
    if not kinds:
        raise OptionError("A reference has points or polygons, but this one has no geometry at all. Check the layer.")
    if len(kinds) > 1 or not kinds <= {"Point", "Polygon"}:
        raise OptionError(
            f"A reference has points or polygons, but this one has {' and '.join(sorted(kinds))}. Choose another "
            "layer, or split it."
        )
    return "points" if kinds == {"Point"} or design is not None else "polygons"


def _check_features(reference: gpd.GeoDataFrame, column: str) -> None:
    columns = [str(name) for name in reference.columns if name != reference.geometry.name]
    if column not in columns:
        raise OptionError(
            f"The reference has the columns {', '.join(columns) or '(none)'}, but not {column!r}. Name the one with "
            "the classes: --reference-column."
        )
    if reference.crs is None:
        raise OptionError("A reference needs a CRS, but it has none. Assign the one that its coordinates are in.")


def _areas(counted: pd.DataFrame, accuracy: MapAccuracy, naming: Any) -> pd.DataFrame:
    """Counted and estimated area of each class."""
    mapped = counted.assign(class_name=[naming.of_map(value) for value in counted["class"]])
    mapped = mapped.groupby("class_name")[["pixels", "area_m2"]].sum()
    found = accuracy.areas.set_axis([str(name) for name in accuracy.areas.index])
    whole = float(found["estimate"].sum())
    rows = mapped.reindex(found.index).fillna(0)
    return pd.DataFrame(
        {
            "class_name": found.index,
            "mapped_pixels": rows["pixels"].astype("int64").to_numpy(),
            "mapped_ha": rows["area_m2"].to_numpy() / 1e4,
            "area_ha": found["estimate"].to_numpy() / 1e4,
            "se_ha": found["se"].to_numpy() / 1e4,
            "lower_ha": found["lower"].to_numpy() / 1e4,
            "upper_ha": found["upper"].to_numpy() / 1e4,
            "mapped_share": rows["area_m2"].to_numpy() / float(mapped["area_m2"].sum()),
            "share": found["estimate"].to_numpy() / whole,
        }
    )


def _notes(found: Found, areas: pd.DataFrame, naming: Any) -> list[str]:
    notes = list(found.notes)
    alone = [name for name in areas["class_name"] if name not in naming.known]
    if alone:
        notes.append(f"Only the reference has {', '.join(alone)}: the map finds nothing of it.")
    return notes
