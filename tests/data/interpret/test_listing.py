from __future__ import annotations

import random
from pathlib import Path

import pytest

from rllib_tactical.data.files import write_bars
from rllib_tactical.data.interpret.listing import ERRORS, READABLE, REFUSED, list_folder
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import ConfigError, UnreadableError
from tests.data.corrupted import CONTENTS
from tests.data.interpret.layouts import LAYOUTS, session_bars
from tests.data.tables import walk_frame

TRUTH = session_bars(days=["2024-10-24", "2024-10-25"])


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "lean"])
def test_what_each_source_wrote(tmp_path: Path, name: str) -> None:
    written = LAYOUTS[name](TRUTH, tmp_path)
    (found,) = list_folder(tmp_path, ReadOptions(**written.options), "TQQQ")
    source = written.recognized or written.options.get("format") or "own columns"
    assert (found.file, found.state, found.format) == (written.path.name, READABLE, source)
    assert (found.rows, found.bar, found.instrument) == (len(TRUTH), "5min", "TQQQ")
    assert (found.first, found.last) == ("2024-10-24 09:30-04:00", "2024-10-25 15:55-04:00")


def test_folders_below_are_listed_on_request(tmp_path: Path) -> None:
    LAYOUTS["lean"](TRUTH, tmp_path)
    assert list_folder(tmp_path) == []
    first, second = list_folder(tmp_path, instrument="TQQQ", below=True)
    assert (first.file, first.rows) == ("equity/usa/minute/tqqq/20241024_trade.zip", 78)
    assert (second.format, second.state) == ("lean", READABLE)


def test_symbol_assumptions_and_warnings_are_noted(tmp_path: Path) -> None:
    frame = walk_frame().drop(index=7).assign(symbol="ABC")
    frame["timestamp"] = frame["timestamp"].astype("datetime64[s]").dt.strftime("%Y-%m-%d %H:%M")
    frame.to_csv(tmp_path / "bars.csv", index=False)
    (found,) = list_folder(tmp_path)
    assert (found.symbol, found.instrument) == ("ABC", None)
    assert found.notes == (
        "times UTC (assumed)",
        "stamped at the open (assumed)",
        "warning naive_timestamps 1",
        "warning missing_bars 1",
    )
    assert found.to_dict()["notes"] == list(found.notes)


def test_ticks_and_lengths_are_named(tmp_path: Path) -> None:
    walk_frame(bar_seconds=3600).to_csv(tmp_path / "hours.csv", index=False)
    ticks = walk_frame().rename(columns={"close": "price", "volume": "size"})
    ticks[["timestamp", "price", "size"]].to_csv(tmp_path / "ticks.csv", index=False)
    hours, found = list_folder(tmp_path)
    assert (hours.state, hours.bar) == (READABLE, "1h")
    assert (found.state, found.bar, found.rows) == (READABLE, "ticks", 40)
    assert found.first == "2022-01-03T00:00:00Z"


def test_why_a_file_is_refused(tmp_path: Path) -> None:
    LAYOUTS["ninjatrader"](TRUTH, tmp_path)
    LAYOUTS["mt5"](TRUTH, tmp_path)
    broken = walk_frame()
    broken.loc[[3, 5], "high"] = 1.0
    broken.to_csv(tmp_path / "broken.csv", index=False)
    (tmp_path / "notes.txt").write_text("buy low\nsell high\n")
    ninja, mt5, wrong, notes = list_folder(tmp_path)
    assert mt5.state == ninja.state == notes.state == REFUSED
    assert "give --tz" in mt5.notes[0] and not mt5.notes[0].startswith("TQQQ_M5")
    assert "give --format ninjatrader or --format histdata" in ninja.notes[0]
    assert (wrong.state, wrong.rows) == (ERRORS, 40)
    assert wrong.notes[0] == "high_too_low: high 1.0 is below the open or close, 100.07 (2 of them)"
    assert notes.notes[0].startswith("lacks timestamp, open, high, low, close, volume; --columns")


def test_no_junk_stops_the_list(tmp_path: Path) -> None:
    for number, (name, content) in enumerate(CONTENTS.values()):
        if content is not None:
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / name).write_bytes(content)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "nowhere.csv").symlink_to("gone")
    (tmp_path / ".hidden").write_text("x")
    write_bars(TRUTH, tmp_path / "good.parquet")
    rng = random.Random(3)
    good = (tmp_path / "good.parquet").read_bytes()
    for suffix in (".csv", ".parquet", ".feather", ".json", ".zip", ".gz", ".zst", ".dbn", ""):
        (tmp_path / f"TQQQ{suffix}").write_bytes(rng.randbytes(2_000))
        (tmp_path / f"cut{suffix}").write_bytes(good[: rng.randrange(len(good))])
    listed = list_folder(tmp_path, below=True)
    assert len(listed) == len(CONTENTS) - 1 + 1 + 1 + 18
    assert [each.file for each in listed if each.state != REFUSED] == ["good.parquet"]
    assert all(each.notes and "\n" not in each.notes[0] for each in listed if each.state == REFUSED)


def test_a_file_alone_and_no_folder(tmp_path: Path) -> None:
    write_bars(TRUTH, tmp_path / "TQQQ.csv")
    assert [each.file for each in list_folder(tmp_path / "TQQQ.csv")] == ["TQQQ.csv"]
    with pytest.raises(UnreadableError, match="gone: No such file or directory"):
        list_folder(tmp_path / "gone")
    with pytest.raises(ConfigError, match="instrument"):
        list_folder(tmp_path, instrument="NOPE")
