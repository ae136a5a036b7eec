"""What the sessions of an instrument say about times whose meaning nobody has said."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.evidence import (
    has_sessions,
    inside_sessions,
    refuse_close_stamps,
    zone_hint,
)
from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.errors import UsageError
from tests.data.interpret.layouts import session_bars

TQQQ = load_instrument("TQQQ")
TIMES = session_bars().timestamp_s


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_only_markets_that_close_have_sessions() -> None:
    assert has_sessions(TQQQ)
    assert not has_sessions(dataclasses.replace(TQQQ, calendar="24/7"))
    assert not has_sessions(None)


def test_bars_of_the_session_and_those_before_and_after() -> None:
    # 2024-10-24 from 13:30 to 20:00 UTC
    texts = ("13:24", "13:25", "13:29", "13:30", "19:59", "20:00")
    times = np.array([second(f"2024-10-24 {text}") for text in texts])
    # a bar of five minutes from 13:29 on goes through the opening
    found = inside_sessions(times, TQQQ.calendar, 300)
    assert found.tolist() == [False, False, True, True, True, False]
    assert inside_sessions(times, TQQQ.calendar, 60)[:3].tolist() == [False, False, False]
    assert inside_sessions(TIMES, TQQQ.calendar, 300).all()
    assert inside_sessions(TIMES[:0], TQQQ.calendar, 300).size == 0


def test_the_hint_names_the_zone_in_which_the_bars_fit() -> None:
    berlin = Zone.parse("Europe/Berlin")
    wall = TIMES + 2 * 3600  # summer time
    summer = second("2024-10-27 00:00") > TIMES
    local = wall[summer] * MICROS
    utc, unknown = berlin.to_utc(local)
    np.testing.assert_array_equal(utc[~unknown] // MICROS, TIMES[summer])
    hint = zone_hint(local, TQQQ)
    assert hint.startswith(
        "; as Europe/Berlin 100% of the bars lie in the sessions of TQQQ, as UTC"
    )
    night = np.arange(20) * 60 * MICROS + second("2024-10-26 20:00") * MICROS  # a Saturday
    assert zone_hint(night, TQQQ) == ""
    of_utc = zone_hint(TIMES[summer] * MICROS, TQQQ)
    assert of_utc == "; as UTC 100% of the bars lie in the sessions of TQQQ"


def test_times_at_which_bars_close_are_refused() -> None:
    refuse_close_stamps(TIMES * MICROS, TQQQ, 300, "bars.csv")
    closing = (TIMES + 300) * MICROS
    with pytest.raises(UsageError, match=r"bars.csv: 6 of 6 sessions lack .* Give --stamp close"):
        refuse_close_stamps(closing, TQQQ, 300, "bars.csv")


def test_times_of_another_zone_are_no_times_at_which_bars_close() -> None:
    """An hour later than they are, twelve bars and not one lie behind each session."""
    refuse_close_stamps((TIMES + 3_600) * MICROS, TQQQ, 300, "bars.csv")


def test_utc_is_named_once() -> None:
    assert zone_hint(TIMES * MICROS, TQQQ) == (
        "; as UTC 100% of the bars lie in the sessions of TQQQ"
    )


@pytest.mark.parametrize(("moved", "refused"), [(3, False), (4, True)])
def test_four_of_five_sessions_must_look_so(moved: int, refused: bool) -> None:
    day = TIMES // 86_400
    later = np.isin(day, np.unique(day)[:moved])
    micros = (TIMES + 300 * later) * MICROS
    if refused:
        with pytest.raises(UsageError, match="4 of 5 sessions"):
            refuse_close_stamps(micros, TQQQ, 300, "bars.csv")
    else:
        refuse_close_stamps(micros, TQQQ, 300, "bars.csv")
