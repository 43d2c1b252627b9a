"""How many units in each stratum, and how exact the result will be if the map is as good as is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geoseg.errors import OptionError
from geoseg.estimates import allocate, expected_se, sample_size_for_accuracy, sample_size_for_area
from geoseg.sampling.frame import WHOLE, Frame

__all__ = ["DESIGNS", "Goal", "Guess", "planned"]

DESIGNS = ("simple", "stratified", "systematic")
"""How units can be drawn: at random over the whole map; at random in each stratum; on a grid with a random start."""


@dataclass(frozen=True)
class Guess:
    """What is thought of the map before anything is interpreted."""

    accuracy: float | Mapping[Any, float] = 0.85
    """How much of each map class is right, 0..1; one number for all, or one for each."""
    target_class: str | None = None
    """The class whose area is wanted; None = overall accuracy is."""
    shares: Mapping[Any, float] | None = None
    """How much of each stratum is of the target class, 0..1. None = what `accuracy` says of it: errors are
    spread over the other classes in proportion to their area."""


@dataclass(frozen=True)
class Goal:
    """How large the sample is to be: either is given."""

    n: int | None = None
    """Units in all."""
    target_se: float | None = None
    """The standard error wanted: of overall accuracy, 0..1; or of the target class's area, m²."""

    def __post_init__(self) -> None:
        if (self.n is None) == (self.target_se is None):
            raise OptionError(
                "A sample has a size or the standard error that it is for, but "
                f"{'both are' if self.n is not None else 'neither is'} given. Give --n or --target-se (n, target_se)."
            )
        if self.n is not None and self.n < 2:
            raise OptionError(f"A sample has two units or more, but --n is {self.n}. 50 a class are a good start.")


