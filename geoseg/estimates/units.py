"""The sample: a table with a row for each unit, checked and counted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError

__all__ = ["Counted", "checked_sizes", "count_units", "units_of_matrix"]


@dataclass(frozen=True, eq=False)
class Counted:
    """A sample that can be estimated from."""

    classes: tuple[Hashable, ...]
    """All classes, of the map and of the reference."""
    counts: np.ndarray
    """int64 (stratum, map class, reference class) How many units; two or more in a stratum, unless known whole."""
    sizes: np.ndarray
    """float64 (stratum,) Positive, in the unit that they were given in."""
    populations: np.ndarray | None = None
    """float64 (stratum,) How many units each stratum holds in all; None = many."""


def units_of_matrix(matrix: pd.DataFrame) -> pd.DataFrame:
    """A confusion matrix as a table of sample units, with the map's classes as strata.

    Parameters
    ----------
    matrix
        Counts; the index is the map's classes, the columns are the reference's.

    Returns
    -------
    DataFrame
        A row for each unit: ``stratum``, ``map``, ``reference``.

    Raises
    ------
    OptionError
        A count that is negative or not whole, or a class that is there twice.

    Examples
    --------
    >>> units = units_of_matrix(pd.DataFrame([[2, 1], [0, 1]], index=["a", "b"], columns=["a", "b"]))
    >>> units["reference"].tolist()
    ['a', 'a', 'b', 'b']
    >>> len(units_of_matrix(pd.DataFrame()))
    0
    """
    counts = matrix.to_numpy(dtype=float)
    wrong = counts[~(np.isfinite(counts) & (counts >= 0) & (counts == np.round(counts)))]
    if len(wrong):
        raise OptionError(
            f"A confusion matrix holds counts of sample units, but one is {wrong[0]}. Give whole numbers, 0 or more."
        )
    for axis, name in ((matrix.index, "rows"), (matrix.columns, "columns")):
        if not axis.is_unique:
            twice = axis[axis.duplicated()][0]
            raise OptionError(f"Each class is there once, but {twice!r} is there twice in the {name}. Add them up.")
    times = counts.astype(np.int64).ravel()
    mapped = np.repeat(np.repeat(np.array(matrix.index, dtype=object), matrix.shape[1]), times)
    reference = np.repeat(np.tile(np.array(matrix.columns, dtype=object), matrix.shape[0]), times)
    return pd.DataFrame({"stratum": mapped, "map": mapped, "reference": reference})


def checked_sizes(sizes: Mapping[Any, float] | pd.Series) -> pd.Series:
    """The sizes of the strata, float64, in the order given.

    Raises
    ------
    OptionError
        No stratum, one that is there twice, or a size that is not positive.

    >>> checked_sizes({"forest": 30}).tolist()
    [30.0]
    """
    series = sizes if isinstance(sizes, pd.Series) else pd.Series(dict(sizes), dtype=object)
    if not len(series):
        raise OptionError("An estimate needs strata, but there are none. Give the size of each.")
    if not series.index.is_unique:
        twice = series.index[series.index.duplicated()][0]
        raise OptionError(f"Each stratum has one size, but {twice!r} has several. Add them up.")
    for name, size in series.items():
        number = pd.to_numeric(size, errors="coerce")
        if not (np.isfinite(number) and number > 0):
            raise OptionError(
                f"A stratum's size is a positive number, but that of {name!r} is {size}. Leave out strata without area."
            )
    return series.astype(float)


def count_units(
    units: pd.DataFrame,
    sizes: Mapping[Any, float] | pd.Series,
    *,
    columns: tuple[str, str, str],
    classes: Sequence[Hashable] | None = None,
    populations: Mapping[Any, float] | pd.Series | None = None,
) -> Counted:
    """Check a sample and count it.

    Parameters
    ----------
    units
        A row for each sample unit.
    sizes
        The size of each stratum.
    columns
        Those with the stratum, the map class and the reference class.
    classes
        All classes, in the order wanted. None = those that occur, sorted.
    populations
        How many units each stratum holds in all. None = many.

    Raises
    ------
    OptionError
        See `geoseg.estimates.estimate_accuracy`.

    Examples
    --------
    >>> units = pd.DataFrame({"stratum": [1, 1], "map": ["a", "a"], "reference": ["a", "b"]})
    >>> count_units(units, {1: 8.0}, columns=("stratum", "map", "reference")).counts.tolist()
    [[[1, 1], [0, 0]]]
    """
    strata = checked_sizes(sizes)
    stratum, mapped, reference = (_filled(units, column) for column in columns)
    every = tuple(_sorted_classes(mapped, reference) if classes is None else classes)
    if len(set(every)) < len(every):
        raise OptionError(f"Each class is named once, but they are {list(every)}. Leave out what is there twice.")
    places = (
        _places(stratum, list(strata.index), "stratum", "Give its size, or correct the sample."),
        _places(mapped, every, "map class", "Add it to the classes."),
        _places(reference, every, "reference class", "Add it to the classes."),
    )
    counts = np.zeros((len(strata), len(every), len(every)), np.int64)
    np.add.at(counts, places, 1)
    held = None if populations is None else _held(populations, strata.index)
    for at, (name, number) in enumerate(zip(strata.index, counts.sum(axis=(1, 2)), strict=True)):
        if held is not None and number > held[at]:
            raise OptionError(
                f"A stratum holds all of its sample units, but {name!r} has {number} of {held[at]:g}. Correct the "
                "number it holds, or take out what stands twice."
            )
        if number < 2 and not (held is not None and number == held[at]):
            told = "has none: nothing is known of it" if number == 0 else "has 1: the variance in it is unknown"
            raise OptionError(
                f"Each stratum needs at least 2 sample units, but {name!r} {told}. Interpret more units there, or "
                "merge it with a stratum that it resembles."
            )
    return Counted(every, counts, strata.to_numpy(), held)


def _held(populations: Mapping[Any, float] | pd.Series, strata: pd.Index) -> np.ndarray:
    given = dict(populations.items())
    if set(given) != set(strata):
        raise OptionError(
            f"There is one number of units for each of the strata {list(strata)}, but those given are for "
            f"{list(given)}. Name the same."
        )
    return np.array([given[name] for name in strata], dtype=float)


def _filled(units: pd.DataFrame, column: str) -> list[Any]:
    """The values of a column that must be there and complete."""
    if column not in units.columns:
        raise OptionError(f"The sample has the columns {list(units.columns)}, but not {column!r}. Choose one.")
    missing = units[column].isna().to_numpy()
    if missing.any():
        raise OptionError(
            f"Every sample unit needs a value in {column!r}, but row {np.argmax(missing)} (counted from 0) has none. "
            "Fill it; units that are left out because they are hard to interpret bias all figures."
        )
    return units[column].tolist()


def _sorted_classes(mapped: list[Any], reference: list[Any]) -> list[Any]:
    every = set(mapped) | set(reference)
    try:
        return sorted(every)
    except TypeError:
        types = sorted({type(value).__name__ for value in every})
        raise OptionError(
            f"Classes of map and reference are written alike, but there are values of type {' and '.join(types)}. "
            "Use names or numbers on both sides."
        ) from None


def _places(values: list[Any], known: Sequence[Any], what: str, remedy: str) -> np.ndarray:
    """Where each value is among the known ones."""
    place = {name: at for at, name in enumerate(known)}
    unknown = [value for value in values if value not in place]
    if unknown:
        raise OptionError(
            f"The {what} of each sample unit is one of {list(known)}, but there is {unknown[0]!r}. {remedy}"
        )
    return np.array([place[value] for value in values], dtype=np.int64)
