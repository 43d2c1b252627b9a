"""Rasters that are read when they are needed: a numpy-like thing of paths and numbers, for Dask."""

from __future__ import annotations

from typing import Any, Protocol

import dask.array as da
import numpy as np

__all__ = ["Reader", "lazy_array"]


class Reader(Protocol):
    """Reads full-width rows of one band. It can be pickled: no open file is in it."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """The rows start..stop-1 (row, col)."""


class _Rows:
    """What `dask.array.from_array` asks for."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.shape, self.dtype, self.ndim = reader, reader.shape, reader.dtype, 2

    def __getitem__(self, window: Any) -> np.ndarray:
        rows, cols = window
        start, stop, _ = rows.indices(self.shape[0])
        return self.reader.read_rows(start, stop)[:, cols]


def lazy_array(reader: Reader, rows: int) -> da.Array:
    """A Dask array with full-width chunks of so many rows."""
    meta = np.empty((0, 0), reader.dtype)
    return da.from_array(_Rows(reader), chunks=(rows, -1), name=False, asarray=False, meta=meta)
