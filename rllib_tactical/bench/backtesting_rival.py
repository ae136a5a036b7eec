"""The same rule-based strategy in our backtest and in backtesting.py: every trade must be equal.

Both decide at the close, fill at the next open, check stop and target inside each bar from the bar
of the fill on, and take the stop when a bar reaches both. The comparison leaves out what the two
define differently: half spread and slippage (in backtesting.py a share of the price, at the entry
only), session ends, and risk limits, which make the size depend on the account. Everything else,
commissions included, must agree trade by trade to the cent.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.policies import rule_based
from rllib_tactical.bench.measurement import Baseline, Measurement, Row, measure_rate
from rllib_tactical.bench.rivals import INSTALL, bar_frame
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView, RiskConfig
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Sessions
from rllib_tactical.synthetic import SyntheticMarket

NAME: Final = "backtesting.py"
CENT: Final = 0.005

FREE_RULES: Final = Rules(
    risk=RiskConfig(
        initial_equity=1e8,
        max_risk_per_trade=1.0,
        session_drawdown_limit=1.0,
        drawdown_share_per_trade=1.0,
        max_leverage=1e6,
    )
)
"""Risk limits that never bind on an account this large."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Number of trades of each side, number of equal trades, and P&L in dollars."""

    ours: int
    theirs: int
    equal: int
    our_pnl: float
    their_pnl: float

    @property
    def exact(self) -> bool:
        """Whether every trade is equal to the cent."""
        return self.ours == self.theirs == self.equal


def compare_rule(market: SyntheticMarket, repetitions: int) -> tuple[Row, Row]:
    """Measure bars/s of the strategy in both, and how many trades agree.

    In the first row all bars are one session, and all trades must agree. In the second row the
    sessions are days; backtesting.py has none, so trades that continue past midnight differ.
    """
    endless = comparable_history(market)
    daily = dataclasses.replace(endless, sessions=market.sessions)
    try:
        run = rival(endless)
    except ImportError:
        return _row("rules, one session", endless, repetitions), _row(
            "rules, daily sessions", daily, repetitions
        )
    trades = run()
    speed = measure_rate(run, len(endless) - endless.first_decision, repetitions)
    return (
        _row("rules, one session", endless, repetitions, speed, agreement(endless, trades)),
        _row("rules, daily sessions", daily, repetitions, speed, agreement(daily, trades)),
    )


def _row(
    name: str,
    history: MarketHistory,
    repetitions: int,
    theirs: Measurement | None = None,
    found: Agreement | None = None,
) -> Row:
    start, stop = history.first_decision, len(history)

    def ours() -> None:
        run_backtest(history, rule_based(history, start, stop), FREE_RULES, start, stop)

    note = INSTALL if found is None else f"{name}: {_note(found)}"
    return Row(
        name=name,
        unit="bars/s",
        measurement=measure_rate(ours, stop - start, repetitions),
        baselines=(Baseline(NAME, theirs, note),),
    )


def comparable_history(market: SyntheticMarket) -> MarketHistory:
    """Return the market as one session, without spread and slippage."""
    count = len(market.bars)
    first, last = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    first[0] = last[-1] = True
    elapsed = (np.arange(count) + 1.0) / count
    sessions = Sessions.without_gaps(np.zeros(count, dtype=np.int64), first, last, elapsed)
    instrument = dataclasses.replace(market.instrument, half_spread_ticks=0.0, slippage_ticks=0.0)
    return build_history(market.bars, sessions, instrument)


