"""Gap births and touches against an independent implementation, on every bar of the real files.

The reference is ``smc.fvg`` of PyPI's smartmoneyconcepts. Definitions are aligned first: it files a
gap under the middle candle, we under the bar that completes it, one later. What then still differs
must be explained by a named rule; docs/reference/features.md holds the counts.

Rerun, and print the tables of docs/reference/features.md:

    python -m pytest tests/domain/features/test_fvg_crosscheck.py -s
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.files import read_bars
from rllib_tactical.domain.features.fvg import BODY_FACTOR, MAX_AGE, find_births, track_gaps
from rllib_tactical.domain.features.synergy import detect_synergies
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import Bars

pytestmark = pytest.mark.realdata

FILES = {
    "TQQQ_5m_RTH_2022-01_2026-02.csv.gz": 300,
    "BTCUSDT_perp_5m_2025-03_2025-04.parquet": 300,
    "ETHUSDT_perp_5m_2025-03_2025-04.parquet": 300,
    "BTCUSDT_perp_1m_2025-05_2025-06.parquet": 60,
}

# In the order of the columns in docs/reference/features.md.
BIRTHS = (
    "both",
    "only ours: middle candle closes against the gap",
    "only theirs: middle body not above 1.5 x mean",
)
TOUCHES = (
    "touch: same bar",
    "touch: never, both",
    "touch: theirs after our gap has ended by age",
)


@pytest.fixture(scope="module")
def reference() -> Any:
    """Return their ``smc``; its import prints a request for stars unless this is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMC_CREDIT", "0")
        return pytest.importorskip("smartmoneyconcepts").smc


def their_gaps(smc: Any, bars: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return birth (T,), top, bottom and the bar of the touch (0: never), each on our birth bar."""
    frame = pd.DataFrame(
        {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = smc.fvg(frame)
    late = found.shift(1)
    sign = late["FVG"].fillna(0).to_numpy().astype(np.int8)
    touch = late["MitigatedIndex"].fillna(0).to_numpy().astype(np.int64)
    return sign, late["Top"].to_numpy(), late["Bottom"].to_numpy(), touch


def explain_births(bars: Bars, ours: np.ndarray, theirs: np.ndarray) -> Counter[str]:
    """Count every bar on which at least one side sees a birth, by agreement or by rule.

    The rules are computed with plain loops from the definitions, not with the product's code.
    """
    counts: Counter[str] = Counter()
    open_, close = bars.open.tolist(), bars.close.tolist()
    body = [abs(c - o) for o, c in zip(open_, close, strict=True)]
    for t in np.flatnonzero((ours != 0) | (theirs != 0)).tolist():
        if ours[t] == theirs[t]:
            counts[BIRTHS[0]] += 1
            continue
        before = body[max(0, t - 20) : t]
        large = body[t - 1] > BODY_FACTOR * (sum(before) / len(before))
        direction = int(np.sign(close[t - 1] - open_[t - 1]))
        if ours[t] == 0 and not large:
            counts[BIRTHS[2]] += 1
        elif ours[t] != 0 and theirs[t] == 0 and direction == -ours[t]:
            counts[BIRTHS[1]] += 1
        else:
            counts["unexplained"] += 1
    return counts


def first_touches(bars: Bars, birth: np.ndarray) -> dict[int, int]:
    """Return the bar of each gap's first touch within its life, by birth bar (plain loops)."""
    touches: dict[int, int] = {}
    low, high = bars.low.tolist(), bars.high.tolist()
    for b in np.flatnonzero(birth).tolist():
        for t in range(b + 1, min(b + MAX_AGE + 2, len(low))):
            if (low[t] <= low[b]) if birth[b] > 0 else (high[t] >= high[b]):
                touches[b] = t
                break
    return touches


def bars_of(folder: Path, name: str) -> Bars:
    return read_bars(folder / name, bar_seconds=FILES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_difference_has_a_named_reason(
    reference: Any, real_data: Path, project_root: Path, name: str
) -> None:
    bars = bars_of(real_data, name)
    ours = find_births(bars)
    theirs, top, bottom, touch = their_gaps(reference, bars)
    counts = explain_births(bars, ours, theirs)
    assert counts["unexplained"] == 0

    both = np.flatnonzero((ours != 0) & (ours == theirs))
    up = ours[both] > 0
    np.testing.assert_array_equal(top[both], np.where(up, bars.low[both], bars.low[both - 2]))
    np.testing.assert_array_equal(bottom[both], np.where(up, bars.high[both - 2], bars.high[both]))

    mine = first_touches(bars, ours)
    signal = np.zeros(len(bars))
    signal[list(mine.values())] = 1.0
    np.testing.assert_array_equal(signal, track_gaps(bars).columns[:, 4])
    for b in both.tolist():
        if b in mine and touch[b] == mine[b]:
            counts[TOUCHES[0]] += 1
        elif b not in mine and touch[b] == 0:
            counts[TOUCHES[1]] += 1
        elif b not in mine and touch[b] > b + MAX_AGE + 1:
            counts[TOUCHES[2]] += 1
        else:
            counts["touch: unexplained"] += 1
    assert counts["touch: unexplained"] == 0
    written = (project_root / "docs" / "reference" / "features.md").read_text(encoding="utf-8")
    births, touches = ([f"{counts[reason]:,}" for reason in rules] for rules in (BIRTHS, TOUCHES))
    assert f"| {len(bars):,} | {' | '.join(births)} | 0 |" in written
    assert f"| {' | '.join(touches)} | 0 |" in written
    print(f"\n{name}: {len(bars)} bars")
    for reason, count in sorted(counts.items()):
        print(f"  {reason}: {count}")


def test_counts_of_the_equity_file(real_data: Path) -> None:
    bars = bars_of(real_data, next(iter(FILES)))
    gaps = track_gaps(bars)
    track = detect_synergies(compute_features(bars))
    fresh = (track.kind > 0) & (
        (track.kind != np.concatenate([[0], track.kind[:-1]]))
        | (track.confidence != np.concatenate([[0.0], track.confidence[:-1]]))
        | (track.direction != np.concatenate([[0], track.direction[:-1]]))
    )
    counts = {
        "bullish gaps": int(np.sum(gaps.birth > 0)),
        "bearish gaps": int(np.sum(gaps.birth < 0)),
        "mitigated gaps": len(first_touches(bars, gaps.birth)),
        "bars with a mitigation": int(gaps.columns[:, 4].sum()),
    }
    for kind in (1, 2, 3, 4):
        for sign, side in ((1, "long"), (-1, "short")):
            chosen = (track.kind == kind) & (track.direction == sign)
            counts[f"TYPE_{kind} {side}: events"] = int(np.sum(chosen & fresh))
            counts[f"TYPE_{kind} {side}: bars in force"] = int(np.sum(chosen))
    print()
    for what, count in counts.items():
        print(f"  {what}: {count}")
    assert (len(bars), counts["bars with a mitigation"]) == (79_720, 9308)
