"""A bundle in Nautilus' own backtest engine, on bars of a file.

    python -m rllib_tactical.gateways.nautilus.backtest --bundle DIR --data CSV --out JSON

Bars become ticks: the open, the low and the high (or the high first), and the close. An order
that is given at a bar's close meets the next bar's open, and one that is given before a session's
close the last price.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FeeModel, LatencyModel
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Money, Price, Quantity

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import TacticalError, UnreadableError
from rllib_tactical.gateways.nautilus.instruments import instrument_for
from rllib_tactical.gateways.nautilus.strategy import NANOS, TacticalConfig, TacticalStrategy

VENUE: Final = "SIM"
DEPTH: Final = 1_000_000_000
"""Lots on offer at each price, unless a test says otherwise: orders fill whole."""

_MILLI: Final = NANOS // 1000
_SIDES: Final = {OrderSide.BUY: "BUY", OrderSide.SELL: "SELL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFill:
    """One fill of the engine; ``order`` is its client order id, ``time_s`` UTC epoch seconds."""

    order: str
    side: str
    quantity: float
    price: float
    commission: float
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """What came of a run; ``seconds`` is what it took after the bundle was loaded."""

    fills: list[EngineFill]
    equity: float
    service_equity: float
    bars: int
    seconds: float


class LotFee(FeeModel):
    """A commission per lot and side, in dollars; a fill's is rounded to the cent."""

    def __init__(self, per_lot: float) -> None:
        super().__init__()
        self._per_lot = per_lot

    def get_commission(self, order: Any, fill_qty: Any, fill_px: Any, instrument: Any) -> Money:
        """Return the commission of a fill."""
        return Money(self._per_lot * fill_qty.as_double(), USD)


def run_engine(
    path: Path, bars: Bars, first: Literal["low", "high"] = "low", precision: int = 9
) -> EngineRun:
    """Trade bars with the bundle at ``path`` in a ``BacktestEngine``.

    Args:
        path: the bundle.
        bars: of its instrument, whole ones.
        first: whether a bar's low or its high comes first.
        precision: digits of the volume that count.

    Raises:
        TacticalError: the bundle cannot be used, or not for these bars.
    """
    bundle = load_bundle(path)
    began = time.perf_counter()
    engine, strategy = make_engine(bundle)
    engine.add_data(_data(bundle, bars, first, precision, engine.cache.instruments()[0].id))
    engine.run()
    if strategy.was_refused is not None:
        raise TacticalError(strategy.was_refused)
    orders = engine.cache.orders()
    found = [event for order in orders for event in order.events if hasattr(event, "last_px")]
    fills = [
        EngineFill(
            order=event.client_order_id.value,
            side=event.order_side.name
            if hasattr(event.order_side, "name")
            else _SIDES[event.order_side],
            quantity=float(str(event.last_qty)),
            price=float(str(event.last_px)),
            commission=event.commission.as_double(),
            time_s=event.ts_event / NANOS,
        )
        for event in sorted(found, key=lambda event: event.ts_event)
    ]
    account = strategy.account()
    seen = strategy.service.account()
    engine.dispose()
    return EngineRun(
        fills=fills,
        equity=float(account.equity or 0.0),
        service_equity=seen.equity,
        bars=len(bars),
        seconds=time.perf_counter() - began,
    )


