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
    "_ext.formulas",
    "_ext.layers",
    "_ext.messages",
    "_ext.signatures",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = False
show_warning_types = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# A dollar sign beside a blank or a digit is money: "$3 to $5".
myst_dmath_allow_space = False
myst_dmath_allow_digits = False
html_math_renderer = "svg"
# Curly quotes only: "--out" stays as it is typed.
smartquotes_action = "q"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name for name in ("AnyArray", "BoolArray", "Float32Array", "FloatArray", "IntArray")
}
autodoc_default_options = {"members": True}
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"rllib-tactical {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
