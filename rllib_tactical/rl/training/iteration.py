"""One iteration of RLlib's algorithm, or a clear error when its workers are lost for good."""

from __future__ import annotations

import time
from typing import Any

from ray.exceptions import RayActorError, RayError

from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.training.callbacks import Row
from rllib_tactical.rl.training.stopping import StopRequest

RUNNER_TIMEOUT_S = 300.0
"""How long training waits for lost env runners to come back."""

LEARNER_TIMEOUT_S = 10.0
"""How long a learner may take to answer after an update has failed."""


def next_result(algorithm: Any, iteration: int, stop: StopRequest) -> tuple[Row, float]:
    """Return RLlib's result of the next iteration that sampled anything, and its seconds.

    When every env runner is lost RLlib returns an iteration without steps and restarts them.

    Args:
        algorithm: RLlib's.
        iteration: its number, for messages.
        stop: asked while waiting for env runners.

    Raises:
        TrainingError: a learner is lost, or no env runner delivered anything for too long.
    """
    deadline = time.monotonic() + RUNNER_TIMEOUT_S
    while True:
        start = time.monotonic()
        result = _train(algorithm, iteration)
        if result["env_runners"].get("num_env_steps_sampled", 0) > 0:
            return result, time.monotonic() - start
        if stop.asked or time.monotonic() > deadline:
            raise TrainingError(
                f"no env runner delivered a step for {RUNNER_TIMEOUT_S:.0f} s; "
                "continue with --resume when the cluster is healthy"
            )
        time.sleep(1.0)


def _train(algorithm: Any, iteration: int) -> Row:
    """Return RLlib's result of one iteration; a lost learner raises a ``TrainingError``."""
    try:
        result: Row = algorithm.train()
    except RayError as error:
        if not _learner_lost(algorithm, error):
            raise
        raise TrainingError(
            f"a learner was lost in iteration {iteration}, and what it learned since the "
            "last checkpoint with it; continue with --resume when the cluster is healthy"
        ) from error
    return result


def _learner_lost(algorithm: Any, error: RayError) -> bool:
    """Return whether a learner is lost; the others may fail before it, exchanging gradients."""
    group = algorithm.learner_group
    if group.is_local:
        return False
    if isinstance(error, RayActorError):
        return True
    answers = group.foreach_learner(
        lambda learner: None, healthy_only=False, timeout_seconds=LEARNER_TIMEOUT_S
    )
    return sum(bool(answer.ok) for answer in answers) < len(group)
