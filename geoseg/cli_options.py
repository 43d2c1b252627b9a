"""Options that every verb of the command line has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Debug", "debugging", "is_raster"]

_RASTERS = {".tif", ".tiff", ".vrt", ".png", ".jpg", ".jpeg", ".jp2", ".img", ".nc", ".zarr"}


def is_raster(path: Path) -> bool:
    """Whether a file is a raster by its suffix, rather than a vector layer.

    >>> is_raster(Path("classes.TIF")), is_raster(Path("sample.gpkg"))
    (True, False)
    """
    return path.suffix.lower() in _RASTERS


@dataclass
class _Debugging:
    on: bool = False
    """Whether an error shows its traceback."""


debugging = _Debugging()
"""The one state that `main` needs after a verb has failed."""


def _set_debug(value: bool) -> None:
    debugging.on = debugging.on or value


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug)]
