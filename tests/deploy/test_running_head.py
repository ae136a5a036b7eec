"""`ray job submit` and the service's manifest against a running head, as docs/job.md tells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.data.files import write_bars
from rllib_tactical.data.markets import make_market
from rllib_tactical.export import export_run
from rllib_tactical.rl.run_folder import RunFolder
from tests.deploy.head import Head
from tests.deploy.pages import commands_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COPIED_NOT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "out", "*.egg-info")
SMALL = """tactical_marl:
  training: {iterations: 2, batch_size: 256, minibatch_size: 128, epochs: 1, num_envs: 16,
             accounts_per_bar: 4, num_env_runners: 1, episodes: {length: 32},
             checkpoint_every: 100000}
"""
UPLOAD_LIMIT_BYTES = 3_000_000
PATIENCE_S = 240.0


class Desk:
    """Where a user works: a checkout with bars beside it, and a head that takes jobs."""

    def __init__(self, head: Head, folder: Path, root: Path) -> None:
        self.head, self.folder, self.checkout = head, folder, folder / "checkout"
        shutil.copytree(root, self.checkout, ignore=COPIED_NOT)
        # whoever says this was not imported from an installed package
        train = self.checkout / "rllib_tactical" / "train.py"
        text = train.read_text(encoding="utf-8")
        assert 'say(f"ready in' in text
        train.write_text(text.replace('say(f"ready in', 'say(f"the upload is ready in'), "utf-8")
        (self.checkout / "big.parquet").write_bytes(os.urandom(UPLOAD_LIMIT_BYTES))
        write_bars(make_market("momentum", 1, 3_000, 0.0).bars, folder / "bars.parquet")
        (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
        self._commands = commands_of(root / "docs" / "job.md", "Submit, watch, stop")

    def start(self, beginning: str, more: str = "") -> subprocess.Popen[str]:
        """Start the command of the page that begins so, with this desk's bars and ``more``."""
        (command,) = (c for c in self._commands if c.startswith(beginning))
        command = command.replace("TQQQ", "SYNTH").replace("~", str(self.folder))
        command = command.replace("--num-env-runners 2", f"--config {self.folder}/small.yaml")
        return subprocess.Popen(
            ["bash", "-c", f"exec {command} {more}"],
            cwd=self.checkout,
            env=self.head.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, beginning: str, more: str = "") -> str:
        """Run a command of the page to its end, which has to be a good one; return what it said."""
        running = self.start(beginning, more)
        said, _ = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0, said
        return said

    def job(self, number: str) -> dict[str, object]:
        """Return what the head knows of a job."""
        known: dict[str, object] = self.head.get(f"/api/jobs/{number}").json()
        return known


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[Desk]:
    with Head({"RAY_JOB_STOP_WAIT_TIME_S": "60"}) as head:
        yield Desk(head, tmp_path_factory.mktemp("desk"), project_root)


def lines_until(running: subprocess.Popen[str], pattern: str) -> str:
    """Return what a program says up to a line that matches, without waiting for its end."""
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"it ended without {pattern!r}:\n{said}")


def test_a_job_shows_its_log_while_it_runs_and_leaves_a_run(desk: Desk) -> None:
    running = desk.start("ray job submit --working-dir . -- ")
    said = lines_until(running, "iter +1/2")
    (number,) = set(re.findall(r"'(raysubmit_\w+)'", said))
    assert desk.job(number)["status"] == "RUNNING"
    rest, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, rest
    assert "succeeded" in rest
    assert desk.job(number)["status"] == "SUCCEEDED"
    assert "the upload is ready in" in said
    run = RunFolder(desk.folder / "runs" / "first")
    assert [path.name for path in run.checkpoints()] == ["000002"]
    export_run(run.path, desk.folder / "bundle")


def test_what_is_uploaded_is_small(desk: Desk) -> None:
    packages = list(
        Path("/tmp").glob("tac-*/ray/session_latest/runtime_resources/working_dir_files/*")
    )
    ours = [path for path in packages if path.is_dir()]
    assert ours
    for folder in ours:
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < UPLOAD_LIMIT_BYTES
        names = {path.relative_to(folder).parts[0] for path in files}
        assert {"rllib_tactical", "envs", "serve", "tactical.yaml"} <= names
        assert not names & {".git", ".venv", "tests", "docs", "big.parquet", "runs"}


def test_a_stopped_job_leaves_what_it_has_learnt(desk: Desk) -> None:
    desk.run("ray job submit --working-dir . --no-wait", "--iterations 100000")
    following = desk.start("ray job logs second")
    lines_until(following, "iter +3 ?/")
    assert desk.run("ray job status second").count("RUNNING") == 1
    desk.run("ray job stop second")
    assert desk.job("second")["status"] == "STOPPED"
    following.communicate(timeout=PATIENCE_S)
    (checkpoint,) = RunFolder(desk.folder / "runs" / "second").checkpoints()
    assert int(checkpoint.name) >= 3


def test_a_job_that_fails_says_why_and_with_which_code(desk: Desk) -> None:
    running = desk.start("ray job submit --working-dir . -- ", "--data missing.parquet")
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert "Traceback" not in said
    (number,) = set(re.findall(r"'(raysubmit_\w+)'", said))
    job = desk.job(number)
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 2)
    assert number in desk.run("ray job list")
