"""Markets on real calendars, a bundle that trades them, and how decisions are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rllib_tactical.backtest.request import Request, backtest_source
from rllib_tactical.backtest.result import END_OF_DATA, BacktestResult
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.data.calendar.sessions import place_bars
from rllib_tactical.data.dataset import load_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.decision.actions import LABELS, SIGNS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import AGENTS, Bars, Instrument, IntArray
from rllib_tactical.live.paper import PaperResult
from rllib_tactical.synthetic import make_market
from tests.actors import weights_of
from tests.market import INSTRUMENT, random_bars

BAR_S = 300
WARM_UP = 360


@dataclass(frozen=True)
class Case:
    """A market to trade: bars, and the instrument that they are of."""

    bars: Bars
    instrument: Instrument
    rules: Rules = field(default_factory=Rules)


def synthetic() -> Case:
    """Around the clock, with synergies of all four types."""
    market = make_market("regime", 5, 900)
    late = market.bars.timestamp_s + 8_800 * 86_400  # 2024, in reach of /performance
    return Case(replace(market.bars, timestamp_s=late), market.instrument)


def daylight_saving() -> Case:
    """New York: the Friday before clocks go back, and the Monday and Tuesday after."""
    return _on_calendar("TQQQ", "2024-10-28T13:30", "2024-11-05T23:00", seed=1, base=2_500.0)


def half_day() -> Case:
    """New York: Thanksgiving, the half day after it, and the Monday after that."""
    return _on_calendar("TQQQ", "2024-11-21T14:30", "2024-12-03T00:00", seed=2, base=2_500.0)


def maintenance_hour() -> Case:
    """Chicago: futures across two maintenance hours and the weekend."""
    return _on_calendar("ES", "2024-06-05T22:00", "2024-06-10T21:00", seed=3, base=4.0, scale=12.5)


def halts() -> Case:
    """Around the clock, with positions that use up the session's drawdown while they are open."""
    risk = RiskConfig(max_risk_per_trade=1.0, drawdown_share_per_trade=1.0)
    instrument = replace(INSTRUMENT, base_quantity=4_500.0)
    return Case(random_bars(700, 0), instrument, Rules(risk=risk))


def holes(case: Case, seed: int = 7) -> Case:
    """Leave out single bars, stretches, the first and the last bars of sessions."""
    rng = np.random.default_rng(seed)
    keep = np.ones(len(case.bars), dtype=np.bool_)
    for start, length in (*((t, 1) for t in rng.integers(WARM_UP, len(keep), 12)), (420, 13)):
        keep[start : start + length] = False
    placed = _placed(case.bars.timestamp_s, case.instrument)
    begins = [t for t in np.flatnonzero(placed.begins).tolist() if t > WARM_UP]
    for number, t in enumerate(begins):
        if number % 2:
            keep[t : t + 3] = False
        else:
            keep[t - 4 : t] = False
    return replace(case, bars=_rows(case.bars, keep))


def out_of_hours() -> Case:
    """New York, with bars before the open and after the close."""
    grid = np.arange(_epoch("2024-10-30T12:00"), _epoch("2024-11-05T23:00"), BAR_S)
    instrument = replace(load_instrument("TQQQ"), base_quantity=2_500.0)
    hour = grid // 3600 % 24
    near = np.isin(_weekday(grid), (0, 1, 2, 3, 4)) & (hour >= 12) & (hour < 23)
    return Case(replace(random_bars(int(near.sum()), 4), timestamp_s=grid[near]), instrument)


def real(folder: Path, name: str, instrument: str, start: str, stop: str) -> Case:
    """Bars of a real market."""
    bars = load_bars(folder / name, BAR_S, instrument=load_instrument(instrument)).bars
    seconds = bars.timestamp_s
    chosen = (seconds >= _epoch(start)) & (seconds < _epoch(stop))
    return Case(_rows(bars, chosen), replace(load_instrument(instrument), base_quantity=200.0))


