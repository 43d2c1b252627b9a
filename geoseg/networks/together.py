"""Several predictions of one tile, averaged: of its eight turns (`Turned`), or of several models (`Ensemble`).

Both are models like any other: a tile's result depends on the tile alone, so maps keep having one answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import MismatchError, OptionError
from geoseg.model import InstanceModel, Key, Model, ModelSpec
from geoseg.networks.loading import load_model

__all__ = ["Ensemble", "Turned", "load_together"]

_TURNS = 8


class Turned:
    """A model that sees each tile in its eight turns and mirror images (the dihedral group D4), and averages.

    Test-time augmentation: imagery from above has no up, so all eight are as likely. It takes eight times as long.

    Parameters
    ----------
    model
        Any model.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.model import NumpyModel
    >>> spec = ModelSpec("left", ("red",), (0,), (1,), (ClassInfo(0, "a"), ClassInfo(1, "b")))
    >>> side = NumpyModel(spec, lambda x: np.stack([x[:, 0] * 0 + [1, 0], x[:, 0] * 0 + [0, 1]], axis=1))
    >>> tile = np.zeros((1, 2, 2), np.uint8)
    >>> [(_, _, probabilities)] = Turned(side).predict([(0, tile, tile[0] == 0)])
    >>> probabilities[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec = _combined([model.spec], f"{model.spec.name} × d4", "d4")

    @property
    def in_flight(self) -> int:
        """See `geoseg.model.Model.in_flight`."""
        return self.model.in_flight + 1

    @property
    def precision(self) -> str:
        """See `geoseg.networks.load_model`."""
        return getattr(self.model, "precision", "32")

    def predict(self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]) -> Iterator[tuple[Key, np.ndarray, Any]]:
        """See `geoseg.model.Model.predict`."""
        turned = (
            ((key, valid), _turn(pixels, k), _turn(valid, k)) for key, pixels, valid in tiles for k in range(_TURNS)
        )
        mean: Any = None
        for n, ((key, valid), _, probabilities) in enumerate(self.model.predict(turned)):
            k = n % _TURNS
            back = _turn_back(probabilities, k) / _TURNS
            mean = back if k == 0 else mean + back  # always in this order: sums of floats depend on it
            if k == _TURNS - 1:
                yield key, valid, mean

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """See `geoseg.model.Model.zeros`."""
        return self.model.zeros(shape)

    def asarray(self, values: np.ndarray) -> Any:
        """See `geoseg.model.Model.asarray`."""
        return self.model.asarray(values)

    def decide(self, sums: Any) -> tuple[np.ndarray, np.ndarray]:
        """See `geoseg.model.Model.decide`."""
        return self.model.decide(sums)


class Ensemble:
    """Several models of the same classes, whose probabilities are averaged.

    Parameters
    ----------
    models
        Two or more, on one device, with the same classes in the same order, the same bands and data type. The tile side
        is the first one's; the others' divisors must divide it. Overlap and margin are the largest of all.

    Raises
    ------
    OptionError
        Fewer than two models.
    MismatchError
        They differ in classes, bands, data type or kind, or cannot see tiles of one size.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.model import NumpyModel
    >>> spec = ModelSpec("a", ("red",), (0,), (1,), (ClassInfo(0, "land"), ClassInfo(1, "water")))
    >>> land = NumpyModel(spec, lambda x: np.concatenate([x * 0 + 1, x * 0], axis=1))
    >>> water = NumpyModel(replace(spec, name="b"), lambda x: np.concatenate([x * 0, x * 0 + 1], axis=1))
    >>> both = Ensemble([land, water])
    >>> tile = np.zeros((1, 2, 2), np.uint8)
    >>> both.spec.name, [p[:, 0, 0].tolist() for _, _, p in both.predict([(0, tile, tile[0] == 0)])]
    ('a + b', [[0.5, 0.5]])
    """

    def __init__(self, models: Sequence[Model]) -> None:
        if len(models) < 2:
            raise OptionError(
                f"An ensemble needs at least two models, but has {len(models)}. Give more, or just the one."
            )
        self.models = tuple(models)
        specs = [model.spec for model in models]
        for spec in specs[1:]:
            _check_alike(specs[0], spec)
        self.spec = _combined(specs, " + ".join(spec.name for spec in specs), "mean")

    @property
    def in_flight(self) -> int:
        """See `geoseg.model.Model.in_flight`."""
        return sum(model.in_flight for model in self.models)

    @property
    def precision(self) -> str:
        """See `geoseg.networks.load_model`."""
        return getattr(self.models[0], "precision", "32")

    def predict(self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]) -> Iterator[tuple[Key, np.ndarray, Any]]:
        """See `geoseg.model.Model.predict`."""
        streams = tee(tiles, len(self.models))
        by_model = [model.predict(stream) for model, stream in zip(self.models, streams, strict=True)]
        for results in zip(*by_model, strict=True):
            key, valid, mean = results[0]
            mean = mean / len(results)
            for _, _, probabilities in results[1:]:
                mean = mean + self._like_first(probabilities) / len(results)
            yield key, valid, mean

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """See `geoseg.model.Model.zeros`."""
        return self.models[0].zeros(shape)

    def asarray(self, values: np.ndarray) -> Any:
        """See `geoseg.model.Model.asarray`."""
        return self.models[0].asarray(values)

    def decide(self, sums: Any) -> tuple[np.ndarray, np.ndarray]:
        """See `geoseg.model.Model.decide`."""
        return self.models[0].decide(sums)

    def _like_first(self, probabilities: Any) -> Any:
        """Probabilities as an array of the first model's kind: one may be run by torch and another in numpy."""
        if isinstance(self.models[0].asarray(np.zeros(0, np.float32)), np.ndarray):
            return probabilities if isinstance(probabilities, np.ndarray) else probabilities.cpu().numpy()
        return self.models[0].asarray(probabilities) if isinstance(probabilities, np.ndarray) else probabilities


