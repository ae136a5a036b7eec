"""A week on paper from the bus while service, server and session are killed; its books after it.

The session is ``tactical paper``; the service runs in a process of its own, over HTTP, without Ray.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from rllib_tactical.bench.bus_crash import SERVICE
from rllib_tactical.bench.requests import SEED, untrained_bundle
from rllib_tactical.bench.state_server import StateServer
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.log import LOG
from rllib_tactical.live.paper import bar_input
from rllib_tactical.live.run import SPOOLED
from rllib_tactical.synthetic import make_market
from serve.api.streams import BARS
from serve.api.write_requests import BrokerAccount
from serve.client.bus import BusPublisher
from serve.client.calls import Retries
from serve.client.http import DecisionClient
from serve.http.app import DecisionApp
from serve.http.listener import Listener
from serve.http.settings import AppSettings
from serve.state.opening import StateSettings
from serve.state.records import model_record

DAY_BARS: Final = 288
WARM_UP: Final = 2 * DAY_BARS
BAR_S: Final = 300
REPEATED: Final = 0.2
"""Share of the bars that are published twice."""

LATE: Final = 0.02
"""Share of the bars that come after the bar behind them; the session goes on without them."""

UNREADABLE: Final = 0.02
"""Share of the bars before which something comes that is no bar."""

SETTLE_S: Final = 180.0
PLACES: Final = ("service", "server", "session")
_PATIENT: Final = Retries(count=400, first_pause_s=0.02, longest_pause_s=0.2)
_FIRST_S: Final = 1_704_067_200  # 2024-01-01


@dataclass(slots=True)
class WeekResult:
    """What became of a week.

    ``kills`` by what was killed; ``sent`` what was published: bars, repeats, late, unreadable;
    ``bars`` that the session traded; ``differ`` rows of its trades and the backtest's that are not
    the same; ``apart`` dollars, the largest difference between the books of backtest, session and
    service; ``miscounted`` trades that the service has more or less than the session; ``ended``:
    how often the session ended before it was asked to.
    """

    kills: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    bars: int = 0
    trades: int = 0
    differ: int = 0
    apart: float = 0.0
    miscounted: int = 0
    ended: int = 0


def paper_week(
    server: StateServer, folder: Path, days: int, speed: float, kills: int, seed: int = SEED
) -> WeekResult:
    """Trade days on paper and kill meanwhile; return what became of it.

    Args:
        server: that has the bus, running.
        folder: for everything that is written.
        days: of 288 bars around the clock, after two that warm up the features.
        speed: times as fast as the market.
        kills: how many, of service, server and session in turns.
        seed: of places and disturbances.

    Raises:
        ServiceError: the session does not reach its last bar.
    """
    history = _market(WARM_UP + days * DAY_BARS)
    bundle = untrained_bundle(folder / "bundle", history)
    scene = _Scene(server, folder, bundle, history)
    result, chance = WeekResult(), random.Random(seed)
    feed = _Feed(server.url, history, BAR_S / speed, seed)
    scene.start()
    feed.start()
    try:
        for number in range(kills):
            due = WARM_UP + round((number + chance.random()) / kills * days * DAY_BARS * 0.95)
            while feed.at < due:
                time.sleep(0.01)
                scene.mend()
            place = PLACES[number % len(PLACES)]
            scene.kill(place, chance.uniform(0.0, 0.5))
            result.kills[place] += 1
        feed.join()
        scene.end()
        result.sent, result.ended = feed.sent, scene.ended
        _compare(scene, result)
    finally:
        feed.stop()
        scene.stop()
    return result


def _market(count: int) -> MarketHistory:
    """Return bars that end with a day, late enough for the service's own figures."""
    market = make_market("regime", SEED, count)
    bars = market.bars
    begin = _FIRST_S - int(bars.timestamp_s[0])
    return replace(market, bars=replace(bars, timestamp_s=bars.timestamp_s + begin)).history()


