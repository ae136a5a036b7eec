from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.observability.logs import log_level, log_to_folder
from tests.serve.conftest import request_at
from tests.serve.local import SHORT_LEASE, Lost, running


@pytest.fixture(autouse=True)
def _clean() -> Any:
    yield
    logger = logging.getLogger("serve")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_decisions_are_logged_with_their_ids(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work() -> list[str]:
        async with running(
            bundle, tmp_path, service=SHORT_LEASE, log_folder=str(tmp_path / "logs")
        ) as cluster:
            answers = [await cluster.post("/decide", request_at(table, t)) for t in (320, 321)]
            assert (await cluster.get("/live")).json() == {"status": "live"}
            assert (await cluster.get("/ready")).status_code == 200
            with Lost(cluster.replica()._open.store, "version"):
                assert (await cluster.get("/live")).status_code == 200
                assert (await cluster.get("/ready")).status_code == 503
                health = (await cluster.get("/health")).json()
                assert health["components"]["bus"]["status"] == "critical"
            return [answer.json()["decision_id"] for answer in answers]

    ids = asyncio.run(work())
    (path,) = (tmp_path / "logs").glob("replica-*.jsonl")
    decisions = [line for line in lines(path) if line["event"] == "decision"]
    assert [line["decision_id"] for line in decisions] == ids
    assert {"time", "level", "process", "action", "reason", "total_ms"} <= set(decisions[0])


def test_exceptions_and_odd_values_stay_one_line(tmp_path: Path) -> None:
    log_to_folder(tmp_path, "test")
    logger = logging.getLogger("serve.test")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed", extra={"fields": {"path": tmp_path}})
    (line,) = lines(tmp_path / "test.jsonl")
    assert (line["event"], line["level"], line["path"]) == ("failed", "ERROR", str(tmp_path))
    assert "two\nlines" in line["exception"]


def test_the_level_comes_from_the_environment() -> None:
    assert log_level({}) == "INFO"
    assert log_level({"LOG_LEVEL": "warning"}) == "WARNING"
    with pytest.raises(ServiceError, match="LOG_LEVEL must be one of"):
        log_level({"LOG_LEVEL": "loud"})


def test_a_full_file_is_kept_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.observability.logs.MAX_BYTES", 400)
    log_to_folder(tmp_path, "a")
    for i in range(40):
        logging.getLogger("serve.test").info("line %d", i)
    names = ["a.jsonl", "a.jsonl.1", "a.jsonl.2", "a.jsonl.3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found = [line["event"] for name in reversed(names) for line in lines(tmp_path / name)]
    assert found == [f"line {i}" for i in range(40 - len(found), 40)]
    assert all(400 <= (tmp_path / name).stat().st_size < 600 for name in names[1:])
