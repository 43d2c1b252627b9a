"""Maps on disk: cloud-optimised GeoTIFF with colours, names, an attribute table and fitting overviews."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import xarray as xr

from geoseg.classes import NODATA
from geoseg.classmap.convention import classes_of, geobox_of, iter_strips, nodata_of
from geoseg.classmap.geotiff import check_whole, writing
from geoseg.classmap.sidecar import class_aux_xml, class_qml, confidence_qml, object_qml
from geoseg.errors import OptionError, OutputError
from geoseg.files import replacing

__all__ = ["write_class_map", "write_confidence_map", "write_object_map"]

_TILE_PX = 512
_CACHE_MB = 64  # of GDAL: by default it takes 5 % of the machine's memory, whatever the raster needs


def write_class_map(
    class_map: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    areas: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a class map as a COG that shows its names and colours at once.

    Nodata is 255; overviews hold the most frequent class, never an average. Beside the file stand
    ``<name>.aux.xml`` (category names; attribute table with value, name, colour, pixels, area) and, for QGIS,
    ``<stem>.qml``. The map is read once, strip by strip.

    Parameters
    ----------
    class_map
        uint8 (row, col) with nodata 255, numpy or Dask. A value that the legend lacks is written as "class N".
    path
        The GeoTIFF.
    areas
        The table of `geoseg.class_areas`, for the columns ``area_m2`` and ``area_ha`` of the attribute table.
    overwrite
        Replace a file that is there.

    Returns
    -------
    Path
        The GeoTIFF, which appears whole or not at all.

    Raises
    ------
    OptionError
        Not uint8 with nodata 255, or ``areas`` counts other pixels than the map has.
    OutputError
        The file is there already or cannot be written.
    SceneError
        The map has no CRS or grid.

    Examples
    --------
    >>> import tempfile
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map, classes_of, open_class_map
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:32632", resolution=1)
    >>> cover = class_map(np.array([[1, 255]], np.uint8), grid, [ClassInfo(1, "open water", "#1f6fb4")])
    >>> path = write_class_map(cover, Path(tempfile.mkdtemp()) / "classes.tif")
    >>> classes_of(open_class_map(path))
    (ClassInfo(value=1, name='open water', color='#1f6fb4'),)
    """
    with _Cog(class_map, Path(path), overwrite=overwrite) as cog:
        pixels = cog.write_strips()
        classes = classes_of(class_map, values=pixels)
        areas_m2 = None if areas is None else _areas_by_class(areas, pixels)
        with writing(cog.path), rasterio.open(cog.strips, "r+") as dataset:
            dataset.write_colormap(1, {info.value: (*info.rgb, 255) for info in classes})
            dataset.set_band_description(1, "class")
            # In the file itself as well, for a copy that lost what stands beside it.
            legend = json.dumps([[info.value, info.name, info.color] for info in classes])
            dataset.update_tags(1, classes=legend)
        cog.finish(overviews="MODE")
        cog.beside(".aux.xml", class_aux_xml(classes, pixels=pixels, areas_m2=areas_m2))
        cog.target.with_suffix(".qml").write_text(class_qml(classes), encoding="utf-8")
    return Path(path)


