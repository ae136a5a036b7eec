"""Prometheus metrics of the service, summed over the replicas of a node.

prometheus_client keeps one file per process in ``PROMETHEUS_MULTIPROC_DIR``, so that every replica
can answer a scrape for all of them. Without that variable the metrics are those of one process.

A counter in such a file costs microseconds, and a decision has some twenty. So answers are counted
together, soon after they were sent: the other replicas see them ``FLUSH_S`` later at most.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rllib_tactical.domain.types import AGENTS
from serve.api.operations import WRITES
from serve.bus.status import OUTCOMES
from serve.decision.decider import STAGES, Decided
from serve.observability.latency_window import DecisionWindow, Recent

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
LATENCY_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)
STAGE_BUCKETS: Final = (0.0001, 0.00025, 0.0005, *LATENCY_BUCKETS)
CONFIDENCE_BUCKETS: Final = tuple(round(0.1 * i, 1) for i in range(11))
ENSEMBLE: Final = "ensemble"
FLUSH_S: Final = 0.25
"""How long an answer may wait to be counted."""

BATCH: Final = 64
"""Answers that are counted together at most."""


def share_metrics(folder: Path) -> None:
    """Keep the metrics that this process makes from now on in files of ``folder``.

    As ``PROMETHEUS_MULTIPROC_DIR`` does, which prometheus_client reads only when it is imported.
    """
    os.environ[MULTIPROCESS_VARIABLE] = str(folder)
    # prometheus_client leaves this function without types
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


class BatchedHistogram(Histogram):
    """A histogram that takes many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe all ``amounts``; each bucket is written once."""
        self._sum.inc(sum(amounts))
        found = Tally(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for place, count in found.items():
            self._buckets[place].inc(count)


class Telemetry:
    """Counts and latencies of requests and decisions. All methods run on one thread.

    What is recorded of answers waits until ``flush``, which whoever reads here calls as well.

    Args:
        folder: the node's telemetry folder, which must also be ``PROMETHEUS_MULTIPROC_DIR`` of the
            process; None for a single process.
        clock: returns the epoch time in seconds.
    """

    def __init__(self, folder: Path | None = None, clock: Any = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._window = DecisionWindow(folder)
        self._registry = registry = CollectorRegistry()
        self._inference = BatchedHistogram(
            "tactical_inference_latency_seconds",
            "Time that one decision waits for the three actors",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._decisions = Counter(
            "tactical_decisions",
            "Decisions by action, of each agent and of the ensemble",
            ["action_type", "agent"],
            registry=registry,
        )
        self._confidence = BatchedHistogram(
            "tactical_model_confidence",
            "Confidence of the decisions",
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        stage = BatchedHistogram(
            "tactical_stage_latency_seconds",
            "Time per stage of a decision",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        breaches = Counter(
            "tactical_latency_budget_breaches",
            "Decisions whose stage took longer than its budget",
            ["stage"],
            registry=registry,
        )
        self._requests = Counter(
            "tactical_requests",
            "Answers by endpoint and status",
            ["endpoint", "status"],
            registry=registry,
        )
        self._failed_writes = Counter(
            "tactical_failed_writes",
            "Bars, fills, accounts, operator's orders and bundles that could not be written",
            ["endpoint"],
            registry=registry,
        )
        self._unknown_synergies = Counter(
            "tactical_unknown_synergies",
            "Decisions with a synergy of an unknown type",
            registry=registry,
        )
        self._lost = Counter(
            "tactical_decisions_lost",
            "Decisions that are missing from the journal",
            registry=registry,
        )
        self._load_failures = Counter(
            "tactical_model_load_failures",
            "Attempts of a replica to load the chosen bundle that failed",
            registry=registry,
        )
        self._fallbacks = Counter(
            "tactical_fallback_decisions",
            "Decisions by the rule-based fallback because the actors failed",
            registry=registry,
        )
        self._bus_entries = Counter(
            "tactical_bus_entries",
            "Entries of the bus by what came of them",
            ["outcome"],
            registry=registry,
        )
        for operation in WRITES:  # a rule that looks for an increase needs the zero before it
            self._failed_writes.labels(operation.path)
        for outcome in OUTCOMES:
            self._bus_entries.labels(outcome)
        # looked up once: finding a labeled metric costs more than recording a value
        self._stages = [stage.labels(name) for name in STAGES]
        self._breaches = {name: breaches.labels(name) for name in STAGES}
        self._totals = {self._lost: 0, self._load_failures: 0}
        self._answered: Tally[tuple[str, str]] = Tally()
        self._decided: list[tuple[float, Decided]] = []

    def record_decision(self, decided: Decided) -> None:
        """Record one answered decision."""
        self._decided.append((self._clock(), decided))
        if len(self._decided) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count the answers that wait for it."""
        answered, self._answered = self._answered, Tally()
        for (endpoint, status), count in answered.items():
            self._requests.labels(endpoint, status).inc(count)
        decided, self._decided = self._decided, []
        if decided:
            self._count_decisions([each for _, each in decided])
        for at_s, each in decided:
            confidence = each.answer.decision.confidence
            self._window.add_decision(at_s, each.stages_ms, confidence, each.fallback)

    def _count_decisions(self, batch: Sequence[Decided]) -> None:
        by_stage = zip(*(decided.stages_ms for decided in batch), strict=True)
        for name, child, took_ms in zip(STAGES, self._stages, by_stage, strict=True):
            took_s = [ms / 1e3 for ms in took_ms]
            child.observe_all(took_s)
            if name == "inference":
                self._inference.observe_all(took_s)
        self._confidence.observe_all([each.answer.decision.confidence for each in batch])
        actions: Tally[tuple[str, str]] = Tally()
        for each in batch:
            actions[each.answer.decision.action, ENSEMBLE] += 1
            for agent in AGENTS:
                actions[getattr(each.answer.agent_breakdown, agent).label, agent] += 1
        for (action, agent), count in actions.items():
            self._decisions.labels(action, agent).inc(count)
        for name, count in Tally(name for each in batch for name in each.breaches).items():
            self._breaches[name].inc(count)
        self._fallbacks.inc(sum(each.fallback for each in batch))
        self._unknown_synergies.inc(sum(bool(each.answer.warnings) for each in batch))

    def record_totals(self, lost: int, load_failures: int) -> None:
        """Take over what this process has counted since its start."""
        for counter, total in ((self._lost, lost), (self._load_failures, load_failures)):
            if total > self._totals[counter]:
                counter.inc(total - self._totals[counter])
                self._totals[counter] = total

    def record_bus(self, outcome: str) -> None:
        """Record what came of one entry of the bus."""
        self._bus_entries.labels(outcome).inc()

    def record_error(self) -> None:
        """Record one request that the service failed to answer."""
        self._window.add_error(self._clock())

    def record_write(self, endpoint: str, failed: bool) -> None:
        """Record a change of the state that was written, or that could not be."""
        if failed:
            self._failed_writes.labels(endpoint).inc()
            self._window.add_error(self._clock())
        else:
            self._window.add_write(self._clock())

    def record_request(self, endpoint: str, status: int) -> None:
        """Record one answer. ``endpoint`` is a known path, or ``other``."""
        self._answered[endpoint, str(status)] += 1

    def recent(self) -> Recent:
        """Return counts and latencies of the last hour, over all replicas of this node."""
        self.flush()
        return self._window.recent(self._clock())

    def scrape(self, state: Collector | None = None) -> bytes:
        """Return all metrics in Prometheus' text format, with those of the ``state``."""
        self.flush()
        registry, shown = self._registry, CollectorRegistry()
        if self._folder is not None:
            registry = CollectorRegistry()
            # prometheus_client leaves its multiprocess module without types
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        if state is not None:
            shown.register(state)
        return generate_latest(registry) + generate_latest(shown)
