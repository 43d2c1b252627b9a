"""A torch network as a `geoseg.model.Model`: scaling, forward, blending and the decision stay on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.model import Key, ModelSpec, not_a_number
from geoseg.networks.running import predict_in_batches, predict_on_threads

__all__ = ["TorchModel"]


class TorchModel:
    """A semantic segmentation network on a device, run in single precision unless `precision` says otherwise.

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
        precision: str = "32",
        compiled: bool = False,
    ) -> None:
        self.spec, self.precision, self.compiled = spec, precision, compiled
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
        self._run: Any = self.network
        if compiled:
            self._run = torch.compile(self.network)
            # Once, before several threads want it, and for the tiles that the model recommends.
            side, size = spec.tile_px, 1 if self.device.type == "cpu" else batch
            self._forward(np.zeros((size, len(spec.bands), side, side), spec.dtype), np.ones((size, side, side), bool))

    @property
    def in_flight(self) -> int:
        """See `geoseg.model.Model.in_flight`."""
        return self.threads + 1 if self.device.type == "cpu" else 2 * self.batch

    def __reduce__(self) -> tuple[Any, ...]:
        from geoseg.networks.loading import travel

        return travel(self.package, str(self.device), self.threads, self.batch, self.precision, self.compiled)

    def predict(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, torch.Tensor]]:
        """See `geoseg.model.Model.predict`."""
        if self.device.type == "cpu":
            return predict_on_threads(tiles, self._forward, self.threads, prepare=partial(torch.set_num_threads, 1))
        return predict_in_batches(tiles, self._forward, self.batch)

    def _forward(self, tiles: np.ndarray, valid: np.ndarray) -> torch.Tensor:
        """Probabilities (tile, class, row, col) of tiles (tile, band, row, col)."""
        with torch.inference_mode():
            scaled = self._to_device(tiles).to(torch.float32).sub_(self._mean).div_(self._std)
            if not valid.all():
                scaled.masked_fill_(~self._to_device(valid)[:, None], 0)
            scaled = scaled.contiguous(memory_format=torch.channels_last)
            half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
            with torch.autocast(self.device.type, half, enabled=half is not None):
                output = self._run(scaled)
            return self._activate(output.float().contiguous())

    def _activate(self, output: torch.Tensor) -> torch.Tensor:
        """See `geoseg.model.to_probabilities`."""
        if self.spec.activation == "none":
            return output
        if self.spec.temperature != 1:
            output = output / self.spec.temperature
        if self.spec.activation == "sigmoid":
            output = torch.cat([torch.zeros_like(output), output], dim=1)
        return output.softmax(dim=1)

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
