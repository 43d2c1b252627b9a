"""What can go wrong.

Every error that geoseg raises on purpose is a `GeosegError`. Its message says three things: the rule,
the value received, and the remedy. The command line prints that message and nothing else.

>>> issubclass(SceneError, GeosegError)
True
"""

from __future__ import annotations

__all__ = [
    "BlockError",
    "GeosegError",
    "MismatchError",
    "ModelError",
    "OptionError",
    "OutputError",
    "SceneError",
]


class GeosegError(Exception):
    """The parent of every error that geoseg raises on purpose."""


class OptionError(GeosegError, ValueError):
    """An argument or option has a value that it cannot have (the command line exits with 2)."""


class SceneError(GeosegError):
    """A raster cannot be read as a scene or a map: missing, damaged, not a raster, no CRS, no such band."""


class ModelError(GeosegError):
    """A model package is unknown, incomplete or damaged, or its weights do not fit its metadata."""


class MismatchError(GeosegError):
    """A scene and a model do not fit each other (bands, data type, resolution)."""


class OutputError(GeosegError):
    """A result cannot be written: no permission, no space, or something is there already."""


class BlockError(GeosegError):
    """A block failed after its retries, or the work cannot fit into memory."""
