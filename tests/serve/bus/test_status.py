"""Where the bus is."""

from __future__ import annotations

import importlib.util

import pytest

from rllib_tactical.errors import ServiceError
from serve.bus.status import BusSettings, bus_settings


@pytest.mark.parametrize("nowhere", [None, ""])
def test_no_url_is_no_bus(nowhere: str | None) -> None:
    assert bus_settings(nowhere) is None


def test_a_bus_is_shown_with_its_name_and_without_its_password() -> None:
    found = bus_settings("redis://user:secret@host:6379/1")
    assert found == BusSettings(url="redis://user:secret@host:6379/1")
    assert found.shown == "redis://host:6379/1#tactical"


def test_a_bus_that_is_no_url_is_refused() -> None:
    with pytest.raises(ServiceError, match="must be a URL such as redis://HOST:6379/0, found 'x'"):
        bus_settings("x")


def test_a_bus_names_the_extra_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServiceError, match=r"needs the extra redis: pip install"):
        bus_settings("redis://host")
