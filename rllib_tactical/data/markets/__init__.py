"""Learnability markets: synthetic bars with a planted edge, and the policy that knows it."""

from rllib_tactical.data.markets.generate import MARKETS, LearnabilityMarket, Signals, make_market

__all__ = ["MARKETS", "LearnabilityMarket", "Signals", "make_market"]
