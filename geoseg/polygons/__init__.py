"""Class maps and object maps → polygons that are exactly the raster; small regions filled before, if wanted."""

from geoseg.polygons.sieve import sieve
from geoseg.polygons.vectorize import iter_polygons, vectorize

__all__ = ["iter_polygons", "sieve", "vectorize"]
