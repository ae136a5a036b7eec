"""A challenger in the shadow of a service: its account is that of a backtest, bit for bit."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import DataError
from serve.api.experiment import ExperimentAnswer
from serve.deploy.launch import experiment_record
from serve.experiment.shadow import paper_account, whole_sessions
from serve.experiment.status import EXPERIMENT_FILE
from serve.experiment.watch import ExperimentWatch
from tests.serve.conftest import walk
from tests.serve.experiment.shadowed import (
    backtest,
    challenger_for,
    decide_on_each,
    send,
    written,
)
from tests.serve.local import Cluster, running
from tests.serve.observability.test_gauges import samples
from tests.serve.writes import accepted

pytestmark = pytest.mark.slow

DAY, WARM = 288, 500
STOP = 2 * DAY + 100  # a whole session, and a part of one
BARS = walk(STOP, seed=31)


async def found_by(cluster: Cluster) -> ExperimentAnswer:
    answer = await cluster.get("/experiment")
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content, type=ExperimentAnswer)


def test_accounts_on_paper_are_those_of_a_backtest_and_a_new_watch_finds_the_same(
    bundle: Bundle, tmp_path: Path
) -> None:
    challenger, state = challenger_for(tmp_path), tmp_path / "state"
    record = experiment_record([challenger])
    watch = ExperimentWatch(str(state), state, [challenger], clock=lambda: 7.0)

    async def work() -> None:
        async with running(bundle, tmp_path, experiment=record) as cluster:
            assert await found_by(cluster) == ExperimentAnswer()
            await send(cluster, BARS, 0, WARM)
            assert watch.check()
            (own,) = (await found_by(cluster)).symbols["TEST"].challengers
            assert (own.decisions, own.account, own.since_s) == (0, None, None)
            middle = WARM + 60
            await decide_on_each(cluster, BARS, WARM, middle)
            await written(cluster, middle - WARM)
            assert watch.check()
            assert not watch.check()  # nothing new
            await decide_on_each(cluster, BARS, middle, STOP)
            await written(cluster, STOP - WARM)
            assert watch.check()
            found = await found_by(cluster)
            assert found.at_s == 7.0
            (own,) = found.symbols["TEST"].challengers
            assert found.symbols["TEST"].champion == bundle.bundle_id
            assert own.bundle_id == challenger.bundle_id
            assert (own.decisions, own.unanswered) == (STOP - WARM, 0)
            ours, theirs = (backtest(each, BARS, WARM) for each in (challenger, bundle))
            assert own.account == paper_account(ours)
            assert own.champion_account == paper_account(theirs)
            assert own.account.trades > 3 and own.account != own.champion_account
            assert own.sessions == len(whole_sessions(ours)) == 1
            assert own.verdict == "running" and own.words.startswith("not decided: ")
            assert own.agreement is not None and 0.0 < own.agreement < 1.0

            # another process finds all of it again
            ExperimentWatch(str(state), tmp_path / "again", [challenger], clock=lambda: 7.0).check()
            assert (tmp_path / "again" / EXPERIMENT_FILE).read_bytes() == (
                state / EXPERIMENT_FILE
            ).read_bytes()

            metrics = samples((await cluster.get("/metrics")).text)
            labels = (("challenger", challenger.bundle_id), ("symbol", "TEST"))
            assert metrics["tactical_experiment_decisions", labels] == STOP - WARM
            assert metrics["tactical_experiment_sessions", labels] == 1.0
            account = (("account", "champion"), *labels)
            equity = metrics["tactical_experiment_equity_dollars", account]
            assert equity == own.champion_account.equity
            health = (await cluster.get("/health")).json()
            (alert,) = [each for each in health["alerts"] if each["component"] == "experiment"]
            assert alert["code"] == "experiment_stale"  # its clock has stood since 1970

            # when the challenger is promoted there is nothing to compare any more
            await accepted(cluster, "/admin/model", {"path": str(challenger.path)})
            assert (await found_by(cluster)).symbols == {}
            assert watch.check()
            assert (await found_by(cluster)).symbols == {}
            # and when the former one is chosen again, the comparison begins anew
            await accepted(cluster, "/admin/model", {"path": str(bundle.path)})
            assert watch.check()
            (own,) = (await found_by(cluster)).symbols["TEST"].challengers
            assert (own.decisions, own.account) == (0, None)

    asyncio.run(work())
    watch.stop()


def test_a_watch_looks_by_itself_and_says_so_when_it_cannot(bundle: Bundle, tmp_path: Path) -> None:
    challenger, state = challenger_for(tmp_path), tmp_path / "state"

    async def work() -> None:
        async with running(bundle, tmp_path, experiment=experiment_record([challenger])):
            watch = ExperimentWatch(str(state), state, [challenger], period_s=0.05)
            watch.start()
            for _ in range(200):
                if (state / EXPERIMENT_FILE).exists():
                    break
                await asyncio.sleep(0.05)
            watch.stop()
            found = msgspec.json.decode((state / EXPERIMENT_FILE).read_bytes())
            assert abs(found["at_s"] - time.time()) < 60.0
            assert found["symbols"]["TEST"]["challengers"][0]["words"] == "no session has ended yet"

    asyncio.run(work())
    gone = bundle.path.rename(tmp_path / "gone")
    try:
        copy = state / "bundles" / bundle.bundle_id
        copy.rename(tmp_path / "copy")
        watch = ExperimentWatch(str(state), state, [challenger])
        with pytest.raises(DataError, match="decides for TEST, found it nowhere"):
            watch.check()
    finally:
        gone.rename(bundle.path)
