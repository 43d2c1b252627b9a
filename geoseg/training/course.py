"""The options that decide what is learned."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import OptionError

__all__ = ["LOSSES", "OBJECTS", "PRECISIONS", "VARIATIONS", "Course"]

LOSSES = ("ce", "focal", "dice", "ce+dice")
"""Names of losses; a sum is written with a plus."""

VARIATIONS = ("light", "strong")
"""How much the windows are changed at random; see `geoseg.training.vary.Variation`."""

OBJECTS = ("boundary", "maskrcnn")
"""How objects are learned: as interior, boundary and background of a semantic network, or by Mask R-CNN."""

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""How numbers are held in training, by Lightning's names."""


@dataclass(frozen=True)
class Course:
    """How a network is taught; see `geoseg.training.train.train`.

    Raises
    ------
    OptionError
        A number is out of its range, or there is no such loss.

    Examples
    --------
    >>> Course(epochs=0)
    Traceback (most recent call last):
    geoseg.errors.OptionError: --epochs must be at least 1, but is 0. Change it.
    """

    epochs: int = 60
    """At most so many rounds."""
    minutes: float | None = None
    """At most so long."""
    tile_px: int = 256
    """Side of a window, pixels."""
    batch: int = 8
    """Windows in a step."""
    rate: float = 2e-3
    """The highest learning rate."""
    loss: str = "ce"
    """One of `LOSSES`."""
    seed: int = 0
    """What everything random begins with."""
    validation: float = 0.2
    """About which share of the labelled pixels is kept apart, 0..1."""
    vary: str = "light"
    """One of `VARIATIONS`."""
    balance: float = 0.5
    """A pixel counts by one over its class's frequency to this power: 0 all alike, 1 all classes alike."""
    objects: str | None = None
    """One of `OBJECTS`; None for classes of pixels."""
    boundary_px: float = 1.5
    """Width of the boundary of objects, pixels."""
    precision: str = "32"
    """One of `PRECISIONS`; with two of them convolutions are computed in half precision (autocast)."""

    def __post_init__(self) -> None:
        rules = {
            f"--epochs must be at least 1, but is {self.epochs}": self.epochs >= 1,
            f"--minutes must be above 0, but is {self.minutes}": self.minutes is None or self.minutes > 0,
            f"--tile must be at least 8, but is {self.tile_px}": self.tile_px >= 8,
            f"--batch must be at least 2, but is {self.batch}": self.batch >= 2,
            f"--rate must be above 0, but is {self.rate}": self.rate > 0,
            f"--loss must be one of {', '.join(LOSSES)}, but is {self.loss}": self.loss in LOSSES,
            f"--vary must be one of {', '.join(VARIATIONS)}, but is {self.vary}": self.vary in VARIATIONS,
            f"--balance must be 0..1, but is {self.balance}": 0 <= self.balance <= 1,
            f"--objects must be one of {', '.join(OBJECTS)}, but is {self.objects}": self.objects in (None, *OBJECTS),
            f"--boundary-width must be 0.5 to 20, but is {self.boundary_px}": 0.5 <= self.boundary_px <= 20,
            f"--precision must be one of {', '.join(PRECISIONS)}, but is {self.precision}": self.precision
            in PRECISIONS,
            f"--seed must not be negative, but is {self.seed}": self.seed >= 0,
            f"--validation must be a share between 0 and 1, but is {self.validation}": 0 < self.validation < 1,
        }
        for rule, holds in rules.items():
            if not holds:
                raise OptionError(f"{rule}. Change it.")
