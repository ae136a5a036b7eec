"""Section "bus": from a published event to its command, and what SIGKILL loses or repeats."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import redis

from rllib_tactical.bench.bus_crash import SERVICE, CrashResult, crash
from rllib_tactical.bench.bus_load import CommandLog, EventLoad, MakeEvent, drained
from rllib_tactical.bench.measurement import Baseline, Measurement, Row, single, summarize
from rllib_tactical.bench.requests import SEED, bars_body, untrained_bundle
from rllib_tactical.bench.state_server import (
    StateServer,
    required_program,
    server_version,
    state_server,
)
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import WINDOW
from rllib_tactical.errors import ServiceError
from rllib_tactical.synthetic import make_market
from serve.api.streams import BARS, COMMANDS
from serve.api.write_requests import BarsRequest
from serve.client.bus import BusPublisher, BusReader
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.deploy.launcher import start_service

FIRST: Final = 400
"""Bars before the one at whose close the events are: more than a decision by symbol needs."""

PARTS: Final = 5

PUBLISHERS: Final = 4
"""One alone waits for each entry's sync, and so for less than the rate that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSize:
    """Sizes of the measurements. The defaults take about 10 minutes on two idle cores.

    ``single``: events one after the other; ``sustained_s``: seconds at ``rate`` events a second;
    ``kills``: of service and server, at ``crash_rate`` events a second.
    """

    single: int = 1_000
    sustained_s: float = 20.0
    rate: float = 500.0
    kills: int = 200
    crash_rate: float = 20.0


@dataclass(frozen=True, slots=True)
class EventScene:
    """A bundle, the bars before its events, and how to make events that lead to an order."""

    bundle: Bundle
    bars: BarsRequest
    make: MakeEvent


def measure_bus(size: BusSize, progress: Callable[[str], None]) -> Iterator[Row]:
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
        at = scene(folder / "bundle")
        yield from _timed(program, at, folder, size, progress)
        progress("kills")
        with state_server(program) as server:
            publish_bars(server, at)
            result = crash(
                server,
                at.bundle.path,
                folder / "crash",
                at.make,
                size.kills,
                size.crash_rate,
                SEED,
                progress,
            )
    yield from crash_rows(result)


def scene(folder: Path) -> EventScene:
    """Return a scene, with its bundle in ``folder``."""
    history = make_market("momentum", SEED, FIRST + 300).history()
    bundle = untrained_bundle(folder, history)
    t, direction = _trading_bar(bundle, history)
    symbol, close_s = (
        history.instrument.symbol,
        int(history.bars.timestamp_s[t]) + bundle.bar_seconds,
    )

    def make(event_id: str) -> SynergyEvent:
        return SynergyEvent(
            event_id=event_id,
            timestamp=float(close_s),
            synergy_type="TYPE_2",
            direction=direction,
            confidence=0.8,
            signal_sequence=["fvg", "momentum"],
            market_context={"symbol": symbol},
        )

    return EventScene(bundle, msgspec.convert(bars_body(history, 0, t + 1), BarsRequest), make)


def publish_bars(server: StateServer, at: EventScene) -> None:
    """Put the bars on the bus."""
    with BusPublisher(server.url) as bus:
        for first in range(0, len(at.bars.bars), 500):
            bus.publish(BARS, BarsRequest(at.bars.symbol, at.bars.bars[first : first + 500]))


def crash_rows(result: CrashResult) -> list[Row]:
    """Return the table of a crash."""
    places = ", ".join(f"{place} {count}" for place, count in sorted(result.kills.items()))
    kills = f"in {result.kills.total()} SIGKILLs"
    events = f"of {result.events:,} events, {result.entries:,} published"
    return [
        single(f"events without a command {kills} ({places})", "events", result.missing, 0.0),
        single(f"events with two commands, {events}", "events", result.twice, 0.0),
        single("commands that a reader missed or got twice", "events", result.unseen, 0.0),
        single("dead letters", "entries", result.dead, 0.0),
    ]


def _timed(
    program: str, at: EventScene, folder: Path, size: BusSize, progress: Callable[[str], None]
) -> list[Row]:
    """Measure latency and rate on the whole service."""
    replay = TacticalConfig(service=SERVICE)
    with state_server(program) as server:
        publish_bars(server, at)
        progress("start of the service")
        with start_service(
            at.bundle.path, port=0, config=replay, state=folder / "timed", bus=server.url
        ):
            drained(server.url, 60.0)
            progress("events one after the other")
            took, raw = one_by_one(server, at.make, size.single)
            progress(f"{size.rate:g} events a second")
            rate, waits, lost = sustained(server, at.make, size)
    trip = f"XADD read by a waiting client of {server_version(program)}, in turns with the events"
    return [
        Row(
            name=f"event published to command readable, p{share * 100:g}",
            unit="ms",
            measurement=_quantiles(took, share),
            target=target,
            higher_is_better=False,
            baselines=(Baseline("raw round trip", _quantiles(raw, share), trip),),
        )
        for share, target in ((0.5, 8.0), (0.99, 25.0))
    ] + [
        Row(
            name=f"events a second over {size.sustained_s:g} s",
            unit="events/s",
            measurement=Measurement(rate, rate, rate),
            target=0.99 * size.rate,
        ),
        single(
            "at that rate: published to readable, p99", "ms", float(np.quantile(waits, 0.99)), 100.0
        ),
        single("at that rate: events without a command", "events", lost, 0.0),
    ]


