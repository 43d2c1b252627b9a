"""Strips that wait for their last pixels, in memory or, when they are many, in a file that has no name."""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import dataclass
from typing import IO

import numpy as np

from geoseg.errors import OutputError

__all__ = ["Pending", "StripRows"]

StripRows = tuple[int, np.ndarray, np.ndarray | None]
"""A strip's first row, its values (row, col) and its confidence or None."""


@dataclass
class _Spilled:
    """A strip's arrays in a file that several strips share; it vanishes with the last of them."""

    file: IO[bytes]
    offset: int
    strip: tuple[int, int, int, np.dtype, bool]  # row0, rows, columns, type of the values, with confidence

    def load(self) -> StripRows:
        row0, rows, columns, dtype, with_confidence = self.strip
        self.file.seek(self.offset)
        values = np.fromfile(self.file, dtype, rows * columns).reshape(rows, columns)
        if not with_confidence:
            return row0, values, None
        return row0, values, np.fromfile(self.file, np.uint8, rows * columns).reshape(rows, columns)


class Pending:
    """A queue of strips, of which at most ``limit_bytes`` are held in memory."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._strips: deque[tuple[int, StripRows | _Spilled]] = deque()
        self._held_bytes = 0

    def add(self, strip: StripRows) -> None:
        """Put a strip at the end; if memory is full, all strips go to a file."""
        self._strips.append((strip[0] + len(strip[1]), strip))
        self._held_bytes += _size(strip)
        if self._held_bytes > self.limit_bytes:
            self._spill()

    def pop(self, end: int) -> StripRows | None:
        """Take the first strip if all its rows are above row ``end``."""
        if not self._strips or self._strips[0][0] > end:
            return None
        strip = self._strips.popleft()[1]
        if isinstance(strip, _Spilled):
            return strip.load()
        self._held_bytes -= _size(strip)
        return strip

    def _spill(self) -> None:
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115
            for k, (end, strip) in enumerate(self._strips):
                if isinstance(strip, _Spilled):
                    continue
                row0, values, confidence = strip
                kept = _Spilled(file, file.tell(), (row0, *values.shape, values.dtype, confidence is not None))  # type: ignore[arg-type]
                for array in (values, confidence):
                    if array is not None:
                        file.write(np.ascontiguousarray(array).data)
                self._strips[k] = end, kept
            file.flush()
        except OSError as error:
            raise OutputError(
                f"Rows that wait to be sieved need room in {tempfile.gettempdir()}, but: {error}. Free some, set TMPDIR"
                " to a folder that has more, or give a smaller --min-area."
            ) from error
        self._held_bytes = 0


def _size(strip: StripRows) -> int:
    return strip[1].nbytes + (0 if strip[2] is None else strip[2].nbytes)
