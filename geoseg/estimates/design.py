"""How large a sample must be, and how it is spread over the strata.

Cochran 1977, "Sampling Techniques", chapter 5; Olofsson et al. 2014, "Good practices for estimating area and assessing
accuracy of land change", Remote Sensing of Environment 148.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError
from geoseg.estimates.units import checked_sizes

__all__ = ["RULES", "allocate", "expected_se", "sample_size_for_accuracy", "sample_size_for_area"]

RULES = ("equal", "proportional", "neyman")
"""How units can be spread over strata: as many in each; by size; by size and spread, which gives the least error."""

Numbers = Mapping[Any, float] | pd.Series


def allocate(
    n: int,
    sizes: Numbers,
    *,
    rule: str = "proportional",
    shares: Numbers | None = None,
    at_least: int = 2,
    at_most: Numbers | None = None,
) -> pd.Series:
    """Spread sample units over strata.

    Strata that would get too few get the least number, and those that would get more units than they hold get all of
    them; the rest is spread over the others by the rule, and rounded by the largest remainders.

    Parameters
    ----------
    n
        How many units in all.
    sizes
        The size of each stratum, in any unit of area.
    rule
        ``equal``, ``proportional`` to the sizes, or ``neyman``: to size × √(p (1 − p)).
    shares
        p of each stratum, a guess, 0..1: how much of it is right (for overall accuracy), or is of the class whose
        area is wanted. Only for ``neyman``.
    at_least
        So many in each stratum. 2 is the least that a standard error can be had from; for rare classes 50 to 100
        are advised (Olofsson et al. 2014).
    at_most
        How many units each stratum holds, which goes before `at_least`. None = many.

    Returns
    -------
    Series
        int64, by stratum; the sum is `n`.

    Raises
    ------
    OptionError
        An unknown rule, no or wrong shares for ``neyman``, a wrong size, too few units for `at_least`, or more than
        there are.

    Examples
    --------
    >>> sizes = {"deforestation": 20, "gain": 15, "forest": 320, "other": 645}
    >>> allocate(641, sizes).tolist()
    [13, 10, 205, 413]
    >>> allocate(640, sizes, at_least=75).tolist()
    [75, 75, 162, 328]
    >>> guess = {"deforestation": 0.7, "gain": 0.6, "forest": 0.9, "other": 0.95}
    >>> allocate(641, sizes, rule="neyman", shares=guess).tolist()
    [23, 19, 243, 356]
    """
    strata = checked_sizes(sizes)
    most = (
        np.full(len(strata), np.inf) if at_most is None else np.array([at_most[name] for name in strata.index], float)
    )
    least = np.minimum(float(at_least), most)
    if at_least < 0 or n < max(1, least.sum()):
        raise OptionError(
            f"{len(strata)} strata with at least {at_least} units each need as many in all, but there are {n}. "
            "Take a larger sample, or fewer in each stratum."
        )
    if n > most.sum():
        raise OptionError(f"The strata hold {most.sum():.0f} units, but {n} are to be drawn. Take a smaller sample.")
    weights = _weights(strata, rule, None if shares is None else _checked_shares(shares, strata))
    wanted = _between(n, weights, least, most)
    result = np.floor(wanted + 1e-9).astype(np.int64)
    missing = n - result.sum()
    result[np.argsort(-(wanted - result), kind="stable")[:missing]] += 1
    return pd.Series(result, index=strata.index, name="units")


def _between(n: int, weights: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """max(least, min(most, c × weights)), with the c that makes their sum n."""
    weights = np.where(weights > 0, weights, 1e-9 * weights.max())  # such strata take what the others cannot hold
    low, high = 0.0, n / weights.min()
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * weights, least, most).sum() < n:
            low = middle
        else:
            high = middle
    return np.clip(high * weights, least, most)


def expected_se(units: Numbers, sizes: Numbers, shares: Numbers) -> float:
    """The standard error to be expected of a share of the whole area, from a guess.

    √(Σ W² p (1 − p) / n), W being a stratum's part of the area (Cochran 1977, eq. 5.57, for a small part of the map).

    Parameters
    ----------
    units
        How many units in each stratum.
    sizes
        The size of each stratum, in any unit of area.
    shares
        p of each stratum, a guess, 0..1: how much of it is right, or is of the class whose area is wanted.

    Returns
    -------
    float
        0..1; times the whole area it is the standard error of an area.

    Raises
    ------
    OptionError
        A stratum without a guess, or a number out of its range.

    Examples
    --------
    >>> expected_se({"a": 25, "b": 25}, {"a": 100, "b": 100}, {"a": 0.5, "b": 0.5}).__round__(4)
    0.0707
    """
    strata = checked_sizes(sizes)
    share = _checked_shares(shares, strata)
    number = np.array([units[name] for name in strata.index], dtype=float)
    weight = strata.to_numpy() / strata.sum()
    return float(np.sqrt((weight**2 * share * (1 - share) / number).sum()))


def sample_size_for_accuracy(sizes: Numbers, users_accuracy: Numbers, *, target_se: float, rule: str = "neyman") -> int:
    """How many units are needed for a wanted standard error of overall accuracy.

    With ``neyman`` it is n = (Σ W S / S(O))², S = √(U (1 − U)): eq. 13 of Olofsson et al. 2014, which is eq. 5.25 of
    Cochran 1977 for a map of many more pixels than there are units.

    Parameters
    ----------
    sizes
        The size of each stratum, in any unit of area.
    users_accuracy
        A guess of how much of each stratum is right, 0..1.
    target_se
        The wanted standard error, between 0 and 1. For an interval of ± d at 95 % it is d / 1.96.
    rule
        How the units will be spread (see `allocate`), or ``simple``: a simple random sample without strata.

    Raises
    ------
    OptionError
        An unknown rule, a stratum without a guess, or a number out of its range.

    Examples
    --------
    >>> sizes = {"deforestation": 20, "gain": 15, "forest": 320, "other": 645}
    >>> guess = {"deforestation": 0.7, "gain": 0.6, "forest": 0.9, "other": 0.95}
    >>> sample_size_for_accuracy(sizes, guess, target_se=0.01)
    641
    """
    if not 0 < target_se < 1:
        raise OptionError(
            f"A standard error of overall accuracy lies between 0 and 1, but {target_se} was asked for. "
            "0.01 gives an interval of about ± 0.02."
        )
    return _needed(sizes, users_accuracy, target_se, rule)


def sample_size_for_area(sizes: Numbers, shares: Numbers, *, target_se: float, rule: str = "neyman") -> int:
    """How many units are needed for a wanted standard error of a class's area.

    The same formulas as for overall accuracy, for the indicator of the class (Cochran 1977, chapter 5).

    Parameters
    ----------
    sizes
        The size of each stratum, in any unit of area.
    shares
        A guess of how much of each stratum is of the class by the reference, 0..1.
    target_se
        The wanted standard error, in the unit of the sizes. For an interval of ± d at 95 % it is d / 1.96.
    rule
        How the units will be spread (see `allocate`), or ``simple``: a simple random sample without strata.

    Raises
    ------
    OptionError
        An unknown rule, a stratum without a guess, or a number out of its range.

    Examples
    --------
    Half of one stratum of 100 ha, known to ± 10 ha: (100 × 0.5 / 5)² units.

    >>> sample_size_for_area({"all": 100}, {"all": 0.5}, target_se=5)
    100
    """
    whole = checked_sizes(sizes).sum()
    if not 0 < target_se < whole:
        raise OptionError(
            f"A standard error of an area lies between 0 and the whole area, {whole:g}, but {target_se} was asked for. "
            "Give it in the unit of the sizes."
        )
    return _needed(sizes, shares, target_se / whole, rule)


def _needed(sizes: Numbers, shares: Numbers, target_se: float, rule: str) -> int:
    strata = checked_sizes(sizes)
    share = _checked_shares(shares, strata)
    weight = strata.to_numpy() / strata.sum()
    if rule == "simple":
        mean = float(weight @ share)
        variance = mean * (1 - mean)
    else:
        taken = _weights(strata, rule, share)
        spread = weight**2 * share * (1 - share)
        parts = np.divide(spread, taken / taken.sum(), out=np.zeros_like(spread), where=spread > 0)
        variance = float(parts.sum())  # of the estimate, times n
    return max(1, math.ceil(variance / target_se**2 - 1e-9))


def _weights(strata: pd.Series, rule: str, share: np.ndarray | None) -> np.ndarray:
    """(stratum,) What the number of units is proportional to."""
    if rule == "equal":
        return np.ones(len(strata))
    if rule == "proportional":
        return strata.to_numpy()
    if rule != "neyman":
        raise OptionError(f"Units are spread by one of the rules {', '.join(RULES)}, but not {rule!r}. Choose one.")
    if share is None:
        raise OptionError("The rule neyman needs a guess for each stratum, but there is none. Give shares, 0..1.")
    weights = strata.to_numpy() * np.sqrt(share * (1 - share))
    if not weights.any():
        raise OptionError(
            f"The rule neyman needs a share between 0 and 1, but they are {share.tolist()}. Guess more carefully, or "
            "choose another rule."
        )
    return weights


def _checked_shares(shares: Numbers, strata: pd.Series) -> np.ndarray:
    """(stratum,) In the order of the strata."""
    given = dict(shares.items())
    if set(given) != set(strata.index):
        raise OptionError(
            f"There is one share for each of the strata {list(strata.index)}, but those given are for {list(given)}. "
            "Name the same."
        )
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise OptionError(f"A share lies between 0 and 1, but that of {name!r} is {share}. Give 0.9 for 90 %.")
    return np.array([given[name] for name in strata.index], dtype=float)
