"""The process that answers one question about the past, and how it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.api.errors import RequestError
from serve.dashboard.job import answer
from serve.dashboard.past import REFUSED, Question
from serve.state.bar_streams import BarRow
from serve.state.records import BarsRecord, entry_of, model_record
from serve.state.sqlite_store import SqliteStore
from tests.serve.dashboard.scene import START_S


@pytest.fixture
def state(bundle: Bundle, tmp_path: Path) -> str:
    """Return the name of a state with two bars, one on each side of midnight."""
    store = SqliteStore(tmp_path)
    rows = tuple(BarRow(START_S + shift, 100.0, 101.0, 99.0, 100.5, 1.0) for shift in (-300, 0))
    store.append(0, [entry_of(model_record(bundle, "first")), entry_of(BarsRecord(1.0, rows))])
    store.close()
    return str(tmp_path)


def run(question: bytes) -> tuple[int, Any]:
    """Return exit code and answer of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "serve.dashboard.job"],
        input=question,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=60.0,
        check=False,
    )
    return done.returncode, msgspec.json.decode(done.stdout)


def test_a_question_is_of_a_day_unless_it_names_a_decision(state: str) -> None:
    found = answer(Question(state=state, symbol="TEST"))
    assert (found.day, found.days) == ("2026-03-02", ["2026-03-01", "2026-03-02"])
    assert found.first_s == START_S
    with pytest.raises(RequestError) as refused:
        answer(Question(state=state, decision_id="0" * 64))
    assert (refused.value.status, refused.value.code) == (404, "not_explained")


@pytest.mark.slow
def test_the_process_writes_the_answer_or_why_there_is_none(state: str) -> None:
    code, found = run(msgspec.json.encode(Question(state=state, symbol="TEST", day="2026-03-01")))
    assert (code, [bar[0] for bar in found["bars"]]) == (0, [START_S - 300])
    code, found = run(msgspec.json.encode(Question(state=state, symbol="TEST", day="yesterday")))
    assert (code, found[:2]) == (REFUSED, [422, "invalid_field"])
    assert "yesterday" in found[2]


@pytest.mark.slow
def test_a_state_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    code, found = run(msgspec.json.encode(Question(state=str(file / "state"), symbol="TEST")))
    assert (code, found[:2]) == (REFUSED, [503, "state_unavailable"])
