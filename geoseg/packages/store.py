"""A package on disk: a folder, or one zip of the same files. It is read without unpacking anything."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from geoseg.errors import ModelError, OutputError
from geoseg.files import check_folder, replacing
from geoseg.packages.spec import ModelSpec, sha256_of

__all__ = ["ZOO", "find_package", "list_models", "read_spec", "read_weights", "sha256_of", "write_package"]

ZOO = Path(__file__).parents[1] / "zoo"
"""The folder of the packages that ship with the library."""
_ITEM_BYTES = 1 << 24  # no metadata is larger; a zip may claim anything
_MOST_PACKED = 200


def find_package(package: str | Path) -> Path:
    """The folder or zip of a package, given by the name of a shipped one or by a path.

    Raises
    ------
    ModelError
        Neither a known name nor a package; the message lists the known names.
    """
    for path in (ZOO / str(package), Path(package)):
        if (path / "model.json").is_file() or (path.is_file() and path.suffix.lower() == ".zip"):
            return path
    known = ", ".join(sorted(path.parent.name for path in ZOO.glob("*/model.json")))
    raise ModelError(
        f"A model is the name of one that ships with geoseg ({known}), a folder or zip with a model.json, or torchgeo: "
        f"and a name of its weights, but {str(package)!r} is none of these. See `geoseg models`."
    )


def list_models() -> dict[str, ModelSpec]:
    """The packages that ship with the library, by name."""
    return {path.parent.name: read_spec(path.parent) for path in sorted(ZOO.glob("*/model.json"))}


def read_spec(package: str | Path) -> ModelSpec:
    """The metadata of a package, given by the name of a shipped one or by a folder or zip.

    Raises
    ------
    ModelError
        There is no such package, or its ``model.json`` is at fault.

    Examples
    --------
    >>> read_spec("landcover-aerial").bands
    ('red', 'green', 'blue')
    """
    path = find_package(package)
    data = _read(path, "model.json", limit=_ITEM_BYTES)
    try:
        item = json.loads(data.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"model.json must be JSON, but {path / 'model.json'} is not: {error}. Restore the package."
        ) from error
    try:
        return ModelSpec.from_item(item)
    except ModelError as error:
        raise ModelError(f"In {path}: {error}") from error


def read_weights(package: str | Path, spec: ModelSpec) -> bytes:
    """The weights of a package, after their SHA-256 was compared with that of the metadata.

    Raises
    ------
    ModelError
        The weights are not there, or have another SHA-256.
    """
    path = find_package(package)
    data = _read(path, spec.weights)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise ModelError(
            f"The weights must have the SHA-256 that model.json gives, {spec.sha256 or '(none)'}, but "
            f"{path / spec.weights} has {found}. The file is damaged or was exchanged: restore the package."
        )
    return data


def write_package(
    out: str | Path, spec: ModelSpec, weights: bytes, *, extra: Mapping[str, bytes] | None = None
) -> Path:
    """Write a package whole or not at all: a folder, or a zip where `out` ends so.

    Parameters
    ----------
    out
        The folder or zip to make; it must not be there.
    spec
        The metadata; the SHA-256 is filled in.
    weights
        The bytes of the weights file.
    extra
        More files by name: a model card, a licence.

    Raises
    ------
    OutputError
        Something is there already, or cannot be written.
    """
    out = Path(out)
    if os.path.lexists(out):
        raise OutputError(f"Nothing is overwritten unasked, but {out} is there. Choose another --out, or remove it.")
    spec = replace(spec, sha256=hashlib.sha256(weights).hexdigest())
    files = {**(extra or {}), spec.weights: weights, "model.json": spec.to_json().encode("utf-8")}
    folder = check_folder(out.parent, create=True, needed_bytes=2 * len(weights))
    if out.suffix.lower() == ".zip":
        with replacing(out) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return out
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=folder))
    try:
        (room / out.name).mkdir()
        for name, data in files.items():
            (room / out.name / name).write_bytes(data)
        os.rename(room / out.name, out)
    except OSError as error:
        raise OutputError(
            f"Cannot write {out}: {error.strerror}. Free some space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return out


def _read(path: Path, name: str, limit: int | None = None) -> bytes:
    """The bytes of one file of a package."""
    missing = ModelError(
        f"A package must hold model.json and the weights it names, but {path / name} is not there. Restore the package."
    )
    if path.is_dir():
        if not (path / name).is_file():
            raise missing
        return (path / name).read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            if name not in members:
                raise missing
            if limit is not None and members[name].file_size > limit:
                raise ModelError(f"{name} must be at most {limit:,} bytes, but {path} holds one of more. Restore it.")
            if members[name].file_size > max(_ITEM_BYTES, _MOST_PACKED * members[name].compress_size):
                raise ModelError(
                    f"Weights never pack to 1/{_MOST_PACKED} of their size, but {name} in {path} unpacks to "
                    f"{members[name].file_size:,} bytes. It was made to harm: do not use it."
                )
            return archive.read(members[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ModelError(f"A packed model must be a zip, but {path} cannot be read: {error}. Restore it.") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by their name in the package; refused as a whole where one could lie outside of it."""
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        # zipfile itself cuts names at a NUL and turns the system's separators: the name as stored is what counts.
        outside = parts.is_absolute() or ".." in parts.parts or ":" in info.orig_filename or "\\" in info.orig_filename
        if outside or "\0" in info.orig_filename or stat.S_ISLNK(info.external_attr >> 16):
            raise ModelError(
                f"The files of a packed model must lie inside it and be no links, but {path} holds "
                f"{info.orig_filename!r}. It is damaged or was made to harm: do not use it."
            )
    files = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if len(files) != sum(not info.is_dir() for info in archive.infolist()):
        raise ModelError(f"Each file of a packed model must be there once, but {path} holds one twice. Pack it anew.")
    tops = {name.partition("/")[0] for name in files}
    # Packing a folder rather than its files puts the folder's name in front.
    prefix = f"{tops.pop()}/" if "model.json" not in files and len(tops) == 1 else ""
    return {name.removeprefix(prefix): info for name, info in files.items()}
