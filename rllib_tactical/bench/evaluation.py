"""Section "evaluation": seconds of a backtest, and the same strategy in backtesting.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rllib_tactical.backtest.comparison import compare_bundle
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import compute_metrics
from rllib_tactical.backtest.policies import rule_based
from rllib_tactical.backtest.report.writer import write_backtest
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.bench.backtesting_rival import compare_rule
from rllib_tactical.bench.measurement import Measurement, Row, summarize
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.synthetic import make_market

SEED = 1
DIFFICULTY = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSize:
    """Sizes of the measurements. The defaults take about a minute; tests use smaller ones."""

    network_bars: int = 20_000
    policy_bars: int = 100_000
    rival_bars: int = 20_000
    repetitions: int = 3


def measure_evaluation(size: EvaluationSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section on synthetic markets.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        progress("making a bundle")
        history = make_market("regime", SEED, size.network_bars, DIFFICULTY).history()
        bundle = _untrained_bundle(folder / "bundle", history)
        progress("backtest with networks")
        yield from _with_networks(bundle, history, folder, size)
        progress("backtest with a built-in policy")
        yield _built_in(size)
        progress("backtesting.py")
        market = make_market("regime", SEED, size.rival_bars, DIFFICULTY)
        yield from compare_rule(market, size.repetitions)


def _with_networks(
    bundle: Bundle, history: MarketHistory, folder: Path, size: EvaluationSize
) -> Iterator[Row]:
    start, stop = history.first_decision, len(history)

    def alone() -> None:
        compare_bundle(bundle, history, start, stop, with_baselines=False, with_statistics=False)

    def whole() -> None:
        evaluation = compare_bundle(bundle, history, start, stop)
        write_backtest(evaluation, folder / "out", ReportContext("Benchmark"), {})

    bars = f"{size.network_bars:,} bars, networks"
    yield Row(
        name=bars,
        unit="s",
        measurement=_seconds(alone, size.repetitions),
        target=5.0,
        higher_is_better=False,
    )
    yield Row(
        name=f"{bars}, whole report",
        unit="s",
        measurement=_seconds(whole, size.repetitions),
        higher_is_better=False,
    )


def _built_in(size: EvaluationSize) -> Row:
    history = make_market("regime", SEED, size.policy_bars, DIFFICULTY).history()
    start, stop = history.first_decision, len(history)

    def work() -> None:
        compute_metrics(
            run_backtest(history, rule_based(history, start, stop), Rules(), start, stop)
        )

    return Row(
        name=f"{size.policy_bars:,} bars, rules",
        unit="s",
        measurement=_seconds(work, size.repetitions),
        target=2.0,
        higher_is_better=False,
    )


def _seconds(work: Callable[[], None], repetitions: int) -> Measurement:
    """Return seconds of processor time, after a warm-up call."""
    work()
    processor, wall = [], []
    for _ in range(repetitions):
        wall_start, start = time.perf_counter(), time.process_time()
        work()
        processor.append(time.process_time() - start)
        wall.append(time.perf_counter() - wall_start)
    measurement = summarize(processor)
    return Measurement(
        measurement.median, measurement.low, measurement.high, float(np.median(wall))
    )


def _untrained_bundle(path: Path, history: MarketHistory) -> Bundle:
    """Write a bundle with random weights, large enough that it trades."""
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    weights = {}
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for agent in AGENTS:
            actor = Actor((1.0,) * history.features.raw.shape[1], 1.0)
            torch.nn.init.normal_(actor.out.weight, std=3.0)
            weights.update(actor_weights(agent, actor))
    return export_bundle(
        path,
        weights=weights,
        rules=Rules(),
        instrument=history.instrument,
        bar_seconds=BAR_SECONDS,
        temperature_scale=0.125,
        training={},
        metrics={},
    )
