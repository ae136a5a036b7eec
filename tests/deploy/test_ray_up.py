"""A cluster from cluster.yaml on two hosts over SSH, by the commands of docs/howto/cluster.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.data.files import write_bars
from rllib_tactical.synthetic import make_market
from tests.deploy.hosts import Lan, why_not
from tests.deploy.pages import commands_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

NOT_MOUNTED = shutil.ignore_patterns(".*", "__pycache__", "runs", "out", "tests", "*.egg-info")
SMALL = """tactical_marl:
  training: {iterations: 2, steps_per_update: 256, batch_size: 128, epochs: 1, num_envs: 16,
             accounts_per_bar: 4, episodes: {length: 32}, checkpoint_every: 2}
"""
SUBMIT = "ray submit "
RUNNERS = 2


@pytest.fixture
def lan(tmp_path: Path) -> Lan:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path / "lan"
    folder.mkdir()
    return Lan(folder, "head", "worker")


def prepare(lan: Lan, root: Path) -> Path:
    """Return a checkout in which a user has filled in the marked places of cluster.yaml."""
    project = lan.folder / "project"
    shutil.copytree(root, project, ignore=NOT_MOUNTED)
    text = (project / "cluster.yaml").read_text(encoding="utf-8")
    for before, after in {
        "192.0.2.1 ": lan.address("head"),
        "[192.0.2.2, 192.0.2.3]": f"[{lan.address('worker')}]",
        "ssh_user: ray ": "ssh_user: root",
        "~/.ssh/id_ed25519": str(lan.key),
        # the packages are there already: on these hosts as on one that was prepared before
        "~/rllib-tactical-env": str(lan.environment),
        "max_workers: 2\n": "max_workers: 1\n",
        # whatever this machine has: two runners are to need the second host
        "ray start ": "ray start --num-cpus=1 ",
    }.items():
        assert before in text
        text = text.replace(before, after)
    (project / "cluster.yaml").write_text(text, encoding="utf-8")
    # in a folder that is mounted, so it is on the head too
    (project / "deploy" / "small.yaml").write_text(SMALL, encoding="utf-8")
    made = make_market("momentum", 1, 3_000, 0.0)
    write_bars(made.bars, project / "bars.parquet")
    return project


def test_from_bars_to_a_bundle_on_hosts_reached_by_ssh(
    lan: Lan, project_root: Path, tmp_path: Path
) -> None:
    commands = commands_of(project_root / "docs" / "howto" / "cluster.md", "The whole way")
    assert [c.split()[1] for c in commands] == [
        "get-auth-token", "up", "rsync-up", "submit", "rsync-down", "export", "down",
    ]  # fmt: skip
    said = {}
    with lan:
        project = prepare(lan, project_root)
        for command in commands:
            if command.startswith(SUBMIT):
                small = "--config rllib-tactical/deploy/small.yaml"
                command = command.replace("TQQQ", "SYNTH").replace(
                    "runners 8", f"runners {RUNNERS} {small}"
                )
            running = lan.start(command, project)
            try:
                out, _ = running.communicate(timeout=400)
            except subprocess.TimeoutExpired:
                running.kill()
                pytest.fail(f"{command}\n{running.communicate()[0]}")
            assert running.returncode == 0, f"{command}\n{out}"
            said[command.split()[1]] = out
        # the driver ran on the head and its second runner where the head has no room
        trained = said["submit"]
        assert f"waiting for {RUNNERS} CPUs: the Ray cluster has 1 and may grow" in trained
        assert re.search(r"iter +2/2 +512 steps", trained)
        assert (project / "runs" / "first" / "run.json").exists()
        bundle = load_bundle(project / "bundles" / "first")
        assert bundle.instrument.symbol == "SYNTH"
        assert "No nodes remaining" in said["down"]
