"""Class maps and object maps → polygons: exact or simplified, sieved before, measured and cut on the ellipsoid."""

from geoseg.polygons.attributes import polygon_attributes, polygon_orientations
from geoseg.polygons.cut import clip, limit_vertices, split_by_grid, split_by_zones
from geoseg.polygons.measure import polygon_areas, polygon_perimeters
from geoseg.polygons.regularize import regularize
from geoseg.polygons.sieve import sieve
from geoseg.polygons.source import Outlines, iter_sieved
from geoseg.polygons.tables import iter_tables
from geoseg.polygons.vectorize import iter_polygons, vectorize

__all__ = [
    "Outlines",
    "clip",
    "iter_polygons",
    "iter_sieved",
    "iter_tables",
    "limit_vertices",
    "polygon_areas",
    "polygon_attributes",
    "polygon_orientations",
    "polygon_perimeters",
    "regularize",
    "sieve",
    "split_by_grid",
    "split_by_zones",
    "vectorize",
]
