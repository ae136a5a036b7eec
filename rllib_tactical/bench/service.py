"""Section "service": decisions in the process and over HTTP, reloads, crashes, bad requests."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from rllib_tactical.bench.bad_requests import bad_requests
from rllib_tactical.bench.load import LoadResult, http_request, send_load
from rllib_tactical.bench.measurement import Baseline, Measurement, Row, summarize
from rllib_tactical.bench.plain_servers import echo_app
from rllib_tactical.bench.stock_serve import start_plain
from rllib_tactical.bundle.bundle import Bundle, export_bundle, load_bundle
from rllib_tactical.bundle.weights import WEIGHTS
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, WINDOW, Float32Array
from rllib_tactical.synthetic import make_market
from serve.decision.deadline import bundle_engine, under_time_limit
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.deploy.launcher import start_service

SEED = 1
HOST = "127.0.0.1"
CLIENTS = 16
PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSize:
    """Sizes of the measurements. The defaults take 4 minutes, 20 on a busy machine."""

    decisions: int = 5_000
    requests: int = 20_000
    rate_requests: int = 20_000
    memory_requests: int = 100_000
    bad_requests: int = 50_000
    kills: int = 5
    bars: int = 2_000


def measure_service(size: ServiceSize, progress: Callable[[str], None]) -> list[Row]:
    """Measure every row of the section.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="tactical-bench-") as name:
        folder = Path(name)
        history = make_market("momentum", SEED, size.bars).history()
        bundle = untrained_bundle(folder / "bundle", history)
        bodies = [_body(history, t) for t in range(400, min(len(history), 656))]
        progress("decision in the process")
        rows = _in_process(bundle, bodies, size)
        progress("uvicorn alone")
        with uvicorn_server(bundle.path) as url:
            plain = _timed(url, bodies, size)
        progress("Ray Serve echo")
        with start_plain(echo_app) as url:
            echo = _timed(url, bodies, size)
        progress("start of the service")
        begun = time.perf_counter()
        with start_service(bundle.path, port=0, state=folder / "state") as service:
            seconds = time.perf_counter() - begun
            rows.append(_single("start to first answer", "s", seconds))
            progress("requests")
            rows += _over_http(_timed(service.url, bodies, size), echo, plain)
            progress("memory")
            rows.append(_memory(service.url, bodies, size))
            progress("reload under load")
            rows += _reload(service.url, bundle, bodies, folder)
            progress("bad requests")
            rows += _refusals(service.url, bodies, size)
        progress("killed replicas")
        with start_service(bundle.path, port=0, replicas=2, state=folder / "state") as service:
            rows.append(_killed(service.url, bodies, size))
    return rows


def untrained_bundle(folder: Path, history: MarketHistory) -> Bundle:
    """Write a bundle with random weights; its decisions do not matter here."""
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    weights: dict[str, Float32Array] = {}
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for agent in AGENTS:
            actor = Actor((1 / NUM_FEATURES,) * NUM_FEATURES, 1.0)
            torch.nn.init.normal_(actor.out.weight, std=6.0)
            weights |= actor_weights(agent, actor)
    return export_bundle(
        folder,
        weights=weights,
        rules=Rules(),
        instrument=replace(
            history.instrument, base_quantity=history.instrument.base_quantity or 1.0
        ),
        bar_seconds=BAR_SECONDS,
        temperature_scale=0.5,
        training={},
        metrics={},
    )


