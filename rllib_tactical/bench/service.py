"""Section "service": decisions in the process and over HTTP, beside other servers in turns.

The servers take turns round by round, so that other work on the machine meets all of them alike:
their ratios are worth more than their times.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from rllib_tactical.bench.challengers import challenger_rows, two_services
from rllib_tactical.bench.load import LoadResult, send_load
from rllib_tactical.bench.measurement import Baseline, Measurement, Row, single, summarize
from rllib_tactical.bench.pages import page_rows
from rllib_tactical.bench.reload import reload_rows
from rllib_tactical.bench.requests import (
    REPLAY,
    bars_body,
    matrix_body,
    numbered,
    split_by_order,
    symbol_body,
    untrained_bundle,
)
from rllib_tactical.bench.servers import NOTES, burning_a_core, missing, plain_server
from rllib_tactical.bench.service_process import served
from rllib_tactical.bench.symbols import symbol_rows
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.synthetic import make_market
from serve.decision.deadline import bundle_engine, under_time_limit
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState

SEED: Final = 1
CLIENTS: Final = 16
OURS: Final = "tactical serve"
WARM_UP: Final = 50
_PARTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSize:
    """Sizes of the measurements. The defaults take some 2 minutes on two idle cores.

    ``requests``, ``orders`` and ``many`` count for each server and round.
    """

    decisions: int = 3_000
    rounds: int = 3
    requests: int = 400
    orders: int = 100
    many: int = 1_500
    beside: int = 20_000
    bars: int = 2_000


@dataclass(frozen=True, slots=True)
class _Running:
    """The servers, ours under ``OURS``, by name; and what is asked."""

    urls: dict[str, str]
    absent: dict[str, str]
    by_symbol: list[bytes]
    holds: list[bytes]
    orders: list[bytes]


Timings = dict[str, list[LoadResult]]
"""By server: a result of each round."""


def measure_service(size: ServiceSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section, each as soon as it is known.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tactical-bench-")))
        history = make_market("momentum", SEED, size.bars).history()
        bundle = untrained_bundle(folder / "bundle", history)
        bodies = [matrix_body(history, t) for t in range(400, min(len(history), 656))]
        holds, orders = split_by_order(bundle, bodies)
        progress("decision in the process")
        yield from _in_process(bundle, bodies, size)
        progress("start of the service")
        service = stack.enter_context(served(_arguments(bundle, folder)))
        yield single("start to first answer", "s", service.started_s)
        urls, absent = {OURS: service.url}, {}
        for kind in NOTES:
            if (why := missing(kind)) is not None:
                absent[kind] = why
                continue
            progress(f"start of {kind}")
            urls[kind] = stack.enter_context(plain_server(kind, bundle.path))
        by_symbol = [_bars_that_hold(service.url, history)]
        running = _Running(urls, absent, by_symbol, holds, orders)
        yield from _one_client(running, folder, size, progress)
        progress(f"{CLIENTS} clients")
        memory = service.memory_mb()
        many = _in_turns(running, numbered(holds), size.many, size.rounds, CLIENTS)
        yield _rates(many, running)
        yield single("memory grown meanwhile, all processes", "MB", service.memory_mb() - memory)
        yield from page_rows(service.url, holds, size.requests, size.rounds, progress)
        progress("beside a process that burns a core")
        yield from _beside(running, size)
        yield from reload_rows(service.url, bundle, holds, folder, progress)
        config = folder / "service.yaml"
        with two_services(bundle, folder, config) as pair:
            yield from challenger_rows(pair, holds, size.requests, size.rounds, progress)
        yield from symbol_rows(bundle, history, folder, config, progress)


def _arguments(bundle: Bundle, folder: Path) -> list[str | Path]:
    config = folder / "service.yaml"
    config.write_text(REPLAY, encoding="utf-8")
    state = folder / "state"
    return ["--bundle", bundle.path, "--port", "0", "--config", config, "--state", state]


def _in_process(bundle: Bundle, bodies: Sequence[bytes], size: ServiceSize) -> list[Row]:
    decider = Decider(bundle, PerformanceConfig(), under_time_limit(bundle_engine(bundle), 1.0))
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    took = []
    for i in range(size.decisions + 100):
        start = time.perf_counter()
        decider.answer(bodies[i % len(bodies)], state)
        took.append((time.perf_counter() - start) * 1e3)
    return [
        Row(
            name=f"decision in the process p{share * 100:g}",
            unit="ms",
            measurement=_quantiles(took[100:], share),
            target=target,
            higher_is_better=False,
        )
        for share, target in ((0.5, 0.6), (0.99, 2.0))
    ]


def _bars_that_hold(url: str, history: MarketHistory) -> bytes:
    """Send bars until the answer by symbol is hold; return the request for it."""
    body = symbol_body(history)
    with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
        for stop in range(400, len(history)):
            first = 0 if stop == 400 else stop - 1
            client.post("/bars", json=bars_body(history, first, stop)).raise_for_status()
            answer = client.post("/decide", content=body).raise_for_status().json()
            if not answer["decision"]["execute"]:
                return body
    raise ValueError("the market must have a bar that is answered with hold")


def _one_client(
    running: _Running, folder: Path, size: ServiceSize, progress: Callable[[str], None]
) -> Iterator[Row]:
    progress("hold by symbol")
    ours_alone = _Running({OURS: running.urls[OURS]}, {}, [], [], [])
    plain = numbered(running.holds)
    symbol, matrix = numbered(running.by_symbol), numbered(running.holds, 10_000_000)
    send_load(running.urls[OURS], itertools.islice(symbol, WARM_UP), 1)
    by_symbol: Timings = {OURS: []}
    by_matrix: Timings = {name: [] for name in running.urls}
    for _ in range(size.rounds):
        for name, found in _in_turns(ours_alone, symbol, size.requests, 1, 1).items():
            by_symbol[name] += found
        for name, url in running.urls.items():
            requests = itertools.islice(matrix if name == OURS else plain, size.requests)
            by_matrix[name].append(send_load(url, requests, 1))
    others = {name: found for name, found in by_matrix.items() if name != OURS}
    for name, timings, target in (
        ("hold by symbol", {**others, **by_symbol}, 1.3),
        ("hold by matrix", by_matrix, 1.6),
    ):
        yield _p50(f"{name}, 1 client p50", timings, running)
        yield _times_uvicorn(f"{name}, 1 client p50, times uvicorn's", timings, target)
    progress("orders")
    ordered: list[LoadResult] = []
    written: list[float] = []
    orders = numbered(running.orders)
    for _ in range(size.rounds):
        requests = itertools.islice(orders, size.orders)
        ordered.append(send_load(running.urls[OURS], requests, 1))
        written += _durable_writes(folder, size.orders)
    one_write = _quantiles(written, 0.5)
    hold = _quantiles(_all(by_matrix[OURS]), 0.5)
    yield Row(name="one durable write (4 KB and fsync) p50", unit="ms", measurement=one_write)
    yield Row(
        name="order by matrix, 1 client p50; target: hold and one write",
        unit="ms",
        measurement=_quantiles(_all(ordered), 0.5),
        target=hold.median + one_write.median,
        higher_is_better=False,
    )
    failed = sum(
        r.failures() for found in (by_symbol[OURS], by_matrix[OURS], ordered) for r in found
    )
    yield single("requests without a 200", "requests", failed, 0.0)


def _in_turns(
    running: _Running, requests: Iterator[bytes], count: int, rounds: int, clients: int
) -> Timings:
    """Return what each server did with ``count`` requests in each round, one after another."""
    found: Timings = {name: [] for name in running.urls}
    for _ in range(rounds):
        for name, url in running.urls.items():
            found[name].append(send_load(url, itertools.islice(requests, count), clients))
    return found


def _durable_writes(folder: Path, count: int) -> list[float]:
    """Return how long each of ``count`` appended and synced blocks took, in ms."""
    took, block = [], os.urandom(4096)
    with (folder / "writes").open("ab", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(block)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - start) * 1e3)
    return took


def _beside(running: _Running, size: ServiceSize) -> Iterator[Row]:
    """Measure the slowest answers beside a busy process, uvicorn's in turns."""
    names = [name for name in (OURS, "uvicorn") if name in running.urls]
    pair = _Running({name: running.urls[name] for name in names}, {}, [], [], [])
    with burning_a_core():
        requests = numbered(running.holds, 20_000_000)
        found: Timings = {name: [] for name in pair.urls}
        for _ in range(_PARTS):
            for name, url in pair.urls.items():
                # a quarter for the comparison: these take most of the section's time
                count = size.beside // _PARTS // (1 if name == OURS else 4)
                found[name].append(send_load(url, itertools.islice(requests, count), 1))
    yield Row(
        name=f"p99.9 of {size.beside:,}, 1 client, beside a process that burns a core",
        unit="ms",
        measurement=_quantiles(_all(found[OURS]), 0.999),
        target=20.0,
        higher_is_better=False,
        baselines=_baselines(found, pair, lambda results: _quantiles(_all(results), 0.999)),
    )
    failed = sum(result.failures() for result in found[OURS])
    yield single("requests without a 200 beside it", "requests", failed, 0.0)


