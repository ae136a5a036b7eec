"""Section "paper": bars per second of a session, and a week in which everything is killed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rllib_tactical.bench.measurement import Measurement, Row, single, summarize
from rllib_tactical.bench.paper_week import WeekResult, paper_week
from rllib_tactical.bench.requests import SEED, untrained_bundle
from rllib_tactical.bench.state_server import required_program, state_server
from rllib_tactical.data.files import write_bars
from rllib_tactical.live.run import PaperRequest, run_paper
from rllib_tactical.synthetic import make_market

CENT: Final = 0.005
"""What differs by less than half a cent is the same to the cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSize:
    """Sizes of the measurements. The defaults take about 15 minutes on two idle cores.

    ``bars`` and ``repetitions`` of a session in one process; ``days`` around the clock, ``speed``
    times as fast as the market, with ``kills`` of service, bus and session in turns.
    """

    bars: int = 4_000
    repetitions: int = 3
    days: int = 7
    speed: float = 1_000.0
    kills: int = 30


def measure_paper(size: PaperSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.

    Raises:
        ServiceError: there is no program of a Redis or Valkey server.
    """
    program = required_program()
    with tempfile.TemporaryDirectory(prefix="tactical-bench-") as name:
        folder = Path(name)
        progress("a session in one process")
        yield Row(
            name="paper session with the bundle in its process, processor time",
            unit="bars/s",
            measurement=session_rate(folder, size.bars, size.repetitions),
            target=2_000.0,
        )
        progress(f"{size.days} days at {size.speed:g} times the market's speed")
        with state_server(program) as server:
            result = paper_week(server, folder / "week", size.days, size.speed, size.kills)
    yield from week_rows(result)


def session_rate(folder: Path, bars: int, repetitions: int) -> Measurement:
    """Return the decided bars per second of processor time, without reading and report."""
    market = make_market("regime", SEED, bars)
    bundle, data = untrained_bundle(folder / "bundle", market.history()), folder / "bars.csv"
    write_bars(market.bars, data)
    rates = []
    for number in range(repetitions):
        decided_s: list[float] = []
        request = PaperRequest(
            bundle=bundle,
            url=None,
            data=data,
            out=folder / f"paper-{number}",
            with_baselines=False,
            with_statistics=False,
        )
        run_paper(request, partial(_note, decided_s))
        rates.append((len(decided_s) - 1) / (decided_s[-1] - decided_s[0]))
    return summarize(rates)


def _note(decided_s: list[float], what: str, share: float) -> None:
    if what == "paper session":
        decided_s.append(time.process_time())


def week_rows(result: WeekResult) -> list[Row]:
    """Return the table of a week."""
    places = ", ".join(f"{place} {count}" for place, count in sorted(result.kills.items()))
    sent = ", ".join(f"{count:,} {kind}" for kind, count in sorted(result.sent.items()))
    traded = f"{result.trades:,} trades on {result.bars:,} bars"
    return [
        single(f"{traded}: rows that the backtest has otherwise", "trades", result.differ, 0.0),
        single(f"books of session, backtest, service apart ({places})", "$", result.apart, CENT),
        single(f"trades more or less in the service ({sent})", "trades", result.miscounted, 0.0),
        single("sessions that ended by themselves", "sessions", result.ended, 0.0),
    ]
