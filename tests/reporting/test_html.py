"""Pages that are read without a network, whatever text stands in them."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from jinja2 import UndefinedError

from rllib_tactical.reporting.html import render_page

NASTY = "</script><script>alert(1)</script> & <b>"


def page(plots: dict[str, Any], **values: Any) -> str:
    return render_page("rllib_tactical.reporting", "base.html.j2", plots, **values)


def test_text_ends_no_element_and_plots_stay_what_they_are() -> None:
    plots = {"equity": {"data": [{"name": NASTY}], "layout": {}}}
    html = page(plots, title=NASTY, facts=())
    assert "alert(1)</script>" not in html
    assert (
        "<title>&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;</title>"
        in html
    )
    (found,) = re.findall(r"const plots = (\{.*\});\n", html)
    assert json.loads(found) == plots


def test_the_plotting_library_is_inside() -> None:
    assert len(page({}, title="Empty", facts=())) > 3_000_000


def test_what_a_template_needs_must_be_given() -> None:
    with pytest.raises(UndefinedError, match="title"):
        page({}, facts=())


def test_a_number_that_json_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        page({"equity": {"data": [math.nan]}}, title="NaN", facts=())
