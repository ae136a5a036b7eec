"""Synthetic markets: synthetic bars with a planted edge, and the policy that knows it."""

from rllib_tactical.synthetic.generate import (
    Signals,
    SyntheticMarket,
    make_from_parameters,
    make_market,
)
from rllib_tactical.synthetic.parameters import MarketParameters, parameters_named
from rllib_tactical.synthetic.plan import MARKETS, pay_probability

__all__ = [
    "MARKETS",
    "MarketParameters",
    "Signals",
    "SyntheticMarket",
    "make_from_parameters",
    "make_market",
    "parameters_named",
    "pay_probability",
]
