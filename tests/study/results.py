"""Results of study runs, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_tactical.study.analysis import Answer, answer
from rllib_tactical.study.experiments import QUESTIONS, Run, Variant
from rllib_tactical.study.result_store import Store

MARGINS = [0.5, 0.25]


def run_of(market: str = "gap", seed: int = 1, variant: Variant | None = None) -> Run:
    return Run(
        market=market,
        seed=seed,
        variant=variant or Variant("default", {}),
        steps=100,
        train_bars=4_000,
        test_bars=2_000,
        difficulty=0.0,
    )


def played(net: float, trades: float = 8.0) -> dict[str, Any]:
    return {
        "net": net,
        "error": 1.0,
        "trades": trades,
        "costs": 10.0,
        "sessions": 200,
        "win_rate": 0.8 if trades else None,
    }


def result_of(run: Run, net: float, oracle_net: float = 200.0) -> dict[str, Any]:
    """Return what a run with this final P&L would have left."""
    evaluations = [(10.0, 0.2), (20.0, 0.75), (30.0, 0.9), (40.0, 1.0)]
    curve: list[dict[str, Any]] = [
        {
            "steps": 100,
            "processor_s": seconds,
            "wall_s": seconds,
            "scale": 1.0,
            "oracle": played(oracle_net),
            "policy": played(part * net),
            "margins": MARGINS,
            "validation": part * net,
        }
        for seconds, part in evaluations
    ]
    scales = {"1": played(net), "0.5": played(net / 2)}
    removed = {"fvg": played(0.0), "momentum": played(net), "entry": played(net / 4)}
    rescaled = {"fvg": 0.5, "momentum": 1.0, "entry": 0.25}
    best = {
        "scale": 1.0,
        "oracle": played(oracle_net),
        "policy": played(net),
        "margins": MARGINS,
        "win_rate": {"wanted": 0.75, "threshold": 0.9, "figures": played(0.8 * net, trades=6.0)},
        "scales": scales,
        "without": removed,
        "without_rescaled": {
            agent: {"scale": part, "figures": played(part * net)}
            for agent, part in rescaled.items()
        },
    }
    return {
        "format": 3,
        "market": run.market,
        "seed": run.seed,
        "variant": run.variant.name,
        "changes": run.variant.changes,
        "asked": {"steps": run.steps, "train_bars": run.train_bars, "test_bars": run.test_bars},
        "difficulty": run.difficulty,
        "steps": 100,
        "processor_s": 40.0,
        "wall_s": 50.0,
        "sampled_trades_per_bar": {"first": 0.2, "last": 0.1},
        "curve": curve,
        "best": best,
        "regression": {"scale": 0.5, "policy": played(0.9 * net, trades=9.0)},
    }


def noise_answer(earned: list[float], trades: float = 0.5) -> Answer:
    """Return the answer of one seed per net P&L; costs are $10."""
    results = []
    for seed, net in enumerate(earned, start=1):
        run = run_of("noise", seed)
        result = result_of(run, net, oracle_net=-50.0)
        result["best"]["policy"]["trades"] = trades
        results.append((run, result))
    return answer(QUESTIONS["learnability"], results)


def keep_all(folder: Path, runs: list[Run], net: float = 170.0) -> None:
    store = Store(folder)
    for run in runs:
        store.keep(run, result_of(run, net))
