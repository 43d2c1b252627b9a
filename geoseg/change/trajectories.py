"""Three or more dates: which ways the ground went, and how much each class had at each date."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
import xarray as xr

from geoseg.change.counting import Counted, count
from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.pairing import stack_of
from geoseg.errors import OptionError

__all__ = ["class_series", "series_of", "trajectories_of", "trajectory_table"]

ARROW = " → "
OTHERS = "(all others)"


def trajectory_table(
    maps: Sequence[xr.DataArray], *, crosswalk: Crosswalk | None = None, most: int | None = 1000
) -> pd.DataFrame:
    """Which ways the ground went through the classes of several maps: "forest → forest → building".

    The maps are compared where all of them have a class, on the grid of the last one (see `align`), and read once.

    Parameters
    ----------
    maps
        Two or more class maps in order of time.
    crosswalk
        See `transition_matrix`; a date is 1, 2, 3 or, for the first and the last map, before and after.
    most
        Rows of the table: the largest trajectories. What is left is summed up in one more row, "(all others)", so that
        the rows sum to the common area. None = all.

    Returns
    -------
    DataFrame
        ``trajectory, class_1, class_2, ..., changes, pixels, area_m2, area_ha, share``, the largest first: the names
        at each date, how often the class changes, and the share of the common area.

    Raises
    ------
    SceneError
        See `transition_matrix`; also more than 262 144 different trajectories.
    OptionError
        See `transition_matrix`; also fewer than two maps, or ``most`` below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field"), ClassInfo(3, "building")]
    >>> maps = [class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 1], [1, 2, 1], [1, 3, 1])]
    >>> trajectory_table(maps)[["trajectory", "changes", "pixels"]].values.tolist()
    [['forest → forest → forest', 0, 2], ['forest → field → building', 2, 1]]
    """
    legends = legends_of(maps, crosswalk)
    counted = count(stack_of(maps))
    return trajectories_of(counted, legends.with_values(counted.pixels), most)


def class_series(maps: Sequence[xr.DataArray], *, crosswalk: Crosswalk | None = None) -> pd.DataFrame:
    """How much of each class there is in each of several maps, where all of them have a class.

    Parameters
    ----------
    maps, crosswalk
        See `trajectory_table`, also for what is raised.

    Returns
    -------
    DataFrame
        ``map, class, class_name, pixels, area_m2, area_ha, share``: a row for each class in each map, which are
        counted from 1.
    """
    legends = legends_of(maps, crosswalk)
    counted = count(stack_of(maps))
    return series_of(counted, legends.with_values(counted.pixels))


def trajectories_of(counted: Counted, legends: Legends, most: int | None) -> pd.DataFrame:
    """The table of `trajectory_table`, of what was counted."""
    if most is not None and most < 1:
        raise OptionError(f"A table of trajectories has at least one row, but most={most}.")
    pixels: dict[tuple[str, ...], int] = {}
    units: dict[tuple[str, ...], int] = {}
    for values in counted.pixels:
        names = tuple(legends.name_of(date, value) for date, value in enumerate(values))
        pixels[names] = pixels.get(names, 0) + counted.pixels[values]
        units[names] = units.get(names, 0) + counted.units[values]
    order = list(legends.values)
    ways = sorted(pixels, key=lambda names: (-units[names], [order.index(name) for name in names]))
    rows = [(ARROW.join(names), *names, _changes(names), pixels[names], units[names]) for names in ways[:most]]
    left = ways[len(rows) :]
    if left:
        blanks = [""] * len(legends.names)
        rows.append((OTHERS, *blanks, pd.NA, sum(pixels[w] for w in left), sum(units[w] for w in left)))
    columns = ["trajectory", *(f"class_{date}" for date in range(1, len(legends.names) + 1)), "changes", "pixels"]
    table = pd.DataFrame(rows, columns=[*columns, "units"]).astype({"changes": "Int64", "pixels": "int64"})
    total = max(1, sum(units.values()))
    area_m2 = table["units"].astype("float64") * counted.unit_m2
    return table.drop(columns="units").assign(area_m2=area_m2, area_ha=area_m2 / 1e4, share=table["units"] / total)


def series_of(counted: Counted, legends: Legends) -> pd.DataFrame:
    """The table of `class_series`, of what was counted."""
    records = []
    total = max(1, sum(counted.units.values()))
    for date in range(len(legends.names)):
        pixels, units = dict.fromkeys(legends.values, 0), dict.fromkeys(legends.values, 0)
        for values in counted.pixels:
            name = legends.name_of(date, values[date])
            pixels[name] += counted.pixels[values]
            units[name] += counted.units[values]
        for name, value in legends.values.items():
            area_m2 = units[name] * counted.unit_m2
            records.append((date + 1, value, name, pixels[name], area_m2, area_m2 / 1e4, units[name] / total))
    columns = ["map", "class", "class_name", "pixels", "area_m2", "area_ha", "share"]
    return pd.DataFrame(records, columns=columns).astype({"class": "int64", "pixels": "int64"})


def _changes(names: Sequence[str]) -> int:
    return sum(a != b for a, b in pairwise(names))
