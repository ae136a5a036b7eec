from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import WINDOW
from rllib_tactical.errors import FeatureError, UsageError
from rllib_tactical.synthetic import MARKETS, make_market
from rllib_tactical.synthetic.oracle import ORACLES, oracle_votes
from tests.synthetic.rivals import Line, best_of, market_lines

pytestmark = pytest.mark.slow

DAY = 288
SEEDS = (21, 22, 23)


@pytest.fixture(scope="module")
def lines() -> dict[str, list[Line]]:
    return {name: market_lines(name, SEEDS, 42 * DAY) for name in MARKETS}


@pytest.mark.parametrize("name", MARKETS)
def test_the_oracle_uses_no_future(name: str) -> None:
    market = make_market(name, 9, 3000, 0.0)
    table = compute_features(market.bars)
    whole = oracle_votes(name, table.raw, table.close)
    assert np.any(whole.index[:, 0] != 1)
    for length in (700, 1500, 2222):
        prefix = compute_features(market.bars[:length])
        part = oracle_votes(name, prefix.raw, prefix.close)
        np.testing.assert_array_equal(part.index, whole.index[:length])


def test_the_oracle_reads_matrices_and_last_rows_alike() -> None:
    gap = make_market("gap", 3, 3_000, 0.0)
    table = compute_features(gap.bars)
    t = gap.signals.bar[gap.signals.bar >= WINDOW][:20]
    matrices = np.stack([table.raw[bar - WINDOW + 1 : bar + 1] for bar in t])
    from_matrix = oracle_votes("gap", matrices, table.close[t])
    from_rows = oracle_votes("gap", table.raw[t], table.close[t])
    np.testing.assert_array_equal(from_matrix.index, from_rows.index)
    assert np.all(from_matrix.confidence == 1.0)


def row(**columns: float) -> np.ndarray:
    names = ("bullish", "bearish", "level", "age", "touched", "momentum", "ratio")
    return np.array([[columns.get(name, 0.0) for name in names]])


@pytest.mark.parametrize(
    ("name", "columns", "side"),
    [
        ("gap", {"touched": 1, "age": 5, "level": 99.9}, 1),
        ("gap", {"touched": 1, "age": 5, "level": 100.1}, -1),
        ("gap", {"touched": 1, "age": 4, "level": 99.9}, 0),
        ("gap", {"touched": 0, "age": 5, "level": 99.9}, 0),
        ("gap", {"touched": 1, "age": 5, "level": 99.8}, 0),
        ("gap", {"momentum": 1.0, "ratio": 3.0}, 0),
        ("momentum", {"momentum": 0.5, "ratio": 2.0}, 1),
        ("momentum", {"momentum": -0.5, "ratio": 2.0}, -1),
        ("momentum", {"momentum": 0.48, "ratio": 2.0}, 0),
        ("momentum", {"momentum": 0.5, "ratio": 1.9}, 0),
        ("regime", {"momentum": -0.5, "ratio": 2.0}, -1),
        ("regime", {"touched": 1, "age": 9, "level": 99.9, "momentum": -0.5, "ratio": 2.0}, 1),
    ],
)
def test_what_the_oracle_does(name: str, columns: dict[str, float], side: int) -> None:
    close = np.array([100.0])
    assert ORACLES[name](row(**columns), close)[0] == side
    votes = oracle_votes(name, row(**columns), close)
    assert votes.signed[0].tolist() == ([side, side, 0] if side else [0, 0, -1])


def test_wrong_oracle_input() -> None:
    with pytest.raises(UsageError, match="market"):
        oracle_votes("trend", np.zeros((1, 7)), np.ones(1))
    for raw, close in (((7,), (7,)), ((2, 6), (2,)), ((2, 7), (3,))):
        with pytest.raises(FeatureError, match="must"):
            oracle_votes("gap", np.zeros(raw), np.ones(close))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), [("gap", "momentum"), ("momentum", "gap")])
def test_the_oracle_beats_every_rule_of_the_other_family(
    name: str, other: str, lines: dict[str, list[Line]]
) -> None:
    oracle, rival = lines[name][0], best_of(lines[name], other)
    assert oracle.sessions == 3 * 40
    assert oracle.mean > 10 * oracle.error
    assert oracle.mean > 1500
    assert 6 < oracle.trades < 15
    assert oracle.win_rate > 0.85
    # 10% and what chance adds to the best of so many rules
    assert rival.mean < 0.1 * oracle.mean + 3 * rival.error
    for family in ("random", "hold"):
        line = best_of(lines[name], family)
        assert line.mean < 0.1 * oracle.mean + 3 * line.error


def test_both_patterns_pay_in_the_regime_market(lines: dict[str, list[Line]]) -> None:
    oracle = lines["regime"][0]
    assert oracle.mean > 1500
    assert oracle.mean > 10 * oracle.error


def test_nothing_pays_on_noise(lines: dict[str, list[Line]]) -> None:
    for line in lines["noise"]:
        assert line.mean < -0.5 * line.cost + 4 * line.error + 1e-9, line
    total = sum(line.mean for line in lines["noise"])
    assert total < -0.5 * sum(line.cost for line in lines["noise"])


def test_who_does_nothing_earns_nothing(lines: dict[str, list[Line]]) -> None:
    hold = next(line for line in lines["gap"] if line.name == "always hold")
    assert (hold.mean, hold.trades) == (0.0, 0.0)