def planned(
    frame: Frame, goal: Goal, guess: Guess, *, design: str, allocation: str, at_least: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The units of each stratum, and the standard errors to be expected.

    Parameters
    ----------
    frame
        What is drawn from, with the strata; for a simple or systematic sample with the map's classes.
    goal, guess
        What is wanted, and what is thought.
    design
        One of `DESIGNS`.
    allocation, at_least
        See `geoseg.estimates.allocate`.

    Returns
    -------
    strata, expected
        ``stratum, pixels, area_m2, units, expected_accuracy, expected_se``; and ``measure, class, expected, se``
        (overall accuracy; and the area of each class, m², where something is guessed of it).

    Raises
    ------
    OptionError
        An unknown design, class or rule; a guess that is missing or out of its range; too few units.
    """
    if design not in DESIGNS:
        raise OptionError(f"A sample is {', '.join(DESIGNS)}, but --design is {design!r}. Choose one.")
    accuracy = _accuracies(frame, guess)
    shares = _target_shares(frame, guess, accuracy)
    rule = "simple" if design != "stratified" else allocation
    n = goal.n
    if n is None:
        assert goal.target_se is not None
        needed = sample_size_for_accuracy if guess.target_class is None else sample_size_for_area
        if shares is None:
            raise OptionError(
                f"A sample for the area of {guess.target_class!r} needs a guess of its share of each stratum, but "
                "strata that are not the map's classes have none. Give --class-share (class_shares)."
            )
        n = max(2, needed(frame.sizes, shares, target_se=goal.target_se, rule=rule))
    if n > frame.pixels.sum():
        raise OptionError(f"The map has {frame.pixels.sum():,} pixels, but {n:,} are to be drawn. Take fewer.")
    if design == "stratified":
        n = n if goal.n is not None else max(n, int(np.minimum(frame.pixels, at_least).sum()))
        units = allocate(n, frame.sizes, rule=rule, shares=shares, at_least=at_least, at_most=frame.pixels)
        strata = frame.table.assign(units=units.to_numpy())
    else:
        strata = frame.whole().table.assign(units=n)
    return _with_errors(strata, accuracy, frame), _expected(frame, strata, accuracy, guess)


def _accuracies(frame: Frame, guess: Guess) -> pd.Series:
    """By stratum, how much of it is right."""
    names = list(frame.table["stratum"])
    given = guess.accuracy
    if not isinstance(given, Mapping):
        if not 0 <= given <= 1:
            raise OptionError(f"An accuracy lies between 0 and 1, but {given} is expected. Give 0.9 for 90 %.")
        return pd.Series(float(given), index=names)
    _check_names(given, names, "--expected-accuracy")
    missing = [name for name in names if name not in given]
    if missing:
        raise OptionError(
            f"An accuracy is expected of each stratum, but {', '.join(map(repr, missing))} has none. Give all of them, "
            "or one number."
        )
    return pd.Series({name: float(given[name]) for name in names})


def _check_names(given: Mapping[Any, float], names: list[str], option: str) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise OptionError(f"{option} names strata, but {unknown[0]!r} is none; they are {', '.join(names)}.")
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise OptionError(f"{option} is between 0 and 1, but that of {name!r} is {share}. Give 0.9 for 90 %.")


def _target_shares(frame: Frame, guess: Guess, accuracy: pd.Series) -> pd.Series | None:
    """By stratum, the share on which the sample's size and its allocation depend; None where nobody can guess it."""
    names = list(frame.table["stratum"])
    if guess.target_class is None:
        if guess.shares is not None:
            raise OptionError("--class-share is for the area of a class, but none is named. Give --target-class.")
        return accuracy
    if guess.shares is not None:
        _check_names(guess.shares, names, "--class-share")
        missing = [name for name in names if name not in guess.shares]
        if missing:
            raise OptionError(f"--class-share is given for each stratum, but {missing[0]!r} has none. Add it.")
        return pd.Series({name: float(guess.shares[name]) for name in names})
    if frame.kind != "map classes":
        return None
    if guess.target_class not in names:
        raise OptionError(
            f"--target-class is a class of the map, but {guess.target_class!r} is none; they are {', '.join(names)}."
        )
    return confused(accuracy, frame.sizes)[guess.target_class]


def confused(accuracy: pd.Series, sizes: pd.Series) -> pd.DataFrame:
    """(map class, reference class) How much of each map class is of each class, with errors in proportion to the area
    of the other classes.

    >>> confused(pd.Series({"a": 0.9, "b": 0.8, "c": 1.0}), pd.Series({"a": 10, "b": 30, "c": 10})).to_numpy().tolist()
    [[0.9, 0.075, 0.025], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]]
    """
    right, area = accuracy.to_numpy(), sizes.to_numpy(dtype=float)
    others = area.sum() - area
    errors = np.divide(1 - right, others, out=np.zeros_like(right), where=others > 0)  # one class only: none to confuse
    shares = np.outer(errors, area)
    np.fill_diagonal(shares, right)
    return pd.DataFrame(shares.round(12), index=accuracy.index, columns=accuracy.index)


def _with_errors(strata: pd.DataFrame, accuracy: pd.Series, frame: Frame) -> pd.DataFrame:
    """With the standard error to be expected of how much of each stratum is right."""
    if len(strata) == 1 and strata["stratum"].iloc[0] == WHOLE:
        share = float((accuracy * frame.sizes).sum() / frame.sizes.sum())
        accuracy = pd.Series({WHOLE: share})
    p = accuracy.loc[list(strata["stratum"])].to_numpy()
    n = strata["units"].to_numpy()
    return strata.assign(expected_accuracy=p, expected_se=np.sqrt(p * (1 - p) / np.maximum(n, 1)))


def _expected(frame: Frame, strata: pd.DataFrame, accuracy: pd.Series, guess: Guess) -> pd.DataFrame:
    """Overall accuracy, and the area of each class where the guess says what it is."""
    weight = frame.sizes / frame.sizes.sum()
    whole = float(frame.sizes.sum())
    shares: dict[tuple[str, Any], pd.Series] = {("overall", None): accuracy}
    if frame.kind == "map classes":
        shares |= {("area", name): column for name, column in confused(accuracy, frame.sizes).items()}
    if guess.shares is not None:
        shares[("area", guess.target_class)] = pd.Series(guess.shares)
    rows = []
    for (measure, name), share in shares.items():
        mean = float((weight * share).sum())
        if (
            len(strata) == len(frame.table)
            and (strata["stratum"].to_numpy() == frame.table["stratum"].to_numpy()).all()
        ):
            units = strata.set_index("stratum")["units"]
            se = expected_se(units, frame.sizes, share) if (units > 0).all() else np.nan
        else:
            se = float(np.sqrt(mean * (1 - mean) / strata["units"].sum()))
        unit = whole if measure == "area" else 1.0
        rows.append((measure, name, mean * unit, se * unit))
    return pd.DataFrame(rows, columns=["measure", "class", "expected", "se"])
