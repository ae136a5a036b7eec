"""From a bundle and files of bars to its profile and to what has drifted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.backtest.request import decision_range
from rllib_tactical.backtest.training_overlap import training_spans
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.dataset import Dataset
from rllib_tactical.domain.types import BoolArray
from rllib_tactical.monitoring.monitor import date_of
from rllib_tactical.monitoring.observations import DAY_S, Observations, observations_of
from rllib_tactical.monitoring.profile import FALSE_ALARMS, DriftProfile, fit_profile
from rllib_tactical.monitoring.thresholds import LEAST_SESSIONS

UNSEEN: Final = "bars on which the bundle was neither trained nor validated"
VALIDATED: Final = "bars on which the bundle was not trained; it was chosen by some of them"
SEEN: Final = "bars of training among others: trades on them flatter the bundle"

Progress = Callable[[int, int], None]


def observe(
    bundle: Bundle,
    dataset: Dataset,
    start_s: int | None = None,
    stop_s: int | None = None,
    *,
    cost_factor: float = 1.0,
    progress: Progress | None = None,
) -> Observations:
    """Return what the bundle would have observed on bars.

    Args:
        bundle: the policy.
        dataset: the bars.
        start_s: UTC epoch second of the first bar; all that have warm features when None.
        stop_s: UTC epoch second before which bars must open; all to the end when None.
        cost_factor: multiplies what fills cost.
        progress: told about bars that the networks have seen.

    Raises:
        DataError: fewer than two bars are left.
        BundleError: the actors return values that are not finite.
    """
    history = dataset.history
    start, stop = decision_range(dataset.bars, history.first_decision, start_s, stop_s)
    votes = bundle_votes(bundle, history, np.arange(start, stop), progress=progress)
    result = run_backtest(history, votes, bundle.rules, start, stop, cost_factor=cost_factor)
    return observations_of(result)


def training_end_s(bundle: Bundle) -> int | None:
    """Return the epoch second of the last bar that the bundle's run had, None where unknown."""
    spans = training_spans(bundle)
    return max(last for _, last in spans.values()) if spans else None


def bundle_profile(
    bundle: Bundle,
    dataset: Dataset,
    stop_s: int | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
    seed: int = 0,
    progress: Progress | None = None,
) -> DriftProfile:
    """Return the profile of a bundle on bars that nothing drifted on.

    Inputs are compared with all of the bars; decisions and trades with those that the bundle has
    not seen in training, as far as these are at least 30 sessions.

    Args:
        bundle: the policy.
        dataset: the bars; such as those of training.
        stop_s: UTC epoch second before which bars must open; all to the end when None.
        false_alarms: probability that a stable month has any alarm.
        seed: of the bootstrap.
        progress: told about bars that the networks have seen.

    Raises:
        DataError: fewer than 30 sessions.
        BundleError: the actors return values that are not finite.
    """
    found = observe(bundle, dataset, None, stop_s, progress=progress)
    spans = training_spans(bundle)
    outcomes, note = found, SEEN if spans else "bars that may be those of training"
    for parts, words in ((("train", "validation"), UNSEEN), (("train",), VALIDATED)):
        ends = [spans[part][1] for part in parts if part in spans]
        if not ends:
            continue
        later = sessions_after(found, max(ends) // DAY_S)
        if len(np.unique(later.decision_session)) >= LEAST_SESSIONS:
            outcomes, note = later, words
            break
    described = {
        "data": dataset.source.path.name,
        "sha256": dataset.sha256,
        "first_session": date_of(found.bar_session[0]),
        "last_session": date_of(found.bar_session[-1]),
        "outcomes": note,
    }
    return fit_profile(
        found,
        bundle_id=bundle.bundle_id,
        symbol=dataset.history.instrument.symbol,
        outcomes=outcomes,
        described=described,
        false_alarms=false_alarms,
        seed=seed,
    )


def sessions_after(found: Observations, session: int) -> Observations:
    """Return the observations of the sessions after one."""
    groups = {
        "bar_session": ("inputs",),
        "decision_session": ("confidence", "votes"),
        "trade_session": ("pnl", "score", "right", "slippage"),
    }
    values: dict[str, Any] = {}
    for name, others in groups.items():
        kept = getattr(found, name) > session
        values |= {field: _rows(getattr(found, field), kept) for field in (name, *others)}
    return dataclasses.replace(found, **values)


def _rows(values: Any, kept: BoolArray) -> Any:
    return values[kept]
