"""What a reference value means: the name of a class."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr

from geoseg.classmap import class_names
from geoseg.errors import OptionError

__all__ = ["Crosswalk", "Naming", "naming_of"]

Crosswalk = Mapping[Any, Any] | pd.DataFrame
"""``{class: common class}`` for map and reference, or a table with the columns ``from`` and ``to``."""

_ALIKE = 0.85


@dataclass(frozen=True)
class Naming:
    """The names of classes in the map and by the reference."""

    own: dict[int, str]
    """The name of each value of the map's legend, and of values that occur in it."""
    rules: dict[str, str] = field(default_factory=dict)
    """The crosswalk: what a class is called in common, by its name or its number as text."""

    @property
    def known(self) -> list[str]:
        """The common names of the map's classes, in order of value, each once."""
        return list(dict.fromkeys(self.of_map(value) for value in sorted(self.own)))

    def of_map(self, value: int) -> str:
        """The common name of a value of the map."""
        name = self.own.get(value, f"class {value}")
        return self.rules.get(name, self.rules.get(str(value), name))

    def of_reference(self, value: Any) -> str:
        """The common name of a reference value: a name in any case of letters, or a number of the map's legend.

        Raises
        ------
        OptionError
            It is no class of the map, but looks like one; or a fraction.
        """
        text = _text(value)
        if text in self.rules:
            return self.rules[text]
        by_fold = {name.casefold(): name for name in [*self.own.values(), *self.known]}
        number = _number(text)
        if text.casefold() in by_fold:
            name = by_fold[text.casefold()]
        elif number is not None:
            name = self.own.get(number, f"class {number}")
        else:
            self._refuse_typo(text)
            name = text
        return self.rules.get(name, name)

    def _refuse_typo(self, text: str) -> None:
        alike = next((name for name in self.own.values() if _looks_like(text.casefold(), name.casefold())), None)
        if alike is not None:
            raise OptionError(
                f"A reference class that the map does not have is kept as it is, but {text!r} looks like a slip for "
                f"{alike!r}. Correct it; or say what it is with a crosswalk: {{{text!r}: "
                f"{alike!r}}}, or {{{text!r}: {text!r}}} if it is a class of its own."
            )


def naming_of(class_map: xr.DataArray, occurring: Iterable[int], crosswalk: Crosswalk | None) -> Naming:
    """The names of a map's classes, with a crosswalk.

    Parameters
    ----------
    class_map
        The map.
    occurring
        Values that occur in it; each that the legend lacks is called "class N".
    crosswalk
        None = names stay what they are.

    Raises
    ------
    OptionError
        The crosswalk has not the columns from and to, a gap, or a class twice.

    Examples
    --------
    >>> cover = xr.DataArray([[1]], attrs={"flag_values": [1, 2], "flag_meanings": "conifers water"})
    >>> naming = naming_of(cover, [1, 7], {"conifers": "forest"})
    >>> naming.known, [naming.of_reference(value) for value in ("Water", "2", 1.0, "forest", "rock")]
    (['forest', 'water', 'class 7'], ['water', 'water', 'forest', 'forest', 'rock'])
    >>> naming.of_reference("watr")
    Traceback (most recent call last):
    geoseg.errors.OptionError: A reference class that the map does not have is kept as it is, but 'watr' looks ...
    """
    own = class_names(class_map)
    for value in occurring:
        own.setdefault(int(value), f"class {int(value)}")
    return Naming(own, _rules(crosswalk))


def _rules(crosswalk: Crosswalk | None) -> dict[str, str]:
    if crosswalk is None:
        return {}
    if isinstance(crosswalk, pd.DataFrame):
        if not {"from", "to"} <= set(crosswalk.columns):
            raise OptionError(
                f"A crosswalk has the columns from and to, but this one has {', '.join(map(str, crosswalk.columns))}. "
                "Rename them."
            )
        pairs: Sequence[tuple[Any, Any]] = list(zip(crosswalk["from"], crosswalk["to"], strict=True))
    else:
        pairs = list(crosswalk.items())
    rules: dict[str, str] = {}
    for key, to in pairs:
        if pd.isna(key) or pd.isna(to):
            raise OptionError(f"A crosswalk says from which class to which, but has {key!r} → {to!r}. Fill the gap.")
        if rules.setdefault(_text(key), _text(to)) != _text(to):
            raise OptionError(f"A class becomes one class, but {key!r} stands twice in the crosswalk.")
    return rules


def _looks_like(text: str, name: str) -> bool:
    """Whether one may be a slip for the other; "class 1" is none for "class 2".

    >>> [_looks_like(*pair) for pair in (("watr", "water"), ("feild", "field"), ("sand", "land"), ("zone 1", "zone 2"))]
    [True, True, False, False]
    """
    if re.sub(r"\d+", "", text) == re.sub(r"\d+", "", name):
        return False
    return sorted(text) == sorted(name) or difflib.SequenceMatcher(None, text, name).ratio() >= _ALIKE


def _text(value: Any) -> str:
    if isinstance(value, float) and value != int(value):
        raise OptionError(
            f"A reference class is a name or a whole number of the map's legend, but there is {value}. Choose the "
            "column with the classes."
        )
    return str(int(value)) if isinstance(value, float) else str(value).strip()


def _number(text: str) -> int | None:
    try:
        return int(float(text)) if float(text) == int(float(text)) else None
    except (ValueError, OverflowError):
        return None
