"""The next batch, which env runners sample while the learner learns from the present one."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain
from typing import Any, Final

SAMPLES: Final = "samples_ahead"
"""Tag of the requests, and key in an algorithm's state."""

Sampled = tuple[list[Any], list[Any]]
"""Segments, and what each env runner counted while it sampled them."""

NOTHING: Final[Sampled] = ([], [])


class SamplesAhead:
    """Asks every env runner for its part of the next batch, and takes the parts when they are due.

    A runner does what it is asked to in order. So its part is sampled with the weights that were
    sent before it was asked, and not with those that are sent while it samples. A part of a runner
    that was lost is missing.

    Args:
        group: RLlib's group of env runners.
        market: what they replay; samples of another market are of no use.
        timeout_s: how long a part may take.
    """

    def __init__(self, group: Any, market: Hashable, timeout_s: float) -> None:
        self._group, self._market, self._timeout_s = group, market, timeout_s
        self._taken = NOTHING
        self._asked = False

    def ask(self) -> None:
        """Ask for the next batch, and return at once."""
        self._group.foreach_env_runner_async(_sample, tag=SAMPLES)
        self._asked = True

    def take(self) -> Sampled:
        """Wait for the parts that were asked for and return them, in the order of their runners."""
        self._wait()
        taken, self._taken = self._taken, NOTHING
        return taken

    def _wait(self) -> None:
        if not self._asked:
            return
        self._asked = False
        parts = self._group.fetch_ready_async_reqs(tags=SAMPLES, timeout_seconds=self._timeout_s)
        parts = [part for _, part in sorted(parts, key=lambda part: part[0])]
        self._taken = (
            list(chain.from_iterable(segments for segments, _ in parts)),
            [metrics for _, metrics in parts],
        )

    def get_state(self) -> dict[str, Any]:
        """Wait for what was asked for and return it: with it a run goes on as if uninterrupted."""
        self._wait()
        return {"market": self._market, "taken": self._taken}

    def set_state(self, state: dict[str, Any] | None) -> None:
        """Drop what was asked for and go on with a state's batch, if it is of the same market."""
        self.take()
        if state is not None and state["market"] == self._market:
            self._taken = state["taken"]


def _sample(runner: Any) -> tuple[list[Any], Any]:
    return runner.sample(), runner.get_metrics()
