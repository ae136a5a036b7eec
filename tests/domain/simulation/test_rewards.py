from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.simulation.rewards import (
    RewardConfig,
    RewardEvents,
    compute_rewards,
    quiet_rewards,
)
from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ConfigError
from tests.wrong_arrays import assert_wrong_arrays_are_refused

QUIET: dict[str, Any] = dict(
    equity_change=0.0,
    entered=False,
    with_synergy=False,
    shortfall=0.0,
    requested_risk=0.0,
    at_gap=False,
    alignment=0.0,
    closed=False,
    trade_pnl=0.0,
    after_mitigation=False,
    counter_trend=False,
)
# an entry that earns nothing: it slipped by exactly the limit
PLAIN_ENTRY: dict[str, Any] = dict(entered=True, shortfall=0.0005)


def reward(config: RewardConfig | None = None, scale: float = 100.0, **what: Any) -> list[float]:
    """Return the rewards of fvg, momentum and entry for one account."""
    values = {name: np.array([value]) for name, value in (QUIET | what).items()}
    total, base, bonus = compute_rewards(RewardEvents(**values), config or RewardConfig(), scale)
    assert total.shape == bonus.shape == (1, 3)
    assert base.shape == (1,)
    return [round(float(value), 12) for value in total[0]]


def test_base_is_the_squashed_change_of_equity() -> None:
    expected = round(math.tanh(0.5), 12)
    assert reward(equity_change=50.0) == [expected] * 3
    assert reward(equity_change=-50.0) == [-expected] * 3
    assert reward(equity_change=50.0, scale=50.0) == [round(math.tanh(1.0), 12)] * 3
    assert reward() == [0.0] * 3


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (dict(with_synergy=True), [0.2, 0.2, 0.2]),
        (dict(shortfall=0.00049), [0.1, 0.1, 0.1]),
        (dict(shortfall=-0.01), [0.1, 0.1, 0.1]),
        (dict(shortfall=0.0005), [0.0, 0.0, 0.0]),
        (dict(requested_risk=0.0201), [-0.5, -0.5, -0.5]),
        (dict(requested_risk=0.02), [0.0, 0.0, 0.0]),
        (dict(at_gap=True), [0.1, 0.0, 0.0]),
        (dict(alignment=1.0), [0.0, 0.1, 0.0]),
        (dict(alignment=-0.5), [0.0, -0.05, 0.0]),
    ],
)
def test_entry_bonuses_are_paid_on_entries_only(
    what: dict[str, Any], expected: list[float]
) -> None:
    assert reward(**(PLAIN_ENTRY | what)) == expected
    assert reward(**(PLAIN_ENTRY | what | dict(entered=False))) == [0.0] * 3
    assert reward(**(PLAIN_ENTRY | what | dict(entered=False, closed=True))) == [0.0] * 3


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (dict(after_mitigation=True, trade_pnl=0.01), [0.15, 0.0, 0.0]),
        (dict(after_mitigation=True, trade_pnl=0.0), [0.0, 0.0, 0.0]),
        (dict(after_mitigation=True, trade_pnl=-5.0), [0.0, 0.0, 0.0]),
        (dict(counter_trend=True, trade_pnl=-0.01), [0.0, -0.1, 0.0]),
        (dict(counter_trend=True, trade_pnl=0.0), [0.0, 0.0, 0.0]),
        (dict(counter_trend=True, trade_pnl=5.0), [0.0, 0.0, 0.0]),
    ],
)
def test_close_bonuses_are_paid_on_closes_only(what: dict[str, Any], expected: list[float]) -> None:
    assert reward(closed=True, **what) == expected
    assert reward(closed=False, **what) == [0.0] * 3
    assert reward(closed=False, **(PLAIN_ENTRY | what)) == [0.0] * 3


def test_bonuses_add_up_to_the_base() -> None:
    base = math.tanh(0.3)
    out = reward(
        equity_change=30.0,
        entered=True,
        with_synergy=True,
        shortfall=0.0,
        requested_risk=0.03,
        at_gap=True,
        alignment=0.5,
        closed=True,
        trade_pnl=-1.0,
        after_mitigation=True,
        counter_trend=True,
    )
    shared = base + 0.2 + 0.1 - 0.5
    expected = [shared + 0.1, shared + 0.05 - 0.1, shared]
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_sum_is_clipped() -> None:
    config = RewardConfig(synergy_bonus=5.0, clip=2.0)
    assert reward(config, **(PLAIN_ENTRY | dict(with_synergy=True))) == [2.0] * 3
    config = RewardConfig(risk_penalty=-5.0, clip=1.5)
    assert reward(config, **(PLAIN_ENTRY | dict(requested_risk=1.0))) == [-1.5] * 3


def test_parts_are_reported_before_the_clip() -> None:
    values = {name: np.array([v]) for name, v in (QUIET | PLAIN_ENTRY).items()}
    events = RewardEvents(**(values | {"with_synergy": np.array([True])}))
    _, base, bonus = compute_rewards(events, RewardConfig(synergy_bonus=5.0), 100.0)
    assert base.tolist() == [0.0]
    assert bonus.tolist() == [[5.0, 5.0, 5.0]]


