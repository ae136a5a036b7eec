"""``data make --market coupled``: four files, and what their shared place makes of the oracle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instrument_fields import instrument_yaml
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import SyntheticMarket
from rllib_tactical.synthetic.coupled import (
    COUPLED,
    PLACES,
    coupled_oracle,
    coupled_results,
    make_coupled,
    oracles_alone,
)


def files_of(out: Path, made: Sequence[SyntheticMarket]) -> list[Path]:
    """Return the file of each instrument: ``bars.parquet`` becomes ``bars-SYNTH1.parquet``."""
    stem, dot, suffix = out.name.partition(".")
    return [out.with_name(f"{stem}-{each.instrument.symbol}{dot}{suffix}") for each in made]


def make_coupled_files(seed: int, bars: int, out: Path, as_json: bool) -> None:
    """Write the bars and the instrument of each, and print what oracles earn."""
    made = make_coupled(seed, bars)
    paths = files_of(out, made)
    instruments = [path.with_name(path.name.partition(".")[0] + ".yaml") for path in paths]
    for path, instrument, market in zip(paths, instruments, made, strict=True):
        write_bars(market.bars, path)
        atomic_write_text(instrument, instrument_yaml(market.instrument))
    histories = tuple(market.history() for market in made)
    alone = oracles_alone(histories)
    priced = coupled_oracle(histories)
    earned = {
        "without_limit": coupled_results(histories, alone, len(made)),
        "first_come": coupled_results(histories, alone, PLACES),
        "oracle": coupled_results(histories, priced, PLACES),
    }
    document: dict[str, Any] = {
        "market": COUPLED,
        "seed": seed,
        "bars": bars,
        "places": PLACES,
        "instruments": [
            {
                "out": str(path),
                "instrument_file": str(instrument),
                "instrument": market.instrument.symbol,
                "parameters": dataclasses.asdict(market.parameters),  # type: ignore[arg-type]
            }
            for path, instrument, market in zip(paths, instruments, made, strict=True)
        ],
        "per_session": {name: dataclasses.asdict(each) for name, each in earned.items()},
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for path, instrument, market in zip(paths, instruments, made, strict=True):
        edge = market.parameters.edge if market.parameters is not None else 0.0
        click.echo(f"{path}: {bars} bars of {market.instrument.symbol}, edge ${edge:g}")
        click.echo(f"{instrument}: its costs, for --instrument")
    if sessions := earned["oracle"].sessions:
        click.echo(f"Net per session, over {sessions} whole sessions:")
        for name, text in (
            ("without_limit", "every signal, a place for each instrument"),
            ("first_come", f"every signal, {PLACES} place for all, first come first served"),
            ("oracle", f"the oracle, {PLACES} place for all"),
        ):
            found = earned[name]
            click.echo(
                f"  ${found.net:,.0f} ± {found.error:,.0f} with {found.trades:.1f} trades: {text}"
            )


def require_plain(given: dict[str, float], difficulty: float | None) -> None:
    """Refuse options that the coupled market has none of.

    Raises:
        UsageError: names them.
    """
    options = [f"--{name.replace('_', '-')}" for name in given]
    options += ["--difficulty"] if difficulty is not None else []
    if options:
        raise UsageError(f"{', '.join(options)} must not be given with --market {COUPLED}")
