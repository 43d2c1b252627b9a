"""Class maps: the convention in memory, GeoTIFF in and out, and the block files that a run leaves.

>>> from geoseg.classes import ClassInfo
>>> from odc.geo.geobox import GeoBox
>>> import numpy as np
>>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:32632", resolution=1)
>>> cover = class_map(np.array([[1, 255]], np.uint8), grid, [ClassInfo(1, "open water")])
>>> class_names(cover)
{1: 'open water'}
"""

from __future__ import annotations

from geoseg.classmap.blockfiles import (
    BlockWriter,
    open_blocks,
    open_object_blocks,
    read_block,
    write_block,
    write_object_block,
)
from geoseg.classmap.choose import only_classes
from geoseg.classmap.convention import class_map, class_names, classes_of, geobox_of, iter_strips, nodata_of
from geoseg.classmap.read import open_class_map
from geoseg.classmap.values import open_value_map
from geoseg.classmap.write import write_class_map, write_confidence_map, write_object_map

__all__ = [
    "BlockWriter",
    "class_map",
    "class_names",
    "classes_of",
    "geobox_of",
    "iter_strips",
    "nodata_of",
    "only_classes",
    "open_blocks",
    "open_class_map",
    "open_object_blocks",
    "open_value_map",
    "read_block",
    "write_block",
    "write_class_map",
    "write_confidence_map",
    "write_object_block",
    "write_object_map",
]
