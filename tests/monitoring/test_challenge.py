"""Who is better, by the returns of sessions."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.errors import ArrayError, UsageError
from rllib_tactical.monitoring.challenge import ChallengeRules, Verdict, compare_sessions
from rllib_tactical.statistics.confidence_sequence import confidence_sequence

LIMIT = 0.02


def returns(mean: float, count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.002, count)


def test_the_interval_is_the_confidence_sequence_of_the_differences() -> None:
    ours, theirs = returns(0.001, 40), returns(0.0, 40, 2)
    ours[3] = 0.5  # counts up to the limit
    found = compare_sessions(theirs, ours, LIMIT)
    more = np.clip(ours - theirs, -LIMIT, LIMIT)
    low, high = confidence_sequence(more, -LIMIT, LIMIT, 0.95)
    assert (found.low, found.high, found.mean) == (low[-1], high[-1], more.mean())
    assert (found.sessions, found.confidence) == (40, 0.95)
    # of two challengers each gets half of the error
    pair = compare_sessions(theirs, ours, LIMIT, challengers=2)
    assert pair.confidence == pytest.approx(0.975)
    assert pair.low is not None and found.low is not None and pair.low < found.low


def test_verdicts_follow_from_the_interval() -> None:
    flat = np.zeros(200)
    better = compare_sessions(flat, returns(0.004, 200), LIMIT)
    assert better.verdict is Verdict.BETTER
    assert better.words.startswith("the challenger is better: +0.")
    worse = compare_sessions(flat, returns(-0.004, 200), LIMIT)
    assert worse.verdict is Verdict.WORSE
    mirrored = compare_sessions(flat, -returns(-0.004, 200), LIMIT).high
    assert mirrored is not None and worse.low == pytest.approx(-mirrored)
    assert compare_sessions(flat[:4], returns(0.004, 4), LIMIT).verdict is Verdict.RUNNING
    # no difference at all: once less than what is worthwhile is certain, and never before
    rules = ChallengeRules(worthwhile=0.002)
    verdicts = [
        compare_sessions(flat[:count], flat[:count], LIMIT, rules).verdict for count in (5, 100)
    ]
    assert verdicts == [Verdict.RUNNING, Verdict.HOPELESS]
    # or when it has gone on for long enough
    rules = ChallengeRules(sessions=5)
    assert compare_sessions(flat[:5], flat[:5], LIMIT, rules).verdict is Verdict.HOPELESS


def test_before_the_first_session_nothing_is_known() -> None:
    found = compare_sessions(np.zeros(0), np.zeros(0), LIMIT)
    assert (found.mean, found.verdict) == (None, Verdict.RUNNING)
    assert found.words == "no session has ended yet"
    one = compare_sessions(np.zeros(1), np.zeros(1), LIMIT)
    assert one.words.endswith("at 95.0%, after 1 session")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ArrayError, match="challenger"):
        compare_sessions(np.zeros(2), np.zeros(3), LIMIT)
    for wrong in ((0.0, 1), (LIMIT, 0)):
        with pytest.raises(UsageError):
            compare_sessions(np.zeros(2), np.zeros(2), wrong[0], challengers=wrong[1])
    for rules in ({"confidence": 0.5}, {"worthwhile": -1.0}, {"sessions": 0}):
        with pytest.raises(UsageError):
            ChallengeRules(**rules)
