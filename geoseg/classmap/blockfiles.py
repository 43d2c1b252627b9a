"""Block files: one small GeoTIFF for each finished block, with its classes and its confidence.

They are the checkpoint of a run, the hand-over between workers, and a thing a person can open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.classes import NODATA, ClassInfo
from geoseg.classmap.convention import class_map
from geoseg.classmap.geotiff import check_whole, writing
from geoseg.classmap.lazy import lazy_array
from geoseg.errors import BlockError, OptionError, SceneError
from geoseg.files import replacing

__all__ = ["BlockWriter", "open_blocks", "open_object_blocks", "read_block", "write_block", "write_object_block"]

_STRIP_ROWS = 64
_CHUNK_ROWS = 512


class BlockWriter:
    """Writes a block file row by row; it appears when all rows are there, and never half.

    Parameters
    ----------
    path
        The GeoTIFF; a file that is there is replaced.
    geobox
        The grid of the block.

    Raises
    ------
    OutputError
        The file cannot be written (permission, space).
    BlockError
        Rows were left out, or do not fit the block.

    Examples
    --------
    >>> import tempfile
    >>> grid = GeoBox.from_bbox((0, 0, 3, 2), "EPSG:32632", resolution=1)
    >>> path = Path(tempfile.mkdtemp()) / "block.tif"
    >>> with BlockWriter(path, grid) as writer:
    ...     writer.write(0, np.zeros((1, 3), np.uint8), np.full((1, 3), 90, np.uint8))
    ...     writer.write(1, np.zeros((1, 3), np.uint8), np.full((1, 3), 90, np.uint8))
    >>> path.exists()
    True
    """

    def __init__(self, path: str | os.PathLike[str], geobox: GeoBox) -> None:
        self.path, self.geobox = Path(path), geobox
        self._next_row = 0

    def __enter__(self) -> BlockWriter:
        height, width = self.geobox.shape
        with ExitStack() as stack:
            self._beside = stack.enter_context(replacing(self.path))
            with writing(self.path):
                self._dataset: Any = rasterio.open(
                    self._beside,
                    "w",
                    driver="GTiff",
                    height=height,
                    width=width,
                    count=2,
                    dtype="uint8",
                    nodata=NODATA,
                    crs=None if self.geobox.crs is None else self.geobox.crs.to_wkt(),
                    transform=self.geobox.transform,
                    blockysize=min(_STRIP_ROWS, height),
                    interleave="band",
                    compress="deflate",
                    zlevel=1,
                    bigtiff="if_safer",  # a sieved map is one block, as large as the map
                )
            self._dataset.descriptions = ("class", "confidence")
            stack.push(self._close)
            self._stack = stack.pop_all()
        return self

    def write(self, row_offset: int, classes: np.ndarray, confidence: np.ndarray) -> None:
        """The next rows, from top to bottom.

        Parameters
        ----------
        row_offset
            The first row within the block.
        classes, confidence
            uint8 (row, col) of the block's width.
        """
        rows, width = len(classes), self.geobox.shape[1]
        fits = classes.shape == confidence.shape == (rows, width) and classes.dtype == confidence.dtype == np.uint8
        if not fits or row_offset != self._next_row or row_offset + rows > self.geobox.shape[0]:
            raise BlockError(
                f"Rows of a block come from top to bottom as uint8 of its width ({self._next_row} and {width} here), "
                f"but row {row_offset}, {classes.dtype} {classes.shape} and {confidence.dtype} {confidence.shape} "
                f"came for {self.path.name}."
            )
        with writing(self.path):
            window = (row_offset, row_offset + rows), (0, width)
            self._dataset.write(np.stack([classes, confidence]), window=window)
        self._next_row += rows

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _close(self, kind: Any, *error: Any) -> None:
        with writing(self.path):
            self._dataset.close()
        if kind is None:
            if self._next_row != self.geobox.shape[0]:
                raise BlockError(
                    f"A block is written whole, but {self.path.name} has {self._next_row} of "
                    f"{self.geobox.shape[0]} rows."
                )
            check_whole(self._beside, self.path)


def write_block(path: str | os.PathLike[str], values: np.ndarray, geobox: GeoBox) -> Path:
    """Write a whole block: uint8 (2, row, col), classes and confidence. See `BlockWriter`.

    >>> import tempfile
    >>> grid = GeoBox.from_bbox((0, 0, 3, 2), "EPSG:32632", resolution=1)
    >>> write_block(Path(tempfile.mkdtemp()) / "block.tif", np.zeros((2, 2, 3), np.uint8), grid).name
    'block.tif'
    """
    with BlockWriter(path, geobox) as writer:
        writer.write(0, values[0], values[1])
    return Path(path)


def open_blocks(
    blocks: Iterable[tuple[str | os.PathLike[str], int, int]], geobox: GeoBox, classes: Iterable[ClassInfo]
) -> xr.Dataset:
    """The map that block files make up, lazily: full-width strips are read straight from the files.

    Parameters
    ----------
    blocks
        (path, first row, first column) of each block; together they cover the grid like a chessboard.
    geobox
        The grid of the whole map.
    classes
        The legend.

    Returns
    -------
    Dataset
        ``class`` and ``confidence``, uint8 (row, col), backed by Dask. A damaged or missing file raises
        `SceneError` when it is read; nothing is ever filled in.

    Raises
    ------
    OptionError
        The blocks leave a gap.
    SceneError
        A file is missing.

    Examples
    --------
    >>> import tempfile
    >>> grid = GeoBox.from_bbox((0, 0, 3, 2), "EPSG:32632", resolution=1)
    >>> path = write_block(Path(tempfile.mkdtemp()) / "block.tif", np.full((2, 2, 3), 7, np.uint8), grid)
    >>> open_blocks([(path, 0, 0)], grid, [ClassInfo(7, "water")])["class"].values.tolist()
    [[7, 7, 7], [7, 7, 7]]
    """
    rows, cols, files = _chessboard(blocks, geobox)
    bands = [_BlockRows(files, rows, cols, band) for band in (1, 2)]
    both = [lazy_array(band, _CHUNK_ROWS) for band in bands]
    confidence = wrap_xr(both[1], geobox)
    confidence.attrs.update(long_name="confidence", units="percent", _FillValue=NODATA)
    return xr.Dataset({"class": class_map(both[0], geobox, classes), "confidence": confidence})


def read_block(path: str | os.PathLike[str], rows: slice, cols: slice, *, band: str = "class") -> np.ndarray:
    """A window of a block file: uint8 (row, col), its ``class`` or ``confidence``; raises `SceneError` if it is gone.

    >>> import tempfile
    >>> grid = GeoBox.from_bbox((0, 0, 3, 2), "EPSG:32632", resolution=1)
    >>> values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> path = write_block(Path(tempfile.mkdtemp()) / "block.tif", values, grid)
    >>> read_block(path, slice(1, 2), slice(0, 2)).tolist()
    [[3, 4]]
    >>> read_block(path, slice(1, 2), slice(0, 2), band="confidence").tolist()
    [[9, 10]]
    """
    number = {"class": 1, "confidence": 2}[band]
    return _read(str(path), number, ((rows.start, rows.stop), (cols.start, cols.stop)), shape=None, count=2)


def write_object_block(path: str | os.PathLike[str], ids: np.ndarray, geobox: GeoBox) -> Path:
    """Write a block of an object map: uint32 (row, col), 0 = none. It appears whole or not at all.

    >>> import tempfile
    >>> grid = GeoBox.from_bbox((0, 0, 3, 2), "EPSG:32632", resolution=1)
    >>> path = write_object_block(Path(tempfile.mkdtemp()) / "block.tif", np.full((2, 3), 9, np.uint32), grid)
    >>> open_object_blocks([(path, 0, 0)], grid).values.tolist()
    [[9, 9, 9], [9, 9, 9]]
    """
    target = Path(path)
    profile = {
        "driver": "GTiff",
        "height": geobox.shape[0],
        "width": geobox.shape[1],
        "count": 1,
        "dtype": "uint32",
        "nodata": 0,
        "crs": None if geobox.crs is None else geobox.crs.to_wkt(),
        "transform": geobox.transform,
        "blockysize": min(_STRIP_ROWS, geobox.shape[0]),
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }
    with replacing(target) as beside:
        with writing(target), rasterio.open(beside, "w", **profile) as dataset:
            dataset.write(ids.astype(np.uint32, copy=False), 1)
        check_whole(beside, target)
    return target


def open_object_blocks(blocks: Iterable[tuple[str | os.PathLike[str], int, int]], geobox: GeoBox) -> xr.DataArray:
    """The object map that block files make up, lazily: uint32 (row, col), 0 = none. See `open_blocks`."""
    rows, cols, files = _chessboard(blocks, geobox)
    ids = lazy_array(_BlockRows(files, rows, cols, 1, "uint32", 1), _CHUNK_ROWS)
    return wrap_xr(ids, geobox, nodata=0)


def _chessboard(
    blocks: Iterable[tuple[str | os.PathLike[str], int, int]], geobox: GeoBox
) -> tuple[tuple[int, ...], tuple[int, ...], dict[tuple[int, int], str]]:
    """Where blocks begin and end, and the file of each, after making sure that they cover the grid."""
    files = {(int(row0), int(col0)): str(path) for path, row0, col0 in blocks}
    height, width = geobox.shape
    rows = tuple(sorted({row0 for row0, _ in files} | {height}))
    cols = tuple(sorted({col0 for _, col0 in files} | {width}))
    wanted = {(row0, col0) for row0 in rows[:-1] for col0 in cols[:-1]}
    if wanted != files.keys() or rows[0] != 0 or cols[0] != 0 or rows[-1] != height or cols[-1] != width:
        raise OptionError(
            f"Blocks must cover the whole map of {height} × {width} pixels, but {len(files)} blocks at "
            f"{len(rows) - 1} rows and {len(cols) - 1} columns do not. Give all blocks of the run."
        )
    missing = [path for path in files.values() if not os.path.isfile(path)]
    if missing:
        raise SceneError(
            f"All blocks must be there, but {len(missing)} are not, among them {missing[0]}. Run again to compute them."
        )
    return rows, cols, files


@dataclass(frozen=True)
class _BlockRows:
    """Reads rows across block files."""

    files: dict[tuple[int, int], str]
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    band: int
    kind: str = "uint8"
    count: int = 2

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.kind)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[-1], self.cols[-1]

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        result = np.empty((stop - start, self.cols[-1]), dtype=self.dtype)
        for row0, row1 in zip(self.rows[:-1], self.rows[1:], strict=True):
            first, last = max(row0, start), min(row1, stop)
            if first >= last:
                continue
            for col0, col1 in zip(self.cols[:-1], self.cols[1:], strict=True):
                path = self.files[row0, col0]
                window = ((first - row0, last - row0), (0, col1 - col0))
                values = _read(path, self.band, window, shape=(row1 - row0, col1 - col0), count=self.count)
                result[first - start : last - start, col0:col1] = values
        return result


def _read(path: str, band: int, window: Any, *, shape: tuple[int, int] | None, count: int) -> np.ndarray:
    try:
        with rasterio.open(path) as dataset:
            if shape is not None and (dataset.shape != shape or dataset.count != count):
                raise SceneError(
                    f"The block {path} must have {shape[0]} × {shape[1]} pixels, but has {dataset.height} × "
                    f"{dataset.width}: blocks are missing, or of another run. Remove them and run again."
                )
            return dataset.read(band, window=window)
    except rasterio.errors.RasterioError as error:
        raise SceneError(
            f"The block {path} cannot be read ({error}). It is damaged or gone: remove it and run again."
        ) from error
