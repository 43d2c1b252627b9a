"""Polygons to a file that a GIS opens: GeoPackage, GeoParquet, FlatGeobuf, GeoJSON, Shapefile.

Batches go through as an Arrow stream: the file is opened once, indexes are built once, and memory holds
one group of rows. (FlatGeobuf is the exception: GDAL keeps an index entry of about 100 bytes for each
polygon until the end, and polygons wait in a file beside.) The bytes written do not depend on how the
polygons are cut into batches.

The columns of the vectoriser keep their names, except that a Shapefile calls ``perimeter_m`` ``perim_m``,
because its names have ten characters.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors
import pyproj
import pyproj.exceptions
import shapely

from geoseg.classes import NODATA, ClassInfo, check_classes
from geoseg.errors import OptionError, OutputError
from geoseg.export.geopackage import finish_geopackage
from geoseg.export.style import polygon_qml
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pyarrow as pa

__all__ = ["FORMATS", "write_polygons"]

FORMATS = {
    ".gpkg": "GPKG",
    ".parquet": "Parquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".shp": "ESRI Shapefile",
}
"""The suffixes that `write_polygons` knows, and GDAL's name of each format."""

_ROWS = 4_096
"""Polygons that are handed to GDAL together: each of several copies on the way holds so many."""

_INDEX_BYTES = 128 << 20
"""Memory for the spatial index of a GeoPackage; beyond, GDAL writes it to disk as it grows."""
_INDEX_OPTION = "OGR_GPKG_MAX_RAM_USAGE_RTREE"

_GROUP_ROWS = 65_536
"""Polygons in a row group of GeoParquet."""

_STYLED = 255
"""With more values than this, polygons are objects rather than classes and get no colours of their own."""

_COLUMNS = {
    "object_id": "int64",
    "class": "int64",
    "class_name": "string",
    "pixels": "int64",
    "area_m2": "float64",
    "area_ha": "float64",
    "perimeter_m": "float64",
    "confidence": "float64",
}
"""Arrow types of the vectoriser's columns."""

# Whatever GDAL has to say about writing. (Full disks among it: it cleans up before it tells.)
_DRIVER_ERRORS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
)

_SHP_NAMES = {"perimeter_m": "perim_m"}
_SHP_MAX_BYTES = 2**31 - 1
_SHP_ROW_BYTES = 240  # of the .dbf: the widths that GDAL gives to the columns above, and some room

_LAYER_OPTIONS: dict[str, dict[str, str]] = {
    ".gpkg": {"GEOMETRY_NAME": "geom", "FID": "fid"},
    ".fgb": {},
    # Nine decimals of a degree are 0.1 mm; RFC 7946 alone would round to 11 mm and close thin polygons.
    ".geojson": {"RFC7946": "YES", "COORDINATE_PRECISION": "9"},
    ".shp": {"2GB_LIMIT": "YES"},
}


