"""Instruments of both sides: what Nautilus trades must be what the bundle was made for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AssetClass
from nautilus_trader.model.identifiers import InstrumentId, Symbol
from nautilus_trader.model.instruments import CryptoPerpetual, Equity, FuturesContract
from nautilus_trader.model.objects import Price, Quantity

from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ConfigError

_FAR_NS: Final = 4_102_444_800 * 10**9  # 2100: contracts of a backtest do not expire


def require_same(bundle: Instrument, engine: Any) -> None:
    """Refuse an instrument of the engine in which orders would mean something else.

    Raises:
        ConfigError: tick, lot step or point value differ; names how.
    """
    pairs = {
        "tick_size": (bundle.tick_size, engine.price_increment),
        "lot_step": (bundle.lot_step, engine.size_increment),
        "point_value": (bundle.point_value, engine.multiplier),
    }
    differ = [
        f"{name} {found} instead of {expected!r}"
        for name, (expected, found) in pairs.items()
        if Decimal(repr(expected)) != Decimal(str(found))
    ]
    if differ:
        raise ConfigError(
            f"{engine.id} must be the bundle's {bundle.symbol}, found {', '.join(differ)}"
        )


def instrument_for(bundle: Instrument, venue: str) -> Any:
    """Return an instrument of the engine for a backtest: an equity, a future or a perpetual.

    Args:
        bundle: the bundle's instrument; its costs are left to the venue's models.
        venue: name of the simulated venue.
    """
    instrument_id = InstrumentId.from_str(f"{bundle.symbol}.{venue}")
    tick, lot = _decimals(bundle.tick_size), _decimals(bundle.lot_step)
    common: dict[str, Any] = {
        "instrument_id": instrument_id,
        "raw_symbol": Symbol(bundle.symbol),
        "price_precision": tick,
        "price_increment": Price(bundle.tick_size, tick),
        "ts_event": 0,
        "ts_init": 0,
    }
    if bundle.lot_step == 1.0 and bundle.point_value == 1.0:
        return Equity(currency=USD, lot_size=Quantity.from_int(1), **common)
    if bundle.lot_step == 1.0:
        return FuturesContract(
            asset_class=AssetClass.INDEX,
            currency=USD,
            multiplier=Quantity.from_str(_plain(bundle.point_value)),
            lot_size=Quantity.from_int(1),
            underlying=bundle.symbol,
            activation_ns=0,
            expiration_ns=_FAR_NS,
            **common,
        )
    return CryptoPerpetual(
        base_currency=USD,
        quote_currency=USD,
        settlement_currency=USD,
        is_inverse=False,
        size_precision=lot,
        size_increment=Quantity(bundle.lot_step, lot),
        multiplier=Quantity.from_str(_plain(bundle.point_value)),
        **common,
    )


def _decimals(step: float) -> int:
    """Return how many digits a step has after the point."""
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _plain(value: float) -> str:
    return f"{Decimal(repr(value)).normalize():f}"
