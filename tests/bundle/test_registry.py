from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.registry import GENESIS, PROMOTIONS, Registry, _hash, registry_of
from rllib_tactical.bundle.signature import make_key, read_public_keys, signature_path
from rllib_tactical.errors import DataError, ServiceError, UsageError

pytestmark = pytest.mark.slow


class Clock:
    """A second later at each look."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


@pytest.fixture
def registry(family: list[Bundle], tmp_path: Path) -> Registry:
    """Return a registry with three bundles, none of them chosen."""
    found = Registry(tmp_path / "registry", Clock())
    for bundle in family:
        found.add(bundle.path, why="a test", by="ann", metrics={"extra": 1})
    return found


def test_bundles_are_kept_with_parents_and_metrics(
    registry: Registry, family: list[Bundle]
) -> None:
    ids = [bundle.bundle_id for bundle in family]
    assert [entry.bundle_id for entry in registry.entries()] == ids
    last = registry.entry(ids[2][:8])
    assert (last.parent, last.by, last.why, last.symbol) == (ids[1], "ann", "a test", "TEST")
    assert last.metrics == {"validation": {"net_pnl": 300.0}, "extra": 1}
    assert registry.lineage(ids[2]) == ids[::-1]
    assert registry.load(ids[0]).weights.keys() == family[0].weights.keys()
    assert registry.verify() == []


def test_adding_a_bundle_again_changes_nothing(registry: Registry, family: list[Bundle]) -> None:
    before = registry.entries()
    assert registry.add(family[0].path, by="bob", why="again") == before[0]
    assert registry.entries() == before


def test_promotions_and_rollbacks_say_who_and_why(registry: Registry, family: list[Bundle]) -> None:
    a, b, c = (bundle.bundle_id for bundle in family)
    assert registry.chosen("TEST") is None
    for bundle_id in (a, b, c):
        registry.promote(bundle_id, why="it earns more", by="ann", evidence={"p": 0.01})
    assert registry.chosen("TEST") == c
    made = registry.roll_back("TEST", why="it lost", by="bob")
    assert (made.bundle_id, made.previous, made.action) == (b, c, "rollback")
    assert registry.roll_back("TEST", why="this one too").bundle_id == a
    with pytest.raises(UsageError, match="there must be an earlier bundle for TEST"):
        registry.roll_back("TEST", why="more")
    registry.promote(c, why="it was the costs")
    assert registry.roll_back("TEST", why="no").bundle_id == a  # what was before, not b
    every = registry.promotions()
    assert [each.number for each in every] == list(range(1, 8))
    assert (every[0].by, every[0].why, every[0].evidence) == ("ann", "it earns more", {"p": 0.01})
    assert registry.promotions("OTHER") == []
    assert registry.verify() == []


def test_nothing_is_recorded_when_the_service_refuses(
    registry: Registry, family: list[Bundle]
) -> None:
    def refuse(path: Path) -> None:
        assert path.is_absolute()
        raise ServiceError("no")

    with pytest.raises(ServiceError):
        registry.promote(family[0].bundle_id, why="w", apply=refuse)
    assert registry.promotions() == []
    applied: list[Path] = []
    registry.promote(family[0].bundle_id, why="w", apply=applied.append)
    assert applied == [registry.path(family[0].bundle_id).resolve()]


def test_what_is_refused(registry: Registry, family: list[Bundle]) -> None:
    bundle_id = family[0].bundle_id
    with pytest.raises(UsageError, match="--why must say why"):
        registry.promote(bundle_id, why=" ")
    registry.promote(bundle_id, why="w")
    with pytest.raises(UsageError, match="is chosen for TEST already"):
        registry.promote(bundle_id, why="w")
    for wrong in (bundle_id[:3], "0000", ""):
        with pytest.raises(UsageError, match="found 0 for"):
            registry.entry(wrong)


@pytest.mark.parametrize("how", ["changed", "removed", "swapped", "forged"])
def test_promotions_that_are_not_what_was_written_are_found(
    registry: Registry, family: list[Bundle], how: str
) -> None:
    for bundle in family:
        registry.promote(bundle.bundle_id, why="w", by="ann")
    path = registry.folder / PROMOTIONS
    lines = path.read_text().splitlines()
    if how == "changed":
        lines[1] = lines[1].replace('"ann"', '"eve"')
    elif how == "removed":
        del lines[1]
    elif how == "forged":  # with the hash that fits it: the next line does not follow it
        values = json.loads(lines[0]) | {"by": "eve"}
        lines[0] = json.dumps(values | {"hash": _hash(GENESIS, values)})
    else:
        lines[0], lines[1] = lines[1], lines[0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="is not what was written"):
        registry.promotions()
    assert any("is not what was written" in problem for problem in registry.verify())


def test_verify_finds_damaged_and_unsigned_bundles(family: list[Bundle], tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    keys = read_public_keys(tmp_path / "key.pub")
    registry = Registry(tmp_path / "registry")
    registry.add(family[0].path, key=tmp_path / "key")
    registry.add(family[1].path)
    a, b = family[0].bundle_id, family[1].bundle_id
    registry.promote(a, why="w")
    assert registry.verify(keys) == []  # what is not chosen need not be signed
    registry.promote(b, why="w")
    assert registry.verify() == []
    assert ["must be signed" in problem for problem in registry.verify(keys)] == [True]
    path = signature_path(registry.path(a))
    values = json.loads(path.read_text())
    signed = registry.signature(a)
    assert signed is not None
    assert signed.key in keys
    path.write_text(json.dumps({**values, "signature": "AAAA"}))
    assert len(registry.verify(keys)) == 2
    weights = registry.path(b) / "actors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    assert any("hash mismatch" in problem for problem in registry.verify())
    with pytest.raises(UsageError):
        registry.entry("ffff")


def test_a_rollback_by_the_service_is_recorded_in_the_registry_of_its_bundles(
    registry: Registry,
    family: list[Bundle],
) -> None:
    a, b, c = (each.bundle_id for each in family)
    for bundle_id in (a, b):
        registry.promote(bundle_id, why="it earns more")
    found = registry_of(registry.path(b))
    assert found is not None and found.folder == registry.folder
    made = found.roll_back("TEST", why="it halted", by="the service", expected=(b, a))
    assert (made.action, made.bundle_id, made.previous, made.by) == (
        "rollback",
        a,
        b,
        "the service",
    )
    registry.promote(c, why="it earns more")
    for other in ((b, a), (c, b)):  # not what is chosen, not what was chosen before
        with pytest.raises(UsageError, match="must go back from"):
            registry.roll_back("TEST", why="it halted", expected=other)
    assert registry.chosen("TEST") == c
    assert registry_of(family[0].path) is None
