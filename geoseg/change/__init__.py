"""Change between class maps of one place: what became what, in pixels and true hectares, as tables and as a map.

The maps may lie on different grids, in different CRSs and have different extents: what they have in common is compared
on the grid of the last one. Classes are the same where their names are; where class lists differ, a crosswalk says
what is what.
"""

from geoseg.change.coded import change_map
from geoseg.change.matrix import square, transition_matrix
from geoseg.change.pairing import align
from geoseg.change.table import change_table
from geoseg.change.trajectories import class_series, trajectory_table

__all__ = [
    "align",
    "change_map",
    "change_table",
    "class_series",
    "square",
    "trajectory_table",
    "transition_matrix",
]