def write_polygons(
    batches: Iterable[gpd.GeoDataFrame],
    path: str | os.PathLike[str],
    *,
    classes: Iterable[ClassInfo],
    areas: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
    crs: Any = None,
    layer: str = "polygons",
    multi: bool = False,
) -> Path:
    """Write polygons, batch by batch, to one file; its suffix chooses the format.

    A GeoPackage also gets its QGIS style, so that it opens with class names and colours, and the table
    ``class_areas``. It has no date of its own: equal input gives equal bytes.

    Parameters
    ----------
    batches
        What `geoseg.polygons.iter_polygons` yields: frames with the same columns and CRS. Further columns
        are written too. No batch at all makes an empty layer with all columns.
    path
        ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson`` or ``.shp``. Replaced, as a whole, when it is there.
    classes
        The classes of the map, for the style. Values of the polygons that are not among them are styled, too.
    areas
        The table of `geoseg.areas.class_areas`, for a GeoPackage; or what gives it when all batches have passed.
    crs
        Write in this CRS (anything that pyproj takes). Each vertex is moved by itself, so neighbours keep
        sharing their edges; the columns keep the true areas. GeoJSON is always in EPSG:4326 (RFC 7946).
    layer
        The layer's name (GeoParquet has none, and a Shapefile is named by its file).
    multi
        Make a layer of MultiPolygons, as 8-connected maps need. Otherwise it is one of Polygons.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        Unknown suffix; batches without a CRS or with unequal columns; a MultiPolygon without `multi`.
    OutputError
        The file cannot be written, is too large for a Shapefile, or the polygons have no place in `crs`.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "polygons.gpkg"
    >>> water = ClassInfo(3, "water", "#1f6fb4")
    >>> frame = gpd.GeoDataFrame(
    ...     {"object_id": [1], "class": [3]}, geometry=[shapely.box(0, 0, 10, 10)], crs="EPSG:32633"
    ... )
    >>> path = write_polygons([frame], file, classes=[water])
    >>> gpd.read_file(path, layer="polygons")["class"].tolist()
    [3]
    >>> len(gpd.read_file(write_polygons([], file, classes=[water], crs="EPSG:32633"), layer="polygons"))
    0
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise OptionError(
            f"The suffix must be one of {', '.join(FORMATS)}, but the file is {target.name!r}. Rename it."
        )
    infos = check_classes(classes)
    stream = _Stream(batches, crs=_crs("EPSG:4326" if suffix == ".geojson" else crs), multi=multi)
    with replacing(target) as beside:
        if suffix == ".parquet":
            _write_parquet(stream, beside)
            return target
        try:
            _write_gdal(stream, beside, layer=layer)
            if suffix == ".gpkg":
                table = areas() if callable(areas) else areas
                finish_geopackage(beside, layer=layer, style=polygon_qml(*stream.legend(infos)), areas=table)
        except (*_DRIVER_ERRORS, sqlite3.Error) as error:
            free_bytes = shutil.disk_usage(target.parent).free
            raise OutputError(
                f"Cannot write {target}: {error} ({free_bytes / 2**20:.0f} MiB are free). Free some space, or "
                "choose another disk or format."
            ) from error
    return target


class _Stream:
    """Batches as Arrow tables of one schema and one size."""

    def __init__(self, batches: Iterable[gpd.GeoDataFrame], *, crs: pyproj.CRS | None, multi: bool) -> None:
        rest = iter(batches)
        first = next(rest, None)
        self.crs = crs if crs is not None or first is None else first.crs
        self.kind = "MultiPolygon" if multi else "Polygon"
        self.columns = {name: _arrow_type(name, first) for name in _names(first)}
        self.source = None if first is None else first.crs
        self.frames = chain([] if first is None else [first], rest)
        self.bounds = [np.inf, np.inf, -np.inf, -np.inf]
        self.seen: dict[int, str] = {}

    def tables(self, size: int) -> Iterator[pa.Table]:
        """Tables of `size` rows: the attributes, then ``geometry`` (WKB) and ``bbox``."""
        import pyarrow as pa

        held: list[pa.Table] = []
        rows = 0
        for frame in self.frames:
            held.append(self._table(frame))
            rows += len(frame)
            while rows >= size:
                whole = pa.concat_tables(held)
                yield whole.slice(0, size)
                held, rows = [whole.slice(size)], rows - size
        if rows:
            yield pa.concat_tables(held)

    def legend(self, classes: tuple[ClassInfo, ...]) -> tuple[tuple[ClassInfo, ...], bool]:
        """The classes to style, those among the polygons included that are missing; whether there are others."""
        known = {info.value for info in classes}
        missing = {value: name for value, name in self.seen.items() if value not in known}
        taken = {info.name for info in classes}
        if len(self.seen) > _STYLED or not all(0 <= value < NODATA for value in missing):
            return classes, True
        names = {value: f"{name} ({value})" if name in taken else name for value, name in missing.items()}
        return check_classes([*classes, *(ClassInfo(value, name) for value, name in names.items())]), False

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
        fields = [pa.field(name, kind) for name, kind in self.columns.items()]
        return pa.schema([*fields, pa.field("geometry", pa.large_binary()), pa.field("bbox", box)])

    def _table(self, frame: gpd.GeoDataFrame) -> pa.Table:
        import pyarrow as pa

        self._check(frame)
        if self.crs is not None and frame.crs != self.crs:
            frame = frame.to_crs(self.crs)
        shapes = self._of_kind(np.asarray(frame.geometry.values))
        bounds = shapely.bounds(shapes)
        if not np.isfinite(bounds).all():
            name = self.crs.name if self.crs is not None else "their CRS"
            raise OutputError(f"Some polygons are empty or have no place in {name}. Choose another CRS.")
        if len(bounds):
            low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
            self.bounds = [*np.minimum(self.bounds[:2], low), *np.maximum(self.bounds[2:], high)]
        if "class" in self.columns and len(self.seen) <= _STYLED:
            values, where = np.unique(frame["class"].to_numpy(), return_index=True)
            names = frame["class_name"] if "class_name" in self.columns else frame["class"]
            self.seen.update(zip(values.tolist(), names.iloc[where].astype(str), strict=True))
        schema = self.schema()
        box = pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], fields=list(schema.field("bbox").type))
        columns = [pa.Array.from_pandas(frame[name]).cast(kind) for name, kind in self.columns.items()]
        wkb = pa.array(shapely.to_wkb(shapes), type=pa.large_binary())
        return pa.Table.from_arrays([*columns, wkb, box], schema=schema)

    def _check(self, frame: gpd.GeoDataFrame) -> None:
        if frame.crs is None:
            raise OptionError("Polygons need a CRS, but a batch has none. Set it with frame.set_crs(...).")
        if frame.crs != self.source:
            first = self.source.name if self.source else "none"
            raise OptionError(f"All batches need one CRS, but {frame.crs.name} follows {first}. Reproject them first.")
        if _names(frame) != list(self.columns):
            raise OptionError(f"All batches need the same columns, but {_names(frame)} follow {list(self.columns)}.")

    def _of_kind(self, shapes: np.ndarray) -> np.ndarray:
        """The geometries, all of the layer's one type: a layer of mixed types is trouble in most programs."""
        kinds = shapely.get_type_id(shapes)
        single = kinds == shapely.GeometryType.POLYGON
        fit = single | (kinds == shapely.GeometryType.MULTIPOLYGON) if self.kind == "MultiPolygon" else single
        if not fit.all():
            raise OptionError(
                f"This layer is one of type {self.kind}, but it got a {shapes[~fit][0].geom_type}. "
                "Pass multi=True for MultiPolygons (8-connected maps); other types are not written."
            )
        if self.kind == "MultiPolygon":
            shapes = shapes.copy()
            shapes[single] = shapely.multipolygons(shapes[single], indices=np.arange(single.sum()))
        return shapes


