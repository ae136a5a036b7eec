"""Whether this processor has hardware for a precision: measured, no flag says how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch

from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.errors import ConfigError

SIZE: Final = 256  # rows and columns of the matrices that are multiplied
REPETITIONS: Final = 7
SLOW: Final = 1.5
"""What takes so many times as long as float32 has no hardware; with it, it takes less."""


def bfloat16_cost() -> float:
    """Return how many times as long as in float32 a matrix product in bfloat16 takes here."""
    times = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    factors = {kind: torch.full((SIZE, SIZE), 0.5, dtype=kind) for kind in times}
    for _ in range(REPETITIONS):  # in turns, and the best of each: other work slows both
        for kind, factor in factors.items():
            start = time.perf_counter()
            torch.mm(factor, factor)
            times[kind] = min(times[kind], time.perf_counter() - start)
    return times[torch.bfloat16] / times[torch.float32]


def check_precision(
    training: TrainingConfig, log: Callable[[str], None], cost: Callable[[], float] = bfloat16_cost
) -> None:
    """Warn of a precision that the processor of the learner has no hardware for.

    Learners that are Ray actors or compute on GPUs are not looked at: they may be elsewhere.

    Args:
        training: the run's settings.
        log: prints a line.
        cost: measures bfloat16.

    Raises:
        ConfigError: ``training.strict`` refuses what would be warned of.
    """
    if training.precision == "float32" or training.num_learners or training.learner_gpus:
        return
    slower = cost()
    if slower <= SLOW:
        return
    found = (
        "training.precision: this processor has no hardware for bfloat16, a matrix product takes "
        f"{slower:.1f} times as long as in float32"
    )
    if training.strict:
        raise ConfigError(f"{found}: set precision: float32, or strict: false")
    log(f"warning: {found}")
