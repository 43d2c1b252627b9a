"""Fields as fiboa: the GeoParquet that the field boundary community exchanges.

fiboa 0.3 is Vecorel 0.1 with columns for fields. Beside GeoParquet's own metadata the file has an entry ``collection``:
the schemas that it follows, types of further columns, and what all its rows have in common. Its validator is
``fiboa validate`` of the package fiboa-cli.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import shapely

from geoseg.errors import OptionError, OutputError
from geoseg.export.stream import Stream, parse_crs
from geoseg.export.vector import GROUP_ROWS, WRITER, geo_metadata
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pyarrow as pa

__all__ = ["FIBOA_SUFFIX", "write_fiboa"]

FIBOA_SUFFIX = ".fiboa.parquet"
"""What the name of a file of fields ends with."""

_SCHEMAS = (
    "https://vecorel.org/specification/v0.1.0/schema.yaml",
    "https://fiboa.org/specification/v0.3.0/schema.yaml",
)
_LANGUAGE = "https://vecorel.org/sdl/v0.2.0/schema.json"
_MEASURES = {"area_m2": ("metrics:area", 1e9), "perimeter_m": ("metrics:perimeter", 1.25e9)}  # and the largest allowed
_LEFT_OUT = {"object_id", "area_ha"}  # is the id; says the same as the area
_KINDS = {shapely.GeometryType.POLYGON: "Polygon", shapely.GeometryType.MULTIPOLYGON: "MultiPolygon"}
_RESERVED = {"schemas", "collection", "bbox", "category", "metrics", "determination"}


def write_fiboa(
    batches: Iterable[gpd.GeoDataFrame] | Iterable[pa.Table],
    path: str | os.PathLike[str],
    *,
    collection: str,
    crs: Any = None,
    observed: date | str | None = None,
    details: str | None = None,
) -> Path:
    """Write field boundaries as fiboa, batch by batch.

    Parameters
    ----------
    batches
        With the same columns and CRS, as for `geoseg.export.write_polygons`. ``id``, or else ``object_id``, names each
        field. ``area_m2`` and ``perimeter_m`` become ``metrics:area`` and ``metrics:perimeter``: they should be those
        of the shapes as they are written. All other columns are written too, with their types.
    path
        A name that ends with ``.fiboa.parquet`` says what is in it; ``.parquet`` is needed. Replaced, as a whole, when
        it is there.
    collection
        The name of the whole: name and id of a field tell it from all others, also when files are merged.
    crs
        Write in this CRS. The format allows any.
    observed
        When the fields were last seen: the date of the last image, not that of the run. A time without a zone is UTC.
    details
        How the boundaries were found, in words.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        No CRS; no ids; an id that two fields have; a column whose name or type the format has no place for.
    OutputError
        The file cannot be written, or polygons have no place in `crs`.

    Notes
    -----
    Areas above 100 000 ha, which the format forbids, are left empty; the polygon stays.

    Examples
    --------
    >>> import tempfile
    >>> fields = gpd.GeoDataFrame(
    ...     {"object_id": [1, 2], "area_m2": [1e4, 2e4], "score": [0.9, 0.8]},
    ...     geometry=[shapely.box(0, 0, 100, 100), shapely.box(100, 0, 300, 100)],
    ...     crs="EPSG:32633",
    ... )
    >>> path = Path(tempfile.mkdtemp()) / "fields.fiboa.parquet"
    >>> gpd.read_parquet(write_fiboa([fields], path, collection="my fields"))[["id", "metrics:area"]].values.tolist()
    [['1', 10000.0], ['2', 20000.0]]
    """
    from pyarrow import parquet

    target = Path(path)
    if target.suffix.lower() != ".parquet":
        raise OptionError(f"fiboa is written as *{FIBOA_SUFFIX}, but the file is {target.name!r}. Rename it.")
    if not collection:
        raise OptionError("A collection of fields needs a name, but it is empty. Give collection='my fields'.")
    kinds: set[str] = set()
    stream = Stream(_simple(batches, kinds), crs=parse_crs(crs), multi=None)
    layout = _Layout(stream.schema())
    metadata = layout.metadata(collection, observed, details)
    with replacing(target) as beside:
        try:
            with parquet.ParquetWriter(beside, layout.schema, **WRITER) as writer:
                for table in stream.tables(GROUP_ROWS):
                    writer.write_table(layout.table(table), row_group_size=GROUP_ROWS)
                layout.check_ids()
                geo = geo_metadata(stream, sorted(kinds))
                writer.add_key_value_metadata({"geo": json.dumps(geo), "collection": json.dumps(metadata)})
        except OSError as error:
            raise OutputError(f"Cannot write {target}: {error}. Free some space, or choose another disk.") from error
    return target


def _simple(batches: Iterable[gpd.GeoDataFrame] | Iterable[pa.Table], kinds: set[str]) -> Iterator[gpd.GeoDataFrame]:
    """Frames in which a MultiPolygon has several parts; `kinds` gets the types of the shapes."""
    for batch in batches:
        frame = batch if isinstance(batch, gpd.GeoDataFrame) else gpd.GeoDataFrame.from_arrow(batch)
        if "bbox" in frame.columns and not isinstance(batch, gpd.GeoDataFrame):
            frame = frame.drop(columns="bbox")
        shapes = np.array(frame.geometry.values)
        single = (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON) & (
            shapely.get_num_geometries(shapes) == 1
        )
        shapes[single] = shapely.get_geometry(shapes[single], 0)
        kinds |= {_KINDS[kind] for kind in np.unique(shapely.get_type_id(shapes)) if kind in _KINDS}
        yield frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))


class _Layout:
    """From the columns of a layer to those of fiboa."""

    def __init__(self, source: pa.Schema) -> None:
        import pyarrow as pa

        self._id = next((name for name in ("id", "object_id") if name in source.names), None)
        if self._id is None:
            raise OptionError(
                f"Fields need an id, but the columns are {', '.join(source.names)}. Add a column id, unlike for each."
            )
        self._further = [
            field for field in source if field.name not in {*_LEFT_OUT, *_MEASURES, "id", "geometry", "bbox"}
        ]
        taken = [field.name for field in self._further if field.name.split(":")[0] in _RESERVED]
        if taken:
            raise OptionError(
                f"fiboa keeps the name {taken[0]!r} for itself, but a column has it. Rename it, or leave it out."
            )
        self._types = {field.name: _named_type(field) for field in self._further}
        self._measures = [name for name in _MEASURES if name in source.names]
        sides = pa.struct([pa.field(name, pa.float32(), nullable=False) for name in ("xmin", "ymin", "xmax", "ymax")])
        self.schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                *(pa.field(_MEASURES[name][0], pa.float32()) for name in self._measures),
                *(pa.field(field.name, self._types[field.name][1]) for field in self._further),
                pa.field("geometry", pa.binary(), nullable=False),
                pa.field("bbox", sides),
            ]
        )
        self._ids: list[pa.Array] = []

    def table(self, table: pa.Table) -> pa.Table:
        """Rows, in one piece."""
        import pyarrow as pa

        rows = table.combine_chunks()
        ids = rows[self._id].cast(pa.string()).combine_chunks()
        if ids.null_count or "" in ids.unique().to_pylist():
            raise OptionError("Each field needs an id, but some have none. Fill that column.")
        self._ids.append(ids)
        columns = {"id": ids, "geometry": rows["geometry"].cast(pa.binary()), "bbox": self._box(rows["bbox"])}
        for name in self._measures:
            measure, most = _MEASURES[name]
            values = rows[name].to_numpy().astype("float32")
            columns[measure] = pa.array(values, mask=~((values > 0) & (values <= most)))
        for name, (_, kind) in self._types.items():
            columns[name] = rows[name].cast(kind)
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def check_ids(self) -> None:
        """Make sure that no two fields of all have one id."""
        import pyarrow as pa
        import pyarrow.compute as pc

        counts = pc.value_counts(pa.chunked_array(self._ids, pa.string()))
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(twice):
            raise OptionError(
                f"A field's id is its own, but {twice[0]['values'].as_py()!r} names {twice[0]['counts']} polygons. Are "
                "they pieces of one that was cut? Then leave out --split and --max-vertices, or number them anew."
            )

    def metadata(self, collection: str, observed: date | str | None, details: str | None) -> dict[str, Any]:
        """The entry ``collection``."""
        common = {
            "schemas": {collection: list(_SCHEMAS)},
            "collection": collection,
            "determination:method": "auto-imagery",
        }
        if observed is not None:
            common["determination:datetime"] = _utc(observed)
        if details:
            common["determination:details"] = details
        if self._types:
            further = {name: {"type": kind} for name, (kind, _) in self._types.items()}
            common["schemas:custom"] = {"$schema": _LANGUAGE, "required": [], "collection": {}, "properties": further}
        return common

    def _box(self, boxes: pa.ChunkedArray) -> pa.StructArray:
        """Bounding boxes in single precision, none of them smaller than the polygon."""
        import pyarrow as pa

        sides = []
        for values, outward in zip(boxes.combine_chunks().flatten(), (-np.inf, -np.inf, np.inf, np.inf), strict=True):
            exact = values.to_numpy()
            side = exact.astype("float32")
            inside = side > exact if outward < 0 else side < exact
            sides.append(pa.array(np.where(inside, np.nextafter(side, np.float32(outward)), side)))
        return pa.StructArray.from_arrays(sides, fields=list(self.schema.field("bbox").type))


def _named_type(field: pa.Field) -> tuple[str, pa.DataType]:
    """What the schema language calls a type, and how it is stored."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if pa.types.is_timestamp(kind) and kind.tz:
        return "date-time", pa.timestamp("ms", tz="UTC")
    names = {pa.string(): "string", pa.bool_(): "boolean", pa.float32(): "float", pa.float64(): "double"}
    names |= {pa.date32(): "date", pa.binary(): "binary"}
    name = str(kind) if pa.types.is_integer(kind) else names.get(kind)
    if name is None:
        raise OptionError(
            f"fiboa has columns of texts, numbers, truth values, dates and times with a zone, but {field.name!r} is of "
            f"type {kind}. Convert it, or leave it out."
        )
    return name, kind


def _utc(when: date | str) -> str:
    """A date or time as the format writes it.

    >>> _utc("2024-05-31"), _utc("2024-05-31T12:00+02:00")
    ('2024-05-31T00:00:00Z', '2024-05-31T10:00:00Z')
    """
    try:
        moment = datetime.fromisoformat(when if isinstance(when, str) else when.isoformat())
    except ValueError as error:
        raise OptionError(f"A date is written as 2024-05-31 or 2024-05-31T10:00Z, but it is {when!r}.") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
