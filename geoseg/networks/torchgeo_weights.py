"""Weights that torchgeo publishes, by name: ``torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW``.

What torchgeo says about a set of weights (bands, classes, licence, transforms, address) becomes a `ModelSpec`. What it
says only in the prose of its documentation stands in the tables of this file.
"""

from __future__ import annotations

import difflib
import pickle
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import EnumType
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from geoseg.classes import ClassInfo
from geoseg.download import download
from geoseg.errors import ModelError
from geoseg.model import ModelSpec
from geoseg.networks.torch_model import TorchModel
from geoseg.progress import Progress

__all__ = ["PREFIX", "Backbone", "backbone_state", "list_backbones", "list_weights", "load_weights", "weights_spec"]

PREFIX = "torchgeo:"
"""What the name of a model begins with that torchgeo publishes."""

_CLASSES = {
    # torchgeo gives no names for these; they are those of its data set, torchgeo.datasets.FieldsOfTheWorld.
    ("FTW", 2): (ClassInfo(0, "background", "#d9d2c3"), ClassInfo(1, "field", "#8fbf4d")),
    ("FTW", 3): (
        ClassInfo(0, "background", "#d9d2c3"),
        ClassInfo(1, "field", "#8fbf4d"),
        ClassInfo(2, "field boundary", "#7a4a1e"),
    ),
}
_COLORS = {"background": "#d9d2c3", "tree-canopy": "#2f7d32", "road": "#6e6e6e"}
_RESOLUTION_M = {"FTW": 10.0, "ChesapeakeRSC": 1.0}
"""By data set, where the metadata says nothing of a resolution."""
_RESOLUTION_RANGE = (0.8, 1.25)
"""Times the nominal resolution: what is read as it is."""
_SIXTEEN_BITS = ("SENTINEL2", "LANDSAT")
"""Sensors whose pixels are uint16 at the door; those of the others are uint8."""

_BANDS: dict[str, dict[str, str]] = {
    # Common names of STAC's EO extension, by sensor. A band without one keeps the name that torchgeo gives it.
    "SENTINEL2": {
        "B1": "coastal", "B2": "blue", "B3": "green", "B4": "red", "B5": "rededge071", "B6": "rededge075",
        "B7": "rededge078", "B8": "nir", "B8A": "nir08", "B9": "nir09", "B10": "cirrus",
        "B11": "swir16", "B12": "swir22",
    },
    "LANDSAT_TM": {
        "B1": "blue", "B2": "green", "B3": "red", "B4": "nir08", "B5": "swir16", "B6": "lwir", "B7": "swir22",
    },
    "LANDSAT_ETM": {
        "B1": "blue", "B2": "green", "B3": "red", "B4": "nir08", "B5": "swir16", "B7": "swir22", "B8": "pan",
    },
    "LANDSAT_OLI": {
        "B1": "coastal", "B2": "blue", "B3": "green", "B4": "red", "B5": "nir08", "B6": "swir16", "B7": "swir22",
        "B8": "pan", "B9": "cirrus", "B10": "lwir11", "B11": "lwir12",
    },
    "": {"R": "red", "G": "green", "B": "blue", "N": "nir", "NIR": "nir"},
}  # fmt: skip

_ENCODERS = {"ResNet18_Weights": "resnet18", "ResNet50_Weights": "resnet50", "ResNet152_Weights": "resnet152"}
"""By enumeration: the metadata's own ``model`` is wrong for some (ResNet152 says resnet50)."""

_NEWER = dict.fromkeys(
    (
        "Unet_Weights.NAIP_RGBN_RESNET18_CHESAPEAKERSC",
        "Unet_Weights.SENTINEL2_FTW_PRUE_CCBY_EFNETB3",
        "Unet_Weights.SENTINEL2_FTW_PRUE_CCBY_EFNETB5",
        "Unet_Weights.SENTINEL2_FTW_PRUE_CCBY_EFNETB7",
    ),
    "0.9 (for Python 3.12 and later)",
)
"""The version of torchgeo that weights came with, for those that an older one lacks."""

_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
"""The beginning of the SHA-256 in a file name, as torch hub writes it."""


