"""Challengers that decide in some sessions: every replica, the journal and a replay agree."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.deploy.launch import experiment_record
from serve.experiment.watch import ExperimentWatch
from serve.journal.reading import read_decisions
from serve.journal.replay import replay
from serve.journal.verification import verify_journal
from tests.serve.conftest import walk
from tests.serve.experiment.shadowed import BY_SYMBOL, challenger_for, send, written
from tests.serve.local import running
from tests.serve.writes import accepted

pytestmark = pytest.mark.slow

DAY, DAYS, ASKED = 288, 8, 6
BARS = walk(DAY * DAYS, seed=31)


def test_sessions_have_their_turns(bundle: Bundle, tmp_path: Path) -> None:
    state, made = tmp_path / "state", challenger_for(tmp_path)
    challenger = replace(made, path=Path(shutil.copytree(made.path, tmp_path / "rival")))
    record = experiment_record([challenger], "session")
    decided: list[str] = []

    async def work() -> None:
        async with running(bundle, tmp_path, replicas=2, experiment=record) as cluster:
            await send(cluster, BARS, 0, 2 * DAY)
            shutil.rmtree(challenger.path)  # there is a copy of it beside the state
            for day in range(2, DAYS):
                await send(cluster, BARS, day * DAY, day * DAY + 1)
                for t in range(day * DAY + 1, day * DAY + 1 + ASKED):
                    await send(cluster, BARS, t, t + 1)
                    replica = t % 2
                    answer = await accepted(cluster, "/decide", BY_SYMBOL, replica)
                    turn = cluster.machine(replica).deciding("TEST").bundle_id
                    assert answer["bundle_id"] == turn
                    assert answer["decision"]["reason"] != "model_loading"
                    decided.append(turn)
                await send(cluster, BARS, day * DAY + 1 + ASKED, (day + 1) * DAY)
            await written(cluster, len(decided))
            watch = ExperimentWatch(str(state), state, [made])
            assert watch.check()
            found = (await cluster.get("/experiment")).json()
            assert found["split"] == "session"
            own = found["symbols"]["TEST"]
            assert own["champion"] == bundle.bundle_id
            assert own["deciding"] == cluster.machine().deciding("TEST").bundle_id
            # decisions of either are answered by the other
            (one,) = own["challengers"]
            assert (one["decisions"], one["unanswered"]) == (len(decided), 0)
            assert one["sessions"] == DAYS - 2

    asyncio.run(work())
    days = [set(decided[n : n + ASKED]) for n in range(0, len(decided), ASKED)]
    assert all(len(each) == 1 for each in days)  # nothing changes within a session
    assert set(decided) == {bundle.bundle_id, made.bundle_id}
    records = sorted(read_decisions(str(state)), key=lambda each: each.at_s)
    assert [each.answered["bundle_id"] for each in records] == decided
    done = replay(str(state))
    assert (done.decisions, done.differ) == (len(decided), 0)
    assert verify_journal(str(state)).problems == ()
