"""A torch network as a `geoseg.model.Model`: scaling, forward, blending and the decision stay on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.errors import ModelError
from geoseg.model import Key, ModelSpec, not_a_number

__all__ = ["TorchModel", "build_network"]

ARCHITECTURES = ("Unet", "FPN", "DeepLabV3Plus", "UnetPlusPlus", "Segformer", "UPerNet")
"""Networks of segmentation_models_pytorch that a package may name."""


def build_network(spec: ModelSpec) -> torch.nn.Module:
    """The network that a package's metadata names, with random weights.

    Raises
    ------
    ModelError
        The architecture is unknown or does not take these arguments.
    """
    if spec.architecture == "FewLabels":
        return _few_labels(spec)
    import segmentation_models_pytorch as smp

    if spec.architecture not in ARCHITECTURES:
        raise ModelError(
            f"The architecture must be one of {', '.join(ARCHITECTURES)}, but model.json of {spec.name} names "
            f"{spec.architecture!r}."
        )
    arguments = {**spec.arguments, "encoder_weights": None}
    try:
        return getattr(smp, spec.architecture)(in_channels=len(spec.bands), classes=len(spec.classes), **arguments)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{spec.architecture} does not take the arguments {dict(spec.arguments)} of model.json: {error}"
        ) from error


def _few_labels(spec: ModelSpec) -> torch.nn.Module:
    from geoseg.networks.few_network import FewLabels

    try:
        return FewLabels(in_channels=len(spec.bands), classes=len(spec.classes), **spec.arguments)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"FewLabels does not take the arguments {dict(spec.arguments)} of model.json: {error}"
        ) from error


class TorchModel:
    """A semantic segmentation network on a device, run in single precision.

    On a processor each tile is predicted by one thread, and several tiles at a time. So the result does not depend on
    the number of threads (a convolution split over threads may sum in another order), and no core waits for another.
    On a GPU tiles go in batches of a fixed size with deterministic algorithms.

    Instances travel to other processes by the path of their package, never as pickled weights.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: torch.nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        batch: int = 16,
        package: Path | None = None,
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.threads = threads or torch.get_num_threads()
        self.batch = batch
        self.package = package
        # Channels last is the faster memory format on CPU and on tensor cores (docs/benchmarks.md).
        self.network = network.eval().to(self.device).to(memory_format=torch.channels_last)
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(spec.mean, dtype=torch.float32, device=self.device).view(shape)
        self._std = torch.tensor(spec.std, dtype=torch.float32, device=self.device).view(shape)
        if self.device.type == "cuda":
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False

    @property
    def in_flight(self) -> int:
        """See `geoseg.model.Model.in_flight`."""
        return self.threads + 1 if self.device.type == "cpu" else 2 * self.batch

    def __reduce__(self) -> tuple[Any, ...]:
        if self.package is None:
            raise ModelError(
                "A model can only travel to another process by its package, but this one was not loaded from any. "
                "Write it as a package and use load_model."
            )
        return _reload, (str(self.package), str(self.device), self.threads, self.batch)

    def predict(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, torch.Tensor]]:
        """See `geoseg.model.Model.predict`."""
        return self._predict_on_threads(tiles) if self.device.type == "cpu" else self._predict_in_batches(tiles)

    def _predict_on_threads(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, torch.Tensor]]:
        waiting: deque[tuple[Key, np.ndarray, Future[torch.Tensor]]] = deque()
        pool = ThreadPoolExecutor(self.threads, "geoseg-predict", initializer=torch.set_num_threads, initargs=(1,))
        try:
            for key, pixels, valid in tiles:
                waiting.append((key, valid, pool.submit(self._forward, pixels[None], valid[None])))
                # One tile more than threads: a thread that is done finds its next tile while this one is blended.
                if len(waiting) > self.threads:
                    done, mask, future = waiting.popleft()
                    yield done, mask, future.result()[0]
            while waiting:
                done, mask, future = waiting.popleft()
                yield done, mask, future.result()[0]
        finally:
            pool.shutdown(cancel_futures=True)

    def _predict_in_batches(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, torch.Tensor]]:
        stream = iter(tiles)
        while batch := list(islice(stream, self.batch)):
            # A short batch is filled up: another batch size may choose another algorithm.
            fill = [batch[0]] * (self.batch - len(batch))
            pixels = np.stack([pixels for _, pixels, _ in batch + fill])
            valid = np.stack([valid for _, _, valid in batch + fill])
            probabilities = self._forward(pixels, valid)
            for index, (key, _, tile_valid) in enumerate(batch):
                yield key, tile_valid, probabilities[index]

    def _forward(self, tiles: np.ndarray, valid: np.ndarray) -> torch.Tensor:
        """Probabilities (tile, class, row, col) of tiles (tile, band, row, col)."""
        with torch.inference_mode():
            scaled = self._to_device(tiles).to(torch.float32).sub_(self._mean).div_(self._std)
            if not valid.all():
                scaled.masked_fill_(~self._to_device(valid)[:, None], 0)
            output = self.network(scaled.contiguous(memory_format=torch.channels_last)).contiguous()
            return output.softmax(dim=1) if self.spec.activation == "softmax" else output

    def _to_device(self, values: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """See `geoseg.model.Model.zeros`."""
        return torch.zeros(shape, dtype=torch.float32, device=self.device)

    def asarray(self, values: np.ndarray) -> torch.Tensor:
        """See `geoseg.model.Model.asarray`."""
        return torch.from_numpy(values).to(self.device)

    def decide(self, sums: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """See `geoseg.model.Model.decide`."""
        with torch.inference_mode():
            # max() gives the first of equal maxima, like numpy, and is far faster here than argmax().
            highest, channel = sums.max(dim=0)
            if torch.isnan(highest).any():
                raise not_a_number(self.spec)
            percent = (highest.clamp(0, 1) * 100).round()
            return channel.to(torch.uint8).cpu().numpy(), percent.to(torch.uint8).cpu().numpy()


def _reload(package: str, device: str, threads: int, batch: int) -> TorchModel:
    from geoseg.networks.loading import load_model

    return load_model(package, device=device, threads=threads, batch=batch)