class Backbone(NamedTuple):
    """An encoder's published weights, for training to start from."""

    encoder: str
    """Its name in segmentation_models_pytorch, ``resnet50``."""
    state: dict[str, torch.Tensor]
    """The state dict of that encoder."""
    bands: tuple[str, ...]
    """Common names of the bands, in the order of its channels."""
    mean: tuple[float, ...]
    """Subtracted from each band, in units of the stored pixel values."""
    std: tuple[float, ...]
    """Then each band is divided by this."""


def list_weights() -> dict[str, ModelSpec]:
    """The segmentation weights of the torchgeo that is installed, by the name to give as model."""
    import torchgeo.models

    enum = getattr(torchgeo.models, "Unet_Weights", ())  # since torchgeo 0.8
    return {f"{PREFIX}{weights!r}": weights_spec(f"{PREFIX}{weights!r}") for weights in enum}


def list_backbones() -> dict[str, tuple[str, ...]]:
    """The encoder weights that training can start from, by name, with their bands."""
    return {
        f"{PREFIX}{weights!r}": _band_names(weights)
        for name, enum in sorted(_enums().items())
        if name in _ENCODERS
        for weights in enum
    }


def weights_spec(name: str) -> ModelSpec:
    """The metadata of segmentation weights, without downloading them.

    Raises
    ------
    ModelError
        torchgeo has no such weights, or they are not those of a segmentation network, or geoseg cannot express how
        they scale pixels.

    Examples
    --------
    >>> spec = weights_spec("torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW")
    >>> spec.bands
    ('red', 'green', 'blue', 'nir', 'red_2', 'green_2', 'blue_2', 'nir_2')
    >>> spec.std[0], spec.resolution_m, spec.license, [info.name for info in spec.classes]
    (3000.0, 10.0, 'CC-BY-4.0', ['background', 'field', 'field boundary'])
    """
    weights = _find(name)
    meta = weights.meta
    if "num_classes" not in meta or "encoder" not in meta:
        raise ModelError(
            f"A map needs weights of a segmentation network, but {name} are those of a backbone. Choose one of "
            f"{', '.join(list_weights())}; a backbone is what training starts from."
        )
    dataset, member = meta.get("dataset", "unknown data"), weights.name
    bands = _band_names(weights)
    mean, std = _scaling(weights.transforms, len(bands), name)
    resolution = float(meta.get("resolution") or _RESOLUTION_M.get(dataset, 10.0 if "SENTINEL2" in member else 1.0))
    tile = int(meta.get("input_shape", (512,))[-1])
    return ModelSpec(
        name.partition("#")[0],
        bands=bands,
        mean=mean,
        std=std,
        classes=_classes(meta),
        dtype="uint16" if member.startswith(_SIXTEEN_BITS) else "uint8",
        resolution_m=resolution,
        resolution_range_m=(_RESOLUTION_RANGE[0] * resolution, _RESOLUTION_RANGE[1] * resolution),
        tile_px=tile,
        overlap_px=tile // 8,
        margin_px=tile // 32,
        divisor=32,  # a U-Net of torchgeo halves its input five times
        architecture="Unet",
        arguments={"encoder_name": meta["encoder"]},
        weights=_file_name(weights),
        license=meta.get("license", "other"),
        description=f"{dataset}: U-Net with {meta['encoder']}, published with torchgeo; see "
        f"{meta.get('publication') or meta.get('repo', weights.url)}.",
    )


def load_weights(
    name: str, *, device: str, threads: int, batch: int, progress: Progress | None = None, **how: Any
) -> TorchModel:
    """The network with its weights, downloaded on first use; see `geoseg.load_model`.

    Raises
    ------
    ModelError
        See `weights_spec` and `geoseg.download.download`; or the file is no state dict, or not of this network.
    """
    weights_spec(name)  # raises before anything is downloaded
    path = _fetch(name, progress)
    return _load(name, path, path.stat().st_mtime_ns, device, threads, batch, **how)


