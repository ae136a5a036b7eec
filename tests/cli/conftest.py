from tests.backtest.conftest import bundle, tape  # noqa: F401  (fixtures)
