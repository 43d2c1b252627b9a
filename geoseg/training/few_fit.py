"""Fitting on arrays: a regularised head, its spatial cross-validation, and a confidence that means what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from geoseg.errors import OptionError
from geoseg.training.few_folds import ALWAYS

__all__ = ["Estimate", "Head", "Pixels", "calibration_error", "cross_validate", "fit_head", "fit_temperature"]

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Regularisation strengths that are tried, from the strongest on, until two were worse than the best before them."""
_PATIENCE = 2
_STEPS = 200
_BINS = 10
_TEMPERATURES = (0.2, 20.0)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Labelled pixels: what is known of each, and where it comes from."""

    features: np.ndarray
    """(pixel, feature) float32."""
    polygon: np.ndarray
    """(pixel,) int64: which polygon."""
    classes: np.ndarray
    """(polygon,) int64: the class of each polygon, 0..count-1."""
    count: int
    """Number of classes."""

    @property
    def target(self) -> np.ndarray:
        """(pixel,) int64: the class of each pixel."""
        return self.classes[self.polygon]

    def weights(self, chosen: np.ndarray) -> np.ndarray:
        """(pixel,) float64, summing to one over the chosen pixels (a bool for each), 0 elsewhere.

        Every class that is there weighs the same, and within a class every polygon, however large it is.
        """
        pixels = np.bincount(self.polygon[chosen], minlength=len(self.classes))
        polygons = np.bincount(self.classes[pixels > 0], minlength=self.count)
        each = np.zeros(len(self.classes))
        there = pixels > 0
        each[there] = 1 / (pixels[there] * polygons[self.classes[there]] * (polygons > 0).sum())
        return np.where(chosen, each[self.polygon], 0.0)


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head: features → standardised → kept within what was seen → layers → logits."""

    center: np.ndarray
    """(feature,) float64, subtracted from the features."""
    spread: np.ndarray
    """(feature,) float64, what they are divided by then."""
    low: np.ndarray
    """(feature,) float64, the lowest standardised value that was learnt from; lower ones are raised to it."""
    high: np.ndarray
    """(feature,) float64, the highest one; higher ones are lowered to it."""
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weights (out, in) and biases (out,) of each layer, with a ReLU between two."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(pixel, class) float64."""
        values = np.clip((features - self.center) / self.spread, self.low, self.high)
        for number, (weight, bias) in enumerate(self.layers):
            values = np.maximum(values, 0) if number else values
            values = values @ weight.T + bias
        return values

    def cooled(self, temperature: float) -> Head:
        """The head whose logits are divided by this."""
        *inner, (weight, bias) = self.layers
        return replace(self, layers=(*inner, (weight / temperature, bias / temperature)))


def fit_head(
    features: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    *,
    classes: int,
    strength: float,
    hidden: int = 0,
    seed: int = 0,
) -> Head:
    """Fit a multinomial logistic regression, or a network with one hidden layer, by L-BFGS.

    Parameters
    ----------
    features, target, weights
        (pixel, feature), (pixel,) classes 0..classes-1, (pixel,) not negative, summing to one.
    classes
        How many classes there are; one without pixels gets a low score everywhere.
    strength
        L2 regularisation: half of this times the squared weights (not the biases) is added to the mean log loss.
    hidden
        Units of the hidden layer; 0 for none.
    seed
        Of the first weights where there is a hidden layer; without one there is a single optimum.

    Examples
    --------
    >>> head = fit_head(np.array([[0.0], [1], [2], [3]]), np.array([0, 0, 1, 1]), np.full(4, 0.25), classes=2,
    ...                 strength=1e-3)
    >>> head.logits(np.array([[0.9], [2.1]])).argmax(axis=1)
    array([0, 1])
    """
    used = weights > 0
    weight = weights[used] / weights[used].sum()
    values = features[used].astype(np.float64)
    center = weight @ values
    spread = np.sqrt(weight @ (values - center) ** 2)
    spread = np.where(spread > 1e-6 * (np.abs(center) + 1e-6), spread, 1.0)  # a constant feature tells nothing
    generator = torch.Generator().manual_seed(seed)
    sides = [values.shape[1], *([hidden] if hidden else []), classes]
    layers = []
    for inputs, outputs in pairwise(sides):
        start = torch.randn(outputs, inputs, dtype=torch.float64, generator=generator) / inputs**0.5
        matrix = start if hidden else torch.zeros_like(start)
        layers.append((matrix.requires_grad_(), torch.zeros(outputs, dtype=torch.float64, requires_grad=True)))
    standard = (values - center) / spread
    given = torch.from_numpy(standard)
    truth, share = torch.from_numpy(target[used].astype(np.int64)), torch.from_numpy(weight)

    def loss() -> torch.Tensor:
        out = given
        for number, (matrix, bias) in enumerate(layers):
            out = (out.relu() if number else out) @ matrix.T + bias
        entropy = share @ torch.nn.functional.cross_entropy(out, truth, reduction="none")
        # A hair on the biases: they have no finite optimum for a class without pixels.
        biases = sum((bias**2).sum() for _, bias in layers)
        return entropy + 0.5 * strength * sum((m**2).sum() for m, _ in layers) + 1e-8 * biases

    with _one_thread():
        _minimise(loss, [tensor for layer in layers for tensor in layer])
    fitted = tuple((matrix.detach().numpy(), bias.detach().numpy()) for matrix, bias in layers)
    return Head(center, spread, standard.min(axis=0), standard.max(axis=0), fitted)


