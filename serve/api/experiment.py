"""The answer of ``GET /experiment`` as types; see ``serve.api.responses``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

VerdictName = Literal["running", "better", "worse", "hopeless"]


class PaperAccount(Struct, frozen=True, kw_only=True):
    """An account that the simulator kept on the bars of the service.

    Money in dollars, net of every cost; ``max_drawdown`` is a share of the peak, ``position`` in
    lots and below zero when short.
    """

    equity: float
    net_pnl: float
    max_drawdown: float
    trades: int
    position: float


class ChallengerAnswer(Struct, frozen=True, kw_only=True):
    """A challenger beside the bundle that decides.

    ``since_s``: epoch time of the first decision of the comparison. ``decisions``: how many it has
    answered, too; ``unanswered``: those whose bars are not known any more; ``agreement``: share of
    the answers with the same action. ``account`` and ``champion_account``: both on paper, from the
    same bar on, null while there are too few bars. ``mean``: what it earned more in a whole
    session, as a share of equity, with the ends of its interval at ``confidence``.
    """

    bundle_id: str
    since_s: float | None
    decisions: int
    unanswered: int
    agreement: float | None
    account: PaperAccount | None
    champion_account: PaperAccount | None
    sessions: int
    mean: float | None
    low: float | None
    high: float | None
    confidence: float
    verdict: VerdictName
    words: str


class SymbolExperiment(Struct, frozen=True, kw_only=True):
    """The challengers of one symbol; ``champion`` is the bundle that was chosen for it.

    ``deciding``: the bundle that decides now: the champion, or a challenger whose turn it is.
    """

    champion: str
    challengers: list[ChallengerAnswer]
    deciding: str = ""


class ExperimentAnswer(Struct, frozen=True, kw_only=True):
    """The answer of ``GET /experiment``; ``symbols`` has those with challengers.

    ``at_s``: epoch time at which the shadow last looked, null before that. ``split``: by what
    challengers decide in place of the champion.
    """

    at_s: float | None = None
    split: Literal["none", "symbol", "session"] = "none"
    symbols: dict[str, SymbolExperiment] = {}
