"""A real, short training on a real Ray: progress, checkpoints, resume, export."""

import dataclasses
import json
import math
import os
import shutil
import signal
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint, read_weights
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.main import main
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import MAX_SEED, StageConfig, TrainingConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import (
    ConfigError,
    DataError,
    TrainingError,
    UnreadableError,
    UsageError,
)
from rllib_tactical.rl import train
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import actor_weights_of, restore
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.synthetic import make_market

pytestmark = pytest.mark.ray

SMALL = TrainingConfig(
    iterations=2,
    steps_per_update=512,
    batch_size=256,
    epochs=1,
    num_envs=32,
    accounts_per_bar=4,
    num_env_runners=0,
    episodes=EpisodeConfig(length=32),
    checkpoint_every=1,
    keep_checkpoints=2,
)
CONFIG = TacticalConfig(training=SMALL)


def changed(**changes):
    return TacticalConfig(training=dataclasses.replace(SMALL, **changes))


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    made = make_market("momentum", 1, 6_000, 0.0)
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(made.bars, path)
    return path, load_instrument("SYNTH")


@pytest.fixture(scope="module")
def prepared(market):
    return prepare_market([DataSource(*market)], CONFIG)


@pytest.fixture(scope="module")
def run(market, tmp_path_factory, ray_instance):
    """A finished run of two iterations, and what it printed."""
    path, instrument = market
    out = tmp_path_factory.mktemp("runs") / "first"
    said: list[str] = []
    train([DataSource(path, instrument)], out, CONFIG, log=said.append)
    return out, said


def progress(out):
    return [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]


def test_a_line_per_iteration(run):
    out, said = run
    lines = [line for line in said if line.startswith("iter")]
    assert len(lines) == 2
    for word in ("steps", "reward", "P&L", "entropy", "left", "/s"):
        assert word in lines[-1]
    rows = progress(out)
    assert [row["iteration"] for row in rows] == [1, 2]
    assert [row["env_steps"] for row in rows] == [512, 1024]
    for agent in AGENTS:
        assert 0.9 < rows[-1][f"entropy_{agent}"] <= math.log(3) + 1e-6


def test_tensorboard_reads_the_results(run):
    out, _ = run
    events = EventAccumulator(str(out)).Reload()
    scalars = events.Scalars("tactical/entropy_fvg")
    assert [event.step for event in scalars] == [512, 1024]


def test_checkpoints_hold_what_export_needs(run, tmp_path):
    out, _ = run
    checkpoints = RunFolder(out).checkpoints()
    assert [path.name for path in checkpoints] == ["000001", "000002"]
    assert read_checkpoint(checkpoints[-1])["env_steps"] == 1024
    bundle = export_run(checkpoints[-1], tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").bundle_id == bundle.bundle_id
    for name, value in read_weights(checkpoints[-1]).items():
        np.testing.assert_array_equal(bundle.weights[name], value)
    assert bundle.manifest["training"]["env_steps"] == 1024
    assert bundle.instrument.base_quantity is not None


@pytest.mark.parametrize(("learners", "needed"), [(0, 1_000), (2, 2_000)])
def test_gpus_that_are_not_there_are_missed_before_anything_is_made(
    market, tmp_path, ray_instance, learners, needed
):
    config = changed(learner_gpus=1_000, num_learners=learners)
    with pytest.raises(ConfigError, match=f"learner_gpus: .* must have {needed} GPUs, found"):
        train([DataSource(*market)], tmp_path / "run", config, log=lambda line: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31, MAX_SEED])
def test_a_worker_has_room_for_its_number_in_the_seed(prepared, seed):
    config = changed(seed=seed)
    found = build_config(config, MarketHandle(prepared.spec), prepared.standardization)
    assert found.seed == seed if seed < 2**31 else 0 <= found.seed < 2**31


def test_a_run_is_not_overwritten(run, market):
    out, _ = run
    before = (out / "progress.jsonl").read_text()
    with pytest.raises(UsageError, match="--resume"):
        train([DataSource(*market)], out, CONFIG, log=lambda line: None)
    assert (out / "progress.jsonl").read_text() == before


def test_resume_continues_the_counts(run, market):
    out, _ = run
    train([DataSource(*market)], out, changed(iterations=3), resume=True, log=lambda line: None)
    rows = progress(out)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert rows[-1]["env_steps"] == 1536
    assert [path.name for path in RunFolder(out).checkpoints()][-1] == "000003"


