from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.synthetic import make_market

BARS = 6_000


CONFIG = """tactical_marl:
  training:
    iterations: 1
    steps_per_update: 512
    batch_size: 256
    epochs: 1
    num_envs: 32
    accounts_per_bar: 4
    episodes: {kind: bars, length: 32, cost_factors: [1.0, 1.0]}
    checkpoint_every: 1
    temperature_scales: [1.0, 0.125]
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    write_bars(make_market("momentum", 1, BARS).bars, folder / "SYNTH.parquet")
    (folder / "small.yaml").write_text(CONFIG)
    return folder / "SYNTH.parquet", folder / "small.yaml"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--folds", "2", "--test-from", "2000-02-01"], 2, "give both --validation-from and"),
        (["--folds", "0"], 2, "--folds must be at least 1"),
        (["--folds", "40"], 1, "the test part needs at least 362 bars"),
        (["--resume"], 2, "there is no walk-forward evaluation in"),
        (["--data", "missing_SYNTH.csv", "--instrument", "SYNTH"], 2, "missing_SYNTH.csv"),
    ],
)
def test_errors_are_one_clear_line(
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    words: str,
) -> None:
    out = tmp_path / "out"
    found, _, err = call(capsys, "--data", files[0], "--out", out, *more)
    assert found == code
    assert words in err
    assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = call(capsys, "--data", files[0], "--out", tmp_path, "--folds", 1)
    assert code == 2
    assert "--out must be a new or empty folder, found notes.txt in" in err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
