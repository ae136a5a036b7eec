"""The paper broker: it fills a service's orders by the rules of the simulator.

It knows brackets and the session's close, as a broker with stop, limit and market-on-close orders
does. It does not judge: which order to give, and when to close a position for a halt, is the
service's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.backtest.engine import hold_votes, step_report
from rllib_tactical.domain.decision import costs
from rllib_tactical.domain.decision.pipeline import Decision, Rules, decide
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import AnyArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOrder:
    """A market order. ``side`` +1 or -1; ``quantity`` lots.

    ``stop`` and ``target`` are its bracket's prices; both None: it closes the position.
    ``requested``: lots before the risk limits, for the report; ``quantity`` when None.
    """

    side: int
    quantity: float
    stop: float | None = None
    target: float | None = None
    requested: float | None = None


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

    ``reports`` has what each step did, as the backtest records it; ``funding`` the dollars that the
    position paid for its holding in the last step.

    Args:
        history: the market, with the instrument that is traded.
        initial_equity: dollars of the account.
        t: the bar at whose close the first order may be given.
        rewards: weights of the rewards that are recorded.
    """

    def __init__(
        self,
        history: MarketHistory,
        initial_equity: float,
        t: int,
        rewards: RewardConfig | None = None,
    ) -> None:
        # a limit of all equity: the broker halts nobody
        risk = RiskConfig(initial_equity=initial_equity, session_drawdown_limit=1.0)
        self._rules, self._rewards = Rules(risk=risk), rewards or RewardConfig()
        self._simulator = self._on(history)
        self._simulator.reset(np.zeros(1, dtype=np.int64), np.array([t]))
        self._nothing = self._waiting()
        self._before: tuple[dict[str, AnyArray], Decision] | None = None
        self.reports: list[dict[str, NDArray[Any]]] = []
        self.funding = 0.0

    @property
    def t(self) -> int:
        """The bar at whose close the account stands."""
        return int(self._simulator.t[0])

    @property
    def history(self) -> MarketHistory:
        """The market as far as it is known."""
        return self._simulator.history

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
        decision, simulator = self._decision(order), self._simulator
        self._before = simulator.state(), decision
        self.funding = self._due()
        step = simulator.carry_out(decision)
        self.reports.append(_copied(step_report(step, simulator)))
        return _fills(step)

    def extend(self, history: MarketHistory) -> list[PaperFill]:
        """Go on with a history that has more bars than the one so far.

        Returns:
            The fill at the close of bar ``t`` where only the new bars show that its session ended
            there: a scheduled bar never came.
        """
        simulator, late = self._on(history), []
        if self._before is not None and self.position and history.sessions.is_last[self.t]:
            state, decision = self._before
            simulator.set_state(state)
            step = simulator.carry_out(decision)
            self.reports[-1] = _copied(step_report(step, simulator))
            late = _fills(step)[-1:]
        else:
            simulator.set_state(self._simulator.state())
        self._simulator = simulator
        return late

    def _on(self, history: MarketHistory) -> Simulator:
        return Simulator(history, self._rules, self._rewards, 1)

    def _due(self) -> float:
        """Return the dollars that the position pays for funding before the next bar's open."""
        simulator, instrument = self._simulator, self.history.instrument
        if not (instrument.funding_rate and simulator.side[0]):
            return 0.0
        bars, t = self.history.bars, self.t
        payments = costs.funding_payments(bars.timestamp_s[t : t + 2], instrument)[1:]
        price = bars.open[t + 1 : t + 2]
        due = payments * costs.funding(simulator.side, simulator.quantity, price, instrument)
        return float(due[0])

    def _waiting(self) -> Decision:
        simulator = self._simulator
        instrument = simulator.history.instrument
        return decide(hold_votes(1), simulator.market(), simulator.view(), instrument, self._rules)

    def _decision(self, order: PaperOrder | None) -> Decision:
        if order is None:
            return self._nothing
        requested = order.quantity if order.requested is None else order.requested
        return replace(
            self._nothing,
            action=np.array([order.side]),
            execute=np.array([True]),
            closes=np.array([order.stop is None]),
            quantity=np.array([order.quantity]),
            requested=np.array([requested]),
            stop=np.array([order.stop or 0.0]),
            target=np.array([order.target or 0.0]),
        )


def _copied(report: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a report that stays as it is while the simulator goes on."""
    return {name: values.copy() for name, values in report.items()}


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
