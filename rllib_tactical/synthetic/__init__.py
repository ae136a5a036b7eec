"""Synthetic markets: synthetic bars with a planted edge, and the policy that knows it."""

from rllib_tactical.synthetic.generate import Signals, SyntheticMarket, make_market
from rllib_tactical.synthetic.plan import MARKETS, pay_probability

__all__ = ["MARKETS", "Signals", "SyntheticMarket", "make_market", "pay_probability"]
