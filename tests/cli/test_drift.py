from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.types import Bars
from tests.market import random_bars

pytestmark = pytest.mark.slow

DAYS, NEW_DAYS, DAY = 40, 12, 288


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars((DAYS + NEW_DAYS) * DAY, seed=5)


@pytest.fixture(scope="module")
def data(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bars")
    later = bars[DAYS * DAY :]
    # each move four times as large: another market by its volatility
    close = 100.0 * (later.close / later.close[0]) ** 4
    prices = {
        name: np.round(close * (getattr(later, name) / later.close) ** 4, 2)
        for name in ("open", "high", "low", "close")
    }
    wild = dataclasses.replace(later, **prices)
    files = {"old": bars[: DAYS * DAY], "new": later, "wild": wild}
    for name, part in files.items():
        write_bars(part, folder / f"{name}.csv")
    return {name: folder / f"{name}.csv" for name in files}


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["drift", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_profile_is_kept_and_later_bars_are_compared(
    bundle: Bundle, data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, page = tmp_path / "profile.json", tmp_path / "drift.html"
    given = ("--bundle", bundle.path)
    code, out, err = call(capsys, *given, "--reference", data["old"], "--save-profile", profile)
    assert code == 0, err
    assert "Profile:" in out
    assert json.loads(profile.read_text())["bundle_id"] == bundle.bundle_id

    code, out, err = call(
        capsys, *given, "--profile", profile, "--data", data["new"], "--out", page
    )
    assert code == 0, out + err
    assert "No drift after" in out
    assert "may be those of training" in out.replace("\n", " ")
    text = page.read_text(encoding="utf-8")
    assert "psi_price_momentum_5"[:3] in text and bundle.bundle_id[:12] in text

    code, out, err = call(capsys, *given, "--profile", profile, "--data", data["wild"], "--json")
    assert code == 1, out + err
    found = json.loads(out)
    assert found["drift"] is True
    assert {r["group"] for r in found["readings"] if r["alarm"]} >= {"inputs"}
    assert found["reference"]["data"] == "old.csv"


def test_what_the_command_refuses(
    bundle: Bundle, data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--bundle", bundle.path)
    other = tmp_path / "other.json"
    for arguments, message in (
        ((), "give --data to compare, or --save-profile"),
        (("--data", data["new"]), "--reference is needed"),
        (("--save-profile", tmp_path / "p.json"), "needs --reference"),
        (("--data", data["new"], "--reference", data["new"]), "at least 30 sessions"),
        (("--data", data["new"], "--profile", other), "cannot be read"),
        (("--data", data["new"], "--profile", other, "--reference", other), "not both"),
    ):
        code, _, err = call(capsys, *given, *arguments)
        assert code in (1, 2)
        assert message in err
