"""Objects out of a map: of a map of boundaries, or of chosen classes of land cover."""

from geoseg.region.plan import RegionPlan, plan_regions

__all__ = ["RegionPlan", "plan_regions"]
