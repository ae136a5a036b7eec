from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.instruments import instruments_group
from rllib_tactical.config.loader import to_dict
from rllib_tactical.data.instrument_fields import FIELDS
from rllib_tactical.data.instruments import list_instruments, load_instrument


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        instruments_group, [str(argument) for argument in arguments], standalone_mode=False
    )


def test_the_shipped_instruments_are_listed() -> None:
    names = list_instruments()
    assert [each["symbol"] for each in json.loads(run("list", "--json").output)] == names
    text = run("list").output
    assert all(name in text for name in names)
    assert "COMEX" in text and "1e-05" in text


@pytest.mark.parametrize("name", list_instruments())
def test_what_is_shown_is_a_file_that_is_accepted(tmp_path: Path, name: str) -> None:
    shown = run("show", name)
    assert shown.return_value == 0
    for field, (_, text) in FIELDS.items():
        assert f"# {text}" in shown.output and f"\n{field}: " in shown.output
    path = tmp_path / "mine.yaml"
    path.write_text(shown.output)
    assert load_instrument(path) == load_instrument(name)
    checked = run("check", path)
    assert (checked.return_value, checked.output) == (0, f"{path}: {name} is a valid instrument\n")
    assert json.loads(run("show", path, "--json").output) == to_dict(load_instrument(name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol: X\n", "tick_size"),
        ("symbol: X\ntick_size: 0\n", "instrument.tick_size must be finite and > 0, found 0"),
        ("symbol: X\ntick_size: 1\nfunding_hours: 5\n", "funding_hours must divide 24, found 5"),
        ("symbol: X\ntick_size: 1\ncalendar: NOPE\n", "expected 24/7, CMES, COMEX, FX or one of"),
        ("symbol: X\ntick_size: 1\ntick: 2\n", "tick"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    result = run("check", path)
    assert result.return_value == 1
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    answer = json.loads(run("check", path, "--json").output)
    assert answer["ok"] is False and message in answer["error"]
