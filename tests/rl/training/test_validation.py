"""What a validation says of several instruments together."""

import pytest

from rllib_tactical.artifacts.run_folder import score_of
from rllib_tactical.config.loader import parse_config
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.training.validation import PartMetrics, Validation, combine


def part(net_pnl, trades, wins, by_date):
    return PartMetrics(
        net_pnl=net_pnl,
        trades=trades,
        wins=wins,
        by_date=by_date,
        training_rule_trades=30,
        days=2,
        equity=1_000.0,
        calendar="24/7",
    )


def test_parts_are_summed_at_the_scale_that_earns_most():
    first = part([15.0, 20.0], [8, 9], [1, 6], [{"a": 15.0}, {"a": 30.0, "b": -10.0}])
    second = part([0.0, 10.0], [2, 3], [1, 3], [{"b": 0.0}, {"b": 10.0}])
    found = combine([first, second], (1.0, 0.5))
    assert (found.temperature_scale, found.net_pnl, found.trades) == (0.5, 30.0, 12)
    assert found.win_rate == pytest.approx(9 / 12)
    assert found.training_rule_trades == 60
    assert found.trades_per_day == 6.0
    # $30 on $2,000 and $0 on $2,030, 365 days a year: mean .0075, deviation .015 / sqrt(2)
    assert found.sharpe == pytest.approx(0.0075 / (0.015 / 2**0.5) * 365**0.5)
    assert Validation.from_dict(found.as_dict()) == found


@pytest.mark.parametrize(
    ("pnls", "trades", "scale"),
    [
        ([96.0, 100.0, 99.0], [8, 12, 9], 1.0),  # 4% less than the most: as good, fewest trades
        ([95.0, 100.0, 99.0], [8, 12, 9], 0.25),
        ([95.0, 100.0, 90.0], [8, 12, 9], 0.5),
        ([0.0, -5.0, -1.0], [0, 4, 1], 1.0),  # trading loses
        ([100.0, 100.0, 100.0], [5, 5, 5], 1.0),  # the first of equals
    ],
)
def test_of_scales_that_earn_nearly_as_much_the_one_with_the_fewest_trades_is_taken(
    pnls, trades, scale
):
    days = [{"a": pnl} for pnl in pnls]
    found = combine([part(pnls, trades, [0, 0, 0], days)], (1.0, 0.5, 0.25))
    assert found.temperature_scale == scale


@pytest.mark.parametrize(
    ("pnls", "trades", "scale"),
    [
        ([(0, 0, 0), (9, -3, 3)], [0, 4], 1.0),  # $9 in three days, with an error of 6 * 3**0.5
        ([(0, 0, 0), (9, -1, 9)], [0, 4], 0.5),  # $17, with one of 10
        ([(0, 0, 0), (9, 3, 3)], [0, 4], 0.5),
        ([(9, -3, 3), (9, -3, 2)], [2, 4], 1.0),  # nothing stays out of the market
        ([(40, -20, 5), (3, 3, 2)], [9, 4], 0.5),  # more, but with an error of 52
    ],
)
def test_a_profit_within_its_error_is_no_reason_to_trade(pnls, trades, scale):
    days = [dict(zip("abc", map(float, each), strict=True)) for each in pnls]
    net = [float(sum(each)) for each in pnls]
    found = combine([part(net, trades, [0, 0], days)], (1.0, 0.5))
    assert found.temperature_scale == scale
    assert found.by_scale[1]["error"] > 0


def test_the_error_is_of_all_instruments_together():
    """One gains what the other loses on the same day: the sum is certain."""
    gains = [{"a": 9.0, "b": -3.0}, {"a": -7.0, "b": 5.0}]
    parts = [part([0.0, sum(each.values())], [0, 3], [0, 2], [{}, each]) for each in gains]
    found = combine(parts, (1.0, 0.5))
    assert found.by_scale[1] == {"scale": 0.5, "net_pnl": 4.0, "error": 0.0, "trades": 6.0}
    assert found.temperature_scale == 0.5


def test_few_trades_have_no_win_rate_to_choose_by():
    found = combine([part([1.0], [9], [9], [{"a": 1.0}])], (1.0,))
    assert found.win_rate is None
    assert score_of(found.as_dict(), "win_rate") is None
    old = found.as_dict()
    del old["win_rate"]  # as earlier checkpoints have it
    assert Validation.from_dict(old).win_rate is None


def test_the_best_may_be_the_one_with_the_most_wins():
    sections = {"training": {"validation": {"best_by": "win_rate"}}}
    config = parse_config({"tactical_marl": sections}, "test")
    assert config.training.validation.best_by == "win_rate"
    with pytest.raises(ConfigError, match="best_by"):
        parse_config({"tactical_marl": {"training": {"validation": {"best_by": "luck"}}}}, "test")
