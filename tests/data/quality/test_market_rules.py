from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.quality.findings import CheckReport
from rllib_tactical.data.quality.market_rules import suspect_bars
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.domain.types import Bars, Instrument
from tests.data.tables import NOW_S, columns_of, walk, walk_frame


def check(frame: pd.DataFrame, instrument: str | None = None) -> CheckReport:
    market = load_instrument(instrument) if instrument else None
    return check_columns(columns_of(frame), instrument=market, now_s=NOW_S)


def us_sessions(dates: list[str], bars: int = 78) -> pd.DataFrame:
    """Return full winter sessions (14:30 to 21:00 UTC) of the given dates."""
    starts = pd.to_datetime(dates).astype("datetime64[s]").astype(np.int64) + 52_200
    times = np.concatenate([start + 300 * np.arange(bars) for start in starts])
    return pd.DataFrame({**walk(times.size), "timestamp": times})


WEEK = ["2022-01-03", "2022-01-04", "2022-01-05", "2022-01-06", "2022-01-07"]


def only(report: CheckReport, rule: str) -> tuple[int | None, str]:
    (finding,) = [f for f in report.findings if f.rule == rule]
    assert finding.severity == "warning"
    return finding.row, finding.message


def test_complete_sessions_over_a_weekend_are_clean() -> None:
    assert check(us_sessions([*WEEK, "2022-01-10"]), "TQQQ").counts == {}


def test_missing_bars_around_the_clock() -> None:
    frame = walk_frame(60).drop(index=[20, 21, 22])
    row, message = only(check(frame), "missing_bars")
    assert row == 20
    assert message == "3 scheduled bar(s) missing after 2022-01-03T01:35:00Z"


def test_missing_bars_inside_and_at_the_end_of_a_session() -> None:
    frame = us_sessions(WEEK).drop(index=[10, 77]).reset_index(drop=True)
    report = check(frame, "TQQQ")
    assert [f.row for f in report.findings] == [10, 76]
    assert report.counts == {"missing_bars": 2}


def test_a_whole_session_missing_is_one_gap() -> None:
    frame = us_sessions([WEEK[0], WEEK[2]])
    _, message = only(check(frame, "TQQQ"), "missing_bars")
    assert message.startswith("78 ")


def test_short_session() -> None:
    frame = us_sessions(WEEK[:3]).drop(index=range(88, 156)).reset_index(drop=True)
    row, message = only(check(frame, "TQQQ"), "short_session")
    assert row == 78
    assert message == "session 2022-01-04 has 10 of 78 bars"


def test_the_ends_of_the_file_make_no_short_session() -> None:
    frame = us_sessions(WEEK[:3]).iloc[40:-40].reset_index(drop=True)
    assert check(frame, "TQQQ").counts == {}


def test_bars_outside_of_every_session() -> None:
    frame = us_sessions(WEEK[:2])
    early = frame.iloc[:3].assign(timestamp=lambda f: f["timestamp"] - 3600)
    frame = pd.concat([early, frame], ignore_index=True)
    row, message = only(check(frame, "TQQQ"), "outside_session")
    assert row == 0 and "XNYS" in message


def test_zero_volume_run_names_first_row_and_length() -> None:
    frame = walk_frame()
    frame.loc[[3, 4, 10, 11, 12, 13], "volume"] = 0.0
    assert only(check(frame), "zero_volume_run") == (10, "4 bars in a row without volume")


@pytest.mark.parametrize(("length", "found"), [(11, 0), (12, 1), (20, 1)])
def test_frozen_prices(length: int, found: int) -> None:
    frame = walk_frame()
    prices = ["open", "high", "low", "close"]
    frame.loc[5 : 5 + length - 1, prices] = frame.loc[5, prices].to_numpy()
    report = check(frame)
    assert report.counts.get("frozen_prices", 0) == found
    if found:
        assert only(report, "frozen_prices") == (5, f"{length} bars in a row are identical")


def test_outlier_return_is_judged_by_the_session_before() -> None:
    frame = walk_frame(600)
    frame.loc[400:, ["open", "high", "low", "close"]] *= 1.10
    frame.loc[400, ["open", "low"]] = frame.loc[399, ["close", "low"]].to_numpy()
    row, message = only(check(frame), "outlier_return")
    assert row == 400 and "25 times" in message
    first_day = walk_frame(600)
    first_day.loc[100:, ["open", "high", "low", "close"]] *= 1.10
    assert "outlier_return" not in check(first_day).counts


