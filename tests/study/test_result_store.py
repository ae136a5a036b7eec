from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.errors import UnreadableError, UsageError
from rllib_tactical.study.experiments import Variant
from rllib_tactical.study.result_store import Store
from tests.study.results import keep_all, result_of, run_of


def test_finished_runs_are_found_again_and_damaged_ones_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    assert store.find(run_of()) is None
    store.keep(run_of(), result_of(run_of(), 100.0))
    assert store.find(run_of()) == result_of(run_of(), 100.0)
    assert store.find(run_of(seed=2)) is None
    renamed = Variant("the same by another name", {})
    assert store.find(run_of(variant=renamed)) == result_of(run_of(), 100.0)
    store.path(run_of()).write_text("{}")
    with pytest.raises(UnreadableError, match="not a result"):
        store.find(run_of())
    with pytest.raises(UsageError, match="--results must be a folder, found a file"):
        Store(store.path(run_of()))


def test_other_files_of_the_folder_are_not_results(tmp_path: Path) -> None:
    runs = [run_of(), run_of("noise", 2)]
    keep_all(tmp_path, runs, net=100.0)
    (tmp_path / "bench.json").write_text("{}")
    (tmp_path / "a-1-b-figures.json").write_text("{}")
    assert Store(tmp_path).results() == [result_of(run, 100.0) for run in runs]
    (tmp_path / f"gap-1-x-{'0' * 16}.json").write_text("{}")
    with pytest.raises(UnreadableError, match="not a result of the study in format 3"):
        Store(tmp_path).results()
