"""The main job, small and whole: bars -> train -> bundle -> backtest -> serve -> one decision."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import httpx
import ray

from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.output_folder import ReplaceableOutput
from rllib_tactical.backtest.comparison import Comparison, compare_bundle
from rllib_tactical.backtest.report.writer import write_backtest
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.training_overlap import seen_in_training
from rllib_tactical.backtest.verdict import verdict
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.demo_page import PICTURE, REPLAY, SESSION, show_page
from rllib_tactical.cli.options import read_options
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig, ValidationConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.interpret.interpretation import warning_notes
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.sizing import SIZE_FROM, size_text
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import SYNERGY_TYPES, WINDOW
from rllib_tactical.errors import ServiceError
from rllib_tactical.rl import train
from rllib_tactical.rl.training.market import PreparedPart, prepare_market
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import oracle_votes
from serve.deploy.launcher import start_service
from serve.http.security import TOKEN_VARIABLE

MARKET: Final = "momentum"
MARKET_SEED: Final = 1
MARKET_BARS: Final = 100_000
MARKET_DIFFICULTY: Final = 0.0
TRAIN_SECONDS: Final = 80.0
SUMMARY: Final = "summary.json"

DEMO_OUTPUT: Final = ReplaceableOutput(
    name="demo",
    files=frozenset({"bars.parquet", "run", "bundle", "backtest", SESSION, PICTURE, SUMMARY}),
)

DEMO_TRAINING: Final = TrainingConfig(
    iterations=10_000,
    actor_lr_end_factor=1.0,
    validation=ValidationConfig(target_win_rate=0.75),
)
"""The defaults, ended by the clock: the demo is promised in five minutes on any two cores.

How many iterations that makes is not known before, so no rate can fall towards the last. Of the
trades three in four are to be profitable."""


@dataclass(frozen=True, slots=True)
class DemoData:
    """What the demo trades: a file of bars, and the synthetic market's name if any."""

    source: DataSource
    synthetic: str | None


def run_demo(
    out: Path,
    data: Path | None = None,
    instrument: str | None = None,
    train_seconds: float = TRAIN_SECONDS,
    log: Callable[[str], None] = click.echo,
    reading: ReadOptions = AS_FOUND,
) -> dict[str, Any]:
    """Do the main job and return what ``summary.json`` holds.

    Args:
        out: folder of the results; that of an earlier demo is replaced.
        data: file of bars; a synthetic market is made when None.
        instrument: of ``data``; inferred from the file name when None.
        train_seconds: training time.
        log: prints a line.
        reading: how ``data`` is to be read, as far as it does not show that itself.

    Raises:
        TacticalError: bad data, a folder that is no demo's, a service that does not start.
    """
    begun = time.monotonic()
    source = None
    if data is not None:  # refused before an earlier demo's results are removed
        named = instrument_for(instrument, data)
        source = DataSource(data, named, options=reading)
        prepare_market([source], TacticalConfig(training=DEMO_TRAINING))
    _clear(out)
    log("1/5 bars")
    market = _synthetic_market(out, log) if source is None else DemoData(source, None)

    log(f"2/5 training for {train_seconds:.0f} s")
    config = TacticalConfig(training=DEMO_TRAINING)
    trained = train(
        [market.source],
        out / "run",
        config,
        max_seconds=train_seconds,
        log=log,
    )
    prepared = trained.market.parts[0]
    ray.shutdown()  # the service starts a Ray of its own, with the settings that make it fast

    log("3/5 bundle")
    bundle = export_run(out / "run", out / "bundle")
    log(f"bundle {bundle.bundle_id[:12]} exported and verified")

    log("4/5 backtest on bars that training has not seen")
    comparison = _backtest(out, bundle, prepared, market)
    log(f"report {out / 'backtest' / 'report.html'}")

    log("5/5 service: one real window to POST /decide")
    request = _last_entry(prepared.history, comparison)
    with start_service(out / "bundle", port=0, config=REPLAY) as service:
        token = os.environ.get(TOKEN_VARIABLE) or None
        answer = _ask_service(service.url, token, request)
        for line in _describe_answer(answer, service.url):
            log(line)
        show_page(service.url, token, bundle, market.source, prepared.history, out, log)

    summary = {
        "market": market.synthetic or market.source.path.name,
        "data": prepared.source,
        "training": {
            "iterations": trained.iterations,
            "env_steps": trained.env_steps,
            "seconds": trained.seconds,
            "config": to_dict(config.training),
            "validation": bundle.manifest["metrics"]["validation"],
        },
        "bundle_id": bundle.bundle_id,
        "verdict": verdict(comparison),
        "policies": comparison.rows(),
        "request": request,
        "decision": answer,
        "seconds": time.monotonic() - begun,
    }
    write_object(out / SUMMARY, summary)
    log("")
    for line in table_lines(comparison.rows()):
        log(line)
    log(verdict(comparison))
    log(f"done in {summary['seconds']:.0f} s; everything is in {out}")
    return summary


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the short table of policies as lines of text."""
    head = f"{'unseen bars, net of costs':<28}{'P&L $':>12}{'trades':>8}{'win rate':>10}"
    head += f"{'max drawdown':>14}"
    lines = [head, "-" * len(head)]
    for row in rows:
        win = "-" if row["win_rate"] is None else f"{row['win_rate']:.0%}"
        lines.append(
            f"{row['label']:<28}{row['net_pnl']:>12,.0f}{int(row['trades']):>8,}{win:>10}"
            f"{row['max_drawdown']:>14.1%}"
        )
    return lines


def _clear(out: Path) -> None:
    """Remove an earlier demo's results; refuse a folder that holds anything else."""
    DEMO_OUTPUT.require(out)
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _synthetic_market(out: Path, log: Callable[[str], None]) -> DemoData:
    market = make_market(MARKET, MARKET_SEED, MARKET_BARS, MARKET_DIFFICULTY)
    path = out / "bars.parquet"
    write_bars(market.bars, path)
    log(
        f"{MARKET_BARS:,} synthetic 5-minute bars with an edge planted in {MARKET} signals "
        f"(seed {MARKET_SEED}, difficulty {MARKET_DIFFICULTY:g}): {path}"
    )
    return DemoData(DataSource(path, market.instrument), MARKET)


