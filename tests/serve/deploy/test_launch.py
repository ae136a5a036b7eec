"""What a service with several symbols is started with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.config.loader import parse_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.errors import ConfigError, ServiceError
from serve.deploy.config_entry import build
from serve.deploy.launch import (
    experiment_record,
    launch_records,
    load_bundles,
    load_challengers,
    total_limits,
)
from serve.deploy.launcher import Service, describe
from serve.http.security import TOKEN_VARIABLE
from serve.state.records import ExperimentRecord
from serve.state.total import TotalLimits
from tests.serve.several import bundles_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("launch")
    strict = bundles_for(folder, ["A"], Rules(risk=RiskConfig(session_drawdown_limit=0.01)))
    return [*strict, *bundles_for(folder, ["B"], Rules())]


def test_each_symbol_has_one_bundle(bundles: list[Bundle], tmp_path: Path) -> None:
    paths = [bundle.path for bundle in bundles]
    loaded = load_bundles(paths)
    assert [bundle.instrument.symbol for bundle in loaded] == ["A", "B"]
    records = launch_records(loaded, "now", TacticalConfig())
    assert [(record.symbol, record.launch) for record in records] == [("A", "now"), ("B", "now")]
    copy = Path(shutil.copytree(paths[0], tmp_path / "copy"))
    with pytest.raises(ServiceError) as refused:
        load_bundles([*paths, copy])
    assert str(refused.value) == f"there must be one bundle for A, found {paths[0]} and {copy}"
    with pytest.raises(ServiceError, match="must be a bundle, found none"):
        load_bundles([])


def test_the_sum_has_a_limit_where_there_are_several_symbols(bundles: list[Bundle]) -> None:
    given = parse_config(
        {"tactical_marl": {"risk": {"total_drawdown_limit": 0.5, "total_daily_loss_limit": 0.1}}},
        "test",
    )
    assert total_limits(bundles, TacticalConfig()) == TotalLimits(0.02, None)
    assert total_limits(bundles[:1], TacticalConfig()) == TotalLimits()
    assert total_limits(bundles[:1], given) == total_limits(bundles, given) == TotalLimits(0.5, 0.1)
    assert given.rules == TacticalConfig().rules  # bundles have nothing of it
    assert type(given.rules.risk) is RiskConfig
    for value in (0.0, 1.5):
        with pytest.raises(ConfigError, match=r"risk\.total_drawdown_limit must be in \(0, 1\]"):
            parse_config({"tactical_marl": {"risk": {"total_drawdown_limit": value}}}, "test")


def test_the_start_message_names_symbols_and_what_is_not_served(tmp_path: Path) -> None:
    lines = describe(
        Service(
            url="http://127.0.0.1:8001",
            bundles={"A": "a" * 64, "B": "b" * 64},
            replicas=1,
            authenticated=False,
            state="state",
            logs=tmp_path,
            left_out={"C": -3.0},
            _tear_down=lambda: None,
            watch=None,  # type: ignore[arg-type]
        )
    )
    assert lines[0].endswith(f"(1 replica, A {'a' * 12}, B {'b' * 12})")
    assert lines[-1] == (
        "the state also holds C, for which no bundle was given: its position of -3 lots is kept "
        "and not traded"
    )


def test_a_configuration_file_may_list_bundles(
    bundles: list[Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-sufficient-length")
    listed = {"bundle": [str(bundle.path) for bundle in bundles], "state": str(tmp_path)}
    _, state = build(listed)._bound_deployment.init_args
    assert [model.symbol for model in state.models] == ["A", "B"]
    assert (state.store, state.limits) == (str(tmp_path), TotalLimits(0.02))
    listed = {"bundle": [str(bundles[0].path)], "state": "redis://server:6379/1"}
    _, state = build(listed)._bound_deployment.init_args
    assert state.store == "redis://server:6379/1#.all"


def test_challengers_are_for_the_markets_that_are_served(
    bundles: list[Bundle], tmp_path: Path
) -> None:
    rival = bundles_for(tmp_path / "rivals", ["A"], Rules())[0]
    loaded = load_challengers([rival.path], bundles)
    (chosen,) = experiment_record(loaded).challengers
    assert (chosen.symbol, chosen.bundle_id) == ("A", rival.bundle_id)
    assert experiment_record(load_challengers([], bundles)) == ExperimentRecord()
    assert experiment_record(loaded, "session").split == "session"
    with pytest.raises(ServiceError, match="a split by symbol must have a challenger, found none"):
        experiment_record([], "symbol")
    for path in (bundles[0].path, rival.path):
        with pytest.raises(ServiceError, match="another bundle than all before it"):
            load_challengers([rival.path, path], bundles)
    with pytest.raises(ServiceError, match="a challenger must be for one of B, found A"):
        load_challengers([rival.path], bundles[1:])
    made = []
    for name, changes in (
        ("ticks", {"instrument": replace(rival.instrument, tick_size=0.5)}),
        ("synergies", {"training": {"data": {"synergies": "none"}}}),
    ):
        values: dict[str, Any] = {
            "weights": rival.weights,
            "rules": rival.rules,
            "instrument": rival.instrument,
            "bar_seconds": 300,
            "temperature_scale": 0.5,
            "training": {},
            "metrics": {},
            **changes,
        }
        made.append(export_bundle(tmp_path / name, **values).path)
    with pytest.raises(ServiceError, match=r"another market: tick_size 0\.5 instead of 0\.01"):
        load_challengers(made[:1], bundles)
    with pytest.raises(ServiceError, match=r"as its champion does \(detect\), found none"):
        load_challengers(made[1:], bundles)
