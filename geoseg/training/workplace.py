"""Where a package is made: a folder beside it, which takes its name when all is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError
from geoseg.files import check_folder

__all__ = ["beside", "publish", "refuse", "same_run", "work_folder"]


def refuse(out: Path, overwrite: bool) -> None:
    """Make sure that nothing is replaced unasked, and nothing that training did not make."""
    if out.exists() and not overwrite:
        raise OutputError(f"The package must not be there, but {out} is. Choose another --out, or give --overwrite.")
    for folder, mark in ((out, "training.json"), (beside(out), "run-key.json")):
        if overwrite and folder.exists() and not (folder / mark).is_file():
            raise OutputError(
                f"--overwrite replaces only what training made, but {folder} is not. Choose another --out."
            )


def beside(out: Path) -> Path:
    """Where the work on a package is, until it is whole."""
    return out.with_name(out.name + ".partial")


def work_folder(out: Path, overwrite: bool) -> Path:
    """The folder beside a package; with `overwrite`, without what a broken-off run left."""
    if overwrite and beside(out).exists():
        shutil.rmtree(beside(out))
    return check_folder(beside(out), create=True)


def same_run(work: Path, decides: list[Any]) -> None:
    """Refuse to go on with a run that was begun with other data or options."""
    key = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    path = work / "run-key.json"
    if path.is_file() and json.loads(path.read_text()) != key:
        raise OutputError(
            f"A run that was broken off goes on with the same images, labels and options, but {work} is of another "
            "one. Give the same, choose another --out, or give --overwrite to begin anew."
        )
    path.write_text(json.dumps(key))


def publish(work: Path, out: Path) -> None:
    """Give the finished package its name; an older one goes only when the new one is whole."""
    old = work / "old"
    if out.exists():
        os.replace(out, old)
    os.replace(work / "package", out)
    shutil.rmtree(work)
