"""A map against sample units: points, or pixels that were drawn."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr

from geoseg.areas import class_areas
from geoseg.errors import OptionError
from geoseg.estimates import estimate_accuracy
from geoseg.sampling.design import SampleDesign
from geoseg.sampling.found import Found
from geoseg.sampling.frame import Strata, frame_of
from geoseg.sampling.lookup import pixels_at, values_at
from geoseg.sampling.naming import Naming

__all__ = ["assess_points", "labelled"]

_FEW = 10


def assess_points(
    class_map: xr.DataArray,
    reference: gpd.GeoDataFrame,
    *,
    column: str,
    naming: Naming,
    counted: pd.DataFrame,
    design: SampleDesign | None,
    strata: Strata | None,
    strata_field: str | None,
    post_stratify: bool,
    merge_strata: Mapping[str, str],
    confidence: float,
) -> Found:
    """See `geoseg.assess_map`."""
    _check_options(design, strata, post_stratify)
    filled, left_out = labelled(reference, column)
    frame = frame_of(class_map, strata, strata_field=strata_field, counted=counted)
    rows, cols = pixels_at(_places(filled), frame.classes)
    values, valid = values_at(frame.classes, rows, cols)
    what = "the_map" if strata is None else "map_or_strata"
    left_out[f"outside_{what}"] = int((rows < 0).sum())
    left_out[f"without_data_in_{what}"] = int(((rows >= 0) & ~valid).sum())
    if not valid.any():
        raise OptionError(
            f"Map and reference overlap, but of {len(filled)} points with a class none lies in a pixel with a class. "
            "Check that both are of one place, and their CRS."
        )
    filled, values, rows, cols = filled[valid], values[valid], rows[valid], cols[valid]
    if design is not None and not post_stratify:
        stratum = _by_design(filled, design)
        sizes, pixels = design.sizes, design.pixels
        left_out["missing_from_the_file"] = max(0, len(design.units) - len(reference))
    else:
        in_strata = values_at(frame.strata, rows, cols)[0] if strata is not None else values
        stratum = frame.table["stratum"].to_numpy()[frame.numbered(in_strata)]
        sizes, pixels = frame.sizes, frame.pixels
    names = {name: merge_strata.get(name, name) for name in sizes.index}
    _check_merge(merge_strata, list(sizes.index))
    units = pd.DataFrame(
        {
            "stratum": [names[name] for name in stratum],
            "map": [naming.of_map(value) for value in values],
            "reference": [naming.of_reference(value) for value in filled[column]],
        }
    )
    sizes, pixels = (part.groupby(names, sort=False).sum() for part in (sizes, pixels))
    held = None if design is None else pixels  # without a design, nobody knows that no pixel was drawn twice
    _check_filled(units, sizes, held)
    accuracy = estimate_accuracy(units, sizes, classes=_classes(units, naming), populations=held, confidence=confidence)
    number = units["stratum"].value_counts()
    table = pd.DataFrame(
        {
            "stratum": sizes.index,
            "area_m2": sizes.to_numpy(),
            "pixels": pixels.to_numpy(),
            "units": [int(number.get(name, 0)) for name in sizes.index],
        }
    )
    facts = {
        "design": "given" if design is None else design.settings["design"],
        "strata": frame.kind if design is None or post_stratify else design.settings["strata"],
        "strata_are_its_classes": bool((units["stratum"] == units["map"]).all()),
        "merged": dict(merge_strata),
        "finite_population_correction": held is not None,
        "units": len(units),
    }
    mapped = class_areas(frame.classes) if strata is not None else None
    notes = _notes(design, sizes, frame.sizes, frame.outside_m2) + _too_sure(units, held)
    notes += _few_errors(accuracy.counts)
    return Found(accuracy, table, left_out, facts, mapped, notes)


def labelled(reference: gpd.GeoDataFrame, column: str) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """The rows with a place and a reference value, and how many have none; raises `OptionError` where all have none."""
    shapes = np.asarray(reference.geometry.values, dtype=object)
    nowhere = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    text = reference[column].astype("string").str.strip()
    empty = (text.isna() | (text == "")).to_numpy(dtype=bool)
    if (empty | nowhere).all():
        raise OptionError(
            f"A reference has classes in {column!r}, but all {len(reference)} rows are empty. Interpret the sample "
            "first; or name another column: --reference-column."
        )
    left_out = {"without_a_reference": int(empty.sum()), "without_a_place": int((nowhere & ~empty).sum())}
    return reference[~(empty | nowhere)], left_out


def _check_options(design: SampleDesign | None, strata: Strata | None, post_stratify: bool) -> None:
    if design is None and post_stratify:
        raise OptionError(
            "--post-stratify is for the design of a sample, but none is given. Without one, the map's classes are the "
            "strata anyway: leave it out."
        )
    if design is not None and strata is not None and not post_stratify:
        raise OptionError(
            "A design says what the strata are, but --strata is given as well. Leave one out; or, for a simple or "
            "systematic sample, add --post-stratify."
        )
    if design is not None and post_stratify and design.settings["design"] == "stratified":
        raise OptionError(
            "--post-stratify is for a simple or systematic sample, but this one was drawn in strata. Leave it out."
        )


def _places(filled: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """A point for each unit: the middle of a square."""
    shapes = filled.geometry
    return shapes if (shapes.geom_type == "Point").all() else gpd.GeoSeries(shapely.centroid(shapes), crs=filled.crs)


def _by_design(filled: gpd.GeoDataFrame, design: SampleDesign) -> np.ndarray:
    """The stratum of each unit, by its id."""
    if "id" not in filled.columns:
        raise OptionError(
            f"A design knows units by their id, but the reference has only {', '.join(map(str, filled.columns))}. Give "
            "the layer that geoseg sample wrote, with its column id."
        )
    known = dict(zip(design.units["id"], design.units["stratum"], strict=True))
    ids = pd.to_numeric(filled["id"], errors="coerce")
    unknown = [value for value, number in zip(filled["id"], ids, strict=True) if number not in known]
    if unknown:
        raise OptionError(f"Each unit is in the design, but {unknown[0]!r} is not. Give the design of this sample.")
    if ids.duplicated().any():
        raise OptionError(f"Each unit is there once, but {ids[ids.duplicated()].iloc[0]:g} is there twice. Delete one.")
    return np.array([known[number] for number in ids], dtype=object)


def _check_merge(merge: Mapping[str, str], strata: list[str]) -> None:
    unknown = [name for name in merge if name not in strata]
    if unknown:
        raise OptionError(f"--merge-strata names strata, but {unknown[0]!r} is none; they are {', '.join(strata)}.")


def _check_filled(units: pd.DataFrame, sizes: pd.Series, held: pd.Series | None) -> None:
    """Say which strata have too few units, all at once, and what can be done."""
    number = units["stratum"].value_counts()
    short = {
        name: int(number.get(name, 0))
        for name in sizes.index
        if number.get(name, 0) < 2 and not (held is not None and number.get(name, 0) == held[name])
    }
    if short:
        told = ", ".join(f"{name!r} ({sizes[name] / 1e4:,.2f} ha) has {count}" for name, count in short.items())
        first = next(iter(short))
        other = next((name for name in sizes.index if name not in short), "another")
        raise OptionError(
            f"Each stratum needs 2 or more sample units with a reference, but {told}. Interpret more units there, or "
            f"merge it with a stratum that it resembles: --merge-strata '{first}={other}'."
        )


def _classes(units: pd.DataFrame, naming: Naming) -> list[Hashable]:
    """Those that occur: the map's in order of value, then those that only the reference has."""
    there = set(units["map"]) | set(units["reference"])
    return [name for name in naming.known if name in there] + sorted(there - set(naming.known))


