"""One raster file: what it holds, and reading a window of it.

Open handles are kept for each thread of each process, outside the picklable `File`.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.scene.grids import Gcps, crs_text

__all__ = ["File", "open_file"]

Read = tuple[np.ndarray, np.ndarray]
"""Values (band, row, col), 0 where not valid, and valid (row, col)."""

HANDLES = 32
"""Open files kept by each thread."""

_OPTIONS: dict[str, str | int] = {
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # a truncated JPEG is otherwise filled up with grey
}
# GDAL's cache is 5 % of the machine's memory unless told before its first use; ours must not grow with the raster.
_OPTIONS |= {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": 64 << 20}


@dataclass(frozen=True)
class File:
    """Some bands of one raster file."""

    path: str
    """A path or URL that GDAL understands."""
    place: GeoBox | Gcps
    """Where its pixels are."""
    names: tuple[str, ...]
    """The name of every band selected."""
    indexes: tuple[int, ...]
    """The number of every band selected, from 1."""
    dtype: np.dtype
    """The data type of all bands."""
    nodata: tuple[float | None, ...]
    """For each band selected, the value that means no data, where there is one that the type can hold."""
    alpha: int
    """The number of the alpha band, 0 where there is none."""
    masked: tuple[int, ...]
    """Numbers of the bands whose mask has to be read (the first band alone if all share one mask)."""
    overviews: tuple[int, ...]
    """Factors of the overviews that all bands have."""
    level: int | None
    """The overview that is read, None for the full resolution."""
    stamp: tuple[tuple[str, int, int], ...]
    """Path, size and time of change (ns) of every file behind it; -1 where they are not known (remote)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.place.shape[0]), int(self.place.shape[1])

    def pick(self, positions: tuple[int, ...]) -> File:
        """The same file with fewer bands, or in another order."""
        indexes = tuple(self.indexes[i] for i in positions)
        return replace(
            self,
            names=tuple(self.names[i] for i in positions),
            indexes=indexes,
            nodata=tuple(self.nodata[i] for i in positions),
            masked=indexes if len(self.masked) > 1 else self.masked,
        )

    def files(self) -> Iterator[File]:
        """Itself."""
        yield self

    def coarser(self, factor: float) -> File:
        """The file read through its largest overview that is not coarser than `factor`; else itself."""
        fitting = [(size, level) for level, size in enumerate(self.overviews) if 1 < size <= factor + 1e-6]
        if self.level is not None or not fitting or isinstance(self.place, Gcps):
            return self
        level = max(fitting)[1]
        with _opening(self.path):
            source = _handle(self.path, level, self.stamp)
            shape, flags = source.shape, source.mask_flag_enums
        if any(MaskFlags.all_valid in flags[i - 1] for i in self.masked):
            return self  # overviews in an .ovr file know nothing of a mask inside the main file
        scale = Affine.scale(self.shape[1] / shape[1], self.shape[0] / shape[0])
        return replace(self, place=GeoBox(shape, self.place.affine * scale, self.place.crs), level=level)

    def read(self, rows: slice, cols: slice) -> Read:
        """A window; SceneError where the file cannot be read."""
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if not (shape[0] and shape[1]):
            return np.zeros((len(self.indexes), *shape), self.dtype), np.zeros(shape, bool)
        what = f"{self.path}, rows {rows.start}:{rows.stop}, columns {cols.start}:{cols.stop}"
        with _opening(what, "A scene's pixels must be readable"):
            source = _handle(self.path, self.level, self.stamp)
            wanted = [*self.indexes, self.alpha] if self.alpha else list(self.indexes)
            values = source.read(wanted, window=window)
            masks = source.read_masks(list(self.masked), window=window) if self.masked else None
        valid = np.ones(shape, bool)
        if self.alpha:
            values, alpha = values[:-1], values[-1]
            valid &= alpha > 0
        if masks is not None:
            valid &= (masks > 0).all(axis=0)
        for band, nodata in zip(values, self.nodata, strict=True):
            if nodata is not None:
                valid &= band != nodata
            if band.dtype.kind == "f":
                valid &= np.isfinite(band)
        if not valid.all():
            values[:, ~valid] = 0
        return values, valid


@contextmanager
def _opening(what: str, rule: str = "A scene must be a raster that GDAL can open") -> Iterator[None]:
    """Turns what GDAL raises into a SceneError that names the file."""
    try:
        with rasterio.Env(**_OPTIONS):
            yield
    except (RasterioError, OSError) as error:
        cause = str(error.__cause__ or error).rstrip(".")
        raise SceneError(
            f"{rule}, but {what} cannot be read: {cause}. Check that the file is whole (gdalinfo -checksum)."
        ) from error


_local = threading.local()


def _handle(path: str, level: int | None, stamp: object = None) -> rasterio.DatasetReader:
    """An open dataset of this thread and process; the least recently used ones are closed."""
    if _local.__dict__.get("process") != os.getpid():  # after a fork, the parent's handles are not ours
        _local.process, _local.handles = os.getpid(), OrderedDict()
    handles: OrderedDict = _local.handles
    key = (path, level, stamp)
    if key not in handles:
        options = {} if level is None else {"overview_level": level}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            handles[key] = rasterio.open(path, **options)
        while len(handles) > HANDLES:
            handles.popitem(last=False)[1].close()
    handles.move_to_end(key)
    return handles[key]