@contextmanager
def uvicorn_server(bundle: Path) -> Iterator[str]:
    """Run ``plain_servers`` in a process of its own."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rllib_tactical.bench.plain_servers", str(bundle), str(port)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _wait_for_port(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30.0)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return
        time.sleep(0.05)
    raise TimeoutError("uvicorn did not start")


def _body(history: MarketHistory, t: int) -> bytes:
    market = {
        "symbol": history.instrument.symbol,
        "current_price": float(history.features.close[t]),
        "atr_5min": float(history.features.atr[t]),
    }
    matrix = history.features.raw[t - WINDOW + 1 : t + 1].tolist()
    return json.dumps({"matrix_state": matrix, "market_context": market}).encode()


def _in_process(bundle: Bundle, bodies: list[bytes], size: ServiceSize) -> list[Row]:
    decider = Decider(bundle, PerformanceConfig(), under_time_limit(bundle_engine(bundle), 1.0))
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    took = []
    for i in range(size.decisions + 100):
        start = time.perf_counter()
        decider.answer(bodies[i % len(bodies)], state)
        took.append((time.perf_counter() - start) * 1e3)
    return [
        _quantile_row(f"decision in the process p{share * 100:g}", took[100:], share, target)
        for share, target in ((0.5, 0.6), (0.99, 2.0))
    ]


@dataclass(frozen=True, slots=True)
class _Timed:
    one: LoadResult
    many: LoadResult


def _timed(url: str, bodies: list[bytes], size: ServiceSize) -> _Timed:
    requests = _requests(bodies, 300)
    send_load(url, requests, 4)  # a warm-up
    one = send_load(url, _requests(bodies, size.requests), 1)
    many = send_load(url, _requests(bodies, size.rate_requests), CLIENTS)
    return _Timed(one, many)


def _requests(bodies: list[bytes], count: int) -> Iterator[bytes]:
    prepared = [http_request("/decide", body, HOST) for body in bodies]
    return itertools.islice(itertools.cycle(prepared), count)


def _over_http(ours: _Timed, echo: _Timed, plain: _Timed) -> list[Row]:
    def others(measurement: Callable[[_Timed], Measurement]) -> tuple[Baseline, ...]:
        return (
            Baseline(
                "Serve echo", measurement(echo), "Ray Serve, same flags, answers with the body"
            ),
            Baseline(
                "uvicorn", measurement(plain), "same decision on uvicorn alone, without state"
            ),
        )

    def quantile(share: float) -> Callable[[_Timed], Measurement]:
        return lambda timed: _quantiles(timed.one.latency_ms, share)

    def rate(timed: _Timed) -> Measurement:
        return Measurement(timed.many.rate, timed.many.rate, timed.many.rate)

    failures = ours.one.failures() + ours.many.failures()
    return [
        Row(
            name="1 client p50",
            unit="ms",
            measurement=quantile(0.5)(ours),
            target=3.0 * quantile(0.5)(echo).median,
            higher_is_better=False,
            baselines=others(quantile(0.5)),
        ),
        Row(
            name="1 client p99.9",
            unit="ms",
            measurement=_quantiles(ours.one.latency_ms, 0.999),
            target=100.0,
            higher_is_better=False,
            baselines=others(quantile(0.999)),
        ),
        Row(
            name=f"{CLIENTS} clients",
            unit="requests/s",
            measurement=rate(ours),
            target=800.0,
            baselines=others(rate),
        ),
        _single("requests without a 200", "requests", failures, 0.0),
    ]


def _memory(url: str, bodies: list[bytes], size: ServiceSize) -> Row:
    before = _resident_mb()
    send_load(url, _requests(bodies, size.memory_requests), CLIENTS)
    grown = _resident_mb() - before
    return _single(f"memory grown by {size.memory_requests:,} requests", "MB", grown, 50.0)


def _resident_mb() -> float:
    """Return the resident memory in MB of the replicas that this process's Ray has started."""
    return sum(process.memory_info().rss for process in _replicas()) / 1e6


def _replicas() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "ServeReplica" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _reload(url: str, bundle: Bundle, bodies: list[bytes], folder: Path) -> list[Row]:
    other = export_bundle(
        folder / "other",
        weights=bundle.weights,
        rules=bundle.rules,
        instrument=bundle.instrument,
        bar_seconds=bundle.bar_seconds,
        temperature_scale=1.0,
        training={},
        metrics={},
    )
    broken = folder / "broken"
    shutil.copytree(other.path, broken)
    weights = broken / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    statuses: list[int] = []

    def reload(path: Path) -> None:
        reply = httpx.post(
            f"{url}/admin/model", json={"path": str(path)}, timeout=120.0, trust_env=False
        )
        statuses.append(reply.status_code)

    rows = []
    for name, path, wanted in (
        ("lost during a reload", other.path, 200),
        ("lost during a refused reload", broken, 422),
    ):
        result = _load_while(url, bodies, lambda path=path: reload(path))  # type: ignore[misc]
        lost = result.failures() + (statuses[-1] != wanted)
        rows.append(_single(f"{name} ({len(result.latency_ms):,} sent)", "requests", lost, 0.0))
    expected = load_bundle(other.path).bundle_id
    shown = httpx.get(f"{url}/model", timeout=30.0, trust_env=False).json()["bundle_id"]
    rows.append(_single("wrong bundle after a refused reload", "bundles", shown != expected, 0.0))
    return rows


