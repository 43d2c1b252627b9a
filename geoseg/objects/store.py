"""Parts on disk: one file a block, which is the checkpoint of a run and the hand-over between workers."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from geoseg.errors import BlockError
from geoseg.files import replacing
from geoseg.objects.parts import Parts

__all__ = ["load_parts", "save_parts"]


def save_parts(parts: Parts, path: Path) -> None:
    """Write the parts of a block; the file is there whole or not at all.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "block.npz"
    >>> save_parts(Parts.concatenate([]), path)
    >>> len(load_parts(path))
    0
    """
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **{field.name: getattr(parts, field.name) for field in fields(Parts)})


def load_parts(path: Path) -> Parts:
    """Read the parts of a block; raises `BlockError` where the file is damaged or gone."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Parts(**{field.name: file[field.name] for field in fields(Parts)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BlockError(
            f"The block {path} cannot be read ({error}). It is damaged or gone: remove it and run again."
        ) from error
