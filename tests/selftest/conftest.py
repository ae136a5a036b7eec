from tests.backtest.conftest import bundle, history  # noqa: F401  (fixtures)
