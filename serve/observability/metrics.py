"""Prometheus metrics of the service, summed over the replicas of a node.

prometheus_client keeps one file per process in ``PROMETHEUS_MULTIPROC_DIR``, so that every replica
can answer a scrape for all of them. Without that variable the metrics are those of one process.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
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


class Telemetry:
    """Counts and latencies of requests and decisions.

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
        self._inference = Histogram(
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
        self._confidence = Histogram(
            "tactical_model_confidence",
            "Confidence of the decisions",
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        stage = Histogram(
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
        self._actions: dict[tuple[str, str], Any] = {}
        self._totals = {self._lost: 0, self._load_failures: 0}

    def record_decision(self, decided: Decided) -> None:
        """Record one answered decision."""
        decision, breakdown = decided.answer.decision, decided.answer.agent_breakdown
        for child, took_ms in zip(self._stages, decided.stages_ms, strict=True):
            child.observe(took_ms / 1e3)
        self._inference.observe(decided.stages_ms[STAGES.index("inference")] / 1e3)
        self._confidence.observe(decision.confidence)
        self._count_action(decision.action, ENSEMBLE)
        for agent in AGENTS:
            self._count_action(getattr(breakdown, agent).label, agent)
        for name in decided.breaches:
            self._breaches[name].inc()
        if decided.fallback:
            self._fallbacks.inc()
        if decided.answer.warnings:
            self._unknown_synergies.inc()
        self._window.add_decision(
            self._clock(), decided.stages_ms, decision.confidence, decided.fallback
        )

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
        self._requests.labels(endpoint, str(status)).inc()

    def recent(self) -> Recent:
        """Return counts and latencies of the last hour, over all replicas of this node."""
        return self._window.recent(self._clock())

    def scrape(self, state: Collector | None = None) -> bytes:
        """Return all metrics in Prometheus' text format, with those of the ``state``."""
        registry, shown = self._registry, CollectorRegistry()
        if self._folder is not None:
            registry = CollectorRegistry()
            # prometheus_client leaves its multiprocess module without types
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        if state is not None:
            shown.register(state)
        return generate_latest(registry) + generate_latest(shown)

    def _count_action(self, action: str, agent: str) -> None:
        child = self._actions.get((action, agent))
        if child is None:
            child = self._actions[action, agent] = self._decisions.labels(action, agent)
        child.inc()
