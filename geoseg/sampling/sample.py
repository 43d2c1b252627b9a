"""A reference sample of a class map, to be interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoseg.classmap import geobox_of
from geoseg.errors import OptionError
from geoseg.sampling.design import SampleDesign
from geoseg.sampling.frame import Frame, Strata, frame_of
from geoseg.sampling.naming import naming_of
from geoseg.sampling.pick import pick_random, pick_systematic
from geoseg.sampling.plan import Goal, Guess, planned

__all__ = ["UNITS", "Sample", "draw_sample", "plan_sample"]

UNITS = ("points", "squares")
"""What stands for a pixel in the layer: its centre, or its outline."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A reference sample, and how it was drawn."""

    units: gpd.GeoDataFrame
    """For the interpreter, in random order and the map's CRS: ``id`` (from 1), ``reference``, ``confidence`` and
    ``comment`` (all empty), geometry. What the map says is not in it."""
    design: SampleDesign
    """The strata and the stratum of each unit; not for the interpreter."""
    classes: tuple[str, ...]
    """What can be chosen, in order of value: the map's legend, also where a class has no pixel."""


def draw_sample(
    class_map: xr.DataArray,
    n: int | None = None,
    *,
    design: str = "stratified",
    allocation: str = "proportional",
    at_least: int = 2,
    target_se: float | None = None,
    target_class: str | None = None,
    expected_accuracy: float | Mapping[Any, float] = 0.85,
    class_shares: Mapping[Any, float] | None = None,
    strata: Strata | None = None,
    strata_field: str | None = None,
    units: str = "points",
    seed: int = 0,
) -> Sample:
    """Draw a reference sample: pixels at which somebody will look up what is really there.

    In each stratum, a pixel is drawn with a probability in proportion to its true area. So a stratum's true area is its
    size in all estimates, and a share of sample units estimates a share of area without bias, also where pixels differ
    in area (EPSG:4326). Pixels are drawn without replacement. The same map, options and seed give the same sample,
    however the map is cut into blocks. The map is read twice, strip by strip.

    Parameters
    ----------
    class_map
        Any class map with a grid.
    n
        How many units in all. On a grid (``systematic``) about so many.
    design
        ``stratified``: at random in each stratum; ``simple``: at random over the map; ``systematic``: on a grid with a
        random start.
    allocation
        How units are spread over strata: ``proportional`` to area, ``equal``, or ``neyman`` (see
        `geoseg.estimates.allocate`).
    at_least
        So many in each stratum, or all its pixels. 50 to 100 are advised for rare classes (Olofsson et al. 2014).
    target_se
        Instead of `n`: the standard error wanted, of overall accuracy (0..1), or of the area of `target_class` (m²). An
        interval of ± d at 95 % is a standard error of d / 1.96. See `geoseg.estimates.sample_size_for_area`.
    target_class
        The class whose area the sample is for; by ``neyman``, too.
    expected_accuracy
        A guess of how much of each map class is right, 0..1; one number, or one for each class.
    class_shares
        A guess of how much of each stratum is of `target_class`, 0..1. None = it follows from `expected_accuracy`, with
        errors spread over the other classes in proportion to their area.
    strata, strata_field
        What parts the map: another class map, or polygons and the column with their names (see
        `geoseg.sampling.frame_of`). None = its own classes.
    units
        ``points`` (pixel centres) or ``squares`` (pixel outlines).
    seed
        Another number, another sample.

    Returns
    -------
    Sample
        The units, without what the map says of them; and the design, with it.

    Raises
    ------
    OptionError
        An option out of its range; more units than pixels, or so many that a large pixel is drawn with certainty.
    SceneError
        The map has no CRS or is no class map; strata that do not overlap it.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500800, 200), "EPSG:32632", resolution=10)
    >>> values = np.repeat(np.array([[1, 1, 1, 2]], np.uint8), 20, axis=1).repeat(20, axis=0)
    >>> cover = class_map(values, grid, [ClassInfo(1, "forest"), ClassInfo(2, "water")])
    >>> sample = draw_sample(cover, 40, at_least=15)
    >>> sample.design.strata[["stratum", "pixels", "units"]].values.tolist()
    [['forest', 1200, 25], ['water', 400, 15]]
    >>> list(sample.units.columns), sample.units["reference"].isna().all()
    (['id', 'reference', 'confidence', 'comment', 'geometry'], np.True_)
    """
    if units not in UNITS:
        raise OptionError(f"Units are {' or '.join(UNITS)}, but --units is {units!r}. Choose one.")
    frame, plan = _plan(
        class_map,
        Goal(n, target_se),
        Guess(expected_accuracy, target_class, class_shares),
        design=design,
        allocation=allocation,
        at_least=at_least,
        strata=strata,
        strata_field=strata_field,
    )
    if design == "systematic":
        drawn = pick_systematic(frame, int(plan.strata["units"].sum()), seed)
    else:
        drawn = pick_random(frame, plan.strata["units"].to_numpy(), seed)
    drawn = drawn.iloc[np.random.default_rng([seed % 2**64, 1]).permutation(len(drawn))]
    identity = np.arange(1, len(drawn) + 1)
    names = frame.table["stratum"].to_numpy()[drawn["stratum"].to_numpy()]
    counted = np.bincount(drawn["stratum"], minlength=len(plan.strata))
    plan = replace(
        plan,
        settings={**plan.settings, "units": units, "seed": seed},
        strata=plan.strata.assign(units=counted),
        units=pd.DataFrame({"id": identity, "stratum": names}),
    )
    empty = np.full(len(drawn), None, dtype=object)
    shapes = _shapes(
        geobox_of(frame.classes), drawn["row"].to_numpy(), drawn["col"].to_numpy(), squares=units != "points"
    )
    layer = gpd.GeoDataFrame(
        {"id": identity, "reference": empty, "confidence": empty, "comment": empty},
        geometry=shapes,
        crs=geobox_of(class_map).crs.to_wkt(),  # type: ignore[union-attr]
    )
    return Sample(layer, plan, tuple(plan.settings["classes"]))


