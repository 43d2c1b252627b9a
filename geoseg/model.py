"""What a model is: a package on disk, the metadata that decides how it is run, and the protocol it is run by.

A package is a folder with ``model.json``, a STAC Item with the Machine Learning Model (MLM) extension 1.4, and the
weights it names. This room is numpy only; `geoseg.networks.load_model` turns a package into a `Model`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from geoseg.classes import ClassInfo, check_classes
from geoseg.errors import ModelError, OptionError

__all__ = ["Model", "ModelSpec", "NumpyModel", "find_package", "list_models", "read_spec", "sha256_of"]

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE_SCHEMA = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
CLASSIFICATION_SCHEMA = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
Key = TypeVar("Key")
ZOO = Path(__file__).parent / "zoo"
"""The folder of the packages that ship with the library."""


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
    """What turns the output into probabilities: ``softmax`` (over classes) or ``none`` (they are already)."""
    task: str = "semantic-segmentation"
    """MLM task."""
    architecture: str = ""
    """Name of the network, as `geoseg.networks` knows it (``Unet``)."""
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
    """Measured figures, as the model card gives them (``mIoU`` and one IoU per class name)."""

    def __post_init__(self) -> None:
        rules = {
            "the name must not be empty": bool(self.name),
            "there must be one mean and one std per band": len(self.bands) == len(self.mean) == len(self.std) > 0,
            "no std may be zero": 0 not in self.std,
            "there must be at least two classes": len(self.classes) >= 2,
            "the resolution range must be two rising positive numbers": 0
            < self.resolution_range_m[0]
            <= self.resolution_range_m[1],
            "the tile side must be a positive multiple of the divisor": self.tile_px > 0
            and self.tile_px % self.divisor == 0,
            "activation must be softmax or none": self.activation in ("softmax", "none"),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise OptionError(f"In a model's metadata {'; '.join(broken)}. Received {self}. Correct model.json.")
        check_classes(self.classes)

    @property
    def values(self) -> np.ndarray:
        """Map value of each output channel, uint8 of shape (class,)."""
        return np.array([info.value for info in self.classes], dtype=np.uint8)

    def with_file(self, path: Path) -> ModelSpec:
        """This metadata with the name and the SHA-256 of a weights file."""
        return replace(self, weights=path.name, sha256=sha256_of(path))

    def to_item(self) -> dict[str, Any]:
        """The STAC Item (a dict, JSON-able) that `from_item` reads back."""
        scaling = [
            {"type": "z-score", "mean": mean, "stddev": std} for mean, std in zip(self.mean, self.std, strict=True)
        ]
        properties = {
            "datetime": "2026-01-01T00:00:00Z",
            "description": self.description,
            "license": self.license,
            "gsd": self.resolution_m,
            "mlm:name": self.name,
            "mlm:architecture": self.architecture,
            "mlm:tasks": [self.task],
            "mlm:framework": "pytorch",
            "mlm:total_parameters": self.parameters,
            "mlm:hyperparameters": dict(self.arguments),
            "mlm:input": [
                {
                    "name": "tiles",
                    "bands": list(self.bands),
                    "input": {
                        "shape": [-1, len(self.bands), self.tile_px, self.tile_px],
                        "dim_order": ["batch", "bands", "height", "width"],
                        "data_type": "float32",
                    },
                    "value_scaling": scaling,
                    "resize_type": None,
                }
            ],
            "mlm:output": [
                {
                    "name": "classes",
                    "tasks": [self.task],
                    "result": {
                        "shape": [-1, len(self.classes), self.tile_px, self.tile_px],
                        "dim_order": ["batch", "class", "height", "width"],
                        "data_type": "float32",
                    },
                    "classification:classes": [
                        {"value": info.value, "name": info.name, "color_hint": info.color[1:].upper()}
                        for info in self.classes
                    ],
                }
            ],
            "geoseg:dtype": self.dtype,
            "geoseg:resolution_range_m": list(self.resolution_range_m),
            "geoseg:overlap_px": self.overlap_px,
            "geoseg:margin_px": self.margin_px,
            "geoseg:divisor": self.divisor,
            "geoseg:activation": self.activation,
            "geoseg:accuracy": dict(self.accuracy),
        }
        # A multihash: 0x12 says SHA-256, 0x20 its length in bytes (STAC file extension).
        asset = {
            "href": f"./{self.weights}",
            "type": "application/octet-stream",
            "title": "weights",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": "safetensors",
            "file:checksum": f"1220{self.sha256}",
        }
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [MLM_SCHEMA, FILE_SCHEMA, CLASSIFICATION_SCHEMA],
            "id": self.name,
            "geometry": None,
            "properties": properties,
            "links": [],
            "assets": {"weights": asset},
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> ModelSpec:
        """Read the metadata from a STAC Item; raises `ModelError` where something is missing or of a wrong kind."""
        try:
            given = item["properties"]
            (source,), (result,) = given["mlm:input"], given["mlm:output"]
            asset = next(a for a in item["assets"].values() if "mlm:model" in a.get("roles", ()))
            scaling = source["value_scaling"]
            if any(step["type"] != "z-score" for step in scaling):
                raise ModelError(
                    f"value_scaling must be z-score for each band, but is {scaling}. Write mean and stddev."
                )
            low, high = given.get("geoseg:resolution_range_m", (given["gsd"] / 2, given["gsd"] * 2))
            return cls(
                name=given["mlm:name"],
                bands=tuple(band if isinstance(band, str) else band["name"] for band in source["bands"]),
                mean=tuple(float(step["mean"]) for step in scaling),
                std=tuple(float(step["stddev"]) for step in scaling),
                classes=tuple(
                    ClassInfo(
                        entry["value"],
                        entry["name"],
                        f"#{entry['color_hint']}" if "color_hint" in entry else "",
                    )
                    for entry in result["classification:classes"]
                ),
                dtype=given.get("geoseg:dtype", "uint8"),
                resolution_m=float(given["gsd"]),
                resolution_range_m=(float(low), float(high)),
                tile_px=int(source["input"]["shape"][-1]),
                overlap_px=int(given.get("geoseg:overlap_px", 64)),
                margin_px=int(given.get("geoseg:margin_px", 0)),
                divisor=int(given.get("geoseg:divisor", 1)),
                activation=given.get("geoseg:activation", "softmax"),
                task=given["mlm:tasks"][0],
                architecture=given["mlm:architecture"],
                arguments=given.get("mlm:hyperparameters", {}),
                parameters=int(given.get("mlm:total_parameters", 0)),
                weights=Path(asset["href"]).name,
                sha256=str(asset.get("file:checksum", "1220"))[4:],
                license=given.get("license", "other"),
                description=given.get("description", ""),
                accuracy=given.get("geoseg:accuracy", {}),
            )
        except (KeyError, TypeError, ValueError, IndexError, StopIteration, AttributeError) as error:
            raise ModelError(
                "model.json must be a STAC Item with the MLM extension: one input, one output and one asset with the "
                f"role mlm:model. It is not complete: {type(error).__name__} {error}. Write it with ModelSpec.to_item."
            ) from error

    def write(self, folder: Path) -> Path:
        """Write ``model.json`` into a package folder and return its path."""
        path = Path(folder) / "model.json"
        path.write_text(json.dumps(self.to_item(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


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


class NumpyModel:
    """A `Model` in plain numpy around a function, for tests, for rules and as the reference of the protocol.

    `function` maps scaled float32 tiles (tile, band, row, col), where invalid pixels are zero, to probabilities
    (tile, class, row, col).

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
        mean = np.array(self.spec.mean, np.float32).reshape(-1, 1, 1)
        std = np.array(self.spec.std, np.float32).reshape(-1, 1, 1)
        for key, pixels, valid in tiles:
            scaled = np.where(valid, (pixels.astype(np.float32) - mean) / std, np.float32(0))
            yield key, valid, self.function(scaled[None])[0]

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


