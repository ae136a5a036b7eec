"""One run of the study: train in this process, evaluate on an unseen market."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from envs.market import MarketPart, MarketSpec
from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.bundle.inference import LogitsEngine, TorchEngine
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import MarketHistory, Split, split_history
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.counterfactual import COUNTERFACTUAL
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.metrics import iteration_metrics
from rllib_tactical.rl.training.validation import Validation, equal_size, validate
from rllib_tactical.runtime.process import limit_threads, without_expected_noise
from rllib_tactical.study.coupled import coupled_histories, evaluated_coupled
from rllib_tactical.study.experiments import Run
from rllib_tactical.study.scoring import (
    evaluated,
    evaluated_without,
    logits_between,
    oracle,
    preference_margins,
    scale_without,
    serving_votes,
    trade_votes,
)
from rllib_tactical.synthetic import SyntheticMarket, make_market
from rllib_tactical.synthetic.coupled import COUPLED, PLACES

UNSEEN: Final = 1_000
"""Added to a run's seed to get the seed of the unseen market."""

SPLITS: Final = (0.85, 0.15, 0.0)
EVALUATIONS: Final = 4
"""How many times a run is evaluated, equally spaced over its training, the end included."""

CURVE_BARS: Final = 9_000
STANDARDIZATION_STEP: Final = 50

WIN_RATE: Final = 0.75
"""Share of profitable trades for which a threshold is chosen, beside the plain evaluation."""

FORMAT: Final = 3


Parts = Sequence[tuple[MarketHistory, Split]]
"""Instruments with their validation bars."""

commit: Final = functools.cache(git_commit)
"""The commit at the first call: later the checkout may change, the loaded code does not."""


@functools.lru_cache(maxsize=2)
def _market(
    name: str, seed: int, bars: int, difficulty: float
) -> tuple[SyntheticMarket, MarketHistory]:
    market = make_market(name, seed, bars, difficulty)
    return market, market.history()


def train_run(run: Run) -> dict[str, Any]:
    """Train and evaluate, and return the result as plain values. Ray must be running.

    Processor and wall seconds are of training alone, without making markets and evaluating.
    """
    limit_threads()
    commit()
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    config, histories = run.config, _histories(run)
    train, validation, _ = split_history(len(histories[0]), SPLITS)
    spec = MarketSpec.from_config(
        config, tuple(MarketPart(history, train) for history in histories)
    )
    windows = np.arange(histories[0].first_decision, train.stop, STANDARDIZATION_STEP)
    standardization = Standardization.estimate(
        np.concatenate([history.inputs.gather(windows) for history in histories])
    )
    with without_expected_noise():
        algorithm = build_config(config, MarketHandle(spec), standardization).build_algo()
    try:
        return _trained(run, config, algorithm, [(each, validation) for each in histories])
    finally:
        algorithm.stop()


