"""Fair value gaps, slow and straight from the specification, without the product's code."""

from __future__ import annotations

from typing import Any


def reference_gap_rows(
    open_: list[float], high: list[float], low: list[float], close: list[float]
) -> tuple[list[tuple[float, ...]], list[int]]:
    """Return the first five feature columns of every bar and the sign of each bar's birth."""
    gaps: list[dict[str, Any]] = []
    rows: list[tuple[float, ...]] = []
    births: list[int] = []
    for t in range(len(close)):
        first_touch = False
        for gap in gaps:
            if gap["ended"]:
                continue
            if gap["sign"] == 1:
                enters, fills = low[t] <= gap["top"], low[t] <= gap["bottom"]
            else:
                enters, fills = high[t] >= gap["bottom"], high[t] >= gap["top"]
            if enters and not gap["touched"]:
                gap["touched"] = first_touch = True
            if fills or t - gap["born"] > 60:
                gap["ended"] = True

        sign = 0
        if t >= 2:
            bodies = [abs(close[j] - open_[j]) for j in range(max(0, t - 20), t)]
            if bodies[-1] > 1.5 * (sum(bodies) / len(bodies)):
                if low[t] > high[t - 2]:
                    sign, bottom, top = 1, high[t - 2], low[t]
                elif high[t] < low[t - 2]:
                    sign, bottom, top = -1, high[t], low[t - 2]
        if sign:
            gaps.append(dict(born=t, sign=sign, bottom=bottom, top=top, touched=False, ended=False))
        births.append(sign)

        active = [gap for gap in gaps if not gap["ended"]]
        level, age, distance = 0.0, 0, None
        for gap in reversed(active):  # newest first: an older gap must be strictly nearer
            near, far = ("top", "bottom") if gap["sign"] == 1 else ("bottom", "top")
            for edge in (gap[near], gap[far]):
                if distance is None or abs(edge - close[t]) < distance:
                    level, age, distance = edge, t - gap["born"], abs(edge - close[t])
        rows.append(
            (
                float(any(gap["sign"] == 1 for gap in active)),
                float(any(gap["sign"] == -1 for gap in active)),
                level,
                float(age),
                float(first_touch),
            )
        )
    return rows, births
