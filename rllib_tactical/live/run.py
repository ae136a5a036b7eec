"""From a request to a report: trade bars with a service, or with a bundle in this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.output_folder import ResumableOutput
from rllib_tactical.backtest.comparison import Comparison, compare_result
from rllib_tactical.backtest.report.writer import write_session
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.request import decision_range, describe, facts_of
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.backtest.targets import targets_with
from rllib_tactical.backtest.training_overlap import seen_in_training
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.dataset import Dataset, DataSource, load_dataset
from rllib_tactical.data.interpret.interpretation import warning_notes
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import UsageError
from rllib_tactical.live.local import LocalService
from rllib_tactical.live.log import LOG, Decided, SessionHead, SessionLog
from rllib_tactical.live.market import FollowedFile, Market, Spool, WholeMarket
from rllib_tactical.live.paper import PaperResult, PaperSession, follow
from rllib_tactical.live.result import session_result
from rllib_tactical.live.terms import Terms
from serve.api.responses import DecideAnswer
from serve.client.calls import Blocking, Retries
from serve.client.http import DecisionClient

KIND: Final = "paper"
SPOOLED: Final = "bars.csv"
"""Where bars from standard input or a bus are kept, in the folder of the session."""

PATIENT: Final = Retries(count=40)
"""About a minute: a service that is started again meanwhile does not end the session."""

PAPER_OUTPUT: Final = ResumableOutput(name="paper session", marker=LOG)

Update = Callable[[str, float], None]
"""Told what is being done and which share of it, 0..1, is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRequest:
    """What to trade, with whom, and where the results go.

    ``url`` names a running service and ``token`` opens it; without a URL the bundle decides in this
    process. ``data`` is None for standard input, or where a ``bus`` has the bars. ``follow``: the
    file grows. ``speed``: how many times as fast as the market, 0 for as fast as possible.
    ``start_s`` and ``stop_s`` are UTC epoch seconds, as of a backtest.
    """

    bundle: Bundle | None
    url: str | None
    data: Path | None
    out: Path
    bus: str | None = None
    token: str | None = None
    synergies: str | None = None
    options: ReadOptions = AS_FOUND
    follow: bool = False
    speed: float = 0.0
    start_s: int | None = None
    stop_s: int | None = None
    resume: bool = False
    seed: int = 0
    with_baselines: bool = True
    with_statistics: bool = True

    def __post_init__(self) -> None:
        if self.bundle is None and self.url is None:
            raise UsageError("give --bundle, --url of a running service, or both")
        if self.grows and (self.stop_s is not None or self.speed):
            raise UsageError("--stop and --speed are for a file that does not grow")

    @property
    def grows(self) -> bool:
        """Whether bars come as they close."""
        return self.follow or self.data is None


@dataclass(frozen=True, slots=True)
class PaperOutcome:
    """A session's comparison with the baselines, and what report and config.json say of it."""

    comparison: Comparison
    context: ReportContext
    config: dict[str, Any]


def run_paper(request: PaperRequest, update: Update = lambda what, share: None) -> PaperOutcome:
    """Trade, write log and report to ``request.out``, and return what came of it.

    Whoever is interrupted goes on with ``resume``.

    Raises:
        TacticalError: the bars, the bundle, the service or the folder cannot be used.
    """
    if not (request.resume and request.grows and (request.out / SPOOLED).is_file()):
        # whose first decision was not reached has no log yet
        PAPER_OUTPUT.require(request.out, resume=request.resume)
    with ExitStack() as stack:
        client: Blocking | None = None
        if request.url is not None:
            client = DecisionClient(request.url, token=request.token, retries=PATIENT)
            stack.callback(client.close)
        is_remote = client is not None
        terms = _terms(request)
        update("bars", 0.0)
        feed = _Feed(request, terms)
        market, first = feed.market()
        history = market.history
        log = SessionLog(
            request.out,
            SessionHead(
                bundle_id=terms.bundle_id,
                symbol=terms.instrument.symbol,
                bar_seconds=terms.bar_seconds,
                initial_equity=terms.rules.risk.initial_equity,
                first_s=int(history.bars.timestamp_s[first]),
            ),
        )
        stack.callback(log.close)

        def record(t: int, answer: DecideAnswer) -> None:
            bars = market.history.bars
            # a service goes on without this process; one in it is made again from the log
            durable = is_remote and answer.decision.execution_command is not None
            log.add(Decided(int(bars.timestamp_s[t]), float(bars.close[t]), answer), durable)
            update("paper session", (t + 1 - first) / max(1, len(bars) - first))

        session = PaperSession(
            market=market,
            initial_equity=terms.rules.risk.initial_equity,
            first=first,
            rules=terms.rules,
            rewards=terms.rewards,
            bar_seconds=terms.bar_seconds,
            known=_known(log, history),
            remembers=is_remote,
            reconciles=is_remote,
            is_replay=not request.grows,
            record=record,
        )
        if client is None and request.bundle is not None:
            client = LocalService(request.bundle)
        if client is None:
            raise UsageError("give --bundle, --url of a running service, or both")
        paper = follow(client, session.calls())
    return _report(request, terms, feed.dataset, paper, update)


