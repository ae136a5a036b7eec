"""Run by the environment's pytest: instruments, what the strategy refuses, the example node."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.errors import ConfigError
from rllib_tactical.gateways.nautilus import backtest
from rllib_tactical.gateways.nautilus.backtest import (
    bar_type,
    make_engine,
    ticks_of,
)
from rllib_tactical.gateways.nautilus.instruments import instrument_for, require_same
from rllib_tactical.gateways.nautilus.sandbox import sandbox_config, sandbox_node
from rllib_tactical.gateways.nautilus.strategy import NANOS, TacticalConfig, TacticalStrategy

FOLDER = os.environ["TACTICAL_TEST_BUNDLE"]
BUNDLE = load_bundle(Path(FOLDER))
START = 1_700_006_400 - 1_700_006_400 % 86_400


@pytest.mark.parametrize("name", ["TQQQ", "ES", "BTCUSDT", "EURUSD"])
def test_an_instrument_means_the_same_on_both_sides(name: str) -> None:
    own = load_instrument(name)
    made = instrument_for(own, "SIM")
    require_same(own, made)
    assert made.id == InstrumentId.from_str(f"{own.symbol}.SIM")
    others: dict[str, Any] = {"tick_size": 0.5, "point_value": 7.0, "lot_step": 3.0}
    for field, other in others.items():
        wrong = replace(own, **{field: other})
        with pytest.raises(ConfigError, match=f"found {field} .* instead of {other}"):
            require_same(wrong, made)


def engine_with(**changes: Any) -> tuple[Any, TacticalStrategy]:
    engine, usual = make_engine(BUNDLE)
    config = usual.config
    settings = {name: getattr(config, name) for name in TacticalConfig.__struct_fields__}
    settings |= {"strategy_id": "OTHER", "order_id_tag": "9", **changes}
    strategy = TacticalStrategy(TacticalConfig(**settings))
    engine.trader.remove_strategy(usual.id)
    engine.add_strategy(strategy)
    return engine, strategy


def data(count: int, stamp: str = "close") -> list[Any]:
    instrument = instrument_for(BUNDLE.instrument, "SIM")
    made: list[Any] = []
    for t in range(count):
        open_s = START + 300 * t
        made += ticks_of(instrument, (100.0, 100.5, 99.5, 100.0), open_s, 300)
        end = (open_s + 300) * NANOS
        ohlc = (Price(price, 2) for price in (100.0, 100.5, 99.5, 100.0))
        stamped = end if stamp == "close" else open_s * NANOS
        made.append(Bar(bar_type(BUNDLE, instrument.id), *ohlc, Quantity(7, 9), stamped, end))
    return made


def test_bars_of_another_length_are_refused_and_nothing_is_traded() -> None:
    kind = BarType.from_str("TEST.SIM-1-MINUTE-LAST-EXTERNAL")
    engine, strategy = engine_with(bar_type=kind)
    engine.add_data(data(3))
    engine.run()
    assert strategy.was_refused == "bar_type must have bars of 300 s, found 60 s"
    assert strategy.is_stopped
    engine.dispose()


@pytest.mark.parametrize("stamp", ["open", "close"])
def test_a_bar_is_known_by_its_open_however_it_is_stamped(stamp: str) -> None:
    engine, strategy = engine_with(stamp=stamp)
    engine.add_data(data(5, stamp))
    engine.run()
    market = strategy.service._machine.of().market()
    assert (market.bars, market.last_s, market.price) == (5, START + 4 * 300, 100.0)
    engine.dispose()


def test_a_stop_closes_the_position_where_it_is_asked_to() -> None:
    engine, strategy = engine_with(flatten_on_stop=True)
    sent: list[str] = []
    strategy.__dict__["close_position"] = sent.append
    strategy.trader._broker = strategy
    engine.add_data(data(3))
    engine.run(streaming=True)
    order = strategy.order_factory.market(
        strategy.config.instrument_id, 1, instrument_for(BUNDLE.instrument, "SIM").make_qty(2)
    )
    strategy.submit_order(order)
    engine.clear_data()
    engine.add_data([each for each in data(5) if each.ts_init > (START + 900) * NANOS])
    engine.run(streaming=True)
    engine.end()
    assert [order_id.partition("-")[0] for order_id in sent] == ["stop"]
    engine.dispose()


def test_bars_of_a_file_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(
        "timestamp,open,high,low,close,volume\n"
        "2024-02-05T14:30:00Z,100.1,100.2,99.9,100.0,7\n"
        "2024-02-05T14:35:00+00:00,100.0,100.5,100.0,100.3,0.125\n"
    )
    bars = backtest.read_csv(path)
    assert bars.timestamp_s.tolist() == [1_707_143_400, 1_707_143_700]
    assert (bars.high.tolist(), bars.volume.tolist()) == ([100.2, 100.5], [7.0, 0.125])


def test_what_is_wrong_with_a_run_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, said in (("", "there must be a bar"), ("a,b\n1,2\n", "no bars of `tactical data")):
        path = tmp_path / "bars.csv"
        path.write_text(text)
        given = ["--bundle", FOLDER, "--data", str(path), "--out", str(tmp_path / "out.json")]
        assert backtest.main(given) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err
    assert not (tmp_path / "out.json").exists()


def test_the_example_node_is_built_with_the_bundle_s_equity() -> None:
    config = sandbox_config(FOLDER, "TEST.BINANCE", "USD")
    (client,) = config.exec_clients.values()
    assert client.starting_balances == ["100000.00 USD"]
    assert config.exec_engine.reconciliation
    node = sandbox_node(FOLDER, "TEST.BINANCE", "USD")
    node.build()
    (strategy,) = node.trader.strategies()
    assert isinstance(strategy, TacticalStrategy)
    assert (strategy.config.live, str(strategy.config.bar_type.spec)) == (True, "5-MINUTE-LAST")
    node.dispose()
