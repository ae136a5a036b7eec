"""What challengers answer, and what does not count."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.features.table import FeatureTable
from serve.decision.decider import Decider
from serve.experiment.shadow import Arm, Shadow
from serve.journal.reading import read_decisions
from serve.journal.record import DecisionRecord
from tests.serve.conftest import request_at, walk
from tests.serve.experiment.shadowed import (
    BY_SYMBOL,
    challenger_for,
    decide_on_each,
    history_of,
    send,
    written,
)
from tests.serve.local import running
from tests.serve.writes import accepted

pytestmark = pytest.mark.slow

BARS, FIRST, STOP = walk(420, seed=31), 380, 420


@pytest.fixture(scope="module")
def records(
    bundle: Bundle, table: FeatureTable, tmp_path_factory: pytest.TempPathFactory
) -> list[DecisionRecord]:
    """Return decisions on bars, a paused one, and one on a matrix of the request."""
    folder = tmp_path_factory.mktemp("decided")

    async def work() -> None:
        async with running(bundle, folder) as cluster:
            await send(cluster, BARS, 0, FIRST)
            await decide_on_each(cluster, BARS, FIRST, STOP)
            await accepted(cluster, "/admin/override", {"action": "pause"})
            await accepted(cluster, "/decide", BY_SYMBOL)
            await accepted(cluster, "/decide", request_at(table, 330))
            await written(cluster, STOP - FIRST + 2)

    asyncio.run(work())
    return sorted(read_decisions(str(folder / "state")), key=lambda record: record.at_s)


@pytest.fixture(scope="module")
def decider(tmp_path_factory: pytest.TempPathFactory) -> Decider:
    return Decider(challenger_for(tmp_path_factory.mktemp("challenger")), PerformanceConfig())


@pytest.fixture(scope="module")
def champion(bundle: Bundle) -> Decider:
    return Decider(bundle, PerformanceConfig())


@pytest.fixture
def arm(decider: Decider) -> Arm:
    return Arm(decider, since=0)


def bar_of(row: int) -> int:
    return int(BARS.timestamp_s[min(FIRST + row, STOP - 1)])


def test_a_champion_as_its_own_challenger_agrees_always(
    bundle: Bundle, champion: Decider, records: list[DecisionRecord]
) -> None:
    arm = Arm(champion, since=0)
    shadow, history = Shadow(champion, [arm]), history_of(bundle, BARS)
    for row, record in enumerate(records[:-2]):
        shadow.take(record, bar_of(row), history)
    (found,) = shadow.report(history).challengers
    assert (found.decisions, found.unanswered, found.agreement) == (STOP - FIRST, 0, 1.0)
    assert found.account == found.champion_account
    assert found.account is not None and found.account.trades > 0


def test_what_an_operator_decided_is_answered_and_not_traded(
    bundle: Bundle, champion: Decider, records: list[DecisionRecord], arm: Arm
) -> None:
    shadow, history = Shadow(champion, [arm]), history_of(bundle, BARS)
    paused, by_matrix = records[-2], records[-1]
    assert paused.control is by_matrix.control is Control.PAUSE
    shadow.take(paused, bar_of(STOP - FIRST - 1), history)
    shadow.take(by_matrix, bar_of(1), None)  # it has all that it needs
    (found,) = shadow.report(history).challengers
    assert (found.decisions, found.agreement) == (2, 1.0)
    assert found.account is not None and found.account.trades == 0


def test_a_decision_whose_bars_were_revised_is_traded_by_neither(
    bundle: Bundle, champion: Decider, records: list[DecisionRecord], arm: Arm
) -> None:
    history = history_of(bundle, BARS)
    traded = [row for row, r in enumerate(records[:-2]) if r.answered["decision"]["execute"]]
    shadow = Shadow(champion, [arm])
    shadow.take(records[traded[0]], bar_of(traded[0] - 1), history)  # the price is another one
    shadow.take(records[traded[1]], bar_of(traded[1]), None)
    (found,) = shadow.report(history).challengers
    assert (found.decisions, found.unanswered, found.agreement) == (0, 2, None)
    assert found.champion_account is not None and found.champion_account.trades == 0


def test_decisions_before_the_comparison_and_of_other_bundles_do_not_count(
    bundle: Bundle, champion: Decider, records: list[DecisionRecord], arm: Arm
) -> None:
    history = history_of(bundle, BARS)
    arm.since = records[5].state_version
    shadow = Shadow(champion, [arm])
    for row, record in enumerate(records[:-2]):
        shadow.take(record, bar_of(row), history)
    (found,) = shadow.report(history).challengers
    assert found.decisions == STOP - FIRST - 5
    assert found.since_s == records[5].at_s
    other = records[7].answered | {"bundle_id": "d" * 64}
    foreign = msgspec.structs.replace(records[7], answer=msgspec.Raw(msgspec.json.encode(other)))
    shadow.take(foreign, bar_of(7), history)
    assert shadow.report(history).challengers[0].decisions == STOP - FIRST - 5


def test_of_two_decisions_on_a_bar_the_later_one_counts(
    bundle: Bundle, champion: Decider, records: list[DecisionRecord], arm: Arm
) -> None:
    history = history_of(bundle, BARS)
    row = next(n for n, r in enumerate(records) if r.answered["decision"]["execute"])
    later = records[row]
    earlier = msgspec.structs.replace(later, at_s=later.at_s - 1.0, control=Control.PAUSE)
    both = []
    for order in ((later, earlier), (earlier, later)):
        shadow = Shadow(champion, [Arm(arm.decider, since=0)])
        for record in order:
            shadow.take(record, bar_of(row), history)
        both.append(shadow.report(history))
    assert both[0] == both[1]
    (found,) = both[0].challengers
    assert found.since_s == earlier.at_s
    assert found.champion_account is not None and found.champion_account.trades == 1
