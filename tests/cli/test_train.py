from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.main import main
from rllib_tactical.cli.train import train_command
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import UsageError
from rllib_tactical.rl.training.win_rate import Total, choose


def test_the_workers_of_validation_are_known_by_their_name_in_version_1() -> None:
    for name in ("--validation-workers", "--evaluation-workers"):
        call = ["train", "--data", "no.csv", "--out", "no", name, "-1"]
        result = CliRunner().invoke(main, call)
        assert result.exit_code == 2
        assert f"Invalid value for '{name}'" in result.output
    assert "--evaluation-workers" not in CliRunner().invoke(main, ["train", "--help"]).output


@dataclass
class Training:
    """Stands in for ``train``: keeps what the command asks for."""

    config: TacticalConfig | None = None
    more: dict[str, Any] | None = None

    def __call__(self, sources: Any, folder: Path, config: TacticalConfig, **more: Any) -> Any:
        self.config, self.more = config, more
        return SimpleNamespace(validation=None)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    made = Training()
    monkeypatch.setattr("rllib_tactical.cli.train.train", made)
    return made


def run(folder: Path, *more: object) -> Result:
    """Run the command on a file that only its name is asked of."""
    words = ["--data", folder / "TQQQ_5m.csv", "--out", folder / "run", *more]
    return CliRunner().invoke(train_command, [str(word) for word in words])


def test_options_stand_above_the_file(training: Training, tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("tactical_marl: {training: {seed: 5, iterations: 7, num_env_runners: 2}}")
    done = run(tmp_path, "--config", settings, "--seed", 9, "--num-env-runners", 0, "--mlflow", "u")
    assert done.exit_code == 0, done.output
    assert training.config is not None
    found = training.config.training
    assert (found.seed, found.iterations, found.num_env_runners) == (9, 7, 0)
    assert training.more == {"resume": False, "mlflow": "u"}


def test_steps_become_whole_iterations(training: Training, tmp_path: Path) -> None:
    for steps, iterations in ((1, 1), (8_192, 1), (8_193, 2)):
        done = run(tmp_path, "--env-steps", steps)
        assert done.exit_code == 0, done.output
        assert training.config is not None
        assert training.config.training.iterations == iterations


def test_a_warm_start_is_named_wherever_the_run_goes_on(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, "--warm-start", "before", "--warm-layers", "all").exit_code == 0
    assert training.config is not None
    found = training.config.training.warm_start
    assert (found.path, found.layers) == (str(tmp_path / "before"), "all")
    alone = run(tmp_path, "--warm-layers", "all")
    assert isinstance(alone.exception, UsageError)
    assert "--warm-layers goes with --warm-start" in str(alone.exception)


def test_the_user_hears_when_agents_hardly_trade_and_what_a_win_rate_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, target = choose(0.75, [(1.0, 0.65), (1.0, 0.8)], [Total(9.0, 90, 45), Total(5, 40, 36)], 0)
    result = SimpleNamespace(
        validation=SimpleNamespace(trades_too_little=True, target=target),
        best_checkpoint=Path("checkpoints/000040"),
    )
    monkeypatch.setattr("rllib_tactical.cli.train.train", lambda *a, **k: result)
    output = run(tmp_path).output
    assert "note: in the best checkpoint (000040) the agents trade less" in output
    assert "in the best checkpoint: execution threshold 0.8 for 75% profitable trades" in output
    assert "instead of 50% of 90 trades" in output