def rival(history: MarketHistory) -> partial[pd.DataFrame]:
    """Return a function that runs the strategy in backtesting.py and returns its trades.

    Raises:
        ImportError: it is not installed.
    """
    module: Any = importlib.import_module("backtesting")
    start = history.first_decision
    decision = _signals(history)
    data = bar_frame(history.bars).iloc[start:].rename(columns=str.capitalize)
    rows = [
        (int(side), float(lots), float(stop), float(target))
        for side, lots, stop, target in zip(
            decision.vote.side * decision.vote.execute,
            decision.requested,
            decision.stop,
            decision.target,
            strict=True,
        )
    ]

    class Strategy(module.Strategy):  # type: ignore[misc]
        """Acts on the decision of each bar."""

        def init(self) -> None:
            """Nothing to prepare."""

        def next(self) -> None:
            """Enter when flat; close when the decision is for the other side."""
            side, lots, stop, target = rows[len(self.data) - 1]
            if side == 0:
                return
            if not self.position:
                order = self.buy if side > 0 else self.sell
                order(size=lots, sl=stop, tp=target)
            elif self.position.is_long != (side > 0):
                self.position.close()

    fee = history.instrument.commission_per_lot
    return partial(_run, module, data, Strategy, fee)


def agreement(history: MarketHistory, theirs: pd.DataFrame) -> Agreement:
    """Compare the trades of ``rival`` with ours; a trade that is open at the end is left out."""
    start, stop = history.first_decision, len(history)
    votes = rule_based(history, start, stop)
    votes.index[0] = (1, 1, 0)  # the first bar that backtesting.py acts on is the second
    trades = run_backtest(history, votes, FREE_RULES, start, stop).trades
    mine = trades[trades["exit_bar"] < stop - 1]
    side = np.where(mine["side"] == "long", 1, -1)
    other = theirs[theirs["ExitBar"] < stop - 1 - start].sort_values("ExitBar")
    commission = history.instrument.commission_per_lot * 2.0 * other["Size"].abs()
    pnl = (other["ExitPrice"] - other["EntryPrice"]) * other["Size"] - commission
    keys = [
        zip(mine["entry_bar"] - start, mine["exit_bar"] - start, side * mine["quantity"],
            strict=True),
        zip(other["EntryBar"], other["ExitBar"], other["Size"], strict=True),
    ]  # fmt: skip
    dollars = dict(zip(keys[0], mine["pnl"], strict=True))
    equal = sum(
        abs(dollars.get(key, np.inf) - value) < CENT
        for key, value in zip(keys[1], pnl, strict=True)
    )
    return Agreement(len(mine), len(other), equal, float(mine["pnl"].sum()), float(pnl.sum()))


def _signals(history: MarketHistory) -> Decision:
    """Return the strategy's decision at the close of every bar, for a flat account."""
    start, stop = history.first_decision, len(history)
    count, part = stop - start, slice(start, stop)
    equity = np.full(count, FREE_RULES.risk.initial_equity)
    still, flat = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
    return decide(
        rule_based(history, start, stop),
        MarketSnapshot(
            price=history.bars.close[part],
            atr=history.features.atr[part],
            synergy_kind=history.synergy.kind[part],
            synergy_direction=history.synergy.direction[part],
        ),
        AccountView(
            equity=equity,
            session_peak=equity,
            position_side=flat,
            position_quantity=np.zeros(count),
            halted=still,
            tradable=~still,
        ),
        history.instrument,
        FREE_RULES,
    )


def _run(module: Any, data: pd.DataFrame, strategy: Any, fee: float) -> pd.DataFrame:
    test = module.Backtest(
        data,
        strategy,
        cash=FREE_RULES.risk.initial_equity,
        commission=lambda size, price: abs(size) * fee,
        finalize_trades=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses functions that pandas deprecates
        trades: pd.DataFrame = test.run()["_trades"]
    return trades


def _note(found: Agreement) -> str:
    if found.exact:
        return (
            f"the same {found.ours:,} trades, each equal to the cent, "
            f"P&L ${found.our_pnl:,.2f}; no spread and slippage"
        )
    return (
        f"{found.equal:,} equal trades of our {found.ours:,} and its {found.theirs:,}, "
        f"P&L ${found.our_pnl:,.2f} and ${found.their_pnl:,.2f}"
    )
