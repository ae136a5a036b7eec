"""The command line as a user meets it: help, exit codes, and no traceback for a user error."""

import gzip
import html
import json
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from rllib_tactical import __version__
from rllib_tactical.bundle.bundle import export_bundle
from rllib_tactical.cli.main import main, run
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.synthetic import make_market
from tests.actors import untrained_weights
from tests.ports import ports_of_serve


def tactical(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    command = [sys.executable, "-m", "rllib_tactical", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


COMMANDS = main.list_commands(click.Context(main))


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    made = make_market("momentum", 1, 3_000, 0.0)
    path = tmp_path_factory.mktemp("cli") / "SYNTH_5m.csv.gz"
    write_bars(made.bars, path)
    return path, made


@pytest.fixture(scope="module")
def bundle(market, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "b"
    export_bundle(
        out,
        weights=untrained_weights(),
        rules=Rules(),
        instrument=market[1].instrument,
        bar_seconds=300,
        temperature_scale=1.0,
        training={},
        metrics={},
    )
    return out


def test_help_lists_every_command_without_importing_frameworks():
    code = (
        "import sys; from rllib_tactical.cli.main import run\n"
        "try: run(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'ray', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output
    assert "--help" in result.output


def test_version():
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def write_broken(path: Path, good: Path) -> Path:
    frame = pd.read_csv(good)
    frame.loc[10, "high"] = frame["low"][10] / 2
    frame.loc[11, "close"] = -1.0
    frame.to_csv(path, index=False)
    return path


def user_errors(market, bundle, folder):
    """Return arguments, exit code and words of the message for what users get wrong."""
    good = market[0]
    broken = write_broken(folder / "SYNTH_broken.csv", good)
    cut = folder / "SYNTH_cut.csv.gz"
    cut.write_bytes(gzip.compress(b"x" * 5_000)[:-20])
    config = folder / "bad.yaml"
    config.write_text("tactical_marl: {training: {epoch: 3}}")
    twice = folder / "twice.yaml"
    twice.write_text("tactical_marl: {training: {epochs: 1, epochs: 2}}")
    unnamed = folder / "mystery.csv.gz"
    unnamed.write_bytes(good.read_bytes())
    run, out = folder / "run", folder / "out"
    tampered = folder / "tampered"
    tampered.mkdir()
    for file in bundle.iterdir():
        (tampered / file.name).write_bytes(file.read_bytes())
    weights = tampered / "actors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    return {
        "no command": (["fly"], 2, "No such command"),
        "missing option": (["train", "--data", good], 2, "--out"),
        "data missing": (["train", "--data", folder / "no.csv", "--out", run], 2, "no.csv"),
        "data unreadable": (["train", "--data", cut, "--out", run], 2, "SYNTH_cut"),
        "data broken": (["train", "--data", broken, "--out", run], 1, "high"),
        "instrument unknown": (
            ["train", "--data", good, "--out", run, "--instrument", "GOLD"],
            2,
            "GOLD",
        ),
        "instrument untold": (["train", "--data", unnamed, "--out", run], 2, "--instrument"),
        "config key": (
            ["train", "--data", good, "--out", run, "--config", config],
            2,
            "training.epoch",
        ),
        "config missing": (
            ["train", "--data", good, "--out", run, "--config", folder / "no.yaml"],
            2,
            "no.yaml",
        ),
        "key twice": (
            ["train", "--data", good, "--out", run, "--config", twice],
            2,
            "key 'epochs' appears more than once, line 1",
        ),
        "seed too large": (
            ["train", "--data", good, "--out", run, "--seed", 2**32],
            2,
            "training.seed must be in 0..4294967295, found 4294967296",
        ),
        "both lengths": (
            ["train", "--data", good, "--out", run, "--iterations", 1, "--env-steps", 1],
            2,
            "not both",
        ),
        "nothing to resume": (
            ["train", "--data", good, "--out", run, "--resume"],
            2,
            "there is no run in",
        ),
        "export nothing": (["export", folder / "nothing", "--out", out], 2, "run.json"),
        "backtest no bundle": (
            ["backtest", "--bundle", folder / "nothing", "--data", good, "--out", out],
            2,
            "no bundle here",
        ),
        "backtest tampered": (
            ["backtest", "--bundle", tampered, "--data", good, "--out", out],
            1,
            "hash mismatch",
        ),
        "backtest broken data": (
            [
                "backtest",
                "--bundle",
                bundle,
                "--data",
                broken,
                "--out",
                out,
                "--instrument",
                "SYNTH",
            ],
            1,
            "high",
        ),
        "serve tampered": (["serve", "--bundle", tampered], 1, "hash mismatch"),
        "serve no bundle": (["serve", "--bundle", folder / "nothing"], 2, "no bundle here"),
        "serve open to all without token": (
            ["serve", "--bundle", bundle, "--host", "0.0.0.0"],
            1,
            "TACTICAL_TOKEN",
        ),
        "demo data missing": (
            ["demo", "--data", folder / "TQQQ.csv", "--out", out],
            2,
            "TQQQ.csv",
        ),
        "demo over strangers": (["demo", "--out", folder], 2, "of an earlier demo, found"),
        "features missing": (
            ["features", folder / "no.csv", "--out", folder / "table.csv"],
            2,
            "no.csv",
        ),
        "features over bars": (["features", good, "--out", good], 2, "is the input file"),
    }


@pytest.fixture(scope="module")
def errors(market, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    return user_errors(market, bundle, folder), folder


CASES = (
    "no command",
    "missing option",
    "data missing",
    "data unreadable",
    "data broken",
    "instrument unknown",
    "instrument untold",
    "config key",
    "config missing",
    "key twice",
    "seed too large",
    "both lengths",
    "nothing to resume",
    "export nothing",
    "backtest no bundle",
    "backtest tampered",
    "backtest broken data",
    "serve tampered",
    "serve no bundle",
    "serve open to all without token",
    "demo data missing",
    "demo over strangers",
    "features missing",
    "features over bars",
)


AS_A_PROCESS = ("no command", "data broken", "serve tampered")
"""One of each exit path as the real program; the others call its entry point in this process."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_user_error_is_one_clear_message(errors, case, monkeypatch, capsys):
    monkeypatch.delenv("TACTICAL_TOKEN", raising=False)
    table, folder = errors
    assert set(table) == set(CASES)
    arguments, code, words = table[case]
    before = sorted(path.name for path in folder.iterdir())
    if case in AS_A_PROCESS:
        done = tactical(*arguments)
        found: str | int | None = done.returncode
        err = done.stderr
    else:
        with pytest.raises(SystemExit) as stop:
            run([str(argument) for argument in arguments])
        found, err = stop.value.code, capsys.readouterr().err
    assert found == code, err
    assert words in err
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir()) == before, (
        "something half-written is left"
    )


@pytest.mark.ray
@pytest.mark.serve
@pytest.mark.slow
def test_the_demo_does_the_whole_job_twice_in_a_row(tmp_path):
    out, bars = tmp_path / "demo", tmp_path / "bars.parquet"
    write_bars(make_market("momentum", 2, 8_000, 0.0).bars, bars)
    with ports_of_serve():
        for own in (("--data", bars, "--instrument", "SYNTH"), ()):  # first a user's bars, few
            done = tactical("demo", "--out", out, "--train-seconds", 2, *own)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
            assert (out / "page.png").is_file()
    for step in ("1/5", "2/5", "3/5", "4/5", "5/5"):
        assert step in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    names = [row["name"] for row in summary["policies"]]
    assert names == [
        "policy",
        "no_trades",
        "buy_and_hold",
        "always_long",
        "random",
        "rule_based",
        "oracle",
    ]
    for row in summary["policies"]:
        assert f"{row['net_pnl']:,.0f}" in done.stdout
    assert summary["decision"]["bundle_id"] == summary["bundle_id"]
    assert set(summary["decision"]["agent_breakdown"]) == set(AGENTS)
    report = (out / "backtest" / "report.html").read_text()
    assert html.escape(summary["verdict"], quote=False) in report
