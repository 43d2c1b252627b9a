"""Tables and the run record: what a person cites and what a program reads back."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import OptionError
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pandas as pd

__all__ = ["peak_memory_bytes", "versions", "write_areas_csv", "write_record"]

_PACKAGES = (
    "dask",
    "distributed",
    "geopandas",
    "matplotlib",
    "numba",
    "numpy",
    "odc-geo",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pyogrio",
    "pyproj",
    "rasterio",
    "shapely",
    "torch",
    "torchgeo",
    "xarray",
)


def write_areas_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as CSV: UTF-8, a point in numbers, a comma between them, units in the column names.

    Numbers are written with the fewest digits that give the same number back. (pandas reads them so with
    ``pd.read_csv(path, float_precision="round_trip")``.)

    Parameters
    ----------
    table
        The table of `geoseg.areas.class_areas`, or any other.
    path
        The file; replaced when it is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> table = pd.DataFrame({"class_name": ["water"], "area_m2": [0.1]})
    >>> print(write_areas_csv(table, Path(tempfile.mkdtemp()) / "areas.csv").read_text())
    class_name,area_m2
    water,0.1
    """
    target = Path(path)
    with replacing(target) as beside:
        table.to_csv(beside, index=False, encoding="utf-8", lineterminator="\n")
    return target


def write_record(path: str | os.PathLike[str], record: Mapping[str, Any]) -> Path:
    """Write the record of a run as JSON, in the order given.

    Paths, dates, numpy's numbers and arrays, sets and dataclasses become what JSON has; a number that is
    not finite becomes null.

    Parameters
    ----------
    path
        The file, usually ``run.json``; replaced when it is there.
    record
        What to write.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        A value has no form in JSON; the message says where it is.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "run.json"
    >>> print(write_record(file, {"pixels": np.int64(3), "inputs": [Path("ortho.tif")]}).read_text())
    {
      "pixels": 3,
      "inputs": [
        "ortho.tif"
      ]
    }
    """
    target = Path(path)
    text = json.dumps(_plain(record, "record"), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(target) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    return target


def versions() -> dict[str, str]:
    """The versions of geoseg, Python, the system, GDAL, PROJ, and the packages that results depend on.

    Nothing is imported for it but the readers of rasters and projections; a package that is not installed
    is left out. GDAL is there twice, because rasterio and pyogrio each bring their own.

    >>> versions()["geoseg"]
    '0.1.0'
    """
    import pyogrio
    import pyproj
    import rasterio

    import geoseg

    found = {
        "geoseg": geoseg.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "gdal (rasterio)": rasterio.__gdal_version__,
        "gdal (pyogrio)": pyogrio.__gdal_version_string__,
        "proj": pyproj.proj_version_str,
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far, in bytes (workers in other processes not counted).

    >>> peak_memory_bytes() > 2**20
    True
    """
    try:
        # Unlike getrusage, this does not count the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        pass  # not Linux
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _plain(value: Any, where: str) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{number}]") for number, item in enumerate(value)]
    raise OptionError(
        f"A record holds numbers, text, lists and tables, but {where} is a {type(value).__name__}. "
        "Give its text or its parts."
    )
