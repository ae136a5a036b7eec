"""Search algorithms and schedulers of Ray Tune, made from a sweep's settings.

A sweep that goes on is not restored from Tune's own files: they know neither a scheduler's state
nor the results of the last seconds. Search and scheduler begin anew and are told again, by the
trials' run folders, all that they had been told.
"""

from __future__ import annotations

import logging
import random
import warnings
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from rllib_tactical.sweep.spec import SweepSpec
from rllib_tactical.sweep.trial import CURRENT, NUMBER, OBJECTIVE, TIME, number_of

MODE = "max"


def objective(spec: SweepSpec) -> str:
    """Return the metric that decides: of the best checkpoint so far, or a population's current."""
    return CURRENT if spec.scheduler == "pbt" else OBJECTIVE


def make_search(spec: SweepSpec, known: dict[int, dict[str, Any]]) -> Any:
    """Return the search algorithm.

    Args:
        spec: the sweep.
        known: values by number of the trials of an earlier session.
    """
    if spec.search == "optuna":
        return _NumberedOptuna(spec, _gapless(known))
    if spec.scheduler == "pbt" and known:
        # members go on with the values they have now, not with those they began with
        points = _gapless(known)
        return BasicVariantGenerator(
            points_to_evaluate=points, random_state=spec.seed + len(points), **_limit(spec)
        )
    # the same draws again for trials that began: a generator's n-th trial depends on the seed only
    return BasicVariantGenerator(random_state=spec.seed, **_limit(spec))


def make_scheduler(spec: SweepSpec, reached: dict[int, int], ended: int = 0) -> Any:
    """Return the scheduler.

    Args:
        spec: the sweep.
        reached: the newest iteration of trials that began and did not end, by number.
        ended: how many did.
    """
    metric = objective(spec)
    if spec.scheduler == "none":
        return FIFOScheduler()
    if spec.scheduler == "asha":
        return ASHAScheduler(
            time_attr=TIME,
            metric=metric,
            mode=MODE,
            max_t=spec.config.training.iterations,
            grace_period=spec.asha.grace,
            reduction_factor=spec.asha.reduction,
        )
    random.seed(spec.seed)  # where Tune draws the changes from
    np.random.seed(spec.seed)
    return _Population(spec, reached, ended)


def _limit(spec: SweepSpec) -> dict[str, int]:
    return {} if spec.max_concurrent is None else {"max_concurrent": spec.max_concurrent}


def _gapless(known: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the values of the trials 0, 1, ... up to the first that is not known."""
    points: list[dict[str, Any]] = []
    while len(points) in known:
        points.append(known[len(points)])
    return points


class _NumberedOptuna(OptunaSearch):  # type: ignore[misc,unused-ignore]
    """Optuna's TPE; gives every trial its number, and survives trials without a result."""

    def __init__(self, spec: SweepSpec, points: list[dict[str, Any]]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar is marked as experimental
            # trials that run are counted as bad ones, else they would be drawn close together
            sampler = optuna.samplers.TPESampler(
                seed=spec.seed + len(points), constant_liar=True, n_startup_trials=5
            )
        super().__init__(
            space=None,
            metric=OBJECTIVE,
            mode=MODE,
            sampler=sampler,
            points_to_evaluate=points or None,
        )
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        params = super().suggest(trial_id)
        if params is None:
            return None
        number = self._numbers.setdefault(trial_id, len(self._numbers))
        return {**params, NUMBER: number}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self.metric in result:
            super().on_trial_result(trial_id, result)


class _Population(PopulationBasedTraining):  # type: ignore[misc,unused-ignore]
    """Population based training whose members may have been trained before.

    Members wait for each other: else, with more members than CPUs, a fast one would be sent back
    again and again to what a slow one had been.
    """

    def __init__(self, spec: SweepSpec, reached: dict[int, int], ended: int) -> None:
        self._reached, self._last = reached, spec.config.training.iterations
        interval = spec.pbt.interval
        super().__init__(
            time_attr=TIME,
            metric=CURRENT,
            mode=MODE,
            perturbation_interval=interval,
            hyperparam_mutations=spec.domains.mutations(),
            quantile_fraction=spec.pbt.quantile,
            resample_probability=spec.pbt.resample,
            perturbation_factors=spec.pbt.factors,
            custom_explore_fn=spec.domains.clip(),
            log_config=False,
            require_attrs=False,
            synch=True,
        )
        # the next meeting is the first that a member has not reached; who is past it waits there
        behind = [*reached.values(), *[0] * (spec.samples - ended - len(reached))]
        if behind:
            self._next_perturbation_sync = (min(behind) // interval + 1) * interval

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        done = self._reached.get(number_of(trial.trial_id, trial.config), 0)
        interval, state = int(self._perturbation_interval), self._trial_state[trial]
        state.last_perturbation_time, state.last_train_time = done // interval * interval, done

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Leave a member alone that has reached the end: nothing would be learnt from there."""
        if result.get(TIME, 0) >= self._last:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))
