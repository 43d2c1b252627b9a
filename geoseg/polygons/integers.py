"""Maps of any integers as the two types that the polygons room is compiled for."""

from __future__ import annotations

import numpy as np

from geoseg.errors import OptionError

__all__ = ["Integers"]

_NO_NODATA = np.iinfo(np.int32).min  # stands for nodata in maps that have none


class Integers:
    """Any integer map as uint8 or int32, the two types that tracing is compiled for."""

    def __init__(self, dtype: np.dtype, nodata: int | None) -> None:
        if dtype.kind not in "iub":
            raise OptionError(
                f"Polygons are traced from whole numbers, but the map is {dtype}. Convert it first, and say in "
                "its _FillValue which number is nodata: da.fillna(255).astype('uint8')."
            )
        in_range = nodata is not None and (dtype.kind == "b" or np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max)
        small = dtype.itemsize == 1 and dtype.kind in "ub" and in_range
        self.wide = dtype.itemsize == 8
        self.unsigned = dtype == np.uint32
        self.dtype = np.dtype(np.uint8 if small else np.int32)
        self.has_nodata = in_range
        self.nodata = _NO_NODATA
        if in_range:
            self.nodata = int(np.array(nodata).astype(np.uint32).view(np.int32)) if self.unsigned else int(nodata)  # type: ignore[arg-type]

    def convert(self, values: np.ndarray) -> np.ndarray:
        if self.wide and values.size:
            lowest, highest = int(values.min()), int(values.max())
            if lowest < np.iinfo(np.int32).min or highest > np.iinfo(np.int32).max:
                raise OptionError(
                    f"Values of a 64-bit map must fit into 32 bits, but they go from {lowest} to {highest}. "
                    "Renumber the objects from 1."
                )
        converted = values.view(np.int32) if self.unsigned else values.astype(self.dtype, copy=False)
        if not self.has_nodata and values.dtype.itemsize >= 4 and (converted == _NO_NODATA).any():
            raise OptionError(
                f"The value {self.restore(converted.min())} stands for nodata in maps that have none. Say in "
                "_FillValue which value is nodata, or renumber."
            )
        return np.ascontiguousarray(converted)

    def restore(self, values: np.ndarray) -> np.ndarray:
        return (values.view(np.uint32) if self.unsigned else values).astype(np.int64)
