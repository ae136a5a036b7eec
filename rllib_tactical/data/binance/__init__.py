"""Download crypto bars from the public Binance archive."""