def _names(frame: gpd.GeoDataFrame | None) -> list[str]:
    return list(_COLUMNS) if frame is None else [str(name) for name in frame.columns.drop(frame.geometry.name)]


def _arrow_type(name: str, frame: gpd.GeoDataFrame | None) -> pa.DataType:
    import pyarrow as pa

    if name in _COLUMNS:
        return pa.type_for_alias(_COLUMNS[name])
    assert frame is not None  # without a frame there are the known columns only
    kind = pa.Array.from_pandas(frame[name]).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _write_gdal(stream: _Stream, path: Path, *, layer: str) -> None:
    import pyarrow as pa
    from pyogrio.raw import write_arrow

    suffix = path.suffix.lower()
    failed: list[BaseException] = []
    guard = _shapefile_guard() if suffix == ".shp" else None
    schema = stream.schema()
    schema = schema.remove(schema.get_field_index("bbox"))
    names = [_short(name) if suffix == ".shp" else name for name in schema.names]
    schema = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def record_batches() -> Iterator[pa.RecordBatch]:
        # GDAL pulls these through C, where an exception becomes a bare message: keep the real one.
        try:
            for table in stream.tables(_ROWS):
                if guard:
                    guard(table)
                table = table.drop_columns("bbox").rename_columns(names).combine_chunks()
                yield from table.to_batches()
        except BaseException as error:
            failed.append(error)
            raise

    if pyogrio.get_gdal_config_option(_INDEX_OPTION) is None:  # else the user has decided
        pyogrio.set_gdal_config_options({_INDEX_OPTION: _INDEX_BYTES})
    options = dict(_LAYER_OPTIONS[suffix])
    if suffix == ".fgb":
        options["TEMPORARY_DIR"] = str(path.parent)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            write_arrow(
                pa.RecordBatchReader.from_batches(schema, record_batches()),
                path,
                layer=path.stem if suffix == ".shp" else layer,
                driver=FORMATS[suffix],
                geometry_name="geometry",
                geometry_type=stream.kind,
                crs=None if stream.crs is None else _crs_text(stream.crs),
                encoding="UTF-8" if suffix == ".shp" else None,
                # GDAL would write 1.4, which programs of a few years ago open with a warning.
                dataset_options={"VERSION": "1.2"} if suffix == ".gpkg" else None,
                layer_options=options,
            )
    except Exception:
        if failed:
            raise failed[0] from None
        raise


def _write_parquet(stream: _Stream, path: Path) -> None:
    """GeoParquet 1.1, with a bounding box for each polygon so that readers can skip row groups."""
    from pyarrow import parquet

    schema = stream.schema()
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in stream.tables(_GROUP_ROWS):
            writer.write_table(table, row_group_size=_GROUP_ROWS)
        covering = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
        column = {
            "encoding": "WKB",
            "geometry_types": [stream.kind],
            "crs": None if stream.crs is None else stream.crs.to_json_dict(),
            "covering": {"bbox": covering},
        }
        if np.isfinite(stream.bounds).all():
            column["bbox"] = [float(side) for side in stream.bounds]
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        writer.add_key_value_metadata({"geo": json.dumps(geo)})


def _shapefile_guard() -> Callable[[pa.Table], None]:
    """A function that counts what a Shapefile will hold and stops before its limit of 2 GB."""
    total = {".shp": 100, ".dbf": 400}

    def check(table: pa.Table) -> None:
        # A record is 52 bytes, 4 for each ring and 16 for each point; in WKB it is 9, 4 and 16.
        total[".shp"] += table["geometry"].combine_chunks().nbytes + 52 * table.num_rows
        total[".dbf"] += _SHP_ROW_BYTES * table.num_rows
        for part, size in total.items():
            if size > _SHP_MAX_BYTES:
                raise OutputError(
                    f"A Shapefile holds at most 2 GB, but its {part} would be larger. Choose another format: "
                    "gpkg, parquet or fgb."
                )

    return check


def _short(name: str) -> str:
    short = _SHP_NAMES.get(name, name)
    if len(short.encode()) > 10 and short != "geometry":
        raise OptionError(f"A Shapefile's column names have at most 10 characters, but {name!r} has more.")
    return short


def _crs(crs: Any) -> pyproj.CRS | None:
    try:
        return None if crs is None else pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(f"A CRS is written as EPSG:25832 or as WKT, but --crs is {crs!r}. ({error})") from error


def _crs_text(crs: pyproj.CRS) -> str:
    code = crs.to_authority(min_confidence=100)
    return ":".join(code) if code else crs.to_wkt()
