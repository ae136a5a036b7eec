"""The configuration in the words of the requirement trains, is swept and serves as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.loader import load_config, to_dict
from tests.ports import ports_of_serve
from tests.version1 import DATA, FIXTURES, call, matrix_body, posted, rows_of, service

pytestmark = [pytest.mark.slow, pytest.mark.ray]

FILE = Path(__file__).parents[1] / "config" / "requirement.yaml"
SWEEP = """
tactical_sweep:
  samples: 1
  config: {training: {iterations: 1, num_env_runners: 0, epochs: 1}}
  space: {training.episodes_per_update: {choice: [2]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars and the file, in which a run was trained with it and exported."""
    made = tmp_path_factory.mktemp("requirement")
    (made / "bars.parquet").write_bytes((FIXTURES / "bars.parquet").read_bytes())
    (made / "service.yaml").write_bytes(FILE.read_bytes())
    call(
        made, "train", *DATA, "--out", "run", "--config", FILE, "--iterations", 1,
        "--num-env-runners", 0,
    )  # fmt: skip
    call(made, "export", "run", "--out", "bundle")
    return made


def test_it_trains(folder: Path) -> None:
    (row,) = rows_of(folder / "run" / "progress.jsonl")
    assert row["env_steps"] == 10 * 256
    run = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    settings = load_config(FILE)
    for section in ("model", "agents", "rewards", "aggregation", "performance"):
        assert run["config"][section] == to_dict(getattr(settings, section))
    assert load_bundle(folder / "bundle").rules == settings.rules


def test_it_is_swept(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    call(folder, "tune", *DATA, "--sweep", "sweep.yaml", "--config", FILE, "--out", "sweep")
    trial = folder / "sweep" / "trials" / "0000"
    assert rows_of(trial / "progress.jsonl")[0]["env_steps"] == 2 * 256
    run = json.loads((trial / "run.json").read_text(encoding="utf-8"))
    assert run["config"]["agents"] == to_dict(load_config(FILE).agents)


@pytest.fixture
def ports() -> Iterator[None]:
    """Wait for other real services to end."""
    with ports_of_serve():
        yield


@pytest.mark.serve
def test_it_serves(folder: Path, ports: None) -> None:
    with service(folder) as client:
        answer = posted(client, "/decide", matrix_body())
        assert answer["bundle_id"] == load_bundle(folder / "bundle").bundle_id
        targets = client.get("/model").json()["performance"]
    assert targets == to_dict(load_config(FILE).performance)