def _minimise(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-9
    )

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(step)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Sums split over threads may add up in another order: one thread gives the same weights on any number of cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What spatial cross-validation says of a head."""

    strength: float
    """The regularisation with the lowest log loss on polygons held back."""
    losses: dict[float, float]
    """Log loss of each strength that was tried."""
    temperature: float
    """What logits are divided by to make confidence true."""
    calibration_before: float
    """Expected calibration error without the temperature, 0–1; classes and polygons weigh the same."""
    calibration_after: float
    """The same with it."""
    confusion: np.ndarray
    """(class, class) int64 pixels: rows are what was labelled, columns what was mapped."""
    folds: int
    """How many folds."""
    tested: np.ndarray
    """(class,) int64: polygons that were tested. A class with 0 has no estimate."""
    right: np.ndarray
    """(class,) int64: polygons of which most pixels got their class."""

    @property
    def overall(self) -> float:
        """Share of the tested pixels that got their class."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def f1(self) -> np.ndarray:
        """(class,) F1; NaN for a class that was not tested."""
        return self._ratio(2 * np.diag(self.confusion), self._labelled + self._mapped)

    @property
    def iou(self) -> np.ndarray:
        """(class,) intersection over union; NaN for a class that was not tested."""
        hits = np.diag(self.confusion)
        return self._ratio(hits, self._labelled + self._mapped - hits)

    @property
    def recall(self) -> np.ndarray:
        """(class,) share of the labelled pixels that were found; NaN for a class that was not tested."""
        return self._ratio(np.diag(self.confusion), self._labelled)

    @property
    def _labelled(self) -> np.ndarray:
        return self.confusion.sum(axis=1)

    @property
    def _mapped(self) -> np.ndarray:
        return self.confusion.sum(axis=0)

    def _ratio(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return np.where(self.tested > 0, above / np.maximum(below, 1), np.nan)


def cross_validate(pixels: Pixels, fold: np.ndarray, *, hidden: int = 0, seed: int = 0) -> Estimate | None:
    """Choose the regularisation by polygons held back, and say how good the head is on them.

    Parameters
    ----------
    pixels
        Labelled pixels.
    fold
        (polygon,) from `spatial_folds`.
    hidden, seed
        See `fit_head`.

    Returns
    -------
    Estimate or None
        None where fewer than two classes can be tested.
    """
    where = fold[pixels.polygon]
    tested = where != ALWAYS
    classes = np.bincount(pixels.classes[np.unique(pixels.polygon[tested])], minlength=pixels.count)
    if (classes > 0).sum() < 2:
        return None
    shares, target = pixels.weights(tested), pixels.target
    losses: dict[float, float] = {}
    best: tuple[float, float, np.ndarray] | None = None
    worse = 0
    for strength in STRENGTHS:
        logits = np.zeros((len(target), pixels.count))
        for number in np.unique(where[tested]):
            held = where == number
            head = fit_head(
                pixels.features,
                target,
                pixels.weights(~held),
                classes=pixels.count,
                strength=strength,
                hidden=hidden,
                seed=seed,
            )
            logits[held] = head.logits(pixels.features[held])
        losses[strength] = float(shares @ _log_losses(logits, target))
        if best is None or losses[strength] < best[0]:  # of equal ones the stronger: it came first
            best, worse = (losses[strength], strength, logits), 0
        elif (worse := worse + 1) == _PATIENCE:
            break
    assert best is not None
    _, strength, logits = best
    temperature = fit_temperature(logits[tested], target[tested], shares[tested])
    mapped = logits.argmax(axis=1)
    confusion = np.zeros((pixels.count, pixels.count), np.int64)
    np.add.at(confusion, (target[tested], mapped[tested]), 1)
    hits = np.bincount(pixels.polygon[tested], (mapped == target)[tested], minlength=len(pixels.classes))
    sizes = np.bincount(pixels.polygon[tested], minlength=len(pixels.classes))
    right = np.bincount(pixels.classes[2 * hits > sizes], minlength=pixels.count)
    before, after = (calibration_error(logits[tested] / t, target[tested], shares[tested]) for t in (1.0, temperature))
    return Estimate(
        strength,
        losses,
        temperature,
        before,
        after,
        confusion,
        len(np.unique(where[tested])),
        classes,
        right.astype(np.int64),
    )


def fit_temperature(logits: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """The temperature between 0.2 and 20 with the lowest log loss, by golden section: the loss has one valley.

    >>> logits = np.log(np.array([[0.75, 0.25]] * 4))
    >>> round(fit_temperature(3 * logits, np.array([0, 0, 0, 1]), np.full(4, 0.25)), 3)
    3.0
    """
    low, high = np.log(_TEMPERATURES)
    golden = (5**0.5 - 1) / 2

    def loss(place: float) -> float:
        return float(weights @ _log_losses(logits / np.exp(place), target))

    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def calibration_error(logits: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error: how far confidence is from accuracy, on average over ten bins of confidence.

    >>> logits = np.log(np.array([[0.75, 0.25]] * 4))
    >>> round(calibration_error(logits, np.array([0, 0, 0, 1]), np.full(4, 0.25)), 6)
    0.0
    """
    probabilities = np.exp(_log_shares(logits))
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (confidence - hit), minlength=_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _log_shares(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _log_losses(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    return -_log_shares(logits)[np.arange(len(target)), target]


def check_options(hidden: int, folds: int, pixels: int) -> None:
    """Refuse sizes that cannot be."""
    for name, value, least in (("hidden", hidden, 0), ("folds", folds, 2), ("pixels", pixels, 100)):
        if value < least:
            raise OptionError(f"Fitting needs {name} of at least {least}, but {name}={value}. Give more.")
