"""What became what: the transition matrix of two class maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.areas.rows import add_runs
from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.pairing import Pair, pair_of
from geoseg.classmap import iter_strips
from geoseg.errors import SceneError

__all__ = ["transition_matrix"]

_STRIP_ROWS = 64  # pairs take four bytes a pixel
_MAX_PAIRS = 1 << 22


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
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field")]
    >>> early, late = (class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 255], [1, 2, 2]))
    >>> transition_matrix(early, late)[["from_name", "to_name", "pixels"]].values.tolist()
    [['forest', 'forest', 1], ['forest', 'field', 1], ['field', 'field', 0]]
    """
    legends = legends_of(before, after, crosswalk)
    pair = pair_of(before, after)
    areas = PixelAreas(pair.geobox)
    counted: dict[tuple[str, str], tuple[int, int]] = {}
    for row0, bins, values in _pair_strips(pair):
        size = len(values[0]) * len(values[1]) + 1
        pixels, units = np.zeros(size, np.int64), np.zeros(size, np.int64)
        add_runs(bins, 0, *areas.table(row0, row0 + len(bins)), areas.unit_m2, pixels, units)
        for index in np.flatnonzero(pixels[:-1]).tolist():
            first, second = divmod(index, len(values[1]))
            names = legends.name_of(0, int(values[0][first])), legends.name_of(1, int(values[1][second]))
            old = counted.get(names, (0, 0))
            counted[names] = old[0] + int(pixels[index]), old[1] + int(units[index])
    return _table(counted, legends, areas.unit_m2)


def _pair_strips(pair: Pair) -> Iterator[tuple[int, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """First row; the number of each pixel's pair, the last one where a map has no data; the values of each date."""
    strips = (iter_strips(xr.DataArray(part), rows=_STRIP_ROWS) for part in (pair.before, pair.after))
    for (row0, before), (_, after) in zip(*strips, strict=True):
        (first, index), (second, other) = _numbered(before), _numbered(after)
        pairs = len(first) * len(second)
        if pairs >= _MAX_PAIRS:
            raise SceneError(
                f"A class map has few different values, but a strip of these has {len(first)} and {len(second)}. Give "
                "class maps, not measurements or maps of object ids."
            )
        bins = index.astype(np.int32) * np.int32(len(second)) + other
        bins[(before == pair.no_data[0]) | (after == pair.no_data[1])] = pairs
        yield row0, bins, (first, second)


def _numbered(strip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values, and the index of each pixel among them."""
    if strip.dtype == np.uint8:
        return np.arange(256), strip
    values, index = np.unique(strip, return_inverse=True)
    return values, index.reshape(strip.shape).astype(np.int32)


def _table(counted: dict[tuple[str, str], tuple[int, int]], legends: Legends, unit_m2: float) -> pd.DataFrame:
    values = legends.with_names(name for names in counted for name in names).values
    records = []
    for early, late in sorted(
        set(counted) | {(name, name) for name in values}, key=lambda p: (values[p[0]], values[p[1]])
    ):
        pixels, units = counted.get((early, late), (0, 0))
        area_m2 = units * unit_m2
        records.append((values[early], early, values[late], late, pixels, area_m2, area_m2 / 1e4))
    table = pd.DataFrame(records, columns=["from", "from_name", "to", "to_name", "pixels", "area_m2", "area_ha"])
    return table.astype({"from": "int64", "to": "int64", "pixels": "int64", "area_m2": "float64", "area_ha": "float64"})