def opinionated(out: Path, case: Case, synergies: str = "detect") -> Bundle:
    """Return a bundle of untrained actors that trade both ways, near the threshold."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        actors = []
        for agent in AGENTS:
            actor = Actor((1.0,) * 7, 1.0)
            torch.nn.init.normal_(actor.out.weight, std=3.0)
            if agent == "entry":
                torch.nn.init.constant_(actor.out.bias, -1.0)
                actor.out.bias.data[1] = 1.0
            actors.append(actor)
        return export_bundle(
            out,
            weights=weights_of(actors),
            rules=case.rules,
            instrument=case.instrument,
            bar_seconds=BAR_S,
            temperature_scale=0.125,
            training={"data": {"synergies": synergies}},
            metrics={},
        )


def backtest(bundle: Bundle, case: Case, folder: Path) -> BacktestResult:
    """Return what ``tactical backtest --bundle B --data FILE`` computes."""
    path = folder / "bars.parquet"
    names = ("open", "high", "low", "close", "volume")
    columns = {name: getattr(case.bars, name) for name in names}
    times = pd.to_datetime(case.bars.timestamp_s, unit="s", utc=True)
    pd.DataFrame({"timestamp": times, **columns}).to_parquet(path)
    (source,) = sources_for((path,), (), bundle)
    request = Request(bundle=bundle, with_baselines=False, with_statistics=False)
    return backtest_source(request, source).comparison.policy.result


def differences(result: BacktestResult, paper: PaperResult) -> list[tuple[int, str, Any, Any]]:
    """Return (bar, what, service, backtest) wherever the two are not equal, bit for bit.

    The simulator closes a halted position at the next open by itself; the service gives the order.
    """
    halted = {
        int(trade.exit_bar) - 1: trade
        for trade in _rows_of(result.trades)
        if trade.exit_reason == "halt"
    }
    found: list[tuple[int, str, Any, Any]] = []
    assert list(paper.answers) == result.decisions["bar"].tolist()
    for row in _rows_of(result.decisions):
        answer = paper.answers[row.bar]
        decision, order = answer.decision, answer.decision.execution_command
        expected: dict[str, Any] = {
            "action": row.action,
            "execute": row.execute,
            "reason": row.reason,
            "side": row.winner,
            "confidence": row.score,
            "scores": (row.score_long, row.score_short, row.score_hold),
            "votes": tuple(getattr(row, f"vote_{agent}") for agent in AGENTS),
            "order": (row.quantity, row.stop, row.target) if row.execute else None,
        }
        if row.closes:
            expected["order"] = (row.quantity, None, None)
        if row.bar in halted:
            trade = halted[row.bar]
            action = "short" if trade.side == "long" else "long"
            expected |= {"action": action, "execute": True, "reason": "session_halted"}
            expected["order"] = (trade.quantity, None, None)
        breakdown = answer.agent_breakdown
        given = {
            "action": decision.action,
            "execute": decision.execute,
            "reason": decision.reason,
            "side": decision.side,
            "confidence": decision.confidence,
            "scores": (decision.scores.long, decision.scores.short, decision.scores.hold),
            "votes": tuple(_signed(agent, getattr(breakdown, agent).label) for agent in AGENTS),
            "order": order and (order.quantity, order.stop_loss, order.take_profit),
        }
        found += [
            (row.bar, name, given[name], value)
            for name, value in expected.items()
            if given[name] != value
        ]
    equity = result.equity["equity"].tolist()
    found += [
        (result.start + k, "equity", mine, theirs)
        for k, (mine, theirs) in enumerate(zip(paper.equity, equity, strict=True))
        if mine != theirs
    ]
    if fills_of(result) != (mine := [fill_row(fill) for fill in paper.fills]):
        found.append((-1, "fills", mine, fills_of(result)))
    return found


def fills_of(result: BacktestResult) -> list[tuple[int, int, float, float, str]]:
    """Return the fills behind a backtest's trades, as ``fill_row`` has them."""
    fills = []
    for trade in _rows_of(result.trades):
        side = 1 if trade.side == "long" else -1
        fills.append((trade.entry_bar, side, trade.quantity, trade.entry_price, "none"))
        if trade.exit_reason != END_OF_DATA:
            # for the broker a halt is an order like any other
            reason = "opposite" if trade.exit_reason == "halt" else trade.exit_reason
            fills.append((trade.exit_bar, -side, trade.quantity, trade.exit_price, reason))
    return fills


def fill_row(fill: Any) -> tuple[int, int, float, float, str]:
    reason = ExitReason(fill.exit_reason).name.lower()
    return fill.bar, fill.side, fill.quantity, fill.price, reason


def _rows_of(table: pd.DataFrame) -> Iterator[Any]:
    return iter(table.itertuples())


def _signed(agent: str, label: str) -> int:
    return int(SIGNS[AGENTS.index(agent), LABELS[agent].index(label)])


def _on_calendar(
    name: str, start: str, stop: str, seed: int, base: float, scale: float = 1.0
) -> Case:
    """Return a random walk on every scheduled bar between two UTC times."""
    instrument = replace(load_instrument(name), base_quantity=base)
    grid = np.arange(_epoch(start), _epoch(stop), BAR_S)
    times = grid[_placed(grid, instrument).is_open]
    bars = random_bars(len(times), seed)
    tick = instrument.tick_size
    open_, high, low, close = (
        np.round(column * scale / tick) * tick
        for column in (bars.open, bars.high, bars.low, bars.close)
    )
    return Case(Bars(times, open_, high, low, close, bars.volume), instrument)


def _placed(time_s: IntArray, instrument: Instrument) -> Any:
    return place_bars(time_s, instrument.calendar, instrument.timezone, BAR_S)


def _rows(bars: Bars, keep: Any) -> Bars:
    names = [name.name for name in fields(bars)]
    return Bars(**{name: getattr(bars, name)[keep] for name in names})


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _weekday(time_s: IntArray) -> IntArray:
    return (time_s // 86_400 + 3) % 7
