"""The same ground in other light, turned and at another zoom: what is seen once teaches about what is never seen."""

from __future__ import annotations

import kornia.augmentation as augment
import torch
from torch.nn import functional as F

from geoseg.training.course import VARIATIONS
from geoseg.training.labels import UNLABELLED

__all__ = ["Variation"]

_TURNS = {"light": (15.0, (0.8, 1.25), "zeros", 0.5), "strong": (180.0, (0.6, 1.7), "reflection", 0.9)}
"""Degrees either way, zoom, what lies outside, share of the windows."""


class Variation:
    """Changes a batch at random; pixels and labels alike.

    Parameters
    ----------
    kind
        ``light``: flips, quarter turns, small turns and zooms, brightness of every band. ``strong``: any turn, zooms of
        0.6 to 1.7, and other colours: saturation, contrast, gamma, haze, blur, noise. For maps of other places than
        those that were learned from.
    water
        The channel of water, which ``strong`` tints: the same lake is black in one scene and, with algae, mud or
        glint, olive or brown in another. None if there is none.
    outside
        What comes in from outside of a window: ``zeros`` (not valid, without label) or ``reflection``; by default the
        first for ``light`` and the second for ``strong``. Reflected, an object would be there twice.

    Examples
    --------
    >>> images, truth = torch.zeros(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8)
    >>> varied, marks = Variation("strong")(images, truth)
    >>> tuple(varied.shape), tuple(marks.shape), marks.dtype
    ((2, 3, 64, 64), (2, 64, 64), torch.int64)
    """

    def __init__(self, kind: str = "light", *, water: int | None = None, outside: str | None = None) -> None:
        assert kind in VARIATIONS
        self.kind, self.water = kind, water
        degrees, zoom, usual, share = _TURNS[kind]
        self.turn = augment.AugmentationSequential(
            augment.RandomHorizontalFlip(p=0.5),
            augment.RandomVerticalFlip(p=0.5),
            augment.RandomRotation90(times=(0, 3), p=1.0),
            augment.RandomAffine(degrees=degrees, scale=zoom, padding_mode=outside or usual, p=share),
            data_keys=["input", "mask"],
            extra_args={"mask": {"resample": "nearest", "align_corners": False}},  # type: ignore[dict-item]
        )

    def __call__(self, images: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vary a batch.

        Parameters
        ----------
        images
            (tile, band, row, col), scaled; 0 where not valid, which stays.
        truth
            (tile, row, col) channels, 255 = unlabelled.

        Returns
        -------
        tuple
            The images, and int64 channels; what comes from outside has no label, unless it is reflected.
        """
        there = images.abs().sum(dim=1, keepdim=True) > 0
        lit = self._relight(images) if self.kind == "light" else self._recolor(images, truth)
        marks = torch.where(truth == UNLABELLED, 0, truth.long() + 1)[:, None].float()
        turned, marks = self.turn(lit * there, marks)
        marks = marks[:, 0].round().long() - 1
        return turned, torch.where(marks < 0, UNLABELLED, marks)

    def _relight(self, images: torch.Tensor) -> torch.Tensor:
        gain = torch.exp(_normal(images, per_band=True) * 0.1)
        return images * gain + _normal(images) * 0.1

    def _recolor(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """By another sensor, on another day, stretched by another hand. Works on 0..1, the range of each window."""
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        span = (high - low).clamp(min=1e-6)
        unit = (images - low) / span
        if self.water is not None:
            unit = self._tint(unit, truth == self.water)
        plain = unit
        gray = unit.mean(1, keepdim=True)
        unit = gray + (unit - gray) * _uniform(images, 0.3, 1.8)
        gain = torch.exp(_normal(images, per_band=True) * 0.12 + _normal(images) * 0.12)
        unit = unit * gain + _normal(images, per_band=True) * 0.03 + _normal(images) * 0.05
        unit = unit.clamp(0, 1) ** torch.exp(_normal(images) * 0.3)
        middle = unit.mean((1, 2, 3), keepdim=True)
        unit = torch.where(_sometimes(images, 0.9), middle + (unit - middle) * _uniform(images, 0.65, 1.4), plain)
        thick = _uniform(images, 0.1, 0.45) * _sometimes(images, 0.15)
        unit = unit * (1 - thick) + thick * _uniform(images, 0.5, 0.9)
        soft = F.avg_pool2d(F.pad(unit, (1, 1, 1, 1), mode="reflect"), 3, 1)
        unit = torch.where(_sometimes(images, 0.2), soft, unit)
        grain = _uniform(images, 0.005, 0.04) * _sometimes(images, 0.3)
        unit = unit + torch.randn(images.shape).to(images.device) * grain
        return unit.clamp(0, 1) * span + low

    def _tint(self, unit: torch.Tensor, water: torch.Tensor) -> torch.Tensor:
        soft = F.avg_pool2d(water[:, None].float(), 7, 1, padding=3, count_include_pad=False)
        soft = soft * _uniform(unit, 0.3, 0.85) * _sometimes(unit, 0.5)
        side = unit.shape[-2:]
        cloudy = F.interpolate(torch.randn(len(unit), 1, 12, 12), side, mode="bicubic").to(unit.device)
        grain = torch.randn(len(unit), 1, *side).to(unit.device) * _uniform(unit, 0, 0.25)
        tone = torch.rand(*unit.shape[:2], 1, 1).to(unit.device) * _uniform(unit, 0.05, 0.6)
        return unit * (1 - soft) + tone * (1 + cloudy * _uniform(unit, 0, 0.25) + grain) * soft


# Drawn on the processor, so that a seed means the same on every device.
def _normal(images: torch.Tensor, *, per_band: bool = False) -> torch.Tensor:
    return torch.randn(len(images), images.shape[1] if per_band else 1, 1, 1).to(images.device)


def _uniform(images: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return (torch.rand(len(images), 1, 1, 1) * (high - low) + low).to(images.device)


def _sometimes(images: torch.Tensor, share: float) -> torch.Tensor:
    return (torch.rand(len(images), 1, 1, 1) < share).to(images.device)
