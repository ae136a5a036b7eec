from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.cli.main import run
from tests.catalog.conftest import results

__all__ = ["results"]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run(["runs", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_list_shows_every_result(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    code, out, _ = call(capsys, "list", results)
    assert code == 0
    for text in ("backtest", "sweep", "2 of 2 iterations", "net"):
        assert text in out
    code, out, _ = call(capsys, "list", results, "--json")
    assert [record["kind"] for record in json.loads(out)][:2] == ["run", "sweep"]


def test_an_empty_folder_is_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(capsys, "list", tmp_path)
    assert (code, out) == (0, "no run, sweep, backtest or walk-forward evaluation found\n")


def test_compare_shows_what_differs_and_writes_a_page(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    near, far = results / "traded" / "near", results / "traded" / "far"
    code, out, _ = call(capsys, "compare", near, far, "--out", page)
    assert code == 0
    assert out.index("rules.orders.stop_atr") < out.index("Results")
    assert "<html" in page.read_text()
    code, out, _ = call(capsys, "compare", results / "traded", "--json")
    assert json.loads(out)["differences"] == {"rules.orders.stop_atr": [2.0, 4.0]}


def test_errors_say_what_is_needed(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    code, _, err = call(capsys, "compare", results / "traded" / "near")
    assert (code, "at least 2 results, found 1" in err) == (2, True)
    code, _, err = call(capsys, "list", tmp_path / "none")
    assert (code, "must be a folder" in err) == (2, True)
