"""Where the state of one symbol is, and where that of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError, UsageError
from serve.state.inspection import find_state, show_state
from serve.state.opening import FolderLock, open_store, shared_state
from serve.state.places import place_state, shared_name
from serve.state.records import ModelRecord, model_record
from tests.serve.state.test_shared import paused


def chosen(bundle: Bundle, symbol: str) -> ModelRecord:
    record = model_record(bundle, "first")
    instrument = record.instrument | {"symbol": symbol}
    return ModelRecord(
        record.path, record.bundle_id, instrument, record.risk, record.bar_seconds, "first"
    )


def stored(bundle: Bundle, name: str, *symbols: str) -> int:
    """Make a state with these symbols and a pause; return its version."""
    store = open_store(name)
    state = shared_state(store, *(chosen(bundle, symbol) for symbol in symbols))
    record = paused(1)
    from serve.state.records import entry_of

    store.append(state.machine.version, [entry_of(record)])
    state.refresh()
    store.close()
    return state.machine.version


def test_one_symbol_has_a_folder_and_several_share_the_one_around(
    bundle: Bundle, tmp_path: Path
) -> None:
    where = str(tmp_path)
    assert place_state(where, ["A"]) == str(tmp_path / "A")
    assert place_state(where, ["A", "B"]) == where
    stored(bundle, where, "A", "B")
    assert place_state(where, ["A", "B", "C"]) == where
    assert place_state(where, ["B"]) == where  # which has its account
    assert place_state(where, ["C"]) == str(tmp_path / "C")
    assert shared_name("redis://server:1/0") == "redis://server:1/0#.all"
    stored(bundle, str(tmp_path / "B"), "B")
    for symbols in (["B"], ["A", "B"]):
        with pytest.raises(ServiceError, match="the state of B must be in one place"):
            place_state(where, symbols)


def test_the_state_of_one_symbol_becomes_that_of_all(bundle: Bundle, tmp_path: Path) -> None:
    own = tmp_path / "A"
    version = stored(bundle, str(own), "A")
    (own / "decisions").mkdir()
    (own / "decisions" / "kept").touch()
    lock = FolderLock(own, alone=False)
    with pytest.raises(ServiceError, match="another service is using it"):
        place_state(str(tmp_path), ["A", "B"])
    lock.release()
    assert place_state(str(tmp_path), ["A", "B"]) == str(tmp_path)
    assert (tmp_path / "decisions" / "kept").exists()
    shown = show_state(str(tmp_path))
    assert (shown.records, [each.symbol for each in shown.symbols]) == (version, ["A"])
    assert str(shown.symbols[0].override) == "pause"


def test_a_move_that_was_cut_off_goes_on(bundle: Bundle, tmp_path: Path) -> None:
    own = tmp_path / "A"
    version = stored(bundle, str(own), "A")
    moving = own.rename(tmp_path / ".moving")
    (moving / "state.head").rename(tmp_path / "state.head")
    assert place_state(str(tmp_path), ["A", "B"]) == str(tmp_path)
    assert show_state(str(tmp_path)).records == version


def test_states_that_are_apart_are_not_merged(bundle: Bundle, tmp_path: Path) -> None:
    for symbol in ("A", "B"):
        stored(bundle, str(tmp_path / symbol), symbol)
    with pytest.raises(ServiceError, match="found A, B with a state of its own"):
        place_state(str(tmp_path), ["A", "B"])
    assert place_state(str(tmp_path), ["C", "D"]) == str(tmp_path)


def test_commands_find_the_state_of_a_symbol(bundle: Bundle, tmp_path: Path) -> None:
    stored(bundle, str(tmp_path), "A", "B")
    stored(bundle, str(tmp_path / "C"), "C")
    for symbol, name in ((None, tmp_path), ("A", tmp_path), ("C", tmp_path / "C")):
        assert find_state(str(tmp_path), symbol) == str(name)
    assert [each.symbol for each in show_state(str(tmp_path)).symbols] == ["A", "B"]
    assert [each.symbol for each in show_state(str(tmp_path), "B").symbols] == ["B"]
    with pytest.raises(UsageError, match="--symbol must be one of A, B, found C"):
        show_state(str(tmp_path), "C")
