"""Networks that find objects, as `geoseg.model.InstanceModel`: Mask R-CNN in torch, YOLO-seg in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.errors import ModelError
from geoseg.model import Key, ModelSpec
from geoseg.networks.architectures import MaskRCNN
from geoseg.networks.onnx_model import OnnxNetwork
from geoseg.networks.running import predict_in_batches, predict_on_threads
from geoseg.objects import Instances
from geoseg.objects.decode import decode_maskrcnn, decode_yolo_seg

__all__ = ["MaskRCNNModel", "YoloSegModel"]


class _Finder:
    """What both share: scaling, and how tiles go through; on a processor each tile is seen, and decoded, by one thread.

    Instances travel to other processes by the path of their package, never as pickled weights.
    """

    def __init__(self, spec: ModelSpec, device: str, threads: int, batch: int, package: Path | None) -> None:
        self.spec, self.device, self.threads, self.batch, self.package = spec, device, threads, batch, package
        shape = (1, -1, 1, 1)
        self._mean = np.array(spec.mean, np.float32).reshape(shape)
        self._std = np.array(spec.std, np.float32).reshape(shape)

    @property
    def in_flight(self) -> int:
        """See `geoseg.model.InstanceModel.in_flight`."""
        return self.threads + 1 if self.device == "cpu" else 2 * self.batch

    def __reduce__(self) -> tuple[Any, ...]:
        from geoseg.networks.loading import travel

        return travel(self.package, self.device, self.threads, self.batch)

    def find(self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]) -> Iterator[tuple[Key, Instances]]:
        """See `geoseg.model.InstanceModel.find`."""
        if self.device == "cpu":
            one_thread = partial(torch.set_num_threads, 1)
            found = predict_on_threads(tiles, self._forward, self.threads, prepare=one_thread)
        else:
            found = predict_in_batches(tiles, self._forward, self.batch)
        return ((key, instances) for key, _, instances in found)

    def _forward(self, tiles: np.ndarray, valid: np.ndarray) -> list[Instances]:
        """The objects of each tile (tile, band, row, col), with validity (tile, row, col)."""
        scaled = (tiles.astype(np.float32) - self._mean) / self._std
        return self._find(np.where(valid[:, None], scaled, np.float32(0)), valid)

    def _find(self, scaled: np.ndarray, valid: np.ndarray) -> list[Instances]:
        raise NotImplementedError


class MaskRCNNModel(_Finder):
    """`geoseg.networks.architectures.MaskRCNN` on a device, in single precision, with the package's thresholds.

    Parameters
    ----------
    spec
        Its ``min_score`` and ``max_overlap`` are what the network's own selection goes by.
    network
        With its weights.
    device, threads, batch, package
        See `geoseg.load_model`.

    Raises
    ------
    ModelError
        A weight is not finite: torchvision would find nothing, and not say why.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: MaskRCNN,
        *,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 16,
        package: Path | None = None,
    ) -> None:
        super().__init__(spec, device, threads, batch, package)
        for name, value in network.state_dict().items():
            if not torch.isfinite(value).all():
                raise ModelError(
                    f"Weights must be finite numbers, but {name} of {spec.name} is not. They are damaged: restore the "
                    "package."
                )
        heads: Any = network.network.roi_heads
        heads.score_thresh, heads.nms_thresh = spec.min_score, spec.max_overlap
        self.network = network.eval().to(device)
        if torch.device(device).type == "cuda":
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False

    def _find(self, scaled: np.ndarray, valid: np.ndarray) -> list[Instances]:
        with torch.inference_mode():
            found = self.network.find(torch.from_numpy(scaled).to(self.device))
        arrays = ({name: value.cpu().numpy() for name, value in one.items()} for one in found)
        return [decode_maskrcnn(**one, valid=tile) for one, tile in zip(arrays, valid, strict=True)]


class YoloSegModel(_Finder):
    """A YOLO segmentation network in ONNX, with its two outputs: candidates and prototypes of masks.

    Parameters
    ----------
    spec
        Its ``min_score`` and ``max_overlap`` say which candidates are objects.
    weights
        The bytes of the ONNX file; see `geoseg.objects.decode.decode_yolo_seg` for its outputs.
    device, threads, batch, package
        See `geoseg.load_model`.

    Raises
    ------
    ModelError
        The network cannot be run, or has other inputs and outputs.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: bytes,
        *,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 16,
        package: Path | None = None,
    ) -> None:
        super().__init__(spec, device, threads, batch, package)
        self.network = OnnxNetwork(spec, weights, device, outputs=2)

    def _find(self, scaled: np.ndarray, valid: np.ndarray) -> list[Instances]:
        predictions, prototypes = sorted(self.network.run(scaled), key=np.ndim)
        if (predictions.ndim, prototypes.ndim) != (3, 4):
            raise ModelError(
                "YOLO-seg must give predictions (tile, value, candidate) and prototypes (tile, prototype, row, col), "
                f"but {self.spec.name} gives {predictions.shape} and {prototypes.shape}. Export it without "
                "non-maximum suppression inside it."
            )
        spec = self.spec
        return [
            decode_yolo_seg(*one, classes=len(spec.classes), min_score=spec.min_score, max_overlap=spec.max_overlap)
            for one in zip(predictions, prototypes, valid, strict=True)
        ]
