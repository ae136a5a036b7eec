"""The memory of a service with ten symbols beside that of a service with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import psutil

from rllib_tactical.bench.measurement import Baseline, Measurement, Row
from rllib_tactical.bench.requests import bars_body
from rllib_tactical.bench.service_process import ServiceProcess, served
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.domain.simulation.history import MarketHistory

SYMBOLS: Final = 10
TARGET: Final = 1.3
"""How much of the memory of one symbol all of them may take."""

_AT_ONCE: Final = 1_000


def symbol_rows(
    bundle: Bundle,
    history: MarketHistory,
    folder: Path,
    config: Path,
    progress: Callable[[str], None],
) -> Iterator[Row]:
    """Measure a service with one symbol, then one with ten, each with all bars of the history.

    Args:
        bundle: for the symbol of the history; those of the others differ in the symbol alone.
        history: the bars that each symbol is sent.
        folder: for bundles and states.
        config: of the services.
        progress: called with the name of each measurement before it starts.
    """
    bundles = [
        _renamed(bundle, folder / f"symbol-{number}", f"S{number}") for number in range(SYMBOLS)
    ]
    found: dict[int, tuple[float, float]] = {}
    for count in (1, SYMBOLS):
        progress(f"memory with {count} symbol{'s' if count > 1 else ''}")
        arguments: list[str | Path] = ["--port", "0", "--config", config]
        arguments += ["--state", folder / f"state-{count}"]
        for each in bundles[:count]:
            arguments += ["--bundle", each.path]
        with served(arguments) as service:
            _fill(service.url, bundles[:count], history)
            found[count] = service.memory_mb(), _replica_mb(service)
    for place, what in enumerate(("service", "its replica alone")):
        one, many = found[1][place], found[SYMBOLS][place]
        target = 1.0 / TARGET if what == "service" else None
        note = f"the same with one symbol; {len(history):,} bars each"
        yield Row(
            name=f"memory with {SYMBOLS} symbols, {what}",
            unit="MB",
            measurement=Measurement(many, many, many),
            higher_is_better=False,
            baselines=(Baseline("one symbol", Measurement(one, one, one), note, target),),
        )


def _renamed(bundle: Bundle, folder: Path, symbol: str) -> Bundle:
    return export_bundle(
        folder,
        weights=bundle.weights,
        rules=bundle.rules,
        instrument=replace(bundle.instrument, symbol=symbol),
        bar_seconds=bundle.bar_seconds,
        temperature_scale=bundle.temperature_scale,
        training={},
        metrics={},
    )


def _fill(url: str, bundles: Sequence[Bundle], history: MarketHistory) -> None:
    """Send every bar of every symbol, and ask for a decision on them."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
        for bundle in bundles:
            symbol = bundle.instrument.symbol
            for first in range(0, len(history), _AT_ONCE):
                stop = min(first + _AT_ONCE, len(history))
                body = bars_body(history, first, stop) | {"symbol": symbol}
                client.post("/bars", json=body).raise_for_status()
            client.post("/decide", json={"symbol": symbol}).raise_for_status()


def _replica_mb(service: ServiceProcess) -> float:
    """Return the proportional set size of the replica in MB."""
    (replica,) = service.processes("replica")
    return float(psutil.Process(replica.pid).memory_full_info().pss / 1e6)
