"""One run of Lightning, from the first step or from where a killed run stopped, to calibrated weights."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from geoseg.errors import OutputError
from geoseg.model import ModelSpec, read_spec
from geoseg.progress import Progress
from geoseg.training.course import PRECISIONS, Course
from geoseg.training.examine import Examination, examine
from geoseg.training.lesson import BaseLesson, Keeper, Lesson, Order, Windows
from geoseg.training.object_lesson import ObjectExamination, ObjectLesson, ObjectWindows, examine_objects
from geoseg.training.samples import Ground, Split
from geoseg.training.scores import Calibration, calibrate
from geoseg.training.starting import is_package, scale_head, start_network
from geoseg.training.vary import Variation

__all__ = ["Learned", "LearnedObjects", "learn"]

_MIN_BATCHES = 8
"""An epoch has at least so many: with few labels it would be over before anything is learned."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What a run gives."""

    network: torch.nn.Module
    """With the best weights, calibrated, on the processor."""
    history: list[dict[str, float]]
    """See `geoseg.training.train.TrainResult`."""
    examination: Examination
    """On the validation windows."""
    calibration: Calibration
    """The temperature, already part of the weights."""


@dataclass(frozen=True, eq=False)
class LearnedObjects:
    """What a run of Mask R-CNN gives."""

    network: torch.nn.Module
    """With the best weights, on the processor."""
    history: list[dict[str, float]]
    """See `geoseg.training.writing.ObjectTrainResult`."""
    examination: ObjectExamination
    """On the validation windows."""


def learn(
    spec: ModelSpec,
    ground: Ground,
    split: Split,
    course: Course,
    work: Path,
    *,
    start: str | Path | None,
    device: str,
    workers: int,
    progress: Progress,
) -> Learned | LearnedObjects:
    """Learn until the epochs or the minutes are over, or validation has stopped getting better.

    Parameters
    ----------
    spec, ground, split
        The network, and what it learns from.
    course
        How it is taught.
    work
        The folder with the state of this run.
    start, device, workers, progress
        See `geoseg.training.train.train`.
    """
    kind = ObjectWindows if course.objects == "maskrcnn" else Windows
    seen, kept = (kind(ground, windows, split.side_px, spec) for windows in (split.training, split.validation))
    batches = max(-(-len(seen) // course.batch), _MIN_BATCHES)
    order = Order(len(seen), batches * course.batch, course.seed)
    with torch.random.fork_rng(), _quietly():
        torch.manual_seed(course.seed)
        network = start_network(spec, None if start is None else str(start))
        lesson = _lesson(network, spec, ground, split, course, steps=batches * course.epochs, start=start)
        keeper = Keeper(work, progress, course.epochs, len(order) * split.side_px**2)
        loaders = (
            DataLoader(seen, batch_size=course.batch, sampler=order, num_workers=workers),
            DataLoader(kept, batch_size=course.batch, num_workers=workers),
        )
        _fit(lesson, keeper, loaders, course, device)
        network.load_state_dict(torch.load(keeper.best_weights, map_location="cpu", weights_only=True))
        if isinstance(kept, ObjectWindows):
            seen_objects = examine_objects(network, kept, batch=course.batch, device=device)
            return LearnedObjects(_at_rest(network), keeper.history, seen_objects)
        found = examine(network, kept, batch=course.batch, device=device)
    calibration = calibrate(found.logits, found.truth)
    network = _at_rest(network)
    scale_head(network, spec.architecture, 1 / calibration.temperature)
    return Learned(network, keeper.history, found, calibration)


def _lesson(
    network: torch.nn.Module,
    spec: ModelSpec,
    ground: Ground,
    split: Split,
    course: Course,
    *,
    steps: int,
    start: str | Path | None,
) -> BaseLesson:
    others: dict[str, Any] = {
        "rate": course.rate,
        "steps": steps,
        "seed": course.seed,
        "seconds": None if course.minutes is None else course.minutes * 60,
        "taught": is_package(start),
    }
    if course.objects == "maskrcnn":
        variation = Variation(course.vary, outside="zeros")
        return ObjectLesson(network, channels=len(ground.names), variation=variation, **others)
    weights = class_weights(split.training_px, course.balance)
    variation = Variation(course.vary, water=_water(ground.names))
    remember = is_package(start) and read_spec(str(start)).classes == spec.classes
    return Lesson(network, loss=course.loss, weights=weights, variation=variation, remember=remember, **others)


def _at_rest(network: torch.nn.Module) -> torch.nn.Module:
    """On the processor, laid out in memory as it is stored."""
    return network.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def class_weights(pixels: np.ndarray, power: float = 0.5) -> np.ndarray:
    """How much a pixel of each class counts: one over a power of its frequency, one on average over the pixels.

    >>> class_weights(np.array([100, 400, 0]))
    array([1.66666667, 0.83333333, 0. ])
    """
    there = pixels > 0
    weights = np.where(there, np.maximum(pixels, 1.0) ** -power, 0.0)
    return weights * pixels.sum() / (weights * pixels).sum()


def _water(names: Sequence[str]) -> int | None:
    """The channel of the class called water."""
    return next((i for i, name in enumerate(names) if name.casefold() == "water"), None)


def _fit(lesson: BaseLesson, keeper: Keeper, loaders: tuple[Any, Any], course: Course, device: str) -> None:
    kind, _, number = device.partition(":")
    trainer = lightning.Trainer(
        max_epochs=course.epochs,
        precision=PRECISIONS[course.precision],  # type: ignore[arg-type]
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(number)] if number and kind == "cuda" else 1,
        callbacks=[keeper],
        gradient_clip_val=2.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=-1 if lesson.taught else 0,  # -1: all windows, before the first step
        default_root_dir=keeper.folder,
    )
    resumed = keeper.last if keeper.last.is_file() else None
    if resumed is not None:
        state = _plain_state(resumed)
        if state["callbacks"][keeper.state_key]["finished"]:
            keeper.load_state_dict(state["callbacks"][keeper.state_key])
            return
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(lesson, *loaders, ckpt_path=resumed)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from stop
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def _plain_state(path: Path) -> dict[str, Any]:
    """A checkpoint, after making sure that it holds nothing but data."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise OutputError(
            f"The state of a broken-off run must be one that training wrote, but {path} cannot be read: {error}. "
            f"Remove {path.parent} to begin anew."
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Lightning tells about machines and loaders; errors pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
