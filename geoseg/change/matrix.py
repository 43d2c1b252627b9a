"""What became what: the transition matrix of two class maps."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from geoseg.change.counting import Counted, count
from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.pairing import stack_of

__all__ = ["matrix_of", "matrix_table", "pair_sums", "square", "transition_matrix"]

_COLUMNS = ["from", "from_name", "to", "to_name", "pixels", "area_m2", "area_ha"]


def transition_matrix(before: xr.DataArray, after: xr.DataArray, *, crosswalk: Crosswalk | None = None) -> pd.DataFrame:
    """How many pixels, and how much true area, went from each class to each class.

    The maps are compared where both have a class, on the grid of ``after`` (see `align`); they are read once, strip by
    strip.

    Parameters
    ----------
    before, after
        Class maps; see `align`. Classes are the same where their names are, whatever their values.
    crosswalk
        Where the legends differ: what classes are called in common. ``{class: common class}`` for both maps,
        ``{"before": {...}, "after": {...}}`` for each, or a table with the columns ``from``, ``to`` and, if need be,
        ``date``. Classes are names or values; several may become one. A class of one map only, which is new or gone, is
        named too: ``{"solar park": "solar park"}``.

    Returns
    -------
    DataFrame
        ``from, from_name, to, to_name, pixels, area_m2, area_ha``: a row for each pair that occurs, and one for each
        class staying what it is, also without a pixel, in order of from and to. Values are those of ``after`` where it
        has the class. The rows sum to the area where both maps have a class.

    Raises
    ------
    SceneError
        No overlap, no CRS or grid, or not class maps.
    OptionError
        The legends differ and the crosswalk does not say how, or the crosswalk fits neither.

    Examples
    --------
    >>> import numpy as np
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field")]
    >>> early, late = (class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 255], [1, 2, 2]))
    >>> transition_matrix(early, late)[["from_name", "to_name", "pixels"]].values.tolist()
    [['forest', 'forest', 1], ['forest', 'field', 1], ['field', 'field', 0]]
    """
    legends = legends_of((before, after), crosswalk)
    counted = count(stack_of((before, after)))
    return matrix_of(counted, legends.with_values(counted.pixels))


def matrix_of(counted: Counted, legends: Legends, first: int = 0, last: int = -1) -> pd.DataFrame:
    """The table of `transition_matrix` between two of the maps that were counted together."""
    return matrix_table(*pair_sums(counted, legends, first, last), counted.unit_m2, legends)


def pair_sums(
    counted: Counted, legends: Legends, first: int = 0, last: int = -1
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """The pixels and the units of area of each pair of names."""
    pixels: dict[tuple[str, str], int] = {}
    units: dict[tuple[str, str], int] = {}
    for values in counted.pixels:
        pair = legends.name_of(first, values[first]), legends.name_of(last, values[last])
        pixels[pair] = pixels.get(pair, 0) + counted.pixels[values]
        units[pair] = units.get(pair, 0) + counted.units[values]
    return pixels, units


def matrix_table(
    pixels: Mapping[tuple[str, str], int], units: Mapping[tuple[str, str], int], unit_m2: float, legends: Legends
) -> pd.DataFrame:
    """The table of `transition_matrix`, of what was counted for each pair of names."""
    values = legends.values
    pairs = {pair for pair, number in pixels.items() if number} | {(name, name) for name in values}
    records = []
    for early, late in sorted(pairs, key=lambda pair: (values[pair[0]], values[pair[1]])):
        area_m2 = units.get((early, late), 0) * unit_m2
        records.append((values[early], early, values[late], late, pixels.get((early, late), 0), area_m2, area_m2 / 1e4))
    table = pd.DataFrame(records, columns=_COLUMNS)
    return table.astype({"from": "int64", "to": "int64", "pixels": "int64", "area_m2": "float64", "area_ha": "float64"})


def square(matrix: pd.DataFrame, column: str = "area_ha") -> pd.DataFrame:
    """A transition matrix as a square: a row for each class before, a column for each after, and the totals.

    Parameters
    ----------
    matrix
        Of `transition_matrix`.
    column
        ``area_ha``, ``area_m2`` or ``pixels``.

    Examples
    --------
    >>> long = pd.DataFrame({"from": [1, 1, 2], "from_name": ["forest", "forest", "field"], "to": [1, 2, 2],
    ...                      "to_name": ["forest", "field", "field"], "pixels": [50, 40, 7]})
    >>> print(square(long, "pixels").to_string(index=False))
    from \\ to  forest  field  total
       forest      50     40     90
        field       0      7      7
        total      50     47     97
    """
    names = dict(zip(matrix["from"], matrix["from_name"], strict=True))
    names.update(zip(matrix["to"], matrix["to_name"], strict=True))
    order = sorted(names)
    table = matrix.pivot_table(index="from", columns="to", values=column, aggfunc="sum", fill_value=0)
    table = table.reindex(index=order, columns=order, fill_value=0).astype(matrix[column].dtype)
    table = pd.concat([table, table.sum(axis=1).rename("total")], axis=1)
    table.loc["total"] = table.sum(axis=0)
    table = table.rename(columns=names)
    table.insert(0, "from \\ to", [*(names[value] for value in order), "total"])
    return table.reset_index(drop=True)
