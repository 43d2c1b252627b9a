"""The lesson: a Lightning module of our own, what it sees, and what is kept of it so that a killed run goes on.

Everything random in step n depends on the seed and on n alone. So a run that was killed and taken up again makes the
same steps as one that was not.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from geoseg.errors import OutputError
from geoseg.model import ModelSpec
from geoseg.progress import Progress
from geoseg.training.labels import UNLABELLED
from geoseg.training.losses import divergence, loss_of
from geoseg.training.samples import Ground, Window
from geoseg.training.scores import confusion_of, mean_iou
from geoseg.training.vary import Variation

__all__ = ["BaseLesson", "Keeper", "Lesson", "Order", "Windows"]

_CACHE_BYTES = 1 << 30
_WARM_UP = 0.05
_PATIENCE = 12
_WEIGHT_DECAY = 0.01
_MEMORY = 0.999
"""At most so much of the average stays in a step."""


class Windows(Dataset):
    """Windows as tensors: scaled pixels (band, row, col; 0 where not valid) and channels (row, col; 255 = none)."""

    numbered = False
    """Whether objects are told apart; see `Ground.read`."""

    def __init__(self, ground: Ground, windows: tuple[Window, ...], side_px: int, spec: ModelSpec) -> None:
        self.ground, self.windows, self.side_px = ground, windows, side_px
        self.mean = np.array(spec.mean, np.float32)[:, None, None]
        self.std = np.array(spec.std, np.float32)[:, None, None]
        self._cache: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, valid, truth = self.pixels(index)
        scaled = (values.astype(np.float32) - self.mean) / self.std
        scaled[:, ~valid] = 0
        return torch.from_numpy(scaled), torch.from_numpy(truth)

    def pixels(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `Ground.read` gives, kept in memory as long as there is room."""
        if index in self._cache:
            return self._cache[index]
        sample = self.ground.read(self.windows[index], self.side_px, numbered=self.numbered)
        size = sum(part.nbytes for part in sample)
        if self._cached_bytes + size <= _CACHE_BYTES:
            self._cache[index], self._cached_bytes = sample, self._cached_bytes + size
        return sample


class Order(Sampler):
    """Each window once an epoch, in another order each time; some twice, to fill the last batch."""

    def __init__(self, count: int, length: int, seed: int) -> None:
        self.count, self.length, self.seed, self.epoch = count, length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rounds = [rng.permutation(self.count) for _ in range(-(-self.length // self.count))]
        yield from np.concatenate(rounds)[: self.length].tolist()


class BaseLesson(lightning.LightningModule):
    """A network that learns, and its running average, which is what is measured and kept.

    The average over the last steps (Polyak and Juditsky 1992) lies in a wider valley of the loss than any of them, and
    is better on what was not learned from. What the network is told to make small, and how it is measured, is for
    the classes below to say.
    """

    measure, measured = "miou", "mIoU"
    """What `score` is called in the history, and for people."""

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        rate: float,
        steps: int,
        seed: int,
        seconds: float | None = None,
        taught: bool = False,
        variation: Variation | None = None,
    ) -> None:
        super().__init__()
        # Processors compute twice as fast where the bands of a pixel lie beside each other.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.rate, self.vary = rate, variation or Variation()
        self.steps, self.seed, self.seconds, self.taught = steps, seed, seconds, taught
        self.losses: list[float] = []
        self.spent = 0.0

    def loss_of_batch(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of a batch as `Windows` gives it."""
        raise NotImplementedError

    def score(self) -> float:
        """How good the average was in the last validation, 0..1."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> BaseLesson:
        """As in torch, but a network that was taught before keeps its norms: few windows would spoil them."""
        super().train(mode)
        self.averaged.eval()
        for module in self.network.modules() if self.taught else ():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return self

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """The loss of one batch, changed at random."""
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)
        with torch.autocast(self.device.type, enabled=False):  # half precision holds no number of an object
            images, truth = self.vary(*batch)
        loss = self.loss_of_batch(images.contiguous(memory_format=torch.channels_last), truth)
        self.losses.append(float(loss.detach()))
        return loss

    def on_train_epoch_start(self) -> None:
        """After validation, and before the first step, Lightning restores every part's mode, not this one's choice."""
        self.train()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average; it begins with short memory, so that the first steps are soon forgotten."""
        memory = min(_MEMORY, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            pairs = zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True)
            for mean, value in pairs:
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - memory)
                else:
                    mean.copy_(value)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; its rate is set before each step."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=_WEIGHT_DECAY)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The rate rises at first, and falls along a cosine until the steps or the minutes are used up."""
        done = self.global_step / self.steps
        if self.seconds:
            done = max(done, self.spent / self.seconds)
        warm = min(1.0, (done + 1 / self.steps) / _WARM_UP)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))) + 1e-7


