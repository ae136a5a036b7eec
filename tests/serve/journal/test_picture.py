"""The picture of an explanation shows what the explanation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES
from rllib_tactical.errors import UsageError
from serve.journal.explain import Explanation, explained
from serve.journal.picture import columns_plot, page_of, rows_plot, write_picture
from tests.serve.journal.answers import decider_of, decisions


@pytest.fixture
def found(bundle: Bundle, table: FeatureTable) -> Explanation:
    (made,) = decisions(bundle, table, [310])
    return explained("an-id", decider_of(bundle), made.request, made.given)


def test_every_effect_is_drawn(found: Explanation) -> None:
    columns, rows = columns_plot(found.columns), rows_plot(found.rows)
    assert [trace["name"] for trace in columns["data"]] == list(AGENTS)
    assert set(columns["data"][0]["y"]) == set(FEATURE_NAMES)
    assert columns["data"][0]["y"][-1] == max(found.columns, key=lambda each: each.size).name
    assert rows["data"][1]["x"] == list(range(-59, 1))
    drawn = [round(each.effect["momentum"], 6) for each in found.rows]
    assert rows["data"][1]["y"] == drawn
    assert rows["data"][1]["hovertext"][-1].startswith("the last bar: then ")


def test_the_page_stands_alone_and_has_every_other_vote(found: Explanation, tmp_path: Path) -> None:
    page = page_of(found)
    assert "<h1>Decision an-id</h1>" in page
    assert "Plotly.newPlot" in page
    assert 'src="http' not in page
    assert page.count("<td>one other vote</td>") == len(found.others) == 6
    assert "<td>the nearest other outcome</td>" in page
    write_picture(found, tmp_path / "why.html")
    assert (tmp_path / "why.html").read_text(encoding="utf-8") == page
    with pytest.raises(UsageError, match="--picture must be a file that can be written"):
        write_picture(found, tmp_path / "no" / "why.html")
