"""One result of the bundles of all seeds: median, mean, and what they were chosen from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.data.dataset import DataSource, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.walkforward.folds import Fold
from rllib_tactical.walkforward.study import make_study
from rllib_tactical.walkforward.summary import Summary, summarize
from tests.market import INSTRUMENT, random_bars

pytestmark = pytest.mark.slow

SCALES = (1.0, 0.25)


SEEDS = {3: 1.0, 5: 0.25, 8: 0.5, 9: 2.0}
"""Seeds whose bundles differ in their temperature scale."""


@pytest.fixture(scope="module")
def summary(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(random_bars(3_000, seed=3), path)
    config = TacticalConfig(training=TrainingConfig(temperature_scales=SCALES))
    folds = (Fold(0, 600, 1_000, 2_000), Fold(1, 1_600, 2_000, 3_000))
    study = make_study(load_dataset(DataSource(path, INSTRUMENT)), folds, tuple(SEEDS), config)
    bundles = {
        job: dataclasses.replace(bundle, temperature_scale=SEEDS[job.seed])
        for job in study.jobs(path.parent)
    }
    return summarize(study, bundles, lambda line: None)


def net(summary: Summary) -> dict[int, float]:
    return {seed: each.policy.result.net_pnl for seed, each in summary.seeds.items()}


def test_the_median_seed_is_in_the_middle_the_lower_one_of_two(summary: Summary) -> None:
    found = net(summary)
    assert len(set(found.values())) == 4
    assert found[summary.median] == sorted(found.values())[1]
    assert summary.net_pnl == pytest.approx(np.mean(list(found.values())))


def test_every_seed_with_every_scale_is_a_trial(summary: Summary) -> None:
    assert summary.trials.names == tuple(
        f"seed {seed}, scale {scale:g}" for seed in SEEDS for scale in SCALES
    )
    # all seeds have the same weights, so that a trial is what the seed with that scale traded
    for column, seed in enumerate((3, 5) * len(SEEDS)):
        days = summary.seeds[seed].policy.days().pnl
        np.testing.assert_allclose(summary.trials.pnl[:, column], days)
    assert (summary.trials.pnl[:, 0] != summary.trials.pnl[:, 1]).any()
    assert summary.significance.trials == 8


def test_the_statistics_are_of_an_account_split_between_the_seeds(summary: Summary) -> None:
    days = [each.policy.days().pnl for each in summary.seeds.values()]
    assert summary.significance.total.estimate == pytest.approx(np.sum(np.mean(days, axis=0)))
    trades = [each.full_rule_trades for each in summary.seeds.values()]
    assert summary.significance.trades == round(np.mean(trades))


def test_the_report_shows_the_other_seeds_beside_the_baselines(summary: Summary) -> None:
    report = summary.report()
    own = summary.seeds[summary.median]
    assert report.policy is own.policy
    assert report.significance is summary.significance
    names = [run.name for run in report.baselines]
    others = [f"seed_{seed}" for seed in SEEDS if seed != summary.median]
    assert names == [*(run.name for run in own.baselines), *others]
    for name, run in zip(others, report.baselines[-3:], strict=True):
        seed = int(name.removeprefix("seed_"))
        assert run.result is summary.seeds[seed].policy.result


def test_the_verdict_gives_each_seed_and_their_mean(summary: Summary) -> None:
    each = ", ".join(f"{value:,.0f}" for value in net(summary).values())
    assert f"Net P&L by seed in dollars: {each}. Mean over the seeds: " in summary.verdict()
    document = summary.to_dict()
    assert document["verdict"] == summary.verdict()
    assert document["median_seed"] == summary.median
    assert document["mean_net_pnl"] == summary.net_pnl
    assert list(document["seeds"]) == ["3", "5", "8", "9"]
    assert document["statistics"]["trials"] == 8