@lru_cache(maxsize=4)
def _load(name: str, path: Path, changed: int, device: str, threads: int, batch: int, **how: Any) -> TorchModel:
    # Cached as packages are: a model that travels to another process is loaded there once.
    import torchgeo.models

    spec = weights_spec(name).with_file(path)
    network = torchgeo.models.unet(
        None, len(spec.classes), in_channels=len(spec.bands), encoder_weights=None, **spec.arguments
    )
    try:
        network.load_state_dict(_read_state(path))
    except RuntimeError as error:
        raise _not_fitting(path, name, error) from error
    spec = replace(spec, parameters=sum(value.numel() for value in network.parameters()))
    # Its name, and not a folder, is what the model is found by in another process.
    return TorchModel(spec, network, device=device, threads=threads, batch=batch, package=Path(name), **how)


def backbone_state(name: str, *, progress: Progress | None = None) -> Backbone:
    """An encoder's published weights, downloaded on first use.

    Parameters
    ----------
    name
        ``torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO`` and the like; `list_backbones` lists them.
    progress
        Told of the download.

    Returns
    -------
    Backbone
        Encoder name, state dict (for ``smp.encoders.get_encoder(encoder, in_channels=len(bands))``), bands, mean, std.

    Raises
    ------
    ModelError
        torchgeo has no such weights; they are not of a ResNet; or they cannot be had (see `geoseg.download.download`).
    """
    import segmentation_models_pytorch as smp

    weights = _find(name)
    kind = type(weights).__name__
    if kind not in _ENCODERS:
        raise ModelError(
            f"Training can start from the weights of a ResNet, but {name} are of another network ({kind}): a U-Net has "
            "no encoder of that kind that takes them. Choose from `geoseg models torchgeo`."
        )
    encoder, bands = _ENCODERS[kind], _band_names(weights)
    mean, std = _scaling(weights.transforms, len(bands), name)
    path = _fetch(name, progress)
    state = {key: value for key, value in _read_state(path).items() if not key.startswith("fc.")}
    network = smp.encoders.get_encoder(encoder, in_channels=len(bands), weights=None)
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise _not_fitting(path, name, error) from error
    return Backbone(encoder, state, bands, mean, std)


def _enums() -> dict[str, Any]:
    import torchgeo.models
    from torchvision.models import WeightsEnum

    return {
        name: value
        for name, value in vars(torchgeo.models).items()
        if isinstance(value, EnumType) and issubclass(value, WeightsEnum) and len(value)
    }


def _find(name: str) -> Any:
    """The member of torchgeo's enumerations that a name means."""
    import torchgeo

    wanted = name.removeprefix(PREFIX).partition("#")[0]
    enums = _enums()
    enum, _, member = wanted.partition(".")
    if enum in enums and member in enums[enum].__members__:
        return enums[enum][member]
    known = [f"{enum}.{member}" for enum, members in enums.items() for member in members.__members__]
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5) or [n for n in known if n.startswith("Unet")]
    needs = f" It came with torchgeo {_NEWER[wanted]}: update torchgeo." if wanted in _NEWER else ""
    raise ModelError(
        f"After {PREFIX} comes the name of weights that the torchgeo installed here ({torchgeo.__version__}) has, but "
        f"it has no {wanted!r}.{needs} Close to it: {', '.join(close)}. See `geoseg models torchgeo`."
    )


def _file_name(weights: Any) -> str:
    return str(weights.url).split("?")[0].rsplit("/", 1)[-1]


