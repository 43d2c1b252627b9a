"""Gains and losses of each class, and how fast it grows or shrinks."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError

__all__ = ["change_table", "years_between"]

_DAYS_A_YEAR = 365.25
_COLUMNS = {"from", "from_name", "to", "to_name", "area_ha"}


def change_table(matrix: pd.DataFrame, dates: Sequence[Any] | None = None) -> pd.DataFrame:
    """What each class gained, lost and kept between two dates, from a transition matrix.

    Gain, loss, persistence, net, swap and total change are those of Pontius, Shusas & McEachern (2004), "Detecting
    important categorical land changes while accounting for persistence", Agriculture, Ecosystems & Environment 101:
    251-268. Swap is what a class lost at one place and gained at another, twice the smaller of gain and loss; so the
    total change, gain and loss together, is swap and the size of net together. Net has a sign here: gain less loss.

    The annual rate is that of Puyravaud (2003), "Standardizing the calculation of the annual rate of deforestation",
    Forest Ecology and Management 177: 593-596: ``ln(after / before) / years``, as of compound interest.

    Parameters
    ----------
    matrix
        Of `transition_matrix`.
    dates
        The two dates, for the annual rate: dates, texts ("2018-06-01") or years (2018, 2018.5). A year is 365.25 days;
        beside a date, a year is its 1 January. Without dates there is no rate.

    Returns
    -------
    DataFrame
        In order of class: ``class, class_name, before_ha, after_ha, gain_ha, loss_ha, persistence_ha, net_ha, swap_ha,
        total_change_ha`` and, with dates, ``annual_rate``: a share per year, -0.01 for a loss of 1 % a year; NaN where
        the class has no area at one of the dates. ``attrs["years"]`` is the time between them.

    Raises
    ------
    OptionError
        Not a transition matrix; not two dates, no dates, or the second is not later than the first.

    Examples
    --------
    >>> matrix = pd.DataFrame({"from": [1, 1, 2], "from_name": ["forest", "forest", "field"], "to": [1, 2, 2],
    ...                        "to_name": ["forest", "field", "field"], "area_ha": [50.0, 50.0, 0.0]})
    >>> table = change_table(matrix, dates=(2000, 2010))
    >>> table[["class_name", "before_ha", "after_ha", "net_ha"]].values.tolist()
    [['forest', 100.0, 50.0, -50.0], ['field', 0.0, 50.0, 50.0]]
    >>> table["annual_rate"].round(4).tolist()
    [-0.0693, nan]
    """
    if not set(matrix.columns) >= _COLUMNS:
        lacking = ", ".join(sorted(_COLUMNS - set(matrix.columns)))
        raise OptionError(
            f"Changes are summed up from a transition matrix, but this table lacks {lacking}. Give that of "
            "transition_matrix."
        )
    years = None if dates is None else _years(dates)
    names = dict(zip(matrix["from"], matrix["from_name"], strict=True))
    names.update(zip(matrix["to"], matrix["to_name"], strict=True))
    table = pd.DataFrame([(int(value), names[value]) for value in sorted(names)], columns=["class", "class_name"])
    stays = matrix[matrix["from"] == matrix["to"]]
    moves = matrix[matrix["from"] != matrix["to"]]

    def areas_by(rows: pd.DataFrame, column: str) -> np.ndarray:
        sums = rows.groupby(column)["area_ha"].sum()
        return sums.reindex(table["class"], fill_value=0.0).to_numpy(dtype=float)

    gain, loss, kept = areas_by(moves, "to"), areas_by(moves, "from"), areas_by(stays, "from")
    table["before_ha"], table["after_ha"] = kept + loss, kept + gain
    table["gain_ha"], table["loss_ha"], table["persistence_ha"] = gain, loss, kept
    table["net_ha"] = gain - loss
    table["swap_ha"] = 2 * np.minimum(gain, loss)
    table["total_change_ha"] = gain + loss
    if years is not None:
        there = ((table["before_ha"] > 0) & (table["after_ha"] > 0)).to_numpy()
        ratio = np.divide(table["after_ha"], table["before_ha"], out=np.full(len(table), np.nan), where=there)
        table["annual_rate"] = np.log(ratio) / years
        table.attrs["years"] = years
    return table


def years_between(dates: Sequence[Any] | None, maps: int) -> list[float] | None:
    """The years from each of several dates to the next one; None without dates.

    Raises
    ------
    OptionError
        Not a date for each map, no dates, or one that is not later than the one before.

    Examples
    --------
    >>> years_between((2000, 2005, 2012), 3)
    [5.0, 7.0]
    """
    if dates is None:
        return None
    if isinstance(dates, str) or len(dates) != maps:
        raise OptionError(
            f"--dates has one date for each of the {maps} maps, but is {dates!r}. Write them with commas, "
            "2018-06-01,2024-06-01, or leave them out: then there are no annual rates."
        )
    return [_years(pair) for pair in pairwise(dates)]


def _years(dates: Sequence[Any]) -> float:
    """The time between two dates, in years."""
    if isinstance(dates, str) or not hasattr(dates, "__len__") or len(dates) != 2:
        raise OptionError(f"A rate needs two dates, before and after, but {dates!r} was given. Give (2018, 2024).")
    parsed = [_number(date) for date in dates]
    if None not in parsed:
        years = parsed[1] - parsed[0]  # type: ignore[operator]
    else:
        first, second = (_day(date, number) for date, number in zip(dates, parsed, strict=True))
        years = (second - first) / pd.Timedelta(days=_DAYS_A_YEAR)
    if not 0 < years < np.inf:
        raise OptionError(f"The second date is later than the first, but {dates[0]} and {dates[1]} were given.")
    return float(years)


def _number(date: Any) -> float | None:
    """A year written as a number."""
    if (isinstance(date, numbers.Real) and not isinstance(date, bool)) or (
        isinstance(date, str) and date.strip().isdigit()
    ):
        year = float(date)
        if not 1000 <= year < 10000:
            raise OptionError(f"A year has four digits, but {date!r} was given. Write dates as 2018-06-01.")
        return year
    return None


def _day(date: Any, year: float | None) -> pd.Timestamp:
    try:
        day = pd.Timestamp(date if year is None else f"{_whole(year)}-01-01")
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"A date is a date, 2018-06-01 or a year, but {date!r} was given ({error}).") from error
    if pd.isna(day):
        raise OptionError(f"A date is a date, 2018-06-01 or a year, but {date!r} was given.")
    return day.tz_convert(None) if day.tzinfo else day


def _whole(year: float) -> int:
    if year != int(year):
        raise OptionError(
            f"Beside a date, a year is a whole number, but {year} was given. Give two dates or two years."
        )
    return int(year)
