"""What an explanation says can be checked against the decision itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES
from rllib_tactical.errors import DataError
from serve.journal.explain import Explanation, explain, explained
from serve.journal.reading import find_journal
from tests.serve.conftest import request_at
from tests.serve.journal.answers import decider_of, decisions
from tests.serve.local import Cluster
from tests.serve.writes import accepted, bars_body, with_service


def explained_at(
    bundle: Bundle, table: FeatureTable, t: int, fallback: bool = False
) -> Explanation:
    (made,) = decisions(bundle, table, [t])
    decider = decider_of(bundle)
    return explained("id", decider, made.request, made.given, fallback)


def test_an_explanation_says_what_was_decided_and_what_one_row_or_column_changes(
    bundle: Bundle, table: FeatureTable
) -> None:
    for made in decisions(bundle, table):
        decider = decider_of(bundle)
        found = explained("id", decider, made.request, made.given)
        decision = made.answer.decision
        assert (found.outcome.action, found.outcome.reason) == (decision.action, decision.reason)
        assert found.outcome.score == decision.confidence
        assert [each.name for each in found.columns] == list(FEATURE_NAMES)
        assert len(found.rows) == 60
        # by hand, for the last row and the third column
        for name, place in (("the last bar", np.s_[-1, :]), (FEATURE_NAMES[2], np.s_[:, 2])):
            matrix = made.request.matrix.copy()
            average = matrix.mean(axis=0)
            matrix[place] = average if name == "the last bar" else average[2]
            changed = replace(made.request, matrix=matrix)
            again = decider.decide_under(changed, made.given).answer
            (each,) = [e for e in [*found.rows, *found.columns] if e.name == name]
            for agent in AGENTS:
                before = getattr(made.answer.agent_breakdown, agent)
                after = getattr(again.agent_breakdown, agent)
                fell = before.probabilities[before.index] - after.probabilities[before.index]
                assert each.effect[agent] == fell
            assert each.outcome.action == again.decision.action


@pytest.mark.slow
def test_other_votes_differ_in_one_and_the_nearest_leads_to_another_action(
    bundle: Bundle, table: FeatureTable
) -> None:
    every = decisions(bundle, table, range(310, 600))
    orders = [made for made in every if made.orders]
    assert orders
    for made in [*orders[:5], *every[:5]]:
        found = explained("id", decider_of(bundle), made.request, made.given)
        assert len(found.others) == 6
        for other in found.others:
            assert sum(other.votes[agent] != found.votes[agent] for agent in AGENTS) == 1
        assert found.nearest is not None
        before, after = found.outcome, found.nearest.outcome
        assert (after.action, after.reason) != (before.action, before.reason)
        others = [o for o in found.others if o.outcome.action != before.action]
        if others:
            assert after.action != before.action
            assert max(o.probability or 0.0 for o in others) <= (found.nearest.probability or 0.0)


def test_a_pause_leads_all_votes_to_the_same(bundle: Bundle, table: FeatureTable) -> None:
    (made,) = decisions(bundle, table, [310])
    given = replace(made.given, control=Control.PAUSE)
    found = explained("id", decider_of(bundle), made.request, given)
    assert found.nearest is None
    assert found.outcome.reason == "paused"
    assert "all votes lead to the same" in found.text()


def test_the_fallback_is_explained_without_probabilities(
    bundle: Bundle, table: FeatureTable
) -> None:
    found = explained_at(bundle, table, 310, fallback=True)
    assert {other.probability for other in found.others} == {None}
    assert {effect for row in found.rows[:-1] for effect in row.effect.values()} == {0.0}
    assert "probability 0" not in found.text()


def test_a_decision_of_a_service_is_explained_by_its_id(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    answers = []

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        answers.append(await accepted(cluster, "/decide", {"symbol": "TEST"}))
        answers.append(await accepted(cluster, "/decide", request_at(table, 401)))

    with_service(bundle, tmp_path, work, replicas=1)
    name = find_journal(str(tmp_path / "state"))
    for answer in answers:
        found = explain(name, answer["decision_id"][:12])
        assert found.outcome.reason == answer["decision"]["reason"]
        assert found.decision_id == answer["decision_id"]
        text = found.text()
        assert f"decision {answer['decision_id']}" in text
        assert found.plain()["outcome"]["score"] == answer["decision"]["confidence"]
    with pytest.raises(DataError, match="found 0: zzz"):
        explain(name, "zzz")
