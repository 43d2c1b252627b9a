"""True areas: how many square metres of the ellipsoid each pixel covers, and each class of a map.

A pixel of EPSG:4326 shrinks towards the poles, one of EPSG:3857 covers a quarter of its nominal area at 60°
north, and a UTM pixel is off by up to 0.2 %. `PixelAreas` knows the area of every pixel of any grid, and
`class_areas` sums them by class. Areas are summed as integers, so a sum never depends on the order or on
the chunks.
"""

from geoseg.areas.by_class import class_areas, with_no_data_row
from geoseg.areas.pixels import PixelAreas
from geoseg.areas.rows import column_area_units, row_area_units

__all__ = ["PixelAreas", "class_areas", "column_area_units", "row_area_units", "with_no_data_row"]
