"""The state of all symbols as the page shows it: bundles, accounts against limits, bars."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.decision.risk import session_drawdown
from serve.api.health import TotalHealth
from serve.api.page import StatusAnswer, SymbolStatus
from serve.api.responses import ReasonCode
from serve.decision.replica import Active, StateReplica


def status_of(replica: StateReplica, now_s: float) -> StatusAnswer:
    """Return the state of now of every symbol that is served."""
    actives = replica.all_active()
    machine, total = replica.machine, replica.machine.total
    summed = TotalHealth(
        total.equity, total.drawdown, total.limits.drawdown, total.limits.daily_loss, total.halted
    )
    return StatusAnswer(
        {
            symbol: _symbol_status(symbol, active, now_s, replica.live_bars)
            for symbol, active in actives.items()
        },
        summed if len(actives) > 1 else None,
        machine.version,
    )


def _symbol_status(symbol: str, active: Active, now_s: float, live: bool) -> SymbolStatus:
    state, bundle = active.state, active.decider.bundle
    account, market, rules = state.account, state.market, bundle.rules
    issue = active.hold or state.data_issue_of(now_s, bundle.bar_seconds)
    drawdown = session_drawdown(np.array([account.equity]), np.array([account.session_peak]))
    return SymbolStatus(
        symbol=symbol,
        bar_seconds=bundle.bar_seconds,
        timezone=bundle.instrument.timezone,
        tick_size=bundle.instrument.tick_size,
        bundle_id=bundle.bundle_id,
        threshold=rules.aggregation.execution_threshold,
        equity=account.equity,
        session_peak=account.session_peak,
        drawdown=float(drawdown[0]),
        drawdown_limit=rules.risk.session_drawdown_limit,
        position=account.side * account.quantity,
        entry_price=account.entry_price if account.side else None,
        halted=account.halted,
        control=state.control,
        hold=None if issue is None else ReasonCode(issue.code),
        bars=0 if market is None else market.bars,
        ready=market is not None and market.ready,
        last_s=None if market is None else market.last_s,
        due_s=market.due_s if market is not None and live else None,
    )
