"""Drawn aerial scenes of any size with known truth: for the demo, for tests and for benchmarks."""

from geoseg.synthetic.draw import CLASSES, SyntheticScene, render, render_objects
from geoseg.synthetic.styles import STYLES
from geoseg.synthetic.writing import write_scene

__all__ = ["CLASSES", "STYLES", "SyntheticScene", "render", "render_objects", "write_scene"]
