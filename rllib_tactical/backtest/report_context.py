"""What a backtest report says beside the results."""

from __future__ import annotations

from dataclasses import dataclass

from rllib_tactical.backtest.training_overlap import Seen

Facts = tuple[tuple[str, str], ...]
"""Pairs of a name and a value: where results come from."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What a report says about where its metrics come from, besides the evaluation itself.

    ``facts`` are pairs of a name and a value for the footer; ``seen`` is None when unknown;
    ``notes`` are shown as warnings; ``verdict`` stands on top instead of the evaluation's own,
    where that is a part of something larger.
    """

    title: str
    facts: Facts = ()
    seen: Seen | None = None
    notes: tuple[str, ...] = ()
    verdict: str | None = None