def not_a_number(spec: ModelSpec) -> ModelError:
    """The error of a network that gave NaN."""
    return ModelError(
        f"A model's probabilities must be numbers, but {spec.name} gave 'not a number'. Its weights are damaged, or "
        "the scene's values are far outside what it was trained on: check --value-range."
    )


def read_spec(package: str | Path) -> ModelSpec:
    """The metadata of a package, given by the name of a shipped one or by a folder."""
    path = find_package(package) / "model.json"
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"model.json must be JSON, but {path} is not: {error}. Restore the package.") from error
    return ModelSpec.from_item(item)


def find_package(package: str | Path) -> Path:
    """The folder of a package, given by the name of a shipped one or by a path.

    Raises
    ------
    ModelError
        Neither a known name nor a folder with a ``model.json``; the message lists the known names.
    """
    for folder in (ZOO / str(package), Path(package)):
        if (folder / "model.json").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in ZOO.glob("*/model.json")))
    raise ModelError(
        f"A model is the name of one that ships with geoseg ({known}) or a folder with a model.json, "
        f"but {str(package)!r} is neither. See `geoseg models`."
    )


def list_models() -> dict[str, ModelSpec]:
    """The packages that ship with the library, by name."""
    return {path.parent.name: read_spec(path.parent) for path in sorted(ZOO.glob("*/model.json"))}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
