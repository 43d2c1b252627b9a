"""One class list for several maps, with a crosswalk where theirs differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr

from geoseg.classes import default_color
from geoseg.classmap import class_names, classes_of
from geoseg.errors import OptionError

__all__ = ["Crosswalk", "Legends", "legends_of"]

Crosswalk = Mapping[Any, Any] | pd.DataFrame
"""``{class: common class}``, ``{"before": {...}, "after": {...}}``, or a table with the columns ``from``, ``to`` and,
if need be, ``date``: before and after, the first and the last map; or 1, 2, 3. Classes are names or values."""


@dataclass(frozen=True)
class Legends:
    """The classes of maps under names that they share."""

    names: tuple[dict[int, str], ...]
    """The common name of each value, one dictionary for each map."""
    values: dict[str, int]
    """The common value of each common name, in order of value: that of the latest map that has one."""
    colors: dict[str, str]
    """``#rrggbb`` of each common name."""
    spare_colors: dict[int, str] = field(default_factory=dict)
    """``#rrggbb`` of values without a name, from the colour tables of the files."""

    def name_of(self, date: int, value: int) -> str:
        """The common name of a value of one of the maps, 0 for the first."""
        return self.names[date].get(value, f"class {value}")

    def with_values(self, found: Iterable[Sequence[int]]) -> Legends:
        """The same with further classes: values that occur, one for each map, and may stand in no legend of theirs."""
        columns = list(zip(*found, strict=True)) or [()] * len(self.names)
        names = tuple(
            {**{value: self.name_of(date, value) for value in sorted(set(columns[date]))}, **known}
            for date, known in enumerate(self.names)
        )
        values = dict(self.values)
        for part in names:
            for value, name in part.items():
                values.setdefault(name, _free(value, values))
        spare = self.spare_colors
        colors = {
            name: self.colors.get(name) or spare.get(value) or default_color(value, name)
            for name, value in values.items()
        }
        return Legends(names, _by_value(values), colors, spare)


def legends_of(maps: Sequence[xr.DataArray], crosswalk: Crosswalk | None) -> Legends:
    """The common class list of two or more maps.

    Raises
    ------
    OptionError
        A class stands in some of the legends only and the crosswalk does not name it; or the crosswalk names a class
        that is not there, or a value that is one class in one map and another one in another.
    """
    own = tuple(class_names(da) for da in maps)
    rules, undated = _rules(crosswalk, len(maps))
    _check_rules(rules, undated, own)
    names = tuple(dict(part) for part in own)
    named = set()
    for date, part in enumerate(rules):
        for key, to in part.items():
            value = _value_in(own[date], key)
            common = _common_name(to, own)
            named.add(common)
            if value is not None:
                names[date][value] = common
    _check_shared(names, named)
    values: dict[str, int] = {}
    for part in reversed(names):
        for value, name in sorted(part.items()):
            values.setdefault(name, _free(value, values))
    colors = {info.name: info.color for da in maps for info in classes_of(da)}
    colors = {name: colors.get(name) or default_color(value, name) for name, value in values.items()}
    spare = {value: color for da in maps for value, color in da.attrs.get("color_table", {}).items()}
    return Legends(names, _by_value(values), colors, spare)


def _rules(crosswalk: Crosswalk | None, count: int) -> tuple[tuple[dict[Any, Any], ...], set[Any]]:
    """What the crosswalk says of each map; and the classes of which it says the same for all, without a date."""
    if crosswalk is None:
        return tuple({} for _ in range(count)), set()
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
    rules: tuple[dict[Any, Any], ...] = tuple({} for _ in range(count))
    undated = set()
    for date, key, to in rows:
        if pd.isna(key) or pd.isna(to):
            raise OptionError(f"A crosswalk says from which class to which, but has {key!r} → {to!r}. Fill the gap.")
        for number in _maps_of(date, count):
            if rules[number].setdefault(key, to) != to:
                raise OptionError(f"A class becomes one class, but {key!r} stands twice in the crosswalk.")
        if date is None or pd.isna(date):
            undated.add(key)
    return rules, undated


def _maps_of(date: Any, count: int) -> range:
    """The maps, counted from 0, that a date of a crosswalk means."""
    if date is None or pd.isna(date):
        return range(count)
    number = {"before": 1, "after": count}.get(date) or _number(date)
    if number is None or not 1 <= number <= count:
        raise OptionError(f"The date of a crosswalk is before or after, or 1 to {count}, but {date!r} stands there.")
    return range(number - 1, number)


def _check_rules(rules: tuple[dict[Any, Any], ...], undated: set[Any], own: tuple[dict[int, str], ...]) -> None:
    for key in {key: None for part in rules for key in part}:
        dates = [date for date, part in enumerate(rules) if key in part]
        if all(_value_in(own[date], key) is None for date in dates):
            known = sorted({name for date in dates for name in own[date].values()})
            raise OptionError(
                f"A crosswalk names classes of the maps, but {key!r} is none; they are {', '.join(known) or 'unnamed'}."
            )
        found = {own[date].get(value) for date in dates if (value := _value_in(own[date], key)) in own[date]}
        if key in undated and len(found) > 1:
            raise OptionError(
                f"A class of the crosswalk is one class, but {key!r} is {' and '.join(sorted(map(str, found)))}. "
                "Give its name, or say the date: {'before': {...}, 'after': {...}}."
            )


def _check_shared(names: tuple[dict[int, str], ...], named: set[str]) -> None:
    sets = [set(part.values()) for part in names]
    shared = set.intersection(*sets)
    labels = ["before", "after"] if len(names) == 2 else [f"map {number}" for number in range(1, len(names) + 1)]
    parts = [
        f"{'only ' if len(names) == 2 else ''}{label}: {', '.join(sorted(alone))}"
        for label, part in zip(labels, sets, strict=True)
        if (alone := part - shared - named)
    ]
    if parts:
        raise OptionError(
            f"Maps need the same classes, but some do not stand in every legend ({'; '.join(parts)}). Give a crosswalk "
            "that says what they are in common, {'conifers': 'forest'}; a class that is new or gone stays as it is: "
            "{'solar park': 'solar park'}. In a CSV that is a line conifers,forest below the head from,to."
        )


def _value_in(names: Mapping[int, str], key: Any) -> int | None:
    """The value that a class of a crosswalk has in a map: by its name, or a number."""
    by_name = {name: value for value, name in names.items()}
    return by_name[str(key)] if str(key) in by_name else _number(key)


def _common_name(to: Any, own: tuple[dict[int, str], ...]) -> str:
    number = _number(to)
    if number is None or any(str(to) in part.values() for part in own):
        return str(to)
    return next((part[number] for part in reversed(own) if number in part), f"class {number}")


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
