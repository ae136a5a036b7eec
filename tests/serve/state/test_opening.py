"""Which state a path or a URL names, and who may use it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError
from serve.state.opening import FolderLock, OpenState, open_store, store_name
from tests.serve.local import state_settings


def test_a_folder_that_cannot_be_made_is_an_error_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Not a directory"):
        open_store(str(tmp_path / "file" / "TEST"))


def test_a_missing_client_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serve.state.redis_store", None)
    with pytest.raises(ServiceError, match=r"pip install 'rllib-tactical\[redis\]'"):
        open_store("redis://127.0.0.1:1/0#TEST")


def test_many_processes_may_use_a_folder_and_one_alone(bundle: Bundle, tmp_path: Path) -> None:
    settings = state_settings(bundle, tmp_path)
    opened = [OpenState(settings), OpenState(settings)]
    with pytest.raises(ServiceError, match="another service is using it"):
        FolderLock(tmp_path, alone=True)
    for state in opened:
        state.close()
    lock = FolderLock(tmp_path, alone=True)
    with pytest.raises(ServiceError, match="another service is using it"):
        OpenState(settings)
    lock.share()
    OpenState(settings).close()
    lock.release()


@pytest.mark.parametrize(
    ("symbol", "name"), [("TQQQ", "TQQQ"), ("BTC/USD", "BTC_USD"), ("../x", "_x")]
)
def test_a_symbol_names_its_state_folder(tmp_path: Path, symbol: str, name: str) -> None:
    assert store_name(str(tmp_path), symbol) == str(tmp_path / name)
    assert store_name("redis://x", symbol) == f"redis://x#{name}"
