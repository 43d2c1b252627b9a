"""From a `SyntheticScene` and a window to pixels and truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.synthetic.styles import STYLES, Light, Look, look_of
from geoseg.synthetic.window import paint, shade
from geoseg.synthetic.world import (
    BLOCK_DTYPE,
    NODE_M,
    NUMBERS_DTYPE,
    PITCH_M,
    World,
    fill_blocks,
    fill_fields,
    fill_warp,
)

__all__ = ["CLASSES", "SyntheticScene", "draw_window", "render", "render_objects"]

CLASSES = (
    ClassInfo(0, "building", "#c0392b"),
    ClassInfo(1, "road", "#5d6d7e"),
    ClassInfo(2, "vegetation", "#3f8f3a"),
    ClassInfo(3, "water", "#2f6fb0"),
    ClassInfo(4, "bare land", "#d8c690"),
)
"""The classes of the truth, the same as those of the model ``landcover-aerial``."""

_TALLEST_M = 23.0
# A window is drawn in parts, so that its tables and its shadows' halo stay small beside it.
_PART_PX = 1024
_PART_M = 8000.0


@dataclass(frozen=True)
class SyntheticScene:
    """A drawn place: every pixel follows from these numbers and its position alone.

    Raises
    ------
    OptionError
        A number is out of its range or the style is unknown.

    Examples
    --------
    >>> SyntheticScene(seed=3, resolution_m=0.3, style="arid").date
    0
    """

    seed: int = 0
    """Another seed is another world."""
    resolution_m: float = 0.5
    """Side of a pixel in metres."""
    date: int = 0
    """0 before, 1 after: some forest is cleared, some lots are built on, and the light is another."""
    style: str = "temperate"
    """``temperate``, ``farmland``, ``arid`` or ``tropical``."""
    origin_m: tuple[float, float] = (0.0, 0.0)
    """Where the outer corner of pixel (0, 0) lies in the world: metres east and north."""

    def __post_init__(self) -> None:
        if not 0.02 <= self.resolution_m <= 100.0:
            raise OptionError(
                f"resolution_m must be 0.02..100 metres per pixel, but is {self.resolution_m}. "
                "Objects are houses, roads and trees: 0.3..2 suits them."
            )
        if self.date not in (0, 1):
            raise OptionError(f"date must be 0 (before) or 1 (after), but is {self.date!r}.")
        if self.style not in STYLES:
            raise OptionError(f"style must be one of {', '.join(STYLES)}, but is {self.style!r}.")
        if not 0 <= self.seed < 2**31:
            raise OptionError(f"seed must be 0..2147483647, but is {self.seed!r}.")
        if not all(abs(value) <= 5e7 for value in self.origin_m):
            raise OptionError(f"origin_m must lie within ±50 000 km, but is {self.origin_m}.")


def render(spec: SyntheticScene, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
    """Picture and class of every pixel of a window; the window may lie anywhere, also at negative positions.

    Parameters
    ----------
    spec : SyntheticScene
    rows, cols : slice
        Pixels from the scene's corner, ``slice(start, stop)``.

    Returns
    -------
    rgb : uint8 ndarray (3, row, col)
    truth : uint8 ndarray (row, col), values of `CLASSES`

    Examples
    --------
    >>> scene = SyntheticScene(seed=1)
    >>> rgb, truth = render(scene, slice(0, 64), slice(0, 96))
    >>> rgb.shape, truth.shape
    ((3, 64, 96), (64, 96))
    >>> part = render(scene, slice(10, 20), slice(50, 90))[0]
    >>> bool((part == rgb[:, 10:20, 50:90]).all())
    True
    """
    rgb, truth, _ = draw_window(spec, rows, cols)
    return rgb, truth


def render_objects(spec: SyntheticScene, rows: slice, cols: slice) -> np.ndarray:
    """Number of the building of every pixel of a window, 0 where there is none: uint32 (row, col).

    Numbers do not depend on the window or the date, and no two buildings less than 600 km apart share one.

    Examples
    --------
    >>> ids = render_objects(SyntheticScene(seed=1), slice(0, 64), slice(0, 64))
    >>> ids.dtype
    dtype('uint32')
    """
    return draw_window(spec, rows, cols, picture=False)[2]


def draw_window(
    spec: SyntheticScene, rows: slice, cols: slice, *, picture: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (3, row, col), classes and building numbers (row, col) of a window; drawn in parts that fit the cache."""
    row0, row1 = _span(rows, "rows")
    col0, col1 = _span(cols, "cols")
    rgb = np.zeros((3, row1 - row0, col1 - col0), np.uint8)
    truth = np.empty(rgb.shape[1:], np.uint8)
    ids = np.empty(rgb.shape[1:], np.uint32)
    part = max(16, min(_PART_PX, int(_PART_M / spec.resolution_m)))
    for top in range(row0, row1, part):
        for left in range(col0, col1, part):
            bottom, right = min(top + part, row1), min(left + part, col1)
            here = slice(top - row0, bottom - row0), slice(left - col0, right - col0)
            drawn = _draw(spec, top, bottom, left, right, picture=picture)
            rgb[:, *here], truth[here], ids[here] = drawn
    return rgb, truth, ids


