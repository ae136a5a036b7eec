"""What each field of an instrument means, for the YAML to start from and the documentation."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from rllib_tactical.config.loader import to_dict
from rllib_tactical.domain.types import Instrument

FIELDS: Final[dict[str, tuple[str, str]]] = {
    "symbol": ("text", "Name in requests, reports and bundles. Required."),
    "tick_size": ("price", "Smallest step of a price, 1e-12 at least. Required."),
    "point_value": ("dollars", "What one lot gains when the price rises by 1."),
    "lot_step": ("lots", "Smallest step of a quantity; also the smallest order."),
    "base_quantity": (
        "lots",
        "Size of an order with full confidence; null sizes one mean ATR at about $100.",
    ),
    "commission_per_lot": ("dollars", "Paid per lot and side; below zero it is a rebate."),
    "half_spread_ticks": ("ticks", "Half the bid-ask spread, paid by market orders per side."),
    "slippage_ticks": ("ticks", "By how much market orders fill worse besides the spread."),
    "slippage_atr_share": ("share of ATR", "Slippage that grows with the market's moves."),
    "calendar": (
        "name",
        "Trading sessions: 24/7, CMES, COMEX, FX or a calendar of exchange_calendars (XNYS).",
    ),
    "timezone": ("IANA name", "The exchange's own time zone, such as America/New_York."),
    "gap_proximity_points": (
        "price",
        "How near a gap counts as reached for the bonus of the fvg agent; null: one ATR.",
    ),
    "pnl_scale": ("dollars", "Scale of the reward; null: that of the configuration."),
    "funding_rate": (
        "share of value",
        "Paid by longs to shorts at each time of funding of a perpetual; below zero by shorts.",
    ),
    "funding_hours": ("hours", "From one time of funding to the next, from 00:00 UTC; divides 24."),
}
"""Name of a field: its unit and what it means, in the order of ``Instrument``."""


def instrument_yaml(instrument: Instrument) -> str:
    """Return a YAML file of an instrument in which every field is explained."""
    defaults = {field.name: field.default for field in dataclasses.fields(Instrument)}
    lines = ["# An instrument: what is traded and what trading it costs."]
    for name, value in to_dict(instrument).items():
        unit, text = FIELDS[name]
        default = defaults[name]
        known = "" if default is dataclasses.MISSING else f" Default: {_scalar(default)}."
        lines += [f"# {text} In {unit}.{known}", f"{name}: {_scalar(value)}"]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    return json.dumps(value)