def one_by_one(server: StateServer, make: MakeEvent, count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds from publishing to reading, of events and of plain entries."""
    took: list[float] = []
    raw: list[float] = []
    plain: Any = redis.Redis.from_url(server.url)
    with BusPublisher(server.url) as bus, BusReader(server.url) as reader:
        newest = reader.newest(COMMANDS, 1)
        after = newest[0].entry_id if newest else "0-0"
        for number in range(count + 50):
            event = make(f"single-{number}")
            begun = time.perf_counter()
            bus.synergy(event)
            while not (found := reader.wait(COMMANDS, after, 5.0)):
                if time.perf_counter() - begun > 30.0:
                    raise ServiceError(f"{event.event_id} must lead to a command, found none")
            took.append((time.perf_counter() - begun) * 1e3)
            after = found[-1].entry_id
            raw.append(_round_trip(plain, server.url) * 1e3)
    plain.close()
    return took[50:], raw[50:]


def sustained(
    server: StateServer, make: MakeEvent, size: BusSize
) -> tuple[float, list[float], int]:
    """Return commands per second, the milliseconds each took, and how many are missing."""
    log = CommandLog(server.url)
    loads = {
        number: EventLoad(
            server.url,
            lambda name, number=number: make(f"rate-{number}-{name}"),  # type: ignore[misc]
            size.rate / PUBLISHERS,
            SEED,
            disturbed=False,
        )
        for number in range(PUBLISHERS)
    }
    log.start()
    for load in loads.values():
        load.start()
    time.sleep(size.sustained_s)
    sent_s = {
        f"rate-{number}-{name}": at_s
        for number, load in loads.items()
        for name, at_s in load.stop().at_s.items()
    }
    drained(server.url, 30.0)
    time.sleep(0.5)
    log.stop()
    answered = [name for name in sent_s if name in log.at_s]
    waits = [(log.at_s[name] - sent_s[name]) * 1e3 for name in answered]
    seconds = max(log.at_s[name] for name in answered) - min(sent_s.values())
    return len(answered) / seconds, waits, len(sent_s) - len(answered)


def _round_trip(client: Any, url: str) -> float:
    """Return the seconds until a client that waits on a stream has an entry that is added to it."""
    got: list[float] = []
    ready = threading.Event()
    newest = client.xrevrange("raw", count=1)
    after = newest[0][0] if newest else "0-0"

    def wait() -> None:
        waiting: Any = redis.Redis.from_url(url)
        waiting.ping()
        ready.set()
        waiting.xread({"raw": after}, block=30_000)
        got.append(time.perf_counter())
        waiting.close()

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    time.sleep(0.002)  # until it waits
    begun = time.perf_counter()
    client.xadd("raw", {"data": b"x" * 400}, maxlen=10)
    thread.join()
    return got[0] - begun


def _trading_bar(bundle: Bundle, history: MarketHistory) -> tuple[int, Any]:
    """Return a bar at whose close an event leads to an order, and its direction.

    Raises:
        ServiceError: there is none.
    """
    decider = Decider(bundle, PerformanceConfig())
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    features = history.features
    for t in range(FIRST, len(history) - 1):
        for direction in (1, -1):
            body = {
                "matrix_state": features.raw[t - WINDOW + 1 : t + 1].tolist(),
                "market_context": {
                    "symbol": history.instrument.symbol,
                    "current_price": float(features.close[t]),
                    "atr_5min": float(features.atr[t]),
                },
                "synergy_context": {
                    "synergy_type": "TYPE_2",
                    "direction": direction,
                    "confidence": 0.8,
                },
            }
            answer = decider.answer(msgspec.json.encode(body), state).answer
            if answer.decision.execute:
                return t, direction
    raise ServiceError("a bar must lead to an order, found none")


def _quantiles(took: list[float], share: float) -> Measurement:
    """Return the quantile, with the smallest and the largest of those of five parts."""
    spread = summarize([float(np.quantile(part, share)) for part in np.array_split(took, PARTS)])
    return Measurement(float(np.quantile(took, share)), spread.low, spread.high)
