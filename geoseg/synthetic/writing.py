"""Synthetic scenes as GeoTIFF, block by block, whole or not at all."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoseg.classes import NODATA
from geoseg.errors import OptionError, OutputError
from geoseg.synthetic.draw import CLASSES, SyntheticScene, draw_window

__all__ = ["write_scene"]

_TIFF_TILE_PX = 512


def write_scene(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int],
    seed: int = 0,
    resolution_m: float = 0.5,
    crs: str = "EPSG:32633",
    origin: tuple[float, float] | None = None,
    date: int = 0,
    style: str = "temperate",
    nodata_hole: bool = False,
    truth_path: str | os.PathLike[str] | None = None,
    objects_path: str | os.PathLike[str] | None = None,
    block_px: int = 2048,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a scene of any size into a tiled GeoTIFF; memory depends on `block_px` and `workers`, not on `shape`.

    The world lies still in the coordinates of the CRS: scenes of the same seed, style and CRS whose extents overlap
    show the same place. In a geographic CRS a pixel is `resolution_m` long and wide at the latitude of `origin`
    (so its sides in degrees differ), and the world is drawn on that plane.

    Parameters
    ----------
    path : path
        The picture: bands red, green, blue, uint8.
    shape : (rows, cols)
    seed, resolution_m, date, style
        As in `SyntheticScene`. In a projected CRS, `resolution_m` is measured on its grid: in EPSG:3857 away from
        the equator the ground is smaller than that.
    crs : str
        Anything that pyproj understands; metres, feet or degrees.
    origin : (x, y), optional
        Outer corner of the first pixel (west, north) in the CRS. Without it (500 000 m, 5 400 000 m), or
        longitude 15, latitude 48.7.
    nodata_hole : bool
        Leave out a ragged edge and a hole, as mosaics of flights have: 0 in the picture (and nowhere else),
        255 in the truth.
    truth_path : path, optional
        Where the classes go (uint8, nodata 255, with colours).
    objects_path : path, optional
        Where the numbers of buildings go (uint32, 0 = no building).
    block_px : int
        Side of the windows that are drawn at once, a multiple of 512.
    workers : int
        Threads that draw.
    overwrite : bool
        Replace files that are there.
    progress : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    Path of the picture.

    Raises
    ------
    OptionError
        A number is out of range or the CRS is unknown.
    OutputError
        A file is there already or cannot be written.

    Examples
    --------
    >>> import tempfile, rasterio
    >>> folder = tempfile.mkdtemp()
    >>> path = write_scene(f"{folder}/scene.tif", shape=(100, 150), resolution_m=0.5)
    >>> with rasterio.open(path) as file:
    ...     file.shape, file.res, file.descriptions
    ((100, 150), (0.5, 0.5), ('red', 'green', 'blue'))
    """
    rows, cols = (int(n) for n in shape)
    if rows < 1 or cols < 1:
        raise OptionError(f"shape must be (rows, cols) of at least one pixel, but is {tuple(shape)}.")
    if block_px < _TIFF_TILE_PX or block_px % _TIFF_TILE_PX:
        raise OptionError(f"block_px must be a multiple of {_TIFF_TILE_PX}, but is {block_px}. Take 2048.")
    if workers < 1:
        raise OptionError(f"workers must be at least 1, but is {workers}.")
    crs_text, transform, origin_m = _grid(crs, origin, resolution_m)
    spec = SyntheticScene(seed=seed, resolution_m=resolution_m, date=date, style=style, origin_m=origin_m)

    targets = [Path(p) if p is not None else None for p in (path, truth_path, objects_path)]
    wanted = [p for p in targets if p is not None]
    if len({p.absolute() for p in wanted}) < len(wanted):
        raise OptionError(f"Picture, truth and objects need a file each, but are {[str(p) for p in wanted]}.")

    for wish in wanted:
        if wish.exists() and not overwrite:
            raise OutputError(f"{wish} is there already. Choose another name or pass overwrite=True.")
        try:
            wish.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{wish} needs a folder, but it cannot be made: {error}. Choose another.") from error

    grid = {"height": rows, "width": cols, "crs": crs_text, "transform": transform}
    kinds = (
        {"count": 3, "dtype": "uint8", "photometric": "RGB", "nodata": 0 if nodata_hole else None},
        {"count": 1, "dtype": "uint8", "nodata": NODATA},
        {"count": 1, "dtype": "uint32", "nodata": 0},
    )
    parts = [p and p.with_name(f".{p.name}.{os.getpid()}.part") for p in targets]
    try:
        with rasterio.Env(GDAL_CACHEMAX=128), ExitStack() as stack:
            files = [
                stack.enter_context(rasterio.open(part, "w", **_PROFILE, **grid, **kind)) if part else None
                for part, kind in zip(parts, kinds, strict=True)
            ]
            _describe(files, spec)
            windows = [
                (slice(r, min(r + block_px, rows)), slice(c, min(c + block_px, cols)))
                for r in range(0, rows, block_px)
                for c in range(0, cols, block_px)
            ]

            def block(window: tuple[slice, slice]) -> tuple[np.ndarray, ...]:
                return _draw_block(spec, window, (rows, cols) if nodata_hole else None)

            for done, (window, layers) in enumerate(_ahead(block, windows, workers), start=1):
                for file, layer in zip(files, layers, strict=True):
                    if file is not None:
                        file.write(layer, window=Window.from_slices(*window))
                if progress is not None:
                    progress(done, len(windows))
        for part, target in zip(parts, targets, strict=True):
            if part is not None and target is not None:
                os.replace(part, target)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise OutputError(f"{wanted[0]} cannot be written: {error}. Check the folder and its space.") from error
    finally:
        for part in parts:
            if part is not None:
                part.unlink(missing_ok=True)
    return wanted[0]


