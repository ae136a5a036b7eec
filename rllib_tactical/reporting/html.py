"""HTML pages with their plots and the plotting library inside, readable offline."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render_page(package: str, template: str, plots: dict[str, Any], **values: Any) -> str:
    """Return a template as one HTML document with plots and the plotting library inside.

    Args:
        package: dotted name of the package whose folder ``templates`` holds the template; the
            templates of this package can be extended and imported by it.
        template: file name of the template.
        plots: plots by the id of the element that shows them.
        values: variables of the template.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("rllib_tactical.reporting")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template(template)
    return page.render(plots=script_json(plots), plotly=Markup(_plotly_js()), **values)


def script_json(values: dict[str, Any]) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _plotly_js() -> str:
    library = resources.files("plotly") / "package_data" / "plotly.min.js"
    return library.read_text(encoding="utf-8")