def _span(part: slice, name: str) -> tuple[int, int]:
    if part.start is None or part.stop is None or part.step not in (None, 1) or part.stop < part.start:
        raise OptionError(f"{name} must be slice(start, stop) with start <= stop, but is {part}.")
    return int(part.start), int(part.stop)


def _draw(
    spec: SyntheticScene, row0: int, row1: int, col0: int, col1: int, *, picture: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One part; shadows reach in from a halo around it."""
    look, palette, light = look_of(spec.style, spec.seed, spec.date)
    res = float(spec.resolution_m)
    # The way to the sun in whole pixels, about 0.6 m a step; the same for every window.
    pace = max(1.0, 0.6 / res)
    count = math.ceil(_TALLEST_M / light.slope / (pace * res)) if picture else 0
    steps = np.array(
        [(-round(n * pace * light.north), round(n * pace * light.east)) for n in range(1, count + 1)],
        dtype=np.int64,
    ).reshape(count, 2)
    halo = 1 + int(np.abs(steps).max(initial=0)) + 1 if picture else 0
    shape = (row1 - row0 + 2 * halo, col1 - col0 + 2 * halo)
    world = _world(spec, look, palette, light, row0 - halo, col0 - halo, shape)
    z = np.empty(shape, np.float32)
    rgb = np.empty((3, *shape), np.float32)
    cls = np.empty(shape, np.uint8)
    ids = np.empty(shape, np.uint32)
    paint(world, z, rgb, cls, ids)
    out = np.empty((3, row1 - row0, col1 - col0), np.uint8)
    if picture:
        numbers = np.array(
            [*light.shade, *light.gain, *light.haze, light.contrast, light.noise, light.blur, light.slope], np.float64
        )
        shade(world, z, rgb, steps, numbers, halo, out)
    inner = slice(halo, shape[0] - halo), slice(halo, shape[1] - halo)
    return out, cls[inner], ids[inner]


def _world(
    spec: SyntheticScene,
    look: Look,
    palette: np.ndarray,
    light: Light,
    row0: int,
    col0: int,
    shape: tuple[int, int],
) -> World:
    """Constants and tables for one window; tables hold fixed nodes of the world, so they are no state."""
    res = float(spec.resolution_m)
    x0, y0 = spec.origin_m[0] + col0 * res, spec.origin_m[1] - row0 * res
    x1, y1 = x0 + shape[1] * res, y0 - shape[0] * res
    cos, sin = _grid_direction(spec.seed)
    seed = spec.seed * 8 + STYLES.index(spec.style)

    k = np.zeros((), NUMBERS_DTYPE)
    for name, value in look._asdict().items():
        k[name] = value
    k["seed"], k["date"], k["res"] = seed, spec.date, res
    k["row0"], k["col0"] = row0, col0
    k["east"], k["north"] = spec.origin_m
    k["cos"], k["sin"] = cos, sin
    k["sun_u"] = cos * light.east + sin * light.north
    k["sun_v"] = cos * light.north - sin * light.east

    margin = 200.0  # more than the streets are bent
    wx, wy = math.floor((x0 - margin) / NODE_M), math.floor((y1 - margin) / NODE_M)
    warp = np.empty((2, math.ceil((y0 + margin) / NODE_M) - wy + 2, math.ceil((x1 + margin) / NODE_M) - wx + 2))
    fill_warp(seed, wx, wy, warp)

    corners = [(cos * x + sin * y, cos * y - sin * x) for x in (x0, x1) for y in (y0, y1)]
    reach = margin + 80.0  # the bend and the largest lot
    u0, u1 = min(c[0] for c in corners) - reach, max(c[0] for c in corners) + reach
    v0, v1 = min(c[1] for c in corners) - reach, max(c[1] for c in corners) + reach
    fu, fv = math.floor(u0 / NODE_M), math.floor(v0 / NODE_M)
    fields = np.empty((math.ceil(v1 / NODE_M) - fv + 2, math.ceil(u1 / NODE_M) - fu + 2, 4))
    k["wx"], k["wy"], k["fu"], k["fv"] = wx, wy, fu, fv
    fill_fields(seed, k[()], fu, fv, fields)

    bi, bj = math.floor(u0 / PITCH_M) - 3, math.floor(v0 / PITCH_M) - 3
    k["bi"], k["bj"] = bi, bj
    blocks = np.zeros((math.ceil(u1 / PITCH_M) - bi + 4, math.ceil(v1 / PITCH_M) - bj + 4), BLOCK_DTYPE)
    lines = np.empty((2, max(blocks.shape) + 1))
    fill_blocks(seed, k[()], bi, bj, lines, blocks)
    return World(k[()], palette, warp, fields, lines, blocks)


def _grid_direction(seed: int) -> tuple[float, float]:
    """Cosine and sine of the rotation of the street grid."""
    t = (seed * 0.6180339887498949) % 1.0 - 0.5
    return (1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)
