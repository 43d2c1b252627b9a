"""Options that every verb of the command line has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from geoseg.errors import OutputError

__all__ = ["Debug", "debugging", "is_raster", "refuse_existing"]

_RASTERS = {".tif", ".tiff", ".vrt", ".png", ".jpg", ".jpeg", ".jp2", ".img", ".nc", ".zarr"}


def is_raster(path: Path) -> bool:
    """Whether a file is a raster by its suffix, rather than a vector layer.

    >>> is_raster(Path("classes.TIF")), is_raster(Path("sample.gpkg"))
    (True, False)
    """
    return path.suffix.lower() in _RASTERS


def refuse_existing(folder: Path, names: Iterable[str], overwrite: bool) -> None:
    """Raise `OutputError` where a folder has one of these files, unless they may be replaced."""
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(
            f"Nothing is overwritten unasked, but {folder} has {', '.join(there)}. Choose another --out, or give "
            "--overwrite."
        )


@dataclass
class _Debugging:
    on: bool = False
    """Whether an error shows its traceback."""


debugging = _Debugging()
"""The one state that `main` needs after a verb has failed."""


def _set_debug(value: bool) -> None:
    debugging.on = debugging.on or value


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug)]
