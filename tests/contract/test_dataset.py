"""All commands load a file alike: the same features, and one size wherever the same is meant.

The instrument is the user's own, a YAML file without base quantity; its volatility grows from bar
to bar, so that each span of bars gives another size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.cli import selftest
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.dataset import Dataset, UnsizedDataset
from rllib_tactical.data.files import read_bars, write_bars
from rllib_tactical.data.sizing import SizeFrom
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import FEATURE_NAMES, Bars
from rllib_tactical.selftest.checks import Check, Subject
from rllib_tactical.walkforward.folds import walk_forward
from serve.api.write_requests import BarInput, BarsRequest
from serve.decision.decider import Decider
from serve.http.queries import public_manifest
from serve.state.machine import StateMachine
from serve.state.records import model_record
from tests.small_ray import small_ray

pytestmark = pytest.mark.ray

BARS = 5_200
FOLD = walk_forward(BARS, 1)[0]
SPLITS = FOLD.splits(BARS)
INSTRUMENT = "symbol: MINE\ntick_size: 0.01\npoint_value: 2.0\nlot_step: 0.1\n"
OTHER = INSTRUMENT.replace("MINE", "YOURS")
CONFIG = f"""tactical_marl:
  training:
    iterations: 1
    steps_per_update: 512
    batch_size: 256
    epochs: 1
    num_envs: 32
    accounts_per_bar: 4
    splits: {list(SPLITS)}
    episodes: {{kind: bars, length: 32, cost_factors: [1.0, 1.0]}}
    checkpoint_every: 1
    temperature_scales: [1.0]
