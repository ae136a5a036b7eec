from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.backtest.request import Request, backtest_source, decision_range, moment
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import DataError, UsageError
from tests.market import random_bars


def test_the_range_starts_after_the_warm_up() -> None:
    bars = random_bars(600)
    time_s = bars.timestamp_s
    assert decision_range(bars, 359, None, None) == (359, 600)
    assert decision_range(bars, 359, int(time_s[100]), None) == (359, 600)
    assert decision_range(bars, 359, int(time_s[400]), int(time_s[500])) == (400, 500)
    assert decision_range(bars, 359, int(time_s[400]) - 1, int(time_s[500]) + 1) == (400, 501)
    with pytest.raises(DataError, match="1 bars of the range are left"):
        decision_range(bars, 359, int(time_s[599]), None)
    assert np.all(np.diff(time_s) == 300)


def test_a_request_has_a_bundle_or_a_policy_that_is_known(bundle: Bundle) -> None:
    assert Request(policy="random").name == "policy random"
    assert Request(bundle=bundle).name == f"bundle {bundle.bundle_id[:12]}"
    with pytest.raises(UsageError, match="give --bundle or --policy, one of the two"):
        Request()
    with pytest.raises(UsageError, match="give --bundle or --policy, one of the two"):
        Request(bundle=bundle, policy="random")
    with pytest.raises(UsageError, match=r"--policy must be one of .*, found 'moon'"):
        Request(policy="moon")


def test_times_without_an_offset_are_utc() -> None:
    assert moment(None, "--from") is None
    assert moment("1970-01-02", "--from") == 86_400
    assert moment("1970-01-02T00:00:00", "--from") == 86_400
    assert moment("1970-01-02T00:00:00+01:00", "--from") == 82_800
    with pytest.raises(UsageError, match=r"--to must be a date such as .*, found 'soon'"):
        moment("soon", "--to")


def test_a_policy_is_traded_and_described(tmp_path: Path) -> None:
    path = tmp_path / "SYNTH.parquet"
    write_bars(random_bars(900), path)
    source, *_ = sources_for((path,), ("SYNTH",), None)
    stages: list[str] = []
    request = Request(policy="random", with_baselines=False, with_statistics=False, seed=3)
    found = backtest_source(request, source, stage=stages.append)
    assert stages[-1] == "report"
    assert found.seen is None
    assert found.context.title == "Backtest of SYNTH with policy random"
    assert found.config["policy"] == "random"
    assert found.config["seed"] == 3
    assert found.config["data"]["bars"] == 900
    assert found.config["range"]["stop"] == 900
    facts = dict(found.context.facts)
    assert facts["data"] == "SYNTH.parquet, 900 bars"
    assert facts["data SHA-256"] == found.config["data"]["sha256"]