@atexit.register
def _close_handles() -> None:
    """Closes the datasets of this thread at exit: torn down later, rasterio 1.5 complains of errors without text."""
    if _local.__dict__.get("process") == os.getpid():
        while _local.handles:
            _local.handles.popitem()[1].close()


def gdal_path(path: str | os.PathLike) -> str:
    """The name under which GDAL opens a path or URL.

    >>> gdal_path("s3://bucket/a.tif"), gdal_path("https://a.org/b.tif")
    ('/vsis3/bucket/a.tif', '/vsicurl/https://a.org/b.tif')
    """
    text = os.fspath(path)
    for scheme, prefix in (("s3://", "/vsis3/"), ("gs://", "/vsigs/"), ("file://", "")):
        if text.startswith(scheme):
            return prefix + text[len(scheme) :]
    return f"/vsicurl/{text}" if text.startswith(("http://", "https://")) else text


def open_file(path: str | os.PathLike, *, crs: str | None = None, numbers: Collection[int] = ()) -> File:
    """All bands of a raster file, except alpha.

    `crs` is used where the file has none. `numbers` are bands that the caller knows to be pixels, though the
    file may call one of them alpha (GDAL does so with the fourth of four uint8 bands unless told otherwise).
    """
    name = gdal_path(path)
    local = not name.startswith("/vsi") and "://" not in name and ":" not in name[2:]
    if local and not Path(name).exists():
        raise SceneError(f"A scene must be an existing file, but there is no {name}. Check the path.")
    with _opening(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(name) as source:
            return _describe(source, name, crs, numbers)


def _describe(source: rasterio.DatasetReader, name: str, crs: str | None, numbers: Collection[int]) -> File:
    kinds = set(source.dtypes)
    if len(kinds) > 1 or np.dtype(source.dtypes[0]).kind not in "uif":
        raise SceneError(
            f"All bands of a scene must have one real data type, but {name} has {', '.join(sorted(kinds))}. "
            "Convert it with gdal_translate -ot."
        )
    dtype = np.dtype(source.dtypes[0])
    alpha = 0
    for i in source.indexes:
        described = (source.descriptions[i - 1] or "alpha").strip().lower()
        if source.colorinterp[i - 1] == ColorInterp.alpha and described == "alpha" and i not in numbers:
            alpha = i
    indexes = tuple(i for i in source.indexes if i != alpha)
    if not indexes:
        raise SceneError(f"A scene needs a band of pixels, but {name} has an alpha band only.")
    flags = source.mask_flag_enums
    special = {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha}
    masked = tuple(i for i in indexes if not special & set(flags[i - 1]))
    if masked and all(MaskFlags.per_dataset in flags[i - 1] for i in masked):
        masked = masked[:1]
    shared = [set(source.overviews(i)) for i in indexes]
    overviews = tuple(source.overviews(indexes[0])) if all(item == shared[0] for item in shared) else ()
    return File(
        path=name,
        place=_place(source, name, crs),
        names=_band_names(source, indexes),
        indexes=indexes,
        dtype=dtype,
        nodata=tuple(_nodata(source.nodatavals[i - 1], dtype) for i in indexes),
        alpha=alpha,
        masked=masked,
        overviews=overviews,
        level=None,
        stamp=tuple(_stamp(item) for item in sorted({name, *source.files})),
    )


def _place(source: rasterio.DatasetReader, name: str, crs: str | None) -> GeoBox | Gcps:
    points, gcp_crs = source.gcps
    given = source.crs or (gcp_crs if points else None)
    lost = source.transform == Affine.identity()
    if lost and len(points) < 3:
        raise SceneError(
            f"A scene must have a georeference, but {name} has no transform and {len(points)} ground control "
            "points. Give it one: gdal_translate -a_srs EPSG:... -a_ullr left top right bottom."
        )
    if not given and not crs:
        raise SceneError(
            f"A scene must have a coordinate reference system, but {name} has none. Say which with --crs EPSG:..."
        )
    if lost:
        known = tuple((point.row, point.col, point.x, point.y) for point in points)
        return Gcps((source.height, source.width), known, crs_text(gcp_crs or source.crs or crs))
    return GeoBox((source.height, source.width), source.transform, crs_text(given or crs))


def _nodata(value: float | None, dtype: np.dtype) -> float | None:
    """The nodata value as the data type holds it; None for NaN (always invalid) and values it cannot hold."""
    if value is None or math.isnan(value):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    limits = np.iinfo(dtype)
    return int(value) if value == int(value) and limits.min <= value <= limits.max else None


_COLORS = {
    "red", "green", "blue", "coastal", "rededge", "nir", "swir", "mwir", "lwir", "pan", "yellow", "orange"
}  # fmt: skip


def _band_names(source: rasterio.DatasetReader, indexes: tuple[int, ...]) -> tuple[str, ...]:
    """Names from descriptions, else colour interpretation, else band1, band2, ...; none stands twice."""
    names = []
    for i in indexes:
        color = str(source.colorinterp[i - 1].name).lower()
        if color == "gray" and len(indexes) > 1:  # what GDAL calls the first of many bands
            color = ""
        described = (source.descriptions[i - 1] or "").strip()
        names.append(described or (color if color in _COLORS | {"gray"} else f"band{i}"))
    return tuple(name if names.count(name) == 1 else f"band{i}" for name, i in zip(names, indexes, strict=True))


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:  # remote, or a name that is no file (a subdataset)
        return path, -1, -1
    return path, found.st_size, found.st_mtime_ns
