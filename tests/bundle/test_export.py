"""Export of a run folder: what the bundle remembers, and what happens when it is interrupted."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.artifacts.versions import git_commit, library_versions
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.main import main
from rllib_tactical.config.loader import content_hash
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import file_sha256, write_bars
from rllib_tactical.errors import BundleError, UnreadableError, UsageError
from rllib_tactical.rl.run_description import run_description
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.synthetic import make_market
from tests.actors import untrained_weights

pytestmark = pytest.mark.slow

CONFIG = TacticalConfig()
VALIDATION = {"temperature_scale": 0.25, "net_pnl": 12.5, "trades": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with one checkpoint, as training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    made = make_market("momentum", 1, 6_000, 0.0)
    write_bars(made.bars, folder / "bars.parquet")
    market = prepare_market([DataSource(folder / "bars.parquet", made.instrument)], CONFIG)
    weights = untrained_weights(1.2)
    run = RunFolder(folder / "run")
    run.start(run_description(market, CONFIG))
    state = {"seconds": 1.0, "env_steps": 8192, "validation": VALIDATION}
    run.save(1, weights, state, lambda path: Path(path).mkdir(), keep=2)
    return run.path, file_sha256(folder / "bars.parquet")


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    """The run's bundle."""
    out = tmp_path_factory.mktemp("bundle") / "b"
    return export_run(run[0], out)


def test_a_bundle_remembers_where_it_comes_from(run, first):
    training, manifest = first.manifest["training"], first.manifest
    assert training["config_hash"] == content_hash(CONFIG) == content_hash(training["config"])
    assert training["data"]["sha256"] == run[1]
    assert training["data"]["splits"]["train"]["first"].endswith("Z")
    assert (training["iteration"], training["env_steps"], training["seed"]) == (1, 8192, 0)
    assert training["git_commit"] == manifest["git_commit"] == git_commit()
    assert training["versions"] == manifest["versions"] == library_versions()
    assert {"python", "numpy", "torch", "ray", "onnxruntime"} <= set(manifest["versions"])
    assert manifest["metrics"] == {"validation": VALIDATION}
    assert first.temperature_scale == 0.25
    assert manifest["parent"] is None


def test_the_parent_is_verified_and_recorded(run, first, tmp_path):
    out = tmp_path / "b"
    shutil.copytree(first.path, out)
    done = CliRunner().invoke(
        main, ["export", str(run[0]), "--out", str(out), "--parent", str(out)]
    )
    assert done.exit_code == 0, done.output
    child = load_bundle(out)
    assert child.manifest["parent"] == first.bundle_id != child.bundle_id
    with pytest.raises(UnreadableError, match="no bundle here"):
        export_run(run[0], tmp_path / "c", parent=tmp_path)
    (out / "actors.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="hash mismatch"):
        export_run(run[0], tmp_path / "c", parent=out)
    assert not (tmp_path / "c").exists()


def test_a_parent_of_other_bars_is_refused(run, first, tmp_path):
    other = shutil.copytree(run[0], tmp_path / "run")
    described = json.loads((other / "run.json").read_text()) | {"bar_seconds": 60}
    (other / "run.json").write_text(json.dumps(described))
    with pytest.raises(UsageError, match="--parent must be of the run's bars"):
        export_run(other, tmp_path / "b", parent=first.path)


def test_whole_numbers_where_fractions_belong_change_nothing(run, first, tmp_path):
    other = shutil.copytree(run[0], tmp_path / "run")
    described = json.loads((other / "run.json").read_text())
    instrument = described["parts"][0]["instrument"]
    assert isinstance(instrument["point_value"], float)
    described["parts"][0]["instrument"] = instrument | {"point_value": 1, "lot_step": 1}
    (other / "run.json").write_text(json.dumps(described))
    assert export_run(other, tmp_path / "b").instrument == dataclasses.replace(
        first.instrument, point_value=1.0, lot_step=1.0
    )


@pytest.mark.slow
def test_an_export_that_is_killed_leaves_a_whole_bundle(run, first, tmp_path):
    """Kill -9 as soon as the new files begin to appear beside the old bundle."""
    out = tmp_path / "b"
    shutil.copytree(first.path, out)
    words = ["-m", "rllib_tactical", "export", str(run[0]), "--out", str(out)]
    process = subprocess.Popen([sys.executable, *words, "--parent", str(out)])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) == 1 and process.poll() is None:
        assert time.monotonic() < deadline
    process.kill()
    assert process.wait() in (-signal.SIGKILL, 0)  # 0: it was faster
    found = load_bundle(out)
    assert first.bundle_id in (found.bundle_id, found.manifest["parent"])
    export_run(run[0], out)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