def test_without_a_trade_nothing_but_the_base_counts() -> None:
    values = {name: np.full(500, value) for name, value in QUIET.items()}
    values["equity_change"] = np.random.default_rng(0).normal(0.0, 60.0, 500)
    config = RewardConfig(clip=0.5)
    found = quiet_rewards(values["equity_change"], config, 80.0)
    expected = compute_rewards(RewardEvents(**values), config, 80.0)
    for quiet, general in zip(found, expected, strict=True):
        assert quiet.tobytes() == general.tobytes()


def test_pnl_only_pays_the_base_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    flags = ("entered", "with_synergy", "at_gap", "closed", "after_mitigation", "counter_trend")
    values: dict[str, Any] = {name: rng.normal(0.0, 60.0, 500) for name in QUIET}
    values |= {name: rng.random(500) < 0.5 for name in flags}
    total, base, bonus = compute_rewards(RewardEvents(**values), RewardConfig.pnl_only(), 100.0)
    np.testing.assert_array_equal(bonus, np.zeros((500, 3)))
    np.testing.assert_array_equal(total, np.tile(base[:, None], 3))


def test_presets_differ_in_the_bonuses_alone() -> None:
    full, plain = dataclasses.asdict(RewardConfig()), dataclasses.asdict(RewardConfig.pnl_only())
    assert {name for name in full if full[name] != plain[name]} == {
        "synergy_bonus",
        "execution_bonus",
        "risk_penalty",
        "gap_entry_bonus",
        "mitigation_bonus",
        "trend_bonus",
        "counter_trend_penalty",
    }


def test_on_close_pays_the_trade_once_and_nothing_on_the_way() -> None:
    config = RewardConfig(timing="on_close")
    assert reward(config, equity_change=50.0) == [0.0] * 3
    paid = round(math.tanh(0.8), 12)
    assert reward(config, equity_change=-5.0, closed=True, trade_pnl=80.0) == [paid] * 3
    quiet, base, _ = quiet_rewards(np.array([50.0, -3.0]), config, 100.0)
    assert not quiet.any()
    assert not base.any()


def test_shared_rewards_are_the_mean_of_the_agents() -> None:
    # per agent: fvg +0.1 at the gap, momentum +0.1 with the trend, entry nothing
    what = PLAIN_ENTRY | dict(at_gap=True, alignment=1.0)
    assert reward(**what) == [0.1, 0.1, 0.0]
    assert reward(RewardConfig(shared=True), **what) == [round(0.2 / 3, 12)] * 3


def test_an_unknown_timing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rewards\.timing must be mark_to_market or on_close"):
        RewardConfig(timing="later")  # type: ignore[arg-type]


NUMBERS = [
    f.name
    for f in dataclasses.fields(RewardConfig)
    if f.name not in ("function", "timing", "shared")
]


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_config_values_must_be_finite(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"rewards.{field} must be finite"):
        RewardConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["pnl_scale", "clip"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_config_scales_must_be_positive(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"rewards.{field} must be > 0"):
        RewardConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["risk_penalty", "counter_trend_penalty"])
def test_a_penalty_that_pays_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"rewards\.{field} must be <= 0 .*, found 0\.5"):
        RewardConfig(**{field: 0.5})  # type: ignore[arg-type]


def test_the_base_has_a_weight_and_bonuses_have_not() -> None:
    base = math.tanh(0.5)
    config = RewardConfig(base_pnl_weight=0.4)
    expected = [round(0.4 * base, 12)] * 3
    assert reward(config, equity_change=50.0) == expected
    found, weighted, _ = quiet_rewards(np.array([50.0]), config, 100.0)
    assert found.round(12).tolist() == [expected]
    assert weighted.tolist() == [0.4 * base]
    paid = reward(config, equity_change=50.0, **(PLAIN_ENTRY | dict(with_synergy=True)))
    assert paid == [round(0.4 * base + 0.2, 12)] * 3
    on_close = dataclasses.replace(config, timing="on_close")
    assert reward(on_close, closed=True, trade_pnl=50.0) == expected
    with pytest.raises(ConfigError, match=r"rewards\.base_pnl_weight must be >= 0, found -1"):
        RewardConfig(base_pnl_weight=-1.0)


def test_wrong_arrays_are_refused() -> None:
    arrays = {name: np.array([value, value]) for name, value in QUIET.items()}

    def computed(**arrays: AnyArray) -> None:
        compute_rewards(RewardEvents(**arrays), RewardConfig(), 100.0)

    assert_wrong_arrays_are_refused(computed, **arrays)
    assert_wrong_arrays_are_refused(
        partial(quiet_rewards, config=RewardConfig(), pnl_scale=100.0),
        equity_change=arrays["equity_change"],
    )
