"""A sweep as a study of Optuna, whatever its search was: what `optuna-dashboard` opens.

The file is a journal, to which a line is added for each change, so that it can be read while the
sweep runs. It is made anew from the trials' history when a session of the sweep begins.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rllib_tactical.sweep.history import FAILED, FINISHED, STOPPED, UNFINISHED, TrialHistory
from rllib_tactical.sweep.space import Domain, Space

STUDY: Final = "study.journal"
NAME: Final = "sweep"


class StudyFile:
    """The study of a sweep in a file.

    Args:
        path: the file; what it holds is replaced.
        space: what the sweep tries.
    """

    def __init__(self, path: Path, space: Space) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        self._space = space
        path.unlink(missing_ok=True)
        with _quietly():
            backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
            storage = optuna.storages.JournalStorage(backend)
            self._study = optuna.create_study(
                storage=storage, study_name=NAME, direction="maximize"
            )
            self._study.set_metric_names(["validation net P&L, $"])

    def add(self, trial: TrialHistory) -> None:
        """Add a trial that has ended; one that was lost before it had values is left out."""
        if trial.status != UNFINISHED and trial.params.keys() >= {
            d.key for d in self._space.domains
        }:
            with _quietly():
                self._study.add_trial(optuna_trial(self._space, trial))


def optuna_trial(space: Space, trial: TrialHistory) -> Any:
    """Return a trial as one of Optuna's, with its results by iteration.

    One that was stopped early is pruned there; one without a result has failed.
    """
    from optuna.trial import TrialState, create_trial

    states = {FINISHED: TrialState.COMPLETE, STOPPED: TrialState.PRUNED, FAILED: TrialState.FAIL}
    state = TrialState.FAIL if trial.score is None else states[trial.status]
    return create_trial(
        state=state,
        value=None if state == TrialState.FAIL else trial.score,
        params={d.key: _param(d, trial.params[d.key]) for d in space.domains},
        distributions={d.key: _distribution(d) for d in space.domains},
        user_attrs={
            "trial": trial.number,
            "status": trial.status,
            **({} if trial.reason is None else {"reason": trial.reason}),
            **({} if trial.best is None else {"trades": trial.best.get("trades")}),
        },
        intermediate_values={k: float(row["net_pnl"]) for k, row in trial.results.items()},
    )


def scored_study(space: Space, trials: Iterable[TrialHistory]) -> Any:
    """Return a study in memory of all trials with a result, however they ended."""
    import optuna

    with _quietly():
        study = optuna.create_study(direction="maximize")
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params={d.key: _param(d, trial.params[d.key]) for d in space.domains},
                    distributions={d.key: _distribution(d) for d in space.domains},
                    value=trial.score,
                )
            )
    return study


@contextmanager
def _quietly() -> Iterator[None]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parts of it are marked as experimental
        yield


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
