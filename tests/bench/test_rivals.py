from __future__ import annotations

import sys
import types
import warnings
from typing import Any

import pandas as pd
import pytest

from rllib_tactical.bench import rivals
from tests.market import random_bars

BARS = random_bars(120)
NAMES = ("smartmoneyconcepts", "gym_trading_env.environments", "gym_anytrading.envs")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for part in (name.partition(".")[0], name):
            monkeypatch.setitem(sys.modules, part, None)


@pytest.mark.usefixtures("nothing_installed")
def test_what_is_not_installed_is_reported_and_has_no_figure() -> None:
    found = (
        rivals.smart_money_gaps(BARS, 1),
        *rivals.smart_money_updates(BARS),
        *rivals.gym_steps(BARS, 5, 1),
    )
    for baseline in found:
        assert baseline.measurement is None
        assert baseline.note.startswith("not installed: pip install")


def install(monkeypatch: pytest.MonkeyPatch, fvg: object) -> None:
    module = types.ModuleType("smartmoneyconcepts")
    module.smc = types.SimpleNamespace(fvg=fvg)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "smartmoneyconcepts", module)


def test_what_fails_is_reported_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fvg(frame: pd.DataFrame) -> None:
        raise ValueError("no gaps today")

    install(monkeypatch, fvg)
    found = rivals.smart_money_gaps(BARS, 1)
    assert found.measurement is None
    assert found.note == "failed: ValueError: no gaps today"


def test_warning_filters_of_others_do_not_outlive_their_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fvg(frame: pd.DataFrame) -> None:
        warnings.simplefilter("ignore")

    install(monkeypatch, fvg)
    before = list(warnings.filters)
    assert rivals.smart_money_gaps(BARS, 1).measurement is not None
    assert warnings.filters == before


def test_updates_see_the_last_sixty_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[Any] = []
    install(monkeypatch, windows.append)
    p50, p99 = rivals.smart_money_updates(BARS)
    assert [len(window) for window in windows] == [60] * 61
    assert windows[-1]["close"].iloc[-1] == BARS.close[-1]
    assert p50.measurement is not None
    assert p99.measurement is not None
    assert p50.measurement.median <= p99.measurement.median


def test_environments_step_the_bars_with_random_actions_and_start_again_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actions: list[int] = []
    resets: list[int | None] = []

    class Env:
        action_space = types.SimpleNamespace(n=2)

        def __init__(self, frame: pd.DataFrame, window: int, bound: tuple[int, int]) -> None:
            assert (window, bound) == (60, (60, 120))
            assert frame["Close"].tolist() == BARS.close.tolist()

        def reset(self, seed: int | None = None) -> None:
            resets.append(seed)

        def step(self, action: int) -> tuple[None, float, bool, bool, dict[str, float]]:
            actions.append(action)
            return None, 0.0, False, len(actions) % 50 == 0, {}

    module = types.ModuleType("gym_anytrading.envs")
    module.StocksEnv = Env  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gym_anytrading", types.ModuleType("gym_anytrading"))
    monkeypatch.setitem(sys.modules, "gym_anytrading.envs", module)
    _, found = rivals.gym_steps(BARS, 100, 2)
    assert found.measurement is not None
    assert len(actions) == 300  # the first of three rounds does not count
    assert 30 < sum(actions[:100]) < 70
    assert actions[:100] == actions[100:200]
    assert resets == [1, *[None] * 6]
