"""The recent past of decisions: latencies of the last 1,000, counts per minute of the last hour.

Each replica writes a file of its own in the node's telemetry folder and every replica can read all
of them, so ``/health`` reports the same whichever replica answers. There are no locks: a record
that is read while it is written gives one wrong sample in a thousand, which a health report
tolerates.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.types import FloatArray

SAMPLES: Final = 1000
MINUTES: Final = 60
_SUFFIX: Final = ".window"

_LAYOUT: Final = np.dtype(
    [
        ("written", np.int64),
        ("time_s", np.float64, (SAMPLES,)),
        ("stages_ms", np.float64, (SAMPLES, 4)),
        ("minute", np.int64, (MINUTES,)),
        ("decisions", np.int64, (MINUTES,)),
        ("fallbacks", np.int64, (MINUTES,)),
        ("writes", np.int64, (MINUTES,)),
        ("errors", np.int64, (MINUTES,)),
        ("confidence", np.float64, (MINUTES,)),
    ]
)


@dataclass(frozen=True, slots=True)
class Recent:
    """The last hour. ``stages_ms`` (N, 4): the last N <= 1,000 decisions in milliseconds.

    ``fallbacks`` are the decisions made without the actors; ``writes`` the bars, fills and orders
    that were taken in; ``errors`` are requests that the service failed to answer or to write
    (refused input is not among them). ``last_decision_s`` is an epoch time.
    """

    stages_ms: FloatArray
    decisions: int
    fallbacks: int
    writes: int
    errors: int
    confidence_sum: float
    last_decision_s: float | None

    @property
    def avg_confidence(self) -> float | None:
        """Mean confidence of the decisions, None when there was none."""
        return self.confidence_sum / self.decisions if self.decisions else None

    @property
    def model_error_rate(self) -> float:
        """Share of decisions that the actors could not make."""
        return self.fallbacks / max(1, self.decisions)

    @property
    def service_error_rate(self) -> float:
        """Share of well-formed requests, decisions and writes, that failed."""
        return self.errors / max(1, self.decisions + self.writes + self.errors)


class DecisionWindow:
    """The part of the past that this process writes.

    Args:
        folder: the node's telemetry folder; None keeps the window in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._record: NDArray[Any]
        if folder is None:
            self._record = np.zeros(1, dtype=_LAYOUT)
        else:
            path = folder / f"{os.getpid()}{_SUFFIX}"
            self._record = np.memmap(path, dtype=_LAYOUT, mode="w+", shape=(1,))

    def add_decision(
        self, now_s: float, stages_ms: Sequence[float], confidence: float, fallback: bool
    ) -> None:
        """Count one decision made at epoch time ``now_s``."""
        record = self._record[0]
        slot = int(record["written"]) % SAMPLES
        record["time_s"][slot] = now_s
        record["stages_ms"][slot] = stages_ms
        record["written"] += 1
        place = self._minute(now_s)
        record["decisions"][place] += 1
        record["fallbacks"][place] += fallback
        record["confidence"][place] += confidence

    def add_write(self, now_s: float) -> None:
        """Count one change of the state that was written."""
        self._record[0]["writes"][self._minute(now_s)] += 1

    def add_error(self, now_s: float) -> None:
        """Count one request that the service failed to answer or to write."""
        self._record[0]["errors"][self._minute(now_s)] += 1

    def recent(self, now_s: float) -> Recent:
        """Return the last hour of all replicas on this node."""
        records = [self._record, *self._others()]
        last = int(now_s // 60)
        decisions = fallbacks = writes = errors = 0
        confidence = 0.0
        times, stages = [], []
        for record in (part[0] for part in records):
            live = record["minute"] > last - MINUTES
            decisions += int(record["decisions"][live].sum())
            fallbacks += int(record["fallbacks"][live].sum())
            writes += int(record["writes"][live].sum())
            errors += int(record["errors"][live].sum())
            confidence += float(record["confidence"][live].sum())
            count = min(int(record["written"]), SAMPLES)
            times.append(record["time_s"][:count])
            stages.append(record["stages_ms"][:count])
        all_times, all_stages = np.concatenate(times), np.concatenate(stages)
        newest = np.argsort(all_times)[-SAMPLES:]
        return Recent(
            stages_ms=all_stages[newest],
            decisions=decisions,
            fallbacks=fallbacks,
            writes=writes,
            errors=errors,
            confidence_sum=confidence,
            last_decision_s=float(all_times.max()) if len(all_times) else None,
        )

    def _minute(self, now_s: float) -> int:
        """Return the slot of the current minute, emptied when it still holds an older one."""
        minute = int(now_s // 60)
        place = minute % MINUTES
        record = self._record[0]
        if record["minute"][place] != minute:
            record["minute"][place] = minute
            for name in ("decisions", "fallbacks", "writes", "errors", "confidence"):
                record[name][place] = 0
        return place

    def _others(self) -> list[NDArray[Any]]:
        if self._folder is None:
            return []
        own = f"{os.getpid()}{_SUFFIX}"
        found: list[NDArray[Any]] = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path.name != own and path.stat().st_size == _LAYOUT.itemsize:
                found.append(np.memmap(path, dtype=_LAYOUT, mode="r", shape=(1,)))
        return found
