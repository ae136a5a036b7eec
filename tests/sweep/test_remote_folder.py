"""Runs and sweeps at a URI, on an S3-compatible server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rllib_tactical.artifacts.storage import Mirror, place_of
from rllib_tactical.bundle.bundle import load_bundle
from tests.s3_server import Store, s3_server, uri
from tests.sweep.conftest import TRAINING, Call, sweep_file


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Store | None]]:
    with s3_server() as server:
        yield server


@pytest.mark.ray
def test_a_sweep_at_a_uri_has_all_that_a_folder_has_and_goes_on(
    server: tuple[str, Store | None], bars: Path, tmp_path: Path, call: Call, ray_instance: None
) -> None:
    file = sweep_file(
        tmp_path / "s.yaml",
        {"training.actor_lr": {"log_uniform": [0.0001, 0.001]}},
        samples=1,
        scheduler="asha",
    )
    out = uri(server[0], f"{uuid.uuid4().hex}/sweep")
    code, _, err = call("tune", "--sweep", file, "--data", bars, "--out", out)
    assert code == 0, err
    place = place_of(out)
    assert place.has("report.html")
    assert place.has("trials/0000/checkpoints/000002/checkpoint.json")
    first = place.read("trials/0000/progress.jsonl")
    code, text, err = call("tune", "--data", bars, "--out", out, "--samples", 2, "--resume")
    assert code == 0, err
    assert "any:any" not in text + err  # credentials
    assert place.read("trials/0000/progress.jsonl") == first
    Mirror(tmp_path / "copy", place).pull(leave_out="rllib")
    summary = json.loads((tmp_path / "copy" / "summary.json").read_text())
    statuses = [trial["status"] for trial in summary["trials"]]
    assert statuses[0] == "finished"
    assert statuses[1] in ("finished", "stopped early")  # by the scheduler, if it is the worse one
    assert pd.read_parquet(tmp_path / "copy" / "trials.parquet").shape[1] == 1 + 2 * 2
    # the best of untrained trials may be to make no trade, so the bundle is asked for
    code, _, err = call("export", out, "--out", tmp_path / "again")
    assert code == 0, err
    lineage = load_bundle(tmp_path / "again").manifest["training"]["sweep"]
    assert lineage["trial"] == summary["best_trial"]


@pytest.mark.ray
def test_a_run_at_a_uri_is_resumed_and_exported(
    server: tuple[str, Store | None], bars: Path, tmp_path: Path, call: Call, ray_instance: None
) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({"tactical_marl": {"training": TRAINING}}))
    out = uri(server[0], f"{uuid.uuid4().hex}/run")
    base = ["train", "--data", bars, "--out", out]
    code, _, err = call(*base, "--config", config, "--iterations", 1)
    assert code == 0, err
    code, _, err = call(*base, "--config", config)
    assert code == 2
    assert "holds a run already: continue it with --resume" in err
    code, _, err = call(*base, "--iterations", 2, "--resume")
    assert code == 0, err
    rows = place_of(out).read("progress.jsonl").decode().splitlines()
    assert [json.loads(row)["iteration"] for row in rows] == [1, 2]
    code, _, err = call("export", out, "--out", tmp_path / "bundle")
    assert code == 0, err
    assert load_bundle(tmp_path / "bundle").manifest["training"]["iteration"] in (1, 2)
    code, _, err = call("train", "--data", bars, "--out", uri(server[0], "none"), "--resume")
    assert code == 2
    assert "--resume: there is no run in s3://tactical/none" in err
