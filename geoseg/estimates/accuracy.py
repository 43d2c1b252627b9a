"""How good a map is, and how large its classes really are, from a stratified reference sample."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError
from geoseg.estimates.agreement import disagreement, kappa
from geoseg.estimates.ratio import quantile_of, stratified_ratio
from geoseg.estimates.units import count_units

__all__ = ["MEASURES", "MapAccuracy", "accuracy_of", "estimate_accuracy"]

MEASURES = ("overall", "quantity", "allocation", "users", "producers", "f1", "iou", "proportion", "area")
"""What `MapAccuracy.table` holds; all but the first three for each class."""

Ratio = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
"""A ratio of two totals and its standard error, from the values of a unit above and below the line."""


@dataclass(frozen=True, eq=False)
class MapAccuracy:
    """What `estimate_accuracy` finds. `docs/estimates.md` explains each figure."""

    counts: pd.DataFrame
    """int64 (map class, reference class) How many sample units."""
    proportions: pd.DataFrame
    """float64 (map class, reference class) Estimated proportions of the whole area; the sum is 1."""
    table: pd.DataFrame
    """``measure`` (one of `MEASURES`), ``class`` (None where it is of all classes), ``estimate``, ``se`` (standard
    error), ``lower`` and ``upper`` (the interval's ends). 0..1; ``area`` in the unit of the strata's sizes. NaN = 0 of
    0."""
    quantity_disagreement: float
    """The part of the area that is wrong because the map has too much or too little of a class, 0..1."""
    allocation_disagreement: float
    """The part of the area that is wrong only in its place, 0..1."""
    kappa: float
    """Cohen's kappa; see `geoseg.estimates.kappa` for why not to use it."""
    confidence: float
    """How often the intervals hold the truth, over many samples, 0..1."""
    design_effect: float | None = None
    """How many times larger the variance of overall accuracy is than if each pixel had been drawn by itself; for
    clusters only. NaN = 0 of 0."""

    @property
    def overall(self) -> pd.Series:
        """Overall accuracy: ``estimate``, ``se``, ``lower``, ``upper``."""
        return self.of("overall").iloc[0]

    @property
    def areas(self) -> pd.DataFrame:
        """The area of every class by the reference, one row for each class."""
        return self.of("area")

    def of(self, measure: str) -> pd.DataFrame:
        """The rows of one measure, by class: ``estimate``, ``se``, ``lower``, ``upper``.

        Raises
        ------
        OptionError
            There is no such measure.
        """
        if measure not in MEASURES:
            raise OptionError(f"The measures are {', '.join(MEASURES)}, but {measure!r} was asked for. Choose one.")
        return self.table[self.table["measure"] == measure].drop(columns="measure").set_index("class")


def estimate_accuracy(
    units: pd.DataFrame,
    sizes: Mapping[Any, float] | pd.Series,
    *,
    stratum: str = "stratum",
    map_class: str = "map",
    reference: str = "reference",
    classes: Sequence[Hashable] | None = None,
    populations: Mapping[Any, float] | pd.Series | None = None,
    confidence: float = 0.95,
) -> MapAccuracy:
    """Accuracy and areas with standard errors, from a stratified random sample.

    The strata may be the map's classes, in which case these are the estimators of Card 1982 and of Olofsson et al.
    2014, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of Environment 148;
    or any other partition of the area, such as the classes of an older map or districts (Stehman 2014). One stratum
    is a simple random sample. Units must have been drawn at random within each stratum.

    Intervals are the estimate ± z standard errors, z = 1.96 for 95 %, as in these papers, cut to what is possible:
    0..1, and for an area 0 to the sum of the sizes. Where all units of a stratum are alike, its variance is estimated
    as 0.

    A reference class that the map does not have is allowed: it has a row of zeros in the matrix, an area with its
    interval, a producer's accuracy of 0, and no user's accuracy (NaN).

    Standard errors of quantity and allocation disagreement are by linearisation, with the side on which each class errs
    taken as known; where a class's areas in map and reference are nearly equal they are too small, and the quantity
    disagreement itself is too large, being made of absolute values.

    Parameters
    ----------
    units
        A row for each sample unit.
    sizes
        The size of each stratum: true m², ha, or pixels if all pixels are of one size.
    stratum, map_class, reference
        The columns with the stratum, the class in the map and the class by the reference.
    classes
        All classes, in the order wanted. None = those that occur, sorted.
    populations
        How many units each stratum holds in all, where units were drawn without replacement: see
        `geoseg.estimates.stratified_ratio`. A stratum of which all units are there may have a single one. None = many.
    confidence
        Of the intervals, 0..1.

    Returns
    -------
    MapAccuracy
        Tables.

    Raises
    ------
    OptionError
        A stratum without units, or with one, or with more than it holds; a stratum without a size, a size that is not
        positive; a missing column or value; a class that is not among `classes`; classes of different types; a
        confidence out of its range.

    Examples
    --------
    The map has 100 ha of water and 300 ha of land; of 10 and 20 units in them 9 and 16 are right.

    >>> matrix = pd.DataFrame([[9, 1], [4, 16]], index=["water", "land"], columns=["water", "land"])
    >>> from geoseg.estimates import units_of_matrix
    >>> found = estimate_accuracy(units_of_matrix(matrix), {"water": 100, "land": 300})
    >>> found.overall.round(3).tolist()  # estimate, standard error, interval
    [0.825, 0.073, 0.681, 0.969]
    >>> found.areas.loc["water"].round(1).tolist()  # ha: 100 × 9/10 + 300 × 4/20
    [150.0, 29.3, 92.6, 207.4]
    >>> found.proportions.round(3).to_numpy().tolist()  # classes are sorted: land, water
    [[0.6, 0.15], [0.025, 0.225]]
    """
    quantile_of(confidence)
    sample = count_units(
        units, sizes, columns=(stratum, map_class, reference), classes=classes, populations=populations
    )
    shares = sample.counts / sample.counts.sum(axis=(1, 2), keepdims=True)

    def ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
        found, error = stratified_ratio(sample.counts, sample.sizes, above, below, populations=sample.populations)
        return float(found), float(error)

    return accuracy_of(
        sample.classes,
        counts=sample.counts.sum(axis=0),
        proportions=np.tensordot(sample.sizes / sample.sizes.sum(), shares, axes=1),
        whole=float(sample.sizes.sum()),
        ratio=ratio,
        confidence=confidence,
    )


def accuracy_of(
    classes: Sequence[Hashable],
    *,
    counts: np.ndarray,
    proportions: np.ndarray,
    whole: float,
    ratio: Ratio,
    confidence: float,
    design_effect: float | None = None,
) -> MapAccuracy:
    """All measures, whatever the way in which ratios are estimated.

    Parameters
    ----------
    classes
        All classes.
    counts, proportions
        (map class, reference class) Units, and estimated proportions of the whole area.
    whole
        The whole area.
    ratio
        Estimates a ratio and its standard error.
    confidence, design_effect
        See `MapAccuracy`.
    """
    names = pd.Index(list(classes), name="map", tupleize_cols=False)
    axes: dict[str, Any] = {"index": names, "columns": names.rename("reference")}
    quantity, allocation = disagreement(proportions)
    return MapAccuracy(
        counts=pd.DataFrame(counts, **axes),
        proportions=pd.DataFrame(proportions, **axes),
        table=_table(classes, proportions, ratio, whole, quantile_of(confidence)),
        quantity_disagreement=quantity,
        allocation_disagreement=allocation,
        kappa=kappa(proportions),
        confidence=confidence,
        design_effect=design_effect,
    )


def _table(classes: Sequence[Hashable], proportions: np.ndarray, ratio: Ratio, whole: float, z: float) -> pd.DataFrame:
    rows = []
    for measure, name, above, below in _ratios(classes, proportions):
        found, error = ratio(above, below)
        unit = whole if measure == "area" else 1.0
        lower, upper = (np.clip(found + side * z * error, 0, 1) * unit for side in (-1, 1))
        rows.append((measure, name, found * unit, error * unit, lower, upper))
    rows.sort(key=lambda row: MEASURES.index(row[0]))  # stable: classes stay in order
    measures, names, *numbers = zip(*rows, strict=True)
    figures = dict(zip(("estimate", "se", "lower", "upper"), numbers, strict=True))
    # as object: the None of overall accuracy must not turn the class 1 into 1.0
    return pd.DataFrame({"measure": measures, "class": pd.Series(names, dtype=object), **figures})


def _ratios(
    classes: Sequence[Hashable], proportions: np.ndarray
) -> Iterator[tuple[str, Hashable, np.ndarray, np.ndarray]]:
    """Measure, class, and the values of a unit above and below the line, (map class, reference class)."""
    everything = np.ones((len(classes), len(classes)))
    right = np.eye(len(classes))
    side = np.sign((proportions.sum(axis=1) - proportions.sum(axis=0)).round(12))  # of each class: too much, too little
    quantity = (side[:, None] - side[None, :]) / 2
    yield "overall", None, right, everything
    yield "quantity", None, quantity, everything
    yield "allocation", None, everything - right - quantity, everything
    for k, name in enumerate(classes):
        mapped, true = np.zeros_like(everything), np.zeros_like(everything)
        mapped[k], true[:, k] = 1, 1
        both = mapped * true
        yield "users", name, both, mapped
        yield "producers", name, both, true
        yield "f1", name, 2 * both, mapped + true
        yield "iou", name, both, mapped + true - both
        yield "proportion", name, true, everything
        yield "area", name, true, everything