class _Feed(threading.Thread):
    """Publishes the bars at their pace, disturbed; ``at`` is the bar that comes next."""

    def __init__(self, url: str, history: MarketHistory, pace_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._url, self._history, self._pace_s = url, history, pace_s
        self._chance, self._ended = random.Random(seed + 1), threading.Event()
        self.at, self.sent = 0, Counter[str]()

    def stop(self) -> None:
        """End early."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Publish until the last bar."""
        symbol, last = self._history.instrument.symbol, len(self._history) - 1
        with BusPublisher(self._url, retries=_PATIENT) as bus:
            for first in range(0, WARM_UP, DAY_BARS):
                part = range(first, first + DAY_BARS)
                bus.bars(symbol, [bar_input(self._history, t) for t in part])
            self.at, due_s = WARM_UP, time.monotonic()
            while self.at <= last and not self._ended.is_set():
                names = [self.at]
                # the last ones come in order, so that all sides end with the same bar
                if self.at + 2 < last and self._chance.random() < LATE:
                    names = [self.at + 1, self.at]
                    self.sent["late"] += 1
                for t in names:
                    if self._chance.random() < UNREADABLE:
                        bus.publish_fields(BARS, {"data": b'{"symbol": '})
                        self.sent["unreadable"] += 1
                    for _ in range(1 + (self._chance.random() < REPEATED)):
                        bus.bars(symbol, [bar_input(self._history, t)])
                        self.sent["entries"] += 1
                self.at += len(names)
                self.sent["bars"] += len(names)
                due_s += self._pace_s * len(names)
                self._ended.wait(max(0.0, due_s - time.monotonic()))


class _Scene:
    """The service and the session, started again whenever they are gone."""

    def __init__(
        self, server: StateServer, folder: Path, bundle: Bundle, history: MarketHistory
    ) -> None:
        self.server, self.folder, self.bundle, self.history = server, folder, bundle, history
        self.out = folder / "paper"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self.start_s = int(history.bars.timestamp_s[WARM_UP])
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._service: Any = None
        self._session: subprocess.Popen[bytes] | None = None
        self.ended = 0

    def start(self) -> None:
        """Start both."""
        self._start_service()
        with DecisionClient(self.url, retries=_PATIENT) as client:
            client.model()
        self._start_session()

    def kill(self, place: str, away_s: float) -> None:
        """Kill one, and start it again after a while."""
        if place == "server":
            self.server.kill()
            time.sleep(away_s)
            self.server.start()
        elif place == "service":
            self._service.kill()
            self._service.join()
            time.sleep(away_s)
            self._start_service()
        elif self._session is not None:
            self._session.kill()
            self._session.wait()
            time.sleep(away_s)
            self._start_session()

    def mend(self) -> None:
        """Start the session again where it has ended by itself."""
        if self._session is not None and self._session.poll() is not None:
            self.ended += 1
            self._start_session()

    def end(self) -> None:
        """Wait for the decision at the last bar, and ask the session for its report.

        Raises:
            ServiceError: it does not come.
        """
        deadline = time.monotonic() + SETTLE_S
        while f'"time_s":{int(self.history.bars.timestamp_s[-1])},' not in self._newest():
            self.mend()
            if time.monotonic() > deadline:
                raise ServiceError(f"the session must reach its last bar, found {self._newest()}")
            time.sleep(0.05)
        assert self._session is not None
        time.sleep(0.5)  # the answer is in the log a moment before it waits for the next bar
        self._session.send_signal(signal.SIGINT)
        if (code := self._session.wait(SETTLE_S)) != 0:
            raise ServiceError(f"the session must end with its report, found exit code {code}")

    def stop(self) -> None:
        """End both."""
        for process in (self._service, self._session):
            if process is not None:
                process.kill()

    def run(self, *arguments: str | Path) -> None:
        """Run a command of ours.

        Raises:
            ServiceError: it fails.
        """
        done = subprocess.run([*_TACTICAL, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise ServiceError(f"{arguments[0]}: {done.stderr.strip()}")

    def options(self) -> list[str]:
        """Return what session and backtest have in common."""
        begin = datetime.fromtimestamp(self.start_s, UTC).isoformat()
        bundle = str(self.bundle.path)
        return ["--bundle", bundle, "--start", begin, "--no-baselines", "--no-statistics"]

    def _newest(self) -> str:
        """Return the end of the session's log."""
        path = self.out / LOG
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8_192))
            return file.read().decode(errors="replace").rpartition("\n")[0].rpartition("\n")[2]

    def _start_service(self) -> None:
        arguments = (self.bundle.path, self.folder / "service", self._port)
        self._service = self._context.Process(target=serve_http, args=arguments)
        self._service.start()

    def _start_session(self) -> None:
        given = ["--url", self.url, "--bus", self.server.url, "--out", str(self.out)]
        if (self.out / SPOOLED).exists():
            given.append("--resume")
        with (self.folder / "session.log").open("ab") as log:
            self._session = subprocess.Popen(
                [*_TACTICAL, "paper", *self.options(), *given], stdout=log, stderr=log
            )


_TACTICAL: Final = (sys.executable, "-m", "rllib_tactical")


def _compare(scene: _Scene, result: WeekResult) -> None:
    """Compare the books: those of the session, of a backtest of its bars, and of the service."""
    again = scene.folder / "backtest"
    scene.run("backtest", *scene.options(), "--data", scene.out / SPOOLED, "--out", again)
    mine, theirs = (
        (each / "trades.csv").read_text().splitlines()[1:] for each in (scene.out, again)
    )
    result.trades, result.differ = len(mine), sum((Counter(mine) - Counter(theirs)).values())
    result.differ += sum((Counter(theirs) - Counter(mine)).values())
    equity, expected = (
        pd.read_parquet(each / "equity.parquet")["equity"].to_numpy() for each in (scene.out, again)
    )
    result.bars = len(equity)
    if len(equity) != len(expected):
        result.differ += 1
        return
    trades = pd.read_csv(scene.out / "trades.csv")
    own = BrokerAccount(position=0.0, equity=float(equity[-1]))
    with DecisionClient(scene.url, retries=_PATIENT) as client:
        books = client.performance(3_650)
        account = client.account(
            scene.history.instrument.symbol, by="bench", note="the week ends", broker=own
        )
    result.miscounted = abs(books.trades - len(trades)) + bool(account.position_difference)
    result.apart = max(
        float(abs(equity - expected).max()),
        abs(float(books.net_pnl) - float(trades["pnl"].sum())),
        abs(account.equity_difference or 0.0),
    )


def serve_http(bundle: Path, folder: Path, port: int) -> None:
    """Run the service over HTTP until it is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.getLogger().addHandler(logging.NullHandler())  # each kill would fill the screen
    asyncio.run(_serve(bundle, folder, port))


async def _serve(bundle: Path, folder: Path, port: int) -> None:
    settings = AppSettings(
        performance=PerformanceConfig(),
        service=SERVICE,
        telemetry_folder=str(folder / "telemetry"),
    )
    state = StateSettings(
        store=str(folder / "state"),
        folder=str(folder / "state"),
        models=(model_record(load_bundle(bundle), "bench", live_bars=False),),
    )
    app = DecisionApp(settings, state)
    await app.start()
    await Listener(app, "127.0.0.1", port).start()
    await asyncio.Event().wait()
