"""How good a map is, and how large its classes really are, from a stratified reference sample."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError
from geoseg.estimates.agreement import disagreement, kappa
from geoseg.estimates.ratio import quantile_of, stratified_ratio
from geoseg.estimates.units import Counted, count_units

__all__ = ["MEASURES", "MapAccuracy", "estimate_accuracy"]

MEASURES = ("overall", "users", "producers", "f1", "iou", "proportion", "area")
"""What `MapAccuracy.table` holds; all but the first for each class."""


@dataclass(frozen=True, eq=False)
class MapAccuracy:
    """What `estimate_accuracy` finds. `docs/estimates.md` explains each figure."""

    counts: pd.DataFrame
    """int64 (map class, reference class) How many sample units."""
    proportions: pd.DataFrame
    """float64 (map class, reference class) Estimated proportions of the whole area; the sum is 1."""
    table: pd.DataFrame
    """``measure`` (one of `MEASURES`), ``class`` (None for overall accuracy), ``estimate``, ``se`` (standard error),
    ``lower`` and ``upper`` (the interval's ends). 0..1; ``area`` in the unit of the strata's sizes. NaN = 0 of 0."""
    quantity_disagreement: float
    """The part of the area that is wrong because the map has too much or too little of a class, 0..1."""
    allocation_disagreement: float
    """The part of the area that is wrong only in its place, 0..1."""
    kappa: float
    """Cohen's kappa; see `geoseg.estimates.kappa` for why not to use it."""
    confidence: float
    """How often the intervals hold the truth, over many samples, 0..1."""

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
    confidence
        Of the intervals, 0..1.

    Returns
    -------
    MapAccuracy
        Tables.

    Raises
    ------
    OptionError
        A stratum without units, or with one; a stratum without a size, a size that is not positive; a missing column or
        value; a class that is not among `classes`; classes of different types; a confidence out of its range.

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
    z = quantile_of(confidence)
    sample = count_units(units, sizes, columns=(stratum, map_class, reference), classes=classes)
    names = pd.Index(sample.classes, name="map", tupleize_cols=False)
    axes: dict[str, Any] = {"index": names, "columns": names.rename("reference")}
    shares = sample.counts / sample.counts.sum(axis=(1, 2), keepdims=True)
    proportions = np.tensordot(sample.sizes / sample.sizes.sum(), shares, axes=1)
    quantity, allocation = disagreement(proportions)
    return MapAccuracy(
        counts=pd.DataFrame(sample.counts.sum(axis=0), **axes),
        proportions=pd.DataFrame(proportions, **axes),
        table=_table(sample, z),
        quantity_disagreement=quantity,
        allocation_disagreement=allocation,
        kappa=kappa(proportions),
        confidence=confidence,
    )


def _table(sample: Counted, z: float) -> pd.DataFrame:
    rows = []
    for measure, name, above, below in _ratios(sample.classes):
        ratio, error = (float(value) for value in stratified_ratio(sample.counts, sample.sizes, above, below))
        unit = sample.sizes.sum() if measure == "area" else 1.0
        lower, upper = (np.clip(ratio + side * z * error, 0, 1) * unit for side in (-1, 1))
        rows.append((measure, name, ratio * unit, error * unit, lower, upper))
    rows.sort(key=lambda row: MEASURES.index(row[0]))  # stable: classes stay in order
    measures, names, *numbers = zip(*rows, strict=True)
    figures = dict(zip(("estimate", "se", "lower", "upper"), numbers, strict=True))
    # as object: the None of overall accuracy must not turn the class 1 into 1.0
    return pd.DataFrame({"measure": measures, "class": pd.Series(names, dtype=object), **figures})


def _ratios(classes: tuple[Hashable, ...]) -> Iterator[tuple[str, Hashable, np.ndarray, np.ndarray]]:
    """Measure, class, and the values of a unit above and below the line, (map class, reference class)."""
    everything = np.ones((len(classes), len(classes)))
    yield "overall", None, np.eye(len(classes)), everything
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
