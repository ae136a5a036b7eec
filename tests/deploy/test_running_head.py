"""`ray job submit` and the service's manifest against a running head, as in docs/howto/job.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.bench.stock_serve import haproxy_flags
from rllib_tactical.bundle.export import export_run
from rllib_tactical.data.files import write_bars
from rllib_tactical.synthetic import make_market
from tests.deploy.head import TOKEN, Head, free_ports
from tests.deploy.manifests import groups, read_manifest
from tests.deploy.pages import commands_of
from tests.ports import ports_of_serve

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COPIED_NOT = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", "runs", "out", "*.egg-info", ".*cache", ".hypothesis"
)
SMALL = """tactical_marl:
  training: {iterations: 2, steps_per_update: 256, batch_size: 128, epochs: 1, num_envs: 16,
             accounts_per_bar: 4, num_env_runners: 1, episodes: {length: 32},
             checkpoint_every: 100000}
"""
UPLOAD_LIMIT_BYTES = 8_000_000
PATIENCE_S = 240.0
UPLOADED = "this is the upload"


class Desk:
    """Where a user works: a checkout with bars beside it, and a head that takes jobs."""

    def __init__(self, head: Head, folder: Path, root: Path) -> None:
        self.head, self.folder, self.checkout = head, folder, folder / "checkout"
        shutil.copytree(root, self.checkout, ignore=COPIED_NOT)
        # only the upload prints this line, not an installed package
        train = self.checkout / "rllib_tactical" / "train.py"
        text = train.read_text(encoding="utf-8")
        start = '    run(["train"'
        assert start in text
        train.write_text(text.replace(start, f'    print("{UPLOADED}")\n{start}'), "utf-8")
        (self.checkout / "big.parquet").write_bytes(os.urandom(UPLOAD_LIMIT_BYTES))
        write_bars(make_market("momentum", 1, 3_000, 0.0).bars, folder / "bars.parquet")
        (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
        self._commands = commands_of(root / "docs" / "howto" / "job.md", "Submit, watch, stop")

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
    # the paths of HAProxy's sockets are limited to some hundred characters
    folder = Path(tempfile.mkdtemp(prefix="tac-", dir="/tmp"))
    one, other = free_ports(2)
    environment = haproxy_flags(folder, (one, other)) | of_the_pods(project_root)
    environment["TMPDIR"] = str(folder)
    # other services of this machine open HAProxy's ports too
    with ports_of_serve(), Head(environment) as head:
        yield Desk(head, tmp_path_factory.mktemp("desk"), project_root)
    shutil.rmtree(folder, ignore_errors=True)


def of_the_pods(root: Path) -> dict[str, str]:
    """Return the variables that the manifests give to the head's container."""
    found: dict[str, str] = {}
    for name in ("rayjob.yaml", "rayservice.yaml"):
        for group in groups(read_manifest(root, name)):
            (container,) = group["template"]["spec"]["containers"]
            found |= {v["name"]: v.get("value", TOKEN) for v in container["env"]}
    return found


@dataclass(frozen=True)
class Finished:
    """A job that has ended well: what it said up to its first iteration and after, its status."""

    number: str
    said: str
    rest: str
    status: object


@pytest.fixture(scope="module")
def first(desk: Desk) -> Finished:
    """Run the first job of the page."""
    running = desk.start("ray job submit --working-dir . -- ")
    said = lines_until(running, "iter +1/2")
    (number,) = set(re.findall(r"'(raysubmit_\w+)'", said))
    assert running.stdout is not None
    rest = running.stdout.read()  # not communicate(): it does not know of lines read ahead
    running.stdout.close()
    assert running.wait(timeout=PATIENCE_S) == 0, rest
    return Finished(number, said, rest, desk.job(number)["status"])


def lines_until(running: subprocess.Popen[str], pattern: str) -> str:
    """Return what a program says up to a line that matches, without waiting for its end."""
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"it ended without {pattern!r}:\n{said}")


def test_a_job_shows_its_log_while_it_runs_and_leaves_a_run(desk: Desk, first: Finished) -> None:
    assert first.status == "SUCCEEDED"
    assert UPLOADED in first.said
    assert re.search("iter +2/2", first.rest)
    run = RunFolder(desk.folder / "runs" / "first")
    assert [path.name for path in run.checkpoints()] == ["000002"]


def test_what_is_uploaded_is_small(first: Finished) -> None:
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
    said = lines_until(following, "iter +3 ?/")
    assert UPLOADED in said  # run as a script by its path
    assert desk.run("ray job status second").count("RUNNING") == 1
    desk.run("ray job stop second")
    assert desk.job("second")["status"] == "STOPPED"
    assert following.stdout is not None
    following.stdout.read()
    following.wait(timeout=PATIENCE_S)
    following.stdout.close()
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


@pytest.mark.serve
def test_the_service_of_the_manifest_answers(
    desk: Desk, first: Finished, project_root: Path
) -> None:
    """As KubeRay does it: the dashboard gets the file, the head has the container's variables."""
    bundle = export_run(desk.folder / "runs" / "first", desk.folder / "bundle")
    config = yaml.safe_load(read_manifest(project_root, "rayservice.yaml")["spec"]["serveConfigV2"])
    (port,) = free_ports(1)
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    (application,) = config["applications"]
    state = desk.folder / "state"
    application["args"] = {"bundle": str(desk.folder / "bundle"), "state": str(state)}
    application["deployments"][0]["num_replicas"] = 1
    desk.head.put("/api/serve/applications/", config)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(client, "/ready"):
            known = desk.head.get("/api/serve/applications/").json()["applications"]["tactical"]
            assert known["status"] != "DEPLOY_FAILED", known["message"]
            assert time.monotonic() < deadline, known["message"]
            time.sleep(0.5)
        assert answers(client, "/-/healthz")  # what KubeRay asks each pod
        assert client.get("/model").status_code == 401
        model = client.get("/model", headers={"authorization": f"Bearer {TOKEN}"})
        assert model.json()["bundle_id"] == bundle.bundle_id
    assert (state / "SYNTH").is_dir()
    desk.head.delete("/api/serve/applications/")


def answers(client: httpx.Client, path: str) -> bool:
    with suppress(httpx.HTTPError):
        return client.get(path).status_code == httpx.codes.OK
    return False
