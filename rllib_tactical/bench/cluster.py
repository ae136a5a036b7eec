"""Part of section "engine": many env runners, real messages, and where the learner saturates.

The runners of a simulated cluster sample nothing: each sends segments that were sampled before, as
many as an env runner sends for an update. A few processes play all of them, because a hundred would
not fit a machine. The messages are pickled and go through Ray's object store to the driver, which
unpacks them and learns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

import psutil
import ray
from ray import cloudpickle

from rllib_tactical.bench.measurement import Baseline, Measurement, Row, single, summarize

RUNNERS: Final = 100
PROCESSES: Final = 5
ROUNDS: Final = 3

MESSAGES, SAMPLED = "messages alone", "sampled by one env runner"
NOTES: Final = {
    MESSAGES: "what the driver takes and unpacks while nothing learns: what so many can offer",
    SAMPLED: "what the runner of this configuration samples, alone in one process",
}


class Players:
    """Plays env runners: each call of one returns the next of the prepared batches.

    Args:
        prepared: pickled batches of segments.
    """

    def __init__(self, prepared: list[bytes]) -> None:
        self._batches: list[list[Any]] = [cloudpickle.loads(each) for each in prepared]
        self._turn = 0

    def sample(self) -> list[Any]:
        """Return the segments that one runner sends; Ray pickles them anew."""
        self._turn += 1
        return self._batches[self._turn % len(self._batches)]


def cluster_rows(algorithm: Any, runners: int, steps: int) -> list[Row]:
    """Measure ``runners`` simulated runners that send ``steps`` account steps each per update.

    Args:
        algorithm: samples the batches that are sent, and learns from what arrives.
        runners: how many are simulated.
        steps: of one runner's message.
    """
    begun = time.perf_counter()
    prepared = [algorithm.env_runner.sample(num_timesteps=steps) for _ in range(4)]
    sampled = 4 * steps / (time.perf_counter() - begun)
    pickled = [cloudpickle.dumps(batch) for batch in prepared]
    per_step = sum(map(len, pickled)) / (4 * steps)
    with _players(pickled, min(PROCESSES, runners)) as players:
        taken, learnt, both = [], [], []
        for k in range(ROUNDS + 1):
            begun = time.perf_counter()
            episodes = _taken(_asked(players, runners))
            arrived = time.perf_counter()
            asked = _asked(players, runners)  # the next messages come while the learner learns
            _learn(algorithm, episodes)
            done = time.perf_counter()
            episodes = _taken(asked)
            count = sum(part.env_steps() for part in episodes)
            if k:  # the first round is a warm-up
                taken.append(count / (arrived - begun))
                learnt.append(count / (done - arrived))
                both.append(count / (time.perf_counter() - arrived))
    of_message = Baseline(MESSAGES, summarize(taken), NOTES[MESSAGES])
    of_runner = Baseline(SAMPLED, Measurement(sampled, sampled, sampled), NOTES[SAMPLED])
    unit, who = "steps/s (wall)", f"{runners} simulated env runners"
    return [
        Row(name=f"learnt alone, {who}", unit=unit, measurement=summarize(learnt)),
        Row(
            name=f"offered and learnt, {who}",
            unit=unit,
            measurement=summarize(both),
            baselines=(of_message, of_runner),
        ),
        single(f"message of a step, {who}", "bytes/step", per_step, 24.0),
    ]


def memory_rows(algorithm: Any, iterations: tuple[int, int]) -> list[Row]:
    """Return the driver's resident memory at one iteration and what it has grown at a later one.

    Args:
        algorithm: trained until the second.
        iterations: their numbers.
    """
    first, last = iterations
    process = psutil.Process()
    for _ in range(first):
        algorithm.train()
    before = process.memory_info().rss
    for _ in range(last - first):
        algorithm.train()
    grown = process.memory_info().rss - before
    return [
        single(f"memory at iteration {first}", "MB", before / 1e6),
        single(f"memory grown from iteration {first} to {last}", "MB", grown / 1e6, 10.0),
    ]


@contextmanager
def _players(prepared: list[bytes], processes: int) -> Iterator[list[Any]]:
    actor = ray.remote(num_cpus=0)(Players)
    players = [actor.remote(prepared) for _ in range(processes)]
    try:
        yield players
    finally:
        for player in players:
            ray.kill(player)


def _asked(players: list[Any], runners: int) -> list[Any]:
    return [players[k % len(players)].sample.remote() for k in range(runners)]


def _taken(asked: list[Any]) -> list[Any]:
    return list(chain.from_iterable(ray.get(asked)))


def _learn(algorithm: Any, episodes: list[Any]) -> None:
    config = algorithm.config
    algorithm.learner_group.update(
        episodes=episodes,
        timesteps={},
        num_epochs=config.num_epochs,
        minibatch_size=config.minibatch_size,
    )