def _backtest(out: Path, bundle: Bundle, prepared: PreparedPart, market: DemoData) -> Comparison:
    history, test = prepared.history, prepared.splits[2]
    extra: dict[str, tuple[str, Votes]] = {}
    if market.synthetic is not None:
        raw, close = history.features.raw[test.start : test.stop], history.features.close
        votes = oracle_votes(market.synthetic, raw, close[test.start : test.stop])
        extra["oracle"] = ("Oracle of the planted edge", votes)
    comparison = compare_bundle(bundle, history, test.start, test.stop, extra=extra)
    seen = seen_in_training(bundle, prepared.source["sha256"], comparison.policy.result)
    context = ReportContext(
        title=f"Demo on {market.synthetic or market.source.path.name}",
        facts=(
            ("bundle", bundle.bundle_id),
            ("data SHA-256", prepared.source["sha256"]),
            ("read as", prepared.read_as()),
            (
                "size",
                size_text(history.instrument.base_quantity, prepared.source[SIZE_FROM]),
            ),
        ),
        seen=seen,
        notes=warning_notes(prepared.source),
    )
    config = {
        "bundle_id": bundle.bundle_id,
        "data": prepared.source,
        "instrument": to_dict(history.instrument),
        "rules": to_dict(bundle.rules),
    }
    write_backtest(comparison, out / "backtest", context, config)
    return comparison


def _last_entry(history: MarketHistory, comparison: Comparison) -> dict[str, Any]:
    """Return the request for the window of the backtest's last entry, else of its last bar."""
    decisions = comparison.policy.result.decisions
    entries = decisions[decisions["entered"]]
    row = (entries if len(entries) else decisions).iloc[-1]
    return decide_request(history, int(row["bar"]))


def _ask_service(url: str, token: str | None, request: dict[str, Any]) -> dict[str, Any]:
    """Post a request to a real service and return its answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        reply = httpx.post(f"{url}/decide", json=request, headers=headers, timeout=30.0)
    except httpx.HTTPError as error:
        raise ServiceError(f"POST {url}/decide failed: {error}") from error
    if reply.status_code != 200:
        raise ServiceError(f"POST /decide answered {reply.status_code}: {reply.text}")
    answer: dict[str, Any] = reply.json()
    return answer


def decide_request(history: MarketHistory, t: int) -> dict[str, Any]:
    """Return the ``POST /decide`` body for the close of bar ``t``."""
    kind = int(history.synergy.kind[t])
    synergy = None
    if kind:
        synergy = {
            "synergy_type": SYNERGY_TYPES[kind],
            "direction": int(history.synergy.direction[t]),
            "confidence": float(history.synergy.confidence[t]),
        }
    return {
        "matrix_state": history.features.raw[t - WINDOW + 1 : t + 1].tolist(),
        "synergy_context": synergy,
        "market_context": {
            "symbol": history.instrument.symbol,
            "current_price": float(history.bars.close[t]),
            "atr_5min": float(history.features.atr[t]),
        },
    }


def _describe_answer(answer: dict[str, Any], url: str) -> list[str]:
    decision, timing = answer["decision"], answer["timing"]
    lines = [
        f"POST {url}/decide -> {decision['action']} with confidence {decision['confidence']:.2f}, "
        f"execute {str(decision['execute']).lower()} ({decision['reason']}), "
        f"{timing['total_ms']:.1f} ms"
    ]
    for agent, vote in answer["agent_breakdown"].items():
        probabilities = " ".join(f"{p:.2f}" for p in vote["probabilities"])
        lines.append(
            f"  {agent:<9} {vote['label']:<11} confidence {vote['confidence']:.2f}  "
            f"[{probabilities}]"
        )
    order = decision["execution_command"]
    if order is None:
        lines.append("  no order")
    else:
        lines.append(
            f"  order     {order['side']} {order['quantity']:g} {order['symbol']} "
            f"{order['order_type']} {order['time_in_force']}, stop loss {order['stop_loss']:g}, "
            f"take profit {order['take_profit']:g}"
        )
    return lines


@click.command("demo")
@click.option("--data", type=click.Path(path_type=Path), help="Bars to use instead of made ones.")
@click.option(
    "--instrument", help="Of --data: shipped name or YAML; else inferred from the file name."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder of the results.",
)
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=1.0),
    default=TRAIN_SECONDS,
    show_default=True,
    help="Training time.",
)
@read_options
def demo_command(
    data: Path | None,
    instrument: str | None,
    out: Path,
    train_seconds: float,
    reading: ReadOptions,
) -> None:
    """Do the main job, small: bars, training, bundle, backtest, service, one decision.

    Without --data a market with a planted edge is made, so that there is something to learn and an
    oracle to compare with. Takes under five minutes on two cores; summary.json in the results
    folder holds the metrics that are printed.
    """
    run_demo(out, data, instrument, train_seconds, reading=reading)
