"""What each way of assessing a map hands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from geoseg.estimates import MapAccuracy

__all__ = ["Found"]


@dataclass(frozen=True, eq=False)
class Found:
    """What was estimated, from what."""

    accuracy: MapAccuracy
    """Areas in m²."""
    strata: pd.DataFrame
    """``stratum, area_m2, pixels, units``."""
    left_out: dict[str, int]
    """By reason."""
    facts: dict[str, Any]
    """For the record and the methods' text."""
    mapped: pd.DataFrame | None = None
    """``class, pixels, area_m2`` of the part of the map that is assessed; None = all of it."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know."""
