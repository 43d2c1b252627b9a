"""Sizes as people write them: ``500m2``, ``0.05ha``, ``9px``, ``1.5px``, ``3m``.

A number without a unit is square metres or metres where the map's coordinates are metres. On any other map it would be
a guess, so it is refused there.

>>> parse_area("0.05 ha")
Area(value=500.0, unit='m2')
>>> parse_length("0.2km")
Length(value=200.0, unit='m')
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeVar

import pyproj

from geoseg.errors import OptionError

__all__ = ["Area", "Length", "parse_area", "parse_length", "with_unit"]

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*[2²]?)\s*", re.IGNORECASE)
_AREAS = {"": ("", 1.0), "px": ("px", 1.0), "m2": ("m2", 1.0), "ha": ("m2", 1e4), "km2": ("m2", 1e6)}
_LENGTHS = {"": ("", 1.0), "px": ("px", 1.0), "m": ("m", 1.0), "km": ("m", 1e3)}


@dataclass(frozen=True)
class Area:
    """How large a region is."""

    value: float
    """Above 0, finite."""
    unit: str
    """``m2`` (on the ellipsoid), ``px`` (pixels), or nothing: see `with_unit`."""


@dataclass(frozen=True)
class Length:
    """How long something is."""

    value: float
    """Above 0, finite."""
    unit: str
    """``m``, ``px`` (sides of a pixel), or nothing: see `with_unit`."""


_Size = TypeVar("_Size", Area, Length)


def parse_area(size: str | float | Area, *, option: str = "--min-area") -> Area:
    """An area as the user wrote it.

    Parameters
    ----------
    size
        A number and m2 (m²), ha, km2 (km²) or px, in capitals or not; a number alone keeps an empty unit.
    option
        What errors call it.

    Returns
    -------
    Area
        In m2, px or without a unit.

    Raises
    ------
    OptionError
        Not a finite number above 0, or an unknown unit.

    Examples
    --------
    >>> parse_area("500 m²"), parse_area("9px"), parse_area(500)
    (Area(value=500.0, unit='m2'), Area(value=9.0, unit='px'), Area(value=500.0, unit=''))
    >>> parse_area("5 acres")
    Traceback (most recent call last):
    geoseg.errors.OptionError: --min-area is an area above 0 such as 500m2, 0.05ha, 1km2 or 9px, but is '5 acres'. ...
    """
    if isinstance(size, Area):
        return size
    rule = f"{option} is an area above 0 such as 500m2, 0.05ha, 1km2 or 9px"
    return Area(*_parse(size, _AREAS, rule))


def parse_length(size: str | float | Length, *, option: str = "--simplify") -> Length:
    """A length as the user wrote it.

    Parameters
    ----------
    size
        A number and m, km or px, in capitals or not; a number alone keeps an empty unit.
    option
        What errors call it.

    Returns
    -------
    Length
        In m, px or without a unit.

    Raises
    ------
    OptionError
        Not a finite number above 0, or an unknown unit.

    Examples
    --------
    >>> parse_length("1.5px"), parse_length("3 m"), parse_length(2)
    (Length(value=1.5, unit='px'), Length(value=3.0, unit='m'), Length(value=2.0, unit=''))
    >>> parse_length("-1px")
    Traceback (most recent call last):
    geoseg.errors.OptionError: --simplify is a length above 0 such as 1.5px, 3m or 0.2km, but is '-1px'. ...
    """
    if isinstance(size, Length):
        return size
    return Length(*_parse(size, _LENGTHS, f"{option} is a length above 0 such as 1.5px, 3m or 0.2km"))


def _parse(size: Any, units: dict[str, tuple[str, float]], rule: str) -> tuple[float, str]:
    number = isinstance(size, Real) and not isinstance(size, bool)
    match = _NUMBER.fullmatch(str(float(size)) if number else str(size))
    unit = match[2].lower().replace("²", "2") if match else None
    if match is None or unit not in units:
        raise OptionError(
            f"{rule}, but is {size!r}. Write a number and one of the units {', '.join(filter(None, units))}."
        )
    name, factor = units[unit]
    value = float(match[1]) * factor
    if not 0 < value < math.inf:
        raise OptionError(f"{rule}, but is {size!r}. Write a finite number above 0, or leave the option out.")
    return value, name


def with_unit(size: _Size, crs: Any, *, option: str | None = None) -> _Size:
    """A size whose unit is known: a bare number is m2 or m on a projected CRS in metres, and refused on any other.

    Parameters
    ----------
    size
        An `Area` or a `Length`.
    crs
        Of the map: a `GeoBox`, or all that pyproj understands; None = there is none.
    option
        What errors call it; without, ``--min-area`` or ``--simplify``.

    Returns
    -------
    Area or Length
        In m2 or px, m or px.

    Raises
    ------
    OptionError
        No unit, and the CRS is geographic, in feet, or missing.

    Examples
    --------
    >>> with_unit(parse_area(500), "EPSG:32632")
    Area(value=500.0, unit='m2')
    >>> with_unit(parse_area("9px"), None)
    Area(value=9.0, unit='px')
    >>> with_unit(parse_area(500), "EPSG:4326")
    Traceback (most recent call last):
    geoseg.errors.OptionError: --min-area needs a unit where the map's coordinates are not metres (here: degree),
    but is 500. Write 500m2 or 9px.
    """
    if size.unit:
        return size
    crs = getattr(crs, "crs", crs)  # a GeoBox has one
    axis = "no CRS"
    if crs is not None:
        known = pyproj.CRS.from_user_input(crs.to_wkt() if hasattr(crs, "to_wkt") else crs)
        axis = known.axis_info[0].unit_name if known.axis_info else "unknown"
        if known.is_projected and axis == "metre":
            return replace(size, unit="m2" if isinstance(size, Area) else "m")
    option = option or ("--min-area" if isinstance(size, Area) else "--simplify")
    example = f"{size.value:g}m2 or 9px" if isinstance(size, Area) else f"{size.value:g}m or 1.5px"
    raise OptionError(
        f"{option} needs a unit where the map's coordinates are not metres (here: {axis}), but is {size.value:g}. "
        f"Write {example}."
    )
