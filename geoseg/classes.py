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
    """``#rrggbb``; when empty, the usual colour for the name, or else one that depends on the value alone."""

    def __post_init__(self) -> None:
        if not 0 <= int(self.value) < NODATA:
            raise OptionError(
                f"A class value must be 0..254 (255 is nodata), but {self.name!r} has {self.value}. "
                "Renumber the classes."
            )
        if not str(self.name).strip():
            raise OptionError(f"A class needs a name, but class {self.value} has an empty one.")
        object.__setattr__(self, "value", int(self.value))
        object.__setattr__(self, "color", (self.color or default_color(self.value, self.name)).lower())
        if not re.fullmatch(r"#[0-9a-f]{6}", self.color):
            raise OptionError(f"A colour is written #rrggbb, but class {self.value} ({self.name}) has {self.color!r}.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255 each."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


_USUAL = {
    # What people expect on a map: water is blue. No two names have one colour.
    "water": "#1f6fb4", "river": "#3d85c6", "lake": "#2a5f9e", "wetland": "#5fa8a0", "snow": "#e8f1f8",
    "ice": "#d5e8f3", "forest": "#1b6e35", "trees": "#23803f", "tree": "#2c8c48", "woodland": "#3a7d44",
    "mangrove": "#00695c", "vegetation": "#3f9b4f", "shrub": "#8a9a4b", "shrubland": "#93a256", "grass": "#9ccb5b",
    "grassland": "#a9d06b", "herbaceous": "#b5d47a", "meadow": "#bddc86", "crop": "#e3c04a", "crops": "#e6c655",
    "cropland": "#e0b93f", "agriculture": "#d9b13a", "field": "#dcc268", "urban": "#c0392b", "built-up": "#c94a3b",
    "built": "#b8382a", "building": "#c0483a", "buildings": "#c55345", "impervious": "#8c8c8c", "road": "#6e6e6e",
    "roads": "#757575", "bare": "#d0b48a", "bare land": "#d2b48c", "bare soil": "#c9a97c", "barren": "#cdb087",
    "soil": "#b08d5b", "sand": "#ead9a8", "rock": "#a39a8e", "cloud": "#f2f2f2", "clouds": "#f4f4f4",
    "shadow": "#3b3b46", "deforested": "#e07b39", "deforestation": "#d9722f", "cleared": "#e69a5b", "burned": "#5b3a2e",
}  # fmt: skip


def default_color(value: int, name: str = "") -> str:
    """The colour of a class that was given none: the usual one for its name, in any case of letters; or else a distinct
    one for its value, always the same (golden-angle steps around the hue circle).

    >>> default_color(0) != default_color(1)
    True
    >>> default_color(7, "Water")
    '#1f6fb4'
    """
    usual = _USUAL.get(str(name).strip().casefold())
    if usual is not None:
        return usual
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
