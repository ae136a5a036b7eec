"""The gateway to nautilus_trader (LGPL, an extra): a strategy that runs a bundle in process.

Nothing outside of this package imports nautilus_trader.
"""
