from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rllib_tactical.catalog.comparison import (
    differences,
    equity_plot,
    names_of,
    render_comparison,
    setting_text,
)
from rllib_tactical.catalog.records import Record, read_record


@pytest.fixture(scope="module")
def pair(results: Path) -> list[Record]:
    return [read_record(results / "traded" / name) for name in ("near", "far")]


def test_only_what_differs_is_shown(pair: list[Record], results: Path) -> None:
    assert differences(pair) == {"rules.orders.stop_atr": [2.0, 4.0]}
    assert differences(pair[:1] * 2) == {}
    run = read_record(results / "trained" / "run")
    mixed = differences([*pair, run])
    assert mixed["data.name"] == ["bars.csv", "bars.csv", "bars.parquet"]
    assert "rules.orders.stop_atr" in mixed
    assert "rules.orders.target_atr" not in mixed  # a run has none under this key


def test_names_are_as_short_as_they_can_be(results: Path, pair: list[Record]) -> None:
    assert names_of(pair) == ["near", "far"]
    same = [pair[0], read_record(results / "trained" / "run"), pair[0]]
    assert names_of(same[:2]) == ["near", "run"]


def test_equity_curves_lie_over_each_other_and_start_at_zero(
    pair: list[Record], results: Path
) -> None:
    plot = equity_plot(pair)
    assert plot is not None
    assert [trace["name"] for trace in plot["data"]] == ["near", "far"]
    assert [trace["y"][0] for trace in plot["data"]] == [0.0, 0.0]
    assert plot["data"][0]["y"][-1] == pytest.approx(pair[0].metrics["net_pnl"], abs=0.01)
    assert equity_plot([read_record(results / "trained" / "run")]) is None


def test_the_page_shows_differences_first_and_needs_no_network(pair: list[Record]) -> None:
    page = render_comparison(pair)
    head = page[: page.index("<script>")]
    assert head.index("rules.orders.stop_atr") < head.index("Results") < head.index("equity")
    assert not re.search(r"(src|href)=", head)
    (plots,) = re.findall(r"const plots = (\{.*?\});\n", page)
    assert list(json.loads(plots)) == ["equity"]
    assert "None: all were made with the same settings." in render_comparison(pair[:1] * 2)


def test_settings_are_short() -> None:
    assert setting_text(None) == "-"
    assert setting_text(0.30000000000000004) == "0.3"
    assert setting_text("ab" * 32) == "abababababab"
    assert setting_text("ab" * 20 + "-dirty") == "abababababab-dirty"
    assert setting_text("bars.csv") == "bars.csv"
