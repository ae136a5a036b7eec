from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.errors import DataError, UnreadableError
from rllib_tactical.statistics.trials import Trials, read_trials


@pytest.mark.parametrize("name", ["trials.csv", "trials.csv.gz", "trials.parquet"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    trials = Trials(("a", "b"), np.array([[1.0, 2.0], [3.0, -4.0], [0.0, 5.0]]))
    frame = trials.frame()
    frame.insert(0, "date", ["2025-01-02", "2025-01-03", "2025-01-06"])
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    found = read_trials(path)
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.pnl, trials.pnl)
    mean, deviation = trials.pnl.mean(axis=0), trials.pnl.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.sharpes, mean / deviation)


def test_a_trial_that_never_moved_has_a_ratio_of_zero() -> None:
    assert Trials(("a",), np.zeros((5, 1))).sharpes.tolist() == [0.0]


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("missing.csv", None, UnreadableError, "cannot be read"),
        ("trials.txt", "a\n1\n", UnreadableError, "must end in"),
        ("trials.csv", "", UnreadableError, "cannot be read"),
        ("trials.csv", "a,b\n1,2\n3,x\n", DataError, "column b holds what is not a finite"),
        ("trials.csv", "a\n1\n", DataError, "found 1 columns and 1 rows"),
        ("trials.csv", "date\n2025-01-01\n2025-01-02\n", DataError, "found 0 columns"),
    ],
)
def test_what_is_no_table_of_trials_is_refused(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words):
        read_trials(path)
