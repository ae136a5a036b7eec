"""Section "faults": what a trading client loses when processes die, disks fill, servers go away.

The client's answers are compared with those of an undisturbed session, its orders with the journal.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rllib_tactical.bench.bad_requests import bad_requests
from rllib_tactical.bench.load import http_request, send_load
from rllib_tactical.bench.measurement import Baseline, Row, single, summarize
from rllib_tactical.bench.month import month_rows
from rllib_tactical.bench.requests import (
    HOST,
    REPLAY,
    SEED,
    bars_body,
    matrix_body,
    untrained_bundle,
)
from rllib_tactical.bench.scene import Market, Outcome, Scene, fill_up, small_disk, traded
from rllib_tactical.bench.service_process import COMMAND, KINDS
from rllib_tactical.bench.state_server import (
    NOT_INSTALLED,
    server_program,
    server_version,
    state_server,
)
from rllib_tactical.bench.trader import Trades
from rllib_tactical.synthetic import make_market
from serve.deploy.ray_serve import reserve_port

AWAY_S: Final = 5.0
REPLACED: Final = ("replica", "controller")
"""What Ray Serve or Ray starts again."""

ENDING: Final = ("raylet", "gcs_server", COMMAND)
"""What nothing starts again: all ends, and a supervisor starts the command."""

HELPERS: Final = tuple(kind for kind in KINDS if kind not in (*REPLACED, *ENDING))
"""Ray's other processes, which nothing starts again while Ray goes on."""

_DISK_MB: Final = 48
_OUTAGE_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSize:
    """Sizes of the faults. The defaults take about 10 minutes on two idle cores.

    ``bars``: of the session, enough for all of one kind's faults; ``pause_s``: between two.
    """

    kills: int = 5
    bars: int = 1_500
    pause_s: float = 0.05
    bad_requests: int = 50_000
    month_bars: int = 6_048


@dataclass(frozen=True, slots=True)
class _Run:
    market: Market
    folder: Path
    reference: Trades
    size: FaultSize
    progress: Callable[[str], None]


def measure_faults(size: FaultSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section, each as soon as it is known.

    Args:
        size: sizes of the faults.
        progress: called with the name of each before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="tactical-faults-") as name:
        folder = Path(name)
        history = make_market("momentum", SEED, size.bars).history()
        config = folder / "service.yaml"
        config.write_text(REPLAY, encoding="utf-8")
        bundle = untrained_bundle(folder / "bundle", history)
        market = Market(bundle=bundle, history=history, config=config)
        progress("an undisturbed session")
        scene = Scene(market, folder / "undisturbed", reserve_port(HOST, 0))
        try:
            reference = traded(scene, market).wait()
        finally:
            scene.service.stop()
        yield from _outcome_rows("undisturbed", scene.outcome(reference, reference))
        slowly = Market(bundle=bundle, history=history, config=config, pause_s=size.pause_s)
        run = _Run(slowly, folder, reference, size, progress)
        for kind in REPLACED:
            yield from _replaced(run, kind, 1)
        yield from _replaced(run, "replica", 2)
        yield from _helpers(run)
        yield from _disk_full(run)
        yield from _server_gone(run)
        yield from _refusals(run)
        month = make_market("momentum", SEED, size.month_bars).history()
        fast = Market(bundle=bundle, history=month, config=config)
        yield from month_rows(fast, folder / "month", progress)
        for kind in ENDING:
            yield from _ending(run, kind)


@contextmanager
def _scene(
    run: _Run, name: str, state: str | Path | None = None, replicas: int = 1
) -> Iterator[Scene]:
    run.progress(name)
    folder = run.folder / name.replace(" ", "-").replace(",", "").replace("/", "-")
    scene = Scene(run.market, state or folder, reserve_port(HOST, 0), replicas)
    try:
        yield scene
    finally:
        scene.service.stop()


def _replaced(run: _Run, kind: str, replicas: int) -> Iterator[Row]:
    """Kill what is started again."""
    name = f"{kind} killed, {replicas} replica{'s' if replicas > 1 else ''}"
    number = replicas if kind == "replica" else 1
    with _scene(run, name, replicas=replicas) as scene:
        trader = traded(scene, run.market)
        away = []
        with scene.probed() as prober:
            for _ in range(run.size.kills):
                scene.wait_whole(kind, number)
                time.sleep(1.0)
                away.append(prober.away_s(scene.kill(kind)))
        outcome = scene.outcome(trader.stop(), run.reference)
    yield _away_row(f"{name}: away", away)
    yield from _outcome_rows(name, outcome)


def _ending(run: _Run, kind: str) -> Iterator[Row]:
    """Kill what ends the service, and start it again."""
    name = f"{kind} killed"
    with _scene(run, name) as scene:
        trader = traded(scene, run.market)
        ended, away = [], []
        with scene.probed() as prober:
            for _ in range(run.size.kills):
                time.sleep(1.0)
                at = scene.kill(kind)
                ended.append(scene.ended_s(at))
                scene.start_again()
                away.append(prober.away_s(at, settle_s=1.0))
        outcome = scene.outcome(trader.stop(), run.reference)
    yield _away_row(f"{name}: until all has ended and the port is free", ended)
    yield Row(
        name=f"{name}: until a new start answers",
        unit="s",
        measurement=summarize(away),
        higher_is_better=False,
    )
    yield from _outcome_rows(name, outcome)


