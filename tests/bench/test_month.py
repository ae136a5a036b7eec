from __future__ import annotations

from pathlib import Path

from rllib_tactical.bench.month import Usage, _sizes, growth_rows


def test_growth_is_that_of_the_second_half() -> None:
    seen = [
        Usage(0, 100.0, 10, 1.0),
        Usage(400, 300.0, 20, 2.0),
        Usage(600, 310.0, 21, 3.0),
        Usage(1_000, 320.0, 23, 3.8),
    ]
    found = {row.name: (row.measurement.median, row.met) for row in growth_rows("month", seen)}
    assert found == {
        "month: memory at the end, all processes": (320.0, None),
        "month: memory grown in the second half": (10.0, True),
        "month: files more in the second half": (2, False),
        "month: files grown per bar with its decision": ((3.8 - 3.0) * 1e3 / 400, True),
    }


def test_files_are_counted_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * 5_000)
    (tmp_path / "empty").touch()
    sizes = sorted(_sizes(tmp_path))
    assert len(sizes) == 2
    assert sizes[0] == 0
    assert sizes[1] >= 5_000