def _too_sure(units: pd.DataFrame, held: pd.Series | None) -> list[str]:
    """Strata whose variance is estimated as 0."""
    alike = [
        str(name)
        for name, part in units.groupby("stratum", sort=False)
        if len(part[["map", "reference"]].drop_duplicates()) == 1 and (held is None or len(part) < held[name])
    ]
    if not alike:
        return []
    return [
        f"All units are alike in {', '.join(alike)}: no error is estimated there, which is too sure. Of a stratum with "
        "n such units up to about 3/n may be otherwise (the rule of three)."
    ]


def _few_errors(counts: pd.DataFrame) -> list[str]:
    """Classes for which the normal distribution is a poor likeness."""
    right = np.diagonal(counts.to_numpy())
    wrong = counts.to_numpy().sum(axis=0) + counts.to_numpy().sum(axis=1) - 2 * right
    few = [str(name) for name, number in zip(counts.index, wrong, strict=True) if 0 < number < _FEW]
    if not few:
        return []
    return [
        f"Intervals of {', '.join(few)} rest on fewer than {_FEW} units at which map and reference differ; they may "
        "hold the truth less often than they say."
    ]


def _notes(design: SampleDesign | None, sizes: pd.Series, own: pd.Series, outside_m2: float) -> list[str]:
    notes = []
    if design is None:
        notes.append(
            "No design is given: the figures hold if the units were drawn at random within the strata, each with a "
            "probability in proportion to its area."
        )
    elif abs(sizes.sum() - own.sum()) > 1e-6 * sizes.sum():
        notes.append(
            f"The sample was drawn from {sizes.sum() / 1e4:,.2f} ha, of which the figures are; the map has a class on "
            f"{own.sum() / 1e4:,.2f} ha."
        )
    if outside_m2 > 0:
        notes.append(f"{outside_m2 / 1e4:,.2f} ha of the map lie in no stratum and are left out.")
    if design is not None and design.settings["design"] == "systematic":
        notes.append("A sample on a grid has no exact standard error: that of a simple random sample is taken instead.")
    return notes
