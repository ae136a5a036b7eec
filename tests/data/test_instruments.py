from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.data.instruments import (
    list_instruments,
    load_instrument,
    resolve_base_quantity,
)
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ConfigError, OrderError, UnreadableError

SHIPPED = ["BTCUSDT", "ES", "ETHUSDT", "EURUSD", "GC", "NQ", "QQQ", "SPY", "SYNTH", "TQQQ"]


def test_the_shipped_names() -> None:
    assert list_instruments() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_instruments_load_and_have_costs(name: str) -> None:
    instrument = load_instrument(name.lower())
    assert instrument.symbol == name
    assert instrument.commission_per_lot > 0 and instrument.half_spread_ticks > 0
    if instrument.base_quantity is not None:
        steps = instrument.base_quantity / instrument.lot_step
        assert steps == pytest.approx(round(steps))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("symbol: MINE\ntick_size: 1\n")
    assert load_instrument(path) == Instrument(symbol="MINE", tick_size=1.0)


def test_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="found 'NOPE', expected one of BTCUSDT, ES, ETHUSDT"):
        load_instrument("NOPE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol: A", "tick_size"),
        ("symbol: A\ntick_size: 1\nspread: 2", "spread"),
        ("symbol: A\ntick_size: '1'", "tick_size: .*valid number, found '1'"),
        ("symbol: A\ntick_size: true", "tick_size"),
        ("symbol: 5\ntick_size: 1", "symbol: .*found 5 .put text .* in quotes"),
        ("symbol: true\ntick_size: 1", "symbol: .*found True .put text .* in quotes"),
        ("symbol: 1e5\ntick_size: 1", "symbol: .*found 100000.0 .put text .* in quotes"),
        ("symbol: A\ntick_size: 2022-01-01", "tick_size"),
        ("symbol: A\ntick_size: -1", r"instrument\.tick_size must be finite and > 0, found -1"),
        ("symbol: A\ntick_size: .nan", "tick_size"),
        ("symbol: A\ntick_size: .inf", "tick_size"),
        ("symbol: A\ntick_size: 1\ncalendar: NOPE", "calendar: found 'NOPE'.*XNYS"),
        ("symbol: A\ntick_size: 1\ntimezone: Mars", "timezone: found 'Mars'"),
        ("[1, 2]", r"found \[1, 2\]"),
        ("", "found None"),
    ],
)
def test_bad_files_name_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_instrument(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol: A\ntick_size: 1\ntick_size: 2", "'tick_size' appears more than once"),
        ("? [a, b]\n: 1", "YAML"),
        ("a: : b", "YAML"),
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UnreadableError, match=message):
        load_instrument(path)


@pytest.mark.parametrize("symbol", ["ON", "000660", "NO", "Y"])
def test_symbols_that_look_like_something_else_stay_text(tmp_path: Path, symbol: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"symbol: {symbol}\ntick_size: 1e-3\n")
    assert load_instrument(path) == Instrument(symbol=symbol, tick_size=0.001)


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(UnreadableError):
            load_instrument(path)


def test_sizing_by_atr() -> None:
    base = Instrument(symbol="A", tick_size=0.01)
    assert resolve_base_quantity(base, 0.119).base_quantity == 840.0
    future = Instrument(symbol="A", tick_size=0.25, point_value=50.0)
    assert resolve_base_quantity(future, 5.0).base_quantity == 1.0
    coin = Instrument(symbol="A", tick_size=0.1, lot_step=0.001)
    assert resolve_base_quantity(coin, 188.887).base_quantity == 0.529
    tenth = Instrument(symbol="A", tick_size=0.1, lot_step=0.1)
    assert resolve_base_quantity(tenth, 100 / 0.3).base_quantity == 0.3


def test_a_given_size_stays() -> None:
    instrument = load_instrument("TQQQ")
    assert resolve_base_quantity(instrument, float("nan")) is instrument


@pytest.mark.parametrize("atr", [0.0, -1.0, float("nan"), float("inf")])
def test_sizing_needs_an_atr(atr: float) -> None:
    with pytest.raises(OrderError, match="mean ATR > 0"):
        resolve_base_quantity(load_instrument("SYNTH"), atr)
