"""A reference sample: drawn from a class map, and, once somebody has looked up what is there, held against it.

`draw_sample` draws pixels; an interpreter fills in their class; `assess_map` gives the accuracy of the map and the area
of every class, adjusted for the map's errors, with intervals. The estimators are in `geoseg.estimates`.
"""

from geoseg.sampling.assess import MapAssessment, assess_map
from geoseg.sampling.design import SampleDesign, read_design
from geoseg.sampling.frame import Frame, frame_of
from geoseg.sampling.sample import Sample, draw_sample, plan_sample

__all__ = [
    "Frame",
    "MapAssessment",
    "Sample",
    "SampleDesign",
    "assess_map",
    "draw_sample",
    "frame_of",
    "plan_sample",
    "read_design",
]
