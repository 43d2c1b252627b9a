"""A map of change: what became what, as a class map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from geoseg.change.codes import REGULAR_CLASSES, Classes, Codes, codes_of
from geoseg.change.counting import count
from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.matrix import pair_sums
from geoseg.change.pairing import Stack, stack_of, valid_in_all
from geoseg.classes import NODATA
from geoseg.classmap import class_map
from geoseg.errors import SceneError

__all__ = ["change_map", "coded", "number_strips", "table_of"]

_STRIP_ROWS = 64


def change_map(
    before: xr.DataArray,
    after: xr.DataArray,
    *,
    crosswalk: Crosswalk | None = None,
    loss: Classes | None = None,
    gain: Classes | None = None,
    unchanged: bool = True,
) -> xr.DataArray:
    """What became what, pixel by pixel, as a class map with names and colours, lazily.

    With the classes of both maps in order of value, numbered i = 0, 1, ... n - 1, the code of a change from the i-th to
    the j-th class is ``i * n + j``; so it depends on the two legends and the crosswalk alone. A change is called
    "forest → built-up" and has mainly the colour of what came; what stayed is called "forest (unchanged)" and is pale.

    With more than 15 classes, a byte cannot hold all pairs. Then the maps are read once at the beginning, and the pairs
    that occur are numbered in order of from and to; where they are more than 253, the changes of the smallest area are
    put together as "other change" (253). Tables never are: see `transition_matrix`.

    Parameters
    ----------
    before, after, crosswalk
        See `transition_matrix`.
    loss, gain
        Names (or values, as `transition_matrix` gives them) of classes: only changes from (loss) or to (gain) one of
        these are kept, with both only changes from the ones to the others. All else becomes nodata.
    unchanged
        False: what stayed as it was becomes nodata. With loss or gain it does so anyway.

    Returns
    -------
    DataArray
        uint8 on the grid of ``after``, nodata 255, with a legend of the codes that are kept, for `geoseg.vectorize`,
        `geoseg.class_areas` and `geoseg.write_class_map`.

    Raises
    ------
    OptionError
        See `transition_matrix`; also more than 120 classes, no legend, or loss and gain that are not in it.
    SceneError
        See `align`; also, when pixels are read, a value that the legend lacks.

    Examples
    --------
    >>> import numpy as np
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> grid = GeoBox.from_bbox((500000, 0, 500040, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field")]
    >>> early, late = (class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 2, 255], [1, 2, 2, 2]))
    >>> change_map(early, late).values.tolist()
    [[0, 1, 3, 255]]
    >>> lost = change_map(early, late, loss="forest")
    >>> lost.values.tolist(), lost.attrs["flag_names"]
    ([[255, 1, 255, 255]], ['forest → field'])
    """
    legends = legends_of((before, after), crosswalk)
    stack = stack_of((before, after))
    units = None
    if len(legends.values) > REGULAR_CLASSES:
        counted = count(stack)
        units = pair_sums(counted, legends.with_values(counted.pixels))[1]
    codes = codes_of(legends, loss=loss, gain=gain, unchanged=unchanged, units=units)
    values = coded(stack, legends, table_of(codes))
    return class_map(values, stack.geobox, codes.infos, name="change").assign_attrs(long_name="change")


def table_of(codes: Codes) -> np.ndarray:
    """uint8: the code of each number of a pair, see `coded`."""
    return np.append(codes.table.ravel(), np.uint8(NODATA))


def coded(stack: Stack, legends: Legends, table: np.ndarray) -> dask.array.Array:
    """What a table has for each pair of classes, lazily: uint8 (row, col).

    The number of a pair is ``i * n + j``, from the i-th class of the first map to the j-th of the last one, and
    ``n * n`` where one of the maps has no data.
    """
    return dask.array.map_blocks(
        _looked_up,
        *stack.maps,
        lookups=_lookups(legends),
        no_data=stack.no_data,
        count=len(legends.values),
        table=table,
        dtype=np.uint8,
    )


def number_strips(stack: Stack, legends: Legends) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers of pairs, as in `coded`, from top to bottom: first row and int32 (row, col) of each strip."""
    lookups, count = _lookups(legends), len(legends.values)
    for row0, parts in stack.strips(_STRIP_ROWS):
        yield row0, _numbered(parts, lookups, stack.no_data, count)


def _lookups(legends: Legends) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """For the first and the last map: its values, rising, and the number of the common class of each."""
    numbers = {name: number for number, name in enumerate(legends.values)}
    known = [sorted(legends.names[date].items()) for date in (0, -1)]
    return tuple(
        (np.array([value for value, _ in part], np.int64), np.array([numbers[name] for _, name in part], np.int32))
        for part in known
    )


def _looked_up(*parts: np.ndarray, lookups: Any, no_data: tuple[int, ...], count: int, table: np.ndarray) -> np.ndarray:
    result = np.empty(parts[0].shape, np.uint8)
    for row in range(0, len(result), _STRIP_ROWS):  # numbers take several times the memory of codes
        rows = slice(row, row + _STRIP_ROWS)
        result[rows] = table[_numbered([part[rows] for part in parts], lookups, no_data, count)]
    return result


def _numbered(parts: Sequence[np.ndarray], lookups: Any, no_data: tuple[int, ...], count: int) -> np.ndarray:
    valid = valid_in_all(parts, no_data)
    first, last = (_classes(part, valid, *lookup) for part, lookup in zip((parts[0], parts[-1]), lookups, strict=True))
    result = np.full(valid.shape, count * count, np.int32)
    result[valid] = first * np.int32(count) + last
    return result


def _classes(part: np.ndarray, valid: np.ndarray, known: np.ndarray, number: np.ndarray) -> np.ndarray:
    """int32 (valid pixel,): the number of the class of each."""
    values = part[valid]
    if values.dtype == np.uint8:
        table = np.full(256, -1, np.int32)
        inside = (known >= 0) & (known < 256)
        table[known[inside]] = number[inside]
        found = table[values]
    else:
        places = np.minimum(np.searchsorted(known, values), max(len(known) - 1, 0))
        found = np.where(known[places] == values, number[places], -1) if len(known) else np.full(len(values), -1)
    if (found < 0).any():
        raise SceneError(
            f"A map of change needs the name of every class, but the value {values[found < 0][0]} occurs and stands in "
            "no legend. Name it with a crosswalk."
        )
    return found
