"""A map of change: what became what, as a class map."""

from __future__ import annotations

from collections.abc import Iterable

import dask.array
import numpy as np
import xarray as xr

from geoseg.change.legends import Crosswalk, Legends, legends_of
from geoseg.change.pairing import pair_of
from geoseg.classes import NODATA, ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import OptionError, SceneError

__all__ = ["change_map"]

_MOST_CLASSES = 15  # 15 × 15 codes fit below 255
_PALE = 0.65  # how far towards white the colour of a class that stays goes
_FROM = 0.3  # how much of the colour of what was there is in that of a change

Classes = str | int | Iterable[str | int]


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
        See `transition_matrix`; also more than 15 classes, no legend, or loss and gain that are not in it.
    SceneError
        See `align`; also, when pixels are read, a value that the legend lacks.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500000, 0, 500040, 10), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "field")]
    >>> early, late = (class_map(np.array([row], np.uint8), grid, legend) for row in ([1, 1, 2, 255], [1, 2, 2, 2]))
    >>> change_map(early, late).values.tolist()
    [[0, 1, 3, 255]]
    >>> lost = change_map(early, late, loss="forest")
    >>> lost.values.tolist(), lost.attrs["flag_names"]
    ([[255, 1, 255, 255]], ['forest → field'])
    """
    legends = legends_of(before, after, crosswalk)
    names = list(legends.values)
    if not 0 < len(names) <= _MOST_CLASSES:
        raise OptionError(
            f"A map of change has 1 to {_MOST_CLASSES} classes, so that the codes of all pairs fit into a byte, but "
            f"the legends have {len(names)}. "
            + ("Give them with class_map, or with a crosswalk." if not names else "Merge some with a crosswalk.")
        )
    codes = _codes(legends, loss, gain, unchanged)
    pair = pair_of(before, after)
    lookups = tuple(_lookup(legends, date) for date in (0, 1))
    values = dask.array.map_blocks(
        _coded, pair.before, pair.after, lookups=lookups, no_data=pair.no_data, codes=codes, dtype=np.uint8
    )
    return class_map(values, pair.geobox, _infos(legends, codes), name="change").assign_attrs(long_name="change")


def _codes(legends: Legends, loss: Classes | None, gain: Classes | None, unchanged: bool) -> np.ndarray:
    """uint8 (from, to): the code of each pair of classes, 255 for those that are left out."""
    count = len(legends.values)
    codes = np.arange(count * count, dtype=np.uint8).reshape(count, count)
    if loss is not None:
        codes[~_chosen(legends, loss, "loss"), :] = NODATA
    if gain is not None:
        codes[:, ~_chosen(legends, gain, "gain")] = NODATA
    if loss is not None or gain is not None or not unchanged:
        np.fill_diagonal(codes, NODATA)
    return codes


def _chosen(legends: Legends, wanted: Classes, option: str) -> np.ndarray:
    result = np.zeros(len(legends.values), dtype=bool)
    for item in [wanted] if isinstance(wanted, str | int | np.integer) else wanted:
        found = [name == str(item) or str(value) == str(item) for name, value in legends.values.items()]
        if not any(found):
            raise OptionError(
                f"--{option} takes classes of the maps, but {item!r} is none; they are {', '.join(legends.values)}."
            )
        result |= found
    return result


def _infos(legends: Legends, codes: np.ndarray) -> list[ClassInfo]:
    names = list(legends.values)
    infos = []
    for (first, second), code in np.ndenumerate(codes):
        early, late = names[first], names[second]
        if code == NODATA:
            continue
        if first == second:
            infos.append(ClassInfo(code, f"{early} (unchanged)", _mixed(legends.colors[early], "#ffffff", _PALE)))
        else:
            color = _mixed(legends.colors[late], legends.colors[early], _FROM)
            infos.append(ClassInfo(code, f"{early} → {late}", color))
    return infos


def _mixed(color: str, other: str, share: float) -> str:
    parts = [(int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _lookup(legends: Legends, date: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of one map, rising, and the number of the common class of each."""
    numbers = {name: number for number, name in enumerate(legends.values)}
    known = sorted(legends.names[date].items())
    return np.array([value for value, _ in known], np.int64), np.array([numbers[name] for _, name in known], np.intp)


def _coded(
    before: np.ndarray,
    after: np.ndarray,
    *,
    lookups: tuple[tuple[np.ndarray, np.ndarray], ...],
    no_data: tuple[int, int],
    codes: np.ndarray,
) -> np.ndarray:
    valid = (before != no_data[0]) & (after != no_data[1])
    numbers = []
    for part, (known, number) in zip((before, after), lookups, strict=True):
        values = part[valid]
        found = np.searchsorted(known, values)
        lacking = values[(known[np.minimum(found, len(known) - 1)] != values)] if len(known) else values
        if len(lacking):
            raise SceneError(
                f"A map of change needs the name of every class, but the value {lacking[0]} occurs and stands in no "
                "legend. Name it with a crosswalk."
            )
        numbers.append(number[found])
    result = np.full(before.shape, NODATA, np.uint8)
    result[valid] = codes[numbers[0], numbers[1]]
    return result
