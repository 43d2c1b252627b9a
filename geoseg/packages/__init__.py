"""Model packages: the metadata of a model (`ModelSpec`), as a STAC Item, and the folder or zip that holds it.

A package is a folder, or one zip of the same files: ``model.json``, a STAC Item with the Machine Learning Model (MLM)
extension 1.4, and the weights it names. Reading one runs nothing that it holds.
"""

from geoseg.packages.spec import ModelSpec
from geoseg.packages.store import (
    ZOO,
    find_package,
    list_models,
    read_spec,
    read_weights,
    sha256_of,
    write_package,
)

__all__ = [
    "ZOO",
    "ModelSpec",
    "find_package",
    "list_models",
    "read_spec",
    "read_weights",
    "sha256_of",
    "write_package",
]