"""


def growing_bars() -> Bars:
    rng = np.random.default_rng(7)
    step = np.linspace(0.05, 0.4, BARS) * rng.standard_normal(BARS)
    close = np.round(500.0 + np.cumsum(step), 2)
    opened = np.concatenate([[500.0], close[:-1]])
    wick = np.round(np.linspace(0.02, 0.3, BARS) * rng.random((2, BARS)), 2)
    return Bars(
        1_700_000_100 + 300 * np.arange(BARS),
        open=opened,
        high=np.maximum(opened, close) + wick[0],
        low=np.minimum(opened, close) - wick[1],
        close=close,
        volume=rng.integers(100, 900, BARS).astype(float),
    )


@dataclass
class Commands:
    """What the commands left in ``folder``, and the datasets that each of them worked on."""

    folder: Path
    loaded: dict[str, list[Dataset]] = field(default_factory=dict)

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


def spoken(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run([str(argument) for argument in arguments])
    assert not stop.value.code, arguments


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """All commands, run on one file of one instrument."""
    folder = tmp_path_factory.mktemp("commands")
    done = Commands(folder)
    bars, mine, config = folder / "bars.csv", folder / "mine.yaml", folder / "config.yaml"
    write_bars(growing_bars(), bars)
    mine.write_text(INSTRUMENT)
    (folder / "yours.yaml").write_text(OTHER)
    config.write_text(CONFIG)
    data = ("--data", bars, "--instrument", mine)
    bundle = ("--bundle", folder / "bundle")
    few = ("--no-baselines", "--no-statistics")
    calls: dict[str, tuple[object, ...]] = {
        "features": ("features", bars, "--out", folder / "features.parquet"),
        "train": ("train", *data, "--config", config, "--out", folder / "run"),
        "export": ("export", folder / "run", "--out", folder / "bundle"),
        "evaluate": (
            "evaluate", *data, "--config", config, "--out", folder / "walk", "--folds", 1,
            "--seeds", 1,
        ),
        "backtest": ("backtest", *bundle, *data, *few, "--out", folder / "backtest"),
        "backtest, bundle's instrument": (
            "backtest", *bundle, "--data", bars, *few, "--out", folder / "own",
        ),
        "backtest, another symbol": (
            "backtest", *bundle, "--data", bars, "--instrument", folder / "yours.yaml", *few,
            "--out", folder / "other",
        ),
        "backtest, built-in policy": (
            "backtest", "--policy", "rules", *data, *few, "--out", folder / "rules",
        ),
        "backtest, later start": (
            "backtest", "--policy", "rules", *data, *few, "--out", folder / "later", "--start",
            "2023-11-20",
        ),
        "selftest": ("selftest", *bundle, *data, "--out", folder / "selftest.json"),
        "selftest, another symbol": (
            "selftest", *bundle, "--data", bars, "--instrument", folder / "yours.yaml", "--out",
            folder / "selftest_other.json",
        ),
    }  # fmt: skip

    sized = UnsizedDataset.sized
    with small_ray(), pytest.MonkeyPatch.context() as patch:
        for name, arguments in calls.items():
            seen: list[Dataset] = []

            def spy(
                loaded: UnsizedDataset, size_from: SizeFrom, seen: list[Dataset] = seen
            ) -> Dataset:
                seen.append(sized(loaded, size_from))
                return seen[-1]

            def tested(subject: Subject, seen: Any = seen) -> Check:
                (dataset,) = seen
                assert subject.history is dataset.history
                return Check("subject", True, "", "")

            patch.setattr(UnsizedDataset, "sized", spy)
            patch.setattr(selftest, "CHECKS", (tested,))  # what is tested, not the tests
            spoken(*arguments)
            done.loaded[name] = seen
        yield done


def trained_size(commands: Commands) -> float:
    size: float = commands.read("run/run.json")["parts"][0]["instrument"]["base_quantity"]
    return size


def test_the_size_of_training_is_from_the_training_bars(commands: Commands) -> None:
    bars = read_bars(commands.folder / "bars.csv")
    atr = float(compute_features(bars).atr[359 : FOLD.train_stop].mean())
    assert trained_size(commands) == pytest.approx(100.0 / (2.0 * atr), abs=0.1)
    times = bars.timestamp_s[[359, FOLD.train_stop - 1]].astype("datetime64[s]")
    assert commands.read("run/run.json")["parts"][0]["data"]["size_from"] == {
        "kind": "training_bars",
        "bars": FOLD.train_stop - 359,
        "first": f"{times[0]}Z",
        "last": f"{times[1]}Z",
    }


def test_one_size_wherever_a_bundle_decides(commands: Commands) -> None:
    size = trained_size(commands)
    manifest = commands.read("bundle/manifest.json")
    origin = commands.read("run/run.json")["parts"][0]["data"]["size_from"]
    assert manifest["instrument"]["base_quantity"] == size
    assert manifest["training"]["data"]["size_from"] == origin
    expected = {"kind": "bundle", "bundle_id": manifest["bundle_id"], "size_from": origin}
    for out in ("backtest", "own"):
        config = commands.read(f"{out}/config.json")
        assert config["instrument"]["base_quantity"] == size
        assert config["data"]["size_from"] == expected
        report = (commands.folder / out / "report.html").read_text()
        assert f"{size:,.12g} lots, of bundle {manifest['bundle_id'][:12]}, from the" in report
    document = commands.read("selftest.json")
    assert (document["base_quantity"], document["size_from"]) == (size, expected)
    for name in ("backtest", "backtest, bundle's instrument", "selftest"):
        (dataset,) = commands.loaded[name]
        assert dataset.history.instrument.base_quantity == size
    # the service has nothing but the bundle
    bundle = load_bundle(commands.folder / "bundle")
    assert model_record(bundle).instrument["base_quantity"] == size
    assert Decider(bundle, PerformanceConfig()).bundle.instrument.base_quantity == size
    shown = public_manifest(bundle, PerformanceConfig())
    assert (shown.instrument["base_quantity"], shown.size_from) == (size, origin)


def test_an_evaluation_of_the_same_training_bars_has_the_same_size(commands: Commands) -> None:
    size, run = trained_size(commands), commands.read("run/run.json")["parts"][0]
    plan = commands.read("walk/evaluation.json")["plan"]
    assert plan["instrument"]["base_quantity"] == size
    assert plan["data"]["size_from"] == run["data"]["size_from"]
    fold = commands.read("walk/fold-0/seed-0/run/run.json")["parts"][0]
    assert fold["instrument"] == run["instrument"]
    assert fold["data"]["size_from"] == run["data"]["size_from"]
    exported = commands.read("walk/fold-0/seed-0/bundle/manifest.json")
    assert exported["instrument"]["base_quantity"] == size
    report = (commands.folder / "walk" / "results" / "report.html").read_text()
    assert f"{size:,.12g} lots, from the {FOLD.train_stop - 359:,} training bars" in report


def test_without_training_the_bars_before_the_first_decision_size(commands: Commands) -> None:
    atr = float(compute_features(read_bars(commands.folder / "bars.csv")).atr[:359].mean())
    sizes = []
    for name in ("rules/config.json", "later/config.json", "other/config.json"):
        config = commands.read(name)
        assert config["data"]["size_from"]["kind"] == "warm_up_bars"
        assert config["data"]["size_from"]["bars"] == 359
        sizes.append(config["instrument"]["base_quantity"])
    document = commands.read("selftest_other.json")
    assert document["size_from"]["kind"] == "warm_up_bars"
    sizes.append(document["base_quantity"])
    assert len(set(sizes)) == 1
    assert sizes[0] == pytest.approx(100.0 / (2.0 * atr), abs=0.1)
    assert sizes[0] > 1.5 * trained_size(commands)  # it does matter which bars are taken
    report = (commands.folder / "rules" / "report.html").read_text()
    assert f"{sizes[0]:,.12g} lots, from the 359 bars before the first decision" in report


def test_every_command_works_on_the_same_features(commands: Commands) -> None:
    written = pd.read_parquet(commands.folder / "features.parquet")
    names = [name for name in commands.loaded if name not in ("features", "export")]
    for name in names:
        (dataset,) = commands.loaded[name]
        table, synergy = dataset.history.features, dataset.history.synergy
        np.testing.assert_array_equal(table.raw, written[list(FEATURE_NAMES)], err_msg=name)
        np.testing.assert_array_equal(table.atr, written["atr_14"], err_msg=name)
        np.testing.assert_array_equal(table.close, written["close"], err_msg=name)
        first = commands.loaded[names[0]][0].history
        np.testing.assert_array_equal(synergy.kind, first.synergy.kind, err_msg=name)
        np.testing.assert_array_equal(dataset.history.sessions.is_last, first.sessions.is_last)


def test_the_service_computes_these_features_of_posted_bars(commands: Commands) -> None:
    bundle = load_bundle(commands.folder / "bundle")
    machine = StateMachine(model_record(bundle))
    history = commands.loaded["backtest"][0].history
    bars, count = history.bars, 420
    rows = [
        BarInput(
            int(bars.timestamp_s[t]),
            *(float(getattr(bars, name)[t]) for name in ("open", "high", "low", "close", "volume")),
        )
        for t in range(count)
    ]
    now_s = float(bars.timestamp_s[count - 1]) + bundle.bar_seconds
    record, _ = machine.check_bars(BarsRequest("MINE", rows), now_s)
    assert record is not None
    machine.apply(record)
    market = machine.snapshot().market
    assert market is not None
    np.testing.assert_array_equal(
        np.frombuffer(market.matrix).reshape(60, 7), history.features.raw[count - 60 : count]
    )
    assert market.atr == history.features.atr[count - 1]
