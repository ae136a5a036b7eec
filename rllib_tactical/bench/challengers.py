"""What challengers in the shadow cost a decision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rllib_tactical.bench.load import LoadResult, send_load
from rllib_tactical.bench.measurement import Baseline, Row, summarize
from rllib_tactical.bench.requests import numbered
from rllib_tactical.bench.service_process import served
from rllib_tactical.bundle.bundle import Bundle, export_bundle

CHALLENGERS: Final = 2
TARGET: Final = 1.05
"""How much longer half of the decisions may take with challengers."""

WARM_UP: Final = 50
_FIRST_SEED: Final = 60_000_000


def challengers_of(bundle: Bundle, folder: Path) -> list[Path]:
    """Write bundles that decide otherwise than ``bundle``, for the same market."""
    return [
        export_bundle(
            folder / f"challenger-{number}",
            weights=bundle.weights,
            rules=bundle.rules,
            instrument=bundle.instrument,
            bar_seconds=bundle.bar_seconds,
            temperature_scale=bundle.temperature_scale * (2.0 + number),
            training={},
            metrics={},
        ).path
        for number in range(CHALLENGERS)
    ]


@contextmanager
def two_services(bundle: Bundle, folder: Path, config: Path) -> Iterator[tuple[str, str]]:
    """Yield the addresses of a service without challengers and of one with them."""
    rivals = [part for path in challengers_of(bundle, folder) for part in ("--challenger", path)]

    def arguments(name: str) -> list[str | Path]:
        state = folder / f"state-{name}"
        return ["--bundle", bundle.path, "--port", "0", "--config", config, "--state", state]

    with (
        served(arguments("alone")) as alone,
        served([*arguments("challenged"), *rivals]) as challenged,
    ):
        yield alone.url, challenged.url


def challenger_rows(
    urls: tuple[str, str],
    holds: Sequence[bytes],
    requests: int,
    rounds: int,
    progress: Callable[[str], None],
) -> Iterator[Row]:
    """Measure decisions of a service without challengers and of one with them, in turns.

    Args:
        urls: of both, which ask for no token.
        holds: bodies of ``POST /decide``.
        requests: of each round.
        rounds: how many there are of both.
        progress: called with the name of each measurement before it starts.
    """
    progress(f"{CHALLENGERS} challengers")
    found: tuple[list[LoadResult], list[LoadResult]] = ([], [])
    bodies = numbered(holds, _FIRST_SEED)
    for url in urls:
        send_load(url, itertools.islice(bodies, WARM_UP), 1)
    for _ in range(rounds):
        for url, results in zip(urls, found, strict=True):
            results.append(send_load(url, itertools.islice(bodies, requests), 1))
    note = f"{rounds} rounds of {requests} in turns"
    for share, target in ((0.5, 1.0 / TARGET), (0.95, None)):
        alone, beside = (summarize([each.quantile(share) for each in part]) for part in found)
        yield Row(
            name=f"decision p{share * 100:g} with {CHALLENGERS} challengers",
            unit="ms",
            measurement=beside,
            higher_is_better=False,
            baselines=(Baseline("no challenger", alone, note, target),),
        )
