"""``overlap: 1``: env runners sample the next batch while the learner learns from this one."""

import json

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from rllib_tactical.artifacts.run_folder import RunFolder, read_weights
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl import train
from rllib_tactical.rl.algorithm.config import build_config
from tests.rl.small import small_config
from tests.version1 import TIMES

pytestmark = pytest.mark.ray


def config_of(**changes):
    # large steps, so that a log probability tells whose weights it is of
    return small_config(
        num_env_runners=1, overlap=1, actor_lr=1e-2, actor_lr_end_factor=1.0, **changes
    )


@pytest.fixture
def watched(ray_instance, prepared):
    """An algorithm, and by update the actors before it and the segments that it learns from."""
    algorithm = build_config(config_of(), prepared.handle(), prepared.standardization).build_algo()
    seen, update = [], algorithm._update

    def watch(episodes):
        weights = algorithm.learner_group.get_weights(module_ids=list(AGENTS))
        copies = {agent: {k: np.array(v) for k, v in weights[agent].items()} for agent in AGENTS}
        seen.append((copies, episodes))
        return update(episodes)

    algorithm._update = watch
    yield algorithm, seen, prepared.spec.histories
    algorithm.stop()


def recorded_and_computed(algorithm, histories, weights, segment):
    """Return the recorded log probabilities of a segment's votes and those by some weights."""
    module = algorithm.env_runner.module
    batch = {Columns.OBS: torch.from_numpy(histories.gather(segment.t[:-1].astype(np.int64)))}
    computed = []
    for i, agent in enumerate(AGENTS):
        module[agent].set_state(weights[agent])
        with torch.no_grad():
            logits = module[agent].forward_exploration(batch)[Columns.ACTION_DIST_INPUTS]
        votes = torch.from_numpy(segment.actions[..., i].astype(np.int64))
        computed.append(torch.log_softmax(logits, -1).gather(-1, votes))
    return segment.logp, torch.stack(computed, dim=-1).numpy()


def test_samples_are_one_update_old_and_their_log_probabilities_too(watched):
    """So the first ratio is that of the weights that learn to the weights that sampled."""
    algorithm, seen, histories = watched
    for _ in range(4):
        result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 4 * 512
    assert [sum(part.env_steps() for part in parts) for _, parts in seen] == [512] * 4
    for k, (_, parts) in enumerate(seen):
        sampled_by = seen[max(0, k - 1)][0]
        logp, computed = recorded_and_computed(algorithm, histories, sampled_by, parts[0])
        np.testing.assert_allclose(logp, computed, atol=1e-4)
        if k:
            _, other = recorded_and_computed(algorithm, histories, seen[k][0], parts[0])
            assert np.abs(logp - other).max() > 1e-2
    groups = [{part.id_ for part in parts} for _, parts in seen]
    assert groups[0] & groups[1], "the episodes go on from batch to batch"


def rows_of(folder):
    rows = map(json.loads, (folder / "progress.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


@pytest.mark.slow
def test_a_resumed_run_learns_what_was_in_flight(bars, tmp_path, ray_instance):
    """Its rows, weights and records are those of the run that was not interrupted."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    longer = config_of(iterations=4, record_rollouts=True)
    train([bars], whole, longer, log=lambda line: None)
    train([bars], cut, config_of(iterations=2, record_rollouts=True), log=lambda line: None)
    train([bars], cut, longer, resume=True, log=lambda line: None)
    assert rows_of(cut) == rows_of(whole)
    one, other = (read_weights(RunFolder(path).checkpoints()[-1]) for path in (whole, cut))
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)
    names = [f"{k:06d}-01.parquet" for k in range(1, 6)]  # the last one was not learnt from
    for run in (whole, cut):
        assert sorted(path.name for path in (run / "rollouts").iterdir()) == names
    for name in names:
        assert (cut / "rollouts" / name).read_bytes() == (whole / "rollouts" / name).read_bytes()
