from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from tests.market import random_bars


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["adapt", *map(str, arguments)])
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.mark.slow
def test_what_is_refused_before_anything_is_trained(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, folder = tmp_path / "bars.parquet", tmp_path / "out", tmp_path / "registry"
    write_bars(random_bars(1_000, seed=3), data)
    given = ("--symbol", "TEST", "--data", data, "--out", out, "--registry", folder)
    code, err = call(capsys, *given)
    assert (code, "must have a promoted bundle for TEST" in err) == (2, True)
    registry = Registry(folder)
    registry.add(bundle.path)
    registry.promote(bundle.bundle_id, why="first")
    code, err = call(capsys, *given, "--resume")
    assert (code, "there is no bundle adaptation" in err) == (2, True)
    code, err = call(capsys, *given, "--when", "drift")
    assert (code, "must have a profile of drift, found none" in err) == (2, True)
    code, err = call(capsys, *given, "--resume", "--bars", 500)
    assert (code, "split needs more than 360 bars" in err) == (1, True)
    assert not (out / "run").exists()
