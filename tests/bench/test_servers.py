from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import psutil
import pytest

from rllib_tactical.bench import servers
from rllib_tactical.bench.servers import burning_a_core, missing, plain_server
from rllib_tactical.errors import ServiceError


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing("uvicorn") is None
    assert "not installed: pip install 'rllib-tactical[bench]'" in (missing("litserve") or "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert missing("litserve") is None


def test_a_server_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "START_S", 60.0)
    with (
        pytest.raises(ServiceError, match=r"uvicorn did not start: .*no bundle here"),
        plain_server("uvicorn", tmp_path),
    ):
        pass


def test_a_core_is_burned_until_the_end() -> None:
    before = set(psutil.Process().children())
    with burning_a_core():
        (burner,) = set(psutil.Process().children()) - before
        assert burner.nice() == os.getpriority(os.PRIO_PROCESS, 0)
        while burner.cpu_times().user < 0.1:
            time.sleep(0.01)
    assert not burner.is_running()
