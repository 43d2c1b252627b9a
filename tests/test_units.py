"""Sizes with units: what people write, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from geoseg.errors import OptionError
from geoseg.units import Area, Length, parse_area, parse_length, with_unit


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("500m2", 500, "m2"),
        (" 500 M² ", 500, "m2"),
        ("0.05ha", 500, "m2"),
        (".5 km2", 5e5, "m2"),
        ("1e3m2", 1000, "m2"),
        ("9px", 9, "px"),
        ("9.", 9, ""),
        (9, 9, ""),
        (np.float32(0.5), 0.5, ""),
        (Area(3, "px"), 3, "px"),
    ],
)
def test_areas(text, value, unit):
    assert parse_area(text) == Area(value, unit)


@pytest.mark.parametrize(
    ("text", "value", "unit"), [("1.5px", 1.5, "px"), ("3 m", 3, "m"), ("0.2KM", 200, "m"), (2, 2, ""), ("2", 2, "")]
)
def test_lengths(text, value, unit):
    assert parse_length(text) == Length(value, unit)


NO_AREAS = ["", "px", "5m", "5 acres", "-1px", "0px", "nan", "1e999m2", "1,5px", "5m22", "5 5px"]
NO_AREAS += [0, -3.0, float("nan"), float("inf"), True, None]


@pytest.mark.parametrize("size", NO_AREAS)
def test_no_area(size):
    with pytest.raises(OptionError, match=r"--least is an area above 0 such as .* but is .*\. Write a"):
        parse_area(size, option="--least")


@pytest.mark.parametrize("size", ["5m2", "5ft", "0", -1, float("nan"), None])
def test_no_length(size):
    with pytest.raises(OptionError, match=r"--simplify is a length above 0 such as .* but is .*\. Write a"):
        parse_length(size)


def test_a_bare_number_is_metres_where_the_map_is():
    grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    for crs in (grid, grid.crs, "EPSG:32632", "EPSG:32632+5773", 3857):
        assert with_unit(Area(500, ""), crs) == Area(500, "m2")
        assert with_unit(Length(5, ""), crs) == Length(5, "m")


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2263", "EPSG:4978", None])
def test_a_bare_number_is_refused_elsewhere(crs):
    with pytest.raises(OptionError, match=r"--min-area needs a unit .* but is 500\. Write 500m2 or 9px\."):
        with_unit(Area(500, ""), crs)
    with pytest.raises(OptionError, match=r"--tolerance needs a unit .* but is 2\. Write 2m or 1.5px\."):
        with_unit(Length(2, ""), crs, option="--tolerance")
    assert with_unit(Area(5, "m2"), crs) == Area(5, "m2")
