"""The unit of the service: systemd's own check, and a command that the service has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.composed import compose
from tests.deploy.test_compose import example
from tests.serve.test_runbooks import parsed

UNIT = "deploy/systemd/tactical.service"


def text(root: Path) -> str:
    return (root / UNIT).read_text(encoding="utf-8")


def verified(folder: Path, unit: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    file = folder / Path(UNIT).name
    # the program of an installation need not be on this machine
    file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.M))
    return subprocess.run(
        [program, "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_systemd_has_nothing_to_say(project_root: Path, tmp_path: Path) -> None:
    done = verified(tmp_path, text(project_root))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_setting_is_noticed(project_root: Path, tmp_path: Path) -> None:
    done = verified(tmp_path, text(project_root).replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in done.stderr


def test_the_command_and_its_environment_are_the_services(project_root: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", text(project_root), re.M)
    program, *words = shlex.split(line)
    assert Path(program).name == "tactical"
    options = parsed(words).params
    service = compose(project_root, example(project_root))["services"]["service"]
    (known,) = [parsed([*service["command"][1:]]).params]
    assert {name: options[name] for name in ("port", "replicas")} == {
        name: known[name] for name in ("port", "replicas")
    }
    given = dict(
        pair.split("=", 1)
        for found in re.findall(r"^Environment=(.+)$", text(project_root), re.M)
        for pair in found.split()
    )
    elsewhere = {"TACTICAL_TOKEN", "TACTICAL_ADMIN_TOKEN", "REDIS_URL"}
    assert given == {k: str(v) for k, v in service["environment"].items() if k not in elsewhere}