def write_confidence_map(confidence: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a map of percents as a COG, with a QGIS style beside it.

    Parameters
    ----------
    confidence
        uint8 (row, col), 0..100 and 255 for nodata, numpy or Dask.
    path
        The GeoTIFF.
    overwrite
        Replace a file that is there.

    Returns
    -------
    Path
        The GeoTIFF, which appears whole or not at all.

    Raises
    ------
    OptionError
        Not uint8 with nodata 255, or above 100.
    OutputError
        The file is there already or cannot be written.
    SceneError
        The map has no CRS or grid.

    Examples
    --------
    >>> import tempfile
    >>> from odc.geo.xr import wrap_xr
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:32632", resolution=1)
    >>> percent = wrap_xr(np.array([[97, 255]], np.uint8), grid, nodata=255)
    >>> write_confidence_map(percent, Path(tempfile.mkdtemp()) / "confidence.tif").name
    'confidence.tif'
    """
    with _Cog(confidence, Path(path), overwrite=overwrite) as cog:
        highest = max((value for value in cog.write_strips()), default=0)
        if highest > 100:
            raise OptionError(f"Confidence is a percent, 0..100 (255 = nodata), but {highest} occurs.")
        with writing(cog.path), rasterio.open(cog.strips, "r+") as dataset:
            dataset.set_band_description(1, "confidence")
            dataset.set_band_unit(1, "percent")
        cog.finish(overviews="AVERAGE")
        cog.target.with_suffix(".qml").write_text(confidence_qml(), encoding="utf-8")
    return Path(path)


def write_object_map(
    objects: xr.DataArray, path: str | os.PathLike[str], *, count: int | None = None, overwrite: bool = False
) -> Path:
    """Write a map of objects as a COG: uint32, 0 = none; overviews hold the most frequent id.

    Parameters
    ----------
    objects
        uint32 (row, col) with nodata 0, numpy or Dask.
    count
        How many objects there are, 1, 2, ... Where they are not too many, a QGIS style is written beside.
    path, overwrite
        See `write_class_map`, also for what is raised.

    Examples
    --------
    >>> import tempfile
    >>> from odc.geo.xr import wrap_xr
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:32632", resolution=1)
    >>> ids = wrap_xr(np.array([[70000, 0]], np.uint32), grid, nodata=0)
    >>> write_object_map(ids, Path(tempfile.mkdtemp()) / "objects.tif").name
    'objects.tif'
    """
    with _Cog(objects, Path(path), overwrite=overwrite, dtype="uint32", nodata=0) as cog:
        cog.write_strips()
        with writing(cog.path), rasterio.open(cog.strips, "r+") as dataset:
            dataset.set_band_description(1, "object")
        cog.finish(overviews="MODE")
        style = None if count is None else object_qml(count)
        if style is not None:
            cog.target.with_suffix(".qml").write_text(style, encoding="utf-8")
    return Path(path)


class _Cog:
    """Writing a COG out of core: strips into a plain tiled GeoTIFF, then one copy by GDAL's COG driver."""

    def __init__(
        self, da: xr.DataArray, path: Path, *, overwrite: bool, dtype: str = "uint8", nodata: int = NODATA
    ) -> None:
        if da.dtype != np.dtype(dtype) or nodata_of(da) != nodata:
            remedy = "Renumber its classes to 0..254." if dtype == "uint8" else f"Convert it to {dtype}."
            raise OptionError(
                f"Maps are written as {dtype} with nodata {nodata}, but this one is {da.dtype} with nodata "
                f"{nodata_of(da)}. {remedy}"
            )
        self.dtype, self.nodata = dtype, nodata
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already. Choose another name, or give --overwrite (overwrite=True).")
        self.da, self.path, self.geobox = da, path, geobox_of(da)
        self._replacing = replacing(path)
        self._env = rasterio.Env(GDAL_CACHEMAX=_CACHE_MB)

    def __enter__(self) -> _Cog:
        self.target = self._replacing.__enter__()
        self.strips = self.target.with_name("strips.tif.part")
        self._env.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._env.__exit__()
        self._replacing.__exit__(*error)  # type: ignore[arg-type]

    def write_strips(self) -> dict[int, int]:
        """Write all pixels; returns how many each class has, nodata left out (nothing for objects)."""
        height, width = self.geobox.shape
        counts = np.zeros(256, dtype=np.int64)
        profile = {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": 1,
            "dtype": self.dtype,
            "nodata": self.nodata,
            "crs": self.geobox.crs.to_wkt(),  # type: ignore[union-attr]
            "transform": self.geobox.transform,
            "tiled": True,
            "blockxsize": _TILE_PX,
            "blockysize": _TILE_PX,
            "compress": "deflate",
            "zlevel": 1,
            "bigtiff": "if_safer",
        }
        with writing(self.path):
            dataset = rasterio.open(self.strips, "w", **profile)
        with dataset:
            for row0, strip in iter_strips(self.da, rows=_TILE_PX):
                for row in strip if self.dtype == "uint8" else ():  # bincount takes eight bytes a pixel: row by row
                    counts += np.bincount(row, minlength=256)
                with writing(self.path):
                    dataset.write(strip, 1, window=((row0, row0 + len(strip)), (0, width)))
        check_whole(self.strips, self.path)
        return {value: int(counts[value]) for value in np.flatnonzero(counts[:NODATA]).tolist()}

    def finish(self, *, overviews: str) -> None:
        """Make the COG and drop the strips."""
        with writing(self.path):
            rasterio.shutil.copy(
                self.strips,
                self.target,
                driver="COG",
                COMPRESS="DEFLATE",
                BLOCKSIZE=_TILE_PX,
                OVERVIEW_RESAMPLING=overviews,
                BIGTIFF="IF_SAFER",
                NUM_THREADS="ALL_CPUS",
            )
        check_whole(self.target, self.path)
        self.strips.unlink()
        for path in (self.strips, self.target):  # GDAL may leave notes of its own; ours are complete
            path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)

    def beside(self, ending: str, text: str) -> None:
        self.target.with_name(self.target.name + ending).write_text(text, encoding="utf-8")


def _areas_by_class(areas: pd.DataFrame, pixels: dict[int, int]) -> dict[int, float]:
    areas = areas[areas["class"] != NODATA]  # the row of `with_no_data_row`
    counted = {int(value): int(count) for value, count in zip(areas["class"], areas["pixels"], strict=True)}
    differing = sorted(
        value for value in counted.keys() | pixels.keys() if counted.get(value, 0) != pixels.get(value, 0)
    )
    if differing:
        value = differing[0]
        raise OptionError(
            f"The table of areas must be of the same map, but for class {value} it counts {counted.get(value, 0)} "
            f"pixels and the map has {pixels.get(value, 0)}. Give class_areas(class_map)."
        )
    return {int(value): float(area) for value, area in zip(areas["class"], areas["area_m2"], strict=True)}
