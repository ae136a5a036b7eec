from __future__ import annotations

from pathlib import Path

from tests.data.tables import read_columns, walk_frame

ROWS = 400


def test_only_what_is_needed_is_kept(tmp_path: Path) -> None:
    frame = walk_frame(ROWS)
    frame["note"] = "x" * 1000
    frame.to_parquet(tmp_path / "a.parquet")
    seen: list[tuple[str, float]] = []
    columns = read_columns(
        tmp_path / "a.parquet",
        block_rows=100,
        update=lambda what, share: seen.append((what, share)),
    )
    assert set(columns.raw) == {"timestamp", "open", "high", "low", "close", "volume"}
    assert sum(len(cells) for cells in columns.raw.values()) == 0
    assert seen == [("reading a.parquet", share) for share in (0.25, 0.5, 0.75, 1.0)]