def test_outlier_threshold_is_twenty_five_medians() -> None:
    # Returns of exactly +-0.1% on the first day, so that its median is 0.1%.
    rows = 400
    ratio = np.where(np.arange(rows) % 2 == 0, 1.001, 1 / 1.001)
    for jump, found in ((1.0245, 0), (1.0255, 1)):
        steps = ratio.copy()
        steps[350] = jump
        close = 100.0 * np.cumprod(steps)
        opened = np.concatenate(([100.0], close[:-1]))
        frame = walk_frame(rows).assign(
            open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close)
        )
        assert check(frame).counts.get("outlier_return", 0) == found


def test_roll_jump_between_sessions() -> None:
    frame = us_sessions(WEEK)
    frame.loc[234:, ["open", "high", "low", "close"]] *= 0.5
    report = check(frame, "TQQQ")
    row, message = only(report, "roll_jump")
    assert row == 234 and "-50" in message
    assert "outlier_return" not in report.counts


def test_naive_timestamps_are_one_warning() -> None:
    frame = walk_frame()
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    assert only(check(frame), "naive_timestamps")[0] == 0
    text = walk_frame().assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S"))
    _, message = only(check(text), "naive_timestamps")
    assert message.startswith("40 of 40 timestamps")


def test_mixed_naive_and_aware_timestamps_are_counted() -> None:
    frame = walk_frame(3).assign(
        timestamp=["2022-01-03T00:00:00Z", "2022-01-03T00:05:00", "2022-01-03"]
    )
    report = check(frame.iloc[[0, 1]])
    assert only(report, "naive_timestamps") == (
        1,
        "1 of 2 timestamps name no time zone; they are read as UTC",
    )


def test_warnings_look_at_rows_in_time_order() -> None:
    frame = walk_frame(60).iloc[::-1].reset_index(drop=True)
    report = check(frame)
    assert report.counts == {"out_of_order": 59}


def test_warnings_name_rows_of_the_file() -> None:
    frame = walk_frame(60).drop(index=[30]).iloc[::-1].reset_index(drop=True)
    report = check(frame)
    assert only(report, "missing_bars")[0] == 28


def test_data_before_the_calendar_begins_are_still_compared() -> None:
    frame = walk_frame(60).drop(index=[30]).reset_index(drop=True)
    frame["timestamp"] -= frame["timestamp"][0] + 20 * 365 * 86_400
    korea = Instrument(symbol="X", tick_size=1.0, calendar="XKRX", timezone="Asia/Seoul")
    report = check_columns(columns_of(frame), instrument=korea, now_s=NOW_S)
    assert report.counts["missing_bars"] == 1


def _days(count: int) -> Bars:
    """Return quiet bars around the clock, on ticks of a cent."""
    rng = np.random.default_rng(3)
    length = count * 288
    close = np.round(100.0 + np.cumsum(rng.choice([-0.02, 0.02, 0.01], length)), 2)
    return Bars(
        timestamp_s=np.arange(length) * 300,
        open=close,
        high=np.round(close + 0.05, 2),
        low=np.round(close - 0.05, 2),
        close=close,
        volume=rng.integers(1, 99, length).astype(np.float64),
    )


def _changed(bars: Bars, t: slice, **values: float) -> Bars:
    columns = {
        name: np.array(getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")
    }
    for name, value in values.items():
        columns[name][t] = value
    return Bars(bars.timestamp_s, **columns)


AROUND_THE_CLOCK = Instrument(symbol="TEST", tick_size=0.01)


def test_the_bars_that_break_a_rule_are_those_that_a_check_reports() -> None:
    bars = _days(4)
    print_, at = slice(700, 701), 700
    cases = {
        "outlier_return": (_changed(bars, print_, close=10 * bars.close[at], high=1e4), [700, 701]),
        "zero_volume_run": (_changed(bars, slice(600, 603), volume=0.0), [600, 601, 602]),
        "frozen_prices": (
            _changed(bars, slice(600, 612), open=90.0, high=90.0, low=90.0, close=90.0),
            list(range(600, 612)),
        ),
        "off_tick": (_changed(bars, print_, close=float(bars.close[at]) + 0.005), [700]),
        "roll_jump": (
            _changed(bars, slice(864, None), open=300.0, high=301.0, low=299.0, close=300.0),
            [864],
        ),
    }
    assert not any(bad.any() for bad in suspect_bars(bars, AROUND_THE_CLOCK, 300).values())
    for rule, (wrong, expected) in cases.items():
        found = suspect_bars(wrong, AROUND_THE_CLOCK, 300)
        assert np.flatnonzero(found[rule]).tolist() == expected, rule


def test_a_market_without_volume_has_no_runs_without_it() -> None:
    bars = _changed(_days(2), slice(None), volume=0.0)
    assert not suspect_bars(bars, AROUND_THE_CLOCK, 300)["zero_volume_run"].any()
