"""Results as files: polygon layers, QGIS styles, tables, a preview, the record of a run."""

from geoseg.export.change_pictures import (
    change_panel_shape,
    write_change_preview,
    write_series_plot,
)
from geoseg.export.fiboa import FIBOA_SUFFIX, write_fiboa
from geoseg.export.matrix_picture import write_matrix_picture
from geoseg.export.preview import write_preview
from geoseg.export.reading import read_areas, read_objects, read_reference
from geoseg.export.record import peak_memory_bytes, versions, write_areas_csv, write_record
from geoseg.export.sample_files import sample_places, write_sample_layer
from geoseg.export.style import polygon_qml
from geoseg.export.vector import FORMATS, write_polygons

__all__ = [
    "FIBOA_SUFFIX",
    "FORMATS",
    "change_panel_shape",
    "peak_memory_bytes",
    "polygon_qml",
    "read_areas",
    "read_objects",
    "read_reference",
    "sample_places",
    "versions",
    "write_areas_csv",
    "write_change_preview",
    "write_fiboa",
    "write_matrix_picture",
    "write_polygons",
    "write_preview",
    "write_record",
    "write_sample_layer",
    "write_series_plot",
]
