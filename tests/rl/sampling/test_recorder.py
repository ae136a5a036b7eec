"""Rollouts as Parquet: every step of every account once, with the bar it stood on."""

import dataclasses

import pyarrow.parquet as pq

from envs.market import MarketPart, MarketSpec
from rllib_tactical.domain.simulation.history import Split
from rllib_tactical.rl.sampling.recorder import Recorder, rollout_table
from tests.market import INSTRUMENT, random_history, random_spec
from tests.rl.segments import segment

ONE = random_spec()
OTHER = dataclasses.replace(
    random_history(seed=3), instrument=dataclasses.replace(INSTRUMENT, symbol="B")
)
SECOND = MarketPart(OTHER, Split("train", 0, 1_500))
TWO = MarketSpec(
    parts=(*ONE.parts, SECOND),
    rules=ONE.rules,
    rewards=ONE.rewards,
    episodes=ONE.episodes,
    train_confidence=0.9,
)


def test_a_row_is_an_accounts_step():
    parts = [segment(5, 400, accounts=2), segment(3, 1_500 + 700, accounts=2, ended=True, seed=1)]
    table = rollout_table(parts, TWO).to_pandas()
    assert len(table) == 2 * (5 + 3)
    row = table[(table.segment == 0) & (table.account == 1)].iloc[2]
    assert row.bar == 402
    assert row.timestamp.timestamp() == ONE.parts[0].history.bars.timestamp_s[402]
    assert row.position_side == parts[0].account[2, 1, 0]
    assert row.session_drawdown_used == parts[0].account[2, 1, 3]
    assert row.action_momentum == parts[0].actions[2, 1, 1]
    assert row.logp_entry == parts[0].logp[2, 1, 2]
    assert row.reward_fvg == parts[0].rewards[2, 1, 0]
    assert not table[table.segment == 0].terminated.any()
    last = table[table.segment == 1]
    assert (row.symbol, set(last.symbol)) == ("TEST", {"B"})
    assert last.bar.tolist() == [700, 700, 701, 701, 702, 702]
    assert last.terminated.tolist() == [False] * 4 + [True] * 2
    history = SECOND.history.bars.timestamp_s
    assert [int(time.timestamp()) for time in last.timestamp] == history[last.bar].tolist()


def test_files_are_numbered_by_iteration_and_a_replaced_runner_overwrites_none(tmp_path):
    folder = tmp_path / "rollouts"
    for again in (False, True):
        recorder = Recorder(folder, ONE, worker=2, again=again)
        recorder.begin(8)
        recorder.write([segment(4, 400)])
        recorder.begin(9)
        recorder.write([segment(6, 500)])
        recorder.write([segment(7, 600)])  # for a runner that was lost
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6
    assert {"000008-02.parquet", "000009-02.parquet", "000009-02-2.parquet"} < set(names)
    assert sorted(int(name.partition("-")[0]) for name in names) == [8, 8, 9, 9, 9, 9]
    assert pq.read_table(folder / "000009-02.parquet").num_rows == 6