def make_engine(bundle: Bundle, **venue: Any) -> tuple[BacktestEngine, TacticalStrategy]:
    """Return an engine with one venue, the bundle's instrument and the strategy."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id="TACTICAL-001", logging=LoggingConfig(log_level="ERROR", bypass_logging=True)
        )
    )
    instrument = bundle.instrument
    settings: dict[str, Any] = {
        "venue": Venue(VENUE),
        "oms_type": OmsType.NETTING,
        "account_type": AccountType.MARGIN,
        "base_currency": USD,
        "starting_balances": [Money(bundle.rules.risk.initial_equity, USD)],
        "default_leverage": Decimal(1000),
        "bar_execution": False,
        "trade_execution": True,
        "reject_stop_orders": False,  # a stop that the market has passed fills at once
        # an order reaches the venue after the close at which it is given, before the next open
        "latency_model": LatencyModel(base_latency_nanos=1),
        "fee_model": LotFee(instrument.commission_per_lot),
    }
    engine.add_venue(**(settings | venue))
    traded = instrument_for(instrument, VENUE)
    engine.add_instrument(traded)
    strategy = TacticalStrategy(
        TacticalConfig(
            bundle=str(bundle.path),
            instrument_id=traded.id,
            bar_type=bar_type(bundle, traded.id),
            live=False,
            history=0,
            flatten_before_close_s=1.0,
            flatten_on_stop=False,
        )
    )
    engine.add_strategy(strategy)
    return engine, strategy


def bar_type(bundle: Bundle, instrument_id: Any) -> BarType:
    """Return the type of the bundle's bars."""
    minutes = bundle.bar_seconds // 60
    return BarType.from_str(f"{instrument_id}-{minutes}-MINUTE-LAST-EXTERNAL")


def ticks_of(
    instrument: Any,
    prices: tuple[float, float, float, float],
    open_s: int,
    bar_seconds: int,
    first: Literal["low", "high"] = "low",
    depth: float = DEPTH,
) -> list[TradeTick]:
    """Return a bar's open, high, low, close as ticks, in the order in which they come."""
    open_, high, low, close = prices
    second, third = (low, high) if first == "low" else (high, low)
    start, end = open_s * NANOS, (open_s + bar_seconds) * NANOS
    moments = (
        (start + 1, open_),
        (start + NANOS, open_),  # what follows from the first fill arrives at the same price
        (start + (end - start) // 3, second),
        (start + 2 * (end - start) // 3, third),
        (end - 2 * NANOS, close),
        (end - 500 * _MILLI, close),  # fills what is sent shortly before a session's close
    )
    return [
        TradeTick(
            instrument.id,
            Price(price, instrument.price_precision),
            Quantity(depth, instrument.size_precision),
            AggressorSide.NO_AGGRESSOR,
            TradeId(f"{moment:x}"),
            moment,
            moment,
        )
        for moment, price in moments
    ]


def _data(
    bundle: Bundle, bars: Bars, first: Literal["low", "high"], precision: int, instrument_id: Any
) -> list[Any]:
    instrument = instrument_for(bundle.instrument, VENUE)
    kind, seconds = bar_type(bundle, instrument_id), bundle.bar_seconds
    digits, data = instrument.price_precision, []
    columns = (bars.timestamp_s, bars.open, bars.high, bars.low, bars.close, bars.volume)
    for open_s, *prices, volume in zip(*(column.tolist() for column in columns), strict=True):
        open_, high, low, close = prices
        data += ticks_of(instrument, (open_, high, low, close), open_s, seconds, first)
        end = (open_s + seconds) * NANOS
        ohlc = (Price(price, digits) for price in prices)
        data.append(Bar(kind, *ohlc, Quantity(volume, precision), end, end))
    return data


def read_csv(path: Path) -> Bars:
    """Return the bars of a file as ``tactical data import`` writes it.

    Raises:
        UnreadableError: it is none.
    """
    names = ("timestamp", "open", "high", "low", "close", "volume")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[row[name] for name in names] for row in csv.DictReader(file)]
        times = [_epoch(row[0]) for row in rows]
        values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UnreadableError(f"{path}: no bars of `tactical data import`: {error}") from error
    if not rows:
        raise UnreadableError(f"{path}: there must be a bar, found none")
    return Bars(np.array(times, dtype=np.int64), *values.T.copy())


def _epoch(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m rllib_tactical.gateways.nautilus.backtest", description=__doc__
    )
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR")
    parser.add_argument("--data", required=True, type=Path, metavar="CSV")
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")
    parser.add_argument("--first", choices=["low", "high"], default="low")
    given = parser.parse_args(arguments)
    try:
        run = run_engine(given.bundle, read_csv(given.data), given.first)
    except TacticalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    given.out.write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")
    print(f"{run.bars:,} bars, {len(run.fills):,} fills in {run.seconds:.1f} s: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
