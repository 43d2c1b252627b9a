"""Batches of polygons → Arrow tables of one schema and one size, and what must be known of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyproj
import pyproj.exceptions
import shapely

from geoseg.classes import NODATA, ClassInfo, check_classes
from geoseg.errors import OptionError, OutputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Stream", "parse_crs"]

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

_SHAPES = ("geometry", "bbox")


class Stream:
    """Batches, frames or tables, as tables.

    Parameters
    ----------
    batches
        With the same columns and CRS: GeoDataFrames, or Arrow tables as `geoseg.polygons.iter_tables` makes them.
    crs
        Polygons are moved to this CRS; None = they stay in theirs.
    multi
        Whether all shapes are MultiPolygons (True) or Polygons (False); None = they stay what they are.
    """

    def __init__(
        self, batches: Iterable[gpd.GeoDataFrame] | Iterable[pa.Table], *, crs: pyproj.CRS | None, multi: bool | None
    ) -> None:
        rest = iter(batches)
        first = next(rest, None)
        self.kind = {True: "MultiPolygon", False: "Polygon", None: "Polygon or MultiPolygon"}[multi]
        self.columns = {name: _arrow_type(name, first) for name in _names(first)}
        self._batches: Iterable[Any] = chain([] if first is None else [first], rest)
        self._source = None if first is None else _crs_of(first)
        self.crs = self._source if crs is None else crs
        self.bounds = [np.inf, np.inf, -np.inf, -np.inf]
        self.seen: dict[int, str] = {}

    def tables(self, size: int) -> Iterator[pa.Table]:
        """Tables of `size` rows: the attributes, then ``geometry`` (WKB) and ``bbox``."""
        import pyarrow as pa

        held: list[pa.Table] = []
        rows = 0
        for batch in self._batches:
            table = self._table(batch)
            self._note(table)
            held.append(table)
            rows += len(table)
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
        """Of the tables."""
        import pyarrow as pa

        box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
        fields = [pa.field(name, kind) for name, kind in self.columns.items()]
        return pa.schema([*fields, pa.field("geometry", pa.large_binary()), pa.field("bbox", box)])

    def _note(self, table: pa.Table) -> None:
        """Keep what must be known in the end."""
        sides = [column.to_numpy() for column in table["bbox"].combine_chunks().flatten()]
        if not all(np.isfinite(side).all() for side in sides):
            name = self.crs.name if self.crs is not None else "their CRS"
            raise OutputError(f"Some polygons are empty or have no place in {name}. Choose another CRS.")
        if len(table):
            reached: list[Callable[..., Any]] = [np.min, np.min, np.max, np.max]
            self.bounds = [
                far([known, far(side)]) for far, known, side in zip(reached, self.bounds, sides, strict=True)
            ]
        if "class" in self.columns and len(self.seen) <= _STYLED:
            values, where = np.unique(table["class"].to_numpy(), return_index=True)
            names = table["class_name" if "class_name" in self.columns else "class"].take(where)
            self.seen.update(zip(values.tolist(), map(str, names.to_pylist()), strict=True))

    def _table(self, batch: gpd.GeoDataFrame | pa.Table) -> pa.Table:
        if isinstance(batch, gpd.GeoDataFrame):
            return self._from_frame(batch)
        if self.crs == self._source:
            return batch.cast(self.schema())
        return self._from_frame(gpd.GeoDataFrame.from_arrow(batch.drop_columns("bbox")))

    def _from_frame(self, frame: gpd.GeoDataFrame) -> pa.Table:
        import pyarrow as pa

        self._check(frame)
        if self.crs is not None and frame.crs != self.crs:
            frame = frame.to_crs(self.crs)
        shapes = self._of_kind(np.asarray(frame.geometry.values))
        schema = self.schema()
        sides = [pa.array(side) for side in shapely.bounds(shapes).T]
        box = pa.StructArray.from_arrays(sides, fields=list(schema.field("bbox").type))
        columns = [pa.Array.from_pandas(frame[name]).cast(kind) for name, kind in self.columns.items()]
        wkb = pa.array(shapely.to_wkb(shapes), type=pa.large_binary())
        return pa.Table.from_arrays([*columns, wkb, box], schema=schema)

    def _check(self, frame: gpd.GeoDataFrame) -> None:
        if frame.crs is None:
            raise OptionError("Polygons need a CRS, but a batch has none. Set it with frame.set_crs(...).")
        if frame.crs != self._source:
            first = self._source.name if self._source else "none"
            raise OptionError(f"All batches need one CRS, but {frame.crs.name} follows {first}. Reproject them first.")
        if _names(frame) != list(self.columns):
            raise OptionError(f"All batches need the same columns, but {_names(frame)} follow {list(self.columns)}.")

    def _of_kind(self, shapes: np.ndarray) -> np.ndarray:
        """The geometries, all of the layer's one type: a layer of mixed types is trouble in most programs."""
        kinds = shapely.get_type_id(shapes)
        single = kinds == shapely.GeometryType.POLYGON
        fit = single if self.kind == "Polygon" else single | (kinds == shapely.GeometryType.MULTIPOLYGON)
        if not fit.all():
            raise OptionError(
                f"This layer is one of type {self.kind}, but it got a {shapes[~fit][0].geom_type}. "
                "Pass multi=True for MultiPolygons (8-connected maps); other types are not written."
            )
        if self.kind == "MultiPolygon":
            shapes = shapes.copy()
            shapes[single] = shapely.multipolygons(shapes[single], indices=np.arange(single.sum()))
        return shapes


def _names(batch: gpd.GeoDataFrame | pa.Table | None) -> list[str]:
    if batch is None:
        return list(_COLUMNS)
    if isinstance(batch, gpd.GeoDataFrame):
        return [str(name) for name in batch.columns.drop(batch.geometry.name)]
    return [name for name in batch.column_names if name not in _SHAPES]


def _crs_of(batch: gpd.GeoDataFrame | pa.Table) -> pyproj.CRS | None:
    if isinstance(batch, gpd.GeoDataFrame):
        return batch.crs
    metadata = batch.schema.field("geometry").metadata
    return pyproj.CRS.from_json_dict(json.loads(metadata[b"ARROW:extension:metadata"])["crs"])


def _arrow_type(name: str, batch: gpd.GeoDataFrame | pa.Table | None) -> pa.DataType:
    import pyarrow as pa

    if name in _COLUMNS:
        return pa.type_for_alias(_COLUMNS[name])
    assert batch is not None  # without a batch there are the known columns only
    if not isinstance(batch, gpd.GeoDataFrame):
        return batch.schema.field(name).type
    kind = pa.Array.from_pandas(batch[name]).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def parse_crs(crs: Any) -> pyproj.CRS | None:
    """A CRS from whatever pyproj takes.

    Raises
    ------
    OptionError
        It is none.

    >>> parse_crs("EPSG:25832").name
    'ETRS89 / UTM zone 32N'
    """
    try:
        return None if crs is None else pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(f"A CRS is written as EPSG:25832 or as WKT, but --crs is {crs!r}. ({error})") from error
