"""Parts by name: the product's, registered ones, and those of installed packages."""

from typing import Any

import pytest

from rllib_tactical.errors import ConfigError
from rllib_tactical.registry import Registry


@pytest.fixture
def registry():
    return Registry("model.part", "tests.parts", {"own": "math:floor"})


def test_a_part_of_the_product_is_imported_when_it_is_asked_for(registry):
    assert registry.get("own")(1.5) == 1
    with pytest.raises(ModuleNotFoundError):
        Registry("model.part", "tests.parts", {"gone": "no_such_module:x"}).get("gone")


def test_a_registered_part_is_found_and_the_last_one_counts(registry):
    @registry.register("mine")
    def first():
        """Return nothing."""

    assert registry.get("mine") is first
    registry.register("mine")(len)
    assert registry.get("mine") is len
    assert registry.names() == ["own", "mine"]


def test_an_unknown_name_is_refused_with_the_known_ones(registry):
    registry.register("b")(len)
    registry.register("a")(len)
    with pytest.raises(ConfigError, match=r"model\.part must be one of own, a, b, found 'c'"):
        registry.get("c")


@pytest.mark.parametrize("name", ["own", "", " "])
def test_a_name_of_the_product_cannot_be_taken(registry, name):
    with pytest.raises(ConfigError, match=r"model\.part: a registered name must not be empty"):
        registry.register(name)


def test_another_process_gets_what_was_registered_and_no_more(registry):
    registry.register("mine")(len)
    assert registry.registered() == {"mine": len}
    other: Registry[Any] = Registry("model.part", "tests.parts", {"own": "math:floor"})
    other.restore(registry.registered())
    assert other.get("mine") is len


def test_a_part_of_an_installed_package_is_found(registry, tmp_path, monkeypatch):
    info = tmp_path / "parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tests.parts]\ninstalled = math:ceil\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.names() == ["own", "installed"]
    assert registry.get("installed")(1.5) == 2