def _rates(many: Timings, running: _Running) -> Row:
    def rate(results: list[LoadResult]) -> Measurement:
        return summarize([result.rate for result in results])

    return Row(
        name=f"{CLIENTS} clients, holds by matrix",
        unit="requests/s",
        measurement=rate(many[OURS]),
        target=1_200.0,
        baselines=_baselines(many, running, rate),
    )


def _p50(name: str, timings: Timings, running: _Running) -> Row:
    def median(results: list[LoadResult]) -> Measurement:
        return summarize([result.quantile(0.5) for result in results])

    return Row(
        name=name,
        unit="ms",
        measurement=median(timings[OURS]),
        higher_is_better=False,
        baselines=_baselines(timings, running, median),
    )


def _times_uvicorn(name: str, timings: Timings, target: float) -> Row:
    """Return our p50 divided by that of uvicorn in the same round."""
    rounds = zip(timings[OURS], timings["uvicorn"], strict=True)
    ratios = [ours.quantile(0.5) / theirs.quantile(0.5) for ours, theirs in rounds]
    measurement = Measurement(statistics.median(ratios), min(ratios), max(ratios))
    return Row(
        name=name, unit="times", measurement=measurement, target=target, higher_is_better=False
    )


def _baselines(
    timings: Timings, running: _Running, measure: Callable[[list[LoadResult]], Measurement]
) -> tuple[Baseline, ...]:
    measured = [
        Baseline(name, measure(results), NOTES[name])
        for name, results in timings.items()
        if name != OURS
    ]
    return (*measured, *(Baseline(name, None, why) for name, why in running.absent.items()))


def _all(results: list[LoadResult]) -> list[float]:
    return [value for result in results for value in result.latency_ms]


def _quantiles(took: list[float], share: float) -> Measurement:
    """Return the quantile, with the smallest and the largest of those of five parts."""
    spread = summarize([float(np.quantile(part, share)) for part in np.array_split(took, _PARTS)])
    return Measurement(float(np.quantile(took, share)), spread.low, spread.high)
