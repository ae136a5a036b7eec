from __future__ import annotations

import dataclasses

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.portfolio import combine
from rllib_tactical.backtest.verdict import metric_text, verdict
from rllib_tactical.reporting.format import dollars, percent
from tests.backtest.scenes import result_of


def changed(
    comparison: Comparison, equity: list[float], costs: float, trades: int = 40
) -> Comparison:
    """Return the evaluation of equal trades that make this gain, without baselines."""
    from rllib_tactical.backtest.metrics import compute_metrics

    trade = {"pnl": (equity[-1] - equity[0]) / trades, "costs": costs / trades}
    result = result_of(equity, [0] * len(equity), [trade] * trades)
    run = dataclasses.replace(comparison.policy, result=result, metrics=compute_metrics(result))
    return dataclasses.replace(comparison, policy=run, baselines=(), significance=None)


def test_the_verdict_says_a_loss_plainly(comparison: Comparison) -> None:
    assert verdict(changed(comparison, [1000.0, 900.0], 30.0)) == (
        "Loses $100.00 after costs with 40 trades in 1 day; it loses $70.00 even before costs of "
        "$30.00."
    )
    assert verdict(changed(comparison, [1000.0, 900.0], 130.0)) == (
        "Loses $100.00 after costs with 40 trades in 1 day; before costs of $130.00 it would have "
        "earned $30.00."
    )


def test_the_verdict_begins_with_a_lost_account(comparison: Comparison) -> None:
    lost = changed(comparison, [1000.0, 500.0, -200.0, -200.0], 30.0)
    text = verdict(lost)
    at = lost.policy.result.equity["timestamp"].iloc[2]
    assert text.startswith(
        f"The account was lost on {at:%Y-%m-%d %H:%M} UTC: $1,000 became -$200.00. Trading ends "
        "there. Loses $1,200 after costs"
    )
    part = dataclasses.replace(lost, significance=None)
    portfolio = combine({"one": part, "two": part})
    assert portfolio.verdict().startswith("The account of CONTRACT was lost on")


def test_the_verdict_makes_nothing_of_a_few_trades(comparison: Comparison) -> None:
    for end in (900.0, 1200.0):
        text = verdict(changed(comparison, [1000.0, end], 30.0, trades=29))
        assert text.endswith("Fewer than 30 trades: chance alone explains this.")
    assert "chance" not in verdict(changed(comparison, [1000.0, 900.0], 30.0, trades=30))


def test_the_verdict_does_not_call_a_gain_an_edge(comparison: Comparison) -> None:
    assert verdict(changed(comparison, [1000.0, 1200.0], 30.0)) == (
        "Earns $200.00 after $30.00 of costs with 40 trades in 1 day. How sure this is was not "
        "worked out: no evidence of an edge by itself."
    )


def test_the_verdict_names_baselines_that_did_as_well(comparison: Comparison) -> None:
    loss = changed(comparison, [1000.0, 900.0], 30.0)
    hold = comparison.baselines[0]
    assert "Not better than: No trades ($0.00)." in verdict(
        dataclasses.replace(loss, baselines=(hold,))
    )
    gain = changed(comparison, [1000.0, 1200.0], 30.0)
    assert "Better than every baseline." in verdict(dataclasses.replace(gain, baselines=(hold,)))
    oracle = dataclasses.replace(gain.policy, name="oracle", label="Oracle")
    text = verdict(dataclasses.replace(gain, baselines=(hold, oracle)))
    assert "Better than every baseline but the oracle." in text


def test_numbers_are_written_to_be_read() -> None:
    assert dollars(-1234.6) == "-$1,235"
    assert dollars(12.346) == "$12.35"
    assert dollars(-0.001) == "$0.00"
    assert dollars(None) == percent(None) == "-"
    assert metric_text("slippage", 0.0002) == "0.0200%"
    assert metric_text("max_drawdown", 0.0512) == "5.12%"
    assert metric_text("win_rate", 0.551) == "55.1%"
    assert metric_text("trades", 12) == "12"
    assert metric_text("sharpe", 1.234) == "1.23"
