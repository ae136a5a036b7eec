"""A challenger against the champion, session by session: who earns more, and whether to go on.

Both trade the same bars on paper. The difference of their returns in each session, cut off at a
limit, goes into a confidence sequence: whoever looks after every session, and stops at the first
result, is wrong no more often than is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import UsageError, require
from rllib_tactical.statistics.confidence_sequence import confidence_sequence


class Verdict(StrEnum):
    """What is known of a challenger."""

    RUNNING = "running"
    BETTER = "better"
    WORSE = "worse"
    HOPELESS = "hopeless"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRules:
    """When a comparison has a result.

    ``confidence``: of all looks together, shared by the challengers of a champion; ``worthwhile``:
    what a challenger must earn more in a session, as a share of equity, to be of use: once less is
    certain the comparison is hopeless; ``sessions``: after so many without a result it is, too.
    """

    confidence: float = 0.95
    worthwhile: float = 0.0001
    sessions: int = 250

    def __post_init__(self) -> None:
        require(
            0.5 < self.confidence < 1.0,
            "confidence must be in (0.5, 1)",
            self.confidence,
            UsageError,
        )
        require(self.worthwhile >= 0.0, "worthwhile must be >= 0", self.worthwhile, UsageError)
        require(self.sessions >= 1, "sessions must be >= 1", self.sessions, UsageError)


DEFAULT_RULES: Final = ChallengeRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What ``sessions`` say; the others are shares of equity a session.

    ``mean``: what the challenger earned more; ``low`` and ``high``: ends of the interval; all of
    them None before the first session.
    """

    sessions: int
    mean: float | None
    low: float | None
    high: float | None
    confidence: float
    verdict: Verdict

    @property
    def words(self) -> str:
        """What is known, as a sentence."""
        if self.mean is None or self.low is None or self.high is None:
            return "no session has ended yet"
        return (
            f"{_WORDS[self.verdict]}: {self.mean:+.4%} of equity a session, between "
            f"{self.low:+.4%} and {self.high:+.4%} at {self.confidence:.1%}, after "
            f"{self.sessions} session{'' if self.sessions == 1 else 's'}"
        )


_WORDS: Final = {
    Verdict.RUNNING: "not decided",
    Verdict.BETTER: "the challenger is better",
    Verdict.WORSE: "the challenger is worse",
    Verdict.HOPELESS: "the challenger will not be better by what is worthwhile",
}


def compare_sessions(
    champion: FloatArray,
    challenger: FloatArray,
    limit: float,
    rules: ChallengeRules = DEFAULT_RULES,
    challengers: int = 1,
) -> Challenge:
    """Return what the returns of S sessions say of a challenger.

    Args:
        champion: (S,) returns on equity, in order of time.
        challenger: (S,) of the same sessions.
        limit: a session's difference counts up to this, either way.
        rules: when there is a result.
        challengers: how many are compared with the champion; they share the probability of error.

    Raises:
        ArrayError: returns of another rank, shape or dtype.
        UsageError: ``limit`` or ``challengers`` is not above 0.
    """
    require_shape(champion, ("S",), np.float64, "champion")
    require_shape(challenger, champion.shape, np.float64, "challenger")
    require(limit > 0.0, "limit must be above 0", limit, UsageError)
    require(challengers >= 1, "challengers must be >= 1", challengers, UsageError)
    confidence = 1.0 - (1.0 - rules.confidence) / challengers
    count = len(champion)
    if not count:
        return Challenge(
            sessions=0,
            mean=None,
            low=None,
            high=None,
            confidence=confidence,
            verdict=Verdict.RUNNING,
        )
    more = np.clip(challenger - champion, -limit, limit)
    lows, highs = confidence_sequence(more, -limit, limit, confidence)
    low, high = float(lows[-1]), float(highs[-1])
    return Challenge(
        sessions=count,
        mean=float(more.mean()),
        low=low,
        high=high,
        confidence=confidence,
        verdict=_verdict(low, high, count, rules),
    )


def _verdict(low: float, high: float, sessions: int, rules: ChallengeRules) -> Verdict:
    if low > 0.0:
        return Verdict.BETTER
    if high < 0.0:
        return Verdict.WORSE
    if high < rules.worthwhile or sessions >= rules.sessions:
        return Verdict.HOPELESS
    return Verdict.RUNNING
