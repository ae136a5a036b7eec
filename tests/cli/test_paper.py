"""``tactical paper``: what it prints, what it refuses, and a process that is killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.live.log import LOG
from tests.contract import parity

pytestmark = pytest.mark.slow

Scene = tuple[Bundle, Path, Path]
"""Bundle, bars and the backtest of both."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    case = parity.synthetic()
    bundle = parity.opinionated(folder / "bundle", case)
    write_bars(case.bars, folder / "bars.csv")
    with pytest.raises(SystemExit) as stop:
        cli.run(["backtest", *arguments(bundle, folder / "bars.csv", folder / "backtest")])
    assert not stop.value.code
    return bundle, folder / "bars.csv", folder / "backtest"


def arguments(bundle: Bundle, data: object, out: Path, *more: str) -> list[str]:
    return ["--bundle", str(bundle.path), "--data", str(data), "--out", str(out), *more]


def call(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["paper", *given])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_it_prints_what_a_backtest_prints(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, data, backtest = scene
    more = ("--no-baselines", "--no-statistics")
    code, text, _ = call(capsys, *arguments(bundle, data, tmp_path / "a", *more))
    assert code == 0
    assert "SYNTH on paper, net of costs" in text
    assert "On paper" in text
    assert text.rstrip().endswith("report.html")
    code, text, _ = call(capsys, *arguments(bundle, data, tmp_path / "b", "--json", *more))
    document = json.loads(text)
    expected = json.loads((backtest / "kpis.json").read_text())
    assert document["kpis"] == expected["kpis"]
    assert document["out"] == str(tmp_path / "b")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "give --bundle, --url of a running service, or both"),
        (("--bus", "redis://x", "--url", "x"), "give --data, or --bus that has the bars, one of"),
        (("--url", "http://127.0.0.1:9"), "GET /model got no answer"),
        (("--follow", "--speed", "2", "--url", "x"), "--stop and --speed are for a file that"),
        (("--start", "soon"), "--start must be a date such as 2025-03-31"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    scene: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    said: str,
) -> None:
    _, data, _ = scene
    out = tmp_path / "out"
    code, text, err = call(capsys, "--data", str(data), "--out", str(out), *more)
    assert (code in (1, 2), text) == (True, "")
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def command(*given: str) -> list[str]:
    return [sys.executable, "-m", "rllib_tactical", "paper", *given]


def decisions(out: Path) -> int:
    path = out / LOG
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_process_that_is_killed_at_any_moment_goes_on(scene: Scene, tmp_path: Path) -> None:
    """By SIGKILL, and by Ctrl-C, which says how to go on."""
    bundle, data, backtest = scene
    out, rng = tmp_path / "out", random.Random(11)
    slow = ("--speed", "30000")  # 10 ms a bar: there is time to be killed in
    resume: tuple[str, ...] = ()
    for ending in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
        target = decisions(out) + rng.randrange(3, 80)
        with subprocess.Popen(
            command(*arguments(bundle, data, out, *slow, *resume)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while decisions(out) < target:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(ending)
            _, err = process.communicate(timeout=60)
        if ending is signal.SIGINT:
            assert process.returncode == 130
            assert err.splitlines()[-1] == f"interrupted: go on with --resume --out {out}"
        resume = ("--resume",)
    done = subprocess.run(
        command(*arguments(bundle, data, out, "--resume")), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (out / "trades.csv").read_bytes() == (backtest / "trades.csv").read_bytes()
    assert json.loads((out / "kpis.json").read_text()) == json.loads(
        (backtest / "kpis.json").read_text()
    )


def test_a_session_without_enough_bars_yet_goes_on_as_well(scene: Scene, tmp_path: Path) -> None:
    bundle, data, backtest = scene
    out, lines = tmp_path / "out", data.read_bytes().splitlines(keepends=True)
    given = command(*arguments(bundle, "-", out))
    with subprocess.Popen(given, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines[:100]))
        process.stdin.flush()
        while not (out / "bars.csv").exists() or (out / "bars.csv").stat().st_size < 100:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 130
    done = subprocess.run(
        [*given, "--resume"], input=b"".join(lines[50:]), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / "trades.csv").read_bytes() == (backtest / "trades.csv").read_bytes()


def test_bars_come_from_standard_input_as_well(scene: Scene, tmp_path: Path) -> None:
    bundle, data, backtest = scene
    out = tmp_path / "out"
    lines = data.read_bytes()
    done = subprocess.run(
        command(*arguments(bundle, "-", out)), input=lines, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / "trades.csv").read_bytes() == (backtest / "trades.csv").read_bytes()
    assert (out / "bars.csv").read_bytes() == lines
