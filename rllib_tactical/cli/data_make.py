"""The command ``data make``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.cli.data_make_coupled import make_coupled_files, require_plain
from rllib_tactical.cli.data_output import require_output
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instrument_fields import instrument_yaml
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality.findings import iso_time
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import (
    MARKETS,
    MarketParameters,
    SyntheticMarket,
    make_from_parameters,
    make_market,
)
from rllib_tactical.synthetic.coupled import COUPLED
from rllib_tactical.synthetic.dynamic import market_oracle
from rllib_tactical.synthetic.parameters import DRAWN, TIMING, parameters_named
from rllib_tactical.synthetic.sessions import session_results

PARAMETERS: Final = {
    "edge": "What a trade on a signal earns before costs on average, dollars.",
    "cost_share": "Costs of a trade as a share of the edge.",
    "signals": "Signals of a session, about.",
    "decoys": "Share of patterns that are worth nothing.",
    "tails": "Degrees of freedom of Student's t, of which moves are drawn; 0: normal ones.",
    "drift": "Share of the edge by which it swings over 200 sessions.",
    "session_gap": "Standard deviation of the jump between sessions, ATR.",
    "excursion": "ATR by which the price goes against a signal before it pays.",
    "slow": "Most calm bars that a signal takes longer to pay.",
}
"""Options that make a market from parameters instead of a difficulty; see ``MarketParameters``."""


def _parameter_options(command: Any) -> Any:
    for name, text in reversed(PARAMETERS.items()):
        kind = int if name == "slow" else float
        command = click.option(f"--{name.replace('_', '-')}", type=kind, help=text)(command)
    return command


@click.command("make")
@click.option(
    "--market",
    required=True,
    type=click.Choice((*MARKETS, TIMING, DRAWN, COUPLED)),
    help="What is planted: an edge in gap touches, in momentum, in both by turns, or nothing; "
    "timing: signals that pay who waits; drawn: parameters by --parameters-seed; coupled: four "
    "instruments with one place for a position.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--bars", default=20_000, show_default=True, help="Number of 5-minute bars.")
@click.option(
    "--difficulty",
    type=click.FloatRange(0.0, 1.0),
    help="0: frequent signals, 97% pay. 1: rare ones, 60% pay.  [default: 0]",
)
@click.option(
    "--parameters-seed", type=click.IntRange(min=0), help="Of --market drawn.  [default: 1]"
)
@_parameter_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write: .csv, .csv.gz, .parquet or .feather.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def make_command(
    market: str,
    seed: int,
    bars: int,
    difficulty: float | None,
    parameters_seed: int | None,
    out: Path,
    as_json: bool,
    **parameters: float | None,
) -> None:
    """Make a synthetic market: synthetic bars of the instrument SYNTH.

    Equal options make equal files. Prints what the oracle, which trades the planted signals, earns
    on the bars by the default rules. With --edge, --cost-share and the options after them, and for
    the markets timing and drawn, SYNTH has costs of its own: they are written beside the bars as
    a YAML file for --instrument. The market coupled is four files, NAME-SYNTH1 to NAME-SYNTH4.
    """
    require_output(out)
    given = {name: value for name, value in parameters.items() if value is not None}
    if market == COUPLED:
        _require_parameters_of(market, parameters_seed)
        require_plain(given, difficulty)
        make_coupled_files(seed, bars, out, as_json)
        return
    made = _made(market, seed, bars, difficulty, parameters_seed, given)
    write_bars(made.bars, out)
    instrument = None
    if made.parameters is not None:
        instrument = out.with_name(out.name.split(".")[0] + ".yaml")
        atomic_write_text(instrument, instrument_yaml(made.instrument))
    history = made.history()
    (oracle,) = session_results(history, [market_oracle(made, history)])
    time_s, sessions = made.bars.timestamp_s, len(oracle.pnl)
    document = {
        "out": str(out),
        "market": made.name,
        "seed": seed,
        "difficulty": made.difficulty,
        "parameters": None if made.parameters is None else dataclasses.asdict(made.parameters),
        "bars": bars,
        "instrument": made.instrument.symbol,
        "instrument_file": None if instrument is None else str(instrument),
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
        f"{out}: {bars} bars of market {made.name} (seed {seed}, {_terms(made)}), "
        f"{document['first']} to {document['last']}, {document['signals']} signals"
    )
    if instrument is not None:
        click.echo(f"{instrument}: SYNTH with the costs of this market, for --instrument")
    if sessions:
        click.echo(
            f"The oracle earns ${document['oracle_pnl_per_session']} net per session with "
            f"{document['oracle_trades_per_session']} trades, over {sessions} whole sessions."
        )


def _made(
    market: str,
    seed: int,
    bars: int,
    difficulty: float | None,
    parameters_seed: int | None,
    given: dict[str, float],
) -> SyntheticMarket:
    """Return the market of the options; refuse options that do not go together."""
    _require_parameters_of(market, parameters_seed)
    options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if given and (market == "noise" or difficulty is not None):
        other = "--difficulty" if difficulty is not None else "--market noise"
        raise UsageError(f"{options} must not be given with {other}")
    name = market
    if market == DRAWN:
        name = f"{DRAWN}-{1 if parameters_seed is None else parameters_seed}"
    known = parameters_named(name)
    if known is None and not given:
        return make_market(market, seed, bars, difficulty or 0.0)
    if difficulty is not None:
        raise UsageError(f"--difficulty must not be given with --market {market}")
    values = {"family": market} if known is None else dataclasses.asdict(known)
    return make_from_parameters(MarketParameters(**{**values, **given}), seed, bars, name)


def _require_parameters_of(market: str, parameters_seed: int | None) -> None:
    if parameters_seed is not None and market != DRAWN:
        raise UsageError(f"--parameters-seed goes with --market {DRAWN}, found {market}")


def _terms(made: SyntheticMarket) -> str:
    if made.parameters is None:
        return f"difficulty {made.difficulty:g}"
    return ", ".join(
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in dataclasses.asdict(made.parameters).items()
    )
