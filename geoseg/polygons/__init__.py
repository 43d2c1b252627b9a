"""Class maps and object maps → polygons that are exactly the raster, and building outlines with right angles."""

from geoseg.polygons.regularize import regularize
from geoseg.polygons.vectorize import iter_polygons, vectorize

__all__ = ["iter_polygons", "regularize", "vectorize"]