def _helpers(run: _Run) -> Iterator[Row]:
    """Kill Ray's other processes, one after another; start again what ends with them."""
    name = "Ray's helpers killed, each once"
    with _scene(run, name) as scene:
        trader = traded(scene, run.market)
        away = []
        with scene.probed() as prober:
            for kind in HELPERS:
                if not scene.service.processes(kind):
                    continue
                run.progress(f"{kind} killed")
                time.sleep(1.0)
                at = scene.kill(kind)
                # Ray's agents take the raylet with them, within seconds
                while scene.service.process.poll() is None and time.monotonic() - at < 8.0:
                    time.sleep(0.05)
                if scene.service.process.poll() is None:
                    away.append(prober.away_s(at))
                    continue
                ended = scene.ended_s(at)
                scene.start_again()
                yield single(f"{kind} killed: until all has ended", "s", ended, 10.0)
                prober.away_s(at, settle_s=1.0)
        outcome = scene.outcome(trader.stop(), run.reference)
    if away:
        yield _away_row(f"{name}: away, where all goes on", away)
    yield from _outcome_rows(name, outcome)


def _disk_full(run: _Run) -> Iterator[Row]:
    name = "disk full"
    with small_disk(run.folder / "disk", _DISK_MB) as disk:
        if disk is None:
            note = "mounting a small file system needs root"
            yield _not_measured(f"{name}: away after there was room again", note)
            return
        with _scene(run, name, state=disk / "state") as scene:
            trader = traded(scene, run.market)
            away, noticed = [], []
            with scene.probed() as prober:
                for _ in range(run.size.kills):
                    time.sleep(1.0)
                    filler = fill_up(disk)
                    begun = time.monotonic()
                    time.sleep(_OUTAGE_S)
                    filler.unlink()
                    ended = time.monotonic()
                    noticed.append(prober.refused_s(begun, ended))
                    away.append(prober.away_s(ended))
            outcome = scene.outcome(trader.stop(), run.reference)
    yield _away_row(f"{name}: until decisions hold", noticed)
    yield _away_row(f"{name}: away after there was room again", away)
    yield from _outcome_rows(name, outcome)


def _server_gone(run: _Run) -> Iterator[Row]:
    program = server_program()
    if program is None:
        yield _not_measured("state server killed: away after it was back", NOT_INSTALLED)
        return
    name = f"state server killed ({server_version(program)})"
    with (
        state_server(program) as server,
        _scene(run, "state server killed", state=server.url) as scene,
    ):
        trader = traded(scene, run.market)
        away, noticed = [], []
        with scene.probed() as prober:
            for _ in range(run.size.kills):
                time.sleep(1.0)
                server.kill()
                begun = time.monotonic()
                time.sleep(_OUTAGE_S)
                noticed.append(prober.refused_s(begun, time.monotonic()))
                server.start()
                away.append(prober.away_s(time.monotonic()))
        outcome = scene.outcome(trader.stop(), run.reference)
    yield _away_row(f"{name}: until decisions hold", noticed)
    yield _away_row(f"{name}: away after it was back", away)
    yield from _outcome_rows(name, outcome)


def _refusals(run: _Run) -> Iterator[Row]:
    """Send bad requests; the session after them is that without them."""
    history, symbol = run.market.history, run.market.bundle.instrument.symbol
    good: dict[str, dict[str, Any]] = {
        "/decide": json.loads(matrix_body(history, 400)),
        "/bars": bars_body(history, 0, 2),
        "/fills": {"symbol": symbol, "fills": [_fill()]},
        "/account": {"symbol": symbol, "request_id": "a", "by": "a", "note": "a"},
        "/admin/override": {"action": "pause", "request_id": "a"},
        "/admin/model": {"path": "nowhere"},
    }
    count = run.size.bad_requests
    name = f"{count:,} bad requests"
    with _scene(run, name) as scene:
        broken = itertools.islice(bad_requests(good, SEED), count)
        requests = (http_request(path, body, HOST) for path, body in broken)
        sent = send_load(scene.url, requests, 4, keep=lambda status, body: status == 422)
        bad = sum(n for status, n in sent.statuses.items() if not 400 <= status < 500)
        nameless = sum(b'"field"' not in body for body in sent.bodies)
        fast = Market(bundle=run.market.bundle, history=history, config=run.market.config)
        trader = traded(scene, fast)
        time.sleep(10.0)
        outcome = scene.outcome(trader.stop(), run.reference)
    yield single(f"{name}: answers that are not 4xx", "answers", bad, 0.0)
    yield single(f"{name}: hung or cut", "requests", sent.hung + sent.lost, 0.0)
    yield single(f"{name}: 422 without a field", "answers", nameless, 0.0)
    yield from _outcome_rows(f"after {name}", outcome)


def _fill() -> dict[str, Any]:
    return {"fill_id": "a", "side": "BUY", "quantity": 1.0, "price": 1.0, "timestamp": 0}


def _away_row(name: str, away: list[float]) -> Row:
    return Row(
        name=name,
        unit="s",
        measurement=summarize(away),
        target=AWAY_S,
        higher_is_better=False,
    )


def _not_measured(name: str, why: str) -> Row:
    return Row(
        name=name,
        unit="s",
        measurement=summarize([float("nan")]),
        baselines=(Baseline("not measured", None, why),),
        higher_is_better=False,
    )


def _outcome_rows(name: str, found: Outcome) -> Iterator[Row]:
    of = f"of {found.orders:,} orders, {found.decisions:,} decisions"
    for what, count in (
        ("wrong answers", found.wrong),
        ("requests never answered", found.lost),
        ("orders not in the journal", found.unaudited),
    ):
        yield single(f"{name}: {what} {of}", "number", count, 0.0)