_PROFILE = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": _TIFF_TILE_PX,
    "blockysize": _TIFF_TILE_PX,
    "compress": "deflate",
    "zlevel": 1,
    "predictor": 2,
    "interleave": "pixel",
    "bigtiff": "IF_SAFER",
}


def _grid(crs: str, origin: tuple[float, float] | None, resolution_m: float) -> tuple[str, Affine, tuple[float, float]]:
    """The CRS for the file, the transform, and the origin in metres of the world."""
    try:
        system = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(f"crs must be a coordinate system, such as EPSG:32633, but is {crs!r}.") from error
    unit = system.axis_info[0]
    if system.is_geographic and unit.unit_name == "degree":
        x, y = (15.0, 48.7) if origin is None else map(float, origin)
        # Length of a degree on WGS 84 (series of the meridian and the parallel); good to a metre in 111 km.
        lat = math.radians(y)
        metres_y = 111132.92 - 559.82 * math.cos(2 * lat) + 1.175 * math.cos(4 * lat)
        metres_x = 111412.84 * math.cos(lat) - 93.5 * math.cos(3 * lat)
        if not abs(y) < 89.0:
            raise OptionError(f"The origin must lie between latitudes -89 and 89, but is at {y}.")
    elif system.is_projected:
        x, y = (
            (500_000.0 / unit.unit_conversion_factor, 5_400_000.0 / unit.unit_conversion_factor)
            if origin is None
            else map(float, origin)
        )
        metres_x = metres_y = unit.unit_conversion_factor
    else:
        raise OptionError(f"crs must be projected or in degrees, but {crs!r} is {system.type_name}.")
    transform = Affine(resolution_m / metres_x, 0.0, x, 0.0, -resolution_m / metres_y, y)
    return system.to_wkt(), transform, (x * metres_x, y * metres_y)


def _describe(files: list, spec: SyntheticScene) -> None:
    picture, truth, objects = files
    picture.descriptions = ("red", "green", "blue")
    picture.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    picture.update_tags(
        SYNTHETIC=f"geoseg seed={spec.seed} style={spec.style} date={spec.date} resolution_m={spec.resolution_m}"
    )
    if truth is not None:
        truth.descriptions = ("class",)
        truth.write_colormap(1, {info.value: (*info.rgb, 255) for info in CLASSES})
        truth.update_tags(**{f"CLASS_{info.value}": info.name for info in CLASSES})
    if objects is not None:
        objects.descriptions = ("building",)


def _draw_block(
    spec: SyntheticScene, window: tuple[slice, slice], holed: tuple[int, int] | None
) -> tuple[np.ndarray, ...]:
    rgb, truth, ids = draw_window(spec, *window)
    if holed is not None:
        outside = ~_valid(holed, *window)
        np.maximum(rgb, 1, out=rgb)  # 0 is left to nodata
        rgb[:, outside] = 0
        truth[outside] = NODATA
        ids[outside] = 0
    return rgb, truth[None], ids[None]


def _valid(shape: tuple[int, int], rows: slice, cols: slice) -> np.ndarray:
    """True inside the flown area: between two slanted, stepped edges, and outside a hole."""
    row = np.arange(rows.start, rows.stop, dtype=np.float64)[:, None]
    col = np.arange(cols.start, cols.stop, dtype=np.float64)[None, :]
    y, x = row / shape[0], col / shape[1]
    steps = 0.03 * (np.floor(x * 11.0) % 3.0) + 0.012 * (np.floor(x * 37.0) % 2.0)
    inside = (y > 0.02 + 0.12 * x + steps) & (y < 1.03 - 0.1 * x - steps)
    ragged = 0.012 * np.abs((x * 23.0 + y * 17.0) % 2.0 - 1.0)
    return inside & ((x - 0.63) ** 2 + (y - 0.47) ** 2 > (0.07 + ragged) ** 2)


def _ahead(
    work: Callable[[tuple[slice, slice]], tuple[np.ndarray, ...]], windows: list, workers: int
) -> Iterator[tuple[tuple[slice, slice], tuple[np.ndarray, ...]]]:
    """Windows and their results in order; at most `workers` + 1 results wait."""
    if workers == 1:
        for window in windows:
            yield window, work(window)
        return
    with ThreadPoolExecutor(workers) as pool:
        queue: deque = deque()
        for window in windows:
            queue.append((window, pool.submit(work, window)))
            if len(queue) > workers:
                window, future = queue.popleft()
                yield window, future.result()
        for window, future in queue:
            yield window, future.result()
