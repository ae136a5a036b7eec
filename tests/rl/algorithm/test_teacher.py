"""Lessons: rows of the what-if tables, of several instruments, and upside down."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from envs.market import MarketPart, MarketSpec
from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.simulation.history import Split, build_history
from rllib_tactical.domain.simulation.what_if import what_if
from rllib_tactical.errors import DataError
from rllib_tactical.rl.algorithm.teacher import Teacher
from tests.domain.builders import join
from tests.market import INSTRUMENT, random_bars, random_history, random_spec, sessions_of_length

GAMMA = 0.99


def two_instruments() -> MarketSpec:
    parts = (
        MarketPart(random_history(900, 1), Split("train", 359, 600)),
        MarketPart(random_history(800, 2), Split("train", 359, 700)),
    )
    return dataclasses.replace(random_spec(), parts=parts)


def test_lessons_are_the_rows_of_all_tables_where_something_can_be_opened() -> None:
    market = two_instruments()
    teacher = Teacher(market, GAMMA)
    rows = np.arange(len(teacher))
    lesson, done = teacher.lesson(rows), 0
    for part, offset in zip(market.parts, (0, 900), strict=True):
        table = what_if(
            part.history, part.split, market.rules, market.rewards, GAMMA, market.train_confidence
        )
        taught = table.opened.any(axis=1)
        assert 0 < taught.sum() < len(table)  # not on a session's last bar
        t = np.arange(table.start, table.stop)[taught]
        mine = slice(done, done + len(t))
        np.testing.assert_array_equal(lesson.inputs[mine], part.history.inputs.gather(t))
        np.testing.assert_allclose(lesson.returns[mine], table.returns[taught], rtol=1e-6)
        np.testing.assert_allclose(lesson.early[mine], table.early[taught], rtol=1e-6)
        np.testing.assert_array_equal(lesson.opened[mine], table.opened[taught])
        np.testing.assert_array_equal(lesson.next[mine], t + 1 + offset)
        after = t[:, None] + table.bars[taught] + offset
        np.testing.assert_array_equal(lesson.after[mine], after)
        np.testing.assert_array_equal(lesson.kind[mine], part.history.synergy.kind[t])
        np.testing.assert_array_equal(lesson.direction[mine], part.history.synergy.direction[t])
        assert (after < part.split.stop + offset).all()
        done += len(t)
    assert done == len(teacher)


def test_bars_after_the_training_bars_reach_no_lesson() -> None:
    """Not even in the inputs, nor the bars at which the critic is asked."""
    bars, other = random_bars(900, 1), random_bars(300, 7)
    lessons = []
    for made in (bars, join(bars[:600], other)):
        history = build_history(made, sessions_of_length(900), INSTRUMENT)
        part = MarketPart(history, Split("train", 359, 600))
        teacher = Teacher(dataclasses.replace(random_spec(), parts=(part,)), GAMMA)
        lessons.append(teacher.lesson(np.arange(len(teacher))))
    for field in dataclasses.fields(lessons[0]):
        np.testing.assert_array_equal(*(getattr(each, field.name) for each in lessons))
    assert max(lessons[0].after.max(), lessons[0].next.max()) < 600


def test_a_mirrored_lesson_turns_the_chosen_bars() -> None:
    teacher = Teacher(two_instruments(), GAMMA)
    lesson = teacher.lesson(np.arange(100))
    turned = np.arange(100) % 3 == 0
    found = lesson.mirrored(turned)
    np.testing.assert_array_equal(found.inputs[turned], mirrored_inputs(lesson.inputs[turned]))
    for name in ("returns", "early", "opened", "after", "bars"):
        before, now = getattr(lesson, name), getattr(found, name)
        np.testing.assert_array_equal(now[turned], before[turned][:, ::-1])
        np.testing.assert_array_equal(now[~turned], before[~turned])
    np.testing.assert_array_equal(found.direction, np.where(turned, -1, 1) * lesson.direction)
    np.testing.assert_array_equal(found.inputs[~turned], lesson.inputs[~turned])
    twice = found.mirrored(turned)
    for field in dataclasses.fields(lesson):
        np.testing.assert_array_equal(getattr(twice, field.name), getattr(lesson, field.name))


def test_no_outcome_before_the_training_bars_end_is_refused() -> None:
    part = MarketPart(random_history(900, 1), Split("train", 359, 361))
    market = dataclasses.replace(random_spec(), parts=(part,))
    with pytest.raises(DataError, match=r"needs training bars with a trade .* found none"):
        Teacher(market, GAMMA)
