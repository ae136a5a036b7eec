"""``tactical state``: show, verify, restore and archive, as a user calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli.main import main
from rllib_tactical.errors import TacticalError
from serve.state.history import keep_short, load
from serve.state.sqlite_store import SqliteStore
from tests.serve.state.stores import KINDS, any_store
from tests.serve.state.test_inspection import filled


def told(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["state", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refusal(*arguments: str) -> str:
    with pytest.raises(TacticalError) as error:
        CliRunner().invoke(main, ["state", *arguments], catch_exceptions=False)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_shown_verified_and_archived(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    with any_store(kind, tmp_path) as store:
        filled(store, bundle)
        where = ("--state", store.name)
        shown = dict(line.split(None, 1) for line in told("show", *where).splitlines())
        assert (shown["records"], shown["override"]) == ("12", "pause")
        assert shown["symbol"] == bundle.instrument.symbol
        assert (shown["bundle_id"], shown["launched_with"]) == (bundle.bundle_id,) * 2
        assert shown["standing_order"] == "-"
        assert told("verify", *where) == "12 records are whole, 0 of them archived\n"
        assert told("archive", *where, "--keep", "2") == "0 records archived\n"  # no snapshot yet
        machine, head, _ = load(store)
        assert machine is not None
        keep_short(store, head, machine.dump())
        assert told("archive", *where, "--keep", "2") == "10 records archived\n"
        assert told("verify", *where) == "12 records are whole, 10 of them archived\n"
        assert "there is nothing to restore" in told("restore", *where, "--yes")


def test_a_damaged_state_keeps_what_is_whole(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "states" / "TEST"
    store = SqliteStore(folder)
    filled(store, bundle)
    store._writer.execute("DELETE FROM records WHERE sequence = 7")
    store.close()
    where = ("--state", str(tmp_path / "states"))
    assert refusal("verify", *where) == ("record 7 is missing; everything is whole up to record 6")
    assert "`tactical state restore" in refusal("show", *where)
    assert told("restore", *where) == (
        "found: record 7 is missing\n6 records would be kept\ndo it with --yes\n"
    )
    assert "is damaged" in refusal("show", *where)  # nothing was done
    done = told("restore", *where, "--yes")
    assert f"the old state is in {folder / 'state.db.damaged-1'}" in done
    assert told("verify", *where) == "6 records are whole, 0 of them archived\n"
    machine, _, _ = load(store := SqliteStore(folder))
    assert machine is not None
    assert machine._requests.image().keys() == {f"request-{i}" for i in range(5)}
    store.close()


@pytest.mark.parametrize("damage", ["missing", "no database"])
def test_a_copy_takes_the_place_of_what_cannot_be_opened(
    bundle: Bundle, tmp_path: Path, damage: str
) -> None:
    folder, copy = tmp_path / "TEST", tmp_path / "copy"
    store = SqliteStore(folder)
    filled(store, bundle)
    store.close()
    shutil.copytree(folder, copy)
    if damage == "missing":
        (folder / "state.db").unlink()
    else:
        (folder / "state.db").write_bytes(b"x" * 9000)
    assert refusal("restore", "--state", str(folder), "--yes")
    told("restore", "--state", str(folder), "--from", str(copy), "--yes")
    assert told("verify", "--state", str(folder)) == "12 records are whole, 0 of them archived\n"
    assert (folder / "state.head.damaged-1").exists()
