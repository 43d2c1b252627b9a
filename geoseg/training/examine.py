"""A finished network on the validation windows: what it confuses, how sure it is, where it is worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from geoseg.training.labels import UNLABELLED
from geoseg.training.lesson import Windows
from geoseg.training.report import Picture
from geoseg.training.scores import confusion_of

__all__ = ["Examination", "examine"]

_SAMPLED_PX = 200_000
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found."""

    confusion: np.ndarray
    """Counts of labelled pixels, truth by row and prediction by column."""
    logits: np.ndarray
    """(pixel, class) of labelled pixels, every n-th where there are very many."""
    truth: np.ndarray
    """(pixel,) their channels."""
    worst: tuple[Picture, ...]
    """The windows with the largest share of wrong pixels, the worst first."""


def examine(network: torch.nn.Module, windows: Windows, *, batch: int, device: str) -> Examination:
    """Predict each window once, without change.

    Parameters
    ----------
    network
        On any device.
    windows
        With a labelled pixel at least.
    batch
        Windows at a time.
    device
        Where to predict.
    """
    network = network.eval().to(device)
    labelled = sum(int((windows.pixels(i)[2] != UNLABELLED).sum()) for i in range(len(windows)))
    step = max(1, labelled // _SAMPLED_PX)
    logits, truths, guesses, wrong = [], [], [], []
    confusion: np.ndarray | None = None
    with torch.inference_mode():
        for images, truth in DataLoader(windows, batch_size=batch):
            output = network(images.to(device)).float().cpu().numpy()
            answer, right = output.argmax(axis=1).astype(np.uint8), truth.numpy()
            counts = confusion_of(right, answer, output.shape[1])
            confusion = counts if confusion is None else confusion + counts
            known = right != UNLABELLED
            logits.append(np.moveaxis(output, 1, -1)[known][::step])
            truths.append(right[known][::step])
            guesses += list(answer)
            wrong += [
                float((a != r)[k].mean()) if k.any() else 0.0 for a, r, k in zip(answer, right, known, strict=True)
            ]
    assert confusion is not None  # there are windows
    order = np.argsort(-np.array(wrong), kind="stable")[:_SHOWN]
    worst = tuple((*windows.pixels(int(i)), guesses[i]) for i in order if wrong[i] > 0)
    return Examination(confusion, np.concatenate(logits), np.concatenate(truths), worst)
