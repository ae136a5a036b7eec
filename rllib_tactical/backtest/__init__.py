"""Backtest: votes over bars through the product's own simulator, judged and written down."""
