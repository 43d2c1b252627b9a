"""Fetch a file once, check it, keep it: published weights lie in a cache folder after their first use."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.files import check_folder, replacing
from geoseg.progress import Progress

__all__ = ["cache_folder", "download"]

TIMEOUT_S = 60.0
"""A server that says nothing for so long is given up."""
_CHUNK_BYTES = 1 << 20


def cache_folder() -> Path:
    """Where downloads are kept: ``$GEOSEG_CACHE``, else ``$XDG_CACHE_HOME/geoseg``, else ``~/.cache/geoseg``."""
    chosen = os.environ.get("GEOSEG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "geoseg"


def download(
    url: str, *, sha256: str, name: str, folder: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> Path:
    """The file behind a URL, from the cache folder if it is there already.

    It is written beside and renamed, so that several processes may ask for the same file at once and a download that
    broke off leaves nothing. Its SHA-256 is checked on each use; a damaged file in the cache is fetched anew.

    Parameters
    ----------
    url
        ``https://`` or ``http://``.
    sha256
        The SHA-256 that the file must have, hex digits; or its beginning, at least 8 digits, as torch hub writes it
        into file names.
    name
        The name of the file in the cache.
    folder
        Another folder than `cache_folder()`; made where it is missing.
    progress
        Told of a stage ``download``, in bytes.

    Returns
    -------
    Path
        The file, with the right SHA-256.

    Raises
    ------
    ModelError
        The file cannot be had: no network, an error of the server, a download that broke off, another SHA-256. The
        message says where the file can be put by hand.
    OptionError
        The URL, the hash or the name is not one.
    OutputError
        The cache folder cannot be written to.

    Examples
    --------
    >>> import hashlib, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "weights.pth").write_bytes(b"weights")  # put there by hand
    >>> digest = hashlib.sha256(b"weights").hexdigest()
    >>> download("https://example.org/weights.pth", sha256=digest, name="weights.pth", folder=folder).name
    'weights.pth'
    """
    expected = sha256.lower()
    _check(url, expected, name)
    home = cache_folder() if folder is None else Path(folder)
    path = home / name
    there = _sha256_of(path) if path.is_file() else None
    if there is not None and there.startswith(expected):
        return path
    _make(home)
    advice = f"Or put the file there by hand: {path.absolute()} with the SHA-256 {_written(expected)}."
    if there is not None:
        advice += f" The file that is there now has {there}: it is damaged, or another one."
    with replacing(path) as beside:
        found = _fetch(url, beside, advice, progress or Progress())
        if not found.startswith(expected):
            raise ModelError(
                f"A download must have the SHA-256 that was published, {_written(expected)}, but {url} gave {found}. "
                f"It was exchanged, or something on the way changes it. {advice}"
            )
    return path


def _check(url: str, sha256: str, name: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise OptionError(f"What is downloaded has an address that begins with https:// or http://, but it is {url!r}.")
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise OptionError(f"A SHA-256 has 64 hex digits, of which at least 8 must be given, but it is {sha256!r}.")
    if not name or Path(name).name != name:
        raise OptionError(f"A download is kept under a plain file name, but the name is {name!r}.")


def _make(folder: Path) -> None:
    try:
        check_folder(folder, create=True)
    except OutputError as error:
        raise OutputError(f"{error} Downloads are kept there: the variable GEOSEG_CACHE chooses another.") from error


def _fetch(url: str, beside: Path, advice: str, progress: Progress) -> str:
    """Write what the URL gives to a file; returns its SHA-256."""
    digest, size = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "geoseg"})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(url, _reason(error), advice) from error
    with response, open(beside, "wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        progress.stage("download", total or None, unit="B")
        for chunk in _chunks(response, url, advice):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            progress.advance(len(chunk))
    if total and size != total:
        raise _failed(url, f"the connection ended after {size:,} of {total:,} bytes", advice)
    return digest.hexdigest()


def _chunks(response: Any, url: str, advice: str) -> Iterator[bytes]:
    # Only reading is caught here: an error of the disk is another matter, with another remedy.
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _failed(url, _reason(error), advice) from error
        if not chunk:
            return
        yield chunk


def _failed(url: str, reason: str, advice: str) -> ModelError:
    return ModelError(f"Weights are downloaded on their first use, but {url} failed: {reason}. Try again. {advice}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"there is no connection ({error.reason})"
    return f"the connection broke ({error or type(error).__name__})"


def _written(sha256: str) -> str:
    return sha256 if len(sha256) == 64 else f"{sha256}... (its beginning)"


def _sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