def load_together(package: str | Path, *, tta: str | None = None, **options: Any) -> Model:
    """Load a model, or several whose names stand with commas as one ensemble; ``tta="d4"`` turns each tile, too.

    Parameters
    ----------
    package
        As `load_model` takes it; or ``"first,second"``.
    tta
        ``"d4"``: see `Turned`. None = tiles are seen once.
    options
        Of `load_model`.

    Raises
    ------
    ModelError, MismatchError
        A package cannot be loaded, or they do not go together, or one finds objects.
    OptionError
        An option has a value that it cannot have.

    Examples
    --------
    >>> load_together("landcover-aerial", tta="d4", device="cpu").spec.name
    'landcover-aerial × d4'
    """
    if tta not in (None, "d4"):
        raise OptionError(f"--tta must be d4 (eight turns and mirror images), but is {tta!r}. Or leave it out.")
    names = str(package).split(",") if not Path(package).exists() else [package]
    models = [load_model(name.strip() if isinstance(name, str) else name, **options) for name in names]
    classifiers = [_giving_classes(model) for model in models]
    together = classifiers[0] if len(models) == 1 else Ensemble(classifiers)
    return Turned(together) if tta else together


def _giving_classes(model: Model | InstanceModel) -> Model:
    if isinstance(model, InstanceModel):
        raise MismatchError(
            f"A land-cover map needs a model for semantic-segmentation, but {model.spec.name} is for "
            f"{model.spec.task}: it finds objects. Give it alone, without --tta, to geoseg map, "
            "geoseg.map_objects or geoseg.detect."
        )
    return model


def _check_alike(first: ModelSpec, other: ModelSpec) -> None:
    for what in ("task", "classes", "bands", "dtype"):
        ours, theirs = getattr(first, what), getattr(other, what)
        if what == "classes":  # colours may differ: the first one's are taken
            ours, theirs = ([(info.value, info.name) for info in spec.classes] for spec in (first, other))
        if ours != theirs:
            raise MismatchError(
                f"Models of an ensemble must have the same {what}, but {first.name} has {ours} and {other.name} has "
                f"{theirs}. Leave one out."
            )
    if first.tile_px % other.divisor:
        raise MismatchError(
            f"Models of an ensemble must see tiles of one size, but the tiles of {first.name} have {first.tile_px} px, "
            f"and {other.name} needs a multiple of {other.divisor}. Name {other.name} first, or leave one out."
        )


def _combined(specs: Sequence[ModelSpec], name: str, how: str) -> ModelSpec:
    """The first one's metadata with the name and the hash of all, so that a run can tell them from one alone."""
    digest = hashlib.sha256("|".join([how, *(spec.sha256 for spec in specs)]).encode()).hexdigest()
    first = specs[0]
    return replace(
        first,
        name=name,
        sha256=digest,
        overlap_px=max(spec.overlap_px for spec in specs),
        margin_px=max(spec.margin_px for spec in specs),
        parameters=sum(spec.parameters for spec in specs),
    )


def _turn(array: Any, k: int) -> Any:
    """One of the eight turns of the last two axes: mirrored along rows if k >= 4, then turned by k % 4 quarters."""
    array = _flip(array, -1) if k >= 4 else array
    for _ in range(k % 4):
        array = _flip(array.swapaxes(-1, -2), -2)
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array


def _turn_back(array: Any, k: int) -> Any:
    for _ in range(k % 4):
        array = _flip(array, -2).swapaxes(-1, -2)
    return _flip(array, -1) if k >= 4 else array


def _flip(array: Any, axis: int) -> Any:
    return np.flip(array, axis) if isinstance(array, np.ndarray) else array.flip(axis)
