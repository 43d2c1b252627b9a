"""Objects: what instance models find in tiles, joined so that each thing on the ground is one object."""

from geoseg.objects.instances import Instances

__all__ = ["Instances"]
