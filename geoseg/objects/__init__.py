"""Objects: what instance models find in tiles, joined so that each thing on the ground is one object."""

from geoseg.objects.instances import Instances
from geoseg.objects.scores import ObjectAccuracy, assess_objects

__all__ = ["Instances", "ObjectAccuracy", "assess_objects"]
