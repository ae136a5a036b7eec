from __future__ import annotations

import json

import numpy as np
import pytest

from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.errors import DataError
from tests.data.tables import NOW_S, columns_of, walk_frame


def test_findings_are_counted_beyond_the_limit() -> None:
    frame = walk_frame(5000)
    frame["volume"] = -1.0
    report = check_columns(columns_of(frame), now_s=NOW_S, max_per_rule=25)
    assert report.counts["negative_volume"] == 5000
    assert len(report.findings) == 25
    assert report.truncated
    assert json.loads(json.dumps(report.to_dict()))["errors"] == 5000


def test_refusal_names_the_first_ten_and_the_total() -> None:
    frame = walk_frame()
    frame.loc[10:29, "volume"] = -1.0
    frame.loc[2, "open"] = np.nan
    with pytest.raises(DataError) as caught:
        check_columns(columns_of(frame), now_s=NOW_S).raise_errors("bars.csv")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("bars.csv: 21 error(s) in 40 rows")
    assert len(lines) == 11
    assert "row 2 (2022-01-03T00:10:00Z): not_finite: open" in lines[1]
    assert "row 18" in lines[10]
