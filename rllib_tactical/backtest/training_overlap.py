"""Which of the tested bars a bundle has already seen in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle

PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Part:
    """Bars of the backtest that fell into one part of the training data.

    ``name`` is train, validation, test or ``other`` (embargoes, and bars outside of all three).
    """

    name: str
    bars: int
    trades: int
    net_pnl: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known about the overlap with the training data.

    ``same_file`` is None when the bundle does not say what it was trained on. ``note`` says in
    words what to make of it; ``warning``: the result flatters the policy, or may do so.
    """

    same_file: bool | None
    parts: tuple[Part, ...]
    note: str
    warning: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def seen_in_training(bundle: Bundle, data_sha256: str, result: BacktestResult) -> Seen:
    """Compare the tested bars with the time spans that the bundle's manifest names.

    A span covers the bars from its first to its last time; the P&L of a bar is the change of equity
    over it, and a trade belongs to the bar on which it ended.
    """
    source = _source(bundle)
    trained_on = source.get("sha256", source.get("data_sha256"))
    spans = training_spans(bundle)
    if trained_on is None or not spans:
        note = "The bundle does not say which bars it was trained on: they may be among these."
        return Seen(None, (), note, True)
    parts = _parts(spans, result)
    seen = sum(part.bars for part in parts if part.name in ("train", "validation"))
    total = sum(part.bars for part in parts)
    same = trained_on == data_sha256
    if not seen:
        note = "None of these bars was used for training or validation."
        return Seen(same, parts, note, False)
    share = f"{seen:,} of {total:,} bars ({seen / total:.0%})"
    if same:
        note = f"{share} were used for training or validation: only the rest is a test."
    else:
        note = (
            f"{share} lie in the time span of the training or validation data, which came from "
            "another file: if it held the same market, only the rest is a test."
        )
    return Seen(same, parts, note, True)


def training_spans(bundle: Bundle) -> dict[str, tuple[int, int]]:
    """Return first and last epoch second of train, validation and test, as far as known."""
    return _spans(_source(bundle).get("splits"))


def _source(bundle: Bundle) -> dict[str, Any]:
    training = bundle.manifest["training"]
    data = training.get("data") if isinstance(training, dict) else None
    return data if isinstance(data, dict) else training if isinstance(training, dict) else {}


def _spans(splits: Any) -> dict[str, tuple[int, int]]:
    """Return first and last epoch second by part, as far as ``splits`` gives readable times."""
    spans: dict[str, tuple[int, int]] = {}
    if not isinstance(splits, dict):
        return spans
    for name in PARTS:
        split = splits.get(name)
        if not isinstance(split, dict):
            continue
        first, last = _epoch(split.get("first")), _epoch(split.get("last"))
        if first is not None and last is not None:
            spans[name] = (first, last)
    return spans


def _epoch(text: Any) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _parts(spans: dict[str, tuple[int, int]], result: BacktestResult) -> tuple[Part, ...]:
    time_s = result.history.bars.timestamp_s[result.start : result.stop]
    change = np.diff(result.equity["equity"].to_numpy(), prepend=result.initial_equity)
    exits = result.trades["exit_bar"].to_numpy(dtype=np.int64) - result.start
    unclaimed = np.ones(len(time_s), dtype=np.bool_)
    parts = []
    for name in (*PARTS, "other"):
        if name == "other":
            inside = unclaimed
        elif name in spans:
            first, last = spans[name]
            inside = (time_s >= first) & (time_s <= last)
            unclaimed = unclaimed & ~inside
        else:
            continue
        if inside.any():
            pnl = float(change[inside].sum())
            parts.append(Part(name, int(inside.sum()), int(inside[exits].sum()), pnl))
    return tuple(parts)
