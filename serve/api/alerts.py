"""Every alert of ``GET /health``: one table for the report, its metric, rules and runbooks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class AlertCode(StrEnum):
    """Which alert it is, whatever numbers its message has."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    FALLBACKS = "fallbacks"
    ERRORS = "errors"
    LATENCY = "latency"
    DECISIONS_OVERDUE = "decisions_overdue"
    ACCURACY = "accuracy"
    STATE_UNAVAILABLE = "state_unavailable"
    CLOCK_JUMPED = "clock_jumped"
    BARS_OVERDUE = "bars_overdue"
    BARS_MISSING = "bars_missing"
    BARS_SUSPECT = "bars_suspect"
    POSITION_MISMATCH = "position_mismatch"
    BUS_UNREACHABLE = "bus_unreachable"
    BUS_REFUSES = "bus_refuses"
    BUS_SLOW = "bus_slow"
    BUS_WAITS = "bus_waits"
    BUS_LAG = "bus_lag"
    BUS_DEAD_LETTERS = "bus_dead_letters"
    BUS_MAY_LOSE = "bus_may_lose"
    JOURNAL_FAILS = "journal_fails"
    DECISIONS_LOST = "decisions_lost"
    HALTED = "halted"
    DRAWDOWN = "drawdown"
    OVERRIDE = "override"
    TOTAL_HALTED = "total_halted"
    TOTAL_DRAWDOWN = "total_drawdown"
    SYMBOL_LEFT_OUT = "symbol_left_out"
    DRIFT = "drift"
    ROLLED_BACK = "rolled_back"
    EXPERIMENT_DECIDED = "experiment_decided"
    EXPERIMENT_STALE = "experiment_stale"


@dataclass(frozen=True, slots=True)
class AlertKind:
    """What is the same each time.

    ``component``: of the service; ``summary``: for a notification; ``severities``: those that it
    may have; ``by_symbol``: whether each symbol has its own; ``after_s``: for how long it has to
    last until somebody is notified.
    """

    component: str
    summary: str
    severities: tuple[str, ...]
    by_symbol: bool = False
    after_s: int = 0


_BOTH: Final = ("warning", "critical")
_WARNING: Final = ("warning",)
_CRITICAL: Final = ("critical",)

ALERTS: Final[dict[AlertCode, AlertKind]] = {
    AlertCode.CPU: AlertKind(
        "resources", "The service uses nearly all of its processors", _BOTH, after_s=300
    ),
    AlertCode.MEMORY: AlertKind(
        "resources", "The service uses nearly all of its memory", _BOTH, after_s=120
    ),
    AlertCode.DISK: AlertKind("resources", "The disk of the state is nearly full", _BOTH),
    AlertCode.FALLBACKS: AlertKind(
        "models", "Rule-based votes decide in place of the actors", _BOTH
    ),
    AlertCode.ERRORS: AlertKind("pipeline", "Decisions or writes fail", _BOTH),
    AlertCode.LATENCY: AlertKind("pipeline", "Decisions take too long", _BOTH, after_s=60),
    AlertCode.DECISIONS_OVERDUE: AlertKind(
        "pipeline", "Bars close and nobody asks for decisions", _BOTH, by_symbol=True
    ),
    AlertCode.ACCURACY: AlertKind("agents", "An agent's votes are often wrong", _BOTH, True),
    AlertCode.STATE_UNAVAILABLE: AlertKind(
        "bus", "The state cannot be read or written: decisions hold", _CRITICAL
    ),
    AlertCode.CLOCK_JUMPED: AlertKind("bus", "The clock has jumped: decisions hold", _CRITICAL),
    AlertCode.BARS_OVERDUE: AlertKind("bus", "The next bar is late", _BOTH, True),
    AlertCode.BARS_MISSING: AlertKind("bus", "Bars are missing inside the window", _WARNING, True),
    AlertCode.BARS_SUSPECT: AlertKind(
        "bus", "Bars of the window may be wrong: decisions hold", _WARNING, True
    ),
    AlertCode.POSITION_MISMATCH: AlertKind(
        "bus", "The broker's position is not that of the fills: decisions hold", _CRITICAL, True
    ),
    AlertCode.BUS_UNREACHABLE: AlertKind("bus", "The bus cannot be used", _WARNING, after_s=15),
    AlertCode.BUS_REFUSES: AlertKind("bus", "The bus does not take what it is given", _WARNING),
    AlertCode.BUS_SLOW: AlertKind("bus", "The bus is slow to answer", _WARNING, after_s=60),
    AlertCode.BUS_WAITS: AlertKind("bus", "Entries of the bus wait for an answer", _WARNING),
    AlertCode.BUS_LAG: AlertKind(
        "bus", "Many entries of the bus have not been read", _WARNING, after_s=60
    ),
    AlertCode.BUS_DEAD_LETTERS: AlertKind("bus", "The bus has new dead letters", _WARNING),
    AlertCode.BUS_MAY_LOSE: AlertKind("bus", "The server of the bus may lose entries", _WARNING),
    AlertCode.JOURNAL_FAILS: AlertKind(
        "store", "Decisions cannot be written to the journal", _WARNING
    ),
    AlertCode.DECISIONS_LOST: AlertKind(
        "store", "Decisions are missing from the journal", _WARNING
    ),
    AlertCode.HALTED: AlertKind("account", "The drawdown limit halted trading", _WARNING, True),
    AlertCode.DRAWDOWN: AlertKind(
        "account", "The drawdown is above half its limit", _WARNING, True
    ),
    AlertCode.OVERRIDE: AlertKind("account", "An operator's order is in force", _WARNING, True),
    AlertCode.TOTAL_HALTED: AlertKind(
        "account", "A limit over the sum of all accounts halted trading", _WARNING
    ),
    AlertCode.TOTAL_DRAWDOWN: AlertKind(
        "account", "The drawdown of all accounts is above half its limit", _WARNING
    ),
    AlertCode.SYMBOL_LEFT_OUT: AlertKind(
        "account", "The state holds a symbol that no bundle was given for", _BOTH
    ),
    AlertCode.DRIFT: AlertKind("drift", "The market is not that of the training", _WARNING, True),
    AlertCode.ROLLED_BACK: AlertKind(
        "models", "A promoted bundle broke its limits: the one before decides again", _WARNING, True
    ),
    AlertCode.EXPERIMENT_DECIDED: AlertKind(
        "experiment", "The comparison with a challenger has a result", _WARNING, True
    ),
    AlertCode.EXPERIMENT_STALE: AlertKind(
        "experiment", "The challengers do not answer", _WARNING, after_s=60
    ),
}
