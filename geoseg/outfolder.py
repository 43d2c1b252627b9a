"""The output folder of a run, made beside as ``<out>.partial`` and named when all is there; the clock of its stages."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geoseg import __version__, export
from geoseg.allocator import release_memory
from geoseg.errors import OptionError, OutputError
from geoseg.files import check_folder, remove_leftovers
from geoseg.progress import Progress

__all__ = ["Clock", "check_formats", "check_overwrite", "prepare_folders", "publish", "run_key", "whole_folder"]


def check_formats(formats: Sequence[str], *, objects: bool = False) -> tuple[str, ...]:
    """The formats of polygons, each once and without a dot; raises `OptionError` where one is unknown.

    Polygons of objects may be written as ``fiboa``, too.

    >>> check_formats([".GPKG", "fgb", "gpkg"])
    ('gpkg', 'fgb')
    """
    wanted = tuple(dict.fromkeys(str(suffix).lower().lstrip(".") for suffix in formats))
    known = [suffix.lstrip(".") for suffix in export.FORMATS] + ["fiboa"] * objects
    if "fiboa" in wanted and not objects:
        raise OptionError(
            "fiboa is for fields, each one object, but this map is one of classes. Choose that of fields, --objects "
            "field; or leave fiboa out: geoseg vectorize classes.tif --classes field --out fields.fiboa.parquet."
        )
    unknown = [suffix for suffix in wanted if suffix not in known]
    if unknown or not wanted:
        raise OptionError(
            f"The polygon formats are {', '.join(known)}, but --format is {', '.join(wanted) or 'empty'}."
        )
    return wanted


def check_overwrite(out: Path, overwrite: bool) -> None:
    """Make sure that nothing is replaced unasked."""
    if out.exists() and not overwrite:
        raise OutputError(
            f"The output folder must not be there, but {out} is. Choose another --out, or give --overwrite."
        )
    if out.exists() and not out.is_dir():
        raise OutputError(f"The output must be a folder, but {out} is a file. Choose another --out.")


def prepare_folders(out: Path, overwrite: bool) -> tuple[Path, Path]:
    """The output folder and the one beside it to work in, after making sure that both may be used."""
    final, work = out, out.with_name(out.name + ".partial")
    # Only what geoseg made is ever removed: a mistyped --out must not cost a folder of somebody's work.
    for folder, mark in ((final, "run.json"), (work, "blocks/run-key.json")):
        if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
            raise OutputError(
                f"--overwrite replaces only what geoseg made, but {folder} has no {mark}. Choose another --out, or "
                "move that folder away."
            )
    if overwrite and work.exists():
        shutil.rmtree(work)
    check_folder(work, create=True)
    remove_leftovers(work)
    return final, work


def publish(work: Path, final: Path, *, without: Sequence[str]) -> None:
    """Give the finished folder its name, without some of what is in it; an older one is removed only when the new one
    has taken its place."""
    for name in without:
        path = work / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not final.exists():
        work.replace(final)
        return
    with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as beside:
        old = final.replace(Path(beside) / "old")
        try:
            work.replace(final)
        except OSError:
            old.replace(final)
            raise


@contextmanager
def whole_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write to, that takes the place of `out` when the block ends well; otherwise nothing is left.

    For what cannot be taken up again. With `overwrite`, a folder is replaced only if geoseg made it: it has a run.json.

    Raises
    ------
    OutputError
        `out` is there already, or is no folder of geoseg's, or cannot be written.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp()) / "out"
    >>> with whole_folder(folder, overwrite=False) as work:
    ...     _ = (work / "run.json").write_text("{}")
    ...     folder.exists()
    False
    >>> [file.name for file in folder.iterdir()]
    ['run.json']
    """
    check_overwrite(out, overwrite)
    if out.is_dir() and any(out.iterdir()) and not (out / "run.json").is_file():
        raise OutputError(
            f"--overwrite replaces only what geoseg made, but {out} has no run.json. Choose another --out, or move "
            "that folder away."
        )
    check_folder(out.absolute().parent, create=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=out.absolute().parent) as beside:
        work = Path(beside) / out.name
        work.mkdir()
        yield work
        publish(work, out, without=())


def run_key(plan: Any) -> str:
    """A hash of all that decides the blocks' content, so that only the same run is taken up again."""
    tiling = plan.tiling
    decides = {
        "geoseg": __version__,
        "scene": plan.scene.fingerprint(),
        "model": plan.model.spec.sha256,
        "spec": plan.model.spec.to_item(),
        "lattice": [tiling.tile_px, tiling.overlap_px, tiling.margin_px, tiling.block_px],
        "value_range": plan.value_range,
        "precision": getattr(plan.model, "precision", "32"),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


class Clock:
    """Wall time of the stages, told to the progress as they begin."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self._name, self._since = "", time.perf_counter()

    def stage(self, name: str, total: int | None = None) -> None:
        """The stage before is over, this one begins; `total` pixels are to be done."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 3)
        release_memory()
        self._name, self._since = name, now
        self.progress.stage(name, total)
