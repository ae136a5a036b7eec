from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bench.scene import fill_up, small_disk


def test_a_full_disk_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        if disk is None:
            pytest.skip("mounting a file system needs root")
        (disk / "log").write_bytes(b"x" * 100)
        filler = fill_up(disk)
        assert filler.stat().st_size > 500_000
        with pytest.raises(OSError, match="No space left"):
            (disk / "record").write_bytes(b"x")
        filler.unlink()
        (disk / "record").write_bytes(b"x")
    assert not (tmp_path / "disk" / "log").exists()  # it was unmounted
