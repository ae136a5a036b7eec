"""What the state is, as metrics: made anew for each scrape, since every replica knows all of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.types import AGENTS
from serve.api.alerts import AlertCode
from serve.api.responses import Accuracy
from serve.bus.status import BusStatus
from serve.decision.risk_state import RiskState
from serve.drift.status import SymbolDrift
from serve.observability.resources import Resources
from serve.state.machine import StateMachine
from serve.state.portfolio import Trade

PNL_BUCKETS: Final = (-500, -100, -50, -25, -10, 0, 10, 25, 50, 100, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolView:
    """What is shown of one symbol.

    ``bundle_id``: the bundle that decides; ``drawdown_limit``: of a session, as a share of its
    peak; ``bars_overdue_s``: None without bars; ``accuracy``: by bundle; ``drift``: of the bundle,
    None where the monitor knows nothing of it.
    """

    symbol: str
    bundle_id: str
    state: RiskState
    drawdown_limit: float
    bars_overdue_s: float | None
    trades: Sequence[Trade]
    accuracy: Mapping[str, Accuracy]
    drift: SymbolDrift | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """What is shown of the replica that answers.

    ``state_age_s``: since the store last took its write; ``waiting``: decisions that are not in the
    journal yet; ``resources``: use in percent; ``alerts``: by code and symbol, see
    ``alert_levels``.
    """

    state_age_s: float
    state_available: bool
    model_loading: bool
    waiting: int
    resources: Resources | None = None
    alerts: Mapping[tuple[AlertCode, str], int] = field(default_factory=dict)


class StateCollector(Collector):
    """Makes the metrics of one scrape.

    Args:
        replica: what is shown of the replica that answers.
        symbols: what is shown of each symbol.
        machine: the state, for the sum of the accounts and symbols that are not served.
        bus: how the bus is; its metrics have no values where there is none.
        more: metrics of others.
    """

    def __init__(
        self,
        replica: ReplicaView,
        symbols: Sequence[SymbolView],
        machine: StateMachine | None = None,
        bus: BusStatus | None = None,
        more: Iterable[Metric] = (),
    ) -> None:
        self._bus, self._more = bus, more
        self._replica, self._symbols, self._machine = replica, symbols, machine

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._of_replica()
        yield from self._of_health()
        yield from self._of_symbols()
        yield from self._of_total()
        yield from _of_bus(self._bus)
        yield self._overrides()
        yield self._accuracy()
        yield from self._drift()
        yield from self._more
        yield _trade_pnl([trade.pnl for each in self._symbols for trade in each.trades])

    def _of_replica(self) -> Iterator[Metric]:
        replica = self._replica
        jump_s = max((each.state.clock_jump_s for each in self._symbols), key=abs, default=0.0)
        positions = sum(each.state.positions for each in self._symbols)
        for name, text, value in (
            ("active_positions", "Positions known to the service", positions),
            (
                "state_age_seconds",
                "Seconds since the store took a write of this replica",
                replica.state_age_s,
            ),
            ("state_available", "1 while the state can be relied on", replica.state_available),
            ("model_loading", "1 while the chosen bundle is not loaded", replica.model_loading),
            ("decisions_waiting", "Decisions that are not in the journal yet", replica.waiting),
            ("clock_jump_seconds", "By how much the clock is wrong, 0 while it is trusted", jump_s),
        ):
            family = GaugeMetricFamily(f"tactical_{name}", text)
            family.add_metric([], float(value))
            yield family

    def _of_health(self) -> Iterator[Metric]:
        text = "0 while there is no such alert, 1 for a warning, 2 for a critical one"
        alerts = GaugeMetricFamily("tactical_alert", text, labels=["code", "symbol"])
        for (code, symbol), level in self._replica.alerts.items():
            alerts.add_metric([code, symbol], float(level))
        text = "Use in percent of what the service may use"
        used = GaugeMetricFamily("tactical_resource_used_percent", text, labels=["resource"])
        if self._replica.resources is not None:
            for name, percent in asdict(self._replica.resources).items():
                used.add_metric([name.removesuffix("_percent")], percent)
        yield from (alerts, used)

    def _of_symbols(self) -> Iterator[Metric]:
        rows = [(each.symbol, _values(each)) for each in self._symbols]
        for name, text in _BY_SYMBOL.items():
            family = GaugeMetricFamily(f"tactical_{name}", text, labels=["symbol"])
            for symbol, values in rows:
                if (value := values[name]) is not None:
                    family.add_metric([symbol], float(value))
            yield family
        family = GaugeMetricFamily(
            "tactical_model_info", "1 for the bundle that decides", labels=["symbol", "bundle_id"]
        )
        for each in self._symbols:
            family.add_metric([each.symbol, each.bundle_id], 1.0)
        yield family

    def _of_total(self) -> Iterator[Metric]:
        """Yield what is known of the sum of all accounts."""
        if self._machine is None:
            return
        total = self._machine.total
        for name, text, value in (
            ("equity_dollars", "Equity of all accounts, as last marked", total.equity),
            ("drawdown_ratio", "Share of the sum's peak that is lost", total.drawdown),
            (
                "drawdown_limit_ratio",
                "Drawdown of the sum at which trading halts; absent without one",
                total.limits.drawdown,
            ),
            ("halted", "1 while a limit of the sum halts all trading", total.halted),
        ):
            family = GaugeMetricFamily(f"tactical_total_{name}", text)
            if value is not None:
                family.add_metric([], float(value))
            yield family
        text = "Lots held of a symbol that no bundle was given for"
        left_out = GaugeMetricFamily("tactical_left_out_lots", text, labels=["symbol"])
        for symbol in self._machine.left_out:
            account = self._machine.symbols[symbol].account
            left_out.add_metric([symbol], account.side * account.quantity)
        yield left_out

    def _overrides(self) -> Metric:
        text = "1 for the operator's order that is in force"
        family = GaugeMetricFamily("tactical_override", text, labels=["symbol", "control"])
        for each in self._symbols:
            for control in Control:
                if control is not Control.NONE:
                    in_force = float(each.state.control is control)
                    family.add_metric([each.symbol, control.value], in_force)
        return family

    def _drift(self) -> Iterator[Metric]:
        text = "Largest statistic of drift of a group over its threshold, an alarm above 1"
        ratio = GaugeMetricFamily("tactical_drift_ratio", text, labels=["symbol", "group"])
        text = "Statistics of drift above their thresholds"
        alarms = GaugeMetricFamily("tactical_drift_alarms", text, labels=["symbol"])
        text = "Whole sessions in which the bundle's drift was looked for"
        sessions = GaugeMetricFamily("tactical_drift_sessions", text, labels=["symbol"])
        for each in self._symbols:
            drift = each.drift
            if drift is not None and drift.profile:
                alarms.add_metric([each.symbol], float(drift.alarms))
                sessions.add_metric([each.symbol], float(drift.sessions))
                for group, value in drift.ratios.items():
                    ratio.add_metric([each.symbol, group], value)
        yield from (ratio, alarms, sessions)

    def _accuracy(self) -> Metric:
        text = "Share of a bundle's trades in which the agent's vote was right"
        labels = ["agent_id", "symbol", "bundle_id"]
        family = GaugeMetricFamily("tactical_agent_accuracy", text, labels=labels)
        for each in self._symbols:
            for bundle_id, accuracy in each.accuracy.items():
                for agent in AGENTS:
                    if (share := getattr(accuracy, agent)) is not None:
                        family.add_metric([agent, each.symbol, bundle_id], share)
        return family


def _of_bus(bus: BusStatus | None) -> Iterator[Metric]:
    figures = None if bus is None else bus.figures
    values: dict[str, float] = {}
    if bus is not None:
        values = {"bus_connected": bus.unreachable is None, "bus_reads": bus.reads}
    if figures is not None:
        values |= {
            "bus_lag": figures.lag,
            "bus_pending": figures.pending,
            "bus_oldest_seconds": figures.oldest_s,
            "bus_dead_letters": figures.dead,
        }
    for name, text in _OF_BUS.items():
        family = GaugeMetricFamily(f"tactical_{name}", text)
        if name in values:
            family.add_metric([], float(values[name]))
        yield family


_OF_BUS: Final = {
    "bus_connected": "1 while the bus can be used",
    "bus_reads": "1 while this replica reads the bus; the others stand by",
    "bus_lag": "Entries of the bus that nobody has read",
    "bus_pending": "Entries of the bus that were read and not answered",
    "bus_oldest_seconds": "Age of the oldest of these",
    "bus_dead_letters": "Entries of the bus that could not be answered",
}

_BY_SYMBOL: Final = {
    "equity_dollars": "Equity, as last marked",
    "session_drawdown_ratio": "Share of the session's peak that is lost",
    "session_drawdown_limit_ratio": "Drawdown at which the session is halted",
    "halted": "1 while the session is halted by its drawdown",
    "position_lots": "Lots held, below zero when short",
    "position_mismatch": "1 while the broker's position is not that of the fills",
    "bars_overdue_seconds": "By how much the next bar is late; absent before the first",
    "bars_missing": "1 while bars are missing in the window",
    "suspect_bars": "Market rules that bars of the window break",
}


def _values(view: SymbolView) -> dict[str, float | None]:
    """Return the values of ``_BY_SYMBOL``; None for one that is not known."""
    state, account, market = view.state, view.state.account, view.state.market
    return {
        "equity_dollars": account.equity,
        "session_drawdown_ratio": 1.0 - account.equity / account.session_peak,
        "session_drawdown_limit_ratio": view.drawdown_limit,
        "halted": account.halted,
        "position_lots": account.side * account.quantity,
        "position_mismatch": state.broker_position is not None,
        "bars_overdue_seconds": view.bars_overdue_s,
        "bars_missing": market is not None and market.bars_since_gap is not None,
        "suspect_bars": len(state.suspect),
    }


def _trade_pnl(pnl: Sequence[float]) -> Metric:
    """Return the histogram of the P&L of all trades, in dollars."""
    ordered = sorted(pnl)
    buckets = [(str(float(bound)), float(bisect_right(ordered, bound))) for bound in PNL_BUCKETS]
    name = "tactical_trade_pnl_dollars"
    family = HistogramMetricFamily(
        name,
        "Net P&L of a trade in dollars",
        buckets=[*buckets, ("+Inf", float(len(ordered)))],
        sum_value=None,
    )
    # the family leaves these two out where a bucket is below zero
    family.add_sample(f"{name}_count", {}, float(len(ordered)))
    family.add_sample(f"{name}_sum", {}, math.fsum(ordered))
    return family
