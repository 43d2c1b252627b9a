"""Class maps and object maps → polygons that are exactly the raster."""

from geoseg.polygons.vectorize import iter_polygons, vectorize

__all__ = ["iter_polygons", "vectorize"]
