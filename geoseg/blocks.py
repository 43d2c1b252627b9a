"""Run one function over blocks: on threads of this process or on a Dask cluster, with retries, progress and resume.
Or over the items of any stream, whose results come back in order.

This is the only room that knows Dask's schedulers. A block is one task; the graph stays small.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import dask
import psutil

from geoseg.errors import BlockError, GeosegError, OptionError, OutputError
from geoseg.tiling import Block

__all__ = ["BlockStore", "Each", "check_memory", "map_in_order", "run_blocks"]

T = TypeVar("T")
R = TypeVar("R")

Report = Callable[[int], None]
"""Called by a task with the number of pixels that it has finished since the last call."""
Task = Callable[[Block, Report], Any]


class Each(Protocol):
    """Runs a function for every block of a scene, on threads or on a cluster; results come in the order of blocks."""

    def __call__(self, function: Callable[[Block], R], /) -> Iterator[R]:
        """For a cluster the function must be picklable: a partial of one at the top of a module, say."""


def run_blocks(
    task: Task,
    blocks: Sequence[Block],
    *,
    workers: int = 1,
    cluster: str | None = None,
    retries: int = 1,
    on_pixels: Report | None = None,
) -> None:
    """Run ``task(block, report)`` for every block; the tasks leave their results on disk.

    Parameters
    ----------
    task
        A function of a block; it must be picklable for a cluster.
    workers
        Threads of this process that each run one block at a time; not used on a cluster.
    cluster
        Address of a Dask scheduler (``tcp://...``). Without it an active `dask.distributed.Client` is used, and
        without that, threads.
    retries
        How often a block that fails is tried again, before the run stops.
    on_pixels
        Progress: called with the number of pixels finished. On threads, an exception from it stops every task.

    Raises
    ------
    BlockError
        A block failed after its retries. Blocks that were finished before stay finished.
    OptionError
        The cluster does not answer, or `workers` is below one.

    Examples
    --------
    >>> done = []
    >>> run_blocks(lambda block, report: done.append(block.name), [Block(0, 0, (0, 9), (0, 9))])
    >>> done
    ['r0000_c0000']
    """
    if workers < 1:
        raise OptionError(f"There must be at least one worker, but workers={workers}. Change --workers.")
    client = _client(cluster)
    try:
        if client is None:
            _run_on_threads(task, blocks, workers, retries, on_pixels or _ignore)
        else:
            _run_on_cluster(client, task, blocks, retries, on_pixels or _ignore)
    finally:
        if client is not None and cluster is not None:
            client.close()


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], *, threads: int = 1, cluster: str | None = None
) -> Iterator[R]:
    """``map(function, items)``, ahead of what is asked for: results in order, and few of them in memory.

    Parameters
    ----------
    function
        A pure function of an item; for a cluster both must be picklable, and the result too.
    items
        Taken by the thread that asks for results, one at a time.
    threads
        Threads of this process that work on one item each; 1 = none, each result is made when it is asked for. Not
        used on a cluster.
    cluster
        As in `run_blocks`: an address, else an active client, else threads.

    Yields
    ------
    R
        The result of each item. While one is used, at most as many more are made or wait as there are threads (of all
        workers, on a cluster). When the generator is closed, or `function` raises (which is raised here in the item's
        place), items that wait are dropped.

    Raises
    ------
    OptionError
        The cluster does not answer, or `threads` is below one.

    Examples
    --------
    >>> list(map_in_order(abs, [-1, 2, -3], threads=2))
    [1, 2, 3]
    >>> list(map_in_order(abs, []))
    []
    """
    if threads < 1:
        raise OptionError(f"There must be at least one thread, but threads={threads}. Give 1 or more.")
    client = _client(cluster)
    try:
        if client is not None:
            workers = sum(client.nthreads().values())
            # Sent once, and not with every item: it may hold what is known of a million objects.
            there = client.scatter([function], broadcast=True, hash=False)[0]
            yield from _in_order(lambda item: client.submit(_call, there, item, pure=False), items, max(workers, 1))
        elif threads > 1:
            with ThreadPoolExecutor(threads, thread_name_prefix="geoseg") as pool:
                yield from _in_order(lambda item: pool.submit(function, item), items, threads)
        else:
            yield from map(function, items)
    finally:
        if client is not None and cluster is not None:
            client.close()


def _call(function: Callable[[T], R], item: T) -> R:
    return function(item)


def _in_order(submit: Callable[[T], Any], items: Iterable[T], ahead: int) -> Iterator[Any]:
    futures: deque[Any] = deque()
    try:
        for item in items:
            futures.append(submit(item))
            if len(futures) > ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def _run_on_threads(task: Task, blocks: Sequence[Block], workers: int, retries: int, on_pixels: Report) -> None:
    lock, stop = threading.Lock(), threading.Event()

    def report(pixels: int) -> None:
        # Ctrl-C, or the failure of another block, ends a running block at its next strip and not at its last.
        if stop.is_set():
            raise _StoppedError
        with lock:
            on_pixels(pixels)

    def attempt(block: Block) -> None:
        for trial in range(retries + 1):
            try:
                return _run_one(task, block, report)
            except BlockError:
                if trial == retries or stop.is_set():
                    stop.set()
                    raise

    tasks = [dask.delayed(attempt, pure=False)(block) for block in blocks]
    try:
        dask.compute(*tasks, scheduler="threads", num_workers=workers)
    except BaseException:
        stop.set()
        raise


def _run_on_cluster(client: Any, task: Task, blocks: Sequence[Block], retries: int, on_pixels: Report) -> None:
    from distributed import as_completed

    futures = client.map(_run_remote, [task] * len(blocks), blocks, retries=retries, pure=False)
    by_key = {future.key: block for future, block in zip(futures, blocks, strict=True)}
    try:
        for future in as_completed(futures, loop=client.loop):
            block = by_key[future.key]
            if future.status != "finished":
                error = future.exception()
                raise error if isinstance(error, GeosegError) else _failure(block, error) from error
            on_pixels(block.pixels)
    finally:
        client.cancel(futures)


def _run_remote(task: Task, block: Block) -> None:
    _run_one(task, block, _ignore)


def _run_one(task: Task, block: Block, report: Report) -> None:
    try:
        task(block, report)
    except (KeyboardInterrupt, BlockError, _StoppedError):
        raise
    except Exception as error:
        raise _failure(block, error) from error


def _failure(block: Block, error: BaseException | None) -> BlockError:
    rows, cols = block.rows, block.cols
    return BlockError(
        f"Every block must be computed, but block {block.name} (rows {rows[0]}..{rows[1]}, columns "
        f"{cols[0]}..{cols[1]}) failed: {type(error).__name__}: {error} Finished blocks are kept: mend the cause "
        "and run the same command again."
    )


def _ignore(pixels: int) -> None:
    """Progress that nobody looks at."""


class _StoppedError(Exception):
    """Ends a running block because the run is being stopped."""


def _client(cluster: str | None) -> Any:
    if cluster is not None:
        from distributed import Client

        try:
            return Client(cluster, timeout="10s", set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise OptionError(
                f"--cluster must be the address of a running Dask scheduler, but {cluster!r} does not answer: {error}. "
                "Start one with `dask scheduler` and `dask worker`, or leave --cluster out."
            ) from error
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:  # how distributed says that there is none
        return None


def check_memory(needed_bytes: int, *, what: str, remedy: str, available_bytes: int | None = None) -> None:
    """Refuse work that cannot fit into memory, before it starts.

    >>> check_memory(10, what="a block", remedy="Lower --block.", available_bytes=100)
    """
    available = psutil.virtual_memory().available if available_bytes is None else available_bytes
    if needed_bytes > available:
        raise BlockError(
            f"{what} must fit into memory: it needs about {needed_bytes / 1e9:.2f} GB, and "
            f"{available / 1e9:.2f} GB are free. {remedy}"
        )


@dataclass(frozen=True)
class BlockStore:
    """Where finished blocks lie: a folder with one file a block, and the key of the run they belong to."""

    folder: Path
    """Made by `open` when it is not there."""
    key: str
    """What decides the blocks' content: inputs, model and options in one hash."""
    suffix: str = ".tif"
    """How the files' names end."""

    def open(self) -> None:
        """Make the folder, or take up the one that a broken-off run left.

        Raises
        ------
        OutputError
            The folder belongs to a run with other inputs or options, or cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            note = self.folder / "run-key.json"
            if note.is_file():
                found = json.loads(note.read_text()).get("key")
                if found != self.key:
                    raise OutputError(
                        f"{self.folder.parent} holds a broken-off run with another input, model or options. Run "
                        "that one again to finish it, or give --overwrite to discard it."
                    )
            else:
                beside = note.with_suffix(".tmp")
                beside.write_text(json.dumps({"key": self.key}))
                beside.replace(note)
        except OSError as error:
            raise OutputError(
                f"The output folder must be writable, but {self.folder} is not: {error.strerror or error}. "
                "Choose another --out."
            ) from error

    def path(self, block: Block) -> Path:
        """The file of a block."""
        return self.folder / f"{block.name}{self.suffix}"

    def missing(self, blocks: Sequence[Block]) -> list[Block]:
        """The blocks that still have to be computed; a file appears only when it is whole."""
        return [block for block in blocks if not self.path(block).is_file()]
