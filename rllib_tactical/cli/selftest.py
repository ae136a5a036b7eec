"""The ``tactical selftest`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.output_folder import require_output_file
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.cli.options import read_options
from rllib_tactical.data.dataset import load_dataset
from rllib_tactical.data.interpret.interpretation import INTERPRETATION, Interpretation
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.sizing import INSTRUMENT, SIZE_FROM, WarmUpBars, size_text
from rllib_tactical.data.synergy_events import DETECT
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.selftest.checks import CHECKS, MARKET_BARS, Check, Subject
from rllib_tactical.selftest.perturb import history_of
from rllib_tactical.synthetic import make_market

MAX_BARS = 20_000
MIN_BARS = EMBARGO_BARS + 500

_FILE = click.Path(path_type=Path)


@click.command("selftest")
@click.option("--bundle", "bundle_path", required=True, type=_FILE, metavar="DIR", help="Policy.")
@click.option(
    "--data",
    type=_FILE,
    metavar="FILE",
    help="Bars to test on, the last 20,000 of them; a made market when left out.",
)
@click.option("--instrument", metavar="NAME", help="Instrument of --data, if not the bundle's.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--out", type=_FILE, metavar="FILE", help="JSON file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def selftest_command(
    bundle_path: Path,
    data: Path | None,
    instrument: str | None,
    seed: int,
    out: Path | None,
    as_json: bool,
    reading: ReadOptions,
) -> int:
    """Test a bundle, and the harness that evaluates it, for the ways in which backtests lie.

    Look-ahead, dependence on the warm-up, mirrored bars, higher costs, a market of noise, the bars
    in random order, and synthetic markets whose oracle must win. Exit code 1 when a test fails.
    """
    if out is not None:
        require_output_file(out)
    if data is None and instrument is not None:
        raise UsageError("--instrument goes with --data")
    bundle = load_bundle(bundle_path)
    history, size_from, stated = _market(bundle, data, instrument, seed, reading)
    if data is not None and stated is not None:
        click.echo(stated.line(data.name), err=True)
    quantity = history.instrument.base_quantity
    click.echo(
        f"trading {len(history):,} bars of {history.instrument.symbol}; "
        f"size {size_text(quantity, size_from)}",
        err=True,
    )
    subject = Subject.of(bundle, history, seed)
    checks: list[Check] = []
    for check in CHECKS:
        checks.append(check(subject))
        if not as_json:
            click.echo(_line(checks[-1]))
    failed = [check.name for check in checks if check.passed is False]
    document = {
        "bundle_id": bundle.bundle_id,
        "instrument": history.instrument.symbol,
        "data": data.name if data is not None else "made",
        "bars": len(history),
        "base_quantity": quantity,
        SIZE_FROM: size_from,
        INTERPRETATION: None if stated is None else stated.to_dict(),
        "seed": seed,
        "failed": failed,
        "checks": [check.to_dict() for check in checks],
    }
    if out is not None:
        write_object(out, document)
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        ran = sum(check.passed is not None for check in checks)
        click.echo(f"{ran - len(failed)} of {ran} self-tests passed")
    return 1 if failed else 0


def _market(
    bundle: Bundle, data: Path | None, instrument: str | None, seed: int, reading: ReadOptions
) -> tuple[MarketHistory, dict[str, Any], Interpretation | None]:
    """Return the history to test on, what its size is from, and what its file was taken for."""
    if data is None:
        history = make_market("regime", seed + 1, MARKET_BARS).history()
        return history, {"kind": INSTRUMENT}, None
    instruments = (instrument,) if instrument else ()
    (source,) = sources_for((data,), instruments, bundle, DETECT, reading)
    dataset = load_dataset(source.data, bundle.bar_seconds).sized(WarmUpBars())
    bars, history = dataset.bars, dataset.history
    if len(bars) < MIN_BARS:
        raise DataError(f"self-tests need at least {MIN_BARS} bars, found {len(bars)}")
    if len(bars) > MAX_BARS:
        history = history_of(bars[-MAX_BARS:], history.instrument, bundle.bar_seconds)
    return history, dataset.size_from, dataset.interpretation


def _line(check: Check) -> str:
    word = {True: "pass", False: "FAIL", None: "  - "}[check.passed]
    return f"{word}  {check.name:<15} {check.figure}"
