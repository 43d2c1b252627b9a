"""Choosing classes of a map."""

from __future__ import annotations

from collections.abc import Iterable

import dask.array
import numpy as np
import xarray as xr

from geoseg.classmap.convention import class_names, nodata_of
from geoseg.errors import OptionError

__all__ = ["only_classes"]


def only_classes(class_map: xr.DataArray, wanted: Iterable[str | int]) -> xr.DataArray:
    """The map with these classes only, lazily; all others become nodata.

    Parameters
    ----------
    class_map
        A map with a nodata value.
    wanted
        Names of the legend, or values.

    Raises
    ------
    OptionError
        A name is not in the legend, or the map has no value for nodata.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 2, 255]], np.uint8), grid, [ClassInfo(1, "building"), ClassInfo(2, "road")])
    >>> only_classes(cover, ["building"]).values.tolist()
    [[1, 255, 255]]
    """
    names = {name: value for value, name in class_names(class_map).items()}
    nodata = nodata_of(class_map)
    if nodata is None:
        raise OptionError("Classes are chosen in maps with a nodata value, but this one has none. Set _FillValue.")
    values = []
    for item in wanted:
        if item not in names and not str(item).lstrip("-").isdigit():
            raise OptionError(
                f"--classes takes names of the legend or values, but {item!r} is neither; the names are "
                f"{', '.join(names) or 'missing in this map'}."
            )
        values.append(names[str(item)] if item in names else int(item))
    chosen = class_map.data.astype(class_map.dtype)
    kept = np.isin(chosen, values) if class_map.chunks is None else chosen.map_blocks(np.isin, values, dtype=bool)
    where = np.where if class_map.chunks is None else dask.array.where
    return class_map.copy(data=where(kept, chosen, class_map.dtype.type(nodata)))
