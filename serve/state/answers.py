"""What is answered to a write, from the state that it has led to."""

from __future__ import annotations

from rllib_tactical.domain.simulation.account import Account
from serve.api.responses import AccountAnswer, BarsAnswer, FillsAnswer
from serve.api.write_requests import AccountRequest
from serve.state.bars import BarPlan
from serve.state.fills import FillPlan
from serve.state.machine import StateMachine


def bars_answer(machine: StateMachine, plan: BarPlan, symbol: str | None = None) -> BarsAnswer:
    """Return the answer to bars of a symbol (the only one if omitted) accepted by ``plan``."""
    own = machine.of(symbol)
    market = own.market()
    return BarsAnswer(
        symbol=own.symbol,
        accepted=len(plan.new) + len(plan.late),
        late=len(plan.late),
        revised=len(plan.revised),
        repeated=plan.repeated,
        gaps=list(plan.gaps),
        last_timestamp=market.last_s,
        bars=market.bars,
        ready=market.ready,
        degraded=market.bars_since_gap is not None,
        version=machine.version,
    )


def fills_answer(machine: StateMachine, plan: FillPlan, symbol: str | None = None) -> FillsAnswer:
    """Return the answer to fills of a symbol (the only one if omitted) accepted by ``plan``."""
    own = machine.of(symbol)
    account = machine.snapshot(own.symbol).account
    return FillsAnswer(
        symbol=own.symbol,
        accepted=len(plan.new),
        corrected=sum(fill.corrects is not None for fill in plan.new),
        busted=len(plan.busts),
        repeated=plan.repeated,
        position=account.side * account.quantity,
        equity=account.equity,
        halted=account.halted,
        version=machine.version,
    )


def account_answer(
    machine: StateMachine, request: AccountRequest, before: Account, written: bool
) -> AccountAnswer:
    """Return the answer to what was said of the account.

    Args:
        machine: the state after it.
        request: what was said.
        before: the account before it.
        written: whether it was new.
    """
    snapshot, broker = machine.snapshot(request.symbol), request.broker
    account = snapshot.account
    moved = sum(move.amount for move in request.cash) if written else 0.0
    known = None if broker is None else broker.equity
    return AccountAnswer(
        symbol=request.symbol,
        repeated=not written,
        position=account.side * account.quantity,
        equity=account.equity,
        position_difference=(
            None if broker is None else broker.position - before.side * before.quantity
        ),
        equity_difference=None if known is None else known - before.equity - moved,
        reconciled=snapshot.broker_position is None,
        halted=account.halted,
        version=machine.version,
    )
