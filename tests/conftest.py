"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Several thread pools on few cores slow each other down; tests that need more say so themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real imagery and labels that lies beside the project, where there is one."""
    folder = Path(os.environ.get("GEOSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real imagery: {folder} is not there (set GEOSEG_DATA to the folder that holds it)")
    return folder
