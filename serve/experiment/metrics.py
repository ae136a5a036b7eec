"""What is known of the challengers, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from serve.api.experiment import ChallengerAnswer, ExperimentAnswer

_ENDS: Final = ("low", "mean", "high")
_BY_CHALLENGER: Final = {
    "decisions": "Decisions that a challenger has answered, too",
    "unanswered": "Decisions that a challenger could not answer: their bars were revised",
    "agreement_ratio": "Share of its answers with the same action as the bundle that decides",
    "sessions": "Whole sessions in which the challenger is compared",
}


def experiment_metrics(found: ExperimentAnswer, now_s: float) -> Iterator[Metric]:
    """Yield the metrics of an experiment; they have no values where there is none."""
    age = GaugeMetricFamily(
        "tactical_experiment_age_seconds", "Seconds since the challengers last looked"
    )
    if found.at_s is not None:
        age.add_metric([], max(0.0, now_s - found.at_s))
    yield age
    rows = [(symbol, each) for symbol, own in found.symbols.items() for each in own.challengers]
    for name, text in _BY_CHALLENGER.items():
        family = GaugeMetricFamily(
            f"tactical_experiment_{name}", text, labels=["symbol", "challenger"]
        )
        for symbol, each in rows:
            if (value := _values(each)[name]) is not None:
                family.add_metric([symbol, each.bundle_id], float(value))
        yield family
    equity = GaugeMetricFamily(
        "tactical_experiment_equity_dollars",
        "Equity on paper since the comparison began, of the challenger and of the champion",
        labels=["symbol", "challenger", "account"],
    )
    difference = GaugeMetricFamily(
        "tactical_experiment_difference_ratio",
        "What the challenger earned more in a session, as a share of equity, with its interval",
        labels=["symbol", "challenger", "end"],
    )
    for symbol, each in rows:
        for name, account in (("challenger", each.account), ("champion", each.champion_account)):
            if account is not None:
                equity.add_metric([symbol, each.bundle_id, name], account.equity)
        for end in _ENDS:
            if (value := getattr(each, end)) is not None:
                difference.add_metric([symbol, each.bundle_id, end], value)
    yield from (equity, difference)


def _values(each: ChallengerAnswer) -> dict[str, float | None]:
    """Return the values of ``_BY_CHALLENGER``; None for one that is not known."""
    return {
        "decisions": each.decisions,
        "unanswered": each.unanswered,
        "agreement_ratio": each.agreement,
        "sessions": each.sessions,
    }