def test_the_closing_note_is_about_the_checkpoint_that_export_takes(market, run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    arguments = ["train", "--data", str(market[0]), "--instrument", "SYNTH", "--out", str(out)]

    def said(best_trades):
        for path in RunFolder(out).checkpoints():
            state = read_checkpoint(path)
            earlier = path != RunFolder(out).checkpoints()[-1]
            trades = best_trades if earlier else 99
            state["validation"] |= {"trades": trades, "training_rule_trades": 99}
            state["validation"]["net_pnl"] = 1e6 * earlier
            (path / "checkpoint.json").write_text(json.dumps(state))
        result = CliRunner().invoke(main, [*arguments, "--resume"])
        assert result.exit_code == 0, result.output
        return [line for line in result.output.splitlines() if line.startswith("note")]

    assert said(best_trades=80) == []
    (note,) = said(best_trades=9)
    best = RunFolder(out).best()
    assert best is not None
    assert best.name in note


def test_resume_refuses_other_settings_and_other_data(run, market, tmp_path):
    out, _ = run
    with pytest.raises(TrainingError, match=r"training\.gamma"):
        train([DataSource(*market)], out, changed(gamma=0.5), resume=True)
    other = tmp_path / "other.parquet"
    write_bars(make_market("noise", 2, 6_000, 0.0).bars, other)
    with pytest.raises(TrainingError, match="not the file"):
        train([DataSource(other, market[1])], out, CONFIG, resume=True)
    with pytest.raises(UnreadableError, match=r"run\.json"):
        train([DataSource(*market)], tmp_path / "nothing", CONFIG, resume=True)


def test_more_workers_than_cpus_is_refused_not_waited_for(market, tmp_path, ray_instance):
    config = changed(num_env_runners=16, num_envs=4, steps_per_update=512)
    with pytest.raises(TrainingError, match="need 16 CPUs"):
        train([DataSource(*market)], tmp_path / "run", config, log=lambda line: None)


def test_too_few_bars_is_said_before_anything_starts(market, tmp_path):
    short = tmp_path / "short.parquet"
    write_bars(make_market("momentum", 1, 1_000, 0.0).bars, short)
    with pytest.raises(DataError, match="split"):
        train([DataSource(short, market[1])], tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()


def test_a_later_stage_too_short_is_refused_before_anything_starts(market, tmp_path):
    stages = (
        StageConfig(name="short", market="gap", bars=900, max_iterations=1),
        StageConfig(name="real", market="data"),
    )
    with pytest.raises(ConfigError, match="stage 'short'"):
        train([DataSource(*market)], tmp_path / "run", changed(curriculum=stages))
    assert not (tmp_path / "run").exists()


def test_an_iteration_learns_and_the_critic_stays_with_the_learner(prepared, ray_instance):
    config = changed(num_env_runners=1)
    algorithm = build_config(
        config, MarketHandle(prepared.spec), prepared.standardization
    ).build_algo()
    try:
        before = actor_weights_of(algorithm)
        result = algorithm.train()
        after = actor_weights_of(algorithm)
        assert any((before[name] != after[name]).any() for name in before)
        assert result["env_runners"]["num_env_steps_sampled"] == 512
        held = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: (sorted(runner.module.keys()), type(runner).__name__),
            local_env_runner=False,
        )
        assert held == [(sorted(AGENTS), "BatchedEnvRunner")]
        synced = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: {
                f"{a}.{n.removeprefix('actor.')}": p.numpy()
                for a in runner.module.keys()  # noqa: SIM118 - not a dictionary
                for n, p in runner.module[a].state_dict().items()
            },
            local_env_runner=False,
        )[0]
        for name, value in after.items():
            np.testing.assert_array_equal(synced[name], value)
    finally:
        algorithm.stop()


