"""The training report: everything inside one file, from what a run folder holds."""

import json
import re

import pytest

from rllib_tactical.artifacts.run_folder import RUN, RunFolder
from rllib_tactical.config.curriculum import StageConfig
from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.tracking.report import (
    REPORT,
    SUMMARY,
    render_training_report,
    write_training_report,
)

CONFIG = TacticalConfig(
    training=TrainingConfig(
        iterations=9,
        curriculum=(
            StageConfig(name="</script><b>clean", market="gap", promote_at=0.5),
            StageConfig(name="real", market="data"),
        ),
    )
)


def row(k):
    values = {
        "iteration": k, "env_steps": 100 * k, "seconds": 1.0, "steps_per_s": 100.0 + k,
        "total_seconds": 3_700.0 + k, "pnl": -5.0 * k, "trades": k, "bonus_share": 0.05,
        "value_loss": 1.0 / k, "value_explained_variance": 0.1 * k, "episodes": 10 * k,
        "reward_cv": None if k < 4 else 0.5, "converged": False, "stage": int(k > 4),
        "trend_value_loss": -0.25,
    }  # fmt: skip
    for agent in AGENTS:
        values |= {
            f"reward_{agent}": None if k == 1 else 0.5 * k, f"entropy_{agent}": 1.0,
            f"policy_loss_{agent}": -0.01, f"kl_{agent}": 0.001, f"clip_fraction_{agent}": 0.1,
        }  # fmt: skip
    return values


def judged(k, net_pnl):
    return {
        "iteration": k, "env_steps": 100 * k, "known_at": k, "net_pnl": net_pnl, "trades": 3,
        "trades_per_day": 1.5, "sharpe": None, "training_rule_trades": 9, "temperature_scale": 0.5,
        "stage": int(k > 4), "oracle_share": 0.25 if k <= 4 else None,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.start(
        {
            "config": to_dict(CONFIG),
            "config_hash": content_hash(CONFIG),
            "parts": [
                {
                    "data": {
                        "name": "a.csv",
                        "sha256": "ab",
                        "size_from": {
                            "kind": "training_bars",
                            "bars": 1_234,
                            "first": "2024",
                            "last": "2025",
                        },
                    },
                    "instrument": {"symbol": "A&B", "base_quantity": 12.0},
                }
            ],
        }
    )
    return folder


def plots_of(page):
    (plots,) = re.findall(r"const plots = (\{.*?\});\n", page)
    return json.loads(plots)


def test_it_shows_every_curve_where_it_stands(folder):
    for k in range(1, 8):
        folder.append_progress(row(k))
    for k, net_pnl in [(2, 900.0), (4, 1_500.0), (6, 50.0), (7, 40.0)]:
        folder.append_validation(judged(k, net_pnl))
    write_training_report(folder)
    page = (folder.path / REPORT).read_text()
    plots = plots_of(page)
    for name, plot in plots.items():
        assert page.count(f'<div id="{name}"></div>') == 1, name
        assert all(len(trace["x"]) == len(trace["y"]) > 0 for trace in plot["data"])
    assert plots["rewards"]["data"][0]["y"] == [None, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    assert plots["validation"]["data"][0]["y"] == [900.0, 1_500.0, 50.0, 40.0]
    # the stages begin at the first step and after iteration 4, and no name is markup
    begins = [(mark["x"], mark["text"]) for mark in plots["speed"]["layout"]["annotations"]]
    assert begins == [(0, "&lt;/script&gt;&lt;b&gt;clean"), (400, "real")]
    assert "</script><b>" not in page
    assert "A&amp;B" in page
    # the best is of the last stage, whatever an easier market gave
    assert "7 of 9 iterations are done. Best so far: iteration 6 with $50.00 net" in page
    assert page.count('<tr class="policy">') == 1
    assert "1:01:47" in page
    assert "-25.0%" in page


def test_it_needs_no_network(folder):
    folder.append_progress(row(1))
    page = render_training_report(folder)
    head = page[: page.index("<script>")]
    assert not re.search(r"(src|href)=", head)
    assert "Nothing has been validated yet" in page
    assert "Plotly" in page


def test_it_says_what_the_size_is_from(folder):
    assert "12 lots, from the 1,234 training bars, 2024 to 2025" in render_training_report(folder)
    run = folder.read()
    del run["parts"][0]["data"]["size_from"]  # as runs were before it was recorded
    (folder.path / RUN).write_text(json.dumps(run))
    assert "12 lots, from unknown bars" in render_training_report(folder)


def test_it_is_rendered_before_anything_is_done(folder):
    assert "0 of 9 iterations" in render_training_report(folder)


def test_what_it_says_is_there_as_json_too(folder):
    for k in range(1, 6):
        folder.append_progress(row(k))
        folder.append_validation(judged(k, 100.0 * k))
    write_training_report(folder)
    found = json.loads((folder.path / SUMMARY).read_text())
    assert found["iterations"] == 5
    assert found["symbols"] == ["A&B"]
    assert found["best"]["net_pnl"] == 500.0
    assert found["last"]["episodes"] == 50
    assert [each["iteration"] for each in found["validations"]] == [1, 2, 3, 4, 5]
    assert found["verdict"] in (folder.path / REPORT).read_text()


def test_it_says_what_is_known_of_the_last_episodes(folder):
    known = {"reward_mean": 1.25, "reward_best": 2.5, "reward_worst": -0.125}
    folder.append_progress(row(1) | known | {"episode_length": 64.0})
    page = render_training_report(folder)
    for name, value in (("best reward", "2.500"), ("worst reward", "-0.125"),
                        ("mean length, bars", "64"), ("standard deviation", "-"),
                        ("episodes since convergence", "not converged")):  # fmt: skip
        assert f'<td>{name}</td><td class="n">{value}</td>' in page
