"""What the Grafana dashboard shows: its rows and panels, and what each asks Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rllib_tactical.domain.decision.override import Control
from serve.observability.health import LIMITS
from serve.observability.rules import JOB, RAY_JOB

_SYMBOL: Final = 'symbol=~"$symbol"'
_RATE: Final = "[$__rate_interval]"
_STAGES: Final = "tactical_stage_latency_seconds_bucket"


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus. ``legend``: names its series, with their labels in braces."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. ``unit``: Grafana's name of it; ``limit``: where values turn red.

    ``nothing``: what the panel says without any series; empty where there always has to be one.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    nothing: str = ""
    limit: float | None = None
    description: str = ""
    width: int = 8


def _quantiles(name: str, by: str = "", legend: str = "") -> tuple[Query, ...]:
    labels = f"le, {by}" if by else "le"
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by ({labels}) (rate({name}{_RATE})))",
            f"{legend} p{round(share * 100)}".strip(),
        )
        for share in (0.5, 0.95, 0.99)
    )


def _by_symbol(name: str, legend: str = "{{symbol}}", more: str = "") -> Query:
    return Query(f"tactical_{name}{{{_SYMBOL}{more}}}", legend)


def _rate(name: str, by: str, more: str = "", legend: str = "") -> Query:
    label = f"{{{{{by}}}}}"
    return Query(f"sum by ({by}) (rate(tactical_{name}{more}{_RATE}))", legend or label)


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Now": (
        Panel(
            title="Answers Prometheus",
            queries=(Query(f'up{{job=~"{JOB}|{RAY_JOB}"}}', "{{job}} {{instance}}"),),
            kind="stat",
            width=4,
        ),
        Panel(
            title="Alerts of the service",
            queries=(Query("max by (instance) (sum by (instance) (tactical_alert > bool 0))", ""),),
            kind="stat",
            limit=1.0,
            width=4,
        ),
        Panel(
            title="Open positions",
            queries=(Query("sum(tactical_active_positions)", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            title="Bundles",
            queries=(_by_symbol("model_info", "{{symbol}} {{bundle_id}}"),),
            kind="stat",
            width=4,
            description="The bundle that decides, by symbol.",
        ),
        Panel(
            title="Alerts that fire",
            queries=(
                Query('ALERTS{alertstate="firing"}', "{{alertname}} {{severity}} {{symbol}}"),
            ),
            kind="table",
            nothing="no alert fires",
        ),
    ),
    "Decisions": (
        Panel(
            title="Decisions by action",
            queries=(_rate("decisions_total", "action_type", '{agent="ensemble"}'),),
            unit="ops",
        ),
        Panel(
            title="Votes of the agents",
            queries=(
                Query(
                    "sum by (agent, action_type) "
                    f'(rate(tactical_decisions_total{{agent!="ensemble"}}{_RATE}))',
                    "{{agent}} {{action_type}}",
                ),
            ),
            unit="ops",
        ),
        Panel(title="Confidence", queries=_quantiles("tactical_model_confidence_bucket")),
        Panel(
            title="Answers by status",
            queries=(_rate("requests_total", "status"),),
            unit="reqps",
        ),
        Panel(
            title="Rule-based and unknown",
            queries=(
                Query(f"sum(rate(tactical_fallback_decisions_total{_RATE}))", "fallbacks"),
                Query(f"sum(rate(tactical_unknown_synergies_total{_RATE}))", "unknown synergies"),
            ),
            unit="ops",
        ),
        Panel(
            title="Accuracy of the agents",
            queries=(_by_symbol("agent_accuracy", "{{symbol}} {{agent_id}} {{bundle_id}}"),),
            unit="percentunit",
            nothing="no trade with known votes yet",
        ),
    ),
    "Latency by stage": (
        Panel(
            title="p50, p95 and p99", queries=_quantiles(_STAGES, "stage", "{{stage}}"), unit="s"
        ),
        Panel(
            title="Inference",
            queries=_quantiles("tactical_inference_latency_seconds_bucket"),
            unit="s",
        ),
        Panel(
            title="Decisions over their budget",
            queries=(_rate("latency_budget_breaches_total", "stage"),),
            unit="ops",
        ),
    ),
    "Equity and drawdown against limits": (
        Panel(
            title="Equity",
            queries=(
                _by_symbol("equity_dollars"),
                Query("tactical_total_equity_dollars", "all accounts {{instance}}"),
            ),
            unit="currencyUSD",
        ),
        Panel(
            title="Drawdown of the session and its limit",
            queries=(
                _by_symbol("session_drawdown_ratio"),
                _by_symbol("session_drawdown_limit_ratio", "{{symbol}} limit"),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Drawdown of all accounts and its limit",
            queries=(
                Query("tactical_total_drawdown_ratio", "drawdown {{instance}}"),
                Query("tactical_total_drawdown_limit_ratio", "limit {{instance}}"),
            ),
            unit="percentunit",
        ),
        Panel(title="Position", queries=(_by_symbol("position_lots"),), unit="none"),
        Panel(
            title="Trades by net P&L",
            queries=(Query("sum by (le) (tactical_trade_pnl_dollars_bucket)", "{{le}}"),),
            kind="bargauge",
            description="Trades with at most so many dollars of net P&L.",
        ),
        Panel(
            title="Halts and operator's orders",
            queries=(
                _by_symbol("halted", "{{symbol}} halted"),
                Query("tactical_total_halted", "all halted {{instance}}"),
                *(
                    _by_symbol(
                        "override", f"{{{{symbol}}}} {each.value}", f', control="{each.value}"'
                    )
                    for each in Control
                    if each is not Control.NONE
                ),
            ),
            limit=1.0,
        ),
    ),
    "Drift": (
        Panel(
            title="Statistic over its threshold",
            queries=(_by_symbol("drift_ratio", "{{symbol}} {{group}}"),),
            limit=1.0,
            nothing="no monitor of drift (--drift)",
        ),
        Panel(
            title="Alarms",
            queries=(_by_symbol("drift_alarms"),),
            limit=1.0,
            nothing="no monitor of drift (--drift)",
        ),
        Panel(
            title="Sessions looked at",
            queries=(_by_symbol("drift_sessions"),),
            nothing="no monitor of drift (--drift)",
        ),
    ),
    "Experiment": (
        Panel(
            title="Challenger against champion, by session",
            queries=(
                _by_symbol("experiment_difference_ratio", "{{symbol}} {{challenger}} {{end}}"),
            ),
            unit="percentunit",
            limit=0.0,
            nothing="no challenger, or no whole session yet",
        ),
        Panel(
            title="Equity on paper",
            queries=(
                _by_symbol("experiment_equity_dollars", "{{symbol}} {{challenger}} {{account}}"),
            ),
            unit="currencyUSD",
            nothing="no challenger",
        ),
        Panel(
            title="Answers, sessions, agreement",
            queries=(
                _by_symbol("experiment_decisions", "{{symbol}} {{challenger}} answered"),
                _by_symbol("experiment_unanswered", "{{symbol}} {{challenger}} unanswered"),
                _by_symbol("experiment_sessions", "{{symbol}} {{challenger}} sessions"),
                _by_symbol("experiment_agreement_ratio", "{{symbol}} {{challenger}} agreement"),
                Query("tactical_experiment_age_seconds", "seconds since a look {{instance}}"),
            ),
            nothing="no challenger",
        ),
    ),
    "Bars and broker": (
        Panel(
            title="Bars overdue",
            queries=(_by_symbol("bars_overdue_seconds"),),
            unit="s",
            limit=LIMITS["bars_overdue_s"][0],
            nothing="no bars yet",
        ),
        Panel(
            title="Missing and suspect bars",
            queries=(
                _by_symbol("bars_missing", "{{symbol}} missing"),
                _by_symbol("suspect_bars", "{{symbol}} rules broken"),
            ),
            limit=1.0,
        ),
        Panel(
            title="Position that is not the broker's",
            queries=(
                _by_symbol("position_mismatch"),
                Query("tactical_left_out_lots", "{{symbol}} left out"),
            ),
            limit=1.0,
        ),
    ),
    "Bus": (
        Panel(
            title="Connected, reads",
            queries=(
                Query("tactical_bus_connected", "connected {{instance}}"),
                Query("tactical_bus_reads", "reads {{instance}}"),
            ),
            nothing="no bus",
            width=6,
        ),
        Panel(
            title="Not read, not answered",
            queries=(
                Query("tactical_bus_lag", "not read"),
                Query("tactical_bus_pending", "not answered"),
                Query("tactical_bus_dead_letters", "dead letters"),
            ),
            nothing="no bus",
            width=6,
        ),
        Panel(
            title="Oldest that waits",
            queries=(Query("tactical_bus_oldest_seconds", "{{instance}}"),),
            unit="s",
            nothing="no bus",
            width=6,
        ),
        Panel(
            title="Entries by outcome",
            queries=(_rate("bus_entries_total", "outcome"),),
            unit="ops",
            width=6,
        ),
    ),
    "Store": (
        Panel(
            title="Age of the last write",
            queries=(Query("tactical_state_age_seconds", "{{instance}}"),),
            unit="s",
            width=6,
        ),
        Panel(
            title="State and model",
            queries=(
                Query("tactical_state_available", "available {{instance}}"),
                Query("tactical_model_loading", "model loading {{instance}}"),
                Query(
                    f"rate(tactical_model_load_failures_total{_RATE})",
                    "failed to load {{instance}}",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Journal",
            queries=(
                Query("tactical_decisions_waiting", "waiting {{instance}}"),
                Query("tactical_decisions_lost_total", "lost {{instance}}"),
            ),
            width=6,
        ),
        Panel(
            title="Failed writes, clock",
            queries=(
                _rate("failed_writes_total", "endpoint"),
                Query("tactical_clock_jump_seconds", "clock jump {{instance}}"),
            ),
            width=6,
        ),
    ),
    "Machine and Ray": (
        Panel(
            title="Of what the service may use",
            queries=(Query("tactical_resource_used_percent", "{{resource}} {{instance}}"),),
            unit="percent",
            limit=LIMITS["cpu_percent"][0],
        ),
        Panel(
            title="Ray: processors",
            queries=(
                Query("ray_node_cpu_utilization", "node {{instance}}"),
                Query("sum by (Component) (ray_component_cpu_percentage)", "{{Component}}"),
            ),
            unit="percent",
        ),
        Panel(
            title="Ray: memory",
            queries=(
                Query("ray_node_mem_used", "node {{instance}}"),
                Query("sum by (Component) (ray_component_rss_bytes)", "{{Component}}"),
                Query("sum(ray_object_store_used_memory)", "object store"),
            ),
            unit="bytes",
        ),
    ),
}
"""The rows from top to bottom, each with its panels from left to right."""


def panels() -> Iterator[Panel]:
    """Yield every panel."""
    for row in ROWS.values():
        yield from row