def _fetch(name: str, progress: Progress | None) -> Path:
    """The file of the weights, from the cache or from where torchgeo says it lies."""
    weights, given = _find(name), name.partition("#")[2].lower()
    file = _file_name(weights)
    published = _HASH.search(file)
    if published is None and not re.fullmatch("[0-9a-f]{64}", given):
        raise ModelError(
            f"Downloads are checked against a SHA-256, but torchgeo gives none for {name}. Get {weights.url}, make "
            f"sure that it is the right file, and give its SHA-256 (64 hex digits) with the name: "
            f"{name.partition('#')[0]}#<sha256>."
        )
    if published is not None and given and not given.startswith(published[1]):
        raise ModelError(
            f"The SHA-256 of {file} begins with {published[1]}, as its name says, but {given!r} was given. "
            "Leave out what follows #."
        )
    expected = given or (published[1] if published else "")
    return download(weights.url, sha256=expected, name=file, progress=progress)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """A state dict; nothing but tensors and plain containers is unpickled."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"Weights must be a state dict as torch.save writes it, but {path} is not: {reason}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"Weights must be a state dict, names with tensors, but {path} holds something else.")
    return dict(state)


def _not_fitting(path: Path, name: str, error: RuntimeError) -> ModelError:
    lines = str(error).splitlines()
    return ModelError(f"{path} must fit the network of {name}, but does not: {lines[min(1, len(lines) - 1)].strip()}")


def _band_names(weights: Any) -> tuple[str, ...]:
    """Common names of the channels; those of a second date end in ``_2``."""
    meta = weights.meta
    given = list(meta.get("bands", ()))
    if not given and meta["in_chans"] == 3 and "_RGB" in weights.name:
        given = ["R", "G", "B"]
    given = given or [f"band{i}" for i in range(1, meta["in_chans"] + 1)]
    if len(given) != meta["in_chans"]:
        raise ModelError(
            f"Weights must name a band for each channel, but torchgeo names {len(given)} for the {meta['in_chans']} of "
            f"{weights!r}. Use other weights, or another version of torchgeo."
        )
    common = next(table for sensor, table in _BANDS.items() if weights.name.startswith(sensor))
    names, seen = [], Counter[str]()
    for band in given:
        short = re.sub(r"^B0(?=\d)", "B", str(band).upper().removeprefix("SR_"))
        name = common.get(short, str(band))
        seen[name] += 1
        names.append(f"{name}_{seen[name]}" if seen[name] > 1 else name)
    return tuple(names)


def _classes(meta: Mapping[str, Any]) -> tuple[ClassInfo, ...]:
    count, dataset = int(meta["num_classes"]), str(meta.get("dataset"))
    if "classes" in meta:
        return tuple(ClassInfo(i, str(name), _COLORS.get(name, "")) for i, name in enumerate(meta["classes"]))
    if (dataset, count) in _CLASSES:
        return _CLASSES[dataset, count]
    return tuple(ClassInfo(i, f"class {i}") for i in range(count))


_KEEP_VALUES = {"Identity", "Resize", "CenterCrop"}
"""Transforms that only cut or resize: tiles have the right size already."""


def _scaling(transforms: Any, channels: int, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std in units of the stored pixel values: torchgeo's normalisations, one after the other, as one."""
    mean, std = [0.0] * channels, [1.0] * channels
    for step in _steps(transforms):
        kind = type(step).__name__
        if kind in _KEEP_VALUES:
            continue
        if kind != "Normalize":
            raise ModelError(
                f"geoseg scales pixels by (pixel - mean) / std, but torchgeo's transforms of {name} have a {kind}. "
                "Write a package with scaling of its own (see the documentation of models)."
            )
        # ((x - M) / S - m) / s = (x - (M + m S)) / (S s)
        for i, (m, s) in enumerate(zip(*_numbers(step, channels), strict=True)):
            mean[i], std[i] = mean[i] + m * std[i], std[i] * s
    return tuple(mean), tuple(std)


def _steps(transforms: Any) -> Iterator[Any]:
    """The single transforms, in order."""
    children = list(transforms.children()) if isinstance(transforms, torch.nn.Module) else []
    if not children:
        yield transforms
    for child in children:
        yield from _steps(child)


def _numbers(step: Any, channels: int) -> tuple[list[float], list[float]]:
    """Mean and std of a Normalize of torchvision or kornia, for each channel."""
    flags = getattr(step, "flags", {})  # kornia.augmentation keeps them here
    pair: list[list[float]] = []
    for key in ("mean", "std"):
        value = flags[key] if key in flags else getattr(step, key)
        numbers: Sequence[float] = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
        if len(numbers) not in (1, channels):
            raise ModelError(
                f"A normalisation has one number, or one for each of the {channels} channels, but this one has "
                f"{len(numbers)}: {step}. Use another version of torchgeo."
            )
        pair.append(list(numbers) * (channels if len(numbers) == 1 else 1))
    return pair[0], pair[1]
