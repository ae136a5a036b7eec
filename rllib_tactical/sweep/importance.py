"""How much each swept value mattered, by PED-ANOVA of the package optuna."""

from __future__ import annotations

import warnings
from typing import Final

from rllib_tactical.sweep.history import TrialHistory
from rllib_tactical.sweep.optuna_study import scored_study
from rllib_tactical.sweep.space import Space

FEW: Final = 8
"""With fewer trials an importance says nothing."""


def importances(space: Space, trials: list[TrialHistory]) -> dict[str, float] | None:
    """Return each key's share in separating good trials from bad ones, largest first.

    Watanabe, Bansal and Hutter 2023: how far the values of the better trials are from those of all.
    The better ones are half of them, or as near to it as trials that came to the same allow: these
    are on one side. None with fewer than 8 trials, or with fewer than 4 on a side.
    """
    import optuna

    scored = [trial for trial in trials if trial.score is not None]
    better = better_trials([trial.score or 0.0 for trial in scored])
    if better is None:
        return None
    # constant columns say nothing, and the method refuses them
    tried = tuple(d for d in space.domains if d.kind != "choice" or len(d.values) > 1)
    study = scored_study(Space(tried), scored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # marked as experimental
        # the method takes ceil(quantile * trials), and all that are as good as the last of them
        quantile = (better - 0.5) / len(scored)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    total = sum(found.values())
    return {key: value / total for key, value in found.items()} if total > 0 else None


def better_trials(scores: list[float]) -> int | None:
    """Return how many trials are the better ones: about half, and none as good as one that is not.

    None with fewer than 8 trials, or where no border leaves 4 of them on either side.
    """
    ordered, least = sorted(scores, reverse=True), FEW // 2
    borders = [
        count
        for count in range(least, len(ordered) - least + 1)
        if ordered[count - 1] > ordered[count]
    ]
    return min(borders, key=lambda count: abs(2 * count - len(ordered)), default=None)
