"""A client that trades while a service is disturbed, and what became of its orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.paper import paper_session
from serve.api.responses import DecideAnswer, FillsAnswer
from serve.client import DecisionClient, ServiceAnswerError
from serve.client.calls import Call, Retries

GIVE_UP_S: Final = 180.0
"""After how long without an answer a request counts as lost."""

_PAUSE_S: Final = 0.05
_NOT_NOW: Final = (503, 404)
_HOLDS: Final = frozenset(
    {
        Reason.STATE_UNAVAILABLE.code,
        Reason.MODEL_LOADING.code,
        Reason.CLOCK_JUMPED.code,
    }
)
"""Answers that say that the service cannot decide now: ask again."""


@dataclass(slots=True)
class Trades:
    """What a session got: answers in the order of its requests.

    ``decided`` (decision id, action, order) by bar; ``booked`` (position, equity) after each report
    of fills; ``ordered`` ids of all answers that had an order, also of those asked for twice;
    ``lost`` requests that never got an answer; ``refused`` answers that no request should get.
    """

    decided: list[tuple[str, str, Any]] = field(default_factory=list)
    booked: list[tuple[float, float]] = field(default_factory=list)
    ordered: set[str] = field(default_factory=set)
    lost: int = 0
    refused: list[str] = field(default_factory=list)

    def wrong(self, reference: Trades) -> int:
        """Return how many answers are not those of an undisturbed session, refusals included."""
        pairs = [
            *zip(self.decided, reference.decided, strict=False),
            *zip(self.booked, reference.booked, strict=False),
        ]
        more = max(0, len(self.decided) - len(reference.decided))
        return sum(mine != theirs for mine, theirs in pairs) + more + len(self.refused)


class Trader:
    """Trades a history with a service, as long as ``stop`` is not called.

    Args:
        url: of the service; it may go away and come back there.
        history: the market.
        initial_equity: dollars of the account.
        pause_s: between two bars.
    """

    def __init__(
        self, url: str, history: MarketHistory, initial_equity: float, pause_s: float = 0.0
    ) -> None:
        self._url, self._pause_s = url, pause_s
        self._session = paper_session(history, initial_equity)
        self.trades = Trades()
        self._ended = threading.Event()
        # a daemon: a benchmark that is stopped does not wait for requests that nobody answers
        self._thread = threading.Thread(target=self._run, name="trader", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Trade in the background."""
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether there is something left to trade."""
        return self._thread.is_alive()

    def stop(self) -> Trades:
        """Stop after the request that is being made; return what came of all."""
        self._ended.set()
        return self.wait()

    def wait(self) -> Trades:
        """Return what came of all requests once the history is traded."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.trades

    def _run(self) -> None:
        try:
            with DecisionClient(self._url, timeout_s=10.0, retries=Retries()) as client:
                self._follow(client)
        except BaseException as error:
            self._error = error

    def _follow(self, client: DecisionClient) -> None:
        answer: Any = None
        while not self._ended.is_set():
            try:
                call = self._session.send(answer)
            except StopIteration:
                return
            answer = self._asked(client, call)
            if answer is None:
                return
            if isinstance(answer, DecideAnswer):
                decision = answer.decision
                order = msgspec.to_builtins(decision.execution_command)
                self.trades.decided.append((answer.decision_id, decision.action, order))
                time.sleep(self._pause_s)
            elif isinstance(answer, FillsAnswer):
                self.trades.booked.append((answer.position, answer.equity))

    def _asked(self, client: DecisionClient, call: Call[Any]) -> Any:
        """Return the answer to a call, asked until there is one; None when there never is."""
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            try:
                answer = client.make(call)
            except ServiceAnswerError as error:
                if error.status not in _NOT_NOW:
                    self.trades.refused.append(str(error))
                    return None
            except ServiceError:
                pass
            else:
                if not isinstance(answer, DecideAnswer):
                    return answer
                if answer.decision.execution_command is not None:
                    self.trades.ordered.add(answer.decision_id)
                if answer.decision.reason not in _HOLDS:
                    return answer
            time.sleep(_PAUSE_S)
        self.trades.lost += 1
        return None


class Prober:
    """Asks a service again and again whether it is ready, over a new connection each time.

    Args:
        ready: asks once.
    """

    def __init__(self, ready: Callable[[], bool], every_s: float = 0.02) -> None:
        self._ready, self._every_s = ready, every_s
        self._seen: list[tuple[float, bool]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def away_s(self, since: float, settle_s: float = 3.0, limit_s: float = 180.0) -> float:
        """Return for how long the service was away after ``since``, of ``time.monotonic``.

        Wait until it has been ready for ``settle_s``. A service that is away again counts from
        the first time on.
        """
        while time.monotonic() - since < limit_s:
            seen = [(at, ready) for at, ready in self._seen if at >= since]
            failed = [at for at, ready in seen if not ready]
            back = next(
                (at for at, ready in seen if ready and (not failed or at > failed[-1])), None
            )
            if back is not None and seen[-1][0] - max(back, since) >= settle_s:
                return back - since if failed else 0.0
            time.sleep(self._every_s)
        return limit_s

    def refused_s(self, since: float, until: float) -> float:
        """Return how long after ``since`` the service said for the first time that it is not ready.

        Without such an answer before ``until`` it is their difference.
        """
        return (
            min((at for at, ready in self._seen if at >= since and not ready), default=until)
            - since
        )

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            ready = self._ready()
            self._seen.append((time.monotonic(), ready))
