"""How much each swept value mattered, by PED-ANOVA of the package optuna."""

from __future__ import annotations

import warnings
from typing import Any, Final

from rllib_tactical.sweep.history import TrialHistory
from rllib_tactical.sweep.space import Domain, Space

FEW: Final = 8
"""With fewer trials an importance says nothing."""


def importances(space: Space, trials: list[TrialHistory]) -> dict[str, float] | None:
    """Return each key's share in separating good trials from bad ones, largest first.

    Watanabe, Bansal and Hutter 2023: how far the values of the better half of the trials are from
    those of all. None with fewer than 8 trials, or where the better half is not known because
    trials on both sides of its border came to the same.
    """
    import optuna

    scored = [trial for trial in trials if trial.score is not None]
    if len(scored) < FEW:
        return None
    scores = sorted((trial.score or 0.0 for trial in scored), reverse=True)
    half = len(scores) // 2
    if scores[half - 1] == scores[half]:
        return None
    # constant columns say nothing, and the method refuses them
    distributions = {
        d.key: _distribution(d) for d in space.domains if d.kind != "choice" or len(d.values) > 1
    }
    by_key = {domain.key: domain for domain in space.domains}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # marked as experimental
        study = optuna.create_study(direction="maximize")
        for trial in scored:
            study.add_trial(
                optuna.trial.create_trial(
                    params={key: _param(by_key[key], trial.params[key]) for key in distributions},
                    distributions=distributions,
                    value=trial.score,
                )
            )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    total = sum(found.values())
    return {key: value / total for key, value in found.items()} if total > 0 else None


def _distribution(domain: Domain) -> Any:
    from optuna import distributions

    low, high = domain.values[0], domain.values[-1]
    if domain.kind == "choice":
        return distributions.CategoricalDistribution(domain.codes)
    if domain.kind == "integer":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=domain.kind == "log_uniform")


def _param(domain: Domain, value: Any) -> Any:
    if domain.kind != "choice":
        return value
    return domain.codes[
        [list(v) if isinstance(v, tuple) else v for v in domain.values].index(value)
    ]
