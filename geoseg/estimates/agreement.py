"""How map and reference disagree, from the estimated proportions of area."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["disagreement", "kappa"]


def disagreement(proportions: ArrayLike) -> tuple[float, float]:
    """Quantity and allocation disagreement; their sum is 1 − overall accuracy.

    Quantity disagreement is what is wrong because the map has too much of some classes and too little of others; it
    biases areas. Allocation disagreement is what is wrong only in its place: pairs of errors that offset each other.
    Pontius and Millones 2011, "Death to Kappa", International Journal of Remote Sensing 32.

    Parameters
    ----------
    proportions
        (map class, reference class) Proportions of area; the sum is 1.

    Examples
    --------
    >>> [round(part, 6) for part in disagreement([[0.5, 0.2], [0.1, 0.2]])]  # 0.1 too much of the first class
    [0.1, 0.2]
    >>> disagreement(np.zeros((0, 0)))
    (0.0, 0.0)
    """
    matrix = np.asarray(proportions, dtype=float)
    mapped, reference, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix)
    quantity = np.abs(mapped - reference).sum() / 2
    allocation = np.minimum(mapped - right, reference - right).sum()
    return float(quantity), float(allocation)


def kappa(proportions: ArrayLike) -> float:
    """Cohen's kappa, only because people ask for it.

    It rescales overall accuracy by the agreement of a map drawn at random with the same class areas, which nobody
    makes. So it falls for a rare class, however good the map, and maps of different places cannot be compared by it.
    Give overall, user's and producer's accuracy with their intervals, and quantity and allocation disagreement instead
    (Pontius and Millones 2011; Olofsson et al. 2014 advise against kappa).

    Parameters
    ----------
    proportions
        (map class, reference class) Proportions of area; the sum is 1.

    Returns
    -------
    float
        At most 1; 0 for a map at random; NaN where all area is of one class on both sides.

    Examples
    --------
    >>> round(kappa([[0.5, 0.2], [0.1, 0.2]]), 6)  # (0.7 − 0.54) / (1 − 0.54)
    0.347826
    >>> kappa([[1.0]])
    nan
    """
    matrix = np.asarray(proportions, dtype=float)
    by_chance = float(matrix.sum(axis=1) @ matrix.sum(axis=0))
    if np.isclose(by_chance, 1, rtol=0, atol=1e-12):
        return float("nan")
    return (float(np.trace(matrix)) - by_chance) / (1 - by_chance)
