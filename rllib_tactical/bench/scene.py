"""A service that is disturbed while a client trades with it, and what became of the orders."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from rllib_tactical.bench.requests import HOST
from rllib_tactical.bench.service_process import ServiceProcess, start_served
from rllib_tactical.bench.trader import Prober, Trader, Trades
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import ServiceError
from serve.journal.reading import read_decisions
from serve.state.inspection import verify_state
from serve.state.opening import store_name

ENDS_S: Final = 60.0
BACK_S: Final = 60.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What is traded: a bundle, its history, the service's configuration, how fast."""

    bundle: Bundle
    history: MarketHistory
    config: Path
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a disturbed session: requests and orders that are not what they should be."""

    decisions: int
    orders: int
    wrong: int
    lost: int
    unaudited: int


class Scene:
    """A service at one address, started again by whoever disturbs it.

    Args:
        market: what is traded.
        state: folder or URL of its state.
        port: where it listens, also when it is started again.
        replicas: of the service.
    """

    def __init__(self, market: Market, state: str | Path, port: int, replicas: int = 1) -> None:
        self._market, self.state, self._port = market, state, port
        self._replicas = replicas
        self.url = f"http://{HOST}:{port}"
        self.service: ServiceProcess = self._started()

    def _started(self) -> ServiceProcess:
        market = self._market
        named = ("--bundle", market.bundle.path, "--config", market.config, "--state", self.state)
        return start_served([*named, "--port", str(self._port), "--replicas", str(self._replicas)])

    def ready(self) -> bool:
        """Return whether a new connection finds the service ready."""
        with suppress(httpx.HTTPError):
            found = httpx.get(f"{self.url}/ready", trust_env=False, timeout=2.0)
            return found.status_code == httpx.codes.OK
        return False

    def kill(self, kind: str) -> float:
        """Kill a process of a kind; return when, by ``time.monotonic``."""
        victims = self.service.processes(kind)
        if not victims:
            raise ServiceError(f"a service must have a {kind}, found none")
        victims[0].kill()
        return time.monotonic()

    def ended_s(self, since: float) -> float:
        """Return how long after ``since`` everything had ended and the port was free."""
        while not self.service.ended() and time.monotonic() - since < ENDS_S:
            time.sleep(_LOOK_S)
        return time.monotonic() - since

    def start_again(self) -> None:
        """Start the service anew, as a supervisor does."""
        self.service.stop()
        self.service = self._started()

    def wait_whole(self, kind: str, number: int) -> None:
        """Wait until there are ``number`` processes of a kind again."""
        deadline = time.monotonic() + BACK_S
        while len(self.service.processes(kind)) < number and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    @contextmanager
    def probed(self) -> Iterator[Prober]:
        """Watch when the service is ready."""
        with Prober(self.ready) as prober:
            yield prober

    def outcome(self, trades: Trades, reference: Trades) -> Outcome:
        """Stop the service; compare a session with an undisturbed one, its orders with the journal.

        The state and the journal are checked record by record; damage counts as wrong.
        """
        self.service.stop()
        name = store_name(str(self.state), self._market.bundle.instrument.symbol)
        _, damage = verify_state(name)
        kept = {record.decision_id for record in read_decisions(name)}
        return Outcome(
            decisions=len(trades.decided),
            orders=len(trades.ordered),
            wrong=trades.wrong(reference) + (damage is not None),
            lost=trades.lost,
            unaudited=len(trades.ordered - kept),
        )


def traded(scene: Scene, market: Market) -> Trader:
    """Return a client that trades the market with a service in the background."""
    equity = market.bundle.rules.risk.initial_equity
    trader = Trader(scene.url, market.history, equity, market.pause_s)
    trader.start()
    return trader


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path | None]:
    """Mount a file system of its own on a folder; None where this user may not."""
    folder.mkdir()
    options = f"size={size_mb}m"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def fill_up(folder: Path) -> Path:
    """Write a file until the disk is full; return it."""
    path = folder / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            # smaller and smaller, so that not even a record fits
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"0" * size)
            raise OSError
    return path