def _terms(request: PaperRequest) -> Terms:
    told = None
    if request.url is not None:
        with DecisionClient(request.url, token=request.token) as client:
            told = client.model()
    if request.bundle is not None:
        terms = Terms.of_bundle(request.bundle)
        if told is not None:
            terms.require_same(told)
        return terms
    if told is None:
        raise UsageError("give --bundle, --url of a running service, or both")
    return Terms.of_service(told)


class _Feed:
    """Where the bars come from; ``dataset`` is what was read of them last."""

    def __init__(self, request: PaperRequest, terms: Terms) -> None:
        self._request, self._terms = request, terms
        self._spool: Spool | None = None
        path = request.data
        if path is None:
            request.out.mkdir(parents=True, exist_ok=True)
            path = request.out / SPOOLED
            lines = None
            if request.bus is not None:
                # it needs the extra redis
                from rllib_tactical.live.bus_bars import BusBars

                lines = BusBars(request.bus, terms.instrument, terms.bar_seconds, path)
            self._spool = Spool(path, lines)
            # a header, and what a first decision and its fill need
            self._spool.wait_for(362)
        self._source = self._source_of(path)
        self.dataset: Dataset

    def market(self) -> tuple[Market, int]:
        """Return the market, and the bar of the first decision."""
        request, bar_seconds = self._request, self._terms.bar_seconds
        history = self._load()
        start, stop = decision_range(
            history.bars, history.first_decision, request.start_s, request.stop_s
        )
        if not request.grows:
            pace_s = bar_seconds / request.speed if request.speed else 0.0
            return WholeMarket(history, stop, pace_s), start
        ended = (lambda: False) if self._spool is None else self._spool.ended.is_set
        return FollowedFile(self._source.path, self._load, bar_seconds, ended), start

    def _load(self) -> MarketHistory:
        self.dataset = load_dataset(self._source, self._terms.bar_seconds).sized(WarmUpBars())
        return self.dataset.history

    def _source_of(self, path: Path) -> DataSource:
        request, terms = self._request, self._terms
        named = request.bundle if request.data is not None else None
        if named is not None:
            (source,) = sources_for((path,), (), named, request.synergies, request.options)
            return source.data
        synergies = request.synergies or terms.synergies
        return DataSource(path, terms.instrument, synergies, options=request.options)


def _known(log: SessionLog, history: MarketHistory) -> dict[int, DecideAnswer]:
    """Return the answers of an interrupted session by bar.

    Raises:
        UsageError: the bars are not those that the session saw.
    """
    bars, known = history.bars, {}
    for decided in log.decided:
        t = int(np.searchsorted(bars.timestamp_s, decided.time_s))
        found = t < len(bars) and int(bars.timestamp_s[t]) == decided.time_s
        if not found or float(bars.close[t]) != decided.close:
            raise UsageError(
                f"--resume: the session saw the bar at {decided.time_s} close at "
                f"{decided.close!r}, found other bars in the data"
            )
        known[t] = decided.answer
    return known


def _report(
    request: PaperRequest, terms: Terms, dataset: Dataset, paper: PaperResult, update: Update
) -> PaperOutcome:
    update("report", 1.0)
    result: BacktestResult = session_result(paper, terms.rules, terms.rewards)
    comparison = compare_result(
        result,
        label="On paper",
        train_confidence=terms.train_confidence,
        seed=request.seed,
        with_baselines=request.with_baselines,
        with_statistics=request.with_statistics,
        targets=targets_with(terms.accuracy),
    )
    dataset = replace(dataset, history=paper.history)
    config = {
        "kind": KIND,
        "service": request.url,
        **describe(terms.identity, dataset, result, request.seed),
    }
    symbol = terms.instrument.symbol
    context = ReportContext(
        title=f"Paper session of {symbol} with bundle {terms.bundle_id[:12]}",
        facts=(("decided by", request.url or "the bundle in this process"), *facts_of(config)),
        seen=(
            None
            if request.bundle is None
            else seen_in_training(request.bundle, dataset.sha256, result)
        ),
        notes=tuple(warning_notes(config["data"])),
    )
    write_session(comparison, request.out, context, config)
    return PaperOutcome(comparison, context, config)
