"""Progress that a person sees: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress", "make_progress"]

_LINE_EVERY_S = 10.0


class Progress:
    """What a run tells as it goes on; this one is silent."""

    def stage(self, name: str, total: int | None = None, unit: str = "px") -> None:
        """A stage begins; `total` is its work where it is known, in pixels or in another unit (``B``: bytes)."""

    def advance(self, pixels: int) -> None:
        """So many more pixels (or units) of the stage are finished."""


@contextmanager
def make_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """The progress that fits where the output goes: a bar on a terminal, lines in a log, nothing when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield Progress()
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console) as bar, _telling_of_compilation(console):
            yield _BarProgress(bar)
    else:
        progress = _LineProgress()
        with _telling_of_compilation(console):
            yield progress
        progress.end()


@contextmanager
def _telling_of_compilation(console: Console) -> Iterator[None]:
    """Say why nothing seems to go on when the vectoriser is compiled, as it is on its first use on a machine."""
    from numba.core import event

    told = False

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            nonlocal told
            if not told:
                told = True
                console.print("The vectoriser is compiled for this machine: once, half a minute or so.")

        def on_end(self, event: Any) -> None:
            """Nothing to say."""

    with event.install_listener("numba:compile", Listener()):
        yield


class _BarProgress(Progress):
    """A rich bar for each stage."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.task: TaskID | None = None
        self.since, self.done, self.unit = 0.0, 0, "px"

    def stage(self, name: str, total: int | None = None, unit: str = "px") -> None:
        if self.task is not None:
            known = self.bar.tasks[-1].total
            self.bar.update(self.task, total=known or 1, completed=known or 1)
            self.task = None
        if name != "done":
            self.task = self.bar.add_task(name, total=total, speed="")
            self.since, self.done, self.unit = time.perf_counter(), 0, unit

    def advance(self, pixels: int) -> None:
        self.done += pixels
        elapsed = max(time.perf_counter() - self.since, 1e-6)
        if self.task is None:
            return
        self.bar.update(self.task, advance=pixels, speed=f"{self.done / 1e6 / elapsed:.1f} M{self.unit}/s")


class _LineProgress(Progress):
    """A line when a stage ends, and one every ten seconds in between."""

    def __init__(self) -> None:
        self.name, self.total, self.done, self.unit = "", 0, 0, "px"
        self.since = self.told = time.perf_counter()

    def stage(self, name: str, total: int | None = None, unit: str = "px") -> None:
        self.end()
        self.unit = unit
        self.name, self.total, self.done = ("" if name == "done" else name), total or 0, 0
        self.since = self.told = time.perf_counter()

    def advance(self, pixels: int) -> None:
        self.done += pixels
        now = time.perf_counter()
        if now - self.told >= _LINE_EVERY_S and self.total:
            self.told = now
            rate = self.done / max(now - self.since, 1e-6)
            left = (self.total - self.done) / rate
            print(
                f"{self.name}: {self.done / self.total:.0%}, {rate / 1e6:.1f} M{self.unit}/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        """The last stage is over."""
        if self.name:
            seconds = time.perf_counter() - self.since
            print(f"{self.name}: done in {seconds:.1f} s", file=sys.stderr, flush=True)
            self.name = ""
