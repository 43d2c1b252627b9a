"""What a class is: a value in the raster, a name and a colour.

Class maps, model packages, styles and tables all use the same `ClassInfo`, so a colour is chosen once.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from dataclasses import dataclass

from geoseg.errors import OptionError

__all__ = ["NODATA", "ClassInfo", "check_classes", "default_color"]

NODATA = 255
"""The value of a pixel without a class in every uint8 map that geoseg writes (also in confidence maps)."""


@dataclass(frozen=True, order=True)
class ClassInfo:
    """One class of a map.

    Raises
    ------
    OptionError
        The value is not 0..254, the name is empty, or the colour is not ``#rrggbb``.

    Examples
    --------
    >>> water = ClassInfo(3, "water", "#1f6fb4")
    >>> water.rgb
    (31, 111, 180)
    """

    value: int
    """The pixel value, 0..254 (255 is nodata)."""
    name: str
    """The name that people read, as in a legend."""
    color: str = ""
    """``#rrggbb``; when empty, a colour that depends on the value alone is chosen."""

    def __post_init__(self) -> None:
        if not 0 <= int(self.value) < NODATA:
            raise OptionError(
                f"A class value must be 0..254 (255 is nodata), but {self.name!r} has {self.value}. "
                "Renumber the classes."
            )
        if not str(self.name).strip():
            raise OptionError(f"A class needs a name, but class {self.value} has an empty one.")
        object.__setattr__(self, "value", int(self.value))
        object.__setattr__(self, "color", (self.color or default_color(self.value)).lower())
        if not re.fullmatch(r"#[0-9a-f]{6}", self.color):
            raise OptionError(f"A colour is written #rrggbb, but class {self.value} ({self.name}) has {self.color!r}.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255 each."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


def default_color(value: int) -> str:
    """A distinct colour for a class value, always the same one (golden-angle steps around the hue circle).

    >>> default_color(0) != default_color(1)
    True
    """
    hue = (0.33 + value * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.45 + 0.25 * (value % 3) / 2, 0.65 + 0.25 * (value % 2))
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def check_classes(classes: Iterable[ClassInfo]) -> tuple[ClassInfo, ...]:
    """The classes as a tuple in order of value; raises `OptionError` where a value or a name stands twice.

    >>> check_classes([ClassInfo(1, "b"), ClassInfo(0, "a")])[0].name
    'a'
    """
    ordered = tuple(sorted(classes))
    for what in ("value", "name"):
        seen = [getattr(info, what) for info in ordered]
        twice = sorted({str(item) for item in seen if seen.count(item) > 1})
        if twice:
            raise OptionError(f"Each class needs a {what} of its own, but {', '.join(twice)} stands twice.")
    return ordered
