"""Write beside, then rename: an output is there whole or not at all.

Everything is written inside a folder of its own that stands beside the target (``.name.xxxx.part/``), under
the target's real name. So drivers see the right suffix and layer name, the files that they put beside a file
(``.aux.xml``, ``.dbf``, ``-journal``) travel with it, and after a failure one folder is removed and nothing
is left.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import GeosegError, OutputError

__all__ = ["check_folder", "remove_leftovers", "replacing"]

_REMEDIES = {
    errno.EACCES: "Choose a folder that you may write to",
    errno.EPERM: "Choose a folder that you may write to",
    errno.EROFS: "The disk is read-only: choose another one",
    errno.ENOSPC: "Free some space, or choose another disk",
    errno.EDQUOT: "Your quota is used up: free some space, or choose another disk",
    errno.EFBIG: "The disk or a limit of the system does not allow a file of this size: choose another disk",
    errno.ENOENT: "Create the folder first",
    errno.ENOTDIR: "A part of the path is a file: choose another folder",
    errno.EISDIR: "A folder of this name is in the way: move it, or choose another name",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EIO: "The disk reports a fault: check it, or choose another disk",
}

_FULL_BYTES = 1 << 20
"""A disk with less room than this is called full when a driver fails without saying why."""

_BESIDE_FILE = (".aux.xml", ".ovr", ".msk", "-wal", "-shm", "-journal")
_BESIDE_SHP = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qpj")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, that takes the place of `path` when the block ends well.

    Files that the writer puts beside the given path move with it; those of an older file of the same name
    that the new one does not have are removed, for they would describe another file. When the block
    fails, whatever was there before is untouched and nothing new is left.

    Parameters
    ----------
    path
        The target. Its folder must be there.

    Yields
    ------
    Path
        A file of the same name (nothing is there yet) in a new folder on the same disk.

    Raises
    ------
    OutputError
        The target cannot be written: permission, no space, no such folder, a folder of that name. Every
        other error of the block passes through as it is.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "areas.csv") as beside:
    ...     _ = beside.write_text("class,area_m2\\n")
    ...     (folder / "areas.csv").exists()
    False
    >>> [item.name for item in folder.iterdir()]
    ['areas.csv']
    """
    target = Path(path)
    if target.is_dir():
        raise _output_error(target, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    try:
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise _output_error(target, error) from error
    try:
        try:
            yield room / target.name
        except GeosegError:
            raise
        except Exception as error:
            if _is_ours(error, room):
                raise _output_error(target, error) from error
            raise
        try:
            _move(room, target)
        except OSError as error:
            raise _output_error(target, error) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def check_folder(path: str | os.PathLike[str], *, create: bool = False, needed_bytes: int = 0) -> Path:
    """The folder as a `Path`, after making sure that it can be written to.

    Parameters
    ----------
    path
        A folder.
    create
        Make the folder, and those above it, where it is missing.
    needed_bytes
        Room that the outputs will take.

    Raises
    ------
    OutputError
        The folder is missing, is a file, may not be written to, or its disk has too little room.

    Examples
    --------
    >>> check_folder("/no/such/folder")
    Traceback (most recent call last):
    geoseg.errors.OutputError: Cannot write to /no/such/folder: No such file or directory. Create ... first.
    """
    folder = Path(path)
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        # Only trying tells: permission bits say nothing about read-only disks, quotas or the superuser.
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"geoseg")
            probe.flush()
        free = shutil.disk_usage(folder).free
    except FileExistsError as error:
        raise _output_error(folder, NotADirectoryError(errno.ENOTDIR, "It is a file"), "to ") from error
    except OSError as error:
        raise _output_error(folder, error, "to ") from error
    if free < needed_bytes:
        raise OutputError(
            f"The outputs need about {needed_bytes / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB "
            "free. Free some space, or choose another disk."
        )
    return folder


def remove_leftovers(folder: str | os.PathLike[str]) -> int:
    """Remove what a killed run was writing in this folder; returns how many files that were.

    Call it only where no other process is writing to the same folder.

    >>> import tempfile
    >>> remove_leftovers(tempfile.mkdtemp())
    0
    """
    rooms = [item for item in Path(folder).glob(".*.part") if item.is_dir()]
    for room in rooms:
        shutil.rmtree(room, ignore_errors=True)
    return len(rooms)


def _move(room: Path, target: Path) -> None:
    """Move what was written to where the target belongs; the target itself comes last."""
    written = {item.name for item in room.iterdir()}
    if target.name not in written:
        raise FileNotFoundError(errno.ENOENT, "Nothing was written")
    old = {target.name + ending for ending in _BESIDE_FILE}
    if target.suffix.lower() == ".shp":
        old |= {target.stem + ending for ending in _BESIDE_SHP}
    for name in sorted(old - written):
        (target.parent / name).unlink(missing_ok=True)
    for name in sorted(written, key=lambda name: (name == target.name, name)):
        os.replace(room / name, target.parent / name)


def _is_ours(error: Exception, room: Path) -> bool:
    """Whether writing failed, rather than something else inside the block (reading the input, say)."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    if isinstance(error, OSError) and error.filename is not None:
        return room in Path(os.fsdecode(error.filename)).parents
    return _is_full(error, room)


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether the disk is full: GDAL and SQLite do not hand on the system's reason, but it can be seen."""
    said = any(phrase in str(error).lower() for phrase in ("disk is full", "no space left"))
    return said or shutil.disk_usage(folder).free < _FULL_BYTES


def _output_error(target: Path, error: Exception, preposition: str = "") -> OutputError:
    number = error.errno if isinstance(error, OSError) else None
    reason = (os.strerror(number) if number else str(error)).rstrip(".")
    if number is None and _is_full(error, target.parent):
        number, reason = errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({reason})"
    remedy = _REMEDIES.get(number or 0, "Choose another folder")
    return OutputError(f"Cannot write {preposition}{target}: {reason}. {remedy}.")
