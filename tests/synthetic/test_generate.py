from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rllib_tactical.cli.data_make import make_command
from rllib_tactical.data.files import read_bars, read_columns
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import WINDOW, Bars
from rllib_tactical.errors import FeatureError, UsageError
from rllib_tactical.synthetic import MARKETS, SyntheticMarket, make_market, pay_probability
from rllib_tactical.synthetic.oracle import ORACLES, oracle_votes, side_votes
from rllib_tactical.synthetic.sessions import session_results
from tests.synthetic.rivals import Line, best_of, market_lines

DAY = 288
SEEDS = (21, 22, 23)
COLUMNS = ("timestamp_s", "open", "high", "low", "close", "volume")


def assert_same_bars(left: Bars, right: Bars) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.fixture(scope="module")
def lines() -> dict[str, list[Line]]:
    return {name: market_lines(name, SEEDS, 42 * DAY) for name in MARKETS}


@pytest.fixture(scope="module")
def gap() -> SyntheticMarket:
    return make_market("gap", 3, 40 * DAY, 0.0)


@pytest.mark.parametrize("name", MARKETS)
def test_equal_arguments_give_equal_markets(name: str) -> None:
    first, again = (make_market(name, 5, 2000, 0.4) for _ in range(2))
    assert_same_bars(first.bars, again.bars)
    assert first.instrument == again.instrument
    assert np.any(make_market(name, 6, 2000, 0.4).bars.close != first.bars.close)


@pytest.mark.parametrize("name", MARKETS)
def test_the_first_bars_do_not_depend_on_the_number(name: str) -> None:
    long = make_market(name, 5, 5000, 0.2)
    for bars in (500, 501, 777, 2345):
        short = make_market(name, 5, bars, 0.2)
        assert_same_bars(short.bars, long.bars[:bars])
        count = len(short.signals.bar)
        np.testing.assert_array_equal(short.signals.bar, long.signals.bar[:count])
        np.testing.assert_array_equal(short.signals.paid, long.signals.paid[:count])


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_bars_are_valid(name: str, difficulty: float, tmp_path: Path) -> None:
    market = make_market(name, 8, 30 * DAY, difficulty)
    bars = market.bars
    assert np.all(bars.high >= np.maximum(bars.open, bars.close))
    assert np.all(bars.low <= np.minimum(bars.open, bars.close))
    assert np.all(bars.low > 0)
    assert np.all(bars.volume > 0)
    for prices in (bars.open, bars.high, bars.low, bars.close):
        np.testing.assert_array_equal(np.round(prices, 2), prices)
    assert 50 < bars.close.min() < bars.close.max() < 200
    atr = compute_features(bars).atr.mean()
    assert atr * (market.instrument.base_quantity or 0.0) == pytest.approx(100, rel=0.01)

    path = tmp_path / "market.parquet"
    options = {"market": name, "seed": 8, "bars": 30 * DAY, "difficulty": difficulty, "out": path}
    result = CliRunner().invoke(
        make_command, [f"--{option}={value}" for option, value in options.items()]
    )
    assert result.exit_code == 0, result.output
    assert_same_bars(read_bars(path), bars)
    report = check_columns(read_columns(path), instrument=market.instrument)
    assert report.errors == 0


def test_prices_stay_in_reach_for_years() -> None:
    close = make_market("gap", 1, 400_000, 0.0).bars.close
    assert 50 < close.min() < close.max() < 200


def test_the_matrix_shows_the_synthetic_touch(gap: SyntheticMarket) -> None:
    signals, table = gap.signals, gap.history().features
    bar, side = signals.bar[signals.family == 0], signals.side[signals.family == 0]
    later = bar >= WINDOW
    bar, side = bar[later], side[later]
    assert len(bar) > 200
    row = table.raw[bar]
    assert np.mean(row[:, 4] == 1) > 0.98
    assert np.mean(row[:, 3] >= 5) > 0.98
    assert np.mean(np.sign(table.close[bar] - row[:, 2]) == side) > 0.98
    # nearest already on the bar before
    before = table.raw[bar - 1]
    assert np.mean(np.sign(table.close[bar - 1] - before[:, 2]) == side) > 0.97
    # a synergy against the signal would keep training votes from passing the threshold
    assert np.mean(gap.history().synergy.direction[bar] == -side) < 0.02


