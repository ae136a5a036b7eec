"""``in_engine_strategy`` has the tests of instruments; here: the strategy's tests include them."""

from __future__ import annotations

from pathlib import Path

INSIDE = Path(__file__).with_name("in_engine_strategy.py")


def test_instruments_of_every_kind_are_mapped_in_the_engine() -> None:
    text = INSIDE.read_text(encoding="utf-8")
    for name in ("TQQQ", "ES", "BTCUSDT", "EURUSD"):
        assert f'"{name}"' in text