def _load_while(
    url: str,
    bodies: list[bytes],
    work: Callable[[], None],
    after_s: float = 1.0,
    repeats: int = 0,
) -> LoadResult:
    """Send requests while ``work`` runs, and ``after_s`` seconds before and after it."""
    done = threading.Event()

    def run() -> None:
        try:
            time.sleep(after_s)
            work()
            time.sleep(after_s)
        finally:
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    requests = _requests(bodies, 10_000_000)
    result = send_load(url, requests, 4, until=done.is_set, repeats=repeats)
    thread.join()
    return result


def _killed(url: str, bodies: list[bytes], size: ServiceSize) -> Row:
    def kill() -> None:
        for _ in range(size.kills):
            _replicas()[0].kill()
            deadline = time.monotonic() + 60.0
            while time.monotonic() < deadline and len(_replicas()) < 2:
                time.sleep(0.2)
            time.sleep(8.0)  # until the new replica gets requests

    # a replica that dies takes its connections with it: their clients must ask again
    result = _load_while(url, bodies, kill, repeats=3)
    sent = f"{len(result.latency_ms):,} sent, {result.repeated} of them again"
    name = f"lost in {size.kills} SIGKILLs of a replica ({sent})"
    return _single(name, "requests", result.failures(), 0.0)


def _refusals(url: str, bodies: list[bytes], size: ServiceSize) -> list[Row]:
    good = {
        "/decide": json.loads(bodies[0]),
        "/bars": {"symbol": "X", "bars": [_bar(0), _bar(BAR_SECONDS)]},
        "/fills": {"symbol": "X", "fills": [_fill()]},
        "/admin/override": {"action": "pause", "request_id": "a"},
        "/admin/model": {"path": "nowhere"},
    }
    broken = itertools.islice(bad_requests(good, SEED), size.bad_requests)
    requests = (http_request(path, body, HOST) for path, body in broken)
    unnamed = send_load(url, requests, 4, keep=lambda status, body: status == 422)
    failed = sum(count for status, count in unnamed.statuses.items() if status >= 500)
    accepted = sum(count for status, count in unnamed.statuses.items() if status < 400)
    nameless = sum(b'"field"' not in body for body in unnamed.bodies)
    of = f"of {size.bad_requests:,} bad requests"
    return [
        _single(f"5xx {of}", "answers", failed, 0.0),
        _single(f"accepted {of}", "answers", accepted, 0.0),
        _single(f"hung or cut {of}", "requests", unnamed.hung + unnamed.lost, 0.0),
        _single(f"422 without a field {of}", "answers", nameless, 0.0),
    ]


def _bar(time_s: int) -> dict[str, Any]:
    return {"timestamp": time_s, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}


def _fill() -> dict[str, Any]:
    return {"fill_id": "a", "side": "BUY", "quantity": 1.0, "price": 1.0, "timestamp": 0}


def _quantile_row(name: str, took: list[float], share: float, target: float) -> Row:
    return Row(
        name=name,
        unit="ms",
        measurement=_quantiles(took, share),
        target=target,
        higher_is_better=False,
    )


def _quantiles(took: list[float], share: float) -> Measurement:
    """Return the quantile, with the smallest and the largest of those of five parts."""
    parts = [float(np.quantile(part, share)) for part in np.array_split(took, PARTS)]
    spread = summarize(parts)
    return Measurement(float(np.quantile(took, share)), spread.low, spread.high)


def _single(name: str, unit: str, value: float, target: float | None = None) -> Row:
    measurement = Measurement(float(value), float(value), float(value))
    return Row(name=name, unit=unit, measurement=measurement, target=target, higher_is_better=False)