def test_checkpoint_restores_actors_critic_and_optimizers(prepared, ray_instance, tmp_path):
    handle = MarketHandle(prepared.spec)
    algorithm = build_config(CONFIG, handle, prepared.standardization).build_algo()
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "saved"))
    state = algorithm.learner_group.get_state()["learner"]
    algorithm.stop()
    fresh = build_config(CONFIG, handle, prepared.standardization).build_algo()
    try:
        fresh.restore_from_path(str(tmp_path / "saved"))
        restored = fresh.learner_group.get_state()["learner"]
        assert set(state["rl_module"]) == {*AGENTS, "critic"}
        for module, values in state["rl_module"].items():
            for name, value in values.items():
                np.testing.assert_array_equal(restored["rl_module"][module][name], value)
        assert len(state["optimizer"]) == 4
        np.testing.assert_equal(restored["optimizer"], state["optimizer"])
    finally:
        fresh.stop()


def test_market_travels_by_reference(prepared, ray_instance):
    handle = MarketHandle(prepared.spec)
    assert len(ray.cloudpickle.dumps(handle)) < 2_000
    opened = ray.get(ray.remote(lambda h: len(h.open().parts[0].history)).remote(handle))
    assert opened == len(prepared.parts[0].history)


def test_several_instruments_train_together(market, tmp_path, ray_instance):
    """Two instruments in one run: both are sampled, validated and exportable, each by name."""
    other = make_market("gap", 2, 6_000, 0.0)
    other_path = tmp_path / "other.parquet"
    write_bars(other.bars, other_path)
    second = dataclasses.replace(other.instrument, symbol="OTHER", point_value=2.0)
    sources = [DataSource(*market), DataSource(other_path, second)]
    result = train(sources, tmp_path / "run", CONFIG, log=lambda line: None)
    prepared = result.market
    assert result.validation is not None
    run = RunFolder(tmp_path / "run").read()
    assert [part["instrument"]["symbol"] for part in run["parts"]] == ["SYNTH", "OTHER"]
    with pytest.raises(UsageError, match="SYNTH, OTHER"):
        export_run(tmp_path / "run", tmp_path / "bundle")
    bundle = export_run(tmp_path / "run", tmp_path / "bundle", "OTHER")
    assert bundle.instrument == second
    assert bundle.manifest["training"]["data"]["name"] == "other.parquet"
    assert len(bundle.manifest["training"]["trained_with"]) == 1

    algorithm = build_config(
        CONFIG, MarketHandle(prepared.spec), prepared.standardization
    ).build_algo()
    try:
        segments = algorithm.env_runner.sample(num_timesteps=64)
        owner = np.searchsorted(
            prepared.spec.histories.offsets, [s.t[0] for s in segments], "right"
        )
        assert np.bincount(owner).tolist() == [0, 4, 4]
    finally:
        algorithm.stop()


def test_each_instrument_needs_a_group_of_accounts(market, tmp_path):
    other = dataclasses.replace(market[1], symbol="OTHER")
    sources = [DataSource(*market), DataSource(market[0], other)]
    few = changed(num_envs=4, accounts_per_bar=4)
    with pytest.raises(ConfigError, match=r"training\.num_envs .* the 2 instruments, found 4"):
        train(sources, tmp_path / "run", few)
    assert not (tmp_path / "run").exists()


def test_each_file_needs_an_instrument_of_its_own(market):
    with pytest.raises(ConfigError, match="instrument of its own"):
        prepare_market([DataSource(*market), DataSource(*market)], CONFIG)


