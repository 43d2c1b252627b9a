"""GDAL may fail to write and not say so: what it wrote is looked at before it is called finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
import rasterio.errors

from geoseg.errors import GeosegError, OutputError

__all__ = ["check_whole", "writing"]


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Any error of GDAL inside the block is an `OutputError` about the target; nothing else may go on in it."""
    try:
        yield
    except GeosegError:
        raise
    except Exception as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise OutputError(
            f"Cannot write {target}: {reason}. Free some space, or choose another folder or disk that you may write to."
        ) from error


def check_whole(path: Path, target: Path) -> None:
    """Make sure that every block of a GeoTIFF, overviews included, lies inside the file.

    When a disk is full, blocks that were still in GDAL's cache are lost as the file is closed, which no error tells;
    they would be read as nodata.
    """
    size = os.path.getsize(path)
    with writing(target), rasterio.open(path) as dataset:
        levels = [None, *range(len(dataset.overviews(1)))]
    for level in levels:
        options = {} if level is None else {"overview_level": level}
        with writing(target), rasterio.open(path, **options) as dataset:
            height, width = dataset.block_shapes[0]
            for band in dataset.indexes:
                for row in range(-(-dataset.height // height)):
                    for col in range(-(-dataset.width // width)):
                        offset, length = (
                            int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) or 0)
                            for what in ("OFFSET", "SIZE")
                        )
                        if offset <= 0 or length <= 0 or offset + length > size:
                            raise OutputError(
                                f"Cannot write {target}: the disk did not take all of it. Free some space, or choose "
                                "another disk."
                            )
