"""Areas by zone: what of each class of a map lies in each of some polygons, exactly, in any CRS, out of core."""

from geoseg.zonal.areas import zone_areas
from geoseg.zonal.result import ZoneAreas

__all__ = ["ZoneAreas", "zone_areas"]
