"""How Mask R-CNN learns objects, and how well it finds those that it has not seen.

Where nothing is known (outside the labelled area, or past the scene) a window is blank, as it is where pixels are not
valid: the network sees nothing there, and is neither blamed for finding an object nor taught that there is none.
Objects are cut by that blank, and by the window, in the picture and in the truth alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from geoseg.training.labels import UNLABELLED
from geoseg.training.lesson import BaseLesson, Windows
from geoseg.training.object_scores import SURE, Found, count_matches, f1_of
from geoseg.training.objects import FIRST_NUMBER

__all__ = ["ObjectExamination", "ObjectLesson", "ObjectWindows", "examine_objects", "targets_of"]

_SLIVER_PX = 4
"""What is left of an object in a window is learned if it has at least so many pixels."""
_SHOWN = 6


class ObjectWindows(Windows):
    """Windows as tensors: scaled pixels (band, row, col; 0 where nothing is known) and numbers of objects (row, col).

    The numbers are those of `geoseg.training.samples.Ground.number`.
    """

    numbered = True

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        scaled, numbers = super().__getitem__(index)
        scaled[:, numbers == UNLABELLED] = 0
        return scaled, numbers


def targets_of(numbers: torch.Tensor, channels: int) -> dict[str, torch.Tensor]:
    """What Mask R-CNN learns from.

    Parameters
    ----------
    numbers
        (row, col) as `geoseg.training.samples.Ground.number` gives them.
    channels
        How many channels the numbers tell apart, with the background.

    Returns
    -------
    dict
        ``boxes`` (object, 4) float32 x0, y0, x1, y1, edges of pixels; ``labels`` (object,) int64 from 1; ``masks``
        (object, row, col) uint8. Objects of fewer than four pixels are left out.

    Examples
    --------
    >>> numbers = torch.zeros(4, 6, dtype=torch.int32)
    >>> numbers[1:4, 2:5], numbers[0, 0] = 256 + 2 * 1 + 1, 256 + 2 * 0 + 1
    >>> found = targets_of(numbers, 2)
    >>> found["boxes"].tolist(), found["labels"].tolist(), found["masks"].sum().item()
    ([[2.0, 1.0, 5.0, 4.0]], [1], 9)
    """
    each, count = torch.unique(numbers, return_counts=True)
    each = each[(each >= FIRST_NUMBER) & (count >= _SLIVER_PX)]
    masks = numbers[None] == each[:, None, None]
    ends = []
    for side in (masks.any(dim=1), masks.any(dim=2)):  # columns, then rows
        side = side.int()
        ends.append((side.argmax(dim=1), side.shape[1] - side.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = ends
    boxes = torch.stack([left, top, right, bottom], dim=1).float()
    return {"boxes": boxes, "labels": ((each - FIRST_NUMBER) % channels).long(), "masks": masks.to(torch.uint8)}


class ObjectLesson(BaseLesson):
    """Learns objects by Mask R-CNN; measured by the F1 score of objects. `others` are those of `BaseLesson`.

    Parameters
    ----------
    network
        A `geoseg.networks.architectures.MaskRCNN`.
    channels
        How many there are, with the background.
    """

    measure, measured = "f1", "F1"

    def __init__(self, network: torch.nn.Module, *, channels: int, **others: Any) -> None:
        super().__init__(network, **others)
        self.channels = channels
        self.counts = np.zeros((channels - 1, 3), np.int64)

    def loss_of_batch(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The sum of Mask R-CNN's five losses."""
        losses = self.network(images, [targets_of(numbers, self.channels) for numbers in truth])
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def on_validation_epoch_start(self) -> None:
        """Nothing is counted yet."""
        self.counts[:] = 0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Count what is right."""
        for image, numbers in zip(*batch, strict=True):
            self.counts += count_matches(*_pair(self.averaged, image, numbers, self.channels), self.channels - 1)

    def score(self) -> float:
        """F1 of all objects together."""
        return float(np.nan_to_num(f1_of(self.counts.sum(axis=0))))


def _pair(network: torch.nn.Module, image: torch.Tensor, numbers: torch.Tensor, channels: int) -> tuple[Found, Found]:
    """What is found and what was drawn in a window, where something is known."""
    (output,) = network(image[None])  # one at a time: masks of a whole batch, at full size, would fill the memory
    known = (numbers != UNLABELLED).cpu().numpy()
    scores = output["scores"].float().cpu().numpy()
    sure = scores >= SURE
    masks = (output["masks"][:, 0] > 0.5).cpu().numpy()[sure] & known
    there = masks.any(axis=(1, 2))
    found = Found(masks[there], output["labels"].cpu().numpy()[sure][there], scores[sure][there])
    target = targets_of(numbers, channels)
    labels = target["labels"].cpu().numpy()
    return found, Found(target["masks"].cpu().numpy().astype(bool), labels, np.ones(len(labels)))


@dataclass(frozen=True, eq=False)
class ObjectExamination:
    """What a finished network finds in the validation windows."""

    counts: np.ndarray
    """(class, 3) int: objects that are right, found too much, and missed."""
    pictures: tuple[tuple[np.ndarray, np.ndarray, Found, Found], ...]
    """Pixels (band, row, col), validity (row, col), what was found and what was drawn: where most is wrong."""


def examine_objects(network: torch.nn.Module, windows: ObjectWindows, *, batch: int, device: str) -> ObjectExamination:
    """Find the objects of each window once, without change; the arguments are those of `examine`."""
    network = network.eval().to(device)
    channels = len(windows.ground.names)
    counts = np.zeros((channels - 1, 3), np.int64)
    worst: list[tuple[int, int, tuple[Found, Found]]] = []
    number = 0
    with torch.inference_mode():
        for images, truth in DataLoader(windows, batch_size=batch):
            for image, numbers in zip(images.to(device), truth, strict=True):
                pair = _pair(network, image, numbers, channels)
                here = count_matches(*pair, channels - 1)
                counts += here
                worst.append((-int(here[:, 1:].sum()), number, pair))
                worst = sorted(worst, key=lambda each: each[:2])[:_SHOWN]  # masks are large: no more are kept
                number += 1
    return ObjectExamination(counts, tuple((*windows.pixels(i)[:2], *pair) for _, i, pair in worst))
