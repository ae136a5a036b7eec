"""The backtest report: charts, tables and the files that a backtest writes."""
