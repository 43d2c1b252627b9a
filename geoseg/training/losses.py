"""What a network is told to make small: cross-entropy, focal and Dice losses that leave unlabelled pixels out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from geoseg.training.labels import UNLABELLED

__all__ = ["divergence", "loss_of"]

_FOCUS = 2.0


def loss_of(logits: torch.Tensor, truth: torch.Tensor, *, name: str = "ce", weights: torch.Tensor) -> torch.Tensor:
    """The loss of a batch, a scalar; zero where nothing is labelled.

    Parameters
    ----------
    logits
        (tile, class, row, col).
    truth
        (tile, row, col) int64, 255 = unlabelled.
    name
        One of `geoseg.training.course.LOSSES`.
    weights
        (class,) how much a pixel of each class counts in cross-entropy and focal loss.

    Examples
    --------
    >>> nothing = torch.full((1, 2, 2), 255)
    >>> float(loss_of(torch.zeros(1, 3, 2, 2), nothing, weights=torch.ones(3)))
    0.0
    """
    parts = [_LOSSES[part](logits, truth, weights) for part in name.split("+")]
    return torch.stack(parts).sum()


def divergence(logits: torch.Tensor, before: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """How far probabilities moved from what they were: the mean Kullback–Leibler divergence, a scalar.

    Parameters
    ----------
    logits, before
        (tile, class, row, col).
    where
        (tile, row, col) bool: the pixels that count; zero is given where there are none.

    Examples
    --------
    >>> now, then = torch.tensor([0.0, 0.0]), torch.log(torch.tensor([3.0, 1.0]))
    >>> now, then = (values.reshape(1, 2, 1, 1) for values in (now, then))
    >>> round(float(divergence(now, then, torch.ones(1, 1, 1, dtype=torch.bool))), 4)
    0.1308
    """
    each = F.kl_div(logits.log_softmax(1), before.log_softmax(1), reduction="none", log_target=True).sum(dim=1)
    return (each * where).sum() / where.sum().clamp(min=1)


def _entropy(logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor, focus: float = 0.0) -> torch.Tensor:
    each = F.cross_entropy(logits, truth, ignore_index=UNLABELLED, reduction="none")
    known = truth != UNLABELLED
    weight = weights[truth.where(known, 0)] * known
    # How sure the network is of the truth: what it knows already counts little in a focal loss.
    easy = (1 - torch.exp(-each)) ** focus if focus else 1.0
    return (each * easy * weight).sum() / weight.sum().clamp(min=1e-6)


def _focal(logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _entropy(logits, truth, weights, _FOCUS)


def _dice(logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice of each class that is there, averaged: a small class counts as much as a large one."""
    known = (truth != UNLABELLED)[:, None]
    target = F.one_hot(truth.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1) * known
    chance = logits.softmax(1) * known
    both, sums = (chance * target).sum((0, 2, 3)), (chance + target).sum((0, 2, 3))
    present = target.sum((0, 2, 3)) > 0
    dice = 1 - (2 * both + 1) / (sums + 1)
    return (dice * present).sum() / present.sum().clamp(min=1)


_LOSSES = {"ce": _entropy, "focal": _focal, "dice": _dice}
