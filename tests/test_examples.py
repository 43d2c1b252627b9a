"""The notebooks are the scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from notebooks import SCRIPTS, notebook_of  # noqa: E402


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_has_the_cells_of_its_script(name):
    made = notebook_of((EXAMPLES / f"{name}.py").read_text())
    assert (EXAMPLES / f"{name}.ipynb").read_text() == made, "run: python examples/notebooks.py"


def test_cells():
    made = notebook_of("# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1  # why\n\nprint(x)\n")
    assert '"# Title\\n",' in made
    assert '"x = 1  # why\\n",' in made
    assert made.count('"cell_type"') == 2
