"""From a checked request to the answer: features, actors, votes, decision, order. No HTTP, no Ray.

Every number comes from the functions that backtest and training use; this module only converts.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter, time
from typing import Final

import numpy as np
from msgspec import UNSET

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import LogitsEngine, logits_in_batches
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.calendar.sessions import MarketClock
from rllib_tactical.data.synergy_events import DETECT, UNKNOWN_TYPE
from rllib_tactical.domain.decision.override import Control, apply_override, override_for
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView, RiskConfig
from rllib_tactical.domain.decision.votes import Votes, softmax
from rllib_tactical.domain.features.synergy import NO_SYNERGY
from rllib_tactical.domain.features.table import network_input
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.domain.types import (
    NUM_FEATURES,
    UNKNOWN_SYNERGY,
    WINDOW,
    FloatArray,
    Instrument,
    Reason,
)
from serve.api.decide_request import (
    AskedRequest,
    BarWindow,
    DecideInput,
    OverrideParams,
    checked_request,
    parse_request,
)
from serve.api.errors import RequestError
from serve.api.responses import DecideAnswer, Source, Timing
from serve.decision.answer_parts import breakdown_of, decision_part
from serve.decision.bar_logits import BarLogits
from serve.decision.casting import cast_votes
from serve.decision.risk_state import RiskState

_LOG = logging.getLogger(__name__)

STAGES: Final = ("matrix", "inference", "aggregation", "total")
Stages = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a decision depends on besides its request and the bundle.

    ``at_s``: epoch time. ``account`` (N = 1) at the request's price; ``after_gap``: bars are
    missing so shortly before that it holds; ``control``: the operator's order; ``data_issue``: why
    the state or the bars cannot be trusted, None when they can.
    """

    at_s: float
    account: AccountView
    after_gap: bool
    control: Control
    data_issue: Reason | None


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer, and what metrics, logs and the journal of decisions need beside it.

    ``stages_ms`` has the milliseconds of ``STAGES``; ``breaches`` names the stages over budget;
    ``fallback``: the actors failed and the rule-based votes answered. The answer follows from
    ``request``, ``given``, ``fallback`` and the bundle.
    """

    answer: DecideAnswer
    stages_ms: Stages
    breaches: tuple[str, ...]
    fallback: bool
    request: DecideInput
    given: Circumstances

    @property
    def orders(self) -> bool:
        """Whether the answer has an order."""
        return self.answer.decision.execution_command is not None


class Decider:
    """Decides with one bundle.

    Args:
        bundle: verified policy bundle.
        performance: latency budgets of the stages.
        engine: the actors; by default the bundle's own ONNX engine.

    Raises:
        BundleError: the bundle's model cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle,
        performance: PerformanceConfig,
        engine: LogitsEngine | None = None,
    ) -> None:
        self.bundle = bundle
        self._engine = engine if engine is not None else bundle.engine()
        self._of_bars = BarLogits(self._engine)
        self._base_quantity = float(bundle.instrument.base_quantity or 0.0)
        self._budgets = performance.latency_targets.by_stage_ms
        self._identity = bundle.bundle_id.encode()
        self._clock = MarketClock(bundle.instrument)
        self._detects = bundle.synergies == DETECT

    def warm_up(self) -> None:
        """Run the actors and look at the calendar once, so that no request pays for the first."""
        self._clock.is_open(time())
        blank = np.zeros((1, WINDOW, NUM_FEATURES), dtype=np.float32)
        softmax(logits_in_batches(self._engine, blank), self.bundle.temperature_scale)

    def prepare(self, state: RiskState) -> None:
        """Compute the actors' logits on the bars of a state, so that no decision waits for them."""
        market = state.market
        if market is not None and market.ready and state.matrix is not None:
            self._of_bars.prepare(state.matrix, market.price, market.atr)

    def answer(
        self, body: bytes, state: RiskState, hold: Reason | None = None, now_s: float | None = None
    ) -> Decided:
        """Read a request body and decide; see ``decide``.

        Raises:
            RequestError: the body is refused, see ``parse_request``; 409 when a decision by symbol
                has too few bars.
        """
        start = perf_counter()
        asked = parse_request(body)
        asked.require_symbol((self.bundle.instrument.symbol,))
        return self.answer_asked(asked, state, hold, now_s, start)

    def answer_asked(
        self,
        asked: AskedRequest,
        state: RiskState,
        hold: Reason | None = None,
        now_s: float | None = None,
        start: float | None = None,
    ) -> Decided:
        """Check a decoded request for the bundle's symbol and decide; see ``decide``.

        Raises:
            RequestError: see ``checked_request``; 409 when a decision by symbol has too few bars.
        """
        start = perf_counter() if start is None else start
        request = checked_request(asked, self._base_quantity, lambda: self.window(state))
        return self.decide(request, state, hold, now_s, start)

    def decide(
        self,
        request: DecideInput,
        state: RiskState,
        hold: Reason | None = None,
        now_s: float | None = None,
        start: float | None = None,
    ) -> Decided:
        """Decide on a checked request.

        Args:
            request: from ``checked_request``.
            state: the risk state to decide on.
            hold: why the answer has to be hold: that state, or its bundle, may not be current.
            now_s: epoch time of the decision; the clock's when omitted.
            start: ``perf_counter`` at which work on the request began; now when omitted.
        """
        start = perf_counter() if start is None else start
        return self.decide_under(request, self._circumstances(request, state, hold, now_s), start)

    def decide_under(
        self,
        request: DecideInput,
        given: Circumstances,
        start: float | None = None,
        fallback: bool = False,
    ) -> Decided:
        """Decide on a checked request under given circumstances: now, or again for a replay.

        Args:
            request: from ``checked_request``.
            given: what else the decision depends on.
            start: ``perf_counter`` at which work on the request began; now when omitted.
            fallback: let the rule-based votes answer, as when the actors fail.
        """
        start = perf_counter() if start is None else start
        digest = hashlib.sha256(request.canonical).digest()
        logits = self._logits_of(request)
        matrix_done = perf_counter()

        agent_probabilities = None if fallback else self._probabilities(logits, request.overrides)
        inference_done = perf_counter()

        votes = cast_votes(agent_probabilities, request, digest)
        account, after_gap = given.account, given.after_gap
        decision = self.decision_of(votes, request, given)
        override = override_for(given.control, account, given.data_issue)
        if override is not None:
            decision = apply_override(decision, account, override)
        aggregation_done = perf_counter()

        source: Source = "policy" if agent_probabilities is not None else "fallback"
        if override is not None and override.operator:
            source = "override"
        above = override.reason if override is not None else Reason.DATA_GAP if after_gap else None
        decision_id = self._decision_id(digest, account, source, above)
        bundle_id = self.bundle.bundle_id
        part = decision_part(decision, request, votes, source, decision_id, bundle_id)
        breakdown = breakdown_of(agent_probabilities, votes, request.matrix)
        stages_ms = (
            (matrix_done - start) * 1e3,
            (inference_done - matrix_done) * 1e3,
            (aggregation_done - inference_done) * 1e3,
            (perf_counter() - start) * 1e3,
        )
        return Decided(
            answer=DecideAnswer(
                decision=part,
                agent_breakdown=breakdown,
                timing=Timing(*(round(took_ms, 4) for took_ms in stages_ms)),
                source=source,
                decision_id=decision_id,
                bundle_id=bundle_id,
                warnings=[UNKNOWN_TYPE] if request.synergy_kind == UNKNOWN_SYNERGY else [],
            ),
            stages_ms=stages_ms,
            breaches=self._breaches(stages_ms),
            fallback=agent_probabilities is None,
            request=request,
            given=given,
        )

    def window(self, state: RiskState) -> BarWindow:
        """Return the last bars in a state, with the synergy where the bundle's are detected.

        Raises:
            RequestError: 409 while there are fewer bars than a decision needs.
        """
        return bar_window(state, self._detects)

    def votes(
        self, request: DecideInput, fallback: bool = False
    ) -> tuple[FloatArray | None, Votes]:
        """Return the actors' probabilities (1, 3, 3), None for the fallback, and the votes."""
        logits = self._logits_of(request)
        found = None if fallback else self._probabilities(logits, request.overrides)
        return found, cast_votes(found, request, hashlib.sha256(request.canonical).digest())

    def rules_of(self, request: DecideInput) -> Rules:
        """Return the rules of a decision: the bundle's, and what the request overrides."""
        return _rules(self.bundle.rules, request.overrides)

    def decision_of(
        self,
        votes: Votes,
        request: DecideInput,
        given: Circumstances,
        risk: RiskConfig | None = None,
    ) -> Decision:
        """Return the decision (N = 1) that votes lead to before any override.

        ``risk``: limits to explain others by, None for the bundle's.
        """
        rules = self.rules_of(request)
        return decide(
            votes,
            MarketSnapshot(
                price=np.array([request.price]),
                atr=np.array([request.atr]),
                synergy_kind=np.array([request.synergy_kind]),
                synergy_direction=np.array([request.synergy_direction]),
                after_gap=np.array([True]) if given.after_gap else None,
            ),
            given.account,
            _instrument(self.bundle.instrument, request.overrides),
            rules if risk is None else replace(rules, risk=risk),
        )

    def _circumstances(
        self, request: DecideInput, state: RiskState, hold: Reason | None, now_s: float | None
    ) -> Circumstances:
        now_s = time() if now_s is None else now_s
        risk = self.bundle.rules.risk
        data_issue = hold
        if hold is None:
            found = state.data_issue_of(now_s, self.bundle.bar_seconds)
            # a request has a matrix of its own, but the account is marked by the service's bars
            data_issue = found if request.from_bars or found is not Reason.DATA_STALE else None
        tradable = state.tradable(now_s, self._clock, request.from_bars)
        return Circumstances(
            at_s=now_s,
            account=state.view(request.price, tradable, self.bundle.instrument.point_value, risk),
            after_gap=request.from_bars and state.after_gap(risk),
            control=state.control,
            data_issue=data_issue,
        )

    def _breaches(self, stages_ms: Stages) -> tuple[str, ...]:
        """Return the stages that took longer than their budgets."""
        measured = zip(STAGES, stages_ms, self._budgets, strict=True)
        return tuple(stage for stage, took_ms, budget_ms in measured if took_ms > budget_ms)

    def _logits_of(self, request: DecideInput) -> Callable[[], FloatArray]:
        """Return what gives the actors' logits (1, 3, 3) for a request."""
        if request.from_bars:
            kept = self._of_bars.find(request.matrix, request.price, request.atr)
            if kept is not None:
                return lambda: kept
        price, atr = np.array([request.price]), np.array([request.atr])
        inputs = network_input(request.matrix[None], price, atr)
        return lambda: logits_in_batches(self._engine, inputs)

    def _probabilities(
        self, logits: Callable[[], FloatArray], overrides: OverrideParams
    ) -> FloatArray | None:
        """Return the actors' probabilities (1, 3, 3), None when the actors fail."""
        scale = self.bundle.temperature_scale
        if overrides.temperature is not UNSET:
            scale *= overrides.temperature
        try:
            return softmax(logits(), scale)
        except Exception:
            # whatever an engine raises, the rule-based votes can still answer
            _LOG.exception("the actors failed, the rule-based fallback answers")
            return None

    def _decision_id(
        self, digest: bytes, account: AccountView, source: str, above: Reason | None
    ) -> str:
        """Return the SHA-256 (hex) of request, bundle and risk state: a replay gives the same."""
        reason = "" if above is None else above.code
        sha = hashlib.sha256(digest + self._identity + source.encode() + reason.encode())
        for name in AccountView.__dataclass_fields__:
            if (values := getattr(account, name)) is not None:
                sha.update(values.tobytes())
        return sha.hexdigest()


def bar_window(state: RiskState, detects: bool) -> BarWindow:
    """Return the last bars that the service was sent, with the synergy where it is detected.

    Raises:
        RequestError: 409 while there are fewer bars than a decision needs.
    """
    market = state.market
    if market is None or not market.ready or state.matrix is None:
        found = 0 if market is None else market.bars
        raise RequestError(
            409,
            "not_ready",
            f"matrix_state: without it {EMBARGO_BARS} bars have to be sent to /bars, found {found}",
            "matrix_state",
        )
    synergy = market.synergy if detects else NO_SYNERGY
    return BarWindow(state.matrix, market.price, market.atr, synergy)


def _instrument(instrument: Instrument, overrides: OverrideParams) -> Instrument:
    if overrides.base_quantity is UNSET:
        return instrument
    return replace(instrument, base_quantity=overrides.base_quantity)


def _rules(rules: Rules, overrides: OverrideParams) -> Rules:
    if overrides.execution_threshold is UNSET:
        return rules
    aggregation = replace(rules.aggregation, execution_threshold=overrides.execution_threshold)
    return replace(rules, aggregation=aggregation)
