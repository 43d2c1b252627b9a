"""Change between two class maps of one place: what became what, in pixels and true hectares, as tables and as a map.

The two maps may lie on different grids, in different CRSs and have different extents: `align` gives their common part
on the grid of the later one. Classes are the same where their names are; where class lists differ, a crosswalk says
what is what.
"""

from geoseg.change.coded import change_map
from geoseg.change.matrix import transition_matrix
from geoseg.change.pairing import align
from geoseg.change.table import change_table

__all__ = ["align", "change_map", "change_table", "transition_matrix"]
