"""Fixtures that every test file may use."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

collect_ignore = ["fiboa_validator.py"]  # runs in a Python of its own, with packages that are not here

# Several thread pools on few cores slow each other down; tests that need more say so themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# numba keeps compiled functions on disk until their own file changes; that a function they call has changed, in another
# file, it does not notice. So each state of the compiled sources has a cache of its own.
_compiled = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "geoseg").rglob("*.py"))]
_state = hashlib.sha256(b"".join(source for source in _compiled if b"numba" in source or b"compiled" in source))
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"geoseg-numba-{_state.hexdigest()[:16]}"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real imagery and labels that lies beside the project, where there is one."""
    folder = Path(os.environ.get("GEOSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real imagery: {folder} is not there (set GEOSEG_DATA to the folder that holds it)")
    return folder
