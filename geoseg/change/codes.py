"""Codes for pairs of classes: which number stands for "forest → field" in a map of change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from geoseg.change.legends import Legends
from geoseg.classes import NODATA, ClassInfo
from geoseg.errors import OptionError

__all__ = ["OTHER", "RARE", "Classes", "Codes", "check_named", "codes_of"]

REGULAR_CLASSES = 15
"""15 × 15 codes fit below those that stand for several pairs."""
MOST_CLASSES = 120
"""Each class that stays what it is has a code of its own."""
OTHER, RARE = 254, 253
_PALE = 0.65  # how far towards white the colour of a class that stays goes
_FROM = 0.3  # how much of the colour of what was there is in that of a change
_OTHER_COLOR, _RARE_COLOR = "#e3e3df", "#7f7f7f"

Classes = str | int | Iterable[str | int]


@dataclass(frozen=True)
class Codes:
    """The code of each pair of classes."""

    table: np.ndarray
    """uint8 (from, to), in order of the legend's classes; 255 for pairs that are left out, `OTHER` for those that are
    put together because nobody asked for them, `RARE` for changes that are too many for codes of their own."""
    infos: tuple[ClassInfo, ...]
    """Name and colour of each code."""
    pairs: dict[int, tuple[int, int]]
    """Which classes, by number, a code stands for; without those that stand for several pairs."""

    @property
    def changes(self) -> tuple[int, ...]:
        """The codes of changes."""
        own = [code for code, (first, second) in self.pairs.items() if first != second]
        return (*own, RARE) if (self.table == RARE).any() else tuple(own)


def codes_of(
    legends: Legends,
    *,
    loss: Classes | None = None,
    gain: Classes | None = None,
    unchanged: bool = True,
    whole: bool = False,
    units: Mapping[tuple[str, str], int] | None = None,
) -> Codes:
    """Choose the codes.

    Up to 15 classes, numbered i = 0, 1, ... n - 1, a change from the i-th to the j-th has the code ``i * n + j``. With
    more classes, the pairs that occur (and are asked for) are numbered in order of from and to; where they are more
    than 253, those of the largest area are, and the others are "other change".

    Parameters
    ----------
    legends
        The classes.
    loss, gain, unchanged
        See `change_map`.
    whole
        Pairs that are not asked for are "other" and not left out, and the classes of loss and gain keep what stays.
    units
        The area of each pair that occurs, by names; needed with more than 15 classes.

    Raises
    ------
    OptionError
        No classes or more than 120; loss and gain that are not among them.
    """
    count = len(legends.values)
    if not 0 < count <= MOST_CLASSES:
        raise OptionError(
            f"A map of change has 1 to {MOST_CLASSES} classes, but the legends have {count}. "
            + ("Give them with class_map, or with a crosswalk." if not count else "Merge some with a crosswalk.")
        )
    wanted, stays = _wanted(legends, loss, gain, unchanged, whole)
    table = np.full((count, count), OTHER if whole else NODATA, np.uint8)
    if count <= REGULAR_CLASSES:
        table[wanted] = np.arange(count * count, dtype=np.uint8).reshape(count, count)[wanted]
    else:
        _number(table, wanted, stays, legends, units or {})
    return Codes(table, tuple(_infos(legends, table)), _pairs(table))


def check_named(legends: Legends, *, loss: Classes | None, gain: Classes | None) -> None:
    """Refuse classes that are in no legend, before anything is read; values without a name show only then."""
    if legends.values:
        for option, wanted in (("loss", loss), ("gain", gain)):
            named = [item for item in _items(wanted) if not re.fullmatch(r"(class )?-?\d+", str(item))]
            _chosen(legends, named, option)


def _items(wanted: Classes | None) -> list[str | int]:
    if wanted is None:
        return []
    return [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)


def _wanted(
    legends: Legends, loss: Classes | None, gain: Classes | None, unchanged: bool, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """bool (from, to): the pairs that are asked for; those of them that stay what they are."""
    count = len(legends.values)
    wanted = np.ones((count, count), bool)
    named = np.zeros(count, bool)
    if loss is not None:
        lost = _chosen(legends, loss, "loss")
        wanted[~lost, :] = False
        named |= lost
    if gain is not None:
        gained = _chosen(legends, gain, "gain")
        wanted[:, ~gained] = False
        named |= gained
    if loss is not None or gain is not None:
        np.fill_diagonal(wanted, named & whole)
    elif not unchanged:
        np.fill_diagonal(wanted, False)
    return wanted, wanted & np.eye(count, dtype=bool)


def _number(
    table: np.ndarray, wanted: np.ndarray, stays: np.ndarray, legends: Legends, units: Mapping[tuple[str, str], int]
) -> None:
    """Give codes to the pairs that stay and those that occur, and make the smallest of too many `RARE`."""
    names = list(legends.values)
    area = np.array([[units.get((early, late), 0) for late in names] for early in names], np.int64)
    changes = np.argwhere(wanted & ~stays & (area > 0))
    by_area = changes[np.argsort(-area[tuple(changes.T)], kind="stable")]
    room = RARE - int(stays.sum())
    for first, second in by_area[room:]:
        table[first, second] = RARE
    kept = np.zeros_like(wanted)
    kept[tuple(by_area[:room].T)] = True
    table[kept | stays] = np.arange(int((kept | stays).sum()), dtype=np.uint8)


def _chosen(legends: Legends, wanted: Classes, option: str) -> np.ndarray:
    result = np.zeros(len(legends.values), dtype=bool)
    for item in _items(wanted):
        found = [name == str(item) or str(value) == str(item) for name, value in legends.values.items()]
        if not any(found):
            raise OptionError(
                f"--{option} takes classes of the maps, but {item!r} is none; they are {', '.join(legends.values)}."
            )
        result |= found
    return result


def _pairs(table: np.ndarray) -> dict[int, tuple[int, int]]:
    return {int(code): pair for pair, code in np.ndenumerate(table) if code < RARE}


def _infos(legends: Legends, table: np.ndarray) -> list[ClassInfo]:
    names = list(legends.values)
    infos = []
    for code, (first, second) in sorted(_pairs(table).items()):
        early, late = names[first], names[second]
        if first == second:
            infos.append(ClassInfo(code, f"{early} (unchanged)", _mixed(legends.colors[early], "#ffffff", _PALE)))
        else:
            color = _mixed(legends.colors[late], legends.colors[early], _FROM)
            infos.append(ClassInfo(code, f"{early} → {late}", color))
    for code, name, color in ((RARE, "other change", _RARE_COLOR), (OTHER, "other", _OTHER_COLOR)):
        if (table == code).any():
            infos.append(ClassInfo(code, name, color))
    return infos


def _mixed(color: str, other: str, share: float) -> str:
    parts = [(int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)