def test_a_lost_env_runner_costs_nothing_but_its_samples(market, tmp_path, ray_instance):
    """The only env runner is killed after the first iteration; the run still does all three."""
    killed: list[Any] = []

    def log(line):
        if line.startswith("iter") and not killed:
            for process in psutil.Process().children(recursive=True):
                if "BatchedEnvRunner" in process.name() or any(
                    "BatchedEnvRunner" in word for word in process.cmdline()
                ):
                    process.kill()
                    killed.append(process.pid)

    config = changed(num_env_runners=1, iterations=3, checkpoint_every=3, record_rollouts=True)
    train([DataSource(*market)], tmp_path / "run", config, log=log)
    assert len(killed) == 1
    rows = progress(tmp_path / "run")
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert all(row["env_steps"] > 0 for row in rows)
    recorded = sorted(path.name.partition("-")[0] for path in (tmp_path / "run/rollouts").iterdir())
    assert recorded == ["000001", "000002", "000003"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_answered_with_a_checkpoint(market, tmp_path, ray_instance, number):
    def log(line):
        if line.startswith("iter    1"):
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    config = changed(iterations=50, checkpoint_every=50)
    with pytest.raises(KeyboardInterrupt):
        train([DataSource(*market)], tmp_path / "run", config, log=log)
    assert signal.getsignal(number) == handler
    (newest,) = RunFolder(tmp_path / "run").checkpoints()
    rows = progress(tmp_path / "run")
    assert read_checkpoint(newest)["iteration"] == len(rows) == 2
    assert read_checkpoint(newest)["env_steps"] == rows[-1]["env_steps"]


def test_what_is_due_by_episodes_is_not_shifted_by_an_interruption(market, tmp_path, ray_instance):
    def judged(out):
        return [row["iteration"] for row in RunFolder(out).validations()]

    def interrupt(line):
        if line.startswith("iter    4"):
            os.kill(os.getpid(), signal.SIGINT)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = changed(iterations=9, checkpoint_every=50, checkpoint_episodes=48)
    train([DataSource(*market)], whole, config, log=lambda line: None)
    assert judged(whole) == [3, 7, 9]
    with pytest.raises(KeyboardInterrupt):
        train([DataSource(*market)], cut, config, log=interrupt)
    train([DataSource(*market)], cut, config, resume=True, log=lambda line: None)
    assert judged(cut) == [3, 5, 7, 9]


def test_a_handful_of_episodes_promotes_no_run(market, tmp_path, ray_instance):
    stages = (
        StageConfig(name="a", market="gap", bars=4_000, promote_by="reward", promote_at=-1e9),
        StageConfig(name="real", market="data"),
    )
    # about 64 episodes end in an iteration
    config = changed(iterations=4, curriculum=stages, episodes=EpisodeConfig(length=8))
    train([DataSource(*market)], tmp_path / "run", config, log=lambda line: None)
    rows = progress(tmp_path / "run")
    assert [row["stage"] for row in rows] == [0, 0, 1, 1]
    assert rows[0]["episodes"] < 100 <= rows[1]["episodes"]
    assert all(row["reward_mean"] is not None for row in rows)
    judged = RunFolder(tmp_path / "run").validations()
    assert [row["reward"] is None for row in judged] == [True, False, True, False]


def test_divergence_is_said_at_once(market, tmp_path, ray_instance):
    config = changed(actor_lr=1e30, iterations=9, checkpoint_every=9)
    with pytest.raises(TrainingError, match="diverged in iteration"):
        train([DataSource(*market)], tmp_path / "run", config, log=lambda line: None)


def test_a_failed_start_leaves_no_run(market, tmp_path, ray_instance):
    config = changed(num_env_runners=16, num_envs=4, steps_per_update=512)
    with pytest.raises(TrainingError, match="need 16 CPUs"):
        train([DataSource(*market)], tmp_path / "run", config, log=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_restored_run_samples_with_the_trained_weights(prepared, ray_instance, tmp_path):
    """Remote runners must not go on with the weights they were built with."""
    config = changed(num_env_runners=1, actor_lr=1e-2)
    handle = MarketHandle(prepared.spec)
    algorithm = build_config(config, handle, prepared.standardization).build_algo()
    for _ in range(2):
        algorithm.train()
    algorithm.save_to_path(str(tmp_path / "saved"))
    trained = actor_weights_of(algorithm)
    algorithm.stop()
    fresh = build_config(config, handle, prepared.standardization, resumed_at=2).build_algo()
    try:
        restore(fresh, tmp_path / "saved")
        held = fresh.env_runner_group.foreach_env_runner(
            lambda runner: {
                f"{agent}.{name.removeprefix('actor.')}": value.numpy()
                for agent in AGENTS
                for name, value in runner.module[agent].state_dict().items()
            },
            local_env_runner=False,
        )
        for name, value in trained.items():
            np.testing.assert_array_equal(held[0][name], value)
    finally:
        fresh.stop()


def test_a_run_of_another_version_says_so(run, market, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run[0], other)
    settings = json.loads((other / "run.json").read_text())
    settings["config"]["training"]["gone"] = 1
    (other / "run.json").write_text(json.dumps(settings))
    for work in (
        lambda: export_run(other, tmp_path / "bundle"),
        lambda: train([DataSource(*market)], other, CONFIG, resume=True, log=lambda line: None),
    ):
        with pytest.raises(ConfigError, match=r"training\.gone.*another version of this program"):
            work()
