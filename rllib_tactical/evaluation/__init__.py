"""Walk-forward evaluation and self-tests: training, backtest and statistics put together."""