def plan_sample(
    class_map: xr.DataArray,
    n: int | None = None,
    *,
    design: str = "stratified",
    allocation: str = "proportional",
    at_least: int = 2,
    target_se: float | None = None,
    target_class: str | None = None,
    expected_accuracy: float | Mapping[Any, float] = 0.85,
    class_shares: Mapping[Any, float] | None = None,
    strata: Strata | None = None,
    strata_field: str | None = None,
) -> SampleDesign:
    """What `draw_sample` would draw: the number of units, their allocation, and the standard errors to be expected.

    The parameters are those of `draw_sample`. The map is read once.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500800, 800), "EPSG:32632", resolution=10)
    >>> plan = plan_sample(class_map(np.zeros((80, 80), np.uint8), grid, []), target_se=0.02, expected_accuracy=0.9)
    >>> plan.strata[["stratum", "units"]].values.tolist()  # 0.9 × 0.1 / 0.02²
    [['class 0', 225]]
    """
    _, plan = _plan(
        class_map,
        Goal(n, target_se),
        Guess(expected_accuracy, target_class, class_shares),
        design=design,
        allocation=allocation,
        at_least=at_least,
        strata=strata,
        strata_field=strata_field,
    )
    return plan


def _plan(
    class_map: xr.DataArray,
    goal: Goal,
    guess: Guess,
    *,
    design: str,
    allocation: str,
    at_least: int,
    strata: Strata | None,
    strata_field: str | None,
) -> tuple[Frame, SampleDesign]:
    if strata is not None and design in ("simple", "systematic"):
        raise OptionError(
            f"Strata are for a stratified sample, but --design is {design}. Leave --strata out; geoseg assess takes "
            "it, to make use of it afterwards."
        )
    by_class = frame_of(class_map, strata, strata_field=strata_field)
    table, expected = planned(by_class, goal, guess, design=design, allocation=allocation, at_least=at_least)
    frame = by_class if design == "stratified" else by_class.whole()
    occurring = by_class.values if strata is None else frame_of(by_class.classes).values
    names = naming_of(class_map, occurring, None).known
    settings = {
        "design": design,
        "strata": frame.kind,
        "strata_field": strata_field,
        "allocation": allocation if design == "stratified" else None,
        "at_least": at_least if design == "stratified" else None,
        "n": goal.n,
        "target_se": goal.target_se,
        "target_class": guess.target_class,
        "expected_accuracy": guess.accuracy if isinstance(guess.accuracy, float | int) else dict(guess.accuracy),
        "class_shares": None if guess.shares is None else dict(guess.shares),
        "outside_strata_m2": frame.outside_m2,
        "classes": names,
    }
    return frame, SampleDesign(settings, table, expected, pd.DataFrame({"id": [], "stratum": []}))


def _shapes(grid: GeoBox, rows: np.ndarray, cols: np.ndarray, *, squares: bool) -> np.ndarray:
    """The centres or the outlines of pixels."""
    move = grid.transform

    def at(down: Any, across: Any) -> np.ndarray:
        x, y = cols + across, rows + down
        return np.stack([move.a * x + move.b * y + move.c, move.d * x + move.e * y + move.f], axis=-1)

    if not squares:
        return shapely.points(at(0.5, 0.5))
    return shapely.polygons(np.stack([at(0, 0), at(1, 0), at(1, 1), at(0, 1)], axis=1))
