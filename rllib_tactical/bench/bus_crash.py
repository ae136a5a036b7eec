"""SIGKILL of the service and of the bus's server at random places, under load.

The service runs in a process of its own, without HTTP and Ray: what reads the bus, decides and
writes is the same. It kills itself right after a chosen step, or is killed at a random moment.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rllib_tactical.bench.bus_load import CommandLog, EventLoad, MakeEvent, all_commands, drained
from rllib_tactical.bench.state_server import StateServer
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from serve.bus.status import BusSettings
from serve.client.bus import BusReader
from serve.http.app import DecisionApp
from serve.http.settings import AppSettings
from serve.state.opening import StateSettings
from serve.state.records import model_record

STEPS: Final = ("read", "decide", "write", "acknowledge")
"""After which the service kills itself: entries were read; an event was decided and its decision
is in the journal; the outcome was sent to the server; the server has answered."""

ANY_MOMENT: Final = "any moment"
SERVER: Final = "server"
SERVICE: Final = ServiceConfig(
    live_bars=False, max_bar_age_s=1e9, inference_timeout_ms=1e4, lease_s=20.0
)
LEASE_S: Final = 0.5
PATIENCE_S: Final = 20.0
SETTLE_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Plan:
    """After which occurrence of which step the service kills itself."""

    step: str
    number: int


@dataclass(slots=True)
class CrashResult:
    """What became of the events.

    ``kills`` by place; ``missing`` events without a command; ``twice`` events with more than one;
    ``unseen`` commands that a reader did not get, or got more than once; ``dead`` letters.
    """

    kills: Counter[str] = field(default_factory=Counter)
    events: int = 0
    entries: int = 0
    missing: int = 0
    twice: int = 0
    unseen: int = 0
    dead: int = 0


def crash(
    server: StateServer,
    bundle: Path,
    folder: Path,
    make: MakeEvent,
    kills: int,
    rate: float,
    seed: int,
    progress: Callable[[str], None] = lambda text: None,
) -> CrashResult:
    """Kill service and server again and again while events come; return what became of them.

    Args:
        server: with the bus, running; the bars that the events are about are on it.
        bundle: the bundle to decide with.
        folder: for the service's state.
        make: returns the event of an id; each leads to an order.
        kills: how many, about two in seven of them of the server.
        rate: events per second.
        seed: of the places.
        progress: called now and then.
    """
    chance, result = random.Random(seed), CrashResult()
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])

    def start(plan: Plan | None) -> Any:
        process = context.Process(target=serve_bus, args=(bundle, folder, server.url, plan))
        process.start()
        return process

    load, log = EventLoad(server.url, make, rate, seed), CommandLog(server.url)
    load.start()
    log.start()
    process = None
    try:
        while (done := result.kills.total()) < kills:
            step = chance.choice((*STEPS, ANY_MOMENT, SERVER, SERVER))
            if step == SERVER:
                process = process or start(None)
                time.sleep(chance.uniform(0.0, 1.5))
                server.kill()
                time.sleep(chance.uniform(0.0, 0.3))
                server.start()
            else:
                if process is not None:  # one that goes on after the server was killed
                    _end(process)
                    result.kills[ANY_MOMENT] += 1
                process = start(Plan(step, chance.randint(1, 20)) if step in STEPS else None)
                process.join(PATIENCE_S if step in STEPS else chance.uniform(0.3, 1.5))
                if process.is_alive():
                    step = ANY_MOMENT
                _end(process)
                process = None
            result.kills[step] += 1
            if done % 10 == 9:
                progress(f"{done + 1} of {kills} kills")
        sent = load.stop()
        process = start(None)
        drained(server.url, SETTLE_S)
    finally:
        load.stop()
        if process is not None:
            _end(process)
        log.stop()
    commands = all_commands(server.url)
    result.events, result.entries = len(sent.at_s), sent.entries
    result.missing = sum(name not in commands for name in sent.at_s)
    result.twice = sum(count > 1 for count in commands.values())
    result.unseen = sum(log.counts[name] != count for name, count in commands.items())
    result.dead = _dead_letters(server.url)
    return result


def serve_bus(bundle: Path, folder: Path, url: str, plan: Plan | None) -> None:
    """Run the service on the bus until it is killed, by itself where ``plan`` says so."""
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.getLogger().addHandler(logging.NullHandler())  # each kill would fill the screen
    asyncio.run(_serve(bundle, folder, url, plan))


async def _serve(bundle: Path, folder: Path, url: str, plan: Plan | None) -> None:
    settings = AppSettings(
        performance=PerformanceConfig(),
        service=SERVICE,
        telemetry_folder=str(folder / "telemetry"),
        bus=BusSettings(url=url, lease_s=LEASE_S),
    )
    state = StateSettings(
        store=str(folder / "state"),
        folder=str(folder / "state"),
        models=(model_record(load_bundle(bundle), "bench", live_bars=False),),
    )
    app = DecisionApp(settings, state)
    if plan is not None:
        _arm(app, plan)
    await app.start()
    await asyncio.Event().wait()


def _arm(app: DecisionApp, plan: Plan) -> None:
    """Have the process killed after a step."""
    consumer = app.bus
    assert consumer is not None
    left = plan.number

    def count(done: int) -> None:
        nonlocal left
        left -= done
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(call: Callable[..., Awaitable[Any]], size: Callable[[Any], int]) -> Any:
        async def counted(*arguments: Any) -> Any:
            found = await call(*arguments)
            count(size(found))
            return found

        return counted

    async def cut(*arguments: Any) -> Any:
        writing = asyncio.create_task(settle(*arguments))
        # a part of the way: nothing sent, or sent and not answered
        for _ in range(random.randint(1, 6)):
            await asyncio.sleep(0)
        count(len(arguments[0]))
        return await writing

    bus, settle = consumer.bus, consumer.bus.settle
    changed: dict[str, Any] = {
        "read": ("read", after(bus.read, len)),
        "write": ("settle", cut),
        "acknowledge": ("settle", after(bus.settle, len)),
    }
    if plan.step == "decide":
        controller = consumer.answers.controller
        setattr(controller, "event", after(controller.event, lambda decided: 1))  # noqa: B010
    else:
        name, call = changed[plan.step]
        setattr(bus, name, call)


def _end(process: Any) -> None:
    process.kill()
    process.join()


def _dead_letters(url: str) -> int:
    with BusReader(url) as bus:
        return len(bus.dead(10_000))
