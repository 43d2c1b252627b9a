"""How sure a change is: from the confidence of both maps."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array
import numpy as np
import xarray as xr
from odc.geo.xr import wrap_xr

from geoseg.change.pairing import Stack, on_grid
from geoseg.classes import NODATA
from geoseg.classmap import geobox_of
from geoseg.errors import MismatchError, OptionError

__all__ = ["joint_confidence"]


def joint_confidence(confidences: Sequence[xr.DataArray], maps: Sequence[xr.DataArray], stack: Stack) -> xr.DataArray:
    """The product of the confidence of the first and of the last map, in percent, on the common grid, lazily.

    If the errors of both maps are independent, it is the probability that both classes are right. Where errors go
    together, as those of one model in one kind of ground do, that probability is higher, and at most the lower of the
    two.

    Parameters
    ----------
    confidences
        Two maps of uint8 percent (255 = nodata), on the grids of the first and of the last map.
    maps
        The class maps.
    stack
        Their common part.

    Returns
    -------
    DataArray
        uint8 (row, col), rounded to whole percents.

    Raises
    ------
    OptionError
        Not two, not uint8, or (when pixels are read) above 100.
    MismatchError
        One lies on another grid than its map.
    """
    if len(confidences) != 2:
        raise OptionError(
            f"--confidence is two maps, that of the first and that of the last date, but {len(confidences)} are given."
        )
    parts = []
    for what, percent, da in zip(("first", "last"), confidences, (maps[0], maps[-1]), strict=True):
        if percent.dtype != np.uint8:
            raise OptionError(
                f"Confidence is uint8 percent, but that of the {what} map is {percent.dtype}. Convert it."
            )
        if percent.shape != da.shape or not _same_place(percent, da):
            raise MismatchError(
                f"Confidence lies on the grid of its class map, but that of the {what} map has {percent.shape[0]} × "
                f"{percent.shape[1]} pixels at {geobox_of(percent).transform[:6]}, and the map {da.shape[0]} × "
                f"{da.shape[1]} at {geobox_of(da).transform[:6]}. Give the one that was made with the map."
            )
        parts.append(on_grid(percent, stack.geobox, no_data=NODATA).rechunk(stack.maps[0].chunks))
    product = dask.array.map_blocks(_product, *parts, dtype=np.uint8)
    return wrap_xr(product, stack.geobox).rename("confidence").assign_attrs(_FillValue=NODATA, units="percent")


def _same_place(one: xr.DataArray, other: xr.DataArray) -> bool:
    first, second = geobox_of(one), geobox_of(other)
    return first.crs == second.crs and bool(np.allclose(first.transform[:6], second.transform[:6], rtol=1e-12, atol=0))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    valid = (first != NODATA) & (second != NODATA)
    highest = max(first.max(initial=0, where=valid), second.max(initial=0, where=valid))
    if highest > 100:
        raise OptionError(f"Confidence is a percent, 0..100 (255 = nodata), but {highest} occurs.")
    result = np.full(first.shape, NODATA, np.uint8)
    percents = first[valid].astype(np.uint16) * second[valid]
    result[valid] = (percents + np.uint16(50)) // np.uint16(100)
    return result
