"""Accuracy and areas from polygons that were looked up as a whole: each is a cluster of pixels, not many units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError
from geoseg.estimates.accuracy import MapAccuracy, accuracy_of
from geoseg.estimates.ratio import quantile_of, stratified_ratio
from geoseg.estimates.units import checked_sizes

__all__ = ["estimate_from_clusters", "exact_accuracy"]


def estimate_from_clusters(
    parts: pd.DataFrame,
    sizes: Mapping[Any, float] | pd.Series,
    *,
    classes: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> MapAccuracy:
    """Accuracy and areas with standard errors, from a random sample of clusters (polygons) of pixels.

    Neighbouring pixels are alike, so a polygon of a hundred pixels tells less than a hundred pixels drawn one by one.
    What varies at random is which polygons were drawn; so the variance is that between polygons, however many
    pixels they have. In each map class the shares of the reference classes are ratios of areas in the sample (the
    ratio estimator; Cochran 1977, chapters 6 and 9A), and map classes are weighted by their area in the map
    (poststratification; Card 1982). The variance is that of the linearised estimate, z, between n clusters:
    n / (n − 1) Σ z² (Särndal, Swensson and Wretman 1992, "Model Assisted Survey Sampling", section 5.5).
    Clusters of one pixel give the figures of `estimate_accuracy` with the map's classes as strata, nearly.

    Parameters
    ----------
    parts
        ``cluster, map, reference, area, pixels``: a row for each map class in each cluster.
    sizes
        The area of each class in the whole map, in the unit of ``area``.
    classes
        All classes, in the order wanted. None = those that occur, sorted.
    confidence
        Of the intervals, 0..1.

    Returns
    -------
    MapAccuracy
        ``counts`` are pixels, and ``design_effect`` is there.

    Raises
    ------
    OptionError
        A map class with area that lies in no cluster or in one only, or a class without a size.

    Examples
    --------
    Four polygons of ten pixels; 40 % of the second is wrong.

    >>> parts = pd.DataFrame({"cluster": [0, 1, 1, 2, 3], "map": ["a", "a", "b", "b", "a"],
    ...                       "reference": ["a", "a", "a", "b", "a"], "area": [10, 6, 4, 10, 10]})
    >>> found = estimate_from_clusters(parts.assign(pixels=parts["area"]), {"a": 500, "b": 100})
    >>> found.overall.round(3).tolist()  # (500 + 100 × 10 / 14) / 600
    [0.952, 0.056, 0.844, 1.0]
    """
    quantile_of(confidence)
    strata = checked_sizes(sizes)
    every = list(classes) if classes is not None else sorted({*strata.index, *parts["map"], *parts["reference"]})
    _check_parts(parts, strata)
    place = {name: at for at, name in enumerate(every)}
    mapped, true = (parts[column].map(place).to_numpy(dtype=np.int64) for column in ("map", "reference"))
    names, cluster = np.unique(parts["cluster"].to_numpy(), return_inverse=True)
    area = parts["area"].to_numpy(dtype=float)
    weight = np.array([strata.get(name, 0.0) for name in every])
    seen = np.bincount(mapped, weights=area, minlength=len(every))
    blow_up = np.divide(weight, seen, out=np.zeros_like(seen), where=seen > 0)
    totals, counts = np.zeros((len(every), len(every))), np.zeros((len(every), len(every)), np.int64)
    np.add.at(totals, (mapped, true), area * blow_up[mapped])
    np.add.at(counts, (mapped, true), parts["pixels"].to_numpy(dtype=np.int64))
    whole = float(weight.sum())

    def ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
        base = float((totals * below).sum())
        if base <= 0:
            return float("nan"), float("nan")
        found = float((totals * above).sum()) / base
        residual = above - found * below
        mean = (totals * residual).sum(axis=1) / np.where(weight > 0, weight, 1)  # of each map class
        linear = area * blow_up[mapped] * (residual[mapped, true] - mean[mapped])
        z = np.bincount(cluster, weights=linear, minlength=len(names))
        return found, float(np.sqrt(len(names) / (len(names) - 1) * (z**2).sum()) / base)

    return accuracy_of(
        every,
        counts=counts,
        proportions=totals / whole,
        whole=whole,
        ratio=ratio,
        confidence=confidence,
        design_effect=_design_effect(counts, weight, ratio),
    )


def exact_accuracy(areas: pd.DataFrame, counts: pd.DataFrame, *, confidence: float = 0.95) -> MapAccuracy:
    """Accuracy and areas where the reference is known everywhere: nothing is estimated, all standard errors are 0.

    Parameters
    ----------
    areas, counts
        True areas and pixels; the index is the map's classes, the columns are the reference's, both the same.
    confidence
        Kept in the result.

    Examples
    --------
    >>> areas = pd.DataFrame([[60.0, 10.0], [5.0, 25.0]], index=["a", "b"], columns=["a", "b"])
    >>> exact_accuracy(areas, areas.astype(int)).overall.round(3).tolist()
    [0.85, 0.0, 0.85, 0.85]
    """
    totals = areas.to_numpy(dtype=float)
    whole = float(totals.sum())

    def ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
        base = float((totals * below).sum())
        return (float((totals * above).sum()) / base, 0.0) if base > 0 else (float("nan"), float("nan"))

    return accuracy_of(
        list(areas.index),
        counts=counts.to_numpy(dtype=np.int64),
        proportions=totals / whole,
        whole=whole,
        ratio=ratio,
        confidence=confidence,
    )


def _check_parts(parts: pd.DataFrame, strata: pd.Series) -> None:
    unknown = sorted(set(parts["map"]) - set(strata.index))
    if unknown:
        raise OptionError(f"Each class of the map has a size, but {unknown[0]!r} has none. Give its area.")
    clusters = parts[parts["pixels"] > 0].groupby("map")["cluster"].nunique()
    for name in strata.index:
        number = int(clusters.get(name, 0))
        if number < 2:
            told = "no polygon has any: nothing is known of it" if number == 0 else "only 1 has any: that is no sample"
            raise OptionError(
                f"Each map class needs reference polygons that hold pixels of it, 2 or more, but of {name!r} {told}. "
                "Add polygons there, or merge it with a class that it resembles, by a crosswalk."
            )


def _design_effect(counts: np.ndarray, weight: np.ndarray, ratio: Any) -> float:
    """The variance of overall accuracy, as a multiple of what it would be if each pixel were a unit of its own."""
    there = counts.sum(axis=1) > 1
    alone = np.zeros((there.sum(), *counts.shape), np.int64)  # map classes as strata
    alone[np.arange(there.sum()), np.flatnonzero(there)] = counts[there]
    right, everything = np.eye(len(counts)), np.ones(counts.shape)
    _, single = stratified_ratio(alone, weight[there], right, everything)
    _, between = ratio(right, everything)
    return float(between**2 / single**2) if single > 0 else float("nan")
