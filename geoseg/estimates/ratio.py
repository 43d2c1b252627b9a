"""The one estimator behind all others: a ratio of two totals, from a stratified random sample.

Stehman 2014, "Estimating area and map accuracy for stratified random sampling when the strata are different from the
map classes", International Journal of Remote Sensing 35; Cochran 1977, "Sampling Techniques",
chapters 5 and 6. A unit has only a map class and a reference class, so what is averaged is a function of the two, and
units can be counted instead of listed.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from geoseg.errors import OptionError

__all__ = ["quantile_of", "stratified_ratio"]


def stratified_ratio(
    counts: np.ndarray,
    sizes: np.ndarray,
    numerator: np.ndarray,
    denominator: np.ndarray,
    *,
    populations: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A ratio of two totals over the whole map, and its standard error.

    The total of a function of a unit is estimated by its mean in each stratum, times the stratum's size. With a
    denominator of ones the ratio is a mean: an area's share, or overall accuracy.

    Parameters
    ----------
    counts
        (..., stratum, map class, reference class) How many sample units; at least two in each stratum.
    sizes
        (stratum,) How large each stratum is, in any unit of area.
    numerator, denominator
        (map class, reference class) The value of a unit of that pair of classes, above and below the line.
    populations
        (stratum,) How many units each stratum holds in all, for units drawn without replacement: the variance in it is
        multiplied by 1 − n/N (Cochran 1977, eq. 5.7), so a stratum of which all is known adds no error. None = the
        sample is a small part of the map.

    Returns
    -------
    tuple of ndarray
        The ratio and its standard error, each float64 (...,). NaN where the denominator's total is 0.

    Examples
    --------
    User's accuracy of the first of two classes, which are the strata: 9 of 10 units are right.

    >>> counts = np.array([[[9, 1], [0, 0]], [[0, 0], [4, 16]]])
    >>> right, mapped = np.array([[1, 0], [0, 0]]), np.array([[1, 1], [0, 0]])
    >>> ratio, se = stratified_ratio(counts, np.array([100, 300]), right, mapped)
    >>> float(ratio), float(se.round(6))  # 0.1 = √(0.9 × 0.1 / 9)
    (0.9, 0.1)
    """
    units = counts.sum(axis=(-2, -1))
    above, below = (
        ((counts * values).sum(axis=(-2, -1)) / units * sizes).sum(axis=-1) for values in (numerator, denominator)
    )
    ratio = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
    residual = (numerator - ratio[..., None, None] * denominator)[..., None, :, :]
    mean = (counts * residual).sum(axis=(-2, -1)) / units
    # = s_y² + R² s_x² − 2 R s_xy, without the cancellation
    variance = (counts * (residual - mean[..., None, None]) ** 2).sum(axis=(-2, -1)) / np.maximum(units - 1, 1)
    if populations is not None:
        variance = variance * (1 - units / populations)
    error = np.sqrt((sizes**2.0 * variance / units).sum(axis=-1))
    return ratio, np.divide(error, below, out=np.full_like(below, np.nan), where=below > 0)


def quantile_of(confidence: float) -> float:
    """How many standard errors an interval reaches to each side, by the normal distribution.

    Raises
    ------
    OptionError
        It is not between 0 and 1.

    >>> round(quantile_of(0.95), 2)
    1.96
    """
    if not 0 < confidence < 1:
        raise OptionError(f"A confidence lies between 0 and 1, but it is {confidence}. 0.95 is usual.")
    return NormalDist().inv_cdf((1 + confidence) / 2)