class Lesson(BaseLesson):
    """Learns which class each pixel has; measured by mean IoU. `others` are the arguments of `BaseLesson`.

    With `remember`, what the network said before it was taught stays true wherever nothing is labelled (Li and Hoiem
    2016, "Learning without forgetting"). Without it, thirty polygons, as many of each class, are learned by heart, and
    all the rest of the image becomes as many of each class.
    """

    def __init__(
        self, network: torch.nn.Module, *, loss: str, weights: np.ndarray, remember: bool = False, **others: Any
    ) -> None:
        super().__init__(network, **others)
        self.loss = loss
        self.before = copy.deepcopy(self.network).requires_grad_(False) if remember else None
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.confusion = np.zeros((len(weights), len(weights)), np.int64)

    def loss_of_batch(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """See `BaseLesson`."""
        logits = self.network(images).float()
        loss = loss_of(logits, truth, name=self.loss, weights=self.weights)  # type: ignore[arg-type]
        if self.before is None:
            return loss
        with torch.no_grad():
            old = self.before.eval()(images).float()
        return loss + divergence(logits, old, (truth == UNLABELLED) & (images.abs().sum(dim=1) > 0))

    def on_validation_epoch_start(self) -> None:
        """Nothing is counted yet."""
        self.confusion[:] = 0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Count what is right."""
        images, truth = batch
        guess = self.averaged(images.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
        self.confusion += confusion_of(truth.cpu().numpy(), guess.cpu().numpy(), len(self.confusion))

    def score(self) -> float:
        """Mean IoU."""
        return mean_iou(self.confusion)


class Keeper(lightning.Callback):
    """Keeps the best weights and the state after each epoch, stops in time, and tells how it goes."""

    def __init__(self, folder: Path, progress: Progress, epochs: int, epoch_px: int) -> None:
        self.folder, self.progress, self.epochs, self.epoch_px = folder, progress, epochs, epoch_px
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch, self.finished = -1.0, 0, False
        self._since = time.monotonic()

    @property
    def last(self) -> Path:
        """Where the state after the last whole epoch is."""
        return self.folder / "last.ckpt"

    @property
    def best_weights(self) -> Path:
        """Where the best weights so far are."""
        return self.folder / "best.pt"

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint, plain numbers only."""
        names = ("history", "best", "best_epoch", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        """How good a network that was taught before is, before the first step: it may stay the best."""
        self._keep(pl_module, epoch=0, loss=float("nan"))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The clock goes on where it stood."""
        pl_module.spent = self.history[-1]["seconds"] if self.history else 0.0
        self._since = time.monotonic() - pl_module.spent

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Say how far it is."""
        known = ""
        if self.history:
            known = f", {pl_module.measured} {self.history[-1][pl_module.measure]:.3f}, best {self.best:.3f}"
        self.progress.stage(f"epoch {trainer.current_epoch + 1} of {self.epochs}{known}", self.epoch_px)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop when the minutes are used up."""
        pl_module.spent = time.monotonic() - self._since
        self.progress.advance(batch[1].numel())
        if pl_module.seconds and pl_module.spent >= pl_module.seconds:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights if they are the best, then the state."""
        epoch = trainer.current_epoch + 1
        loss = float(np.mean(pl_module.losses))
        pl_module.losses.clear()
        self._keep(pl_module, epoch=epoch, loss=loss)
        if epoch - self.best_epoch >= _PATIENCE:
            trainer.should_stop = True
        self.finished = trainer.should_stop or epoch >= self.epochs
        beside = self.last.with_suffix(".part")
        try:
            trainer.save_checkpoint(beside)
            os.replace(beside, self.last)
        except OSError as error:
            raise OutputError(f"Cannot write {self.last}: {error}. Free some space, or choose another disk.") from error

    def _keep(self, lesson: BaseLesson, *, epoch: int, loss: float) -> None:
        score = lesson.score()
        self.history.append({"epoch": epoch, "loss": loss, lesson.measure: score, "seconds": lesson.spent})
        # As long as nothing is right at all, what has learned longest is the best.
        if score > self.best or score == 0 == self.best:
            self.best, self.best_epoch = score, epoch
            _save(lesson.averaged.state_dict(), self.best_weights)


def _save(state: dict[str, torch.Tensor], path: Path) -> None:
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    os.replace(beside, path)
