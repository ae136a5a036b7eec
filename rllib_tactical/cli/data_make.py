"""The command ``data make``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from rllib_tactical.cli.data_output import require_output
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality.findings import iso_time
from rllib_tactical.synthetic import MARKETS, make_market
from rllib_tactical.synthetic.oracle import oracle_votes
from rllib_tactical.synthetic.sessions import session_results


@click.command("make")
@click.option(
    "--market",
    required=True,
    type=click.Choice(MARKETS),
    help="What is planted: an edge in gap touches, in momentum, in both by turns, or nothing.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--bars", default=20_000, show_default=True, help="Number of 5-minute bars.")
@click.option(
    "--difficulty",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="0: frequent signals, 97% pay. 1: rare ones, 60% pay.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write: .csv, .csv.gz, .parquet or .feather.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def make_command(
    market: str, seed: int, bars: int, difficulty: float, out: Path, as_json: bool
) -> None:
    """Make a synthetic market: synthetic bars of the instrument SYNTH.

    Equal options make equal files. Prints what the oracle, which trades the planted signals and
    sees the 60x7 matrix only, earns on the bars by the default rules.
    """
    require_output(out)
    made = make_market(market, seed, bars, difficulty)
    write_bars(made.bars, out)
    history = made.history()
    votes = oracle_votes(market, history.features.raw, history.features.close)
    (oracle,) = session_results(history, [votes])
    time_s, sessions = made.bars.timestamp_s, len(oracle.pnl)
    document = {
        "out": str(out),
        "market": market,
        "seed": seed,
        "difficulty": difficulty,
        "bars": bars,
        "instrument": made.instrument.symbol,
        "first": iso_time(int(time_s[0]) * MICROS),
        "last": iso_time(int(time_s[-1]) * MICROS),
        "signals": len(made.signals.bar),
        "sessions": sessions,
        "oracle_pnl_per_session": round(float(np.mean(oracle.pnl)), 2) if sessions else None,
        "oracle_trades_per_session": round(float(np.mean(oracle.trades)), 2) if sessions else None,
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(
        f"{out}: {bars} bars of market {market} (seed {seed}, difficulty {difficulty:g}), "
        f"{document['first']} to {document['last']}, {document['signals']} signals"
    )
    if sessions:
        click.echo(
            f"The oracle earns ${document['oracle_pnl_per_session']} net per session with "
            f"{document['oracle_trades_per_session']} trades, over {sessions} whole sessions."
        )
