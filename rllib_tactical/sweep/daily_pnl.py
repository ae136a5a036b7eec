"""Daily P&L of a trial on the validation bars, with every temperature scale it could have taken.

A trial's checkpoint and scale were chosen by this P&L, so it overstates what to expect. That is
what the deflated Sharpe ratio and the probability of overfitting are for: they need all of it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import daily_pnl
from rllib_tactical.bundle.inference import TorchEngine, logits_of
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.votes import greedy_votes, softmax
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.rl.training.market import TrainingMarket


def daily_table(
    weights: dict[str, Float32Array], config: TacticalConfig, market: TrainingMarket
) -> pd.DataFrame:
    """Return a row per day, a column per temperature scale: net P&L in dollars by the serving rule.

    The index is the local date as text; several instruments are summed by date.

    Args:
        weights: of the three actors.
        config: the trial's rules and temperature scales.
        market: its validation split is traded.
    """
    engine = TorchEngine(weights, config.model.network)
    total: pd.DataFrame | None = None
    for part in market.parts:
        history, split = part.history, part.splits[1]
        start, stop = max(split.start, history.first_decision), split.stop
        logits = logits_of(engine, history.inputs, np.arange(start, stop))
        columns = {}
        for scale in config.training.temperature_scales:
            result = run_backtest(
                history, greedy_votes(softmax(logits, scale)), config.rules, start, stop
            )
            days = daily_pnl(result)
            columns[f"{scale:g}"] = days.groupby("date")["pnl"].sum()
        table = pd.DataFrame(columns)
        total = table if total is None else total.add(table, fill_value=0.0)
    if total is None:
        raise ValueError("a market has at least one part")
    return total
