"""How tiles go through a network, whatever runs it: one thread a tile on a processor, fixed batches on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from geoseg.model import Key

__all__ = ["predict_in_batches", "predict_on_threads"]

Forward = Callable[[np.ndarray, np.ndarray], Any]
"""From tiles (tile, band, row, col) and their validity (tile, row, col) to probabilities (tile, class, row, col)."""


def predict_on_threads(
    tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]],
    forward: Forward,
    threads: int,
    *,
    prepare: Callable[[], None] | None = None,
) -> Iterator[tuple[Key, np.ndarray, Any]]:
    """Predict each tile by one thread, several at a time, and give them in their order.

    `prepare` runs once in each thread: there a framework is told not to use more threads itself.

    >>> one = np.ones((1, 2, 2)), np.ones((2, 2), bool)
    >>> [key for key, valid, out in predict_on_threads([("a", *one), ("b", *one)], lambda x, v: x, 2)]
    ['a', 'b']
    """
    waiting: deque[tuple[Key, np.ndarray, Future[Any]]] = deque()
    pool = ThreadPoolExecutor(threads, "geoseg-predict", initializer=prepare)
    try:
        for key, pixels, valid in tiles:
            waiting.append((key, valid, pool.submit(forward, pixels[None], valid[None])))
            # One tile more than threads: a thread that is done finds its next tile while this one is blended.
            if len(waiting) > threads:
                done, mask, future = waiting.popleft()
                yield done, mask, future.result()[0]
        while waiting:
            done, mask, future = waiting.popleft()
            yield done, mask, future.result()[0]
    finally:
        pool.shutdown(cancel_futures=True)


def predict_in_batches(
    tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]], forward: Forward, batch: int
) -> Iterator[tuple[Key, np.ndarray, Any]]:
    """Predict tiles in batches of one size: another size may choose another algorithm, so a short one is filled up."""
    stream = iter(tiles)
    while some := list(islice(stream, batch)):
        fill = [some[0]] * (batch - len(some))
        pixels = np.stack([pixels for _, pixels, _ in some + fill])
        valid = np.stack([valid for _, _, valid in some + fill])
        probabilities = forward(pixels, valid)
        for index, (key, _, tile_valid) in enumerate(some):
            yield key, tile_valid, probabilities[index]
