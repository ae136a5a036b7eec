"""The Python API as docs/howto/python-api.md shows it: every block runs as a script of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import BundleError
from rllib_tactical.synthetic import make_market

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which the blocks have run one after the other, and what each printed."""
    folder = tmp_path_factory.mktemp("page")
    write_bars(make_market("momentum", 1, 12_000, 0.0).bars, folder / "bars.parquet")
    text = (project_root / "docs" / "howto" / "python-api.md").read_text(encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(project_root),
        "OMP_NUM_THREADS": "1",
    }
    outputs = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return folder, outputs


def test_the_page_has_five_examples(page: tuple[Path, list[str]]) -> None:
    assert len(page[1]) == 5


def test_six_lines_train_until_a_rule_of_the_user_ends_the_run(
    page: tuple[Path, list[str]],
) -> None:
    folder, outputs = page
    assert "(20,000 steps are enough)" in outputs[0]
    rows = RunFolder(folder / "runs" / "first").progress()
    assert [row["env_steps"] for row in rows] == [8192, 16384, 24576]


def test_a_logger_of_the_user_has_every_row(page: tuple[Path, list[str]]) -> None:
    folder, outputs = page
    rows = RunFolder(folder / "runs" / "table").progress()
    table = [line.split(",") for line in (folder / "table.csv").read_text().splitlines()]
    assert [(int(a), int(b), float(c)) for a, b, c in table] == [
        (row["iteration"], row["env_steps"], row["pnl"]) for row in rows
    ]
    assert "runs/table: finished, all iterations are done" in outputs[1]


def test_a_registered_network_is_trained_exported_and_named(page: tuple[Path, list[str]]) -> None:
    folder, outputs = page
    assert outputs[2].splitlines()[-1] == "linear"
    manifest = json.loads((folder / "runs/linear-bundle/manifest.json").read_text())
    assert manifest["network"] == "linear"
    assert manifest["training"]["config"]["rewards"]["function"] == "traded_pnl"
    rows = RunFolder(folder / "runs" / "linear").progress()
    assert all(0 < row["bonus_share"] < 1 for row in rows)


def test_a_bundle_of_a_network_that_is_not_registered_is_refused_by_name(
    page: tuple[Path, list[str]],
) -> None:
    with pytest.raises(BundleError, match="network 'linear' is not registered"):
        load_bundle(page[0] / "runs" / "linear-bundle")


def test_an_algorithm_of_rllib_becomes_a_bundle_ours_and_a_users(
    page: tuple[Path, list[str]],
) -> None:
    folder, outputs = page
    episodes, bundle_id = outputs[3].split()
    assert int(float(episodes)) == 20
    ours = load_bundle(folder / "runs" / "by-hand-bundle")
    assert ours.bundle_id == bundle_id
    assert ours.manifest["training"]["iteration"] == 2
    theirs = load_bundle(folder / "runs" / "ppo-bundle")
    assert outputs[4].split() == [theirs.manifest["training"]["algorithm"]]
    assert theirs.manifest["training"]["algorithm"] == "ray.rllib.algorithms.ppo.ppo.PPO"
