"""An order that needs no free disk: seen by every process, kept, cleared once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError
from serve.state.records import ControlRecord
from serve.state.standing_order import FILE_NAME, UNREADABLE, StandingOrder

PAUSE = ControlRecord(1.5, "pause", "r" * 128, "é" * 300)
FLATTEN = ControlRecord(2.5, "flatten", "other")


def test_an_order_is_in_force_for_every_process_until_it_is_cleared(tmp_path: Path) -> None:
    one, other = StandingOrder(tmp_path), StandingOrder(tmp_path)
    assert one.read() is None
    assert one.write(PAUSE)
    assert one.read() == other.read() == PAUSE
    assert StandingOrder(tmp_path).read() == PAUSE
    assert other.write(FLATTEN)
    one.clear(PAUSE)  # another one has been given since
    assert one.read() == FLATTEN
    one.clear(FLATTEN)
    assert one.read() is other.read() is None
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_order_that_cannot_be_written_stands_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = StandingOrder(tmp_path), StandingOrder(tmp_path)

    def fail(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        broken.setattr(os, "pwrite", fail)
        assert not one.write(PAUSE)
        assert (one.read(), other.read()) == (PAUSE, None)
        with pytest.raises(OSError, match="Input/output"):
            one.clear(FLATTEN) if one.write(FLATTEN) else other.clear(None)  # type: ignore[arg-type]
    order = one.read()
    assert order == FLATTEN
    one.clear(order)
    assert one.read() is None


def test_an_order_that_cannot_be_read_is_a_pause(tmp_path: Path) -> None:
    order = StandingOrder(tmp_path)
    order.write(FLATTEN)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"flatten", b"flettan"))
    assert order.read() == UNREADABLE
    assert UNREADABLE.action == "pause"
    order.clear(UNREADABLE)
    assert order.read() is None


def test_a_folder_that_is_not_there_is_an_error_of_the_service(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="No such file"):
        StandingOrder(tmp_path / "nowhere")
