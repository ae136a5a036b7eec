"""An example to start from: live bars of a venue, orders filled by Nautilus' sandbox.

    node = sandbox_node("bundle", "BTCUSDT-PERP.BINANCE")
    node.add_data_client_factory("BINANCE", BinanceLiveDataClientFactory)
    node.build()
    node.run()

Change the execution client's configuration and factory for those of a real account: nothing else.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import (
    ImportableStrategyConfig,
    LiveExecEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.identifiers import InstrumentId

from rllib_tactical.bundle.bundle import load_bundle

_STRATEGY = "rllib_tactical.gateways.nautilus.strategy"


def sandbox_config(
    bundle: str, instrument_id: str, currency: str = "USDT", **data_clients: Any
) -> TradingNodeConfig:
    """Return the configuration of a node that trades a bundle in the sandbox.

    Args:
        bundle: folder of the bundle.
        instrument_id: of the venue; tick, lot step and multiplier must be the bundle's.
        currency: of the account, which begins with the equity of the bundle's rules.
        data_clients: configuration of the venue's data client, by the venue's name.

    Raises:
        TacticalError: the bundle cannot be used.
    """
    made = load_bundle(Path(bundle))
    venue = InstrumentId.from_str(instrument_id).venue.value
    minutes = made.bar_seconds // 60
    return TradingNodeConfig(
        trader_id="TACTICAL-001",
        logging=LoggingConfig(log_level="INFO"),
        # at every start the venue's orders, fills and positions come first
        exec_engine=LiveExecEngineConfig(reconciliation=True),
        data_clients=data_clients,
        exec_clients={
            venue: SandboxExecutionClientConfig(
                venue=venue,
                starting_balances=[f"{made.rules.risk.initial_equity:.2f} {currency}"],
                base_currency=currency,
                default_leverage=Decimal(made.rules.risk.max_leverage).quantize(Decimal(1)),
                reject_stop_orders=True,
            )
        },
        strategies=[
            ImportableStrategyConfig(
                strategy_path=f"{_STRATEGY}:TacticalStrategy",
                config_path=f"{_STRATEGY}:TacticalConfig",
                config={
                    "bundle": bundle,
                    "instrument_id": instrument_id,
                    "bar_type": f"{instrument_id}-{minutes}-MINUTE-LAST-EXTERNAL",
                },
            )
        ],
    )


def sandbox_node(
    bundle: str, instrument_id: str, currency: str = "USDT", **data_clients: Any
) -> TradingNode:
    """Return a node for ``sandbox_config``; the data client's factory is the caller's to add."""
    node = TradingNode(sandbox_config(bundle, instrument_id, currency, **data_clients))
    venue = InstrumentId.from_str(instrument_id).venue.value
    node.add_exec_client_factory(venue, SandboxLiveExecClientFactory)
    return node
