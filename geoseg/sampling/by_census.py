"""A map against a raster that is right: nothing is estimated."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from geoseg.areas import class_areas
from geoseg.change import align, transition_matrix
from geoseg.classmap import class_names, geobox_of
from geoseg.errors import OptionError, SceneError
from geoseg.estimates import exact_accuracy
from geoseg.sampling.found import Found
from geoseg.sampling.naming import Naming

__all__ = ["assess_census"]

_LEGEND = ("flag_values", "flag_meanings", "flag_names")


def assess_census(class_map: xr.DataArray, reference: xr.DataArray, *, naming: Naming, confidence: float) -> Found:
    """See `geoseg.assess_map`."""
    named = _with_names(class_map, naming)
    right = reference
    if not class_names(reference):  # values without names mean what they mean in the map
        right = reference.assign_attrs({key: named.attrs[key] for key in _LEGEND})
    common = {
        "before": {name: naming.of_reference(name) for name in class_names(right).values()},
        "after": {name: naming.of_map(value) for value, name in naming.own.items()},
    }
    try:
        moves = transition_matrix(right, named, crosswalk=common)
        mapped = class_areas(align(right, class_map)[1])
    except SceneError as error:
        raise SceneError(f"The reference cannot be laid over the map. {error}") from error
    moves = moves[moves["pixels"] > 0]
    if not len(moves):
        raise OptionError(
            "Map and reference overlap, but nowhere do both have a class. Check that both are of one place, and nodata."
        )
    there = set(moves["from_name"]) | set(moves["to_name"])
    classes = [name for name in naming.known if name in there] + sorted(there - set(naming.known))
    areas, counts = (
        moves.pivot_table(index="to_name", columns="from_name", values=column, aggfunc="sum")
        .reindex(index=classes, columns=classes)
        .fillna(0)
        for column in ("area_m2", "pixels")
    )
    accuracy = exact_accuracy(areas, counts, confidence=confidence)
    covered = float(moves["area_m2"].sum())
    whole = float(class_areas(class_map)["area_m2"].sum())
    facts = {
        "design": "census",
        "strata": None,
        "units": int(moves["pixels"].sum()),
        "same_grid": _same_lattice(class_map, right),
        "covered_m2": covered,
        "covered_share": covered / whole,
    }
    part = "all" if covered > 0.9999 * whole else f"{covered / whole:.1%}"
    rest = "" if part == "all" else ", and say nothing of the rest"
    notes = [f"The reference covers {part} of the map's area: figures are exact there, without sampling error{rest}."]
    empty = pd.DataFrame({"stratum": [], "area_m2": [], "pixels": [], "units": []})
    return Found(accuracy, empty, {}, facts, mapped, notes)


def _with_names(class_map: xr.DataArray, naming: Naming) -> xr.DataArray:
    """The map with a name for every value that occurs."""
    values = sorted(naming.own)
    names = [naming.own[value] for value in values]
    return class_map.assign_attrs(flag_values=values, flag_names=names, flag_meanings=" ".join("x" * len(names)))


def _same_lattice(first: xr.DataArray, second: xr.DataArray) -> bool:
    """Whether the pixels of one grid are those of the other."""
    grids = geobox_of(first), geobox_of(second)
    if grids[0].crs != grids[1].crs:
        return False
    move = ~grids[0].transform * grids[1].transform
    turns = (move.a - 1, move.b, move.d, move.e - 1)
    return all(abs(part) < 1e-9 for part in turns) and all(abs(part - round(part)) < 1e-4 for part in (move.c, move.f))