def _histories(run: Run) -> tuple[MarketHistory, ...]:
    """Return the instruments that a run trains on, at the same times."""
    if run.market == COUPLED:
        return coupled_histories(run.seed, run.train_bars)
    return (_market(run.market, run.seed, run.train_bars, run.difficulty)[1],)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Actors of an evaluation on the way and their score on validation bars."""

    engine: LogitsEngine
    validation: Validation


def _trained(run: Run, config: TacticalConfig, algorithm: Any, parts: Parts) -> dict[str, Any]:
    begun, processor_begun = time.monotonic(), time.process_time()
    regression = _pretrained(config, algorithm)
    wall, processor = time.monotonic() - begun, time.process_time() - processor_begun
    steps = 0
    curve: list[dict[str, Any]] = []
    sampled_trades: list[float] = []
    best: _Candidate | None = None
    while steps < run.steps:
        begun, processor_begun = time.monotonic(), time.process_time()
        result = algorithm.train()
        wall += time.monotonic() - begun
        processor += time.process_time() - processor_begun
        row = iteration_metrics(result, len(sampled_trades) + 1, 1.0)
        sampled = row["env_steps"] - steps
        steps = row["env_steps"]
        sampled_trades.append(row["trades"] / sampled)
        if steps * EVALUATIONS >= run.steps * (len(curve) + 1):
            engine = TorchEngine(actor_weights_of(algorithm), config.model.network)
            found = _Candidate(engine, _validated(config, engine, parts))
            if best is None or found.validation.net_pnl > best.validation.net_pnl:
                best = found
            curve.append(
                {
                    "steps": steps,
                    "processor_s": processor,
                    "wall_s": wall,
                    "entropy": [row[f"entropy_{agent}"] for agent in ("fvg", "momentum", "entry")],
                    "explained": row["value_explained_variance"],
                    "bonus_share": row["bonus_share"],
                    "validation": found.validation.net_pnl,
                    **_evaluate(run, config, found),
                }
            )
    assert best is not None
    few = max(1, len(sampled_trades) // 10)
    return {
        "format": FORMAT,
        "commit": commit(),
        "market": run.market,
        "seed": run.seed,
        "variant": run.variant.name,
        "changes": run.variant.changes,
        "asked": {"steps": run.steps, "train_bars": run.train_bars, "test_bars": run.test_bars},
        "difficulty": run.difficulty,
        "steps": steps,
        "processor_s": processor,
        "wall_s": wall,
        "sampled_trades_per_bar": {
            "first": float(np.mean(sampled_trades[:few])),
            "last": float(np.mean(sampled_trades[-few:])),
        },
        "curve": curve,
        "best": _evaluate_best(run, config, best, parts),
        "regression": _evaluate_regression(run, config, regression, parts),
        "training": to_dict(config.training),
    }


def _pretrained(config: TacticalConfig, algorithm: Any) -> LogitsEngine | None:
    """Pre-train the actors and return them as they are then; None with sampled credit."""
    if config.training.credit != COUNTERFACTUAL:
        return None
    algorithm.learner_group.foreach_learner(lambda learner: learner.pretrain_once())
    return TorchEngine(actor_weights_of(algorithm), config.model.network)


def _evaluate_regression(
    run: Run,
    config: TacticalConfig,
    engine: LogitsEngine | None,
    parts: Parts,
) -> dict[str, Any] | None:
    """Trade all of the unseen market with the actors as pre-training left them."""
    if engine is None:
        return None
    found = _Candidate(engine, _validated(config, engine, parts))
    return {"by_scale": found.validation.by_scale, **_evaluate(run, config, found, whole=True)}


def _validated(
    config: TacticalConfig,
    engine: LogitsEngine,
    parts: Parts,
    target: float | None = None,
) -> Validation:
    """Return the score on validation bars, at equal size as on the unseen market.

    A larger order is no better vote. Several instruments are those of the coupled market.
    """
    training = config.training
    return validate(
        engine,
        parts,
        equal_size(config.rules),
        training.temperature_scales,
        training.train_confidence,
        target,
        PLACES if len(parts) > 1 else None,
    )


def _evaluate(
    run: Run, config: TacticalConfig, found: _Candidate, whole: bool = False
) -> dict[str, Any]:
    """Trade a part of the unseen market, or all, with the scale that is best on validation bars."""
    if run.market == COUPLED:
        return _evaluate_coupled(run, config, found, whole)
    market, unseen = _unseen(run)
    start = unseen.first_decision
    stop = len(unseen) if whole else min(len(unseen), start + CURVE_BARS)
    logits = logits_between(found.engine, unseen, start, stop)
    scale = found.validation.temperature_scale
    votes = serving_votes(logits, scale)
    return {
        "scale": scale,
        "oracle": oracle(market, unseen, start, stop).document(),
        "margins": preference_margins(market, unseen, logits, start, stop),
        "policy": trade_votes(unseen, votes, config.rules, start, stop).document(),
    }


def _evaluate_coupled(
    run: Run, config: TacticalConfig, found: _Candidate, whole: bool
) -> dict[str, Any]:
    seed, bars = UNSEEN + run.seed, run.test_bars
    start = coupled_histories(seed, bars)[0].first_decision
    stop = bars if whole else min(bars, start + CURVE_BARS)
    scale = found.validation.temperature_scale
    return evaluated_coupled(config, found.engine, scale, seed, bars, start, stop)


def _evaluate_best(
    run: Run, config: TacticalConfig, best: _Candidate, parts: Parts
) -> dict[str, Any]:
    """Trade all of the unseen market with the actors that were best on validation bars.

    With every scale, without each agent, and with a threshold for a win rate of WIN_RATE; on the
    coupled market with every scale alone.
    """
    if run.market == COUPLED:
        by_scale = best.validation.by_scale
        return {"by_scale": by_scale, **_evaluate_coupled(run, config, best, whole=True)}
    ((history, validation),) = parts
    market, unseen = _unseen(run)
    start, stop = unseen.first_decision, len(unseen)
    logits = logits_between(best.engine, unseen, start, stop)
    scale = best.validation.temperature_scale
    wanted = _validated(config, best.engine, parts, WIN_RATE)
    scales = _scales_without(config, best.engine, history, validation)
    return {
        "scale": scale,
        "by_scale": best.validation.by_scale,
        "oracle": oracle(market, unseen, start, stop).document(),
        "margins": preference_margins(market, unseen, logits, start, stop),
        **evaluated(config, unseen, logits, start, stop, scale, wanted),
        "without_rescaled": evaluated_without(config, unseen, logits, start, stop, scales),
    }


def _unseen(run: Run) -> tuple[SyntheticMarket, MarketHistory]:
    return _market(run.market, UNSEEN + run.seed, run.test_bars, run.difficulty)


def _scales_without(
    config: TacticalConfig, engine: LogitsEngine, history: MarketHistory, validation: Split
) -> dict[str, float]:
    """Return for each agent the scale that is best on validation bars for the votes without it."""
    start, stop = max(validation.start, history.first_decision), validation.stop
    found = logits_between(engine, history, start, stop)
    return {agent: scale_without(config, history, found, start, stop, agent) for agent in AGENTS}
