"""Sphinx settings: `make docs` builds the pages of this folder into docs/_build."""

project = "geoseg"
author = "The geoseg developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
suppress_warnings = ["myst.xref_missing"]  # links to files outside the pages, which work in the repository
