"""How good a network is on labelled pixels, and how far its confidence can be believed; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.training.labels import UNLABELLED

__all__ = ["Calibration", "calibrate", "confusion_of", "iou_of", "mean_iou"]

_BINS = 15


def confusion_of(truth: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """Counts of labelled pixels, truth by row and prediction by column.

    >>> confusion_of(np.array([0, 1, 255]), np.array([0, 0, 1]), 2)
    array([[1, 0], [1, 0]])
    """
    known = truth != UNLABELLED
    pairs = truth[known].astype(np.int64) * classes + guess[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (class,); NaN for a class that is not in the truth.

    >>> iou_of(np.array([[2, 1], [0, 0]]))
    array([0.66666667, nan])
    """
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return np.where(confusion.sum(1) > 0, hit / np.maximum(union, 1), np.nan)


def mean_iou(confusion: np.ndarray) -> float:
    """The mean over the classes that are in the truth; 0 without any.

    >>> mean_iou(np.array([[2, 1], [0, 0]]))
    0.6666666666666666
    """
    there = iou_of(confusion)[confusion.sum(1) > 0]
    return float(there.mean()) if len(there) else 0.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """The temperature that makes confidence honest, and what it changes."""

    temperature: float
    """Logits are divided by this."""
    error_before: float
    """Expected calibration error with a temperature of one, 0..1."""
    error_after: float
    """The same with the fitted temperature."""
    bins_before: np.ndarray
    """(bin, 3): mean confidence, share of right answers, share of the pixels."""
    bins_after: np.ndarray
    """The same with the fitted temperature."""


def calibrate(logits: np.ndarray, truth: np.ndarray) -> Calibration:
    """Fit one temperature by the negative log-likelihood (Guo et al. 2017, On Calibration of Modern Neural Networks).

    The likelihood is a concave function of one over the temperature, so a search by thirds finds its peak.

    Parameters
    ----------
    logits
        (pixel, class).
    truth
        (pixel,) the right class.

    Examples
    --------
    >>> sure = np.array([[9.0, 0.0]] * 4)
    >>> found = calibrate(sure, np.array([0, 0, 0, 1]))  # right three times of four: log 3 is honest, not 9
    >>> round(9 / found.temperature, 3), round(float(np.log(3)), 3)
    (1.099, 1.099)
    """
    low, high = 0.02, 50.0  # of one over the temperature
    for _ in range(80):
        near, far = low + (high - low) / 3, high - (high - low) / 3
        if _surprise(logits, truth, near) < _surprise(logits, truth, far):
            high = far
        else:
            low = near
    sharpness = (low + high) / 2
    before, after = _bins(logits, truth), _bins(logits * sharpness, truth)
    return Calibration(1 / sharpness, _gap(before), _gap(after), before, after)


def _surprise(logits: np.ndarray, truth: np.ndarray, sharpness: float) -> float:
    """Mean negative log-likelihood."""
    scaled = logits.astype(np.float64) * sharpness
    scaled -= scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(truth)), truth]).mean())


def _bins(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels by confidence in equal steps: (bin, 3) as in `Calibration`."""
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = scaled.max(axis=1) / scaled.sum(axis=1)
    right = logits.argmax(axis=1) == truth
    step = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    count = np.bincount(step, minlength=_BINS)
    sums = [np.bincount(step, weights=values, minlength=_BINS) for values in (confidence, right)]
    return np.stack([*(total / np.maximum(count, 1) for total in sums), count / max(len(truth), 1)], axis=1)


def _gap(bins: np.ndarray) -> float:
    return float((np.abs(bins[:, 0] - bins[:, 1]) * bins[:, 2]).sum())
