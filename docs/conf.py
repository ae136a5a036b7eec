"""Sphinx configuration of the documentation: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from rllib_tactical import __version__  # noqa: E402

project = "rllib-tactical"
author = "The rllib-tactical authors"
project_copyright = "The rllib-tactical authors"
release = version = __version__

extensions = [
    "_ext.layers",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = False
show_warning_types = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"rllib-tactical {release}"
html_static_path = ["_static"]
