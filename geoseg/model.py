"""What a model is: the protocols that maps are made and objects are found by, and the reference in plain numpy.

What is known about a model, and the package that holds it on disk, are in `geoseg.packages`;
`geoseg.networks.load_model` turns a package into a `Model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from geoseg.errors import ModelError
from geoseg.objects import Instances
from geoseg.packages import ZOO, ModelSpec, find_package, list_models, read_spec, sha256_of

__all__ = [
    "ZOO",
    "InstanceModel",
    "Model",
    "ModelSpec",
    "NumpyModel",
    "find_package",
    "list_models",
    "read_spec",
    "sha256_of",
    "to_probabilities",
]

Key = TypeVar("Key")


@runtime_checkable
class Model(Protocol):
    """What `classify` needs of a model. Arrays stay on the model's device between these calls."""

    spec: ModelSpec
    """The package's metadata."""

    @property
    def in_flight(self) -> int:
        """How many tiles it works on at a time; what memory depends on."""

    def predict(self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]) -> Iterator[tuple[Key, np.ndarray, Any]]:
        """Probabilities of tiles, in their order; the model may work ahead.

        Takes (key, pixels (band, row, col), validity (row, col)) and gives (key, validity, probabilities
        (class, row, col)). A tile's result depends on the tile alone.
        """

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """A float32 array of zeros on the model's device."""

    def asarray(self, values: np.ndarray) -> Any:
        """The values on the model's device."""

    def decide(self, sums: Any) -> tuple[np.ndarray, np.ndarray]:
        """From blended probabilities (class, row, col): the winning channel and its percent, both uint8 (row, col)."""


@runtime_checkable
class InstanceModel(Protocol):
    """A model that finds objects: what instance segmentation needs of it."""

    spec: ModelSpec
    """The package's metadata."""

    @property
    def in_flight(self) -> int:
        """How many tiles it works on at a time; what memory depends on."""

    def find(self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]) -> Iterator[tuple[Key, Instances]]:
        """The objects of tiles, in the order of the tiles; the model may work ahead.

        Takes (key, pixels (band, row, col), validity (row, col)) and gives (key, objects). Objects have valid pixels
        only. A tile's result depends on the tile alone.
        """


class NumpyModel:
    """A `Model` in plain numpy around a function, for tests, for rules and as the reference of the protocol.

    `function` maps scaled float32 tiles (tile, band, row, col), where invalid pixels are zero, to probabilities
    (tile, class, row, col).

    >>> from geoseg.classes import ClassInfo
    >>> spec = ModelSpec("dark", bands=("red",), mean=(0,), std=(1,),
    ...                  classes=(ClassInfo(0, "dark"), ClassInfo(1, "bright")))
    >>> model = NumpyModel(spec, lambda x: np.concatenate([x < 9, x >= 9], axis=1).astype("float32"))
    >>> tile = "a key", np.full((1, 2, 2), 20, "uint8"), np.ones((2, 2), bool)
    >>> [(key, out[:, 0, 0].tolist()) for key, valid, out in model.predict([tile])]
    [('a key', [0.0, 1.0])]
    """

    in_flight: int = 1

    def __init__(self, spec: ModelSpec, function: Any) -> None:
        self.spec = spec
        self.function = function

    def predict(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, np.ndarray]]:
        """See `Model.predict`."""
        for key, pixels, valid in tiles:
            yield key, valid, self.forward(pixels[None], valid[None])[0]

    def forward(self, tiles: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Probabilities (tile, class, row, col) of tiles (tile, band, row, col) with validity (tile, row, col)."""
        mean = np.array(self.spec.mean, np.float32).reshape(-1, 1, 1)
        std = np.array(self.spec.std, np.float32).reshape(-1, 1, 1)
        return self.function(np.where(valid[:, None], (tiles.astype(np.float32) - mean) / std, np.float32(0)))

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        """See `Model.zeros`."""
        return np.zeros(shape, np.float32)

    def asarray(self, values: np.ndarray) -> np.ndarray:
        """See `Model.asarray`."""
        return values

    def decide(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Model.decide`."""
        highest = sums.max(axis=0)
        if np.isnan(highest).any():
            raise not_a_number(self.spec)
        percent = np.rint(np.clip(highest, 0, 1) * np.float32(100))
        return sums.argmax(axis=0).astype(np.uint8), percent.astype(np.uint8)


def to_probabilities(spec: ModelSpec, output: np.ndarray) -> np.ndarray:
    """Probabilities (tile, class, row, col), float32, of a network's output (tile, channel, row, col).

    >>> from geoseg.classes import ClassInfo
    >>> spec = ModelSpec("one", bands=("red",), mean=(0,), std=(1,), activation="sigmoid", temperature=2.0,
    ...                  classes=(ClassInfo(0, "land"), ClassInfo(1, "water")))
    >>> to_probabilities(spec, np.full((1, 1, 1, 1), 2 * np.log(3), "float32")).ravel().round(4).tolist()
    [0.25, 0.75]
    """
    if spec.activation == "none":
        return output
    logits = output / np.float32(spec.temperature)
    if spec.activation == "sigmoid":
        # 1 / (1 + exp(-x)), as a softmax over (0, x): no large number is ever raised to a power.
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def not_a_number(spec: ModelSpec) -> ModelError:
    """The error of a network that gave NaN."""
    return ModelError(
        f"A model's probabilities must be numbers, but {spec.name} gave 'not a number'. Its weights are damaged, or "
        "the scene's values are far outside what it was trained on: check --value-range."
    )
