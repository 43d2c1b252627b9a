"""Everything that geoseg needs to know to run a model, as one frozen dataclass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassInfo, check_classes
from geoseg.errors import OptionError

__all__ = ["ACTIVATIONS", "ARTIFACTS", "BORDERS", "DECODINGS", "INSTANCE_DECODINGS", "TASKS", "ModelSpec", "sha256_of"]

ACTIVATIONS = ("softmax", "sigmoid", "none")
ARTIFACTS = ("safetensors", "onnx", "torch.export", "torchscript")
"""Kinds of weights: a state dict for a named architecture, or a whole network in one of three formats."""
TASKS = ("semantic-segmentation", "instance-segmentation")
INSTANCE_DECODINGS = ("maskrcnn", "yolo-seg")
"""What the output of a network for instance segmentation may be."""
DECODINGS = ("classes", *INSTANCE_DECODINGS, "boundary")
BORDERS = ("shared", "gap")
"""How objects that are made of a map lie beside each other."""


@dataclass(frozen=True)
class ModelSpec:
    """Everything geoseg needs to know to run a model; it reads and writes a STAC Item with the MLM extension.

    Raises
    ------
    OptionError
        The fields contradict each other (number of bands and scaling constants, say).

    Examples
    --------
    >>> spec = ModelSpec("tiny", bands=("red",), mean=(0.0,), std=(255.0,),
    ...                  classes=(ClassInfo(0, "land"), ClassInfo(1, "water")))
    >>> ModelSpec.from_item(spec.to_item()) == spec
    True
    """

    name: str
    """The package's name, as in ``--model``."""
    bands: tuple[str, ...]
    """Common names of the input bands, in the network's order."""
    mean: tuple[float, ...]
    """Subtracted from each band, in units of the stored pixel values."""
    std: tuple[float, ...]
    """Then each band is divided by this, in the same units."""
    classes: tuple[ClassInfo, ...]
    """Classes in the order of the network's output channels; values are what the map holds."""
    dtype: str = "uint8"
    """Data type of the pixels that the scaling constants are meant for."""
    resolution_m: float = 0.5
    """Nominal ground size of a pixel, in metres."""
    resolution_range_m: tuple[float, float] = (0.3, 1.0)
    """Scenes from the first to the second are read at their own pixel size; finer ones are averaged."""
    tile_px: int = 512
    """Side of the tile that the network sees, in pixels."""
    overlap_px: int = 64
    """Recommended overlap of neighbouring tiles, in pixels."""
    margin_px: int = 0
    """Pixels at a tile's border that are not used where a neighbour has them."""
    divisor: int = 1
    """The tile side must be a multiple of this."""
    activation: str = "softmax"
    """What turns the output into probabilities: ``softmax`` (over classes), ``sigmoid`` (one output channel, which
    becomes the probability of the second class) or ``none`` (they are already)."""
    task: str = "semantic-segmentation"
    """MLM task."""
    decoding: str = "classes"
    """What the output means: ``classes`` (a class for each pixel) or ``boundary`` (the same, with the classes
    background, object and the object's boundary, in this order); for instance segmentation ``maskrcnn`` (boxes with
    masks) or ``yolo-seg`` (candidates, and prototypes of masks)."""
    min_score: float = 0.25
    """Instance segmentation, and boundary: the lowest score of an object, 0..1."""
    max_overlap: float = 0.7
    """Instance segmentation: boxes of a class that overlap by more of their union are one object, the surest, 0..1."""
    grow_px: int = 2
    """Boundary: how far objects grow into the boundary around them, in steps from pixel to pixel, 0..100."""
    borders: str = "shared"
    """Boundary: ``shared``, objects grow until they meet; or ``gap``, what lies between two stays free."""
    architecture: str = ""
    """Name of the network, as `geoseg.networks` knows it (``Unet``); for whole networks a word for people."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the architecture; JSON values only."""
    parameters: int = 0
    """Number of the network's parameters."""
    weights: str = "weights.safetensors"
    """File name of the weights, inside the package."""
    sha256: str = ""
    """SHA-256 of the weights file, hex."""
    license: str = "other"
    """SPDX identifier of the weights' licence."""
    description: str = ""
    """What the model is good for, in a sentence or two."""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Measured figures, as the card gives them: ``mIoU`` and one IoU by class name; of objects ``F1``, ``PQ``."""
    artifact: str = "safetensors"
    """Kind of the weights: ``safetensors`` (for a named architecture), ``onnx``, ``torch.export``, ``torchscript``."""
    temperature: float = 1.0
    """The output is divided by this before softmax or sigmoid, so that probabilities are as likely as they say."""
    receptive_field_px: int | None = None
    """How far the network sees from a pixel, in pixels, where that is known."""
    sources: tuple[str, ...] = ()
    """The data that the model was trained on, one line each with its licence."""
    citation: str = ""
    """How to cite the model."""

    def __post_init__(self) -> None:
        low, high = self.resolution_range_m
        rules = {
            "the name must not be empty": bool(self.name),
            "there must be one mean and one std per band": len(self.bands) == len(self.mean) == len(self.std) > 0,
            "no std may be zero": 0 not in self.std,
            "means and stds must be finite": bool(np.isfinite([*self.mean, *self.std]).all()),
            "there must be at least two classes, or one of objects": len(self.classes) >= 2 - self.finds_objects,
            "the resolution range must be two rising positive numbers": 0 < low <= high,
            "the tile side must be a positive multiple of the divisor": min(self.tile_px, self.divisor) > 0
            and self.tile_px % self.divisor == 0,
            "overlap and margin must not be negative": min(self.overlap_px, self.margin_px) >= 0,
            "activation must be softmax, sigmoid or none": self.activation in ACTIVATIONS,
            "sigmoid is for two classes": self.activation != "sigmoid" or len(self.classes) == 2,
            "the temperature must be a positive number": 0 < self.temperature < float("inf"),
            f"the kind of weights must be one of {', '.join(ARTIFACTS)}": self.artifact in ARTIFACTS,
            f"the task must be one of {', '.join(TASKS)}": self.task in TASKS,
            f"the decoding must be one of {', '.join(DECODINGS)}": self.decoding in DECODINGS,
            f"the decodings of {TASKS[1]}, and of no other task, are {' and '.join(INSTANCE_DECODINGS)}": (
                (self.decoding in INSTANCE_DECODINGS) == self.finds_objects
            ),
            "the decoding boundary is for background, object and boundary": self.decoding != "boundary"
            or len(self.classes) == 3,
            "min_score and max_overlap must be from 0 to 1": 0 <= self.min_score <= 1 and 0 <= self.max_overlap <= 1,
            "grow_px must be from 0 to 100": 0 <= self.grow_px <= 100,
            f"borders must be {' or '.join(BORDERS)}": self.borders in BORDERS,
            "the weights must be a file name without folders": self.weights == Path(self.weights).name != ""
            and "\\" not in self.weights,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise OptionError(f"In a model's metadata {'; '.join(broken)}. Received {self}. Correct model.json.")
        check_classes(self.classes)

    @property
    def values(self) -> np.ndarray:
        """Map value of each output channel, uint8 of shape (class,)."""
        return np.array([info.value for info in self.classes], dtype=np.uint8)

    @property
    def finds_objects(self) -> bool:
        """Whether it gives objects (instance segmentation) rather than a class for each pixel."""
        return self.task == TASKS[1]

    @property
    def maps_objects(self) -> bool:
        """Whether what comes of it is a map of objects: it finds them, or a map of their boundaries shows them."""
        return self.finds_objects or self.decoding == "boundary"

    @property
    def channels(self) -> int:
        """Channels that the network itself gives: one for sigmoid, else one a class."""
        return 1 if self.activation == "sigmoid" else len(self.classes)

    def with_file(self, path: Path) -> ModelSpec:
        """This metadata with the name and the SHA-256 of a weights file."""
        return replace(self, weights=path.name, sha256=sha256_of(path))

    def to_item(self) -> dict[str, Any]:
        """The STAC Item (a dict, JSON-able) that `from_item` reads back."""
        from geoseg.packages.item import item_of

        return item_of(self)

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> ModelSpec:
        """Read the metadata from a STAC Item; raises `ModelError` where something is missing or of a wrong kind."""
        from geoseg.packages.item import spec_of

        return spec_of(item)

    def write(self, folder: Path) -> Path:
        """Write ``model.json`` into a package folder and return its path."""
        path = Path(folder) / "model.json"
        path.write_text(self.to_json(), encoding="utf-8")
        return path

    def to_json(self) -> str:
        """The text of ``model.json``."""
        return json.dumps(self.to_item(), indent=2, ensure_ascii=False) + "\n"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
