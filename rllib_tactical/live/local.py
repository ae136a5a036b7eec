"""The service in this process: the same state and decisions, without HTTP, Ray and a store.

It takes the calls that ``DecisionClient`` makes and gives the same answers, so that whoever trades
(the paper session, a gateway) is written once. Bars, fills and the account live in memory: a
gateway reconciles them with the broker at its start, a paper session has them in its log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.errors import ServiceError
from serve.api import operations
from serve.api.errors import RequestError
from serve.api.operations import Operation
from serve.api.responses import (
    AccountAnswer,
    BarsAnswer,
    DecideAnswer,
    FillsAnswer,
    OverrideAnswer,
)
from serve.api.write_requests import (
    AccountRequest,
    BarsRequest,
    FillsRequest,
    OverrideRequest,
    read_body,
)
from serve.client.calls import Call, ServiceAnswerError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.state.answers import account_answer, bars_answer, fills_answer
from serve.state.machine import StateMachine
from serve.state.records import model_record

REPLAY: Final = ServiceConfig(live_bars=False)
"""Bars are of a file: their age counts from their arrival."""

AnswerT = TypeVar("AnswerT")


class LocalService:
    """Decides with one bundle on the bars and fills that it is sent.

    Args:
        bundle: verified policy bundle.
        service: ``live_bars`` and ``max_bar_age_s`` of it count.
        clock: epoch time in seconds.

    Raises:
        BundleError: the bundle's model cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle,
        service: ServiceConfig = REPLAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._clock = service, clock
        self._machine = StateMachine(model_record(bundle, live_bars=service.live_bars))
        self._decider = Decider(bundle, PerformanceConfig())
        self._decider.warm_up()
        self._seen: tuple[int, RiskState] | None = None
        self._handlers: dict[Operation[Any], Callable[[bytes], Any]] = {
            operations.DECIDE: self._decide,
            operations.BARS: self._bars,
            operations.FILLS: self._fills,
            operations.ACCOUNT: self._account,
            operations.OVERRIDE: self._override,
        }

    def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call and return its answer.

        Raises:
            ServiceAnswerError: the request is refused, as the service would refuse it.
            ServiceError: an operation that needs the service itself.
        """
        handler = self._handlers.get(call.operation)
        if handler is None:
            known = ", ".join(operation.path for operation in self._handlers)
            raise ServiceError(f"{call} needs a running service; here there are {known}")
        try:
            answer: AnswerT = handler(call.content())
        except RequestError as error:
            raise ServiceAnswerError(
                error.status, error.code, error.message, error.field
            ) from error
        return answer

    def account(self) -> Account:
        """Return the account as of the last fill and the last bar."""
        return self._machine.snapshot().account

    def _decide(self, body: bytes) -> DecideAnswer:
        return self._decider.answer(body, self._state(), None, self._clock()).answer

    def _bars(self, body: bytes) -> BarsAnswer:
        record, plan = self._machine.check_bars(read_body(body, BarsRequest), self._clock())
        if record is not None:
            self._machine.apply(record)
        return bars_answer(self._machine, plan)

    def _fills(self, body: bytes) -> FillsAnswer:
        record, plan = self._machine.check_fills(read_body(body, FillsRequest), self._clock())
        if record is not None:
            self._machine.apply(record)
        return fills_answer(self._machine, plan)

    def _account(self, body: bytes) -> AccountAnswer:
        request = read_body(body, AccountRequest)
        before = self._machine.snapshot().account
        record = self._machine.check_account(request, self._clock())
        if record is not None:
            self._machine.apply(record)
        return account_answer(self._machine, request, before, record is not None)

    def _override(self, body: bytes) -> OverrideAnswer:
        record = self._machine.check_control(read_body(body, OverrideRequest), self._clock())
        if record is not None:
            self._machine.apply(record)
        machine = self._machine
        control = machine.of().control
        return OverrideAnswer(control, repeated=record is None, version=machine.version)

    def _state(self) -> RiskState:
        version = self._machine.version
        if self._seen is None or self._seen[0] != version:
            self._seen = version, RiskState.of(self._machine.snapshot(), self._service)
        return self._seen[1]
