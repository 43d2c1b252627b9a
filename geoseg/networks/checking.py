"""Whether a package is whole: its metadata, the hash, that the weights load, and that tiles run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import GeosegError, ModelError
from geoseg.model import InstanceModel, Model, ModelSpec
from geoseg.networks.loading import build_model
from geoseg.packages import read_spec, read_weights

__all__ = ["Check", "check_package", "check_tiles", "sample_tiles"]

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    """The thing, in a word or two."""
    passed: bool
    """True where it is as it should be."""
    found: str
    """What was found, or what is wrong and what to do."""


def check_package(package: str | Path) -> list[Check]:
    """Look at a package from its metadata to a predicted tile; what comes after a fault is not looked at.

    Parameters
    ----------
    package
        A shipped package's name, a folder or a zip.

    Returns
    -------
    list of Check
        In the order of looking; all passed, or all but the last.

    Examples
    --------
    >>> [check.what for check in check_package("landcover-aerial")]
    ['model.json', 'SHA-256', 'weights', 'zero tile', 'random tile']
    """
    return list(_checks(package))


def _checks(package: str | Path) -> Iterator[Check]:
    found: dict[str, Any] = {}

    def look(what: str, act: Callable[[], tuple[Any, str]]) -> Check:
        try:
            found[what], told = act()
        except GeosegError as error:
            return Check(what, False, str(error))
        return Check(what, True, told)

    def run_tile(what: str) -> tuple[Any, str]:
        return None, check_tiles(found["weights"], what.partition(" ")[0])

    steps: list[tuple[str, Callable[[], tuple[Any, str]]]] = [
        ("model.json", lambda: _look_at_spec(read_spec(package))),
        ("SHA-256", lambda: (read_weights(package, found["model.json"]), found["model.json"].sha256)),
        ("weights", lambda: _look_at_model(build_model(found["model.json"], found["SHA-256"]))),
        ("zero tile", lambda: run_tile("zero tile")),
        ("random tile", lambda: run_tile("random tile")),
    ]
    for what, act in steps:
        check = look(what, act)
        yield check
        if not check.passed:
            return


def _look_at_spec(spec: ModelSpec) -> tuple[ModelSpec, str]:
    return spec, f"{spec.name}: {len(spec.bands)} bands, {len(spec.classes)} classes, tiles of {spec.tile_px} pixels"


def _look_at_model(model: Model | InstanceModel) -> tuple[Model | InstanceModel, str]:
    return model, f"{model.spec.artifact}, {type(model).__name__}"


def sample_tiles(spec: ModelSpec, side: int | None = None) -> dict[str, np.ndarray]:
    """A tile of zeros and one of random pixels (band, row, col) of the kind that a model was made for.

    >>> from geoseg.packages import read_spec
    >>> {name: tile.shape for name, tile in sample_tiles(read_spec("landcover-aerial"), 64).items()}
    {'zero': (3, 64, 64), 'random': (3, 64, 64)}
    """
    dtype, shape = np.dtype(spec.dtype), (len(spec.bands), side or spec.tile_px, side or spec.tile_px)
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    values = mean + np.abs(std) * np.random.default_rng(0).uniform(-1.5, 1.5, shape)
    if dtype.kind in "ui":
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    return {"zero": np.zeros(shape, dtype), "random": values.astype(dtype)}


def check_tiles(model: Model | InstanceModel, *names: str) -> str:
    """Run sample tiles and look at what comes out; tells what was found.

    Raises
    ------
    ModelError
        Probabilities have a wrong shape, are not finite, or are none; objects cannot be decoded, or are of no class.
    """
    told = []
    for name, tile in sample_tiles(model.spec).items():
        if not names or name in names:
            told.append(
                _objects(model, tile) if isinstance(model, InstanceModel) else _probabilities(model, name, tile)
            )
    return "; ".join(told)


def _objects(model: InstanceModel, tile: np.ndarray) -> str:
    spec = model.spec
    ((_, found),) = model.find([(0, tile, np.ones(tile.shape[1:], bool))])
    highest = int(found.channel.max(initial=0))
    if highest >= len(spec.classes):
        raise ModelError(
            f"Objects must be of the {len(spec.classes)} classes of the metadata, but {spec.name} gives class "
            f"{highest + 1}. Correct the classes."
        )
    return f"{len(found)} objects with a score of {spec.min_score:g} or more, {found.pixels.sum()} pixels"


def _probabilities(model: Model, name: str, tile: np.ndarray) -> str:
    spec = model.spec
    ((_, _, out),) = model.predict([(name, tile, np.ones(tile.shape[1:], bool))])
    values = np.asarray(out)
    wanted = (len(spec.classes), *tile.shape[1:])
    if values.shape != wanted:
        raise ModelError(
            f"A tile must give probabilities (class, row, col) of {wanted}, but {spec.name} gives {values.shape}. "
            "Correct the classes, the activation or the tile side."
        )
    if not np.isfinite(values).all():
        raise ModelError(
            f"Probabilities must be finite, but {spec.name} gives others for a {name} tile. Its weights "
            "are damaged, or mean and std are wrong."
        )
    sums = values.sum(axis=0)
    if values.min() < -_SUM_TOLERANCE or abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ModelError(
            f"Probabilities must be from 0 to 1 and sum to 1, but {spec.name} gives {values.min():.3g} to "
            f"{values.max():.3g}, with sums up to {sums.max():.3g}. Choose the activation softmax or sigmoid."
        )
    return f"{values.shape}, probabilities {values.min():.3f} to {values.max():.3f}"
