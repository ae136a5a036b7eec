from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.selftest import checks as selftest
from rllib_tactical.selftest.checks import CHECKS
from tests.market import random_bars


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "MARKET_BARS", 4_000)
    monkeypatch.setattr(selftest, "PERMUTATIONS", 2)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["selftest", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.slow
def test_the_command_on_a_file(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "bars.csv", tmp_path / "selftest.json"
    write_bars(random_bars(1_400, seed=5), data)
    code, text, err = call(capsys, "--bundle", bundle.path, "--data", data, "--out", out, "--json")
    document = json.loads(text)
    assert code == (1 if document["failed"] else 0), err
    assert json.loads(out.read_text()) == document
    assert len(document["checks"]) == len(CHECKS)
    assert document["bars"] == 1_400
    assert document["data"] == "bars.csv"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--instrument", "TQQQ"], 2, "--instrument goes with --data"),
        (["--out", "missing/x.json"], 2, "there is no folder missing"),
        (["--data", "bars.csv"], 1, "self-tests need at least 860 bars, found 700"),
        (["--bundle", "missing"], 2, "no bundle here"),
    ],
)
def test_errors_are_one_clear_line(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(random_bars(700), tmp_path / "bars.csv")
    found, _, err = call(capsys, "--bundle", bundle.path, *arguments)
    assert found == code
    assert words in err