def test_signals_pay_as_often_as_promised() -> None:
    for difficulty in (0.0, 1.0):
        signals = make_market("gap", 4, 200_000, difficulty).signals
        linked = signals.paid[signals.linked]
        error = 0.5 / np.sqrt(len(linked))
        assert np.mean(linked) == pytest.approx(pay_probability(difficulty), abs=4 * error)
        decoys = signals.paid[~signals.linked]
        assert np.mean(decoys) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(decoys)))
    assert not make_market("noise", 4, 5000, 0.0).signals.linked.any()


def test_regimes_alternate() -> None:
    signals = make_market("regime", 2, 60 * DAY, 0.0).signals
    family = signals.family[signals.linked]
    assert 0.2 < np.mean(family) < 0.8
    assert np.mean(family[1:] == family[:-1]) > 0.8


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


def test_the_oracle_reads_matrices_and_last_rows_alike(gap: SyntheticMarket) -> None:
    table = gap.history().features
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


def test_session_results_count_whole_sessions_only(gap: SyntheticMarket) -> None:
    history = gap.history()
    side = np.ones(len(history), dtype=np.int64)
    # the first two days hold the warm-up
    (found,) = session_results(history, [side_votes(side)])
    assert len(found.pnl) == 38
    short = make_market("gap", 3, 40 * DAY - 1, 0.0).history()
    (found,) = session_results(short, [side_votes(side[:-1])])
    assert len(found.pnl) == 37


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("trend", 1, 1000, 0.0),
            "market must be one of gap, momentum, regime, noise, found 'trend'",
        ),
        (("gap", -1, 1000, 0.0), "seed must be an integer >= 0, found -1"),
        (("gap", 1, 300, 0.0), r"bars must be in 361\.\.2500000, found 300"),
        (("gap", 1, 3_000_000, 0.0), r"bars must be .* found 3000000"),
        (("gap", 1, 1000, 1.5), r"difficulty must be in \[0, 1\], found 1.5"),
        (("gap", 1, 1000, float("nan")), "difficulty must be .* found nan"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, int, int, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_market(*arguments)


def test_wrong_oracle_input() -> None:
    with pytest.raises(UsageError, match="market"):
        oracle_votes("trend", np.zeros((1, 7)), np.ones(1))
    for raw, close in (((7,), (7,)), ((2, 6), (2,)), ((2, 7), (3,))):
        with pytest.raises(FeatureError, match="must"):
            oracle_votes("gap", np.zeros(raw), np.ones(close))


def test_the_command_prints_what_it_made(tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    arguments = ["--market", "momentum", "--bars", "3000", "--out", str(path)]
    plain = CliRunner().invoke(make_command, arguments)
    assert plain.exit_code == 0
    assert "3000 bars of market momentum" in plain.output
    assert "The oracle earns $" in plain.output
    first = path.read_bytes()
    document = json.loads(CliRunner().invoke(make_command, [*arguments, "--json"]).output)
    assert path.read_bytes() == first
    assert document["bars"] == 3000
    assert document["instrument"] == "SYNTH"
    assert document["sessions"] == 8
    assert document["first"] == "2000-01-03T00:00:00Z"


def test_the_command_without_a_whole_session(tmp_path: Path) -> None:
    arguments = ["--market", "gap", "--bars", "400", "--out", str(tmp_path / "m.csv")]
    assert "oracle" not in CliRunner().invoke(make_command, arguments).output
    document = json.loads(CliRunner().invoke(make_command, [*arguments, "--json"]).output)
    assert document["oracle_pnl_per_session"] is None


@pytest.mark.parametrize("out", ["m.txt", "no/such/folder/m.csv"])
def test_the_command_refuses_an_output_that_cannot_be(out: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(make_command, ["--market", "gap", "--out", str(tmp_path / out)])
    assert isinstance(result.exception, UsageError)
    assert list(tmp_path.iterdir()) == []
