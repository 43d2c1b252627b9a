"""One class list for two maps, with a crosswalk where theirs differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import xarray as xr

from geoseg.classes import default_color
from geoseg.classmap import class_names, classes_of
from geoseg.errors import OptionError

__all__ = ["Crosswalk", "Legends", "legends_of"]

Crosswalk = Mapping[Any, Any] | pd.DataFrame
"""``{class: common class}``, ``{"before": {...}, "after": {...}}``, or a table with the columns ``from``, ``to`` and,
if need be, ``date`` (before, after). Classes are names or values."""

_DATES = ("before", "after")


@dataclass(frozen=True)
class Legends:
    """The classes of two maps under names that they share."""

    names: tuple[dict[int, str], dict[int, str]]
    """The common name of each value, before and after."""
    values: dict[str, int]
    """The common value of each common name, in order of value: that of the later map where it has one."""
    colors: dict[str, str]
    """``#rrggbb`` of each common name."""

    def name_of(self, date: int, value: int) -> str:
        """The common name of a value of the map before (0) or after (1)."""
        return self.names[date].get(value, f"class {value}")

    def with_names(self, names: Iterable[str]) -> Legends:
        """The same with further classes, which occur in a map but not in its legend."""
        values = dict(self.values)
        for name in sorted(set(names) - set(values), key=lambda name: (len(name), name)):
            values[name] = _free(int(name.removeprefix("class ")), values)
        return replace(self, values=_by_value(values))


def legends_of(before: xr.DataArray, after: xr.DataArray, crosswalk: Crosswalk | None) -> Legends:
    """The common class list of two maps.

    Raises
    ------
    OptionError
        A class stands in one of the legends only and the crosswalk does not name it; or the crosswalk names a class
        that is not there, or a value that is one class before and another one after.
    """
    own = class_names(before), class_names(after)
    rules = _rules(crosswalk)
    _check_rules(rules, own)
    names = tuple(dict(part) for part in own)
    named = set()
    for date in (0, 1):
        for key, to in rules[date].items():
            value = _value_in(own[date], key)
            common = _common_name(to, own)
            named.add(common)
            if value is not None:
                names[date][value] = common
    _check_shared(names, named)
    values: dict[str, int] = {}
    for date in (1, 0):
        for value, name in sorted(names[date].items()):
            values.setdefault(name, _free(value, values))
    colors = {info.name: info.color for da in (before, after) for info in classes_of(da)}
    colors = {name: colors.get(name) or default_color(value, name) for name, value in values.items()}
    return Legends((names[0], names[1]), _by_value(values), colors)


def _rules(crosswalk: Crosswalk | None) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """What the crosswalk says of each date."""
    if crosswalk is None:
        return {}, {}
    if isinstance(crosswalk, pd.DataFrame):
        if not {"from", "to"} <= set(crosswalk.columns):
            raise OptionError(
                f"A crosswalk has the columns from and to, but this one has {', '.join(map(str, crosswalk.columns))}. "
                "Rename them."
            )
        dates = crosswalk["date"] if "date" in crosswalk else pd.Series([None] * len(crosswalk))
        rows = list(zip(dates, crosswalk["from"], crosswalk["to"], strict=True))
    elif any(isinstance(part, Mapping) for part in crosswalk.values()):
        if not all(isinstance(part, Mapping) for part in crosswalk.values()):
            raise OptionError(
                "A crosswalk by date is {'before': {...}, 'after': {...}}, but this one mixes both kinds."
            )
        rows = [(date, key, to) for date, part in crosswalk.items() for key, to in part.items()]
    else:
        rows = [(None, key, to) for key, to in crosswalk.items()]
    rules: tuple[dict[Any, Any], dict[Any, Any]] = {}, {}
    for date, key, to in rows:
        if not (date is None or pd.isna(date) or date in _DATES):
            raise OptionError(f"The date of a crosswalk is before or after, but {date!r} stands there.")
        if pd.isna(key) or pd.isna(to):
            raise OptionError(f"A crosswalk says from which class to which, but has {key!r} → {to!r}. Fill the gap.")
        for part, name in zip(rules, _DATES, strict=True):
            if (date is None or pd.isna(date) or date == name) and part.setdefault(key, to) != to:
                raise OptionError(f"A class becomes one class, but {key!r} stands twice in the crosswalk.")
    return rules


def _check_rules(rules: tuple[dict[Any, Any], ...], own: tuple[dict[int, str], ...]) -> None:
    for key in {**rules[0], **rules[1]}:
        dates = [date for date in (0, 1) if key in rules[date]]
        if all(_value_in(own[date], key) is None for date in dates):
            known = sorted({name for date in dates for name in own[date].values()})
            raise OptionError(
                f"A crosswalk names classes of the maps, but {key!r} is none; they are {', '.join(known) or 'unnamed'}."
            )
        found = {own[date].get(value) for date in dates if (value := _value_in(own[date], key)) in own[date]}
        if len(found) > 1:
            raise OptionError(
                f"A class of the crosswalk is one class, but {key!r} is {' and '.join(sorted(map(str, found)))}. "
                "Give its name, or say the date: {'before': {...}, 'after': {...}}."
            )


def _check_shared(names: tuple[dict[int, str], ...], named: set[str]) -> None:
    early, late = (set(part.values()) for part in names)
    parts = [
        f"only {date}: {', '.join(sorted(alone))}"
        for date, alone in (("before", early - late - named), ("after", late - early - named))
        if alone
    ]
    if parts:
        raise OptionError(
            f"Two maps need the same classes, but some stand in one legend only ({'; '.join(parts)}). Give a crosswalk "
            "that says what they are in common, {'conifers': 'forest'}; a class that is new or gone stays as it is: "
            "{'solar park': 'solar park'}."
        )


def _value_in(names: Mapping[int, str], key: Any) -> int | None:
    """The value that a class of a crosswalk has in a map: by its name, or a number."""
    by_name = {name: value for value, name in names.items()}
    return by_name[str(key)] if str(key) in by_name else _number(key)


def _common_name(to: Any, own: tuple[dict[int, str], dict[int, str]]) -> str:
    number = _number(to)
    if number is None or any(str(to) in part.values() for part in own):
        return str(to)
    return own[1].get(number) or own[0].get(number) or f"class {number}"


def _number(item: Any) -> int | None:
    try:
        return int(item) if float(item) == int(float(item)) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _free(value: int, values: Mapping[str, int]) -> int:
    taken = set(values.values())
    return value if value not in taken else next(n for n in range(len(taken) + 1) if n not in taken)


def _by_value(values: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(values.items(), key=lambda item: item[1]))
