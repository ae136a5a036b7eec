"""The log of a session: whole lines, of one session, by one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError, UnreadableError, UsageError
from rllib_tactical.live.log import Decided, SessionHead, SessionLog
from tests.live.test_paper import OPEN, answer

HEAD = SessionHead(
    bundle_id="b", symbol="TEST", bar_seconds=300, initial_equity=100_000.0, first_s=600
)
DECIDED = [Decided(600, 100.0, answer(OPEN)), Decided(900, 101.5, answer(None))]


def written(folder: Path) -> list[Decided]:
    log = SessionLog(folder, HEAD)
    try:
        return log.decided
    finally:
        log.close()


def test_answers_come_back_as_they_were_and_half_a_line_is_forgotten(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "new", HEAD)
    assert log.decided == []
    for decided in DECIDED:
        log.add(decided, durable=True)
    log.close()
    whole = log.path.read_bytes()
    assert written(tmp_path / "new") == DECIDED
    for cut in (1, 40, len(whole.splitlines()[-1])):
        log.path.write_bytes(whole[:-cut])
        assert written(tmp_path / "new") == DECIDED[:1]
        assert log.path.read_bytes().endswith(b"\n")
    log.path.write_bytes(whole[:10])  # killed in the very first write
    assert written(tmp_path / "new") == []


def test_a_log_is_of_one_session_and_of_one_process(tmp_path: Path) -> None:
    log = SessionLog(tmp_path, HEAD)
    with pytest.raises(ServiceError, match="another session is writing to it"):
        SessionLog(tmp_path, HEAD)
    log.close()
    other = SessionHead(
        bundle_id="c", symbol="TEST", bar_seconds=300, initial_equity=1e5, first_s=600
    )
    with pytest.raises(UsageError, match="--resume: the session began with bundle_id 'b', found"):
        SessionLog(tmp_path, other)
    log.path.write_bytes(log.path.read_bytes() + b"{}\n")
    with pytest.raises(UnreadableError, match="not the log of a session"):
        SessionLog(tmp_path, HEAD)
