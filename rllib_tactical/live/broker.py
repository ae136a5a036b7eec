"""The paper broker: it fills a service's orders by the rules of the simulator.

It knows brackets and the session's close, as a broker with stop, limit and market-on-close orders
does. It does not judge: which order to give, and when to close a position for a halt, is the
service's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rllib_tactical.backtest.engine import hold_votes
from rllib_tactical.domain.decision.pipeline import Decision, Rules, decide
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOrder:
    """A market order. ``side`` +1 or -1; ``quantity`` lots.

    ``stop`` and ``target`` are its bracket's prices; both None: it closes the position.
    """

    side: int
    quantity: float
    stop: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFill:
    """A fill on bar ``bar``. ``side`` +1 bought, -1 sold; ``quantity`` lots.

    ``exit_reason`` NONE opens a position; ``at_open``: at the bar's open, else later in the bar.
    """

    bar: int
    side: int
    quantity: float
    price: float
    exit_reason: ExitReason = ExitReason.NONE
    at_open: bool = True


_AT_OPEN = (ExitReason.OPPOSITE, ExitReason.HALT)


class PaperBroker:
    """One account at a broker that fills by the rules of the simulator.

    Args:
        history: the market, with the instrument that is traded.
        initial_equity: dollars of the account.
        t: the bar at whose close the first order may be given.
    """

    def __init__(self, history: MarketHistory, initial_equity: float, t: int) -> None:
        # a limit of all equity: the broker halts nobody
        risk = RiskConfig(initial_equity=initial_equity, session_drawdown_limit=1.0)
        self._rules = Rules(risk=risk)
        self._simulator = Simulator(history, self._rules, RewardConfig(), 1)
        self._simulator.reset(np.zeros(1, dtype=np.int64), np.array([t]))

    @property
    def t(self) -> int:
        """The bar at whose close the account stands."""
        return int(self._simulator.t[0])

    @property
    def equity(self) -> float:
        """Dollars at that close, marked to market."""
        return float(self._simulator.equity[0])

    @property
    def position(self) -> float:
        """Lots held, below zero when short."""
        return float(self._simulator.side[0] * self._simulator.quantity[0])

    def trade(self, order: PaperOrder | None) -> list[PaperFill]:
        """Move on by one bar with an order that was given at the close; return the bar's fills."""
        return _fills(self._simulator.carry_out(self._decision(order)))

    def _decision(self, order: PaperOrder | None) -> Decision:
        simulator = self._simulator
        waiting = decide(
            hold_votes(1),
            simulator.market(),
            simulator.view(),
            simulator.history.instrument,
            self._rules,
        )
        if order is None:
            return waiting
        quantity = np.array([order.quantity])
        return replace(
            waiting,
            action=np.array([order.side]),
            execute=np.array([True]),
            closes=np.array([order.stop is None]),
            quantity=quantity,
            requested=quantity,
            stop=np.array([order.stop or 0.0]),
            target=np.array([order.target or 0.0]),
        )


def _fills(step: Step) -> list[PaperFill]:
    """Return what one account (N = 1) filled in a step, in the order in which it happened."""
    bar, fills = int(step.t[0]) + 1, []
    if step.entered[0]:
        side, quantity = int(step.decision.action[0]), float(step.decision.quantity[0])
        fills.append(
            PaperFill(bar=bar, side=side, quantity=quantity, price=float(step.entry_price[0]))
        )
    if step.exited[0]:
        reason = ExitReason(int(step.exit_reason[0]))
        fills.append(
            PaperFill(
                bar=bar,
                side=-int(step.trade_side[0]),
                quantity=float(step.quantity[0]),
                price=float(step.exit_price[0]),
                exit_reason=reason,
                at_open=reason in _AT_OPEN,
            )
        )
    return fills
