"""Requests under load while the service changes its bundle, and while it refuses one."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from rllib_tactical.bench.load import LoadResult, send_load
from rllib_tactical.bench.measurement import Row, single
from rllib_tactical.bench.requests import numbered
from rllib_tactical.bundle.bundle import Bundle, export_bundle, load_bundle
from rllib_tactical.bundle.weights import WEIGHTS


def reload_rows(
    url: str,
    bundle: Bundle,
    bodies: Sequence[bytes],
    folder: Path,
    progress: Callable[[str], None],
) -> Iterator[Row]:
    """Count what is lost while a bundle is replaced and while a broken one is refused."""
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
    for number, (name, path, wanted) in enumerate(
        (
            ("lost during a reload", other.path, 200),
            ("lost during a refused reload", broken, 422),
        )
    ):
        progress(name)
        statuses: list[int] = []

        def reload(path: Path = path, statuses: list[int] = statuses) -> None:
            chosen = {"path": str(path)}
            reply = httpx.post(f"{url}/admin/model", json=chosen, timeout=120.0, trust_env=False)
            statuses.append(reply.status_code)

        result = load_while(url, bodies, reload, seed=30_000_000 + number * 1_000_000)
        lost = result.failures() + (statuses != [wanted])
        yield single(f"{name} ({len(result.latency_ms):,} sent)", "requests", lost, 0.0)
    expected = load_bundle(other.path).bundle_id
    shown = httpx.get(f"{url}/model", timeout=30.0, trust_env=False).json()["bundle_id"]
    yield single("wrong bundle after a refused reload", "bundles", shown != expected, 0.0)


def load_while(
    url: str, bodies: Sequence[bytes], work: Callable[[], None], seed: int, after_s: float = 1.0
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
    result = send_load(url, numbered(bodies, seed), 4, until=done.is_set)
    thread.join()
    return result
