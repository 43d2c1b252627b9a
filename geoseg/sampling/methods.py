"""What was done, in words that can go into the methods section of a paper."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyproj
from odc.geo.geobox import GeoBox

from geoseg import __version__
from geoseg.estimates.ratio import quantile_of
from geoseg.sampling.design import SampleDesign
from geoseg.sampling.found import Found

__all__ = ["methods_text"]

_SOURCES = {
    "Card": "Card, D.H. (1982). Using known map category marginal frequencies to improve estimates of thematic map "
    "accuracy. Photogrammetric Engineering and Remote Sensing 48, 431-439.",
    "Cochran": "Cochran, W.G. (1977). Sampling Techniques, 3rd ed. Wiley.",
    "Olofsson": "Olofsson, P., Foody, G.M., Herold, M., Stehman, S.V., Woodcock, C.E., Wulder, M.A. (2014). Good "
    "practices for estimating area and assessing accuracy of land change. Remote Sensing of Environment 148, 42-57.",
    "Pontius": "Pontius, R.G., Millones, M. (2011). Death to Kappa: birth of quantity disagreement and allocation "
    "disagreement for accuracy assessment. International Journal of Remote Sensing 32, 4407-4429.",
    "Rosén": "Rosén, B. (1997). On sampling with probability proportional to size. Journal of Statistical Planning and "
    "Inference 62, 159-191.",
    "Särndal": "Särndal, C.-E., Swensson, B., Wretman, J. (1992). Model Assisted Survey Sampling. Springer.",
    "Stehman": "Stehman, S.V. (2014). Estimating area and map accuracy for stratified random sampling when the strata "
    "are different from the map classes. International Journal of Remote Sensing 35, 4923-4939.",
}
_WHAT = {"map classes": "the classes of the map", "raster": "the classes of another map", "zones": "zones (polygons)"}
_SAMPLED = " that the sample was drawn from"
_LEFT = {
    "without_a_reference": "had no reference class",
    "without_a_place": "had no geometry",
    "outside_the_map": "lay outside of the map",
    "outside_map_or_strata": "lay outside of the map or the strata",
    "without_data_in_the_map": "lay where the map has no data",
    "without_data_in_map_or_strata": "lay where the map or the strata have no data",
    "missing_from_the_file": "of those drawn were missing from the reference",
    "without_a_pixel_of_the_map": "held no centre of a pixel with a class",
    "pixels_where_the_map_has_no_data": "pixels in polygons had no class in the map",
}


def methods_text(
    found: Found,
    kind: str,
    areas: pd.DataFrame,
    *,
    design: SampleDesign | None,
    crosswalk: Mapping[str, str],
    grid: GeoBox,
) -> str:
    """The text: how the reference was drawn, how the figures were estimated, and the sources.

    Parameters
    ----------
    found
        What was estimated.
    kind
        ``points``, ``polygons`` or ``census``.
    areas
        A row for each class.
    design
        How units were drawn, where that is known.
    crosswalk
        What classes were renamed to.
    grid
        That of the map.
    """
    parts = {"points": _of_points, "polygons": _of_polygons, "census": _of_census}[kind](found, design)
    crs = pyproj.CRS.from_user_input(grid.crs.to_wkt())  # type: ignore[union-attr]
    code = crs.to_authority()
    parts.append(
        f"All areas are true areas on the ellipsoid, whatever the map's coordinate reference system "
        f"({':'.join(code) if code else crs.name}); proportions are of area."
    )
    if crosswalk:
        joined = ", ".join(f"{name} to {to}" for name, to in crosswalk.items() if name != to)
        parts.append(f"Classes were given common names: {joined}." if joined else "")
    parts += [_left_out(found), _results(found, areas), f"Figures were computed with geoseg {__version__}."]
    text = " ".join(part for part in parts if part)
    return f"{text}\n\nReferences\n" + "".join(f"\n{_SOURCES[name]}" for name in _SOURCES if name in text) + "\n"


def _of_points(found: Found, design: SampleDesign | None) -> list[str]:
    facts = found.facts
    count = facts["units"]
    if design is None:
        drawn = (
            f"The map was compared with {count:,} reference points, which are taken to have been drawn at random with "
            f"a probability in proportion to area within the strata, {_WHAT[facts['strata']]}."
        )
    elif facts["design"] == "stratified":
        drawn = (
            f"The map was compared with a stratified random sample of {len(design.units):,} pixels, drawn without "
            f"replacement. The {len(design.strata)} strata were {_WHAT[facts['strata']]}"
            f"{_SAMPLED if facts['strata'] == 'map classes' and not facts['strata_are_its_classes'] else ''}; in each, "
            f"{_range(design.strata['units'])} units were drawn."
        )
    else:
        how = (
            "a systematic sample (a grid with a random start)" if facts["design"] == "systematic" else "a random sample"
        )
        drawn = f"The map was compared with {how} of {len(design.units):,} pixels."
        if facts["strata"] != "whole map":
            drawn += f" It was poststratified by {_WHAT[facts['strata']]}."
    parts = [drawn]
    if design is not None:
        way = "" if facts["design"] == "systematic" else " (Pareto sampling; Rosén 1997)"
        parts.append(
            f"Pixels were drawn with a probability in proportion to their true area{way}, with the random seed "
            f"{design.settings.get('seed')}."
        )
        parts.append("The layer for the interpreters did not hold the classes of the map.")
        if count < len(design.units):
            parts.append(f"The estimates rest on {count:,} of these units.")
    if facts["merged"]:
        merged = ", ".join(f"{name} with {other}" for name, other in facts["merged"].items())
        parts.append(f"Strata with too few units were merged, as if they were alike: {merged}.")
    if facts["strata_are_its_classes"]:
        estimators = "the stratified estimators with the map's classes as strata (Card 1982; Olofsson et al. 2014)"
    elif facts["strata"] == "whole map":
        estimators = "the estimators of a simple random sample (Cochran 1977)"
    else:
        estimators = "the stratified estimators for strata that are not the map's classes (Stehman 2014)"
    parts.append(
        f"Accuracies and areas were estimated by {estimators}, strata being weighted by their true area; user's and "
        "producer's accuracy, F1 and intersection over union are ratios of two estimated totals, with the approximate "
        "variance of the ratio estimator (Stehman 2014)."
    )
    if facts["finite_population_correction"]:
        parts.append("Variances have the finite population correction (Cochran 1977).")
    if facts["design"] == "systematic":
        parts.append(
            "The variance of a systematic sample cannot be estimated without bias; that of a random sample was taken, "
            "which is usually too large."
        )
    return [*parts, _intervals(found)]


def _of_polygons(found: Found, _: SampleDesign | None) -> list[str]:
    facts = found.facts
    effect = facts["design_effect"]
    stated = (
        ""
        if effect is None or effect != effect
        else (
            f" The design effect of overall accuracy is {effect:.2f}: its variance is so many times that of as many "
            "pixels drawn one by one."
        )
    )
    return [
        f"The map was compared with {facts['units']:,} reference polygons ({facts['area_m2'] / 1e4:,.2f} ha, "
        f"{facts['pixels']:,} pixels whose centres lie in them), which are taken to be a random sample of polygons.",
        "Each polygon was a cluster: in each map class the shares of the reference classes are ratios of areas in the "
        "sample, map classes are weighted by their true area in the map (poststratification; Card 1982), and variances "
        "are those of the linearised estimates between polygons (Cochran 1977; Särndal et al. 1992), so pixels of one "
        "polygon do not count as independent." + stated,
        _intervals(found),
    ]


def _of_census(found: Found, _: SampleDesign | None) -> list[str]:
    facts = found.facts
    grid = (
        "Pixels of both lie on one grid."
        if facts["same_grid"]
        else "Each pixel of the map was given the reference class of that pixel in which its centre lies."
    )
    return [
        f"The map was compared, pixel by pixel, with a reference raster that covers {facts['covered_share']:.1%} of "
        f"its area ({facts['covered_m2'] / 1e4:,.2f} ha, {facts['units']:,} pixels).",
        grid,
        "All its pixels are known, so there is no sampling error and there are no intervals; nothing is said of what "
        "it does not cover.",
    ]


def _intervals(found: Found) -> str:
    return (
        f"Intervals are the estimate ± {quantile_of(found.accuracy.confidence):.2f} standard errors "
        f"({found.accuracy.confidence:.0%} confidence), cut to what is possible."
    )


def _left_out(found: Found) -> str:
    said = [f"{count:,} {_LEFT[reason]}" for reason, count in found.left_out.items() if count]
    return f"Not counted: {'; '.join(said)}." if said else ""


def _results(found: Found, areas: pd.DataFrame) -> str:
    accuracy = found.accuracy
    whole = accuracy.overall
    exact = found.facts["design"] == "census"
    spread = "" if exact else f" (standard error {whole['se']:.3f})"
    listed = "; ".join(
        f"{row['class_name']} {row['area_ha']:,.2f} ha"
        + ("" if exact else f" ({row['lower_ha']:,.2f} to {row['upper_ha']:,.2f})")
        for row in areas.to_dict(orient="records")
    )
    return (
        f"Overall accuracy is {whole['estimate']:.3f}{spread}; quantity disagreement is "
        f"{accuracy.quantity_disagreement:.3f} and allocation disagreement {accuracy.allocation_disagreement:.3f} "
        f"(Pontius and Millones 2011). {'Areas by the reference' if exact else 'Estimated areas'}: {listed}."
    )


def _range(units: pd.Series) -> str:
    low, high = int(units.min()), int(units.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
